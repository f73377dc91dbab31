"""The page behind the things: one fixed picture for each ground and sky, with nothing in it that words do not name."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from ..drawn_world import styles
from .catalogue import PICTURE_SIZE, STYLES

Colour = tuple[int, int, int]

_SCALE = 4
_SIDE = PICTURE_SIZE * _SCALE
HORIZON = 0.62  # of the picture's height

# top and horizon of the sky, and how the light tints the ground: (towards colour, amount)
_SKIES: dict[str, tuple[Colour, Colour, Colour, float]] = {
    "day": ((104, 182, 236), (206, 236, 250), (255, 255, 255), 0.0),
    "night": ((16, 20, 58), (52, 62, 124), (22, 28, 84), 0.50),
    "dusk": ((112, 74, 150), (255, 176, 120), (150, 62, 104), 0.30),
    "fog": ((160, 168, 174), (208, 212, 212), (190, 196, 200), 0.34),
}


def _mix(colour: Colour, other: Colour, amount: float) -> Colour:
    return tuple(round(a + (b - a) * amount) for a, b in zip(colour, other, strict=True))


class _Page:
    """Ground painter: coordinates are fractions of the picture, colours are tinted by the sky's light."""

    def __init__(self, sky: str, flat: bool):
        top, bottom, self._tint, self._amount = _SKIES[sky]
        steps = np.clip(np.linspace(0, 1 / HORIZON, _SIDE), 0, 1)[:, None, None]
        if flat:
            steps = np.full_like(steps, 0.4)
        levels = np.asarray(top) * (1 - steps) + np.asarray(bottom) * steps
        self.image = Image.fromarray(np.broadcast_to(levels, (_SIDE, _SIDE, 3)).round().astype(np.uint8))
        self._draw = ImageDraw.Draw(self.image)

    def lit(self, colour: Colour) -> Colour:
        return _mix(colour, self._tint, self._amount)

    def hill(self, height: float, swing: float, waves: float, phase: float, colour: Colour, end: float = 1.0):
        """Fill below a wavy line at `height` (down to `end`)."""
        xs = np.linspace(0, 1, 129)
        points = [(x * _SIDE, (height + swing * math.sin(waves * math.tau * x + phase)) * _SIDE) for x in xs]
        self._draw.polygon([*points, (_SIDE, end * _SIDE), (0, end * _SIDE)], fill=self.lit(colour))

    def dot(self, x: float, y: float, rx: float, ry: float, colour: Colour):
        box = [(x - rx) * _SIDE, (y - ry) * _SIDE, (x + rx) * _SIDE, (y + ry) * _SIDE]
        self._draw.ellipse(box, fill=colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour):
        self._draw.polygon([(x * _SIDE, y * _SIDE) for x, y in points], fill=self.lit(colour))

    def wave(self, y: float, swing: float, waves: float, phase: float, colour: Colour, width: float):
        xs = np.linspace(0, 1, 129)
        points = [(x * _SIDE, (y + swing * math.sin(waves * math.tau * x + phase)) * _SIDE) for x in xs]
        self._draw.line(points, fill=self.lit(colour), width=round(width * _SIDE), joint="curve")


_GRASS = (
    (0.06, 0.78), (0.30, 0.74), (0.55, 0.79), (0.78, 0.75), (0.95, 0.80), (0.17, 0.93), (0.43, 0.95), (0.68, 0.92),
    (0.89, 0.95),
)  # fmt: skip


def _meadow(page: _Page):
    page.hill(0.59, 0.035, 1.3, 0.4, (160, 204, 120))
    page.hill(0.66, 0.03, 1.0, 2.6, (128, 188, 96))
    page.hill(0.82, 0.02, 1.4, 0.9, (108, 172, 84))
    for x, y in _GRASS:
        for lean in (-0.012, 0.0, 0.012):
            page.shape([(x - 0.006, y), (x + 0.006, y), (x + lean, y - 0.025)], (84, 148, 70))


def _beach(page: _Page):
    page.hill(0.60, 0.0, 1.0, 0.0, (74, 160, 204))
    page.hill(0.66, 0.0, 1.0, 0.0, (96, 184, 214))
    page.hill(0.735, 0.012, 1.5, 0.3, (240, 250, 250))
    page.hill(0.755, 0.012, 1.5, 0.3, (238, 214, 160))
    page.hill(0.90, 0.014, 1.1, 2.0, (228, 200, 142))


def _snow(page: _Page):
    page.hill(0.58, 0.045, 1.2, 1.9, (206, 222, 238))
    page.hill(0.67, 0.03, 0.9, 0.2, (226, 236, 246))
    page.hill(0.83, 0.022, 1.3, 2.4, (244, 248, 252))


def _sea(page: _Page):
    for number, y in enumerate((0.60, 0.69, 0.78, 0.87, 0.955)):
        depth = number / 4
        page.hill(y, 0.008, 5.0, number * 1.7, _mix((84, 168, 214), (26, 84, 152), depth))
        page.wave(y, 0.008, 5.0, number * 1.7, _mix((184, 226, 244), (90, 152, 206), depth), 0.008)


def _corners(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _desert(page: _Page):
    page.hill(0.58, 0.05, 0.8, 3.6, (226, 160, 100))
    page.hill(0.68, 0.04, 1.0, 0.6, (236, 176, 104))
    page.hill(0.84, 0.025, 0.9, 3.0, (222, 152, 84))
    for x, y in ((0.30, 0.64), (0.92, 0.62)):  # two cacti: a stem, and an arm on either side
        page.shape(_corners(x - 0.010, y - 0.085, x + 0.010, y), (104, 140, 84))
        for side, elbow in ((-1, y - 0.022), (1, y - 0.037)):
            page.shape(_corners(x, elbow - 0.014, x + side * 0.032, elbow), (104, 140, 84))
            page.shape(_corners(x + side * 0.018, elbow - 0.042, x + side * 0.032, elbow), (104, 140, 84))


def _road(page: _Page):
    page.hill(0.59, 0.012, 2.2, 0.7, (150, 178, 138))
    page.hill(0.655, 0.0, 1.0, 0.0, (196, 190, 180))
    page.hill(0.69, 0.0, 1.0, 0.0, (112, 114, 126))
    page.hill(0.955, 0.0, 1.0, 0.0, (196, 190, 180))
    for x in (0.02, 0.22, 0.42, 0.62, 0.82):
        page.shape([(x + 0.012, 0.815), (x + 0.132, 0.815), (x + 0.12, 0.838), (x, 0.838)], (250, 236, 180))


_GROUNDS: dict[str, Callable[[_Page], None]] = {
    "meadow": _meadow, "beach": _beach, "snow": _snow, "sea": _sea, "desert": _desert, "road": _road,
}  # fmt: skip


_STARS = (
    (0.05, 0.10), (0.16, 0.30), (0.27, 0.07), (0.36, 0.22), (0.47, 0.40), (0.55, 0.12), (0.66, 0.29), (0.75, 0.06),
    (0.84, 0.21), (0.94, 0.37), (0.07, 0.47), (0.25, 0.48), (0.72, 0.47), (0.96, 0.11),
)  # fmt: skip


def _night_sky(page: _Page):
    for x, y in _STARS:
        page.dot(x, y, 0.006, 0.006, (214, 220, 250))


def _dusk_sky(page: _Page):
    for x, y, rx in ((0.2, 0.44, 0.30), (0.75, 0.50, 0.36), (0.6, 0.36, 0.22)):
        page.dot(x, y, rx, 0.012, _mix((255, 190, 140), (190, 110, 150), 0.5 if y < 0.4 else 0.15))


def _fog_veil(pixels: np.ndarray) -> np.ndarray:
    """Soft pale bands across the page, uint8 [128, 128, 3] in and out."""
    ys, xs = np.mgrid[0:PICTURE_SIZE, 0:PICTURE_SIZE] / PICTURE_SIZE
    veil = np.zeros_like(ys)
    for y, strength in ((0.14, 0.5), (0.38, 0.6), (0.60, 0.8), (0.84, 0.45)):
        veil = np.maximum(veil, strength * np.exp(-(((ys - y - 0.012 * np.sin(7 * xs + 20 * y)) / 0.035) ** 2)))
    return (pixels * (1 - veil[..., None]) + 228 * veil[..., None]).round().astype(np.uint8)


@cache  # 96 pictures
def background(ground: str, sky: str, style: str = STYLES[0]) -> np.ndarray:
    """The empty page: uint8 [128, 128, 3], read-only, the same for the same ground, sky and style."""
    page = _Page(sky, flat=style == "outline")
    if sky == "night":
        _night_sky(page)
    if sky == "dusk":
        _dusk_sky(page)
    _GROUNDS[ground](page)
    pixels = styles.PAGES[style](page.image, _SCALE).copy()
    if sky == "fog":
        pixels = _fog_veil(pixels)
        if style == "mosaic":
            pixels = styles.in_stones(pixels)
    pixels.flags.writeable = False
    return pixels
