"""Annotators: what is in a video and what changes in it.

The storybook's annotator reads the ground truth. Real videos go through the stages of `diic`, which write samples of
the same form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeVar

import numpy as np

from .. import storybook
from ..storybook import Edit, Mention, Scene, Thing, Video

VideoT = TypeVar("VideoT", contravariant=True)

VAGUE_ARRIVAL = 0.4  # how often a new thing is asked for without every detail ("add a cat")


@dataclass(frozen=True)
class Instance:
    """One thing through a video: a short name and its track as masks, bool [frames, height, width]."""

    name: str
    masks: np.ndarray

    def visible(self, frame: int) -> bool:
        return bool(self.masks[frame].any())


@dataclass(frozen=True)
class Dynamics:
    """What happened between two frames, as an instruction in words; `count` is 0 where they say the same."""

    text: str
    count: int
    record: tuple[dict[str, Any], ...] = ()


class Annotator(Protocol[VideoT]):
    """Everything the pipeline must know about a video. Instances are numbered alike in all methods."""

    def length(self, video: VideoT) -> int:
        """Frames in the video."""

    def picture(self, video: VideoT, frame: int) -> np.ndarray:
        """uint8 [height, width, 3]"""

    def instances(self, video: VideoT) -> tuple[Instance, ...]:
        """Names, masks and tracks."""

    def reading_order(self, video: VideoT, frame: int) -> tuple[int, ...]:
        """All instances in the order in which a description should name them, those visible in the frame first."""

    def caption(self, video: VideoT, frame: int, order: Sequence[int]) -> str:
        """A full description of the frame; visible instances are named in the given order."""

    def request(self, video: VideoT, frame: int, order: Sequence[int], rng: Random) -> str:
        """A user's words that ask for this frame, in any wording, naming instances in the given order."""

    def dynamics(self, video: VideoT, before: int, after: int, rng: Random) -> Dynamics:
        """What changed from one frame to the other, as a user would ask for it."""

    def record(self, video: VideoT, frame: int) -> dict[str, Any]:
        """The truth about a frame as JSON, as far as it is known."""


class StorybookAnnotator:
    """Reads everything from the storybook video itself: exact and free."""

    def length(self, video: Video) -> int:
        return len(video)

    def picture(self, video: Video, frame: int) -> np.ndarray:
        return video.picture(frame)

    def instances(self, video: Video) -> tuple[Instance, ...]:
        first = (next(thing for thing in track if thing is not None) for track in video.tracks)
        names = [f"{thing.size} {thing.colour} {thing.kind}" for thing in first]
        return tuple(Instance(name, video.masks(number)) for number, name in enumerate(names))

    def reading_order(self, video: Video, frame: int) -> tuple[int, ...]:
        def key(number: int) -> tuple[bool, int, int, int]:
            thing = video.tracks[number][frame]
            return (thing is None, *((thing.row, thing.column) if thing else (0, 0)), number)

        return tuple(sorted(range(len(video.tracks)), key=key))

    def _scene(self, video: Video, frame: int, order: Sequence[int]) -> Scene:
        things: list[Thing | None] = [video.tracks[number][frame] for number in order]
        return Scene(video.grounds[frame], video.skies[frame], tuple(thing for thing in things if thing is not None))

    def caption(self, video: Video, frame: int, order: Sequence[int]) -> str:
        return storybook.full_caption(self._scene(video, frame, order))

    def request(self, video: Video, frame: int, order: Sequence[int], rng: Random) -> str:
        return storybook.full_caption(self._scene(video, frame, order), rng, shuffle=False)

    def dynamics(self, video: Video, before: int, after: int, rng: Random) -> Dynamics:
        edits = storybook.edits_between(video, before, after)
        if not edits:
            return Dynamics("", 0)
        text = order(video.scene(before), edits, rng)
        return Dynamics(text, len(edits), tuple(edit.to_json() for edit in edits))

    def record(self, video: Video, frame: int) -> dict[str, Any]:
        return video.scene(frame).to_json()


def order(scene: Scene, edits: Sequence[Edit], rng: Random) -> str:
    """Changes of a scene as a user would ask for them, who does not always say every detail of a new thing."""
    new = [edit.after for edit in edits if edit.action == "appear"]
    mention = _vague(new[0], rng) if len(new) == 1 and rng.random() < VAGUE_ARRIVAL else None
    return storybook.instruction(scene, edits, rng, new=mention)


def _vague(thing: Thing, rng: Random) -> Mention:
    size = thing.size if rng.random() < 0.4 else None
    colour = thing.colour if rng.random() < 0.6 else None
    column, row = thing.place if rng.random() < 0.4 else (None, None)
    return Mention(thing.kind, colour, size, column=column, row=row)
