"""What people build."""

from ..palette import CREAM, GLASS, INK, LAMP, PAPER, SLATE, STEEL, WOOD, Colour, darker, shaded
from ..pen import Pen
from .kind import Kind

# fmt: off
LIT = ("lit", "dark")


def _house(pen: Pen, colour: Colour, pose: str):
    right = pen.w
    middle = right / 2
    window, frame = (LAMP, darker(colour, 0.55)) if pose == "lit" else (INK, CREAM)
    pen.box(right * 0.70, 0.06, right * 0.82, 0.36, darker(colour, 0.5))
    pen.box(right * 0.1, 0.36, right * 0.9, 1.0, colour)
    pen.polygon([(middle, 0.0), (right, 0.44), (0.0, 0.44)], SLATE)
    pen.box(right * 0.1, 0.44, right * 0.9, 0.49, darker(colour, 0.25))
    for x in (0.17, 0.57):
        pen.box(right * x, 0.55, right * (x + 0.26), 0.79, frame)
        pen.box(right * (x + 0.035), 0.585, right * (x + 0.225), 0.755, window)
    pen.box(middle - 0.085, 0.70, middle + 0.085, 1.0, WOOD, 0.03)


def _castle(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.22)
    pen.polygon([(0.5, 0.0), (0.72, 0.08), (0.5, 0.15)], (232, 92, 84))
    pen.line([(0.5, 0.02), (0.5, 0.30)], WOOD, 0.03)
    pen.box(0.20, 0.42, 0.80, base, shade)
    for x in (0.36, 0.46, 0.56):
        pen.box(x, 0.24, x + 0.08, 0.34, colour)
    pen.box(0.36, 0.30, 0.64, base, colour)
    for left in (0.0, 0.72):
        for x in (0.0, 0.10, 0.20):
            pen.box(left + x, 0.28, left + x + 0.07, 0.42, colour)
        pen.box(left, 0.37, left + 0.28, base, colour)
        pen.box(left + 0.10, 0.52, left + 0.18, 0.68, INK, 0.04)
    for x in (0.24, 0.70):
        pen.box(x - 0.04, 0.37, x + 0.10, 0.44, shade)
    gate = INK if pose == "with its gate open" else WOOD
    pen.pie(0.5, 0.72, 0.14, 0.16, 180, 360, gate)
    pen.box(0.36, 0.71, 0.64, base, gate)
    if gate == WOOD:
        for x in (0.43, 0.50, 0.57):
            pen.line([(x, 0.62), (x, base)], (108, 72, 50), 0.022)


def _tower(pen: Pen, colour: Colour, pose: str):
    """A clock tower."""
    middle = pen.w / 2
    window = LAMP if pose == "lit" else INK
    pen.polygon([(middle, 0.0), (middle + 0.23, 0.25), (middle - 0.23, 0.25)], SLATE)
    pen.box(middle - 0.17, 0.48, middle + 0.17, 1.0, colour)
    pen.box(middle - 0.21, 0.23, middle + 0.21, 0.53, colour)
    pen.box(middle - 0.23, 0.52, middle + 0.23, 0.57, darker(colour, 0.3))
    pen.circle(middle, 0.38, 0.135, LAMP if pose == "lit" else STEEL)
    pen.line([(middle, 0.30), (middle, 0.38), (middle + 0.06, 0.41)], INK, 0.03)
    pen.box(middle - 0.05, 0.62, middle + 0.05, 0.74, window, 0.03)
    pen.box(middle - 0.07, 0.82, middle + 0.07, 1.0, WOOD, 0.03)


def _lighthouse(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    if pose == "lit":
        pen.polygon([(middle, 0.25), (0.0, 0.08), (0.0, 0.44)], LAMP)
        pen.polygon([(middle, 0.25), (pen.w, 0.08), (pen.w, 0.44)], LAMP)

    def half(y: float) -> float:
        return 0.13 + 0.12 * (y - 0.36) / 0.56

    for number, (top, bottom) in enumerate(((0.36, 0.50), (0.50, 0.64), (0.64, 0.78), (0.78, 0.92))):
        sides = [(middle - half(top), top), (middle + half(top), top), (middle + half(bottom), bottom)]
        pen.polygon([*sides, (middle - half(bottom), bottom)], PAPER if number % 2 else colour)
    pen.box(middle - 0.12, 0.17, middle + 0.12, 0.36, LAMP if pose == "lit" else INK)
    pen.box(middle - 0.20, 0.33, middle + 0.20, 0.38, SLATE, 0.02)
    pen.polygon([(middle, 0.0), (middle + 0.18, 0.18), (middle - 0.18, 0.18)], colour)
    pen.box(middle - 0.32, 0.90, middle + 0.32, 1.0, SLATE, 0.04)


def _windmill(pen: Pen, colour: Colour, pose: str):
    middle, hub = pen.w / 2, 0.36
    pen.polygon([(middle - 0.15, 0.34), (middle + 0.15, 0.34), (middle + 0.24, 1.0), (middle - 0.24, 1.0)], colour)
    pen.pie(middle, 0.36, 0.18, 0.20, 180, 360, shaded(colour, 0.45))
    door = INK if pose == "with its door open" else WOOD
    pen.box(middle - 0.115, 0.72, middle + 0.115, 1.0, door, 0.03)
    pen.circle(middle, 0.58, 0.055, GLASS)
    for x, y in ((0.28, -0.28), (0.28, 0.28), (-0.28, 0.28), (-0.28, -0.28)):
        pen.line([(middle, hub), (middle + x * 1.2, hub + y * 1.2)], WOOD, 0.035)
        across = 0.07 if x * y > 0 else -0.07
        sail = [(middle + x * 0.4, hub + y * 0.4), (middle + x * 1.2, hub + y * 1.2)]
        pen.polygon([*sail, (middle + x * 1.2 + across, hub + y * 1.2 - 0.07),
                     (middle + x * 0.4 + across, hub + y * 0.4 - 0.07)],
                    CREAM)
    pen.circle(middle, hub, 0.045, INK)


def _bridge(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.26)
    pen.polygon([(0.0, 0.14), (1.0, 0.14), (1.0, base), (0.0, base)], colour)
    pen.box(0.0, 0.10, 1.0, 0.19, shade, 0.02)
    for x in (0.02, 0.205, 0.39, 0.575, 0.76, 0.94):
        pen.box(x, 0.0, x + 0.05, 0.12, shade, 0.01)
    pen.box(0.0, 0.0, 1.0, 0.04, shade, 0.01)
    void = (0, 0, 0, 0)
    spans = ((0.5, 0.36),) if pose == "with one arch" else ((0.285, 0.165), (0.715, 0.165))
    for x, half in spans:
        pen.pie(x, base, half, base - 0.28, 180, 360, void)
        pen.box(x - half, base - 0.01, x + half, base + 0.1, void)


def _tent(pen: Pen, colour: Colour, pose: str):
    base = pen.h
    pen.line([(0.5, 0.02), (0.43, 0.0)], WOOD, 0.04)
    pen.line([(0.5, 0.02), (0.57, 0.0)], WOOD, 0.04)
    pen.polygon([(0.5, 0.02), (1.0, base), (0.0, base)], colour)
    if pose == "open":
        pen.polygon([(0.5, 0.22), (0.70, base), (0.30, base)], INK)
        pen.polygon([(0.5, 0.22), (0.30, base), (0.22, base)], CREAM)
        pen.polygon([(0.5, 0.22), (0.70, base), (0.78, base)], CREAM)
    else:
        pen.line([(0.5, 0.20), (0.5, base - 0.02)], CREAM, 0.04)
        for y in (0.40, 0.60):
            pen.circle(0.5, y * base / 0.8, 0.035, INK)


def _fence(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.24)
    for y in (0.20, 0.42):
        pen.box(0.0, y, 1.0, y + 0.09, shade, 0.01)
    for number, x in enumerate((0.0, 0.275, 0.55, 0.825)):
        if pose == "broken" and number == 1:
            pen.polygon([(x + 0.04, base - 0.12), (x + 0.28, 0.32), (x + 0.38, 0.42), (x + 0.14, base)], colour)
        elif pose == "broken" and number == 2:
            pen.polygon([(x, 0.40), (x + 0.06, 0.48), (x + 0.175, 0.36), (x + 0.175, base), (x, base)], colour)
        else:
            pen.polygon([(x, 0.10), (x + 0.0875, 0.0), (x + 0.175, 0.10), (x + 0.175, base), (x, base)], colour)


ALL = (
    Kind("house", _house, ("red", "blue", "yellow", "green", "white"), LIT, width=0.95),
    Kind("castle", _castle, ("grey", "pink", "blue", "yellow"),
         ("with its gate open", "with its gate closed"), height=0.96),
    Kind("tower", _tower, ("red", "brown", "grey", "green"), LIT, width=0.5),
    Kind("lighthouse", _lighthouse, ("red", "blue", "green", "black"), LIT, width=0.8),
    Kind("windmill", _windmill, ("white", "red", "blue", "brown"),
         ("with its door open", "with its door closed"), width=0.86),
    Kind("bridge", _bridge, ("grey", "red", "brown", "white"),
         ("with one arch", "with two arches"), height=0.6, home="water"),
    Kind("tent", _tent, ("red", "orange", "blue", "green"), ("open", "closed"), height=0.82),
    Kind("fence", _fence, ("white", "brown", "green", "blue"), ("whole", "broken"), height=0.64),
)
