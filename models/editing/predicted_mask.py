"""The model's own change mask: where the features it means to draw differ from those of the picture before."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import WeGenError
from ..values import AutoMask


class PredictedMask(NamedTuple):
    """What the model means to change."""

    mask: Tensor
    """`[H, W]` in 0..1, 1 where the picture may change."""
    heat: Tensor
    """`[H, W]` in 0..1: how far apart the features are, 1 at a cosine distance of 1 or more."""

    @property
    def empty(self) -> bool:
        return not bool(self.mask.any())


def predict_edit_mask(
    before: Tensor,
    after: Tensor,
    height: int,
    width: int,
    how: AutoMask = AutoMask(),  # noqa: B008 - immutable
) -> PredictedMask:
    """Compare features cell by cell.

    Args:
        before, after: features `[K, D]` of the picture there is and of the one that is meant, K a square number.
        height, width: of the picture in pixels.
        how: threshold, growth and softness. Where most of the picture changes, half the threshold counts.

    Raises:
        WeGenError: the features do not belong together.
    """
    if before.shape != after.shape or before.ndim != 2:
        raise WeGenError(f"Features of shapes {list(before.shape)} and {list(after.shape)} cannot be compared.")
    side = round(len(before) ** 0.5)
    distance = 1 - F.cosine_similarity(before.float(), after.float(), dim=-1)
    cells = distance.reshape(1, 1, side, side)
    threshold = how.threshold
    if (cells > threshold).float().mean() > 0.5:
        # Most of the picture is meant to change, as with the time of day: what is left of it would show as patches.
        threshold /= 2
    changed = (cells > threshold).float()
    mask = F.interpolate(changed, size=(height, width), mode="nearest-exact")
    mask = soften(grow(mask[0, 0], how.grow), how.soften)
    heat = F.interpolate(cells, size=(height, width), mode="bilinear", align_corners=False)
    return PredictedMask(mask, heat[0, 0].clamp(0, 1))


def grow(mask: Tensor, pixels: int) -> Tensor:
    """A mask `[H, W]` that reaches `pixels` further in all directions."""
    return mask if pixels == 0 else F.max_pool2d(mask[None, None], 2 * pixels + 1, 1, pixels)[0, 0]


def soften(mask: Tensor, pixels: int) -> Tensor:
    """A mask `[H, W]` whose values fall from 1 to 0 within `pixels` outside of where they were 1."""
    edge = mask
    for step in range(1, pixels + 1):
        edge = torch.maximum(edge, grow(mask, step) * (1 - step / (pixels + 1)))
    return edge


def keep_features(before: Tensor, after: Tensor, change: Tensor) -> Tensor:
    """Features `[K, D]` for a picture that is partly kept: cells in which nothing may change have those of before."""
    side = round(len(before) ** 0.5)
    most = F.adaptive_max_pool2d(change[None, None], side).flatten()
    return torch.where(most[:, None] > 0, after, before.to(after))


def heat_map(picture: Tensor, heat: Tensor, mask: Tensor) -> Tensor:
    """A picture `[H, W, 3]` in grey with the heat `[H, W]` over it in colours, and the mask's edge in white."""
    grey = picture[..., :3].float().mean(dim=-1, keepdim=True) * 0.6 + 0.2
    warm = torch.stack([heat.sqrt(), heat**1.5 * 0.9, (1 - heat) * 0.25], dim=-1)
    shown = grey + (warm - grey) * heat.sqrt()[..., None] * 0.85
    inside = (mask > 0).float()
    edge = (grow(inside, 1) - inside)[..., None]
    return (shown + (1 - shown) * edge).clamp(0, 1)
