"""What one eats."""

from ..palette import CREAM, FLAME, INK, LEAF, PAPER, WOOD, Colour, darker, lighter, shaded
from ..pen import Pen
from .kind import Kind


# fmt: off
def _apple(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.curve([(middle, 0.26), (middle + 0.02, 0.12), (middle + 0.08, 0.03)], WOOD, 0.06)
    pen.blob([(middle + 0.06, 0.16), (middle + 0.20, 0.02), (middle + 0.38, 0.06), (middle + 0.26, 0.18)], LEAF)
    pen.blob([(middle, 0.26), (middle + 0.22, 0.18), (middle + 0.44, 0.32), (middle + 0.42, 0.64),
              (middle + 0.22, 0.95),
              (middle, 0.92), (middle - 0.22, 0.95), (middle - 0.42, 0.64), (middle - 0.44, 0.32),
              (middle - 0.22, 0.18)], colour)
    pen.oval(middle - 0.24, 0.40, 0.07, 0.12, lighter(colour, 0.55))
    if pose == "bitten":
        for y in (0.42, 0.60):
            pen.circle(middle + 0.40, y, 0.17, CREAM)
        for y in (0.40, 0.62):
            pen.erase(middle + 0.46, y, 0.15)


def _cake(pen: Pen, colour: Colour, pose: str):
    base, icing = pen.h, lighter(colour, 0.72)
    if pose == "with candles":
        for x in (0.28, 0.50, 0.72):
            pen.box(x - 0.03, 0.14, x + 0.03, 0.36, (120, 170, 226), 0.01)
            pen.blob([(x, 0.0), (x + 0.055, 0.10), (x, 0.17), (x - 0.055, 0.10)], FLAME)
    pen.box(0.12, 0.32, 0.88, base - 0.06, colour, 0.05)
    pen.box(0.12, 0.32, 0.88, 0.46, icing, 0.05)
    for x, y in ((0.19, 0.54), (0.34, 0.60), (0.50, 0.53), (0.66, 0.60), (0.81, 0.54)):
        pen.box(x - 0.065, 0.40, x + 0.065, y, icing, 0.06)
    pen.box(0.0, base - 0.10, 1.0, base, PAPER, 0.04)


def _pumpkin(pen: Pen, colour: Colour, pose: str):
    base, middle = pen.h, 0.5
    shade = shaded(colour, 0.2)
    pen.curve([(middle, 0.24), (middle + 0.01, 0.12), (middle + 0.10, 0.04)], LEAF, 0.10)
    for x, rx in ((0.24, 0.24), (0.76, 0.24)):
        pen.oval(x, (base + 0.18) / 2, rx, (base - 0.22) / 2, colour)
    for x in (0.36, 0.64):
        pen.oval(x, (base + 0.16) / 2, 0.21, (base - 0.18) / 2, shade)
        pen.oval(x, (base + 0.16) / 2, 0.185, (base - 0.20) / 2, colour)
    pen.oval(middle, (base + 0.16) / 2, 0.17, (base - 0.16) / 2, colour)
    if pose == "carved":
        for side in (-1, 1):
            x = middle + side * 0.20
            pen.polygon([(x - 0.09, 0.48), (x, 0.32), (x + 0.09, 0.48)], INK)
        pen.polygon([(0.22, 0.58), (0.36, 0.62), (0.42, 0.57), (0.50, 0.62), (0.58, 0.57), (0.64, 0.62), (0.78, 0.58),
                     (0.64, 0.75), (0.36, 0.75)], INK)


def _icecream(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    wafer = (226, 170, 102)
    pen.polygon([(middle - 0.25, 0.46), (middle + 0.25, 0.46), (middle, 1.0)], wafer)
    for x0, y0, x1, y1 in ((-0.16, 0.48, 0.07, 0.84), (0.02, 0.48, 0.12, 0.66), (0.16, 0.48, -0.07, 0.84),
                           (-0.02, 0.48, -0.12, 0.66)):
        pen.line([(middle + x0, y0), (middle + x1, y1)], darker(wafer, 0.25), 0.025)
    pen.circle(middle, 0.30, 0.29, colour)
    for x, y in ((-0.22, 0.47), (-0.07, 0.50), (0.08, 0.48), (0.22, 0.46)):
        low = y + (0.16 if pose == "melting" and x in (-0.07, 0.22) else 0.0)
        pen.box(middle + x - 0.08, 0.36, middle + x + 0.08, low + 0.06, colour, 0.07)
    if pose == "melting":
        pen.oval(middle + 0.22, 0.80, 0.06, 0.08, colour)
    else:
        pen.circle(middle + 0.05, 0.06, 0.065, (206, 44, 70))
    pen.oval(middle - 0.11, 0.20, 0.05, 0.07, lighter(colour, 0.6))


ALL = (
    Kind("apple", _apple, ("red", "green", "yellow"), ("whole", "bitten"), width=0.96),
    Kind("cake", _cake, ("pink", "brown", "yellow", "red"), ("with candles", "without candles"), height=0.84),
    Kind("pumpkin", _pumpkin, ("orange", "white", "green"), ("whole", "carved"), height=0.84),
    Kind("ice cream", _icecream, ("pink", "brown", "white", "green"), ("whole", "melting"), width=0.62),
)
