"""Where things were that a model took away from a picture, to the pixel."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

CLEAR = 0.25
"""How far apart, in 0..1, the two paintings are somewhere in an area from which something was taken."""
LEAST, SHARE = 0.06, 0.15
"""How far apart they are in all of such an area: this much, and this share of the largest difference."""
SPECK = 0.1
"""What is smaller than this share of the largest area is none."""
REACH = 1 / 64
"""How far beyond the painted thing the picture's own may reach, as a share of the shorter side."""
EDGE = 0.047
"""Difference from which on a pixel of the picture shows what is not in the painting without the things."""


def taken_away(picture: Tensor, painted: Tensor, without: Tensor) -> Tensor:
    """The mask of what is in a picture and not in one that was painted without it.

    A model does not paint quite what it read. So the places are found by comparing two of its own paintings, which
    differ in what was taken away alone, and only the edges by comparing with the picture.

    Args:
        picture: `[H, W, 3]` in 0..1.
        painted: the same, as the model paints what it read.
        without: as it paints the same from the same noise, without the things.

    Returns:
        `[H, W]` float32, 1 where the things are and 0 elsewhere; 0 everywhere where nothing was taken away.
    """
    apart, other = (_apart(one, without) for one in (painted, picture))
    areas = _reaching(apart > max(LEAST, SHARE * float(apart.max())), apart, CLEAR)
    areas = _without_specks(ndimage.binary_fill_holes(areas))
    reach = max(1, round(min(areas.shape) * REACH))
    near = ndimage.maximum_filter(areas, 2 * reach + 1)
    mask = ndimage.binary_opening(near & (other > EDGE), np.ones((reach, reach)))
    whole = _reaching(ndimage.binary_fill_holes(mask), areas.astype(np.float32), 0.5)
    return torch.from_numpy(whole).float()


def _apart(one: Tensor, other: Tensor) -> np.ndarray:
    return (one.float() - other.float()).abs().amax(dim=-1).numpy()


def _reaching(where: np.ndarray, values: np.ndarray, least: float) -> np.ndarray:
    """The areas in which values above `least` are."""
    areas, count = ndimage.label(where, np.ones((3, 3)))
    highest = ndimage.maximum(values, areas, range(1, count + 1))
    return np.isin(areas, 1 + np.flatnonzero(np.asarray(highest) > least))


def _without_specks(where: np.ndarray) -> np.ndarray:
    areas, count = ndimage.label(where)
    sizes = np.asarray(ndimage.sum_labels(where, areas, range(1, count + 1)))
    return np.isin(areas, 1 + np.flatnonzero(sizes >= SPECK * sizes.max(initial=0)))
