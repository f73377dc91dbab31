"""Pictures that tell a part of a scene (edges, areas, depth, a scribble), and pictures that have suffered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from .catalogue import GROUNDS, PICTURE_SIZE
from .drawing import instance_map, render
from .kinds import KINDS
from .values import Scene

CONDITIONS = ("edges", "segmentation", "depth", "scribble")
DEGRADATIONS = ("blur", "noise", "low resolution", "missing square", "grey")
MISSING = (128, 128, 128)  # colour of what is missing
_HORIZON = 0.62


@cache
def segmentation_colours() -> dict[str, tuple[int, int, int]]:
    """A colour for each kind, each ground and the sky, well apart from each other."""
    names = [*KINDS, *GROUNDS, "sky"]
    colours = {}
    for number, name in enumerate(names):
        hue = (number * 0.618034) % 1
        value, saturation = ((1.0, 0.95), (0.62, 0.9), (0.9, 0.5), (0.4, 0.75))[number % 4]
        sectors = np.clip(np.abs((hue * 6 + np.array((0, 4, 2))) % 6 - 3) - 1, 0, 1)
        colours[name] = tuple(int(level) for level in (255 * value * (1 - saturation + saturation * sectors)).round())
    return colours


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) @ np.asarray((0.299, 0.587, 0.114), np.float32)


def _as_picture(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=-1)


def edges(scene: Scene) -> np.ndarray:
    """White lines on black where the picture changes from one colour to another."""
    picture = render(scene).astype(np.float32)
    steep = np.zeros(picture.shape[:2], np.float32)
    for channel in range(3):
        smooth = ndimage.gaussian_filter(picture[..., channel], 0.7)
        steep = np.maximum(steep, np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)))
    ridge = steep >= ndimage.maximum_filter(steep, 3) * 0.85
    return _as_picture(255.0 * (ridge & (steep > 110)))


def segmentation(scene: Scene) -> np.ndarray:
    """One flat colour for each kind, the ground and the sky."""
    colours = segmentation_colours()
    picture = np.empty((PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
    horizon = round(PICTURE_SIZE * _HORIZON)
    picture[:horizon], picture[horizon:] = colours["sky"], colours[scene.ground]
    seen = instance_map(scene)
    for number, thing in enumerate(scene.things):
        picture[seen == number] = colours[thing.kind]
    return picture


def depth(scene: Scene) -> np.ndarray:
    """Near is bright: the sky black, the ground brighter towards the viewer, each thing flat."""
    rows = np.arange(PICTURE_SIZE) / PICTURE_SIZE
    ground = np.where(rows > _HORIZON, 60 + 120 * (rows - _HORIZON) / (1 - _HORIZON), 0)
    picture = np.repeat(ground[:, None], PICTURE_SIZE, axis=1)
    seen = instance_map(scene)
    for number, thing in enumerate(scene.things):
        picture[seen == number] = 70 + 180 * min(thing.depth, 128) / 128
    return _as_picture(picture)


def scribble(scene: Scene) -> np.ndarray:
    """Thick wobbly outlines of the things and the horizon, white on black, the same for the same scene."""
    rng = Random(repr(scene.to_json()))
    canvas = Image.new("L", (PICTURE_SIZE, PICTURE_SIZE))
    draw = ImageDraw.Draw(canvas)
    horizon = PICTURE_SIZE * _HORIZON
    draw.line([(x, horizon + rng.uniform(-2, 2)) for x in range(0, PICTURE_SIZE + 16, 16)], fill=255, width=2)
    seen = instance_map(scene)
    for number in range(len(scene.things)):
        soft = ndimage.gaussian_filter((seen == number).astype(np.float32), 1.2)
        ys, xs = np.mgrid[0:PICTURE_SIZE, 0:PICTURE_SIZE]
        bend = (rng.uniform(0, 6), rng.uniform(0, 6), rng.uniform(0.12, 0.2))
        at = (ys + 1.4 * np.sin(xs * bend[2] + bend[0]), xs + 1.4 * np.sin(ys * bend[2] + bend[1]))
        drawn = ndimage.map_coordinates(soft, at, order=1) > 0.45
        canvas.paste(0, mask=Image.fromarray(drawn))
        line = drawn & ~ndimage.binary_erosion(drawn, iterations=2)
        canvas.paste(255, mask=Image.fromarray(line))
    return _as_picture(np.asarray(canvas, np.float32))


_CONDITIONS: dict[str, Callable[[Scene], np.ndarray]] = {
    "edges": edges, "segmentation": segmentation, "depth": depth, "scribble": scribble,
}  # fmt: skip


def condition(scene: Scene, name: str) -> np.ndarray:
    """uint8 [128, 128, 3]. Raises ValueError for an unknown condition."""
    if name not in _CONDITIONS:
        raise ValueError(f"Unknown condition {name!r}. Expected one of: {', '.join(CONDITIONS)}.")
    return _CONDITIONS[name](scene)


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
        return _as_picture(_grey(picture))
    raise ValueError(f"Unknown degradation {name!r}. Expected one of: {', '.join(DEGRADATIONS)}.")
