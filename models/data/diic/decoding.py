"""The second stage: the frames of each clip at even times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .clip import Clip
from .stage import require
from .video import Frame, Video, VideoError, fitted

EARLY = 1e-4  # seconds that rounded time stamps may be off


@dataclass(frozen=True)
class DecodeFrames:
    """Decodes the frames nearest to even times.

    Attributes:
        rate: frames a second, fewer where a clip would have more than `most` of them.
        most: frames of a clip at most.
        side: pixels of the longer side at most; smaller videos keep their size.
    """

    rate: float = 4.0
    most: int = 32
    side: int = 768
    name: str = "decode"

    def __post_init__(self):
        require(self, {"rate": 0}, {"most": 2, "side": 2})

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._decode(clip) for clip in clips]

    def _decode(self, clip: Clip) -> Clip:
        length = clip.end - clip.start
        count = int(min(self.most, max(2, round(length * self.rate))))
        # Not at the very ends: there, films that were encoded anew often show a mixture of two scenes.
        goals = clip.start + length * (np.arange(count) + 0.5) / count
        times, frames = [], []
        try:
            with Video(clip.source) as video:
                found = self._nearest(video, clip, goals)
                if not found or found[0].seconds > goals[0] + length / 2:
                    raise VideoError("empty", video.broken)
                size = fitted(found[0].size, self.side)
                for frame in found:
                    times.append(frame.seconds)
                    frames.append(frame.pixels(*size))
        except VideoError as error:
            return clip.rejected(self.name, error.reason, error.detail)
        return replace(clip, times=np.array(times), frames=np.stack(frames))

    @staticmethod
    def _nearest(video: Video, clip: Clip, goals: np.ndarray) -> list[Frame]:
        """For each time the frame nearest to it, no frame twice."""
        found: list[Frame] = []
        before: Frame | None = None
        reached = 0
        for frame in video.frames_from(clip.start, clip.offset):
            if frame.seconds < clip.start - EARLY:
                continue
            if frame.seconds >= clip.end - EARLY or reached == len(goals):
                break
            while reached < len(goals) and frame.seconds >= goals[reached]:
                nearer = frame
                if before is not None and goals[reached] - before.seconds < frame.seconds - goals[reached]:
                    nearer = before
                if not found or nearer is not found[-1]:
                    found.append(nearer)
                reached += 1
            before = frame
        if reached < len(goals) and before is not None and (not found or before is not found[-1]):
            found.append(before)
        return found
