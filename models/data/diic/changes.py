"""What changes between two frames, measured from tracks and from the camera's motion, and put into plain words.

No model is asked: this is what a vision-language model is told, what its answer can be compared with, and what
describes changes where there is no such model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from .camera import motion_between
from .clip import Clip, Pair, Track
from .pairing import without_pairs

DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")


@dataclass(frozen=True)
class Thresholds:
    """From where on something counts as changed. Lengths are shares of the longer side of the frame.

    Attributes:
        moved: way of a thing, the camera's motion taken out.
        view: shift of the view.
        zoomed, grown: factor of size.
        seen: of the largest size that a thing had in the clip, how much of each side must be visible to measure it.
    """

    moved: float = 0.06
    view: float = 0.08
    zoomed: float = 1.12
    grown: float = 1.3
    seen: float = 0.5


def direction_of(across: float, down: float) -> str:
    """One of eight words."""
    return DIRECTIONS[round(np.degrees(np.arctan2(down, across)) / 45) % 8]


def changes_between(
    clip: Clip, before: int, after: int, thresholds: Thresholds = Thresholds()
) -> tuple[dict[str, Any], ...] | None:
    """Facts about two frames, the view first and then each thing; None where the camera's motion is not known.

    Each has a `change`: "view" (the camera moves: `direction`, `by`), "zoom" (`factor`), and for an `instance` with its
    `name`: "moves" (`direction`, `by`), "grows", "shrinks" (`factor`), "comes" and "goes" (`side`: where of the
    picture's edge, or "" in the middle of it). `by` is a share of the longer side of the frame. What only the camera
    does to a thing is no change of the thing.
    """
    camera = motion_between(clip.camera, before, after)
    if camera is None:
        return None
    height, width = clip.frames.shape[1:3]
    longer = max(height, width)
    facts: list[dict[str, Any]] = []
    zoom = float(np.sqrt(abs(np.linalg.det(camera[:, :2]))))
    middle = np.array([width / 2, height / 2])
    shift = middle - (camera[:, :2] @ middle + camera[:, 2])  # the view goes against what is seen
    if np.linalg.norm(shift) >= thresholds.view * longer:
        by = round(float(np.linalg.norm(shift)) / longer, 3)
        facts.append({"change": "view", "direction": direction_of(*shift), "by": by})
    if not 1 / thresholds.zoomed < zoom < thresholds.zoomed:
        facts.append({"change": "zoom", "factor": round(zoom, 3)})
    for number, track in enumerate(clip.tracks):
        fact = _change_of(clip, track, before, after, camera, thresholds)
        if fact is not None:
            facts.append({"instance": number, "name": track.name, **fact})
    return tuple(facts)


def _change_of(
    clip: Clip, track: Track, before: int, after: int, camera: np.ndarray, thresholds: Thresholds
) -> dict[str, Any] | None:
    height, width = clip.frames.shape[1:3]
    if track.visible(before) and track.visible(after):
        old, new = track.boxes[before], np.array(track.boxes[after], float)
        still = _through(camera, old)
        if min(_visible_share(track, before), _visible_share(track, after)) < thresholds.seen:
            return None
        way = np.array([_way(still[0], still[2], new[0], new[2]), _way(still[1], still[3], new[1], new[3])])
        far = float(np.linalg.norm(way)) / max(height, width)
        if far >= thresholds.moved:
            return {"change": "moves", "direction": direction_of(*way), "by": round(far, 3)}
        sizes = (new[2:] - new[:2]) / np.maximum(still[2:] - still[:2], 1)
        # What another thing hides a part of seems to grow when it comes free.
        whole = not any(_is_cut(clip, track, frame) for frame in (before, after))
        if whole and (sizes >= thresholds.grown).all():
            return {"change": "grows", "factor": round(float(sizes.mean()), 3)}
        if whole and (sizes <= 1 / thresholds.grown).all():
            return {"change": "shrinks", "factor": round(float(sizes.mean()), 3)}
        return None
    if not (track.visible(before) or track.visible(after)):
        return None
    if _visible_share(track, before if track.visible(before) else after) < thresholds.seen:
        return None  # whether no more than an edge of it is there or not, nobody would tell of
    if track.visible(before):
        place = _through(camera, track.boxes[before])
        if _outside(place, width, height):
            return None  # it stands still, and the view left it behind
        return {"change": "goes", "side": _side(track, range(after, before - 1, -1), width, height)}
    inverse = np.linalg.inv(np.vstack([camera, (0, 0, 1)]))[:2]
    if _outside(_through(inverse, track.boxes[after]), width, height):
        return None
    return {"change": "comes", "side": _side(track, range(before, after + 1), width, height)}


def _through(matrix: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """A box after a motion."""
    corners = np.array(box, float).reshape(2, 2).T
    moved = matrix[:, :2] @ corners + matrix[:, 2:]
    return moved.T.ravel()


def _way(old_low: float, old_high: float, new_low: float, new_high: float) -> float:
    """How far both edges went: what hides one edge, or growth about the middle, is no way."""
    low, high = new_low - old_low, new_high - old_high
    if low * high <= 0:
        return 0.0
    return low if abs(low) < abs(high) else high


def _visible_share(track: Track, frame: int) -> float:
    """How much of its largest width and height a thing shows in a frame, the smaller of both."""
    sizes = np.array([(box[2] - box[0], box[3] - box[1]) for box in track.boxes if box is not None], float)
    left, top, right, bottom = track.boxes[frame]
    return float((np.array([right - left, bottom - top]) / sizes.max(axis=0)).min())


def _is_cut(clip: Clip, track: Track, frame: int) -> bool:
    """Whether a thing is at the edge of the picture or touches another one, so that a part of it may be hidden."""
    height, width = clip.frames.shape[1:3]
    left, top, right, bottom = track.boxes[frame]
    if left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1:
        return True
    label = clip.tracks.index(track) + 1
    labels = clip.instance_map[frame, top - 2 : bottom + 2, left - 2 : right + 2]
    around = ndimage.binary_dilation(labels == label, iterations=2)
    return bool(((labels > 0) & (labels != label) & around).any())


def _outside(box: np.ndarray, width: int, height: int) -> bool:
    """Whether most of a box is out of the picture."""
    across = min(box[2], width) - max(box[0], 0)
    down = min(box[3], height) - max(box[1], 0)
    if across <= 0 or down <= 0:
        return True
    return across * down < 0.5 * (box[2] - box[0]) * (box[3] - box[1])


def _side(track: Track, frames: Sequence[int], width: int, height: int) -> str:
    """At which edge of the picture a thing is in the frame in which it is seen nearest to its coming or going."""
    for frame in frames:
        box = track.boxes[frame]
        if box is None:
            continue
        if box[0] <= 1 or box[2] >= width - 1:
            return "left" if box[0] <= 1 else "right"
        if box[1] <= 1 or box[3] >= height - 1:
            return "top" if box[1] <= 1 else "bottom"
        return ""
    return ""


_AMOUNTS = ((0.15, "a little "), (0.35, ""), (9.0, "far "))


def instruction_of(facts: Sequence[Mapping[str, Any]]) -> str:
    """Facts as a user would order them; empty where there are none."""
    return " ".join(f"{words[0].upper()}{words[1:]}." for words in map(_order, facts))


def shared_names(clip: Clip, pair: Pair) -> set[str]:
    """What more than one of the things is called that a pair shows: such a name does not say which one is meant."""
    seen = (track.name for track in clip.tracks if track.visible(pair.before) or track.visible(pair.after))
    return {name for name, count in Counter(seen).items() if count > 1}


def _order(fact: Mapping[str, Any]) -> str:
    change, name = fact["change"], fact.get("name", "")
    if change == "view":
        return f"move the view {_amount(fact['by'])}{_towards(fact['direction'])}"
    if change == "zoom":
        return "go nearer" if fact["factor"] > 1 else "go farther away"
    if change == "moves":
        return f"move the {name} {_amount(fact['by'])}{_towards(fact['direction'])}"
    if change in ("grows", "shrinks"):
        return f"make the {name} {'bigger' if change == 'grows' else 'smaller'}"
    where = f" at the {fact['side']}" if fact["side"] else ""
    return f"let the {name} come into the picture{where}" if change == "comes" else f"let the {name} disappear{where}"


def _amount(by: float) -> str:
    return next(words for limit, words in _AMOUNTS if by < limit)


def _towards(direction: str) -> str:
    vertical, _, horizontal = direction.rpartition(" ")
    if not vertical:
        return f"to the {horizontal}" if horizontal in ("left", "right") else horizontal
    return f"{vertical} and to the {horizontal}"


_COLUMNS = ("at the left", "in the middle", "at the right")


def caption_of(clip: Clip, frame: int) -> str:
    """What a frame shows, by the names and places of its instances, from left to right; empty where there are none."""
    width = clip.frames.shape[2]
    present = [(track.boxes[frame], track.name) for track in clip.tracks if track.visible(frame)]
    present.sort(key=lambda one: (one[0][0] + one[0][2], one[1]))
    phrases = []
    for (left, _, right, _), name in present:
        column = _COLUMNS[min(2, int((left + right) / 2 / width * 3))]
        article = "an" if name[:1].lower() in "aeiou" else "a"
        phrases.append(f"{article} {name} {column}")
    text = ", ".join(phrases)
    return f"{text[0].upper()}{text[1:]}." if text else ""


@dataclass(frozen=True)
class DescribeChanges:
    """Describes each pair by what was measured; `most` changes in one at most."""

    most: int = 4
    thresholds: Thresholds = Thresholds()
    name: str = "describe"

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._describe(clip) for clip in clips]

    def _describe(self, clip: Clip) -> Clip:
        described: list[Pair] = []
        for pair in clip.pairs:
            facts = changes_between(clip, pair.before, pair.after, self.thresholds)
            if facts is None:
                clip = clip.without_pair(pair, self.name, "camera_unknown")
            elif not facts:
                clip = clip.without_pair(pair, self.name, "nothing_to_tell")
            elif len(facts) > self.most:
                clip = clip.without_pair(pair, self.name, "too_much_change", f"{len(facts)} changes")
            elif shared := sorted({fact.get("name", "") for fact in facts} & shared_names(clip, pair)):
                clip = clip.without_pair(pair, self.name, "same_name", f"several are called {shared[0]!r}")
            else:
                described.append(replace(pair, text=instruction_of(facts), facts=facts))
        clip = replace(clip, pairs=tuple(described))
        return clip if described else without_pairs(clip, self.name)


@dataclass(frozen=True)
class CaptionPlaces:
    """Describes each frame that a pair uses by the names and places of its instances."""

    name: str = "caption"

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._caption(clip) for clip in clips]

    def _caption(self, clip: Clip) -> Clip:
        captions = {frame: self.words(clip, frame) for frame in frames_to_describe(clip)}
        return with_captions(clip, captions, self.name)

    def words(self, clip: Clip, frame: int) -> str:
        """What is said of a frame."""
        return caption_of(clip, frame)


def frames_to_describe(clip: Clip) -> list[int]:
    """Every frame that a pair uses."""
    return sorted({frame for pair in clip.pairs for frame in (pair.before, pair.after)})


def with_captions(clip: Clip, captions: Mapping[int, str], stage: str) -> Clip:
    """The clip with descriptions of frames; pairs with a frame that has none are left out."""
    for pair in clip.pairs:
        missing = [frame for frame in (pair.before, pair.after) if not captions.get(frame)]
        if missing:
            clip = clip.without_pair(pair, stage, "no_caption", f"at {clip.times[missing[0]]:.2f} s")
    used = frames_to_describe(clip)
    clip = replace(clip, captions={frame: captions[frame] for frame in used})
    return clip if clip.pairs else without_pairs(clip, stage)
