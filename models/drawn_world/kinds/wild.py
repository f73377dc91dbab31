"""Wild animals: of woods, water and garden."""

from ..palette import BLUSH, CREAM, INK, PAPER, WATER, Colour, darker, lighter, shaded
from ..pen import Pen
from .kind import FACING, Kind

# fmt: off
BEAK = (246, 150, 52)


def _fish(pen: Pen, colour: Colour, pose: str):
    middle, shade = pen.h / 2, shaded(colour, 0.3)
    pen.polygon([(0.64, middle), (1.0, middle - 0.30), (0.90, middle), (1.0, middle + 0.30)], shade)
    pen.polygon([(0.28, middle - 0.2), (0.58, 0.0), (0.62, middle - 0.12)], shade)
    pen.polygon([(0.36, middle + 0.2), (0.56, pen.h), (0.58, middle + 0.12)], shade)
    pen.blob([(0.0, middle), (0.20, middle - 0.22), (0.46, middle - 0.25), (0.74, middle - 0.04), (0.74, middle + 0.04),
              (0.46, middle + 0.25), (0.20, middle + 0.22)], colour)
    pen.arc(0.20, middle, 0.16, 0.20, -60, 60, shade, 0.04)
    pen.eye(0.17, middle - 0.06, 0.08)
    pen.polygon([(0.44, middle), (0.60, middle - 0.06), (0.58, middle + 0.10)], shade)


def _whale(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.2)
    for side in (-1, 1):
        pen.arc(0.34 + side * 0.12, 0.15, 0.12, 0.14, 180, 360, WATER, 0.06)
    pen.box(0.31, 0.12, 0.37, 0.32, WATER, 0.02)
    pen.blob([(0.80, 0.50), (0.88, 0.30), (0.78, 0.14), (0.94, 0.20), (1.0, 0.10), (1.0, 0.34), (0.96, 0.60)], colour)
    pen.blob([(0.0, 0.62), (0.06, 0.40), (0.30, 0.27), (0.58, 0.34), (0.80, 0.54), (0.92, 0.46), (0.96, 0.62),
              (0.80, base - 0.04), (0.40, base), (0.08, base - 0.06)], colour)
    pen.blob([(0.02, 0.68), (0.24, 0.74), (0.54, 0.78), (0.70, base - 0.02), (0.40, base), (0.09, base - 0.06)],
             lighter(colour, 0.62))
    pen.blob([(0.42, 0.68), (0.56, 0.70), (0.60, 0.86), (0.48, 0.82)], shade)
    pen.eye(0.20, 0.54, 0.06)


def _elephant(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.22)
    pen.curve([(0.94, 0.36), (0.99, 0.48), (0.97, 0.58)], shade, 0.04)
    for x, fill in ((0.50, shade), (0.68, shade), (0.40, colour), (0.78, colour)):
        pen.box(x, 0.58, x + 0.15, base, fill, 0.03)
    pen.blob([(0.36, 0.22), (0.64, 0.16), (0.90, 0.24), (0.97, 0.48), (0.93, 0.70), (0.42, 0.70)], colour)
    pen.curve([(0.16, 0.36), (0.08, 0.50), (0.09, 0.70), (0.03, 0.80)], colour, 0.13)
    pen.circle(0.28, 0.28, 0.23, colour)
    pen.polygon([(0.16, 0.48), (0.02, 0.58), (0.20, 0.58)], PAPER)
    pen.blob([(0.36, 0.06), (0.56, 0.04), (0.64, 0.24), (0.54, 0.46), (0.40, 0.50), (0.34, 0.28)], shade)
    pen.blob([(0.40, 0.12), (0.52, 0.10), (0.58, 0.24), (0.50, 0.40), (0.42, 0.42), (0.39, 0.28)], BLUSH)
    pen.eye(0.21, 0.25, 0.055)


def _owl(pen: Pen, colour: Colour, pose: str):
    middle, shade = pen.w / 2, shaded(colour, 0.3)
    for side in (-1, 1):
        pen.polygon([(middle + side * 0.36, 0.0), (middle + side * 0.08, 0.16), (middle + side * 0.36, 0.30)], colour)
    pen.blob([(middle, 0.06), (middle + 0.34, 0.18), (middle + 0.38, 0.56), (middle + 0.26, 0.90), (middle, 0.97),
              (middle - 0.26, 0.90), (middle - 0.38, 0.56), (middle - 0.34, 0.18)], colour)
    pen.oval(middle, 0.74, 0.20, 0.20, lighter(colour, 0.55))
    for side in (-1, 1):
        pen.blob([(middle + side * 0.38, 0.46), (middle + side * 0.24, 0.56), (middle + side * 0.26, 0.84),
                  (middle + side * 0.37, 0.78)], shade)
        pen.circle(middle + side * 0.17, 0.32, 0.165, lighter(colour, 0.75))
        if pose == "awake":
            pen.circle(middle + side * 0.16, 0.32, 0.095, INK)
            pen.circle(middle + side * 0.16 - 0.03, 0.29, 0.03, PAPER)
        else:
            pen.shut_eye(middle + side * 0.17, 0.33, 0.10)
        pen.box(middle + side * 0.13 - 0.06, 0.93, middle + side * 0.13 + 0.06, 1.0, BEAK, 0.03)
    pen.polygon([(middle - 0.06, 0.40), (middle + 0.06, 0.40), (middle, 0.54)], BEAK)


def _penguin(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    up = pose == "waving"
    pen.blob([(middle - 0.28, 0.44), (middle - 0.37, 0.62), (middle - 0.32, 0.78), (middle - 0.24, 0.66)], colour)
    if up:
        pen.blob([(middle + 0.24, 0.46), (middle + 0.36, 0.30), (middle + 0.38, 0.14), (middle + 0.28, 0.24)], colour)
        pen.polygon([(middle + 0.20, 0.40), (middle + 0.28, 0.26), (middle + 0.36, 0.34),
                     (middle + 0.28, 0.56)], colour)
    else:
        pen.blob([(middle + 0.28, 0.44), (middle + 0.37, 0.62), (middle + 0.32, 0.78), (middle + 0.24, 0.66)], colour)
    for side in (-1, 1):
        pen.oval(middle + side * 0.15, 0.95, 0.13, 0.05, BEAK)
    pen.blob([(middle, 0.0), (middle + 0.24, 0.10), (middle + 0.25, 0.34), (middle + 0.31, 0.66), (middle + 0.20, 0.93),
              (middle - 0.20, 0.93), (middle - 0.31, 0.66), (middle - 0.25, 0.34), (middle - 0.24, 0.10)], colour)
    pen.oval(middle, 0.66, 0.21, 0.26, PAPER)
    for side in (-1, 1):
        pen.oval(middle + side * 0.10, 0.24, 0.12, 0.14, PAPER)
        pen.circle(middle + side * 0.09, 0.22, 0.045, INK)
    pen.polygon([(middle - 0.08, 0.29), (middle + 0.08, 0.29), (middle, 0.41)], BEAK)


def _turtle(pen: Pen, colour: Colour, pose: str):
    base, skin = pen.h, (158, 196, 120)
    hidden = pose == "hiding"
    for x in (0.30, 0.72):
        pen.box(x, base - 0.18, x + 0.15, base, skin, 0.05)
    if not hidden:
        pen.curve([(0.90, base - 0.14), (0.99, base - 0.09)], skin, 0.07)
        pen.curve([(0.26, base - 0.16), (0.16, base - 0.28), (0.14, base - 0.38)], skin, 0.14)
        pen.oval(0.13, base - 0.42, 0.13, 0.12, skin)
        pen.eye(0.10, base - 0.45, 0.05)
    foot = base - (0.04 if hidden else 0.10)
    pen.pie(0.56, foot - 0.04, 0.38, 0.46, 180, 360, colour)
    pen.box(0.15, foot - 0.10, 0.97, foot, lighter(colour, 0.5), 0.05)
    shade, top, low = shaded(colour, 0.32), foot - 0.44, foot - 0.12
    pen.line([(0.46, top), (0.38, low)], shade, 0.03)
    pen.line([(0.66, top), (0.74, low)], shade, 0.03)
    pen.line([(0.28, (top + low) / 2), (0.84, (top + low) / 2)], shade, 0.03)
    if hidden:
        pen.oval(0.26, foot - 0.12, 0.13, 0.12, INK)
        for x in (0.21, 0.31):
            pen.circle(x, foot - 0.13, 0.04, PAPER)


def _snail(pen: Pen, colour: Colour, pose: str):
    base, skin = pen.h, (240, 204, 150)
    for tip in (0.02, 0.20):
        pen.line([(0.18, base - 0.34), (tip + 0.03, base - 0.62)], skin, 0.05)
        pen.circle(tip + 0.03, base - 0.62, 0.045, INK)
    pen.blob([(0.04, base - 0.36), (0.16, base - 0.46), (0.28, base - 0.36), (0.36, base - 0.16),
              (0.98, base - 0.06), (0.96, base),
              (0.20, base), (0.06, base - 0.16)], skin)
    pen.circle(0.58, base - 0.40, 0.34, colour)
    swirl = darker(colour, 0.42) if sum(colour) > 240 else lighter(colour, 0.5)
    pen.arc(0.58, base - 0.40, 0.22, 0.22, 100, 400, swirl, 0.05)
    pen.arc(0.60, base - 0.37, 0.11, 0.12, -60, 190, swirl, 0.05)
    pen.circle(0.13, base - 0.32, 0.035, INK)


def _butterfly(pen: Pen, colour: Colour, pose: str):
    middle, shade = pen.w / 2, shaded(colour, 0.35)
    if pose == "with open wings":
        for side in (-1, 1):
            pen.blob([(middle, 0.46), (middle + side * 0.16, 0.14), (middle + side * 0.44, 0.02),
                      (middle + side * 0.49, 0.26),
                      (middle + side * 0.32, 0.50)], colour)
            pen.blob([(middle, 0.50), (middle + side * 0.30, 0.50), (middle + side * 0.38, 0.72),
                      (middle + side * 0.22, 0.90),
                      (middle + side * 0.06, 0.70)], shade)
            pen.circle(middle + side * 0.33, 0.20, 0.08, CREAM)
            pen.circle(middle + side * 0.21, 0.68, 0.06, CREAM)
        for side in (-1, 1):
            pen.curve([(middle, 0.24), (middle + side * 0.06, 0.10), (middle + side * 0.13, 0.05)], INK, 0.035)
        pen.oval(middle, 0.52, 0.06, 0.32, INK)
        pen.circle(middle, 0.24, 0.08, INK)
        return
    base = pen.h
    for lean in (0.10, 0.0):
        pen.curve([(0.13, base - 0.14), (0.04 + lean, base - 0.28), (0.02 + lean, base - 0.40)], INK, 0.035)
    pen.blob([(0.36, base - 0.12), (0.24, 0.34), (0.34, 0.04), (0.56, 0.03), (0.66, 0.24), (0.58, base - 0.14)], colour)
    pen.blob([(0.46, base - 0.12), (0.60, 0.32), (0.80, 0.20), (0.97, 0.34), (0.88, 0.62), (0.62, base - 0.10)], shade)
    pen.circle(0.42, 0.20, 0.075, CREAM)
    pen.circle(0.80, 0.42, 0.06, CREAM)
    pen.oval(0.48, base - 0.09, 0.38, 0.07, INK)
    pen.circle(0.14, base - 0.12, 0.09, INK)


def _frog(pen: Pen, colour: Colour, pose: str):
    middle, base, shade = pen.w / 2, pen.h, shaded(colour, 0.24)
    for side in (-1, 1):
        pen.oval(middle + side * 0.33, base - 0.20, 0.16, 0.20, shade)
        pen.oval(middle + side * 0.37, base - 0.04, 0.13, 0.04, shade)
        pen.circle(middle + side * 0.21, 0.15, 0.15, colour)
    pen.oval(middle, base - 0.24, 0.30, 0.24, colour)
    pen.oval(middle, 0.34, 0.38, 0.22, colour)
    pen.oval(middle, base - 0.16, 0.18, 0.15, lighter(colour, 0.55))
    for side in (-1, 1):
        if pose == "awake":
            pen.circle(middle + side * 0.21, 0.14, 0.10, PAPER)
            pen.circle(middle + side * 0.20, 0.14, 0.06, INK)
        else:
            pen.shut_eye(middle + side * 0.21, 0.17, 0.10)
        pen.oval(middle + side * 0.11, base - 0.04, 0.08, 0.04, colour)
    pen.arc(middle, 0.32, 0.26, 0.16, 20, 160, INK, 0.04)


def _giraffe(pen: Pen, colour: Colour, pose: str):
    shade, base = shaded(colour, 0.3), pen.h
    pen.line([(pen.w - 0.08, 0.60), (pen.w - 0.03, 0.78)], shade, 0.035)
    for x, fill in ((0.31, shade), (0.48, shade), (0.25, colour), (0.54, colour)):
        pen.box(x, 0.66, x + 0.075, base, fill, 0.02)
    pen.blob([(0.22, 0.56), (0.44, 0.54), (0.62, 0.60), (0.63, 0.74), (0.44, 0.77), (0.24, 0.74)], colour)
    pen.polygon([(0.17, 0.12), (0.29, 0.12), (0.42, 0.58), (0.23, 0.66)], colour)
    for x in (0.19, 0.27):
        pen.line([(x, 0.10), (x + 0.01, 0.02)], shade, 0.03)
        pen.circle(x + 0.01, 0.02, 0.028, INK)
    pen.oval(0.36, 0.13, 0.07, 0.035, shade)
    pen.blob([(0.15, 0.07), (0.30, 0.07), (0.30, 0.20), (0.14, 0.27), (0.01, 0.26), (0.02, 0.18)], colour)
    pen.oval(0.05, 0.23, 0.055, 0.045, lighter(colour, 0.55))
    pen.circle(0.19, 0.135, 0.033, INK)


ALL = (
    Kind("fish", _fish, ("orange", "blue", "red", "purple"), FACING, height=0.7, home="water"),
    Kind("whale", _whale, ("blue", "grey", "purple", "black"), FACING, home="water", height=0.9),
    Kind("elephant", _elephant, ("grey", "pink", "blue"), FACING, height=0.94),
    Kind("owl", _owl, ("brown", "grey", "white", "purple"), ("awake", "sleeping"), width=0.84),
    Kind("penguin", _penguin, ("black", "blue", "purple"), ("standing", "waving"), width=0.8),
    Kind("turtle", _turtle, ("green", "brown", "purple", "red"), (*FACING, "hiding"), height=0.66),
    Kind("snail", _snail, ("brown", "red", "yellow", "blue"), FACING, height=0.8),
    Kind("butterfly", _butterfly, ("orange", "blue", "pink", "yellow"),
         ("with open wings", "with closed wings"), home="air", height=0.94),
    Kind("frog", _frog, ("green", "blue", "orange"), ("awake", "sleeping"), height=0.78),
    Kind("giraffe", _giraffe, ("yellow", "orange", "brown"), FACING, width=0.72),
)
