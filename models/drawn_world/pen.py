"""The pen that things are drawn with: shapes in units of the thing, far larger than they come out."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .palette import BLUSH, INK, PAPER, Colour

Point = tuple[float, float]

OVERSAMPLING = 4
MARGIN = 2  # pixels from the edge of the box to the ink: room for outline and rim


class Pen:
    """Draws in units of the ink box: (0, 0) is its top left, its longest side is 1; `w` and `h` are its sides.

    Nothing is smoothed, so that a colour can be found again where it was put.
    """

    def __init__(self, width: int, height: int, scale: int = OVERSAMPLING):
        self.canvas = Image.new("RGBA", (width * scale, height * scale))
        self.draw = ImageDraw.Draw(self.canvas)
        self.margin = MARGIN * scale
        self.unit = (max(width, height) - 2 * MARGIN) * scale
        self.w = (width - 2 * MARGIN) * scale / self.unit
        self.h = (height - 2 * MARGIN) * scale / self.unit

    def at(self, x: float, y: float) -> Point:
        return self.margin + x * self.unit, self.margin + y * self.unit

    def _box(self, x: float, y: float, rx: float, ry: float) -> list[Point]:
        return [self.at(x - rx, y - ry), self.at(x + rx, y + ry)]

    def polygon(self, points: Sequence[Point], fill: Colour):
        self.draw.polygon([self.at(*point) for point in points], fill=fill)

    def blob(self, points: Sequence[Point], fill: Colour):
        """A closed smooth shape through the points."""
        self.polygon(_smooth(points, closed=True), fill)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour):
        self.draw.ellipse(self._box(x, y, rx, ry), fill=fill)

    def circle(self, x: float, y: float, r: float, fill: Colour):
        self.oval(x, y, r, r, fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, radius: float = 0.0):
        self.draw.rounded_rectangle([self.at(x0, y0), self.at(x1, y1)], radius * self.unit, fill=fill)

    def pie(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Colour):
        """A slice of an oval; angles in degrees, clockwise from the right."""
        self.draw.pieslice(self._box(x, y, rx, ry), start, end, fill=fill)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Colour, width: float):
        self.draw.arc(self._box(x, y, rx, ry), start, end, fill=fill, width=max(1, round(width * self.unit)))

    def ring(self, x: float, y: float, r: float, fill: Colour, width: float):
        self.arc(x, y, r, r, 0, 360, fill, width)

    def line(self, points: Sequence[Point], fill: Colour, width: float, knots: bool = False):
        """A line with round ends and corners; with `knots` there is a dot as wide as the line on every corner too."""
        placed = [self.at(*point) for point in points]
        self.draw.line(placed, fill=fill, width=max(1, round(width * self.unit)), joint="curve")
        r = width * self.unit / 2
        for x, y in placed if knots else (placed[0], placed[-1]):
            self.draw.ellipse([x - r, y - r, x + r, y + r], fill=fill)

    def curve(self, points: Sequence[Point], fill: Colour, width: float):
        """A smooth open line through the points."""
        self.line(_smooth(points, closed=False), fill, width)

    def erase(self, x: float, y: float, r: float):
        self.draw.ellipse(self._box(x, y, r, r), fill=(0, 0, 0, 0))

    def eye(self, x: float, y: float, r: float, look: float = -0.3):
        """An eye of radius `r` that looks aside by `look` of it."""
        self.circle(x, y, r, PAPER)
        self.circle(x + look * r, y + 0.05 * r, r * 0.66, INK)

    def shut_eye(self, x: float, y: float, r: float, fill: Colour = INK):
        self.arc(x, y - r * 0.5, r, r, 20, 160, fill, r * 0.55)

    def face(self, x: float, y: float, size: float, awake: bool):
        """A smiling face, or a sleeping one."""
        for side in (-1, 1):
            if awake:
                self.oval(x + side * size * 0.42, y - size * 0.15, size * 0.16, size * 0.22, INK)
            else:
                self.arc(x + side * size * 0.45, y - size * 0.2, size * 0.32, size * 0.28, 0, 180, INK, size * 0.16)
        if awake:
            self.pie(x, y + size * 0.12, size * 0.5, size * 0.52, 0, 180, INK)
            self.pie(x, y + size * 0.32, size * 0.28, size * 0.28, 0, 180, BLUSH)
        else:
            self.oval(x, y + size * 0.5, size * 0.15, size * 0.19, INK)

    def wheel(self, x: float, y: float, r: float, hub: Colour):
        self.circle(x, y, r, INK)
        self.circle(x, y, r * 0.48, hub)


def box_sides(width: float, height: float, size: int) -> tuple[int, int]:
    """Width and height in pixels, both even, of a box `size` pixels long whose sides are these, in units of it."""
    return 2 * round(width * size / 2), 2 * round(height * size / 2)


def star_points(x: float, y: float, outer: float, inner: float, corners: int = 5) -> list[Point]:
    turns = (corner * math.pi / corners for corner in range(2 * corners))
    return [
        (x + (inner if number % 2 else outer) * math.sin(angle), y - (inner if number % 2 else outer) * math.cos(angle))
        for number, angle in enumerate(turns)
    ]


def _smooth(points: Sequence[Point], closed: bool, steps: int = 6) -> list[Point]:
    """Catmull-Rom through the points."""
    count = len(points)
    smooth: list[Point] = []
    for start in range(count if closed else count - 1):
        if closed:
            a, b, c, d = (points[(start + shift) % count] for shift in (-1, 0, 1, 2))
        else:
            a, b, c, d = (points[min(max(start + shift, 0), count - 1)] for shift in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            smooth.append(
                tuple(
                    0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3)
                    for p, q, r, s in zip(a, b, c, d, strict=True)
                )
            )
    return smooth if closed else [*smooth, points[-1]]
