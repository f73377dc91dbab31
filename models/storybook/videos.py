"""Short videos: a scene in which one to three things happen over time, and the true track of every instance."""

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from .catalogue import larger
from .drawing import mask_of, render
from .edits import ACTIONS, Edit, sample_edit
from .world import Scene, Thing, fits, sample_scene

FRAMES = 8
MOST_EVENTS = 3


@dataclass(frozen=True)
class Video:
    """`tracks[instance][frame]` is the thing then, None where it is not there; `grounds` and `skies` go by frame."""

    tracks: tuple[tuple[Thing | None, ...], ...]
    grounds: tuple[str, ...]
    skies: tuple[str, ...]

    def __post_init__(self):
        lengths = {len(self.grounds), len(self.skies), *map(len, self.tracks)}
        if len(lengths) != 1:
            raise ValueError(
                f"Tracks, grounds and skies of a video have one entry a frame, got lengths {sorted(lengths)}."
            )

    def __len__(self) -> int:
        return len(self.grounds)

    def scene(self, frame: int) -> Scene:
        things = tuple(track[frame] for track in self.tracks if track[frame] is not None)
        return Scene(self.grounds[frame], self.skies[frame], things)

    def picture(self, frame: int) -> np.ndarray:
        """uint8 [128, 128, 3]"""
        return render(self.scene(frame))

    def masks(self, instance: int) -> np.ndarray:
        """bool [frames, 128, 128]; all False where the instance is not there."""
        track = self.tracks[instance]
        empty = np.zeros(self.picture(0).shape[:2], bool)
        return np.stack([empty if thing is None else mask_of(thing) for thing in track])


def edits_between(video: Video, before: int, after: int) -> tuple[Edit, ...]:
    """What two frames differ in, as the shortest list of edits: `apply` leads from one scene to the other."""
    edits: list[Edit] = []
    for track in video.tracks:
        edits += _edits_of(track[before], track[after])
    if video.grounds[before] != video.grounds[after]:
        edits.append(Edit("ground", value=video.grounds[after]))
    if video.skies[before] != video.skies[after]:
        edits.append(Edit("sky", value=video.skies[after]))
    return tuple(edits)


def _edits_of(old: Thing | None, new: Thing | None) -> list[Edit]:
    if old == new:
        return []
    if old is None:
        return [Edit("appear", after=new)]
    if new is None:
        return [Edit("leave", before=old)]
    edits = []
    for action, names in (
        ("move", ("column", "row")),
        ("turn", ("pose",)),
        ("pattern", ("pattern",)),
        ("recolour", ("colour",)),
        ("size", ("size",)),
    ):
        after = replace(old, **{name: getattr(new, name) for name in names})
        if after != old:
            action = {"size": "grow" if larger(new.size, old.size) else "shrink"}.get(action, action)
            edits.append(Edit(action, old, after))
            old = after
    return edits


def _step(value: int, goal: int) -> int:
    return value + (goal > value) - (goal < value)


def _one_place_nearer(thing: Thing, goal: tuple[int, int]) -> Thing:
    return replace(thing, column=_step(thing.column, goal[0]), row=_step(thing.row, goal[1]))


class _Film:
    """The state of a video while it is being made."""

    def __init__(self, scene: Scene):
        self.things: list[Thing | None] = list(scene.things)
        self.ground, self.sky = scene.ground, scene.sky
        self.goals: dict[int, tuple[int, int]] = {}

    def scene(self) -> Scene:
        return Scene(self.ground, self.sky, tuple(thing for thing in self.things if thing is not None))

    def walk(self) -> None:
        """Everything on its way goes one place on, or waits where the way is blocked."""
        for number, goal in list(self.goals.items()):
            thing = self.things[number]
            nearer = _one_place_nearer(thing, goal)
            others = [other for other in self.things if other is not None and other != thing]
            if fits(nearer, others):
                self.things[number] = nearer
            if self.things[number].place == goal:
                del self.goals[number]

    def happen(self, edit: Edit) -> None:
        if edit.action == "ground":
            self.ground = edit.value
        elif edit.action == "sky":
            self.sky = edit.value
        elif edit.before is None:
            self.things.append(edit.after)
        else:
            number = self.things.index(edit.before)
            if edit.action == "move":
                self.goals[number] = edit.after.place
                self.walk()
            else:
                self.things[number] = edit.after
                if edit.after is None:
                    self.goals.pop(number, None)


def sample_video(
    rng: Random, frames: int = FRAMES, events: int | None = None, actions: tuple[str, ...] = ACTIONS
) -> Video:
    """A video with 1..3 events that begin at random frames; moves go one place a frame.

    Raises ValueError for fewer than two frames.
    """
    if frames < 2:
        raise ValueError(f"A video has 2 frames at least, got {frames}.")
    start = sample_scene(rng, rng.choice((1, 2, 2, 3, 3)))
    film = _Film(start)
    count = rng.randint(1, MOST_EVENTS) if events is None else events
    beginnings = [rng.randint(1, frames - 1) for _ in range(count)]
    history = [(list(film.things), film.ground, film.sky)]
    for frame in range(1, frames):
        film.walk()
        for _ in range(beginnings.count(frame)):
            edit = sample_edit(film.scene(), rng, actions)
            if edit is not None:
                film.happen(edit)
        history.append((list(film.things), film.ground, film.sky))
    slots = max(len(things) for things, _, _ in history)
    tracks = (tuple(things[slot] if slot < len(things) else None for things, _, _ in history) for slot in range(slots))
    shown = tuple(track for track in tracks if any(track))  # what came and left within one frame is in none
    return Video(shown, tuple(ground for _, ground, _ in history), tuple(sky for _, _, sky in history))
