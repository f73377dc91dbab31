"""One thing without its background, in each of the four drawing styles."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from .catalogue import box_of
from .kinds import KINDS
from .palette import COLOURS, INK, PAPER, Colour, mix
from .pen import OVERSAMPLING, Pen

OUTLINE_PIXELS = 0.75
RIM_PIXELS = 0.85
BLOCK = 2  # pixels of the finished picture along one stone of the mosaic
PALE = 0.34  # how far the outline style moves colours towards paper
_LINE_PIXELS = 0.75
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


def _inks(kind: str, colour: str, size: str, pose: str, pattern: str, style: str) -> tuple[Image.Image, Image.Image]:
    """The thing `OVERSAMPLING` times too large (RGBA, opacity 0 or 255), bare: with its pattern, and without."""
    pen = Pen(*box_of(kind, size))
    KINDS[kind].paint(pen, COLOURS[colour], pose)
    plain = pen.canvas
    if pose == "facing right":
        plain = plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if pattern == "plain":
        return plain, plain
    period = max(pen.unit * _PERIOD, _SHORTEST_PERIOD.get(style, 5.5) * OVERSAMPLING)
    return Image.fromarray(
        _with_pattern(np.array(plain), COLOURS[colour], _mark(COLOURS[colour]), pattern, period)
    ), plain


def _grown(silhouette: Image.Image, pixels: float) -> Image.Image:
    """The silhouette (mode L) grown by `pixels` of the final picture, corners rounded."""
    blurred = silhouette.filter(ImageFilter.GaussianBlur(pixels * OVERSAMPLING))
    return blurred.point(lambda level: 255 if level > 40 else 0)  # a straight edge lies one deviation out at 0.16 * 255


def _sticker(ink: Image.Image, plain: Image.Image, colour: Colour) -> np.ndarray:
    """A dark outline keeps a thing visible on a bright ground, a white rim on a dark one."""
    outline = _grown(ink.getchannel("A"), OUTLINE_PIXELS)
    drawn = Image.new("RGBA", ink.size)
    drawn.paste((*PAPER, 255), mask=_grown(outline, RIM_PIXELS))
    drawn.paste((*mix(colour, INK, 0.72), 255), mask=outline)
    drawn.alpha_composite(ink)
    return np.asarray(drawn.convert("RGBa").reduce(OVERSAMPLING))


def _outline(ink: Image.Image, plain: Image.Image, colour: Colour) -> np.ndarray:
    """Ink lines around every area of one colour, but for those of a pattern; pale fillings."""
    levels = np.array(ink)
    colours = np.array(plain).view(np.uint32)[..., 0]
    edges = np.zeros(colours.shape, bool)
    edges[1:] |= colours[1:] != colours[:-1]
    edges[:, 1:] |= colours[:, 1:] != colours[:, :-1]
    lines = Image.fromarray(edges.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(_LINE_PIXELS))
    pale = PALE * (levels[..., :3] != np.asarray(INK)).any(axis=-1, keepdims=True)
    drawn = levels[..., :3] * (1 - pale) + np.asarray(PAPER) * pale
    filled = Image.fromarray(np.dstack([drawn.astype(np.uint8), levels[..., 3]]))
    filled.paste((*INK, 255), mask=lines.point(lambda level: 255 if level > 36 else 0))
    return np.asarray(filled.convert("RGBa").reduce(OVERSAMPLING))


def _wash(ink: Image.Image, plain: Image.Image, colour: Colour) -> np.ndarray:
    """Soft edges where the pigment gathers, no lines."""
    soft = ink.convert("RGBa").filter(ImageFilter.GaussianBlur(0.5 * OVERSAMPLING)).reduce(OVERSAMPLING)
    pixels = np.asarray(soft, np.float32)
    opacity = pixels[..., 3:] / 255
    wide = np.asarray(ink.getchannel("A").filter(ImageFilter.GaussianBlur(1.6 * OVERSAMPLING)).reduce(OVERSAMPLING))
    gathered = np.clip(1.35 - 1.35 * wide[..., None].astype(np.float32) / 255, 0, 0.55)  # towards the edge
    pigment = np.asarray(mix(colour, INK, 0.45), np.float32)
    paper = np.asarray(PAPER, np.float32)
    flat = pixels[..., :3] * 0.84 + paper * opacity * 0.16
    washed = flat * (1 - gathered) + pigment * opacity * gathered
    opacity = np.clip(opacity * 1.12, 0, 1)
    washed = np.minimum(washed * 1.12, 255 * opacity)
    return np.concatenate([washed, 255 * opacity], axis=-1).round().astype(np.uint8)


def _mosaic(ink: Image.Image, plain: Image.Image, colour: Colour) -> np.ndarray:
    """Square stones, whole or not there at all, with a ring of dark ones around."""
    levels = np.asarray(ink.convert("RGBa"), np.int32)
    side = OVERSAMPLING * BLOCK
    blocks = levels.reshape(levels.shape[0] // side, side, levels.shape[1] // side, side, 4).swapaxes(1, 2)
    solid = blocks[..., 3].mean(axis=(2, 3)) >= 90
    core = blocks[:, :, side // 4 : -side // 4, side // 4 : -side // 4]  # its middle, for crisp colours
    core = np.where(core[..., 3:].any(axis=(2, 3), keepdims=True), core, blocks[:, :, ::2, ::2]).sum(axis=(2, 3))
    flat = np.minimum(core[..., :3] * 255 // np.maximum(core[..., 3:], 1), 255)
    flat = np.minimum((flat + 12) // 24 * 24, 255)
    near = np.zeros_like(solid)
    near[1:] |= solid[:-1]
    near[:-1] |= solid[1:]
    near[:, 1:] |= solid[:, :-1]
    near[:, :-1] |= solid[:, 1:]
    flat[~solid] = mix(colour, INK, 0.75)
    there = solid | near
    stones = np.dstack([flat * there[..., None], there * 255]).astype(np.uint8)
    return stones.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


_STYLES = {"sticker": _sticker, "outline": _outline, "wash": _wash, "mosaic": _mosaic}


@lru_cache(maxsize=16384)  # all there are, some 5 KB each
def sprite(kind: str, colour: str, size: str, pose: str, pattern: str, style: str) -> tuple[np.ndarray, np.ndarray]:
    """One thing without its background.

    Returns (colour [height, width, 3], opacity [height, width]), both uint8 and read-only, with the box of `box_of`.
    The colour is premultiplied by the opacity.
    """
    levels = _STYLES[style](*_inks(kind, colour, size, pose, pattern, style), COLOURS[colour])
    pixels, opacity = levels[..., :3].copy(), levels[..., 3].copy()
    pixels.flags.writeable = opacity.flags.writeable = False
    return pixels, opacity
