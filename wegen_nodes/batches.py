"""Batches of pictures and masks as nodes of all packs hand them over."""

from __future__ import annotations

from torch import Tensor

from ..models.errors import WeGenError

SEVERAL_MASKS = "Several masks count as one: white in any of them is white."
"""What `one_mask` does, for tooltips."""


def mask_batch(mask: Tensor | None) -> Tensor | None:
    """A mask of any node as a batch `[B, H, W]`: some packs give `[H, W]`, others `[B, 1, H, W]` or
    `[B, H, W, 1]`.

    Raises:
        WeGenError: it is a picture.
    """
    if mask is None or mask.ndim not in (2, 4):
        return mask
    if mask.ndim == 2:
        return mask[None]
    if mask.shape[-1] in (3, 4) and mask.shape[1] != 1:
        raise WeGenError(
            f"A mask must have the shape [masks, height, width], got {list(mask.shape)}, which is a picture: make it a "
            "mask first, as with Convert Image to Mask."
        )
    return mask[..., 0] if mask.shape[-1] == 1 < mask.shape[1] else mask.flatten(0, 1)


def one_mask(mask: Tensor | None) -> Tensor | None:
    """A mask of any node as one for one picture: of several, such as one for each thing that was found, what is white
    in any of them is white."""
    mask = mask_batch(mask)
    return mask.amax(dim=0) if mask is not None and mask.ndim == 3 and len(mask) > 1 else mask


def batch_length(**batches) -> int:
    """How many members there are; a batch of one, or none at all, goes with any number.

    Raises:
        WeGenError: two batches of several differ.
    """
    lengths = {name: len(batch) for name, batch in batches.items() if batch is not None}
    count = max(lengths.values())
    for name, length in lengths.items():
        if length not in (1, count):
            most = max(lengths, key=lengths.get)
            raise WeGenError(f"{name} has {length} members and {most} has {count}; give one, or {count}.")
    return count


def member(batch, index: int):
    """One member of a batch; of a batch of one always the same, of none none."""
    return None if batch is None else batch[index if len(batch) > 1 else 0]
