"""What flows through the pipeline: one clip, which every stage gives back with more known about it."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

MOST_INSTANCES = 255
"""The instance map of a frame has 8 bits a pixel, and 0 is the background."""

_ARRAYS = ("times", "frames", "sharpness", "motion", "camera", "instance_map")


@dataclass(frozen=True)
class Rejection:
    """Why a clip, or something in it, is not used: a key of `reasons.REASONS`, and what was found."""

    stage: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Detection:
    """One box with a name in one frame: left, top, right, bottom in pixels; score in 0..1."""

    name: str
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Track:
    """One instance through a clip. Instance number i (from 0) is i + 1 in the clip's instance map.

    `boxes` are left, top, right, bottom in pixels around what is visible, None in frames where nothing is; `scores` are
    in 0..1, 0 where nothing is visible.
    """

    name: str
    boxes: tuple[tuple[int, int, int, int] | None, ...]
    scores: tuple[float, ...]

    def visible(self, frame: int) -> bool:
        return self.boxes[frame] is not None


@dataclass(frozen=True)
class Pair:
    """Two frames of a clip (indices into its frames) and what changes between them.

    `text` is an instruction in a user's words, empty before the stage `describe`. `facts` is JSON that says what was
    measured: one entry a change.
    """

    before: int
    after: int
    changed: float
    text: str = ""
    facts: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)


@dataclass(frozen=True, eq=False)
class Clip:
    """One piece of a video without a cut in it.

    Attributes:
        key: names the clip, the same in every run; files are named by it.
        source: path of the video as it was given.
        scene: number of the clip in its video, from 0; -1 where the video could not be cut at all.
        first, last: numbers of the frames in the video, `last` exclusive.
        start, end: seconds in the video, 0 at its first frame.
        offset: seconds at which its container shows the first frame.
        notes: what is worth knowing of the video, such as that it was turned upright.
        times: float64 `[T]`: seconds of each decoded frame in the video.
        frames: uint8 `[T, H, W, 3]`, RGB, the right side up.
        sharpness, motion: float32 `[T]`; motion is from the frame before, 0 for the first.
        camera: float64 `[T, 2, 3]`: where points of the frame before, in pixels, are in each frame if they stand
            still; not a number where that could not be measured, and for the first.
        names: things that the clip shows, in words.
        detections: boxes of each frame.
        tracks, instance_map: instances; uint8 `[T, H, W]`, 0 where there is none.
        pairs: frames at a distance, see `Pair`.
        captions: a description of each frame that a pair uses, by its index.
        dropped: pairs, names, boxes and tracks that were left out, and why; the clip itself goes on.
        rejection: why the clip is not used; no stage sees it from then on.
        seconds: how long each stage took, of its batch's time the clip's share.
    """

    key: str
    source: str
    scene: int = -1
    first: int = 0
    last: int = 0
    start: float = 0.0
    end: float = 0.0
    offset: float = 0.0
    notes: tuple[str, ...] = ()
    times: np.ndarray | None = None
    frames: np.ndarray | None = None
    sharpness: np.ndarray | None = None
    motion: np.ndarray | None = None
    camera: np.ndarray | None = None
    names: tuple[str, ...] = ()
    detections: tuple[tuple[Detection, ...], ...] = ()
    tracks: tuple[Track, ...] = ()
    instance_map: np.ndarray | None = None
    pairs: tuple[Pair, ...] = ()
    captions: Mapping[int, str] = field(default_factory=dict)
    dropped: tuple[Rejection, ...] = ()
    rejection: Rejection | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def rejected(self, stage: str, reason: str, detail: str = "") -> Clip:
        """The clip with a reason not to use it, and without its pictures."""
        nothing = dict.fromkeys(_ARRAYS)
        return replace(self, **nothing, detections=(), rejection=Rejection(stage, reason, detail))

    def without_pair(self, pair: Pair, stage: str, reason: str, detail: str = "") -> Clip:
        """The clip without one of its pairs, which `dropped` tells of from then on."""
        between = f"{self.times[pair.before]:.2f} s to {self.times[pair.after]:.2f} s"
        found = Rejection(stage, reason, f"{between}: {detail}" if detail else between)
        pairs = tuple(other for other in self.pairs if other is not pair)
        return replace(self, pairs=pairs, dropped=(*self.dropped, found))

    def without_boxes(self, names: Iterable[str], stage: str, reason: str) -> Clip:
        """The clip with a note in `dropped` on boxes that were left out, given by the name of each."""
        counts = sorted(Counter(names).items())
        found = tuple(
            Rejection(stage, reason, f"{name}: {count} {'box' if count == 1 else 'boxes'}") for name, count in counts
        )
        return replace(self, dropped=(*self.dropped, *found))

    def without_names_not_found(self, stage: str) -> Clip:
        """The clip with a note in `dropped` on each of its names that no box has."""
        seen = {one.name for frame in self.detections for one in frame}
        found = tuple(Rejection(stage, "name_not_found", name) for name in self.names if name not in seen)
        return replace(self, dropped=(*self.dropped, *found))

    def take(self, indices: np.ndarray) -> Clip:
        """The clip with these of its frames alone; only before there are detections and pairs."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return replace(self, **{name: None if array is None else array[indices] for name, array in arrays.items()})

    def mask(self, instance: int, frame: int) -> np.ndarray:
        """bool `[H, W]`: the visible part of an instance."""
        return self.instance_map[frame] == instance + 1

    def to_document(self) -> dict[str, Any]:
        """All but the arrays, as JSON; see `from_document`."""
        document = {name: value for name, value in vars(self).items() if name not in _ARRAYS}
        document["detections"] = [[asdict(one) for one in frame] for frame in self.detections]
        for name in ("tracks", "pairs", "dropped"):
            document[name] = [asdict(one) for one in getattr(self, name)]
        document["rejection"] = self.rejection and asdict(self.rejection)
        document["captions"] = sorted(self.captions.items())
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Clip:
        """Inverse of `to_document`, with the arrays that belong to it."""
        values = dict(document)
        values["detections"] = tuple(
            tuple(Detection(one["name"], tuple(one["box"]), one["score"]) for one in frame)
            for frame in document["detections"]
        )
        values["tracks"] = tuple(
            Track(one["name"], tuple(box and tuple(box) for box in one["boxes"]), tuple(one["scores"]))
            for one in document["tracks"]
        )
        values["pairs"] = tuple(Pair(**(one | {"facts": tuple(one["facts"])})) for one in document["pairs"])
        values["dropped"] = tuple(Rejection(**one) for one in document["dropped"])
        values["rejection"] = document["rejection"] and Rejection(**document["rejection"])
        values["captions"] = dict(document["captions"])
        for name in ("notes", "names"):
            values[name] = tuple(document[name])
        return cls(**values, **arrays)

    def to_bytes(self) -> bytes:
        """All of it, to send it to another process; see `from_bytes`."""
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        document = np.frombuffer(json.dumps(self.to_document()).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, document=document, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Clip:
        """Inverse of `to_bytes`."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name != "document"}
            return cls.from_document(json.loads(archive["document"].tobytes()), arrays)
