"""How far apart two features are, whatever mean all features share, and from where on that is a change.

A distance is the squared distance of two features, in parts of what it is on average between unrelated ones: 0 for the
same feature, about 1 for any two cells of any two pictures. The shared mean cancels out of it, so that features which
differ little in their angle (a large mean, a small spread) are told apart as well as others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..network.configuration import FeatureStatistics

LOWEST, HIGHEST = 0.1, 0.2
"""Where the threshold that is found for one picture lies, as long as its unchanged cells are not above it."""
SEPARATED = 4.0
"""How many times farther the changed cells of a picture are than the others, on average, when the two can be told."""


def spread_of(features: Tensor) -> float:
    """The spread of features `[..., D]`: see `FeatureStatistics.spread`."""
    cells = features.float().flatten(0, -2)
    return float((cells - cells.mean(dim=0)).square().sum(dim=-1).mean().sqrt())


def distances(before: Tensor, after: Tensor, statistics: FeatureStatistics | None = None) -> Tensor:
    """Distances of features `[K, D]`, cell by cell: `[K]` float32, 0 or more.

    Without measured statistics the two pictures' own spread is the measure.
    """
    if statistics is not None and statistics.measured:
        spread = statistics.spread
    else:
        spread = ((spread_of(before) ** 2 + spread_of(after) ** 2) / 2) ** 0.5
    return (after.float() - before.float()).square().sum(dim=-1) / max(2 * spread**2, 1e-12)


def picture_threshold(distance: Tensor) -> float:
    """The distance that parts the changed cells of one picture from the others, found from all of them, `[K]`.

    Otsu's split in two groups ("A threshold selection method from gray-level histograms", 1979), held between LOWEST
    and HIGHEST: a picture in which nothing changes has no cells above, one in which all changes none below. Only where
    the groups lie clearly apart and the lower one is itself near HIGHEST, as with a model whose features are never
    twice the same, the threshold may be above.
    """
    values = distance.float().sort().values
    count = len(values)
    if count < 2:
        return HIGHEST
    left = torch.arange(1, count)
    lower = values.cumsum(0)[:-1] / left
    upper = (values.sum() - values.cumsum(0)[:-1]) / (count - left)
    split = int((left * (count - left) * (upper - lower).square()).argmax())
    threshold = float(values[split] + values[split + 1]) / 2
    highest = HIGHEST
    if upper[split] > SEPARATED * lower[split]:
        highest = max(highest, 2 * float(values[: split + 1].median()))
    return min(max(threshold, LOWEST), highest)
