"""What WeGen Keep does to a picture: bring it to size, move it back, match its tone, and paste what is kept over it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import WeGenError
from ..media.images import check_picture, stretch
from .composite import match_tone, paste, resized, with_channels
from .masks import feathered
from .registration import estimate, undo

LARGEST_STRETCH = 1.1
"""How much the proportions of two pictures may differ: more is another crop, which no resizing makes fit."""
LARGEST_CELL = 64
"""Pixels of a latent's cell at most: VAE Encode cuts a picture down to whole cells and takes its middle."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A picture with its kept pixels back.

    Attributes:
        picture: `[H, W, C]` float32, the size of the picture before.
        weight: `[H, W]` in 0..1, how much of the new picture is in each pixel; 0 is the old one to the bit.
        report: in words, what was done and what not.
    """

    picture: Tensor
    weight: Tensor
    report: str


def keep(
    before: Tensor, after: Tensor, change: Tensor, feather: float = 8, align: bool = True, tone: bool = False
) -> Kept:
    """Take the change area from `after` and everything else from `before`.

    Args:
        before: `[H, W, C]` in 0..1, with 1, 3 or 4 channels.
        after: `[h, w, C]`, with 1, 3 or 4 channels, the same picture from any model; another size is resized to that of
            `before`, or laid into its middle where a VAE has cut off less than a cell.
        change: `[H, W]` in 0..1; 0 is kept to the bit.
        feather: width in pixels of the soft edge, which lies inside the change area.
        align: whether shift and zoom against the kept area are found and undone.
        tone: whether colours are matched at the edge.

    Raises:
        WeGenError: one is no picture or has pixels that are NaN, the pictures differ in their proportions, the feather
            is negative, the mask is of another size than `before`, or there are NaN in it and `align` is on.
    """
    before, after = before.detach().cpu(), after.detach().cpu()
    check_picture(before)
    check_picture(after)
    if change.shape != before.shape[:2]:
        raise WeGenError(
            f"The mask is {tuple(change.shape)}, and the picture {tuple(before.shape[:2])} (height, width); they must "
            "be of one size: see `masks.fit_mask`."
        )
    after = after.clamp(0, 1)
    weight = feathered(change, feather)
    after, said = _fitted(after, before, change)
    if align:
        motion = estimate(before, after, change)
        after = undo(after, motion)
        said.append(motion.reason)
    if tone and (change > 0).any():
        matched = match_tone(before, after, change)
        shift = (matched - after)[..., :3].abs()[change > 0].max()
        said.append(f"Colours shifted by up to {255 * float(shift):.1f} of 255.")
        after = matched
    said.append(f"{(weight <= 0).float().mean():.1%} of the pixels are those from before, to the bit.")
    return Kept(paste(before, after, weight), weight, " ".join(said))


def _fitted(after: Tensor, before: Tensor, change: Tensor) -> tuple[Tensor, list[str]]:
    """`after` at the size of `before`, and a sentence about it."""
    (height, width), (has_height, has_width) = before.shape[:2], after.shape[:2]
    if (has_height, has_width) == (height, width):
        return after, []
    stretched = stretch((width, height), (has_width, has_height))
    if stretched > LARGEST_STRETCH:
        raise WeGenError(
            f"The pictures are {width}x{height} and {has_width}x{has_height} pixels: their proportions differ by "
            f"{stretched - 1:.0%}, at most {LARGEST_STRETCH - 1:.0%} can be resized. "
            "Crop or pad the new picture to the proportions of the old one first."
        )
    fitted = resized(after, height, width)
    if 0 <= height - has_height < LARGEST_CELL and 0 <= width - has_width < LARGEST_CELL:
        # The size alone does not tell: other nodes resize to whole cells.
        middle = _as_middle(after, height, width)
        if _distance(before, middle, change) < _distance(before, fitted, change):
            return middle, [f"Laid into the middle of {width}x{height}: it was cropped to {has_width}x{has_height}."]
    return fitted, [f"Resized from {has_width}x{has_height} to {width}x{height}."]


def _as_middle(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture `[h, w, C]` as the middle of a larger one; its outermost pixels are repeated around it."""
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    rows = (torch.arange(height) - top).clamp(0, picture.shape[0] - 1)
    columns = (torch.arange(width) - left).clamp(0, picture.shape[1] - 1)
    return picture[rows][:, columns].float()


def _distance(before: Tensor, after: Tensor, change: Tensor) -> float:
    """How much the colours of two pictures differ in what is kept, or in all of them where nothing is."""
    kept = change <= 0
    where = kept if kept.any() else torch.ones_like(kept)
    old, new = (with_channels(picture, 3)[..., :3][where] for picture in (before, after))
    return float((old - new).abs().mean())
