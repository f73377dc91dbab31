"""From a scene to pixels and exact masks. No randomness: equal scenes give equal bytes."""

import numpy as np

from .backgrounds import background
from .catalogue import PICTURE_SIZE
from .sprites import sprite
from .styles import BLOCK
from .values import Scene, Thing

SOLID = 128  # opacity from which on a pixel belongs to a thing
CUTOUT_GREY = 128  # what surrounds an instance that was cut out by its mask


def laid(thing: Thing, style: str) -> tuple[np.ndarray, np.ndarray, slice, slice]:
    """Premultiplied pixels and opacity of a thing, and the rows and columns where they lie."""
    pixels, opacity = sprite(*thing.look, style)
    left, top, right, bottom = thing.box
    if style == "mosaic":  # stones lie on one grid
        left, top = left - left % BLOCK, top - top % BLOCK
    rows, columns = slice(top, top + bottom - thing.box[1]), slice(left, left + right - thing.box[0])
    return pixels, opacity, rows, columns


def render(scene: Scene) -> np.ndarray:
    """The picture as uint8 [128, 128, 3]."""
    picture = background(scene.ground, scene.sky, scene.style).copy()
    for thing in scene.things:
        pixels, opacity, rows, columns = laid(thing, scene.style)
        behind = picture[rows, columns].astype(np.uint16)
        shining = (behind * (255 - opacity.astype(np.uint16))[..., None] + 127) // 255
        picture[rows, columns] = np.minimum(pixels + shining, 255)
    return picture


def opacity_of(thing: Thing, style: str) -> np.ndarray:
    """uint8 [128, 128]: how much a thing hides of what is behind it, were nothing before it."""
    whole = np.zeros((PICTURE_SIZE, PICTURE_SIZE), np.uint8)
    _, opacity, rows, columns = laid(thing, style)
    whole[rows, columns] = opacity
    return whole


def instance_map(scene: Scene) -> np.ndarray:
    """int8 [128, 128]: the index in `scene.things` of what is seen at each pixel, -1 where it is the background."""
    seen = np.full((PICTURE_SIZE, PICTURE_SIZE), -1, np.int8)
    for number, thing in enumerate(scene.things):
        _, opacity, rows, columns = laid(thing, scene.style)
        seen[rows, columns][opacity >= SOLID] = number
    return seen


def render_with_masks(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The picture, uint8 [128, 128, 3], and the visible part of each thing, bool [things, 128, 128], disjoint.

    Masks are in the order of `scene.things`: far ones first.
    """
    return render(scene), instance_map(scene) == np.arange(len(scene.things))[:, None, None]


def whole_masks(scene: Scene) -> np.ndarray:
    """bool [things, 128, 128]: each thing as if nothing were before it."""
    masks = np.zeros((len(scene.things), PICTURE_SIZE, PICTURE_SIZE), bool)
    for mask, thing in zip(masks, scene.things, strict=True):
        _, opacity, rows, columns = laid(thing, scene.style)
        mask[rows, columns] = opacity >= SOLID
    return masks


def visible_shares(scene: Scene) -> tuple[float, ...]:
    """How much of each thing is seen, 0..1."""
    seen = instance_map(scene)
    return tuple(float((seen == number).sum() / whole.sum()) for number, whole in enumerate(whole_masks(scene)))


def change_mask(before: Scene, after: Scene) -> np.ndarray:
    """bool [128, 128]: exactly the pixels that differ between two pictures."""
    return (render(before) != render(after)).any(axis=-1)


def cutout(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The masked part of a picture (uint8 [H, W, 3], bool [H, W]) on plain grey: how a masked reference looks."""
    return np.where(mask[..., None], picture, np.uint8(CUTOUT_GREY))
