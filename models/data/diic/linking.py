"""Tracking by detection: masks for the boxes of each frame, and which of them are the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from .clip import MOST_INSTANCES, Clip, Detection, Rejection, Track

_FORBIDDEN = 1e6


class Segmenter(Protocol):
    """Finds the pixels of things in boxes."""

    def segment(self, clip: Clip, frame: int, boxes: Sequence[tuple[float, float, float, float]]) -> list[np.ndarray]:
        """For each box the mask of the thing in it, bool `[H, W]`; all False where there is none."""


class WholeBoxes:
    """The box is the mask: for detectors without a segmentation model."""

    def segment(self, clip: Clip, frame: int, boxes: Sequence[tuple[float, float, float, float]]) -> list[np.ndarray]:
        return [box_mask(box, clip.frames.shape[1:3]) for box in boxes]


def box_mask(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """bool of `size` (height, width), True inside of left, top, right, bottom."""
    mask = np.zeros(size, bool)
    left, top, right, bottom = (max(0, round(edge)) for edge in box)
    mask[top:bottom, left:right] = True
    return mask


def box_of(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom (the last two exclusive) around a mask; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Shared area of two boxes, of the area of both together."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def different(detections: Sequence[Detection], masks: Sequence[np.ndarray], alike: float) -> list[int]:
    """Which of a frame's detections are things of their own, the best first: those whose mask (bool `[H, W]`) shares
    less than `alike`, of both areas together, with that of any better one."""
    kept: list[int] = []
    for number in sorted(range(len(detections)), key=lambda one: _rank(detections[one])):
        if masks[number].any() and all(_shared(masks[number], masks[other]) < alike for other in kept):
            kept.append(number)
    return kept


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def _rank(detection: Detection) -> tuple[float, str, tuple[float, ...]]:
    return -detection.score, detection.name, detection.box


def without_doubles(detections: Sequence[Detection], most_shared: float = 0.85) -> list[Detection]:
    """The best detection of each place, whatever it is called: those that share less with any better one."""
    kept: list[Detection] = []
    for one in sorted(detections, key=_rank):
        if all(box_iou(one.box, other.box) < most_shared for other in kept):
            kept.append(one)
    return kept


def with_tracks(
    clip: Clip, names: Sequence[str], masks: Sequence[Sequence[np.ndarray | None]], scores, stage: str, settings: Kept
) -> Clip:
    """The clip with instances of `masks[instance][frame]` (bool `[H, W]` or None) and `scores[instance][frame]`.

    Where masks overlap, the smaller one is in front. Tracks that are seen in too few frames are dropped; the clip is
    rejected where none is left.
    """
    length, height, width = clip.frames.shape[:3]
    least = max(1.0, settings.least_area * height * width)
    areas = [[0 if mask is None else int(mask.sum()) for mask in track] for track in masks]
    dropped = list(clip.dropped)
    chosen = []
    for number, name in enumerate(names):
        seen = sum(area >= least for area in areas[number])
        if seen < settings.fewest_frames:
            dropped.append(Rejection(stage, "brief_track", f"{name}: {seen} of {length} frames"))
        else:
            chosen.append(number)
    if len(chosen) > MOST_INSTANCES:
        return clip.rejected(stage, "too_many_instances", f"{len(chosen)}, at most {MOST_INSTANCES}")
    whole = np.zeros((length, height, width), np.uint8)
    for frame in range(length):
        present = [(areas[number][frame], label) for label, number in enumerate(chosen, start=1)]
        for area, label in sorted(present, key=lambda one: (-one[0], one[1])):
            if area >= least:
                whole[frame][masks[chosen[label - 1]][frame]] = label
    tracks = []
    for label, number in enumerate(chosen, start=1):
        visible = [whole[frame] == label for frame in range(length)]
        boxes = tuple(box_of(mask) if mask.sum() >= least else None for mask in visible)
        for mask, box, seen in zip(visible, boxes, whole, strict=True):
            if box is None:  # so little is left behind others that it counts as hidden
                seen[mask] = 0
        kept = tuple(float(scores[number][f]) if boxes[f] is not None else 0.0 for f in range(length))
        tracks.append(Track(names[number], boxes, kept))
    clip = replace(clip, tracks=tuple(tracks), instance_map=whole, dropped=tuple(dropped))
    if not any(sum(box is not None for box in track.boxes) >= settings.fewest_frames for track in tracks):
        return clip.rejected(stage, "nothing_tracked", f"{len(names)} were seen for a moment")
    return clip


@dataclass(frozen=True)
class Kept:
    """Which tracks are kept: `least_area` is the share of a frame a thing must cover to count as visible."""

    least_area: float = 0.0004
    fewest_frames: int = 2


@dataclass
class _Open:
    """A thing that is being followed."""

    name: str
    box: np.ndarray
    colours: np.ndarray  # of late
    whole: np.ndarray  # when most of it was seen
    last: int
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # own, pixels a second, the camera's taken out
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkDetections:
    """Follows things by linking the boxes of one frame to those of the frames before.

    The dearest links are avoided as a whole (the assignment problem): a link is dear where a thing would be far from
    where it was going, where its colours differ, and impossible where its name differs.

    Attributes:
        segmenter: finds masks in the boxes.
        patience: seconds for which a hidden thing is waited for.
        reach: how far from the place expected a thing may be, in its own sizes, and half as far again for each frame
            that it was hidden.
        dearest: cost from which on nothing is linked, 0..2.
        alike: shared area of two masks, of both together, from which on they are one thing under two names.
    """

    segmenter: Segmenter = field(default_factory=WholeBoxes)
    patience: float = 6.0
    reach: float = 2.0
    dearest: float = 1.2
    alike: float = 0.7
    kept: Kept = Kept()
    name: str = "track"

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._track(clip) for clip in clips]

    def _track(self, clip: Clip) -> Clip:
        tracks: list[_Open] = []
        doubles: list[str] = []
        for frame in range(len(clip.frames)):
            detections = clip.detections[frame]
            masks = self.segmenter.segment(clip, frame, [one.box for one in detections])
            kept = different(detections, masks, self.alike)
            doubles += [one.name for n, one in enumerate(detections) if n not in kept and masks[n].any()]
            self._link(clip, frame, tracks, [detections[n] for n in kept], [masks[n] for n in kept])
        tracks = _without_breaks(tracks)
        length = range(len(clip.frames))
        masks = [[track.masks.get(frame) for frame in length] for track in tracks]
        scores = [[track.scores.get(frame, 0.0) for frame in length] for track in tracks]
        clip = clip.without_boxes(doubles, self.name, "box_overlaps")
        return with_tracks(clip, [track.name for track in tracks], masks, scores, self.name, self.kept)

    def _link(self, clip: Clip, frame: int, tracks: list[_Open], detections, masks) -> None:
        boxes = [np.array(box_of(mask) or one.box, float) for one, mask in zip(detections, masks, strict=True)]
        colours = [_colours(clip.frames[frame], mask) for mask in masks]
        waiting = [track for track in tracks if clip.times[frame] - clip.times[track.last] <= self.patience]
        links: dict[int, _Open] = {}
        if waiting and detections:
            cost = np.full((len(waiting), len(detections)), _FORBIDDEN)
            for row, track in enumerate(waiting):
                expected = _expected(clip, track, frame)
                for column, one in enumerate(detections):
                    if one.name == track.name:
                        cost[row, column] = self._cost(track, expected, frame, boxes[column], colours[column])
            rows, columns = linear_sum_assignment(np.minimum(cost, _FORBIDDEN))
            links = {c: waiting[r] for r, c in zip(rows, columns, strict=True) if cost[r, c] <= self.dearest}
        for number, one in enumerate(detections):
            track = links.get(number)
            if track is None:
                track = _Open(one.name, boxes[number], colours[number], colours[number], frame)
                tracks.append(track)
            else:
                gap = max(1e-3, clip.times[frame] - clip.times[track.last])
                still = _moved(clip, track.box, track.last, frame)
                track.velocity = 0.5 * track.velocity + 0.5 * (_centre(boxes[number]) - _centre(still)) / gap
                track.colours = 0.7 * track.colours + 0.3 * colours[number]
                if masks[number].sum() > max(mask.sum() for mask in track.masks.values()):
                    track.whole = colours[number]
                track.box, track.last = boxes[number], frame
            track.masks[frame], track.scores[frame] = masks[number], one.score

    def _cost(self, track: _Open, expected: np.ndarray, frame: int, box: np.ndarray, colours: np.ndarray) -> float:
        size = max(*(track.box[2:] - track.box[:2]), *(box[2:] - box[:2]))
        reach = self.reach * size * (1 + 0.5 * (frame - track.last - 1))
        distance = np.linalg.norm(_centre(expected) - _centre(box)) / reach
        # What was half hidden shows other colours and another middle, so each alone says little.
        unlike = 1 - max(np.minimum(known, colours).sum() for known in (track.colours, track.whole))
        return distance + unlike if distance <= 1 else _FORBIDDEN


def _without_breaks(tracks: list[_Open]) -> list[_Open]:
    """Two tracks that alone have their name, one after the other, are one thing that was hidden for some time."""
    whole: list[_Open] = []
    for track in tracks:
        earlier = [one for one in whole if one.name == track.name]
        alone = len(earlier) == 1 and sum(one.name == track.name for one in tracks) == 2
        if alone and earlier[0].last < min(track.masks):
            earlier[0].masks.update(track.masks)
            earlier[0].scores.update(track.scores)
        else:
            whole.append(track)
    return whole


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _moved(clip: Clip, box: np.ndarray, before: int, after: int) -> np.ndarray:
    """Where a box is in a later frame if the thing stands still; where it was, if the camera's motion is not known."""
    corners = box.reshape(2, 2).T
    for step in clip.camera[before + 1 : after + 1]:
        if not np.isnan(step).any():
            corners = step[:, :2] @ corners + step[:, 2:]
    return corners.T.ravel()


def _expected(clip: Clip, track: _Open, frame: int) -> np.ndarray:
    gap = clip.times[frame] - clip.times[track.last]
    return _moved(clip, track.box, track.last, frame) + np.tile(track.velocity * gap, 2)


def _colours(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much of a thing has each of 64 colours; adds up to 1."""
    pixels = frame[mask] >> 6
    if not len(pixels):
        return np.zeros(64)
    numbers = pixels[:, 0] * 16 + pixels[:, 1] * 4 + pixels[:, 2]
    return np.bincount(numbers, minlength=64) / len(numbers)
