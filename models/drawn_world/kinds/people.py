"""People, and what looks a little like them. Their colour is that of what they wear."""

from ..palette import CREAM, INK, LAMP, SKIN, STEEL, WOOD, Colour, shaded
from ..pen import Pen
from .kind import Kind

# fmt: off
TROUSERS = (70, 84, 128)
HAIR = (96, 62, 48)
SHOES = (66, 52, 60)
NOSE = (240, 132, 48)


def _arm(pen: Pen, x: float, y: float, side: int, up: bool, length: float, fill: Colour, width: float):
    hand = (x + side * length * 0.62, y - length * 0.8) if up else (x + side * length * 0.42, y + length)
    pen.line([(x, y), hand], fill, width)
    pen.circle(*hand, width * 0.62, SKIN)


def _legs(pen: Pen, middle: float, top: float, spread: float, width: float, lift: float = 0.0):
    for side in (-1, 1):
        foot = pen.h - 0.03 - (lift if side > 0 else 0.0)
        pen.line([(middle + side * 0.07, top), (middle + side * spread, foot - 0.03)], TROUSERS, width)
        pen.oval(middle + side * spread - 0.025, foot, width * 0.72, 0.04, SHOES)


def _person(pen: Pen, colour: Colour, pose: str):
    """A grown-up: tall, with a hat."""
    middle = pen.w / 2
    _legs(pen, middle, 0.62, 0.17 if pose == "walking" else 0.08, 0.12, 0.04 if pose == "walking" else 0.0)
    for side in (-1, 1):
        up = pose == "waving" and side > 0
        _arm(pen, middle + side * 0.11, 0.36, side, up, 0.38 if up else 0.24, colour, 0.085)
    pen.blob([(middle - 0.13, 0.32), (middle, 0.29), (middle + 0.13, 0.32), (middle + 0.13, 0.50),
              (middle + 0.15, 0.66),
              (middle - 0.15, 0.66), (middle - 0.13, 0.50)], colour)
    pen.circle(middle, 0.18, 0.135, SKIN)
    pen.box(middle - 0.19, 0.10, middle + 0.19, 0.145, SHOES, 0.02)
    pen.box(middle - 0.11, 0.0, middle + 0.11, 0.13, SHOES, 0.04)
    for side in (-1, 1):
        pen.circle(middle + side * 0.05, 0.19, 0.022, INK)
    pen.arc(middle, 0.21, 0.06, 0.05, 20, 160, INK, 0.022)


def _child(pen: Pen, colour: Colour, pose: str):
    """A big head with bunches of hair, a short dress."""
    middle = pen.w / 2
    up = pose == "jumping"
    for side in (-1, 1):
        foot = (middle + side * 0.26, 0.90) if up else (middle + side * 0.10, 0.96)
        pen.line([(middle + side * 0.08, 0.78), foot], SKIN, 0.10)
        pen.oval(foot[0] - 0.02, foot[1], 0.09, 0.04, SHOES)
        if up:
            pen.line([(middle + side * 0.10, 0.60), (middle + side * 0.33, 0.50)], colour, 0.10)
            pen.circle(middle + side * 0.36, 0.48, 0.07, SKIN)
        else:
            _arm(pen, middle + side * 0.10, 0.58, side, False, 0.24, colour, 0.10)
        pen.circle(middle + side * 0.29, 0.20, 0.11, HAIR)
    pen.polygon([(middle - 0.12, 0.52), (middle + 0.12, 0.52), (middle + 0.27, 0.86), (middle - 0.27, 0.86)], colour)
    pen.circle(middle, 0.27, 0.25, SKIN)
    pen.pie(middle, 0.25, 0.26, 0.25, 180, 360, HAIR)
    pen.pie(middle, 0.26, 0.17, 0.08, 180, 360, SKIN)
    for side in (-1, 1):
        pen.oval(middle + side * 0.10, 0.30, 0.032, 0.045, INK)
        pen.oval(middle + side * 0.16, 0.39, 0.05, 0.03, (250, 160, 150))
    pen.arc(middle, 0.37, 0.08, 0.07, 20, 160, INK, 0.03)


def _robot(pen: Pen, colour: Colour, pose: str):
    middle, on = pen.w / 2, pose == "switched on"
    shade = shaded(colour, 0.3)
    pen.line([(middle, 0.02), (middle, 0.14)], STEEL, 0.04)
    pen.circle(middle, 0.05, 0.055, LAMP if on else SHOES)
    for side in (-1, 1):
        pen.box(middle + side * 0.13 - 0.07, 0.78, middle + side * 0.13 + 0.07, 0.98, STEEL, 0.02)
        pen.box(middle + side * 0.14 - 0.10, 0.93, middle + side * 0.14 + 0.10, 1.0, shade, 0.02)
        hand = 0.34 if on and side > 0 else 0.72
        pen.line([(middle + side * 0.26, 0.54), (middle + side * 0.38, hand)], STEEL, 0.08)
        pen.circle(middle + side * 0.38, hand, 0.065, shade)
    pen.box(middle - 0.27, 0.46, middle + 0.27, 0.82, colour, 0.05)
    pen.box(middle - 0.25, 0.11, middle + 0.25, 0.45, colour, 0.06)
    pen.box(middle - 0.20, 0.17, middle + 0.20, 0.38, INK, 0.05)
    for side in (-1, 1):
        if on:
            pen.circle(middle + side * 0.10, 0.26, 0.06, LAMP)
        else:
            pen.line([(middle + side * 0.10 - 0.05, 0.27), (middle + side * 0.10 + 0.05, 0.27)], STEEL, 0.03)
    pen.box(middle - 0.13, 0.54, middle + 0.13, 0.70, CREAM, 0.02)
    for number, x in enumerate((-0.07, 0.0, 0.07)):
        pen.circle(middle + x, 0.62, 0.03, ((226, 92, 84), (112, 186, 104), (96, 150, 220))[number])


def _snowman(pen: Pen, colour: Colour, pose: str):
    middle, snow = pen.w / 2, (246, 250, 254)
    for side in (-1, 1):
        mitten = (middle + side * 0.35, 0.22 if pose == "waving" and side > 0 else 0.62)
        pen.line([(middle + side * 0.14, 0.46), mitten], WOOD, 0.05)
        pen.circle(*mitten, 0.07, colour)
    pen.circle(middle, 0.76, 0.245, snow)
    pen.circle(middle, 0.49, 0.19, snow)
    pen.circle(middle, 0.27, 0.15, snow)
    pen.box(middle - 0.19, 0.13, middle + 0.19, 0.18, colour, 0.02)
    pen.box(middle - 0.12, 0.0, middle + 0.12, 0.16, colour, 0.02)
    pen.box(middle - 0.15, 0.37, middle + 0.15, 0.45, colour, 0.04)
    pen.polygon([(middle + 0.04, 0.40), (middle + 0.14, 0.40), (middle + 0.17, 0.62), (middle + 0.07, 0.62)], colour)
    for side in (-1, 1):
        pen.circle(middle + side * 0.06, 0.245, 0.026, INK)
    pen.polygon([(middle - 0.01, 0.27), (middle + 0.01, 0.33), (middle - 0.17, 0.32)], NOSE)
    for y in (0.52, 0.68, 0.80):
        pen.circle(middle - 0.02, y, 0.028, INK)


def _ghost(pen: Pen, colour: Colour, pose: str):
    middle = pen.w / 2
    hem = [(middle + 0.38 - 0.76 * step / 6, 0.98 if step % 2 == 0 else 0.86) for step in range(7)]
    pen.pie(middle, 0.40, 0.38, 0.40, 180, 360, colour)
    pen.polygon([(middle - 0.38, 0.39), (middle + 0.38, 0.39), *hem], colour)
    for side in (-1, 1):
        if pose == "smiling":
            pen.oval(middle + side * 0.14, 0.34, 0.065, 0.09, INK)
        else:
            pen.shut_eye(middle + side * 0.15, 0.36, 0.09)
        pen.oval(middle + side * 0.24, 0.48, 0.06, 0.035, (250, 160, 160))
    if pose == "smiling":
        pen.pie(middle, 0.48, 0.12, 0.13, 0, 180, INK)
    else:
        pen.oval(middle, 0.55, 0.05, 0.06, INK)


ALL = (
    Kind("person", _person, ("red", "blue", "green", "purple", "yellow"),
         ("standing", "walking", "waving"), width=0.72),
    Kind("child", _child, ("red", "yellow", "blue", "pink", "green"), ("standing", "jumping"), width=0.86),
    Kind("robot", _robot, ("red", "blue", "green", "grey", "orange"), ("switched on", "switched off"), width=0.88),
    Kind("snowman", _snowman, ("red", "blue", "black", "green"), ("standing", "waving"), width=0.84),
    Kind("ghost", _ghost, ("white", "blue", "purple", "pink"), ("smiling", "sleeping"), width=0.82, home="air"),
)
