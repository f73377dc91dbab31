"""Change masks: made of edit and keep masks, brought to pixels and latent cells, and feathered."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..errors import WeGenError

NEARLY_WHITE, NEARLY_BLACK = 253.9 / 255, 1.1 / 255
"""ComfyUI reads the white of a grey PNG as 254 of 255; turned round, black is 1. Blurred masks end like that too."""


def fit_mask(mask: Tensor, height: int, width: int, thin: bool = False) -> Tensor:
    """Bring a mask of any size to `[height, width]`, float32 in 0..1.

    Nearest neighbours are taken: a hard mask stays hard, so that no kept pixel becomes half kept. What is nearly white
    or nearly black becomes so. What fits already may share its memory with what was given.

    Args:
        mask: `[H, W]`, `[1, H, W]`, `[1, 1, H, W]` or `[1, H, W, 1]`; white and black, or between.
        height, width: what it is brought to.
        thin: whether thin white parts of a larger mask stay: a pixel that is white in part is white then.

    Raises:
        WeGenError: several masks in one batch, what is no mask by its shape, or values that are NaN.
    """
    if mask.ndim == 4:
        mask = mask[..., 0] if mask.shape[-1] == 1 and mask.shape[1] > 1 else mask.flatten(0, 1)
    if mask.ndim == 3 and len(mask) == 1:
        mask = mask[0]
    if mask.ndim == 3 and len(mask) > 1:
        raise WeGenError(
            f"One mask is taken here, and {len(mask)} were given. Set batch_size to 1 in the node "
            "that makes them, or take one of them out of the batch."
        )
    if mask.ndim != 2 or 0 in mask.shape:
        raise WeGenError(f"A mask must have the shape [height, width], got {list(mask.shape)}.")
    # Copied only where a value changes: masks of large pictures are some fifty megabytes.
    mask = mask.detach().to("cpu", torch.float32)
    lowest, highest = mask.aminmax()
    if lowest.isnan():
        raise WeGenError("The mask holds values that are not numbers (NaN); check the node or file that it comes from.")
    if lowest < 0 or highest > 1:
        mask = mask.clamp(0, 1)
    if box := bounding_box(mask):
        nearly_white = (mask[box] >= NEARLY_WHITE) & (mask[box] < 1)
        nearly_black = (mask[box] > 0) & (mask[box] <= NEARLY_BLACK)
        if nearly_white.any() or nearly_black.any():
            mask = mask.clone()
            mask[box].masked_fill_(nearly_white, 1).masked_fill_(nearly_black, 0)
    if mask.shape == (height, width):
        return mask
    if thin:
        return resize_largest(mask, height, width)
    return F.interpolate(mask[None, None], size=(height, width), mode="nearest-exact")[0, 0]


def resize_largest(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask `[H, W]` at another size; each pixel has the largest value of those that it stands for."""
    larger = max(height, mask.shape[0]), max(width, mask.shape[1])
    mask = F.interpolate(mask[None, None], size=larger, mode="nearest-exact")
    return F.adaptive_max_pool2d(mask, (height, width))[0, 0]


def change_mask(
    edit_mask: Tensor | None, keep_mask: Tensor | None, height: int, width: int, some: bool = True
) -> Tensor | None:
    """Where a picture may change, `[height, width]` in 0..1; None when neither mask is given.

    Args:
        edit_mask: white may change, black must not.
        keep_mask: white must not change; where the two contradict each other, keeping wins.
        height, width: of the picture; masks of another size are stretched to it.
        some: whether there must be something that may change.

    Raises:
        WeGenError: there must, and the masks leave nothing; or one of them is no mask, see `fit_mask`.
    """
    edit = None if edit_mask is None else fit_mask(edit_mask, height, width)
    keep = None if keep_mask is None else fit_mask(keep_mask, height, width, thin=True)
    return combine(edit, keep, height, width, some)


def combine(edit: Tensor | None, keep: Tensor | None, height: int, width: int, some: bool = True) -> Tensor | None:
    """The same as `change_mask`, of masks that fit already.

    Args:
        edit, keep: `[height, width]` in 0..1, or None.
        height, width: of the picture.
        some: whether there must be something that may change.

    Returns:
        `[height, width]` in 0..1, which may be `edit` itself; None when neither mask is given.

    Raises:
        WeGenError: there must be something that may change, and the masks leave nothing.
    """
    if edit is None and keep is None:
        return None
    change = torch.ones(height, width) if edit is None else edit
    if keep is not None:
        change = change * (1 - keep)
    if some and not change.amax() > 0:
        raise WeGenError(
            "The masks leave no pixel that may change: white in an edit mask may change, white in a keep mask must "
            "not. Paint more white in the edit mask or less in the keep mask; in a chat, release frees what earlier "
            "turns keep."
        )
    return change


def latent_mask(change: Tensor, downscale: int) -> Tensor:
    """Change masks `[H, W]` or `[B, H, W]` on the latent's cells, `[B, 1, ceil(H / downscale), ceil(W / downscale)]`.

    The largest value in each cell counts, so that thin areas do not vanish. `downscale` is a cell's side in pixels.
    """
    height, width = change.shape[-2:]
    padded = F.pad(change, (0, -width % downscale, 0, -height % downscale))
    return F.max_pool2d(padded.reshape(-1, 1, *padded.shape[-2:]), downscale)


def bounding_box(mask: Tensor, margin: int = 0) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest box that holds all of a mask `[H, W]` that is above 0; None if nothing is.

    `margin` pixels are added on each side, as far as the mask reaches.
    """
    # Masks of large pictures are some fifty megabytes: columns are looked for in the rows that were found alone.
    rows = (mask.amax(dim=1) > 0).nonzero()[:, 0]
    if not len(rows):
        return None
    columns = (mask[rows[0] : rows[-1] + 1].amax(dim=0) > 0).nonzero()[:, 0]
    return tuple(
        slice(max(0, int(line[0]) - margin), min(int(line[-1]) + 1 + margin, length))
        for line, length in zip((rows, columns), mask.shape, strict=True)
    )


def pad_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Grow a picture `[H, W, C]` at its right and bottom to multiples of `multiple` pixels, by reflection."""
    height, width = picture.shape[:2]
    rows = reflected(height, math.ceil(height / multiple) * multiple)
    columns = reflected(width, math.ceil(width / multiple) * multiple)
    return picture[rows][:, columns]


def reflected(length: int, padded: int) -> Tensor:
    """Indices 0 .. length - 1 and on to `padded` by going back and forth; works for a length of 1 too."""
    period = max(2 * length - 2, 1)
    index = torch.arange(padded) % period
    return torch.where(index < length, index, period - index)


def feathered(change: Tensor, feather: float) -> Tensor:
    """Soften the edge of a change area inwards: weights `[H, W]` in 0..1 for `paste`.

    The weight rises evenly from the nearest pixel that is kept (where `change` is 0), which itself stays kept, to the
    value of `change` at `feather` pixels from there. No blend over that distance can be less steep. Where an area is
    too narrow for that, the edge is as wide as fits, so that what changed in the middle of it is seen in full.

    Args:
        change: `[H, W]` in 0..1; soft values stay as soft as they are.
        feather: width of the edge in pixels, 0 or more.

    Raises:
        WeGenError: the feather is negative.
    """
    if not feather >= 0:
        raise WeGenError(f"The feather is {feather} pixels; give 0 or more.")
    box = bounding_box(change, margin=1)
    if feather == 0 or box is None:
        return change
    inside = change[box]
    area = (inside > 0).numpy()
    if area.all():
        return change
    depth = _depth(area)
    parts, count = ndimage.label(area, structure=np.ones((3, 3)))
    widths = np.full(count + 1, feather + 1, np.float32)
    # Most parts are deeper than the feather is wide. The depth of the others alone is looked for, as that takes as long
    # as all the rest.
    deep = np.bincount(parts[depth >= feather + 1], minlength=count + 1) > 0
    narrow = 1 + np.flatnonzero(~deep[1:])  # label 0 is what lies between the parts
    if len(narrow):
        widths[narrow] = ndimage.maximum(depth, parts, narrow)
    weight = change.clone()
    weight[box] = torch.minimum(inside, torch.from_numpy((depth / widths[parts]).clip(0, 1)).to(change))
    return weight


def _depth(area: np.ndarray) -> np.ndarray:
    """How far each pixel of an area `[H, W]` is from the nearest one outside of it, in pixels, float32."""
    # SciPy finds which pixel that is; its own distances come in twice the memory and take half as long again.
    rows, columns = ndimage.distance_transform_edt(area, return_distances=False, return_indices=True)
    rows -= np.arange(area.shape[0], dtype=rows.dtype)[:, None]
    columns -= np.arange(area.shape[1], dtype=columns.dtype)
    return np.sqrt(rows * rows + columns * columns, dtype=np.float32)
