"""How each kind of thing is drawn: parametric shapes at eight times the size, a dark outline and a paper-white rim.

The outline keeps a thing visible on a bright ground, the rim on a dark one, so that a blue fish can swim in a blue sky.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from ..drawn_world.palette import BLUSH, CREAM, GLASS, INK, LAMP, LEAF, PAPER, Colour, darker, lighter, mix
from ..drawn_world.pen import Pen, star_points
from ..drawn_world.sprites import finished, patterned
from . import borrowed
from .catalogue import COLOURS, STYLES, box_of

# Not those of the drawn world: the bundled weights were trained on exactly these pixels.
OVERSAMPLING = 8
WOOD = (150, 104, 68)
SLATE = (84, 78, 104)


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
    pen.circle(middle, 0.26, 0.085, CREAM)
    pen.circle(middle, 0.26, 0.055, window)
    pen.box(middle - 0.085, 0.70, middle + 0.085, 1.0, WOOD, 0.04)


def _tree(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.polygon([(middle - 0.07, 0.5), (middle + 0.07, 0.5), (middle + 0.11, 1.0), (middle - 0.11, 1.0)], WOOD)
    if pose == "round":
        lobes = ((0.0, 0.21, 0.21), (-0.19, 0.34, 0.18), (0.19, 0.34, 0.18), (-0.12, 0.50, 0.18), (0.13, 0.50, 0.18))
        for x, y, r in lobes:
            pen.circle(middle + x, y, r, darker(colour, 0.22))
        for x, y, r in lobes:
            pen.circle(middle + x * 0.95 - 0.02, y - 0.035, r - 0.035, colour)
        for x, y in ((-0.17, 0.28), (0.06, 0.36)):
            pen.arc(middle + x, y + 0.05, 0.11, 0.10, 190, 300, lighter(colour, 0.4), 0.05)
    else:
        for top, bottom, half in ((0.40, 0.82, 0.38), (0.20, 0.60, 0.31), (0.0, 0.36, 0.23)):
            pen.polygon([(middle, top), (middle + half, bottom), (middle - half, bottom)], darker(colour, 0.22))
            pen.polygon([(middle, top), (middle + half * 0.45, bottom), (middle - half, bottom)], colour)


def _cat(pen: Pen, colour: Colour, pose: str):
    shade, belly = darker(colour, 0.25), lighter(colour, 0.55)
    # With knots, for the same reason as the constants above.
    pen.line([(0.76, 0.90), (0.83, 0.80), (0.82, 0.60), (0.75, 0.50)], colour, 0.10, knots=True)
    pen.oval(0.54, 0.74, 0.26, 0.26, colour)
    pen.box(0.33, 0.62, 0.46, 1.0, colour, 0.05)
    pen.box(0.50, 0.86, 0.78, 1.0, shade, 0.06)
    pen.oval(0.40, 0.72, 0.07, 0.13, belly)
    for ear in (((0.06, 0.0), (0.07, 0.3), (0.30, 0.18)), ((0.56, 0.0), (0.55, 0.3), (0.32, 0.18))):
        pen.polygon(ear, colour)
    for ear in (((0.105, 0.09), (0.11, 0.24), (0.22, 0.17)), ((0.515, 0.09), (0.51, 0.24), (0.40, 0.17))):
        pen.polygon(ear, BLUSH)
    pen.oval(0.31, 0.35, 0.28, 0.23, colour)
    pen.oval(0.22, 0.44, 0.13, 0.09, belly)
    for x in (0.14, 0.36):
        pen.circle(x, 0.32, 0.07, PAPER)
        pen.circle(x - 0.02, 0.325, 0.045, INK)
    pen.oval(0.19, 0.41, 0.04, 0.03, BLUSH)


def _fish(pen: Pen, colour: Colour, pose: str):
    middle = pen.h / 2
    shade = darker(colour, 0.3)
    pen.polygon([(0.62, middle), (1.0, middle - 0.27), (0.92, middle), (1.0, middle + 0.27)], shade)
    pen.polygon([(0.30, middle - 0.2), (0.58, 0.0), (0.62, middle - 0.12)], shade)
    pen.polygon([(0.36, middle + 0.2), (0.56, pen.h), (0.58, middle + 0.12)], shade)
    pen.oval(0.37, middle, 0.37, 0.26, colour)
    pen.pie(0.37, middle, 0.37, 0.26, 20, 160, lighter(colour, 0.4))
    for x in (0.40, 0.53):
        pen.arc(x - 0.12, middle, 0.14, 0.18, -60, 60, PAPER, 0.055)
    pen.circle(0.17, middle - 0.05, 0.085, PAPER)
    pen.circle(0.155, middle - 0.05, 0.052, INK)


def _boat(pen: Pen, colour: Colour, pose: str):
    pen.box(0.50, 0.0, 0.555, 0.75, WOOD)
    pen.polygon([(0.47, 0.03), (0.47, 0.64), (0.05, 0.64)], colour)
    pen.polygon([(0.47, 0.03), (0.47, 0.20), (0.32, 0.24)], lighter(colour, 0.4))
    pen.polygon([(0.58, 0.16), (0.58, 0.64), (0.86, 0.64)], CREAM)
    pen.polygon([(0.0, 0.71), (1.0, 0.71), (0.84, 1.0), (0.20, 1.0)], WOOD)
    pen.polygon([(0.0, 0.71), (1.0, 0.71), (0.965, 0.78), (0.048, 0.78)], colour)
    for x in (0.36, 0.54, 0.72):
        pen.circle(x, 0.885, 0.045, CREAM)


def _car(pen: Pen, colour: Colour, pose: str):
    base = pen.h
    pen.polygon([(0.34, base - 0.36), (0.46, 0.0), (0.84, 0.0), (0.97, base - 0.36)], colour)
    pen.polygon([(0.42, base - 0.38), (0.50, 0.07), (0.62, 0.07), (0.62, base - 0.38)], GLASS)
    pen.polygon([(0.67, base - 0.38), (0.67, 0.07), (0.81, 0.07), (0.89, base - 0.38)], GLASS)
    pen.box(0.0, base - 0.42, 1.0, base - 0.12, colour, 0.10)
    pen.box(0.0, base - 0.20, 1.0, base - 0.12, darker(colour, 0.3), 0.03)
    pen.box(0.0, base - 0.38, 0.13, base - 0.24, LAMP, 0.03)
    pen.box(0.95, base - 0.36, 1.0, base - 0.25, BLUSH, 0.02)
    for x in (0.24, 0.76):
        pen.circle(x, base - 0.14, 0.14, INK)
        pen.circle(x, base - 0.14, 0.065, CREAM)


def _sun(pen: Pen, colour: Colour, pose: str):
    for turn in range(10):
        angle = turn * math.tau / 10
        tip = (0.5 + 0.5 * math.sin(angle), 0.5 - 0.5 * math.cos(angle))
        sides = [(0.5 + 0.40 * math.sin(angle + s), 0.5 - 0.40 * math.cos(angle + s)) for s in (-0.28, 0.28)]
        pen.polygon([tip, *sides], darker(colour, 0.1) if turn % 2 else lighter(colour, 0.2))
    pen.circle(0.5, 0.5, 0.40, colour)
    pen.circle(0.5, 0.5, 0.34, lighter(colour, 0.18))
    pen.face(0.5, 0.48, 0.32, awake=pose == "smiling")


def _moon(pen: Pen, colour: Colour, pose: str):
    pen.circle(0.5, 0.5, 0.5, colour)
    if pose == "full":
        for x, y, r in ((0.33, 0.30, 0.12), (0.68, 0.45, 0.15), (0.40, 0.72, 0.13), (0.70, 0.80, 0.06)):
            pen.circle(x, y, r, darker(colour, 0.22))
    else:
        pen.erase(0.74, 0.38, 0.45)
        pen.circle(0.18, 0.58, 0.055, darker(colour, 0.25))
        pen.circle(0.36, 0.85, 0.05, darker(colour, 0.25))


def _star(pen: Pen, colour: Colour, pose: str):
    pen.polygon(star_points(0.5, 0.53, 0.525, 0.27), colour)
    pen.face(0.5, 0.52, 0.26, awake=pose == "smiling")


def _cloud(pen: Pen, colour: Colour, pose: str):
    raining = pose == "raining"
    lift = 0.0 if raining else 0.12
    shade = darker(colour, 0.14)
    pen.box(0.06, lift + 0.28, 0.94, lift + 0.54, shade, 0.13)
    for x, y, r in ((0.19, 0.36, 0.18), (0.43, 0.24, 0.24), (0.70, 0.30, 0.20), (0.85, 0.40, 0.14)):
        pen.circle(x, lift + y, r, colour)
    pen.box(0.10, lift + 0.34, 0.90, lift + 0.46, colour, 0.06)
    pen.circle(0.40, lift + 0.20, 0.12, lighter(colour, 0.5))
    if raining:
        for x, y in ((0.22, 0.61), (0.42, 0.66), (0.62, 0.61), (0.82, 0.66)):
            pen.polygon([(x + 0.03, y - 0.06), (x + 0.075, y + 0.06), (x - 0.075, y + 0.06)], COLOURS["blue"])
            pen.circle(x, y + 0.07, 0.065, COLOURS["blue"])


def _flower(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.line([(middle, 0.45), (middle, 0.97)], LEAF, 0.07)
    for side in (-1, 1):
        pen.polygon([(middle, 0.92), (middle + side * 0.30, 0.62), (middle + side * 0.24, 0.86)], LEAF)
    if pose == "open":
        for turn in range(6):
            angle = turn * math.tau / 6
            pen.circle(middle + 0.20 * math.sin(angle), 0.335 - 0.20 * math.cos(angle), 0.125, colour)
        pen.circle(middle, 0.335, 0.115, COLOURS["brown"] if colour == COLOURS["yellow"] else LAMP)
    else:
        pen.oval(middle, 0.28, 0.13, 0.27, lighter(colour, 0.45))
        pen.polygon([(middle - 0.23, 0.04), (middle - 0.20, 0.38), (middle, 0.57), (middle, 0.28)], colour)
        pen.polygon([(middle + 0.23, 0.04), (middle + 0.20, 0.38), (middle, 0.57), (middle, 0.28)], colour)
        pen.pie(middle, 0.46, 0.13, 0.12, 0, 180, LEAF)


def _mushroom(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.polygon([(middle - 0.15, 0.5), (middle + 0.15, 0.5), (middle + 0.20, 0.96), (middle - 0.20, 0.96)], CREAM)
    pen.oval(middle, 0.94, 0.20, 0.06, CREAM)
    pen.oval(middle, 0.53, 0.40, 0.08, mix(CREAM, WOOD, 0.4))
    pen.pie(middle, 0.54, 0.49, 0.54, 180, 360, colour)
    if pose == "spotted":
        for x, y, r in ((0.0, 0.17, 0.10), (-0.28, 0.36, 0.085), (0.27, 0.34, 0.095), (0.0, 0.44, 0.065)):
            pen.circle(middle + x, y, r, PAPER)
    for side in (-1, 1):
        pen.oval(middle + side * 0.08, 0.72, 0.034, 0.05, INK)


def _balloon(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    for x in (-0.11, 0.11):
        pen.line([(middle + x * 2, 0.5), (middle + x, 0.84)], WOOD, 0.025)
    pen.polygon([(middle - 0.31, 0.5), (middle + 0.31, 0.5), (middle + 0.12, 0.73), (middle - 0.12, 0.73)], colour)
    pen.oval(middle, 0.35, 0.36, 0.35, colour)
    if pose == "striped":
        for x in (-0.20, 0.20):
            pen.oval(middle + x, 0.35, 0.065, 0.24, PAPER)
        pen.oval(middle, 0.35, 0.075, 0.34, PAPER)
    else:
        pen.oval(middle - 0.15, 0.22, 0.08, 0.11, lighter(colour, 0.45))
    pen.box(middle - 0.14, 0.81, middle + 0.14, 1.0, WOOD, 0.03)
    pen.box(middle - 0.14, 0.81, middle + 0.14, 0.86, darker(WOOD), 0.02)


def _bird(pen: Pen, colour: Colour, pose: str):
    shade = darker(colour, 0.25) if colour != COLOURS["black"] else lighter(colour, 0.25)
    pen.polygon([(0.70, 0.40), (1.0, 0.34), (0.97, 0.50), (0.74, 0.60)], shade)
    pen.oval(0.52, 0.52, 0.32, 0.22, colour)
    pen.oval(0.46, 0.60, 0.22, 0.13, lighter(colour, 0.5))
    pen.circle(0.29, 0.35, 0.19, colour)
    pen.polygon([(0.0, 0.39), (0.14, 0.28), (0.14, 0.45)], COLOURS["orange"])
    pen.polygon([(0.42, 0.46), (0.62, 0.0), (0.86, 0.04), (0.74, 0.52)], shade)
    pen.circle(0.25, 0.31, 0.07, PAPER)
    pen.circle(0.235, 0.31, 0.042, INK)
    for x in (0.46, 0.58):
        pen.line([(x, 0.71), (x, pen.h - 0.03)], COLOURS["orange"], 0.045)


def _lighthouse(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    if pose == "lit":
        pen.polygon([(middle, 0.25), (0.0, 0.08), (0.0, 0.44)], LAMP)
        pen.polygon([(middle, 0.25), (pen.w, 0.08), (pen.w, 0.44)], LAMP)

    def half(y: float) -> float:
        return 0.14 + 0.10 * (y - 0.36) / 0.56

    for number, (top, bottom) in enumerate(((0.36, 0.50), (0.50, 0.64), (0.64, 0.78), (0.78, 0.92))):
        sides = [
            (middle - half(top), top),
            (middle + half(top), top),
            (middle + half(bottom), bottom),
            (middle - half(bottom), bottom),
        ]
        pen.polygon(sides, PAPER if number % 2 else colour)
    pen.box(middle - 0.12, 0.17, middle + 0.12, 0.36, LAMP if pose == "lit" else INK)
    pen.box(middle - 0.20, 0.33, middle + 0.20, 0.38, SLATE, 0.02)
    pen.polygon([(middle, 0.0), (middle + 0.18, 0.18), (middle - 0.18, 0.18)], colour)
    pen.box(middle - 0.30, 0.90, middle + 0.30, 1.0, SLATE, 0.04)


def _umbrella(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.line([(middle, 0.03), (middle, 0.88)], WOOD, 0.06)
    pen.arc(middle + 0.09, 0.86, 0.12, 0.13, 0, 180, WOOD, 0.06)
    if pose == "open":
        pen.pie(middle, 0.53, 0.49, 0.48, 180, 360, colour)
        pen.pie(middle, 0.53, 0.22, 0.48, 180, 360, lighter(colour, 0.5))
        for x in (-0.345, 0.0, 0.345):
            pen.pie(middle + x, 0.535, 0.125 if x else 0.20, 0.07, 180, 360, darker(colour, 0.35))
    else:
        pen.polygon([(middle, 0.06), (middle + 0.24, 0.68), (middle - 0.24, 0.68)], colour)
        pen.polygon([(middle, 0.06), (middle + 0.06, 0.68), (middle - 0.08, 0.68)], lighter(colour, 0.5))
        pen.box(middle - 0.17, 0.41, middle + 0.17, 0.48, darker(colour, 0.35), 0.02)


_PAINTERS: dict[str, Callable[[Pen, Colour, str], None]] = {
    "house": _house, "tree": _tree, "cat": _cat, "fish": _fish, "boat": _boat, "car": _car, "sun": _sun, "moon": _moon,
    "star": _star, "cloud": _cloud, "flower": _flower, "mushroom": _mushroom, "balloon": _balloon, "bird": _bird,
    "lighthouse": _lighthouse, "umbrella": _umbrella,
}  # fmt: skip


@cache  # bounded by the catalogue: some thousand sprites of at most 34 x 34 pixels
def sprite(
    kind: str, colour: str, size: str, pose: str, style: str = STYLES[0], pattern: str = "plain"
) -> tuple[np.ndarray, np.ndarray]:
    """One thing without its background.

    Returns (colour [height, width, 3], opacity [height, width]), both uint8 and read-only, with the box of `box_of`.
    The colour is premultiplied by the opacity.
    """
    box = box_of(kind, size)
    if kind in borrowed.BORROWED:
        ink = borrowed.ink_of(kind, COLOURS[colour], pose, box, OVERSAMPLING)
    else:
        pen = Pen(*box, OVERSAMPLING)
        _PAINTERS[kind](pen, COLOURS[colour], pose)
        ink = pen.canvas
    if pose == "facing right":
        ink = ink.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    marked = patterned(ink, COLOURS[colour], pattern, style, max(box) * OVERSAMPLING, OVERSAMPLING)
    return finished(marked, ink, COLOURS[colour], style, OVERSAMPLING)
