"""The third stage: the frames worth looking at, by sharpness and motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from .camera import camera_motion, opencv
from .clip import Clip
from .stage import require

SIDE = 192  # pixels of the longer side at which frames are judged, so that numbers do not depend on the size


def grey(frame: np.ndarray, side: int = SIDE) -> np.ndarray:
    """float32 `[h, w]` in 0..255, the longer side `side` pixels at most."""
    picture = Image.fromarray(frame).convert("L")
    scale = min(1.0, side / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32)


def sharpness_of(levels: np.ndarray) -> float:
    """How strong the finest edges of a picture are: the mean of the strongest hundredth of its Laplacian, 0..255."""
    middle = levels[1:-1, 1:-1]
    if not middle.size:
        return 0.0
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    edges = np.abs(around / 4 - middle).ravel()
    strongest = max(1, edges.size // 100)
    return float(np.partition(edges, -strongest)[-strongest:].mean())


@dataclass(frozen=True)
class SelectFrames:
    """Leaves out blurred frames and those that show nothing new.

    Attributes:
        least_sharpness: of the sharpest frame of the clip, below which a frame is blurred (0..1).
        least_edges: below it a frame is blurred whatever the others are like, see `sharpness_of`.
        least_motion: mean difference to the last frame that was kept, 0..255, below which a frame shows nothing new.
        fewest: frames that must be left.
    """

    least_sharpness: float = 0.35
    least_edges: float = 2.0
    least_motion: float = 0.15
    fewest: int = 2
    name: str = "select"

    def __post_init__(self):
        require(self, {}, {"least_sharpness": 0, "least_edges": 0, "least_motion": 0, "fewest": 1})

    @staticmethod
    def check(**options: Any) -> None:
        """Raise StageError for bad options, and where the package that measures motion is missing."""
        SelectFrames(**options)
        opencv()

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._select(clip) for clip in clips]

    def _select(self, clip: Clip) -> Clip:
        levels = [grey(frame) for frame in clip.frames]
        sharpness = np.array([sharpness_of(one) for one in levels], np.float32)
        motion = np.array([0, *(np.abs(b - a).mean() for a, b in pairwise(levels))], np.float32)
        clip = replace(clip, sharpness=sharpness, motion=motion)
        sharp = np.flatnonzero(sharpness >= max(self.least_edges, self.least_sharpness * sharpness.max()))
        if len(sharp) < self.fewest:
            return clip.rejected(self.name, "blurred", f"{len(sharp)} of {len(levels)} frames are sharp")
        kept = [sharp[0]]
        for index in sharp[1:]:
            if np.abs(levels[index] - levels[kept[-1]]).mean() >= self.least_motion:
                kept.append(index)
        if len(kept) < self.fewest:
            return clip.rejected(self.name, "nothing_moves", f"{motion.max():.2f} of 255 is the largest difference")
        clip = clip.take(np.array(kept))
        return replace(clip, camera=camera_motion(clip.frames))
