"""Pictures that tell a part of another (edges, areas, depth, a scribble), and pictures that have suffered."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

CONDITIONS = ("edges", "segmentation", "depth", "scribble")
DEGRADATIONS = ("blur", "noise", "low resolution", "missing square", "grey")
MISSING = (128, 128, 128)  # colour of what is missing


def distinct_colours(names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """A colour for each name, well apart from each other."""
    colours = {}
    for number, name in enumerate(names):
        hue = (number * 0.618034) % 1
        value, saturation = ((1.0, 0.95), (0.62, 0.9), (0.9, 0.5), (0.4, 0.75))[number % 4]
        sectors = np.clip(np.abs((hue * 6 + np.array((0, 4, 2))) % 6 - 3) - 1, 0, 1)
        colours[name] = tuple(int(level) for level in (255 * value * (1 - saturation + saturation * sectors)).round())
    return colours


def grey(picture: np.ndarray) -> np.ndarray:
    """Brightness of a picture: uint8 [H, W, 3] -> float32 [H, W] in 0..255."""
    return picture.astype(np.float32) @ np.asarray((0.299, 0.587, 0.114), np.float32)


def as_picture(levels: np.ndarray) -> np.ndarray:
    """Brightness [H, W] in 0..255 -> a grey picture, uint8 [H, W, 3]."""
    return np.repeat(levels.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=-1)


def edges(picture: np.ndarray) -> np.ndarray:
    """White lines on black where a picture (uint8 [H, W, 3]) changes from one colour to another."""
    steep = np.zeros(picture.shape[:2], np.float32)
    for channel in range(3):
        smooth = ndimage.gaussian_filter(picture[..., channel].astype(np.float32), 0.7)
        steep = np.maximum(steep, np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)))
    ridge = steep >= ndimage.maximum_filter(steep, 3) * 0.85
    return as_picture(255.0 * (ridge & (steep > 110)))


def areas(
    instances: np.ndarray,
    colours: Sequence[tuple[int, int, int]],
    sky: tuple[int, int, int],
    ground: tuple[int, int, int],
    horizon: int,
) -> np.ndarray:
    """One flat colour for each thing, the sky and the ground.

    Args:
        instances: int [H, W], the number of the thing that is seen at each pixel, -1 for none.
        colours: of the things, by number.
        sky, ground: the colours above and below the horizon.
        horizon: its row.
    """
    picture = np.empty((*instances.shape, 3), np.uint8)
    picture[:horizon], picture[horizon:] = sky, ground
    for number, colour in enumerate(colours):
        picture[instances == number] = colour
    return picture


def depth_map(instances: np.ndarray, nearness: Sequence[float], horizon: float) -> np.ndarray:
    """Near is bright: the sky black, the ground brighter towards the viewer, each thing flat.

    Args:
        instances: as for `areas`.
        nearness: of the things, 0..1.
        horizon: its height as a share of the picture's, from the top.
    """
    height, width = instances.shape
    rows = np.arange(height) / height
    ground = np.where(rows > horizon, 60 + 120 * (rows - horizon) / (1 - horizon), 0)
    picture = np.repeat(ground[:, None], width, axis=1)
    for number, near in enumerate(nearness):
        picture[instances == number] = 70 + 180 * near
    return as_picture(picture)


def scribbled(instances: np.ndarray, things: int, horizon: float, rng: Random) -> np.ndarray:
    """Thick wobbly outlines of the things and of the horizon (a row), white on black."""
    height, width = instances.shape
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    draw.line([(x, horizon + rng.uniform(-2, 2)) for x in range(0, width + 16, 16)], fill=255, width=2)
    ys, xs = np.mgrid[0:height, 0:width]
    for number in range(things):
        soft = ndimage.gaussian_filter((instances == number).astype(np.float32), 1.2)
        bend = (rng.uniform(0, 6), rng.uniform(0, 6), rng.uniform(0.12, 0.2))
        at = (ys + 1.4 * np.sin(xs * bend[2] + bend[0]), xs + 1.4 * np.sin(ys * bend[2] + bend[1]))
        drawn = ndimage.map_coordinates(soft, at, order=1) > 0.45
        canvas.paste(0, mask=Image.fromarray(drawn))
        line = drawn & ~ndimage.binary_erosion(drawn, iterations=2)
        canvas.paste(255, mask=Image.fromarray(line))
    return as_picture(np.asarray(canvas, np.float32))


def degrade(picture: np.ndarray, name: str, seed: int, strength: float = 0.5) -> np.ndarray:
    """A picture (uint8 [H, W, 3]) that has suffered; the same for the same seed. `strength` is 0..1.

    Raises ValueError for an unknown degradation.
    """
    height, width = picture.shape[:2]
    rng = np.random.default_rng(seed)
    if name == "blur":
        image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.0 + 3.0 * strength))
        return np.asarray(image).copy()
    if name == "noise":
        noisy = picture + rng.normal(0, 20 + 70 * strength, picture.shape)
        return noisy.clip(0, 255).round().astype(np.uint8)
    if name == "low resolution":
        scale = round(3 + 5 * strength)
        small = Image.fromarray(picture).resize((width // scale, height // scale), Image.Resampling.BOX)
        return np.asarray(small.resize((width, height), Image.Resampling.NEAREST)).copy()
    if name == "missing square":
        side = round(min(height, width) * (0.25 + 0.25 * strength))
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        holed = picture.copy()
        holed[top : top + side, left : left + side] = MISSING
        return holed
    if name == "grey":
        return as_picture(grey(picture))
    raise ValueError(f"Unknown degradation {name!r}. Expected one of: {', '.join(DEGRADATIONS)}.")
