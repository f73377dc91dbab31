"""From a finished clip to training samples: chats of refinement, pictures from words, and things from references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np

from ..samples import Part, Picture, Sample, Text
from .changes import shared_names
from .clip import Clip, Pair

MOST_TURNS = 3
GIVEN = 0.5  # how often the first picture of a chat is brought by the user
CUT_OUT = 0.5  # how often a reference is cut out from its picture
GREY = 128  # around a reference that is cut out
LEAST_REFERENCE = 24  # pixels of the shorter side of a reference's box


def samples_of(clip: Clip, seed: int = 0) -> Iterator[Sample]:
    """Samples that depend on the clip and the seed alone.

    - "refine": up to `MOST_TURNS` pairs one after the other, each the change in words, answered by the description of
      the next frame and by that frame. Every pair is in exactly one of them.
    - "text_to_picture": the description of a frame, and the frame.
    - "compose": one instance of a frame as a reference, cut out or not, and a later frame in which it is.
    """
    rng = Random(f"{seed}/{clip.key}")
    for chain in _chains(clip.pairs):
        yield _refine(clip, chain, rng)
    if clip.captions:
        frame = rng.choice(sorted(clip.captions))
        text = clip.captions[frame]
        parts = [Text(text, "user"), Text(text, "assistant", True), _picture(clip, frame, "assistant")]
        yield Sample("text_to_picture", tuple(parts), _record(clip, [frame]))
    sample = _compose(clip, rng)
    if sample is not None:
        yield sample


def _chains(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs in rows in which each begins where the one before ended."""
    left = list(pairs)
    chains = []
    while left:
        chain = [left.pop(0)]
        while len(chain) < MOST_TURNS:
            following = next((pair for pair in left if pair.before == chain[-1].after), None)
            if following is None:
                break
            left.remove(following)
            chain.append(following)
        chains.append(chain)
    return chains


def _refine(clip: Clip, chain: Sequence[Pair], rng: Random) -> Sample:
    first = chain[0].before
    if rng.random() < GIVEN:
        parts: list[Part] = [_picture(clip, first, "user")]
    else:
        text = clip.captions[first]
        parts = [Text(text, "user"), Text(text, "assistant", True), _picture(clip, first, "assistant")]
    for pair in chain:
        parts.append(Text(pair.text, "user"))
        parts += [Text(clip.captions[pair.after], "assistant", True), _picture(clip, pair.after, "assistant")]
    record = _record(clip, [first, *(pair.after for pair in chain)])
    record["changes"] = [[dict(fact) for fact in pair.facts] for pair in chain]
    record["changed"] = [pair.changed for pair in chain]
    return Sample("refine", tuple(parts), record)


def _compose(clip: Clip, rng: Random) -> Sample | None:
    choices = [
        (number, pair)
        for pair in clip.pairs
        for number, track in enumerate(clip.tracks)
        if track.visible(pair.before) and track.visible(pair.after) and _is_large(track.boxes[pair.before])
    ]
    if not choices:
        return None
    number, pair = rng.choice(choices)
    picture = _picture(clip, pair.before, "user")
    if rng.random() < CUT_OUT or clip.tracks[number].name in shared_names(clip, pair):
        picture = _cut_out(clip, number, pair.before)
    caption = clip.captions[pair.after]
    asked = [Text(f"The {clip.tracks[number].name} of ", "user"), picture, Text(f" in this picture: {caption}", "user")]
    parts = (*asked, Text(caption, "assistant", True), _picture(clip, pair.after, "assistant"))
    record = _record(clip, [pair.before, pair.after])
    record["reference"] = number + 1
    return Sample("compose", parts, record)


def _is_large(box: tuple[int, int, int, int]) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) >= LEAST_REFERENCE


def _cut_out(clip: Clip, number: int, frame: int) -> Picture:
    left, top, right, bottom = clip.tracks[number].boxes[frame]
    mask = clip.mask(number, frame)[top:bottom, left:right]
    pixels = np.where(mask[..., None], clip.frames[frame, top:bottom, left:right], np.uint8(GREY))
    return Picture(pixels, "user", False, np.where(mask, np.uint8(number + 1), np.uint8(0)))


def _picture(clip: Clip, frame: int, role: str) -> Picture:
    return Picture(clip.frames[frame], role, role == "assistant", clip.instance_map[frame])


def _record(clip: Clip, frames: Sequence[int]) -> dict[str, Any]:
    """Where a sample's pictures come from, in their order, and what is in them."""
    return {
        "clip": clip.key,
        "source": {"video": clip.source, "scene": clip.scene, "start": round(clip.start, 4), "end": round(clip.end, 4)},
        "notes": list(clip.notes),
        "times": [round(float(clip.times[frame]), 4) for frame in frames],
        "sharpness": [round(float(clip.sharpness[frame]), 2) for frame in frames],
        "instances": [
            [
                {"number": number, "name": track.name, "box": list(track.boxes[f]), "score": round(track.scores[f], 4)}
                for number, track in enumerate(clip.tracks, start=1)
                if track.visible(f)
            ]
            for f in frames
        ],
    }
