"""What drives, swims and flies."""

from ..palette import BLUSH, CREAM, FLAME, GLASS, INK, LAMP, PAPER, SKIN, SLATE, STEEL, WOOD, Colour, lighter, shaded
from ..pen import Pen
from .kind import FACING, Kind


# fmt: off
def _car(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.3)
    pen.blob([(0.20, base - 0.36), (0.34, 0.06), (0.44, 0.0), (0.68, 0.0), (0.80, 0.08), (0.92, base - 0.36)], colour)
    pen.polygon([(0.29, base - 0.38), (0.40, 0.09), (0.53, 0.09), (0.53, base - 0.38)], GLASS)
    pen.polygon([(0.59, base - 0.38), (0.59, 0.09), (0.70, 0.09), (0.82, base - 0.38)], GLASS)
    pen.box(0.0, base - 0.43, 1.0, base - 0.12, colour, 0.11)
    pen.box(0.02, base - 0.19, 0.98, base - 0.12, shade, 0.03)
    pen.circle(0.06, base - 0.32, 0.055, LAMP)
    pen.box(0.95, base - 0.36, 1.0, base - 0.25, BLUSH, 0.02)
    for x in (0.24, 0.76):
        pen.wheel(x, base - 0.14, 0.145, CREAM)


def _bus(pen: Pen, colour: Colour, pose: str):
    """With its engine in front, so that one sees from afar where it goes."""
    base, shade = pen.h, shaded(colour, 0.3)
    pen.box(0.20, 0.0, 1.0, base - 0.10, colour, 0.08)
    pen.box(0.0, base - 0.36, 0.40, base - 0.10, colour, 0.07)
    pen.box(0.0, base - 0.20, 1.0, base - 0.10, shade, 0.04)
    pen.box(0.20, 0.09, 0.32, 0.31, GLASS, 0.02)
    for x in (0.39, 0.59, 0.79):
        pen.box(x, 0.09, x + 0.15, 0.29, GLASS, 0.02)
    pen.circle(0.05, base - 0.26, 0.055, LAMP)
    for x in (0.22, 0.78):
        pen.wheel(x, base - 0.12, 0.12, STEEL)


def _train(pen: Pen, colour: Colour, pose: str):
    """A steam engine."""
    base, shade = pen.h, shaded(colour, 0.32)
    for x, y, r in ((0.24, 0.10, 0.08), (0.36, 0.07, 0.07), (0.47, 0.06, 0.055)):
        pen.circle(x, y, r, (226, 228, 234))
    pen.polygon([(0.14, 0.20), (0.32, 0.20), (0.28, 0.42), (0.18, 0.42)], SLATE)
    pen.circle(0.46, 0.38, 0.08, (236, 190, 70))
    pen.box(0.08, 0.38, 0.70, base - 0.20, colour, 0.08)
    pen.box(0.60, 0.18, 0.96, base - 0.16, colour, 0.02)
    pen.box(0.55, 0.12, 1.0, 0.21, shade, 0.03)
    pen.box(0.68, 0.28, 0.88, 0.47, GLASS, 0.02)
    pen.box(0.06, base - 0.24, 0.98, base - 0.15, shade, 0.02)
    pen.polygon([(0.08, base - 0.22), (0.08, base), (0.0, base)], SLATE)
    pen.circle(0.07, 0.52, 0.05, LAMP)
    for x, r in ((0.22, 0.11), (0.46, 0.11), (0.78, 0.15)):
        pen.wheel(x, base - r, r, (222, 96, 84))


def _bicycle(pen: Pen, colour: Colour, pose: str):
    base = pen.h
    r = 0.215
    for x in (r, 1 - r):
        pen.ring(x, base - r, r, INK, 0.055)
        pen.circle(x, base - r, 0.045, STEEL)
        for end in ((0.15, 0.0), (0.0, 0.15), (-0.15, 0.0), (0.0, -0.15)):
            pen.line([(x, base - r), (x + end[0], base - r + end[1])], STEEL, 0.014)
    hub = (0.47, base - r + 0.02)
    frame = 0.085
    pen.line([(0.33, 0.16), (r, base - r)], colour, frame)
    pen.line([(0.30, 0.24), hub, (1 - r, base - r), (0.62, 0.22), (0.32, 0.24)], colour, frame)
    pen.line([(0.60, 0.14), hub], colour, frame)
    pen.curve([(0.26, 0.09), (0.30, 0.03), (0.38, 0.05), (0.36, 0.16)], INK, 0.05)
    pen.blob([(0.50, 0.13), (0.62, 0.10), (0.73, 0.11), (0.70, 0.18), (0.60, 0.18)], INK)
    pen.polygon([(0.0, 0.06), (0.27, 0.06), (0.23, 0.30), (0.04, 0.30)], CREAM)  # a basket shows the front from afar
    pen.line([(0.01, 0.07), (0.26, 0.07)], WOOD, 0.03)


def _tractor(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.3)
    pen.box(0.20, 0.12, 0.26, 0.44, SLATE, 0.01)
    pen.box(0.44, 0.0, 0.98, 0.08, shade, 0.03)
    pen.polygon([(0.50, 0.06), (0.92, 0.06), (0.95, 0.52), (0.46, 0.52)], colour)
    pen.polygon([(0.55, 0.12), (0.86, 0.12), (0.88, 0.40), (0.52, 0.40)], GLASS)
    pen.box(0.04, 0.38, 0.62, base - 0.16, colour, 0.05)
    for y in (0.46, 0.54):
        pen.line([(0.07, y), (0.20, y)], shade, 0.03)
    pen.wheel(0.19, base - 0.15, 0.15, LAMP)
    pen.wheel(0.70, base - 0.27, 0.27, LAMP)


def _boat(pen: Pen, colour: Colour, pose: str):
    base = pen.h
    pen.box(0.49, 0.0, 0.55, 0.75, WOOD)
    if pose == "with its sails up":
        pen.polygon([(0.46, 0.03), (0.46, 0.64), (0.05, 0.64)], colour)
        pen.polygon([(0.58, 0.12), (0.58, 0.64), (0.90, 0.64)], CREAM)
    else:
        pen.blob([(0.30, 0.56), (0.52, 0.52), (0.88, 0.55), (0.90, 0.62), (0.52, 0.64), (0.30, 0.62)], CREAM)
        pen.polygon([(0.55, 0.0), (0.74, 0.06), (0.55, 0.13)], BLUSH)
    pen.polygon([(0.0, 0.70), (1.0, 0.70), (0.84, base), (0.20, base)], colour)
    pen.polygon([(0.0, 0.70), (1.0, 0.70), (0.965, 0.77), (0.05, 0.77)], WOOD)
    for x in (0.34, 0.52, 0.70):
        pen.circle(x, 0.88, 0.045, CREAM)


def _aeroplane(pen: Pen, colour: Colour, pose: str):
    shade = shaded(colour, 0.3)
    middle = pen.h * 0.56
    pen.polygon([(0.78, middle - 0.04), (0.90, 0.02), (1.0, 0.0), (0.96, middle + 0.04)], colour)
    pen.polygon([(0.44, middle - 0.04), (0.60, 0.05), (0.70, 0.05), (0.64, middle)], shade)
    pen.blob([(0.0, middle), (0.10, middle - 0.11), (0.30, middle - 0.15), (0.70, middle - 0.12), (0.98, middle - 0.02),
              (0.92, middle + 0.07), (0.60, middle + 0.14), (0.20, middle + 0.14), (0.05, middle + 0.09)], colour)
    pen.polygon([(0.04, middle - 0.05), (0.16, middle - 0.10), (0.18, middle - 0.01), (0.04, middle - 0.01)], GLASS)
    for x in (0.28, 0.39, 0.50, 0.61, 0.72):
        pen.circle(x, middle - 0.03, 0.032, GLASS)
    pen.polygon([(0.34, middle + 0.06), (0.56, middle + 0.06), (0.80, pen.h), (0.68, pen.h)], shade)


def _rocket(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    flying = pose == "flying"
    foot = 0.78 if flying else 1.0
    span = foot - 0.04
    if flying:
        pen.blob([(middle - 0.15, 0.74), (middle + 0.15, 0.74), (middle + 0.10, 0.88), (middle, 1.0),
                  (middle - 0.10, 0.88)], FLAME)
        pen.blob([(middle - 0.07, 0.74), (middle + 0.07, 0.74), (middle, 0.90)], LAMP)
    for side in (-1, 1):
        pen.polygon([(middle + side * 0.12, span * 0.62), (middle + side * 0.32, foot),
                     (middle + side * 0.10, foot - 0.06)],
                    shaded(colour, 0.32))
    pen.blob([(middle, 0.0), (middle + 0.15, span * 0.26), (middle + 0.19, span * 0.58), (middle + 0.12, foot - 0.05),
              (middle - 0.12, foot - 0.05), (middle - 0.19, span * 0.58), (middle - 0.15, span * 0.26)], colour)
    pen.polygon([(middle, 0.0), (middle + 0.14, span * 0.25), (middle - 0.14, span * 0.25)], CREAM)
    pen.circle(middle, span * 0.46, 0.10, PAPER)
    pen.circle(middle, span * 0.46, 0.066, GLASS)


def _balloon(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    for x in (-0.13, 0.13):
        pen.line([(middle + x * 1.7, 0.46), (middle + x, 0.84)], WOOD, 0.025)
    pen.blob([(middle, 0.0), (middle + 0.28, 0.08), (middle + 0.38, 0.28), (middle + 0.27, 0.49), (middle + 0.10, 0.62),
              (middle - 0.10, 0.62), (middle - 0.27, 0.49), (middle - 0.38, 0.28), (middle - 0.28, 0.08)], colour)
    pen.oval(middle - 0.17, 0.20, 0.06, 0.09, lighter(colour, 0.5))
    if pose == "with a passenger":
        pen.circle(middle, 0.75, 0.10, SKIN)
        pen.pie(middle, 0.73, 0.11, 0.10, 180, 360, (96, 62, 48))
    pen.box(middle - 0.15, 0.82, middle + 0.15, 1.0, WOOD, 0.03)
    pen.box(middle - 0.17, 0.81, middle + 0.17, 0.86, (112, 76, 52), 0.02)


ALL = (
    Kind("car", _car, ("red", "yellow", "blue", "green"), FACING, height=0.7),
    Kind("bus", _bus, ("red", "yellow", "blue", "green"), FACING, height=0.66),
    Kind("train", _train, ("red", "green", "blue", "black"), FACING, height=0.82),
    Kind("bicycle", _bicycle, ("red", "blue", "green", "pink"), FACING, height=0.68),
    Kind("tractor", _tractor, ("red", "green", "blue"), FACING, height=0.86),
    Kind("boat", _boat, ("red", "blue", "white", "green"), ("with its sails up", "with its sails down"), home="water"),
    Kind("aeroplane", _aeroplane, ("white", "red", "blue", "yellow"), FACING, height=0.6, home="air"),
    Kind("rocket", _rocket, ("red", "white", "blue", "orange"), ("standing", "flying"), width=0.68),
    Kind("balloon", _balloon, ("red", "yellow", "blue", "purple"),
         ("empty", "with a passenger"), width=0.8, home="air"),
)
