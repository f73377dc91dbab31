"""Work at the pixels that a checkpoint paints best: cut out what changes, bring it to size, and put it back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import WeGenError
from ..media.images import changed_in
from .composite import match_tone, paste, resized, with_channels
from .masks import bounding_box, feathered, reflected, resize_largest

CONTEXT = 0.25
"""How far a crop reaches beyond the change area on each side, as a share of the area's longer side."""
TOLERANCE = 1.25
"""How far the pixels of a picture may be from the budget, as a factor, and still be worked on as they are."""
LONGEST = 4.0
"""The longest proportions that are painted; longer crops are painted at these, and stretched back."""


@dataclass(frozen=True)
class Crop:
    """A box of a picture, and the size at which it is worked on.

    Attributes:
        top, left, height, width: the box, in the picture's own pixels.
        size: rows and columns that the box is resized to.
        padded: rows and columns that are painted: `size`, grown by reflection to the multiple that the painter needs.
    """

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    padded: tuple[int, int]

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the box, as an index."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def resized(self) -> bool:
        return self.size != (self.height, self.width)


def plan_crop(
    change: Tensor | None,
    height: int,
    width: int,
    budget_pixels: int,
    multiple: int,
    context: float = CONTEXT,
) -> Crop:
    """Decide which part of a picture is worked on, and at which size.

    A picture of about the budget, or one without a mask, is worked on as a whole. Of a larger one the box around the
    change area is taken, with context, and never fewer pixels than the budget holds. What is not of about the budget
    is resized to it: larger crops become smaller, and small pictures larger, since models paint well at the size that
    they were trained at only. `put_back` undoes it.

    Args:
        change: `[height, width]`, above 0 where the picture may change; None is everywhere.
        height, width: of the picture, in pixels.
        budget_pixels: how many pixels the checkpoint paints, its `size` squared.
        multiple: the sides of what is painted are multiples of it, in pixels.
        context: see CONTEXT.

    Raises:
        WeGenError: the numbers make no crop, or the mask is of another size.
    """
    if min(height, width, budget_pixels, multiple) < 1 or not context >= 0:
        raise WeGenError(
            f"A picture of {width}x{height} pixels cannot be painted at {budget_pixels} pixels in steps of {multiple} "
            f"with a context of {context}; sizes must be 1 or more, and the context 0 or more."
        )
    if change is not None and change.shape != (height, width):
        size = "x".join(map(str, change.shape[::-1]))
        raise WeGenError(f"The mask has {size} pixels, the picture {width}x{height}; resize the mask.")
    area = None if change is None or height * width <= budget_pixels * TOLERANCE else bounding_box(change)
    if area is None:
        spans = (0, height), (0, width)
    else:
        spans = _with_context([(line.start, line.stop) for line in area], (height, width), budget_pixels, context)
    (top, bottom), (left, right) = spans
    size, padded = _working_size(bottom - top, right - left, budget_pixels, multiple)
    return Crop(top, left, bottom - top, right - left, size, padded)


def take(picture: Tensor, crop: Crop) -> Tensor:
    """The crop of a picture `[H, W, C]` in 0..1 as it is painted: `[*crop.padded, C]` float32."""
    return _padded(resized(picture[crop.box].float(), *crop.size), crop)


def take_mask(mask: Tensor, crop: Crop) -> Tensor:
    """The crop of a mask `[H, W]` as it is painted: `[*crop.padded]` float32.

    Each pixel holds the largest value of those that it stands for, so that thin areas do not vanish.
    """
    mask = mask[crop.box].float()
    return _padded(resize_largest(mask, *crop.size) if crop.resized else mask, crop)


def put_back(
    before: Tensor, worked: Tensor, crop: Crop, change: Tensor | None, feather: float = 0, tone: bool = False
) -> Tensor:
    """The picture at its full size with what was painted in it: `[H, W, C]` float32.

    Args:
        before: `[H, W, C]` in 0..1, the picture that `take` cut from. Where `change` is 0 it stays to the bit.
        worked: `[*crop.padded, C]` in 0..1, the crop as it was painted; `engine` sees to its size.
        change: `[H, W]` in 0..1, as for `plan_crop`; None takes all that was painted.
        feather: width of the soft edge inside the change area, in the picture's own pixels.
        tone: whether colours are matched at the edge of the area.

    Raises:
        WeGenError: the crop is not the whole picture and there is no mask, or the feather is negative.
    """
    rows, columns = crop.size
    after = resized(worked[:rows, :columns].float(), crop.height, crop.width)
    if change is None:
        if (crop.height, crop.width) != tuple(before.shape[:2]):
            raise WeGenError("Only a crop of the whole picture can be put back without a mask.")
        return after
    part = change[crop.box]
    if tone:
        after = match_tone(before[crop.box], after, part)
    channels = max(before.shape[-1], after.shape[-1])
    picture = with_channels(before, channels).clone()
    area = bounding_box(part)
    if area is not None:
        shown = picture[crop.box][area]
        shown.copy_(paste(shown, after[area], feathered(part, feather)[area]))
    changed = slice(0, 0) if area is None else slice(crop.top + area[0].start, crop.top + area[0].stop)
    return changed_in(picture, before, changed)


def _with_context(
    spans: list[tuple[int, int]], sides: tuple[int, int], budget_pixels: int, context: float
) -> list[tuple[int, int]]:
    """Rows and columns `(start, stop)` of an area, grown by its context and to the pixels of the budget."""
    reach = math.ceil(context * max(stop - start for start, stop in spans))
    lengths = [min(stop - start + 2 * reach, side) for (start, stop), side in zip(spans, sides, strict=True)]
    # The shorter side grows first, so that crops become squares; then both, as far as the picture goes.
    for _ in range(2):
        for index in sorted(range(2), key=lambda index: lengths[index]):
            other = lengths[1 - index]
            wanted = max(
                math.isqrt(budget_pixels), math.ceil(budget_pixels / other) if other == sides[1 - index] else 0
            )
            lengths[index] = min(max(lengths[index], wanted, math.ceil(other / LONGEST)), sides[index])
    grown = []
    for (start, stop), length, side in zip(spans, lengths, sides, strict=True):
        begin = (start + stop - length) // 2
        begin = min(max(begin, 0), side - length)
        grown.append((begin, begin + length))
    return grown


def _working_size(
    height: int, width: int, budget_pixels: int, multiple: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns that a box is resized to, and those that are painted."""
    near = budget_pixels / TOLERANCE <= height * width <= budget_pixels * TOLERANCE
    if near and max(height / width, width / height) <= LONGEST:
        return (height, width), (_up(height, multiple), _up(width, multiple))
    proportion = min(max(height / width, 1 / LONGEST), LONGEST)
    size = tuple(
        max(multiple, round(math.sqrt(budget_pixels * factor) / multiple) * multiple)
        for factor in (proportion, 1 / proportion)
    )
    return size, size


def _up(length: int, multiple: int) -> int:
    return math.ceil(length / multiple) * multiple


def _padded(picture: Tensor, crop: Crop) -> Tensor:
    if crop.size == crop.padded:
        return picture
    rows, columns = (reflected(length, padded) for length, padded in zip(crop.size, crop.padded, strict=True))
    return picture[rows][:, columns]
