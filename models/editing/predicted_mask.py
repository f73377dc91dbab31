"""The model's own change mask: where the features it means to draw differ from those of the picture before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..errors import WeGenError
from ..network.configuration import FeatureStatistics
from ..values import AutoMask
from .feature_statistics import distances, picture_threshold

NOT_CALIBRATED = (
    "This checkpoint's feature statistics were never measured, so the mask's threshold was found from this picture "
    "alone; `wegen calibrate` measures them."
)


QUIET_CELLS = 0.25
"""Share of the cells that stay in nearly every change."""
FARTHER = 10.0
"""How many times farther than those a cell must be to count as changed."""
FINER = 4.0
"""How many times lower than the checkpoint's threshold that may be."""
BESIDE = 2
"""Within so many cells of changed ones half the threshold is enough."""
NEARLY_ALL, EVERYWHERE = 0.1, 5.0
"""Where all cells but the first share are farther than the threshold divided by the second, everything changes."""
CELL_PARTS = 16
"""Growth and softness are counted in sixteenths of a feature cell, so that they fit pictures of any size."""


class PredictedMask(NamedTuple):
    """What the model means to change."""

    mask: Tensor
    """`[H, W]` in 0..1, 1 where the picture may change."""
    heat: Tensor
    """`[H, W]` in 0..1: how far apart the features are, 1 at a distance of 1 or more."""
    threshold: float = 0.0
    """From which distance on a cell counted as changed."""
    note: str = ""
    """A plain sentence when the threshold had to be found from the picture, or nothing."""

    @property
    def empty(self) -> bool:
        return not bool(self.mask.any())


def predict_edit_mask(
    before: Tensor,
    after: Tensor,
    height: int,
    width: int,
    how: AutoMask = AutoMask(),  # noqa: B008 - immutable
    statistics: FeatureStatistics | None = None,
) -> PredictedMask:
    """The model's own edit mask: features compared cell by cell.

    With a threshold in `how` the cosine distance counts. Without one it is the distance of `feature_statistics`, whose
    threshold is that of the checkpoint, or one found for this picture where the checkpoint has none.

    Args:
        before, after: features `[K, D]` of the picture there is and of the one that is meant, K a square number.
        height, width: of the picture in pixels.
        how: threshold, growth and softness. Where most of the picture changes, half a threshold that is given or
            measured counts; half a measured one also for cells beside those that changed. A measured one is lower where
            most cells are hardly other than before.
        statistics: of the checkpoint that made the features.

    Raises:
        WeGenError: the features are of different numbers or widths, or are not `[K, D]`.
    """
    if before.shape != after.shape or before.ndim != 2:
        raise WeGenError(f"Features of shapes {list(before.shape)} and {list(after.shape)} cannot be compared.")
    side = round(len(before) ** 0.5)
    measured = how.threshold is None and statistics is not None and statistics.measured
    note = ""
    if how.threshold is not None:
        distance, threshold = 1 - F.cosine_similarity(before.float(), after.float(), dim=-1), how.threshold
    elif measured:
        distance = distances(before, after, statistics)
        # A model that repeats what stays nearly to the number can be trusted with small changes, such as of a colour.
        quiet = float(distance.quantile(QUIET_CELLS))
        threshold = min(max(FARTHER * quiet, statistics.threshold / FINER), statistics.threshold)
    else:
        distance, note = distances(before, after, statistics), NOT_CALIBRATED
        threshold = picture_threshold(distance)
    if (measured or how.threshold is not None) and (distance > threshold).float().mean() > 0.5:
        # Most of the picture is meant to change, as with the time of day: what is left of it would show as patches.
        threshold /= 2
    cells = distance.reshape(1, 1, side, side)
    changed = (cells > threshold)[0, 0].numpy()
    if measured and changed.any():
        # A thing that stands on new ground hides most of it in its own cells: beside others, less is enough.
        near = (cells > threshold / 2)[0, 0].numpy()
        changed = ndimage.binary_dilation(changed, np.ones((3, 3)), iterations=BESIDE, mask=near)
    elif measured and distance.quantile(NEARLY_ALL) > max(statistics.noise, statistics.threshold / EVERYWHERE):
        # Nothing stands out, and yet nearly everything is another: the style of drawing is meant to change.
        changed = np.ones_like(changed)
    chosen = torch.from_numpy(changed)[None, None].float()
    mask = F.interpolate(chosen, size=(height, width), mode="nearest-exact")
    grown, softened = (pixels_of_cells(part / CELL_PARTS, height, width, side) for part in (how.grow, how.soften))
    mask = soften(grow(mask[0, 0], grown), softened)
    heat = F.interpolate(cells, size=(height, width), mode="bilinear", align_corners=False)
    return PredictedMask(mask, heat[0, 0].clamp(0, 1), threshold, note)


def pixels_of_cells(cells: float, height: int, width: int, side: int = 8) -> int:
    """Parts of a feature cell in whole pixels of a picture; a cell is the shorter side / `side` wide."""
    return round(cells * min(height, width) / side)


def grow(mask: Tensor, pixels: int) -> Tensor:
    """A mask `[H, W]` that reaches `pixels` further in all directions, corners included."""
    if pixels == 0:
        return mask
    grown = mask.numpy()
    for axis in (0, 1):
        grown = ndimage.maximum_filter1d(grown, 2 * pixels + 1, axis, mode="nearest")
    return torch.from_numpy(grown)


def soften(mask: Tensor, pixels: int) -> Tensor:
    """A mask `[H, W]` whose values fall from 1 to 0 within `pixels` outside of where they were 1."""
    outside = (mask < 1).numpy()
    if pixels == 0 or outside.all():
        return mask
    away = ndimage.distance_transform_cdt(outside, metric="chessboard").astype(np.float32)
    return torch.maximum(mask, torch.from_numpy(1 - away / (pixels + 1)))


def keep_features(before: Tensor, after: Tensor, change: Tensor) -> Tensor:
    """Features `[K, D]` for a picture that is partly kept: cells in which nothing may change have those of before.

    Args:
        before, after: `[K, D]`, K a square number.
        change: `[H, W]` in 0..1, where the picture may change.
    """
    side = round(len(before) ** 0.5)
    most = F.adaptive_max_pool2d(change[None, None], side).flatten()
    return torch.where(most[:, None] > 0, after, before.to(after))


def heat_map(picture: Tensor, heat: Tensor, mask: Tensor) -> Tensor:
    """A picture in grey with the heat over it in colours, and the mask's edge in white.

    Args:
        picture: `[H, W, 3 or 4]` in 0..1.
        heat, mask: `[H, W]` in 0..1.

    Returns:
        `[H, W, 3]` float32 in 0..1.
    """
    grey = picture[..., :3].float().mean(dim=-1, keepdim=True) * 0.6 + 0.2
    warm = torch.stack([heat.sqrt(), heat**1.5 * 0.9, (1 - heat) * 0.25], dim=-1)
    shown = grey + (warm - grey) * heat.sqrt()[..., None] * 0.85
    inside = (mask > 0).float()
    edge = (grow(inside, 1) - inside)[..., None]
    return (shown + (1 - shown) * edge).clamp(0, 1)
