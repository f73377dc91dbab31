"""Conversions between PIL pictures, tensors, and what the vision encoder takes."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from PIL import ExifTags, Image, ImageCms
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import WeGenError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LARGEST_PICTURE = 178_956_970
"""Most pixels of a picture file that is read, as by Pillow itself: small files can unpack to more than memory holds."""
_TALL = 100
"""Before version 13 Pillow resized rows first, then columns; now it begins with columns where a picture is tall, and it
rounds in between. Features are to be those of the published transform, so rows come first here. Only pictures that are
more than so many times as tall as wide are left to Pillow: rows first may take memory without measure."""
_STRIP = 2**18  # numbers turned to bytes at once: as many as a processor's cache holds
_LARGE = 2**20
"""Pixels from which on it is remembered what a picture's rows were resized to."""
_NONE = slice(0, 0)
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, TypeError, struct.error, Image.DecompressionBombError
)  # fmt: skip
"""What Pillow and its readers of single formats raise on damaged files."""


class _Rows(NamedTuple):
    """What the rows of a picture were resized to, or are but for some that have to be resized anew."""

    version: int
    """Of the picture: it grows when somebody changes the picture in place."""
    narrow: np.ndarray
    """uint8 `[H, width, 3]`."""
    changed: slice


_rows: MutableMapping[Tensor, _Rows] = WeakTensorKeyDictionary()


_TURNS = MappingProxyType({
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
})  # fmt: skip
"""By what Exif says of which side is up: how the picture is turned to stand upright."""


def read_picture(path: str | Path) -> Image.Image:
    """A picture file as 8-bit RGB, the right side up; transparent parts are laid on white.

    Cameras write which side is up instead of turning the pixels. Of an animation the first frame is read.

    Raises:
        WeGenError: the file is missing, is no picture or a damaged one, or holds too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > LARGEST_PICTURE:
                    raise Image.DecompressionBombError
                picture.load()
                # Pillow's own way also writes what the file says of itself anew, and fails on what cameras get wrong.
                turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
                return flatten_alpha(picture if turn is None else picture.transpose(turn))
    except Image.DecompressionBombError as error:
        raise WeGenError(
            f"The picture {path} is too large: at most {LARGEST_PICTURE / 1e6:.0f} megapixels are read. "
            "Make it smaller first."
        ) from error
    except Image.UnidentifiedImageError as error:
        raise WeGenError(f"Cannot read {path}: it is not a picture, or of a format that is not known here.") from error
    except WeGenError as error:
        raise WeGenError(f"Cannot read the picture {path}: {error}") from error
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or error
        raise WeGenError(f"Cannot read the picture {path}: {reason}.") from error


def check_picture(image: Tensor) -> None:
    """Raise for what is not one picture `[H, W, 1, 3 or 4]` of numbers.

    Values outside 0..1, infinite ones too, are cut to the range where a picture is used; NaN stands for no colour.

    Raises:
        WeGenError: naming the shape, or that there are NaN.
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise WeGenError(f"A picture must have the shape [height, width, 1, 3 or 4], got {list(image.shape)}.")
    # One pass for nearly all pictures: a NaN is in the sum, and nearly nothing else makes one.
    if image.sum().isnan() and (count := int(image.isnan().any(dim=-1).sum())):
        raise WeGenError(
            f"The picture has {count} pixels that are no number (NaN). Mostly a VAE that overflowed in fp16 makes "
            "them: run it in fp32 or bf16."
        )


def stretch(size: tuple[int, int], other: tuple[int, int]) -> float:
    """How much the proportions of two sizes (width, height) differ: 1 where they are equal, 1.1 for 10 %."""
    ratio = size[0] * other[1] / (size[1] * other[0])
    return max(ratio, 1 / ratio)


def to_pil(image: Tensor) -> Image.Image:
    """One picture `[H, W, 1, 3 or 4]` in 0..1 -> 8-bit RGB; transparent parts are laid on white.

    Raises:
        WeGenError: see `check_picture`.
    """
    check_picture(image)
    array = np.empty(image.shape, np.uint8)
    for top, strip in _strips(image):
        array[top : top + len(strip)] = strip
    return _rgb(array)


def _strips(image: Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """A picture `[H, W, C]` in 0..1 as bytes: strips `[h, W, C]` with their first row. The next one overwrites them.

    Strip by strip the numbers stay in the processor's cache for all steps.
    """
    height, width, channels = image.shape
    rows = max(1, _STRIP // (width * channels))
    numbers = np.empty((rows, width, channels), np.float32)
    whole, strip = np.empty(numbers.shape, np.int32), np.empty(numbers.shape, np.uint8)
    image = image.detach().cpu()
    for top in range(0, height, rows):
        some = slice(min(rows, height - top))
        np.clip(image[top : top + rows].float().numpy(), 0, 1, out=numbers[some])
        np.multiply(numbers[some], 255, out=numbers[some])
        np.rint(numbers[some], out=numbers[some])
        # NumPy makes bytes of whole numbers three times as fast as of floats.
        np.copyto(whole[some], numbers[some], casting="unsafe")
        np.copyto(strip[some], whole[some], casting="unsafe")
        yield top, strip[some]


def _rgb(array: np.ndarray) -> Image.Image:
    """Bytes `[H, W, 1, 3 or 4]` -> RGB; transparent parts are laid on white."""
    return flatten_alpha(Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array))


def flatten_alpha(picture: Image.Image) -> Image.Image:
    """RGB version of any PIL picture; transparent parts are laid on white, 16 bits and floats become 8 bits.

    Whole numbers of more than 8 bits are taken as 16 bits. Floats are taken as 0..1 where none is above 2, as resizing
    leaves some a little above 1, and else as 8 or 16 bits.

    Raises:
        WeGenError: colours that cannot be brought to RGB.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow's own conversion would cut off all that is above 255.
        values = np.asarray(picture)
        narrow = _eight_bits(values, picture.mode == "F")
        clear = picture.info.get("transparency")
        if isinstance(clear, int):  # a level of grey that is transparent
            narrow[values == clear] = 255
        picture = Image.fromarray(narrow)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        if picture.mode == "La":  # Pillow goes from there to LA alone
            picture = picture.convert("LA")
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode == "LAB":
        return ImageCms.profileToProfile(
            picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    try:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except ValueError as error:
        raise WeGenError(f"Colours of the kind {picture.mode} cannot be read; save the picture as RGB.") from error


def grey_levels(picture: Image.Image) -> np.ndarray:
    """The grey values `[H, W]` of a picture of any kind, in 8 bits."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _eight_bits(np.asarray(picture), picture.mode == "F")
    return np.array((flatten_alpha(picture) if picture.mode == "LAB" else picture).convert("L"))


def _eight_bits(values: np.ndarray, floats: bool) -> np.ndarray:
    largest = 65535.0
    if floats:
        values = np.nan_to_num(values, nan=0.0, posinf=65535.0, neginf=0.0)
        largest = 1.0 if values.max(initial=0) <= 2 else 255.0 if values.max() <= 255 else largest
    return (values.clip(0, largest) * (255 / largest)).round().astype(np.uint8)


def from_pil(picture: Image.Image) -> Tensor:
    """PIL picture -> `[H, W, 3]` float32 in 0..1 (exact for 8 bits: the way back gives the same bytes)."""
    return torch.from_numpy(np.divide(np.asarray(flatten_alpha(picture)), 255, dtype=np.float32))


def clip_pixels(picture: Image.Image | Tensor, size: int) -> Tensor:
    """The published transform: bilinear resize to a square (no crop), CLIP mean and deviation -> `[3, size, size]`.

    `picture` is Pillow's, or `[H, W, 1, 3 or 4]` in 0..1.

    Raises:
        WeGenError: see `check_picture`.
    """
    square = _resized(_narrow(picture, size), size, size)
    normalised = (from_pil(square) - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    return rearrange(normalised, "h w c -> c h w")


def _narrow(picture: Image.Image | Tensor, width: int) -> Image.Image:
    """A picture in RGB and of this width, but for very tall ones."""
    if not isinstance(picture, Tensor):
        picture = flatten_alpha(picture)
        return picture if picture.height > _TALL * picture.width else _resized(picture, width, picture.height)
    known = _known(picture, width)
    if known is None:
        check_picture(picture)
        if len(picture) > _TALL * picture.shape[1]:
            return to_pil(picture)
        narrow, changed = np.empty((len(picture), width, 3), np.uint8), slice(0, len(picture))
    else:
        narrow, changed = known.narrow.copy(), known.changed
        if changed != _NONE:
            check_picture(picture[changed])
    # What Pillow makes of the whole, to the byte, in half the time where it is large: each row is resized by itself,
    # while it is in the cache.
    for top, strip in _strips(picture[changed]):
        place = changed.start + top
        narrow[place : place + len(strip)] = np.asarray(_resized(_rgb(strip), width, len(strip)))
    if known is not None or picture.shape[0] * picture.shape[1] >= _LARGE:
        _remember(picture, narrow, _NONE)
    return Image.fromarray(narrow)


def _known(picture: Tensor, width: int) -> _Rows | None:
    found = _rows.get(picture)
    return found if found and found.version == picture._version and found.narrow.shape[1] == width else None


def _remember(picture: Tensor, narrow: np.ndarray, changed: slice) -> None:
    if not picture.is_inference():  # such a picture does not count its changes
        _rows[picture] = _Rows(picture._version, narrow, changed)


def changed_in(picture: Tensor, before: Tensor, rows: slice) -> Tensor:
    """The picture, which differs from another one of its size in these rows alone: the others are not read again."""
    found = _rows.get(before)
    if found and found.version == before._version:
        both = [one for one in (rows, found.changed) if one != _NONE]
        changed = slice(min(one.start for one in both), max(one.stop for one in both)) if both else _NONE
        _remember(picture, found.narrow, changed)
    return picture


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BILINEAR)
