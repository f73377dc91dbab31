"""The four drawing styles: how a thing that is drawn in ink is finished, and how the page behind it is.

A thing comes as RGBA, `scale` times too large, with opacity 0 or 255; it leaves at its final size, premultiplied by its
opacity, uint8 [height, width, 4]. A page comes as RGB, `scale` times too large, and leaves as uint8 [128, 128, 3].
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageFilter

from .catalogue import PICTURE_SIZE
from .palette import INK, PAPER, Colour, mix

OUTLINE_PIXELS = 0.75
RIM_PIXELS = 0.85
BLOCK = 2  # pixels of the finished picture along one stone of the mosaic
PALE = 0.34  # how far the outline style moves the colours of things towards paper
_PALE_PAGE = 0.5
_LINE_PIXELS = 0.75


def _grown(silhouette: Image.Image, pixels: float, scale: int) -> Image.Image:
    """The silhouette (mode L) grown by `pixels` of the final picture, corners rounded."""
    blurred = silhouette.filter(ImageFilter.GaussianBlur(pixels * scale))
    return blurred.point(lambda level: 255 if level > 40 else 0)  # a straight edge lies one deviation out at 0.16 * 255


def _sticker(ink: Image.Image, plain: Image.Image, colour: Colour, scale: int) -> np.ndarray:
    """A dark outline keeps a thing visible on a bright ground, a white rim on a dark one."""
    outline = _grown(ink.getchannel("A"), OUTLINE_PIXELS, scale)
    drawn = Image.new("RGBA", ink.size)
    drawn.paste((*PAPER, 255), mask=_grown(outline, RIM_PIXELS, scale))
    drawn.paste((*mix(colour, INK, 0.72), 255), mask=outline)
    drawn.alpha_composite(ink)
    return np.asarray(drawn.convert("RGBa").reduce(scale))


def _borders(image: Image.Image) -> Image.Image:
    """Where areas of one colour of an RGBA picture meet, mode L, 0 or 255."""
    colours = np.asarray(image).view(np.uint32)[..., 0]
    edges = np.zeros(colours.shape, bool)
    edges[1:] |= colours[1:] != colours[:-1]
    edges[:, 1:] |= colours[:, 1:] != colours[:, :-1]
    return Image.fromarray(edges.astype(np.uint8) * 255)


def _outline(ink: Image.Image, plain: Image.Image, colour: Colour, scale: int) -> np.ndarray:
    """Ink lines around every area of one colour, but for those of a pattern; pale fillings."""
    levels = np.array(ink)
    lines = _borders(plain).filter(ImageFilter.GaussianBlur(_LINE_PIXELS * scale / 4))
    pale = PALE * (levels[..., :3] != np.asarray(INK)).any(axis=-1, keepdims=True)
    drawn = levels[..., :3] * (1 - pale) + np.asarray(PAPER) * pale
    filled = Image.fromarray(np.dstack([drawn.astype(np.uint8), levels[..., 3]]))
    filled.paste((*INK, 255), mask=lines.point(lambda level: 255 if level > 36 else 0))
    return np.asarray(filled.convert("RGBa").reduce(scale))


def _wash(ink: Image.Image, plain: Image.Image, colour: Colour, scale: int) -> np.ndarray:
    """Soft edges where the pigment gathers, no lines."""
    soft = ink.convert("RGBa").filter(ImageFilter.GaussianBlur(0.5 * scale)).reduce(scale)
    pixels = np.asarray(soft, np.float32)
    opacity = pixels[..., 3:] / 255
    wide = np.asarray(ink.getchannel("A").filter(ImageFilter.GaussianBlur(1.6 * scale)).reduce(scale))
    gathered = np.clip(1.35 - 1.35 * wide[..., None].astype(np.float32) / 255, 0, 0.55)  # towards the edge
    pigment = np.asarray(mix(colour, INK, 0.45), np.float32)
    paper = np.asarray(PAPER, np.float32)
    flat = pixels[..., :3] * 0.84 + paper * opacity * 0.16
    washed = flat * (1 - gathered) + pigment * opacity * gathered
    opacity = np.clip(opacity * 1.12, 0, 1)
    washed = np.minimum(washed * 1.12, 255 * opacity)
    return np.concatenate([washed, 255 * opacity], axis=-1).round().astype(np.uint8)


def _mosaic(ink: Image.Image, plain: Image.Image, colour: Colour, scale: int) -> np.ndarray:
    """Square stones, whole or not there at all, with a ring of dark ones around."""
    levels = np.asarray(ink.convert("RGBa"), np.int32)
    side = scale * BLOCK
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


def _lined(image: Image.Image, scale: int) -> np.ndarray:
    """Pale flat areas, thin grey lines between them."""
    grown = _borders(image.convert("RGBA")).filter(ImageFilter.MaxFilter(3))
    pale = Image.fromarray((np.asarray(image) * (1 - _PALE_PAGE) + np.asarray(PAPER) * _PALE_PAGE).astype(np.uint8))
    pale.paste(mix(INK, PAPER, 0.25), mask=grown)
    return np.asarray(pale.reduce(scale))


def _blotches(cells: int, seed: int) -> np.ndarray:
    """Smooth noise, float [128, 128, 1], about -1..1."""
    noise = np.random.default_rng(seed).normal(0, 90, (cells, cells)).clip(-127, 127) + 128
    smooth = Image.fromarray(noise.astype(np.uint8)).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BICUBIC)
    return (np.asarray(smooth, np.float32)[..., None] - 128) / 128


def _washed(image: Image.Image, scale: int) -> np.ndarray:
    """Wet edges, blotches of pigment, paper grain."""
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1.1 * scale)).reduce(scale), np.float32)
    pale = soft * 0.80 + np.asarray(PAPER, np.float32) * 0.20
    pale += 16 * _blotches(9, 1) + 8 * _blotches(24, 2) + 3 * _blotches(96, 3)
    return pale.clip(0, 255).round().astype(np.uint8)


def _tiled(image: Image.Image, scale: int) -> np.ndarray:
    """Square stones, each a little lighter or darker than the next."""
    stones = np.asarray(image.reduce(scale * BLOCK), np.float32)
    shine = np.random.default_rng(4).normal(0, 3, stones.shape[:2])[..., None]
    levels = ((stones + shine + 6) // 12 * 12).clip(0, 255).astype(np.uint8)
    return levels.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


THINGS: Mapping[str, Callable[[Image.Image, Image.Image, Colour, int], np.ndarray]] = MappingProxyType(
    {"sticker": _sticker, "outline": _outline, "wash": _wash, "mosaic": _mosaic}
)
"""How each style finishes a thing, from its ink, its ink without a pattern, its main colour and the scale."""


def _plain(image: Image.Image, scale: int) -> np.ndarray:
    return np.asarray(image.reduce(scale))


PAGES: Mapping[str, Callable[[Image.Image, int], np.ndarray]] = MappingProxyType(
    {"sticker": _plain, "outline": _lined, "wash": _washed, "mosaic": _tiled}
)
"""How each style finishes the page behind the things."""


def in_stones(pixels: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] with one colour in each stone of the mosaic: that of its first pixel."""
    return pixels[::BLOCK, ::BLOCK].repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
