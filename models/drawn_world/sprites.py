"""One thing without its background, in each of the four drawing styles."""

from functools import lru_cache

import numpy as np
from PIL import Image

from . import styles
from .catalogue import box_of
from .kinds import KINDS
from .palette import COLOURS, INK, PAPER, Colour, mix
from .pen import OVERSAMPLING, Pen

_PERIOD = 0.17  # of stripes and dots, in units of the thing
_SHORTEST_PERIOD = {"mosaic": 8.0}  # pixels


def _mark(colour: Colour) -> Colour:
    """What stripes and dots on a colour look like: pale, or dark on pale colours."""
    brightness = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return mix(colour, INK, 0.55) if brightness > 178 else mix(colour, PAPER, 0.92)


def _with_pattern(ink: np.ndarray, colour: Colour, mark: Colour, pattern: str, period: float) -> np.ndarray:
    body = (ink[..., :3] == np.asarray(colour, np.uint8)).all(axis=-1) & (ink[..., 3] > 0)
    ys, xs = np.mgrid[0 : ink.shape[0], 0 : ink.shape[1]]
    ys, xs = ys / period, (xs - ink.shape[1] / 2) / period + 0.5
    if pattern == "striped":
        marked = (xs + ys * 0.6) % 1 < 0.46
    else:
        shifted = xs + 0.5 * (np.floor(ys) % 2)
        marked = (shifted % 1 - 0.5) ** 2 + (ys % 1 - 0.5) ** 2 < 0.105
    ink[body & marked, :3] = mark
    return ink


def patterned(ink: Image.Image, colour: Colour, pattern: str, style: str, unit: float, scale: int) -> Image.Image:
    """A thing in ink, `scale` times too large, with a pattern on all that has its main colour.

    `unit` is the thing's longest side in pixels of the ink, which stripes and dots are measured by; they are no finer
    than what can be told once the ink is `scale` times smaller.
    """
    if pattern == "plain":
        return ink
    period = max(unit * _PERIOD, _SHORTEST_PERIOD.get(style, 5.5) * scale)
    return Image.fromarray(_with_pattern(np.array(ink), colour, _mark(colour), pattern, period))


@lru_cache(maxsize=4096)  # some 5 KB each
def sprite(kind: str, colour: str, size: str, pose: str, style: str) -> tuple[np.ndarray, np.ndarray]:
    """One thing without its background.

    Returns (colour [height, width, 3], opacity [height, width]), both uint8 and read-only, with the box of `box_of`.
    The colour is premultiplied by the opacity.
    """
    pen = Pen(*box_of(kind, size))
    KINDS[kind].paint(pen, COLOURS[colour], pose)
    ink = pen.canvas
    if pose == "facing right":
        ink = ink.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return finished(ink, ink, COLOURS[colour], style, OVERSAMPLING)


def finished(
    ink: Image.Image, plain: Image.Image, colour: Colour, style: str, scale: int
) -> tuple[np.ndarray, np.ndarray]:
    """A thing in ink, `scale` times too large, in a style and at its final size; read-only, see `sprite`.

    `plain` is its ink without a pattern, and `colour` the main one.
    """
    levels = styles.THINGS[style](ink, plain, colour, scale)
    pixels, opacity = levels[..., :3].copy(), levels[..., 3].copy()
    pixels.flags.writeable = opacity.flags.writeable = False
    return pixels, opacity
