"""How visible the edge of a pasted area is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..editing.composite import paste
from ..editing.masks import feathered


@dataclass(frozen=True)
class SeamSteps:
    """Mean difference, in levels of 255, between neighbouring pixels of which one is kept and one is not.

    Attributes:
        feathered: with this project's edge.
        hard: without any.
        blurred: with the mask blurred as far into the area as the feather reaches (three standard deviations), at most
            to its middle.
    """

    feathered: float
    hard: float
    blurred: float

    @property
    def ratio(self) -> float:
        """This project's step to the smaller of the others'."""
        return self.feathered / min(self.hard, self.blurred)


def seam_steps(before: Tensor, after: Tensor, change: Tensor, feather: float, added: bool = False) -> SeamSteps:
    """Composite two pictures `[H, W, C]` in three ways and measure the step across the edge of a hard `change`.

    With `added` what the picture before shows there itself does not count: a line of its own that crosses the edge is
    no seam, and only a mask that spoils kept pixels makes it fainter.
    """
    deepest = float(ndimage.distance_transform_edt(change.numpy() > 0).max())
    blurred = torch.from_numpy(ndimage.gaussian_filter(change.numpy(), min(feather, deepest) / 3)).to(change)
    weights = (feathered(change, feather), change, blurred)
    own = before if added else torch.zeros_like(before)
    return SeamSteps(*(_step(paste(before, after, weight) - own, change) for weight in weights))


def _step(picture: Tensor, change: Tensor) -> float:
    steps = []
    for axis in (0, 1):
        across = np.diff(change.numpy() > 0, axis=axis)
        steps.append(np.abs(np.diff(picture.double().numpy(), axis=axis))[across].ravel())
    return float(np.concatenate(steps).mean()) * 255
