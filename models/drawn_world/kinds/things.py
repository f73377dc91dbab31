"""Furniture, toys and other things of use."""

from ..palette import CREAM, GLASS, INK, LAMP, LEAF, PAPER, SLATE, WOOD, Colour, darker, lighter, shaded
from ..pen import Pen
from .kind import Kind

# fmt: off
GOLD = (250, 206, 92)


def _bench(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.3)
    for x in (0.10, 0.82):
        pen.box(x, 0.0, x + 0.08, base, SLATE, 0.02)
    for y in (0.04, 0.18):
        pen.box(0.02, y, 0.98, y + 0.10, colour, 0.02)
    pen.box(0.0, 0.38, 1.0, 0.50, colour, 0.03)
    pen.box(0.02, 0.47, 0.98, 0.53, shade, 0.02)
    for x in (0.05, 0.86):
        pen.box(x, 0.50, x + 0.09, base, SLATE, 0.02)


def _table(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.3)
    for x in (0.10, 0.80):
        pen.polygon([(x, 0.10), (x + 0.10, 0.10), (x + 0.08, base), (x + 0.02, base)], WOOD)
    if pose == "laid":
        pen.polygon([(0.02, 0.10), (0.98, 0.10), (0.94, 0.38), (0.82, 0.30), (0.66, 0.38), (0.5, 0.30), (0.34, 0.38),
                     (0.18, 0.30),
                     (0.06, 0.38)], lighter(colour, 0.7))
    pen.box(0.0, 0.0, 1.0, 0.13, colour, 0.04)
    pen.box(0.02, 0.10, 0.98, 0.15, shade, 0.02)


def _lamp(pen: Pen, colour: Colour, pose: str):
    """A street lamp."""
    middle, lit = pen.w / 2, pose == "lit"
    if lit:
        pen.polygon([(middle - 0.10, 0.30), (middle + 0.10, 0.30), (middle + 0.22, 0.60), (middle - 0.22, 0.60)],
                    (255, 240, 178))
    pen.box(middle - 0.055, 0.30, middle + 0.055, 0.95, colour)
    pen.box(middle - 0.16, 0.90, middle + 0.16, 1.0, colour, 0.03)
    pen.box(middle - 0.10, 0.62, middle + 0.10, 0.67, colour, 0.02)
    pen.polygon([(middle - 0.16, 0.10), (middle + 0.16, 0.10), (middle + 0.09, 0.34),
                 (middle - 0.09, 0.34)], LAMP if lit else GLASS)
    pen.polygon([(middle - 0.19, 0.11), (middle, 0.0), (middle + 0.19, 0.11)], colour)
    pen.box(middle - 0.10, 0.32, middle + 0.10, 0.38, colour, 0.01)


def _umbrella(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.line([(middle, 0.03), (middle, 0.88)], WOOD, 0.06)
    pen.arc(middle + 0.09, 0.86, 0.12, 0.13, 0, 180, WOOD, 0.06)
    if pose == "open":
        pen.pie(middle, 0.53, 0.49, 0.48, 180, 360, colour)
        for x in (-0.345, 0.0, 0.345):
            pen.pie(middle + x, 0.535, 0.145 if x else 0.20, 0.08, 180, 360, darker(colour, 0.4))
    else:
        pen.polygon([(middle, 0.06), (middle + 0.22, 0.66), (middle - 0.22, 0.66)], colour)
        pen.line([(middle, 0.10), (middle - 0.06, 0.64)], darker(colour, 0.3), 0.03)
        pen.box(middle - 0.15, 0.41, middle + 0.15, 0.48, darker(colour, 0.4), 0.02)


def _flag(pen: Pen, colour: Colour, pose: str):
    pen.box(0.06, 0.03, 0.13, 1.0, WOOD, 0.02)
    pen.circle(0.095, 0.05, 0.06, GOLD)
    if pose == "waving":
        top = [(0.13, 0.10), (0.34, 0.05), (0.56, 0.13), (0.78, 0.08)]
        bottom = [(0.78, 0.50), (0.56, 0.55), (0.34, 0.47), (0.13, 0.52)]
        pen.blob([*top, *bottom], colour)
    else:
        pen.blob([(0.13, 0.10), (0.26, 0.14), (0.36, 0.40), (0.34, 0.70), (0.24, 0.66), (0.13, 0.60)], colour)
        pen.line([(0.22, 0.20), (0.24, 0.60)], darker(colour, 0.3), 0.03)


def _kite(pen: Pen, colour: Colour, pose: str):
    w, lean = pen.w, -1 if pose == "leaning left" else 1

    def at(x: float, y: float) -> tuple[float, float]:
        return w / 2 + lean * x, y

    pen.curve([at(-0.10, 0.60), at(-0.24, 0.72), at(-0.06, 0.80), at(-0.20, 0.96)], WOOD, 0.03)
    for x, y in ((-0.20, 0.72), (-0.08, 0.82)):
        pen.polygon([at(x, y), at(x - 0.09, y - 0.05), at(x - 0.09, y + 0.06)], LEAF)
        pen.polygon([at(x, y), at(x + 0.09, y - 0.05), at(x + 0.09, y + 0.06)], LEAF)
    pen.polygon([at(0.20, 0.0), at(0.36, 0.36), at(-0.12, 0.64), at(-0.26, 0.16)], colour)
    pen.line([at(0.20, 0.0), at(-0.12, 0.64)], darker(colour, 0.4), 0.03)
    pen.line([at(0.36, 0.36), at(-0.26, 0.16)], darker(colour, 0.4), 0.03)


def _ball(pen: Pen, colour: Colour, pose: str):
    pen.circle(0.5, 0.5, 0.48, colour)
    for start in (20, 140, 260):
        pen.pie(0.5, 0.5, 0.48, 0.48, start, start + 60, PAPER)
    pen.circle(0.5, 0.5, 0.12, darker(colour, 0.35))
    pen.circle(0.30, 0.28, 0.06, PAPER)


def _present(pen: Pen, colour: Colour, pose: str):
    base, ribbon = pen.h, GOLD if sum(colour) < 560 else (236, 96, 110)
    if pose == "open":
        pen.polygon([(0.20, 0.30), (0.92, 0.02), (0.97, 0.16), (0.25, 0.45)], colour)
        pen.polygon([(0.50, 0.19), (0.64, 0.13), (0.69, 0.27), (0.55, 0.33)], ribbon)
        pen.polygon([(0.06, 0.50), (0.94, 0.50), (0.80, 0.40), (0.20, 0.40)], INK)
        pen.box(0.08, 0.50, 0.92, base, colour, 0.03)
    else:
        for side in (-1, 1):
            pen.blob([(0.5, 0.24), (0.5 + side * 0.14, 0.02), (0.5 + side * 0.30, 0.04),
                      (0.5 + side * 0.26, 0.20)], ribbon)
            pen.oval(0.5 + side * 0.19, 0.12, 0.06, 0.045, darker(ribbon, 0.3))
        pen.box(0.08, 0.42, 0.92, base, colour, 0.03)
        pen.box(0.04, 0.24, 0.96, 0.46, colour, 0.03)
        pen.box(0.04, 0.43, 0.96, 0.47, shaded(colour, 0.4))
        pen.box(0.43, 0.24, 0.57, 0.5, ribbon)
    pen.box(0.43, 0.50, 0.57, base, ribbon)


def _cup(pen: Pen, colour: Colour, pose: str):
    base = pen.h
    if pose == "steaming":
        for x in (0.24, 0.46):
            pen.curve([(x, 0.30), (x + 0.08, 0.22), (x, 0.12), (x + 0.08, 0.02)], (214, 220, 230), 0.07)
    pen.ring(0.74, 0.62, 0.20, colour, 0.09)
    pen.blob([(0.06, 0.38), (0.74, 0.38), (0.74, 0.70), (0.62, base), (0.20, base), (0.07, 0.70)], colour)
    pen.box(0.05, 0.36, 0.76, 0.46, colour, 0.02)
    pen.oval(0.405, 0.39, 0.33, 0.07, (122, 78, 52) if pose == "steaming" else CREAM)


ALL = (
    Kind("bench", _bench, ("brown", "red", "green", "blue"), height=0.74),
    Kind("table", _table, ("brown", "white", "red", "green"), ("bare", "laid"), height=0.72),
    Kind("lamp", _lamp, ("black", "green", "red", "blue"), ("lit", "dark"), width=0.46),
    Kind("umbrella", _umbrella, ("red", "yellow", "blue", "pink"), ("open", "closed")),
    Kind("flag", _flag, ("red", "blue", "yellow", "green"), ("waving", "hanging"), width=0.82),
    Kind("kite", _kite, ("red", "yellow", "blue", "purple"), ("leaning left", "leaning right"), width=0.78, home="air"),
    Kind("ball", _ball, ("red", "blue", "green", "purple")),
    Kind("present", _present, ("red", "green", "blue", "purple", "white"), ("open", "closed")),
    Kind("cup", _cup, ("white", "red", "blue", "green"), ("steaming", "empty"), width=0.96),
)
