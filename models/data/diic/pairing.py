"""Pairs of frames at a distance, as the paper takes them, and what they must show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .clip import Clip, Pair, Rejection
from .selecting import grey
from .stage import require

CHANGED = 20  # of 255: how much a pixel must differ to count as changed


@dataclass(frozen=True)
class PairFrames:
    """Chooses pairs of frames.

    Attributes:
        distances: seconds between the frames of a pair.
        tolerance: share of a distance by which the frames may miss it.
        most: pairs of a clip at most; they are spread over the distances and the clip.
        least_change, most_change: share of the pixels that differ.
        least_shared: instances that must be visible in both frames.
        least_sharpness: of the clip's middle frame by sharpness, below which a frame is blurred.
        alike: mean difference, 0..255, up to which two frames count as the same when pairs are compared.
    """

    distances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tolerance: float = 0.3
    most: int = 6
    least_change: float = 0.004
    most_change: float = 0.9
    least_shared: int = 1
    least_sharpness: float = 0.5
    alike: float = 1.5
    name: str = "pair"

    def __post_init__(self):
        limits = {"tolerance": 0, "most": 1, "least_change": 0, "least_shared": 0, "least_sharpness": 0, "alike": 0}
        require(self, {"distances": 0, "most_change": 0}, limits)

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._pair(clip) for clip in clips]

    def _pair(self, clip: Clip) -> Clip:
        levels = [grey(frame) for frame in clip.frames]
        middle = float(np.median(clip.sharpness))
        dropped: dict[tuple[int, int], Rejection] = {}
        kept: list[Pair] = []

        def reason(before: int, after: int) -> tuple[str, str]:
            blurred = [index for index in (before, after) if clip.sharpness[index] < self.least_sharpness * middle]
            if blurred:
                return "blurred_pair", f"sharpness {clip.sharpness[blurred[0]]:.1f}, middle {middle:.1f}"
            shared = sum(track.visible(before) and track.visible(after) for track in clip.tracks)
            if shared < self.least_shared:
                return "track_lost", f"{shared} things are visible in both"
            changed = changed_share(levels[before], levels[after])
            if changed < self.least_change:
                return "too_little_change", f"{changed:.1%} of the pixels"
            if changed > self.most_change:
                return "too_much_change", f"{changed:.1%} of the pixels"
            if any(
                _unlike(levels[before], levels[other.before]) <= self.alike
                and _unlike(levels[after], levels[other.after]) <= self.alike
                for other in kept
            ):
                return "near_duplicate", ""
            kept.append(Pair(before, after, round(changed, 4)))
            return "", ""

        for before, after in self._candidates(clip.times):
            if len(kept) == self.most:
                break
            why, detail = reason(before, after)
            if why:
                between = f"{clip.times[before]:.2f} s to {clip.times[after]:.2f} s"
                found = Rejection(self.name, why, f"{between}: {detail}" if detail else between)
                dropped[before, after] = found
        kept.sort(key=lambda pair: (pair.before, pair.after))
        clip = replace(clip, pairs=tuple(kept), dropped=(*clip.dropped, *dropped.values()))
        if not kept:
            return without_pairs(clip, self.name)
        return clip

    def _candidates(self, times: np.ndarray) -> list[tuple[int, int]]:
        """Pairs in the order in which they are tried: by turns of each distance, far ones first, spread over time."""
        columns = []
        for distance in sorted(self.distances, reverse=True):
            found = []
            for before in range(len(times)):
                after = int(np.abs(times - times[before] - distance).argmin())
                if after > before and abs(times[after] - times[before] - distance) <= self.tolerance * distance:
                    found.append((before, after))
            columns.append([found[index] for index in _spread(len(found))])
        rows = range(max(map(len, columns), default=0))
        return list(dict.fromkeys(column[row] for row in rows for column in columns if row < len(column)))


def _spread(count: int) -> list[int]:
    """0..count-1 so that any beginning of it is spread over the whole: first, last, middle, quarters ..."""
    order: list[int] = []
    parts = 1
    while len(order) < count:
        order += [round(part * (count - 1) / parts) for part in range(parts + 1)]
        order = list(dict.fromkeys(order))
        parts *= 2
    return order


def changed_share(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels of two grey pictures (0..255) that differ by more than `CHANGED`."""
    return float((np.abs(one - other) > CHANGED).mean())


def _unlike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def without_pairs(clip: Clip, stage: str) -> Clip:
    """A clip no pair of which is left, rejected with the commonest of the reasons why."""
    reasons = [one.reason for one in clip.dropped if one.stage == stage]
    if not reasons:
        return clip.rejected(stage, "no_pairs", "no two frames are as far apart as was asked for")
    commonest = max(sorted(set(reasons)), key=reasons.count)
    return clip.rejected(
        stage, "no_pairs", f"mostly {commonest.replace('_', ' ')}: {reasons.count(commonest)} of {len(reasons)}"
    )
