"""From a scene to pixels and exact masks. No randomness: equal scenes give equal bytes."""

import numpy as np

from ..drawn_world.styles import BLOCK
from .backgrounds import background
from .catalogue import PICTURE_SIZE, STYLES
from .sprites import sprite
from .world import Scene, Thing

CUTOUT_GREY = 128  # what surrounds an instance that was cut out by its mask


def _laid(thing: Thing, style: str) -> tuple[np.ndarray, np.ndarray, slice, slice]:
    """Pixels and opacity of a thing, see `sprite`, and the rows and columns where they lie."""
    pixels, opacity = sprite(thing.kind, thing.colour, thing.size, thing.pose, style, thing.pattern)
    left, top, _, _ = thing.box
    if style == "mosaic":  # stones lie on one grid
        left, top = left - left % BLOCK, top - top % BLOCK
    height, width = opacity.shape
    return pixels, opacity, slice(top, top + height), slice(left, left + width)


def _paste(picture: np.ndarray, thing: Thing, style: str) -> None:
    pixels, opacity, rows, columns = _laid(thing, style)
    behind = picture[rows, columns].astype(np.uint16)
    shining = (behind * (255 - opacity.astype(np.uint16))[..., None] + 127) // 255
    picture[rows, columns] = np.minimum(pixels + shining, 255).astype(np.uint8)


def render(scene: Scene) -> np.ndarray:
    """The page as uint8 [128, 128, 3]."""
    picture = background(scene.ground, scene.sky, scene.style).copy()
    for thing in scene.things:
        _paste(picture, thing, scene.style)
    return picture


def mask_of(thing: Thing, style: str = STYLES[0]) -> np.ndarray:
    """bool [128, 128]: every pixel that the thing covers, its soft edge included."""
    mask = np.zeros((PICTURE_SIZE, PICTURE_SIZE), bool)
    _, opacity, rows, columns = _laid(thing, style)
    mask[rows, columns] = opacity > 0
    return mask


def render_with_masks(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The page, uint8 [128, 128, 3], and a mask for each of its things, bool [things, 128, 128], disjoint."""
    masks = np.zeros((len(scene.things), PICTURE_SIZE, PICTURE_SIZE), bool)
    for mask, thing in zip(masks, scene.things, strict=True):
        mask[:] = mask_of(thing, scene.style)
    return render(scene), masks


def change_mask(before: Scene, after: Scene) -> np.ndarray:
    """bool [128, 128]: exactly the pixels that differ between two pages."""
    return (render(before) != render(after)).any(axis=-1)


def cutout(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The masked part of a picture (uint8 [H, W, 3], bool [H, W]) on plain grey: how a masked reference looks."""
    return np.where(mask[..., None], picture, np.uint8(CUTOUT_GREY))
