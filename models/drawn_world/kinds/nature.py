"""What grows, and what hangs in the sky."""

import math

from ..palette import COLOURS, CREAM, LAMP, LEAF, WATER, WOOD, Colour, darker, lighter, mix, shaded
from ..pen import Pen, star_points
from .kind import Kind

# fmt: off
MOODS = ("smiling", "sleeping")


def _tree(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.polygon([(middle - 0.07, 0.5), (middle + 0.07, 0.5), (middle + 0.11, 1.0), (middle - 0.11, 1.0)], WOOD)
    shade = darker(colour, 0.22)
    if pose == "round":
        lobes = ((0.0, 0.21, 0.21), (-0.19, 0.34, 0.18), (0.19, 0.34, 0.18), (-0.12, 0.50, 0.18), (0.13, 0.50, 0.18))
        for x, y, r in lobes:
            pen.circle(middle + x, y, r, shade)
        for x, y, r in lobes:
            pen.circle(middle + x * 0.95 - 0.02, y - 0.035, r - 0.035, colour)
        for x, y in ((-0.17, 0.28), (0.06, 0.36)):
            pen.arc(middle + x, y + 0.05, 0.11, 0.10, 190, 300, lighter(colour, 0.4), 0.05)
    else:
        for top, bottom, half in ((0.40, 0.82, 0.38), (0.20, 0.60, 0.31), (0.0, 0.36, 0.23)):
            pen.polygon([(middle, top), (middle + half, bottom), (middle - half, bottom)], shade)
            pen.polygon([(middle, top), (middle + half * 0.45, bottom), (middle - half, bottom)], colour)


def _palm(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.polygon([(middle + 0.10, 0.30), (middle + 0.18, 0.32), (middle + 0.04, 0.68), (middle + 0.05, 1.0),
                 (middle - 0.12, 1.0),
                 (middle - 0.10, 0.66)], WOOD)
    for y in (0.46, 0.60, 0.74, 0.88):
        pen.line([(middle - 0.06 + (0.7 - y) * 0.2, y),
                  (middle + 0.04 + (0.7 - y) * 0.2, y + 0.02)], darker(WOOD, 0.35), 0.025)
    x, y = middle + 0.13, 0.28
    shade = darker(colour, 0.25)
    for dx, dy, drop in ((-0.46, 0.10, 0.24), (0.33, 0.12, 0.24), (-0.36, -0.10, 0.10), (0.32, -0.10, 0.08),
                         (-0.10, -0.20, -0.06)):
        bend = (x + dx * 0.5, y + dy * 0.3 - 0.14)
        pen.blob([(x, y + 0.04), bend, (x + dx, y + dy + drop * 0.5), (x + dx * 0.5, y + dy * 0.3 - 0.01)],
                 colour if dy > -0.2 else shade)
    if pose == "with coconuts":
        for dx, dy in ((-0.09, 0.08), (0.07, 0.10)):
            pen.circle(x + dx, y + dy, 0.08, (96, 58, 40))


def _cactus(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    shade = shaded(colour, 0.3)
    pen.curve([(middle, 0.66), (middle - 0.29, 0.62), (middle - 0.30, 0.40)], colour, 0.12)
    pen.curve([(middle, 0.56), (middle + 0.29, 0.52), (middle + 0.30, 0.26)], colour, 0.12)
    pen.box(middle - 0.105, 0.08, middle + 0.105, 1.0, colour, 0.10)
    for x in (-0.04, 0.04):
        pen.line([(middle + x, 0.18), (middle + x, 0.94)], shade, 0.02)
    if pose == "in bloom":
        for x, y in ((0.0, 0.09), (-0.30, 0.36), (0.30, 0.22)):
            for dx, dy in ((-0.06, 0.0), (0.06, 0.0), (0.0, -0.06), (0.0, 0.05)):
                pen.circle(middle + x + dx, y + dy, 0.05, (250, 112, 156))
            pen.circle(middle + x, y, 0.04, LAMP)


def _flower(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.line([(middle, 0.45), (middle, 0.97)], LEAF, 0.07)
    for side in (-1, 1):
        pen.polygon([(middle, 0.92), (middle + side * 0.30, 0.62), (middle + side * 0.24, 0.86)], LEAF)
    if pose == "open":
        for turn in range(6):
            angle = turn * math.tau / 6
            pen.circle(middle + 0.20 * math.sin(angle), 0.335 - 0.20 * math.cos(angle), 0.125, colour)
        pen.circle(middle, 0.335, 0.115, (150, 96, 62) if colour == COLOURS["yellow"] else LAMP)
    else:
        pen.oval(middle, 0.28, 0.13, 0.27, lighter(colour, 0.45))
        for side in (-1, 1):
            pen.polygon([(middle + side * 0.23, 0.04), (middle + side * 0.20, 0.38), (middle, 0.57),
                         (middle, 0.28)], colour)
        pen.pie(middle, 0.46, 0.13, 0.12, 0, 180, LEAF)


def _mushroom(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    pen.polygon([(middle - 0.17, 0.5), (middle + 0.17, 0.5), (middle + 0.22, 0.96), (middle - 0.22, 0.96)], CREAM)
    pen.oval(middle, 0.94, 0.22, 0.06, CREAM)
    pen.oval(middle, 0.53, 0.42, 0.08, mix(CREAM, WOOD, 0.4))
    pen.pie(middle, 0.54, 0.49, 0.54, 180, 360, colour)
    pen.face(middle, 0.72, 0.20, pose == "smiling")


def _sun(pen: Pen, colour: Colour, pose: str):
    for turn in range(10):
        angle = turn * math.tau / 10
        tip = (0.5 + 0.5 * math.sin(angle), 0.5 - 0.5 * math.cos(angle))
        sides = [(0.5 + 0.38 * math.sin(angle + s), 0.5 - 0.38 * math.cos(angle + s)) for s in (-0.28, 0.28)]
        pen.polygon([tip, *sides], darker(colour, 0.1) if turn % 2 else lighter(colour, 0.2))
    pen.circle(0.5, 0.5, 0.38, colour)
    pen.circle(0.5, 0.5, 0.32, lighter(colour, 0.18))
    pen.face(0.5, 0.48, 0.32, pose == "smiling")


def _moon(pen: Pen, colour: Colour, pose: str):
    pen.circle(0.5, 0.5, 0.5, colour)
    shade = darker(colour, 0.22)
    if pose == "full":
        for x, y, r in ((0.33, 0.30, 0.12), (0.68, 0.45, 0.15), (0.40, 0.72, 0.13), (0.70, 0.80, 0.06)):
            pen.circle(x, y, r, shade)
    else:
        pen.erase(0.74, 0.38, 0.45)
        pen.circle(0.18, 0.58, 0.055, shade)
        pen.circle(0.36, 0.85, 0.05, shade)


def _star(pen: Pen, colour: Colour, pose: str):
    pen.polygon(star_points(0.5, 0.53, 0.525, 0.27), colour)
    pen.face(0.5, 0.52, 0.26, pose == "smiling")


def _cloud(pen: Pen, colour: Colour, pose: str):
    lift = 0.12 if pose == "fluffy" else 0.0
    shade = darker(colour, 0.14)
    pen.box(0.06, lift + 0.28, 0.94, lift + 0.54, shade, 0.13)
    for x, y, r in ((0.19, 0.36, 0.18), (0.43, 0.24, 0.24), (0.70, 0.30, 0.20), (0.85, 0.40, 0.14)):
        pen.circle(x, lift + y, r, colour)
    pen.box(0.10, lift + 0.34, 0.90, lift + 0.46, colour, 0.06)
    if pose == "raining":
        for x, y in ((0.22, 0.61), (0.42, 0.66), (0.62, 0.61), (0.82, 0.66)):
            pen.polygon([(x + 0.03, y - 0.06), (x + 0.075, y + 0.06), (x - 0.075, y + 0.06)], WATER)
            pen.circle(x, y + 0.07, 0.065, WATER)
    elif pose == "with lightning":
        pen.polygon([(0.56, 0.44), (0.36, 0.68), (0.48, 0.68), (0.40, 0.86), (0.66, 0.60), (0.54, 0.60),
                     (0.68, 0.44)], LAMP)


ALL = (
    Kind("tree", _tree, ("green", "red", "orange", "pink"), ("round", "pointed"), width=0.8),
    Kind("palm", _palm, ("green", "orange", "blue"), ("with coconuts", "without coconuts"), width=0.98),
    Kind("cactus", _cactus, ("green", "blue", "purple"), ("in bloom", "bare"), width=0.74),
    Kind("flower", _flower, ("red", "yellow", "purple", "pink", "white"), ("open", "closed"), width=0.75),
    Kind("mushroom", _mushroom, ("red", "brown", "blue", "purple"), MOODS),
    Kind("sun", _sun, ("yellow", "orange", "red", "pink"), MOODS, home="sky"),
    Kind("moon", _moon, ("yellow", "white", "orange", "blue"), ("full", "crescent"), width=0.9, height=0.9, home="sky"),
    Kind("star", _star, ("yellow", "white", "pink", "blue"), MOODS, home="sky"),
    Kind("cloud", _cloud, ("white", "pink", "blue", "grey"),
         ("fluffy", "raining", "with lightning"), height=0.87, home="sky"),
)
