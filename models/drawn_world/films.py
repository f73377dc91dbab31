"""Short films: a scene in which things move and change, with the truth of every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from .drawing import render, render_with_masks
from .edit_sampling import CHANGES, sample_edit
from .edits import Edit, apply, resize
from .sampling import acceptable, sample_scene
from .values import Scene, Thing

FRAMES = 8
MOST_EVENTS = 3
PIXELS_A_FRAME = 14  # how far a moving thing goes from one frame to the next

Track = tuple[Thing | None, ...]


@dataclass(frozen=True)
class Film:
    """`tracks[instance][frame]` is the thing then, None where it is not there.

    `scenes` are the frames; `events[frame]` are the edits that began or happened when this frame came, in its words:
    a move stands where it begins and ends some frames later.
    """

    scenes: tuple[Scene, ...]
    tracks: tuple[Track, ...]
    events: tuple[tuple[Edit, ...], ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def picture(self, frame: int) -> np.ndarray:
        """uint8 [128, 128, 3]"""
        return render(self.scenes[frame])

    def masks(self, instance: int) -> np.ndarray:
        """bool [frames, 128, 128]: the visible part; all False where the instance is not there."""
        shown = []
        for scene, thing in zip(self.scenes, self.tracks[instance], strict=True):
            picture, masks = render_with_masks(scene)
            none = np.zeros(picture.shape[:2], bool)
            shown.append(none if thing is None else masks[scene.things.index(thing)])
        return np.stack(shown)

    def edits_between(self, before: int, after: int) -> tuple[Edit, ...]:
        """What two frames differ in, one property at a time: `apply` leads from one scene to the other."""
        first, last = self.scenes[before], self.scenes[after]
        edits = [edit for track in self.tracks for edit in _edits_of(track[before], track[after])]
        for name in ("ground", "sky", "style"):
            old, new = getattr(first, name), getattr(last, name)
            if old != new:
                edits.append(Edit(name, setting=(name, old, new)))
        return tuple(edits)


def _edits_of(old: Thing | None, new: Thing | None) -> list[Edit]:
    """From one state of a thing to another, one property at a time."""
    if old == new:
        return []
    if old is None or new is None:
        return [Edit("add" if old is None else "remove", ((old, new),))]
    if old.kind != new.kind:
        return [Edit("replace", ((old, new),))]
    edits = []
    for action, name in (("recolour", "colour"), ("pattern", "pattern"), ("pose", "pose")):
        if getattr(old, name) != getattr(new, name):
            after = replace(old, **{name: getattr(new, name)})
            edits.append(Edit(action, ((old, after),)))
            old = after
    if old.size != new.size:
        after = resize(old, new.size).after
        after = new if (after.x, after.y) == (new.x, new.y) else after
        edits.append(Edit("resize", ((old, after),)))
        old = after
    return edits if old == new else [*edits, Edit("move", ((old, new),))]


def _nearer(thing: Thing, goal: Thing) -> Thing:
    """One frame on the way."""
    across, down = goal.x - thing.x, goal.y - thing.y
    steps = max(1, round(max(abs(across), abs(down)) / PIXELS_A_FRAME))
    if steps == 1:
        return goal
    return thing.at(thing.x + round(across / steps), thing.y + round(down / steps))


class _Reel:
    """The state of a film while it is being made."""

    def __init__(self, scene: Scene):
        self.scene = scene
        self.slots: list[Thing | None] = list(scene.things)
        self.goals: dict[int, Thing] = {}

    def walk(self) -> None:
        """Everything on its way goes on."""
        for slot, goal in list(self.goals.items()):
            nearer = _nearer(self.slots[slot], goal)
            others = [thing for thing in self.slots if thing is not None and thing != self.slots[slot]]
            if nearer in others:
                continue
            self.slots[slot] = nearer
            if nearer == goal:
                del self.goals[slot]
        self.scene = self.scene.with_things([thing for thing in self.slots if thing is not None])

    def happen(self, edit: Edit) -> bool:
        """Begin an edit; False where it would touch what is still on its way."""
        slots = [self.slots.index(before) for before, _ in edit.changes if before is not None]
        if self.goals.keys() & set(slots):
            return False
        walks = edit.action in ("move", "relate", "swap")
        if not walks:
            self.scene = apply(self.scene, edit)
        for before, after in edit.changes:
            if before is None:
                self.slots.append(after)
            elif walks:
                self.goals[self.slots.index(before)] = after
            else:
                self.slots[self.slots.index(before)] = after
        if walks:
            self.walk()
        return True


def sample_video(
    seed: int, frames: int = FRAMES, events: int | None = None, actions: tuple[str, ...] = CHANGES
) -> Film:
    """A film with 1..3 events that begin at random frames; the first and the last frame can be told by words.

    Raises ValueError for fewer than two frames.
    """
    if frames < 2:
        raise ValueError(f"A film has 2 frames at least, got {frames}.")
    rng = Random(f"film {seed}")
    while True:
        film = _film(rng, frames, rng.randint(1, MOST_EVENTS) if events is None else events, actions)
        if acceptable(film.scenes[-1]):
            return film


def _film(rng: Random, frames: int, events: int, actions: tuple[str, ...]) -> Film:
    reel = _Reel(sample_scene(rng, rng.choice((1, 2, 2, 3, 3, 4))))
    beginnings = [rng.randint(1, frames - 1) for _ in range(events)]
    scenes, slots, happened = [reel.scene], [list(reel.slots)], [()]
    for frame in range(1, frames):
        reel.walk()
        begun = []
        for _ in range(beginnings.count(frame)):
            edit = sample_edit(reel.scene, rng, actions)
            if edit is not None and reel.happen(edit):
                begun.append(edit)
        scenes.append(reel.scene)
        slots.append(list(reel.slots))
        happened.append(tuple(begun))
    tracks = tuple(
        tuple(things[slot] if slot < len(things) else None for things in slots) for slot in range(len(slots[-1]))
    )
    return Film(tuple(scenes), tracks, tuple(happened))
