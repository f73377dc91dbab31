"""Putting a changed area back: in its size, exactly composited, with colours that meet at its edge."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, signal
from torch import Tensor

from ..errors import WeGenError
from .masks import bounding_box

TONE_SIDE = 192  # longest side of the grid on which colours are matched


def match_tone(before: Tensor, after: Tensor, change: Tensor, reach: int = 16) -> Tensor:
    """Shift the colours of `after` so that they meet those of `before` at the edge of the change area.

    Both pictures should show the same in a ring of kept pixels around the area; how their colours differ there is
    averaged for each point, near ring pixels counting most, and added: low frequencies only. Without a ring nothing is
    changed. Only a box around the area and its ring is worked on.

    Args:
        before, after: `[H, W, C]` in 0..1, of one size; a fourth channel is opacity and is left alone.
        change: `[H, W]` in 0..1.
        reach: width of the ring in pixels.

    Returns:
        `[H, W, C]` float32 in 0..1. The ring is toned too: `paste` brings kept pixels back.
    """
    box = bounding_box(change, margin=reach)
    if box is None:
        return after
    before, after = (with_channels(picture, max(3, picture.shape[-1])) for picture in (before, after))
    matched = _toned(before[box], after[box], (change[box] > 0).numpy(), reach)
    if matched is None:
        return after
    picture = after.clone()
    picture[(*box, slice(3))] = matched
    return picture


def _toned(before: Tensor, after: Tensor, area: np.ndarray, reach: int) -> Tensor | None:
    """The colours of `after`, `[H, W, 3]`, matched at the edge of `area`; None where there is no ring around it."""
    if area.all():
        return None
    ring = torch.from_numpy(~area & (ndimage.distance_transform_edt(~area) <= reach)).float()
    height, width = ring.shape
    # The shift is smooth: a few thousand points are enough for it.
    cell = math.ceil(max(height, width) / TONE_SIDE)
    colours = (before[..., :3].float() - after[..., :3].float()) * ring[..., None]
    both = torch.cat([colours, ring[..., None]], dim=-1).permute(2, 0, 1)[None]
    both = F.avg_pool2d(both, cell, ceil_mode=True)[0].double().numpy()
    rows, columns = (np.arange(-length + 1, length) for length in both.shape[1:])
    softness = max(1.0, reach / 2 / cell)
    nearness = (rows[:, None] ** 2 + columns**2 + softness**2) ** -1.5
    *sums, weights = (signal.fftconvolve(layer, nearness, mode="same") for layer in both)
    shift = torch.from_numpy(np.stack(sums) / weights.clip(1e-9)).float()
    shift = F.interpolate(shift[None], size=(height, width), mode="bilinear")[0].permute(1, 2, 0)
    return (after[..., :3].float() + shift).clamp(0, 1)


def paste(before: Tensor, after: Tensor, change: Tensor) -> Tensor:
    """Composite pictures `[..., H, W, C]`: `before` to the bit where `change` is 0, `after` where it is 1.

    `change` is `[..., H, W]` in 0..1. A fourth channel is opacity: what is transparent does not stain what it is mixed
    with. A picture without one is opaque where the other has one.

    Returns:
        `[..., H, W, C]` float32.

    Raises:
        WeGenError: the pictures differ in size.
    """
    if before.shape[-3:-1] != after.shape[-3:-1]:
        raise WeGenError(
            f"Pictures of {list(before.shape[-3:-1])} and {list(after.shape[-3:-1])} pixels cannot be composited."
        )
    channels = max(before.shape[-1], after.shape[-1])
    before, after, weight = with_channels(before, channels), with_channels(after, channels), change[..., None]
    mixed = before + (after - before) * weight
    if channels == 4:
        old, new = before[..., 3:] * (1 - weight), after[..., 3:] * weight
        opacity = old + new
        colours = (before[..., :3] * old + after[..., :3] * new) / opacity.clamp(min=1e-6)
        mixed = torch.cat([torch.where(opacity > 0, colours, mixed[..., :3]), opacity], dim=-1)
    return torch.where(weight <= 0, before, torch.where(weight >= 1, after, mixed))


def with_channels(picture: Tensor, channels: int) -> Tensor:
    """A grey or colour picture with colour, and opaque, where `channels` (1, 3 or 4) asks for it; float32."""
    picture = picture.float()
    if picture.shape[-1] == 1 and channels > 1:
        picture = picture.expand(*picture.shape[:-1], 3)
    if picture.shape[-1] < channels:
        picture = torch.cat([picture, torch.ones_like(picture[..., :1])], dim=-1)
    return picture


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture `[h, w, C]` in 0..1 in another size: bicubic, averaged over all pixels where it becomes smaller; the
    same tensor at its own size."""
    if picture.shape[:2] == (height, width):
        return picture
    planes = picture.float().permute(2, 0, 1)[None]
    planes = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
    return planes.clamp_(0, 1)[0].permute(1, 2, 0)
