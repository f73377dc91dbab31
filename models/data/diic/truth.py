"""Stages that read the truth of rendered films in place of a model's opinion: to measure all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from .changes import CaptionPlaces
from .clip import Clip, Detection
from .films import load_film
from .linking import LinkDetections, Segmenter, box_iou, box_of


@lru_cache(maxsize=16)
def _film(source: str) -> Any:
    return load_film(source)


@lru_cache(maxsize=256)
def _labels(source: str, frame: int, height: int, width: int) -> np.ndarray:
    labels = _film(source).render(frame)[1]
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def true_labels(clip: Clip, frame: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the shot's things, and which of them is seen where in a frame of a clip: uint8 `[H, W]`, 0 for none."""
    film = _film(clip.source)
    number = film.frame_at(float(clip.times[frame]))
    actors = film.shots[film.shot_at(number)[0]].actors
    labels = _labels(clip.source, number, *clip.frames.shape[1:3])
    return tuple(actor.name for actor in actors), labels


@dataclass(frozen=True)
class NameFromTruth:
    """The names of all things that are seen in the clip; `generic` gives all of them the same one."""

    generic: bool = False
    name: str = "name"

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._name(clip) for clip in clips]

    def _name(self, clip: Clip) -> Clip:
        found: dict[str, None] = {}
        for frame in range(len(clip.frames)):
            names, labels = true_labels(clip, frame)
            found |= dict.fromkeys(
                "thing" if self.generic else names[label - 1] for label in np.unique(labels[labels > 0])
            )
        if not found:
            return clip.rejected(self.name, "no_names")
        return replace(clip, names=tuple(found))


@dataclass(frozen=True)
class GroundFromTruth:
    """Boxes of what is visible of things, as a good detector gives them: a little off, in any order.

    Attributes:
        off: pixels by which each edge may be off.
        missed: share of the boxes that are not found.
        least_area: pixels that must be visible.
    """

    off: float = 1.0
    missed: float = 0.0
    least_area: int = 24
    name: str = "ground"

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._ground(clip) for clip in clips]

    def _ground(self, clip: Clip) -> Clip:
        rng = Random(f"boxes of {clip.key}")
        frames = []
        for frame in range(len(clip.frames)):
            names, labels = true_labels(clip, frame)
            found = []
            for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
                if label == 0 or count < self.least_area or rng.random() < self.missed:
                    continue
                box = tuple(edge + rng.uniform(-self.off, self.off) for edge in box_of(labels == label))
                name = names[label - 1] if names[label - 1] in clip.names else clip.names[0]
                found.append(Detection(name, box, rng.uniform(0.6, 1.0)))
            rng.shuffle(found)
            frames.append(tuple(found))
        if not any(frames):
            return clip.rejected(self.name, "nothing_detected")
        return replace(clip, detections=tuple(frames)).without_names_not_found(self.name)


class SegmentFromTruth:
    """The visible pixels of the thing whose box is most like the one asked for, without saying which thing that is."""

    def segment(self, clip: Clip, frame: int, boxes: Sequence[tuple[float, float, float, float]]) -> list[np.ndarray]:
        _, labels = true_labels(clip, frame)
        masks = [labels == label for label in np.unique(labels[labels > 0])]
        nothing = np.zeros(labels.shape, bool)
        return [max(masks, key=lambda mask: box_iou(box_of(mask), box), default=nothing) for box in boxes]


@dataclass(frozen=True)
class LinkTrueMasks(LinkDetections):
    """Links detections as always; only their masks are the true ones."""

    segmenter: Segmenter = field(default_factory=SegmentFromTruth)


class CaptionFromTruth(CaptionPlaces):
    """Describes frames in the words that their film has for them, and by names and places where it has none."""

    def words(self, clip: Clip, frame: int) -> str:
        film = _film(clip.source)
        describe = getattr(film, "describe", None)
        return describe(film.frame_at(float(clip.times[frame]))) if describe else super().words(clip, frame)
