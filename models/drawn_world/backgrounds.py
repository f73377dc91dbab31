"""The page behind the things: one fixed picture for each ground, sky and style."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from . import grounds, styles
from .catalogue import PICTURE_SIZE
from .palette import Colour, mix
from .pen import Point

SKY_FADE = 0.62  # where the gradient of the sky ends

_SCALE = 4
_SIDE = PICTURE_SIZE * _SCALE

# top and horizon of the sky, and how the light tints the ground: (towards colour, amount)
_SKIES: dict[str, tuple[Colour, Colour, Colour, float]] = {
    "day": ((104, 182, 236), (206, 236, 250), (255, 255, 255), 0.0),
    "dusk": ((112, 74, 150), (255, 176, 120), (150, 62, 104), 0.30),
    "night": ((16, 20, 58), (52, 62, 124), (22, 28, 84), 0.50),
    "fog": ((160, 168, 174), (208, 212, 212), (190, 196, 200), 0.34),
    "rain": ((88, 104, 124), (142, 158, 174), (78, 92, 116), 0.30),
    "rainbow": ((140, 204, 240), (226, 244, 250), (255, 255, 240), 0.08),
}
_RAINBOW = ((228, 84, 84), (246, 160, 70), (250, 222, 96), (110, 192, 110), (92, 142, 222), (150, 104, 196))
_STARS = (
    (0.05, 0.10), (0.16, 0.30), (0.27, 0.07), (0.36, 0.22), (0.47, 0.40), (0.55, 0.12), (0.66, 0.29), (0.75, 0.06),
    (0.84, 0.21), (0.94, 0.37), (0.07, 0.47), (0.25, 0.48), (0.72, 0.47), (0.96, 0.11),
)  # fmt: skip


class Page:
    """Painter of grounds and skies: coordinates are fractions of the picture; the ground is tinted by the light."""

    def __init__(self, sky: str, flat: bool):
        top, bottom, self._tint, self._amount = _SKIES[sky]
        if flat:
            self.image = Image.new("RGB", (_SIDE, _SIDE), mix(top, bottom, 0.4))
        else:
            steps = np.clip(np.linspace(0, 1 / SKY_FADE, _SIDE), 0, 1)[:, None, None]
            levels = np.asarray(top) * (1 - steps) + np.asarray(bottom) * steps
            self.image = Image.fromarray(np.broadcast_to(levels, (_SIDE, _SIDE, 3)).round().astype(np.uint8))
        self._draw = ImageDraw.Draw(self.image)

    def lit(self, colour: Colour) -> Colour:
        return mix(colour, self._tint, self._amount)

    def hill(self, height: float, swing: float, waves: float, phase: float, colour: Colour):
        """Fill everything below a wavy line at `height`."""
        xs = np.linspace(0, 1, 129)
        points = [(x * _SIDE, (height + swing * math.sin(waves * math.tau * x + phase)) * _SIDE) for x in xs]
        self._draw.polygon([*points, (_SIDE, _SIDE), (0, _SIDE)], fill=self.lit(colour))

    def wave(self, y: float, swing: float, waves: float, phase: float, colour: Colour, width: float):
        xs = np.linspace(0, 1, 129)
        points = [(x * _SIDE, (y + swing * math.sin(waves * math.tau * x + phase)) * _SIDE) for x in xs]
        self._draw.line(points, fill=self.lit(colour), width=round(width * _SIDE), joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, lit: bool = True):
        box = [(x - rx) * _SIDE, (y - ry) * _SIDE, (x + rx) * _SIDE, (y + ry) * _SIDE]
        self._draw.ellipse(box, fill=self.lit(colour) if lit else colour)

    def shape(self, points: list[Point], colour: Colour, lit: bool = True):
        self._draw.polygon([(x * _SIDE, y * _SIDE) for x, y in points], fill=self.lit(colour) if lit else colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour):
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def arc(self, x: float, y: float, r: float, colour: Colour, width: float):
        box = [(x - r) * _SIDE, (y - r) * _SIDE, (x + r) * _SIDE, (y + r) * _SIDE]
        self._draw.arc(box, 180, 360, fill=colour, width=round(width * _SIDE))

    def line(self, points: list[Point], colour: Colour, width: float):
        self._draw.line([(x * _SIDE, y * _SIDE) for x, y in points], fill=colour, width=round(width * _SIDE))


def _draw_sky(page: Page, sky: str):
    if sky == "night":
        for x, y in _STARS:
            page.oval(x, y, 0.006, 0.006, (214, 220, 250), lit=False)
    elif sky == "dusk":
        for x, y, rx in ((0.2, 0.44, 0.30), (0.75, 0.50, 0.36), (0.6, 0.36, 0.22)):
            page.oval(x, y, rx, 0.012, mix((255, 190, 140), (190, 110, 150), 0.5 if y < 0.4 else 0.15), lit=False)
    elif sky == "rainbow":
        for number, colour in enumerate(_RAINBOW):
            page.arc(0.5, 0.66, 0.56 - number * 0.026, mix(colour, (226, 244, 250), 0.25), 0.028)
    elif sky == "rain":
        for x, y, rx in ((0.14, 0.05, 0.26), (0.52, 0.02, 0.30), (0.88, 0.06, 0.24)):
            page.oval(x, y, rx, 0.075, (74, 88, 108), lit=False)


def _draw_weather(page: Page, sky: str):
    """What lies over the ground too."""
    if sky == "rain":
        for row in range(7):
            for column in range(8):
                x = (column + 0.5 * (row % 2)) / 8 + 0.02
                y = row / 7 + 0.05 + 0.03 * (column % 3)
                page.line([(x, y), (x - 0.018, y + 0.06)], (196, 212, 230), 0.006)


def _fog_veil(pixels: np.ndarray) -> np.ndarray:
    """Soft pale bands across the page, uint8 [128, 128, 3] in and out."""
    ys, xs = np.mgrid[0:PICTURE_SIZE, 0:PICTURE_SIZE] / PICTURE_SIZE
    veil = np.zeros_like(ys)
    for y, strength in ((0.14, 0.5), (0.38, 0.6), (0.60, 0.8), (0.84, 0.45)):
        veil = np.maximum(veil, strength * np.exp(-(((ys - y - 0.012 * np.sin(7 * xs + 20 * y)) / 0.035) ** 2)))
    return (pixels * (1 - veil[..., None]) + 228 * veil[..., None]).round().astype(np.uint8)


def painted(paint_ground: Callable[[Page], None], sky: str, style: str) -> np.ndarray:
    """An empty page with this ground: uint8 [128, 128, 3], read-only."""
    page = Page(sky, flat=style == "outline")
    _draw_sky(page, sky)
    paint_ground(page)
    _draw_weather(page, sky)
    pixels = styles.PAGES[style](page.image, _SCALE)
    if sky == "fog":
        pixels = _fog_veil(pixels)
        if style == "mosaic":
            pixels = styles.in_stones(pixels)
    pixels = pixels.copy()
    pixels.flags.writeable = False
    return pixels


@cache  # 240 pictures
def background(ground: str, sky: str, style: str) -> np.ndarray:
    """The empty page: uint8 [128, 128, 3], read-only, the same for the same ground, sky and style."""
    return painted(grounds.PAINTERS[ground], sky, style)
