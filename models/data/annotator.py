"""What is in a storybook video and what changes in it, read from its ground truth.

Real videos go through the stages of `diic`, which write samples of the same form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from .. import storybook
from ..storybook import Edit, Mention, Scene, Thing, Video

VAGUE_ARRIVAL = 0.4  # how often a new thing is asked for without every detail ("add a cat")


@dataclass(frozen=True)
class Dynamics:
    """What happened between two frames, as an instruction in words; `count` is 0 where they say the same."""

    text: str
    count: int
    record: tuple[dict[str, Any], ...] = ()


def reading_order(video: Video, frame: int) -> tuple[int, ...]:
    """All instances in the order in which a description should name them, those visible in the frame first."""

    def key(number: int) -> tuple[bool, int, int, int]:
        thing = video.tracks[number][frame]
        return (thing is None, *((thing.row, thing.column) if thing else (0, 0)), number)

    return tuple(sorted(range(len(video.tracks)), key=key))


def _scene(video: Video, frame: int, order: Sequence[int]) -> Scene:
    things: list[Thing | None] = [video.tracks[number][frame] for number in order]
    return Scene(video.grounds[frame], video.skies[frame], tuple(thing for thing in things if thing is not None))


def caption(video: Video, frame: int, order: Sequence[int]) -> str:
    """A full description of the frame; visible instances are named in the given order."""
    return storybook.full_caption(_scene(video, frame, order))


def request(video: Video, frame: int, order: Sequence[int], rng: Random) -> str:
    """A user's words that ask for this frame, in any wording, naming instances in the given order."""
    return storybook.full_caption(_scene(video, frame, order), rng, shuffle=False)


def dynamics(video: Video, before: int, after: int, rng: Random) -> Dynamics:
    """What changed from one frame to the other, as a user would ask for it."""
    edits = storybook.edits_between(video, before, after)
    if not edits:
        return Dynamics("", 0)
    text = order(video.scene(before), edits, rng)
    return Dynamics(text, len(edits), tuple(edit.to_json() for edit in edits))


def order(scene: Scene, edits: Sequence[Edit], rng: Random) -> str:
    """Changes of a scene as a user would ask for them, who does not always say every detail of a new thing."""
    new = [edit.after for edit in edits if edit.action == "appear"]
    mention = _vague(new[0], rng) if len(new) == 1 and rng.random() < VAGUE_ARRIVAL else None
    # What is to stay is said in people's own words alone, for which the answer names it too.
    return storybook.instruction(scene, edits, rng, keep=False, new=mention)


def _vague(thing: Thing, rng: Random) -> Mention:
    size = thing.size if rng.random() < 0.4 else None
    colour = thing.colour if rng.random() < 0.6 else None
    column, row = thing.place if rng.random() < 0.4 else (None, None)
    return Mention(thing.kind, colour, size, column=column, row=row)
