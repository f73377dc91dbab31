"""From a scene to pixels and exact masks. No randomness: equal scenes give equal bytes."""

import numpy as np

from .backgrounds import background
from .catalogue import PICTURE_SIZE
from .sprites import sprite
from .world import Scene, Thing

CUTOUT_GREY = 128  # what surrounds an instance that was cut out by its mask


def _paste(picture: np.ndarray, thing: Thing) -> None:
    pixels, opacity = sprite(thing.kind, thing.colour, thing.size, thing.pose)
    left, top, right, bottom = thing.box
    behind = picture[top:bottom, left:right].astype(np.uint16)
    shining = (behind * (255 - opacity.astype(np.uint16))[..., None] + 127) // 255
    picture[top:bottom, left:right] = np.minimum(pixels + shining, 255).astype(np.uint8)


def render(scene: Scene) -> np.ndarray:
    """The page as uint8 [128, 128, 3]."""
    picture = background(scene.ground, scene.sky).copy()
    for thing in scene.things:
        _paste(picture, thing)
    return picture


def mask_of(thing: Thing) -> np.ndarray:
    """bool [128, 128]: every pixel that the thing covers, its soft edge included."""
    mask = np.zeros((PICTURE_SIZE, PICTURE_SIZE), bool)
    left, top, right, bottom = thing.box
    mask[top:bottom, left:right] = sprite(thing.kind, thing.colour, thing.size, thing.pose)[1] > 0
    return mask


def render_with_masks(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The page, uint8 [128, 128, 3], and a mask for each of its things, bool [things, 128, 128], disjoint."""
    masks = np.zeros((len(scene.things), PICTURE_SIZE, PICTURE_SIZE), bool)
    for mask, thing in zip(masks, scene.things, strict=True):
        mask[:] = mask_of(thing)
    return render(scene), masks


def change_mask(before: Scene, after: Scene) -> np.ndarray:
    """bool [128, 128]: exactly the pixels that differ between two pages."""
    return (render(before) != render(after)).any(axis=-1)


def cutout(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The masked part of a picture (uint8 [H, W, 3], bool [H, W]) on plain grey: how a masked reference looks."""
    return np.where(mask[..., None], picture, np.uint8(CUTOUT_GREY))
