"""How right the pipeline is about rendered films: cuts, tracks and changes, compared with what was drawn."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from comfyui_wegen.models.data.diic.changes import DIRECTIONS, Thresholds
from comfyui_wegen.models.data.diic.clip import Clip
from comfyui_wegen.models.data.diic.films import Film
from comfyui_wegen.models.data.diic.linking import Kept
from comfyui_wegen.models.data.diic.truth import true_labels

UNCLEAR = 0.25  # share of a threshold around it within which either answer is right
SECTOR = 8  # degrees from the border between two directions within which either is right


def cut_f1(found: Iterable[Sequence[int]], true: Iterable[Sequence[int]]) -> float:
    """Over films: numbers of frames that begin a new shot; one that is a frame off counts."""
    hits = wrong = missed = 0
    for cuts, truth in zip(found, true, strict=True):
        matched = [min(truth, key=lambda one: abs(one - cut), default=None) for cut in cuts]
        good = {one for one, cut in zip(matched, cuts, strict=True) if one is not None and abs(one - cut) <= 1}
        hits, wrong, missed = hits + len(good), wrong + len(cuts) - len(good), missed + len(truth) - len(good)
    return 2 * hits / (2 * hits + wrong + missed)


def track_ious(clip: Clip) -> list[float]:
    """For each thing that is visible in two frames or more: mean overlap with the track that fits it best overall."""
    height, width = clip.frames.shape[1:3]
    least = Kept.least_area * height * width
    labels = [true_labels(clip, frame)[1] for frame in range(len(clip.frames))]
    found = []
    for label in np.unique(np.stack(labels)):
        frames = [frame for frame, seen in enumerate(labels) if label and (seen == label).sum() >= least]
        if len(frames) >= Kept.fewest_frames:
            overlaps = [
                [_iou(labels[frame] == label, clip.mask(number, frame)) for number in range(len(clip.tracks))]
                for frame in frames
            ]
            found.append(float(np.mean(overlaps, axis=0).max()))
    return found


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / max(1, (one | other).sum())


def judge_changes(film: Film, clip: Clip, before: int, after: int, facts: Sequence[Mapping]) -> list[str]:
    """What is wrong about the facts of a pair: things that should have been said, and things that should not."""
    thresholds, longer = Thresholds(), max(film.width, film.height)
    (shot, first), (_, last) = (film.shot_at(film.frame_at(float(clip.times[frame]))) for frame in (before, after))
    view = film.shots[shot]
    said = {(fact.get("name", ""), fact["change"]): fact for fact in facts}
    wrong = []
    shift = np.subtract(view.view(last), view.view(first))
    wrong += _judge("", "view", shift, thresholds.view * longer, said.pop(("", "view"), None), False)
    (names, old), (_, new) = (true_labels(clip, frame) for frame in (before, after))
    for number, name in enumerate(names):
        actor = view.actors[number]
        seen = [int((labels == number + 1).sum()) for labels in (old, new)]
        least = Kept.least_area * film.width * film.height
        far = np.subtract(actor.place(last), actor.place(first))
        # What is hardly visible in one of the frames may be told of or not.
        unclear = min(seen) < 4 * least or _hidden(film, clip, number, before, after)
        moves = said.pop((name, "moves"), None)
        gone, come = said.pop((name, "goes"), None), said.pop((name, "comes"), None)
        if min(seen) >= least:
            wrong += _judge(name, "moves", far, thresholds.moved * longer, moves, unclear)
            wrong += [f"{name} is visible in both frames" for one in (gone, come) if one and not unclear]
            continue
        wrong += [f"{name} is not visible in both frames" for one in (moves,) if one and not unclear]
        if max(seen) >= 4 * least and min(seen) == 0:
            leaves = seen[1] == 0
            place = np.add(actor.place(first if leaves else last), shift * (-1 if leaves else 1))
            place = np.subtract(place, view.view(first if leaves else last))
            margin = 40
            inside = (place > margin).all() and (place < (film.width - margin, film.height - margin)).all()
            if inside and not (gone if leaves else come):
                wrong.append(f"{name} {'goes' if leaves else 'comes'}, which is not said")
        elif max(seen) < least and (gone or come):
            wrong.append(f"{name} is visible in neither frame")
    return wrong + [f"{name or 'the picture'} {change}" for name, change in said]


def _judge(name: str, change: str, way: np.ndarray, threshold: float, fact: Mapping | None, unclear: bool) -> list[str]:
    far = float(np.linalg.norm(way))
    if fact is None:
        clear = far > threshold * (1 + UNCLEAR) and not unclear
        return [f"{name} {change} by {far:.0f} pixels, which is not said"] if clear else []
    if far < threshold * (1 - UNCLEAR):
        return [] if unclear else [f"{name} {change} by {far:.0f} pixels only"]
    angle = np.degrees(np.arctan2(way[1], way[0]))
    right = {DIRECTIONS[round((angle + off) / 45) % 8] for off in (-SECTOR, 0, SECTOR)}
    return [] if fact["direction"] in right or unclear else [f"{name} {change} {fact['direction']}, not {right}"]


def _hidden(film: Film, clip: Clip, number: int, before: int, after: int) -> bool:
    """Whether less than six tenths of a thing's sides are seen in one of the frames."""
    sizes = []
    for frame in range(len(clip.frames)):
        rows, columns = np.nonzero(true_labels(clip, frame)[1] == number + 1)
        sizes.append((np.ptp(columns) + 1, np.ptp(rows) + 1) if len(rows) else (0, 0))
    largest = np.max(sizes, axis=0)
    return bool((np.min([sizes[before], sizes[after]], axis=0) < 0.6 * largest).any())
