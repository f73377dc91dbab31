"""Changes to a scene, exactly: what comes of them, and which pixels they may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from .backgrounds import background
from .catalogue import PICTURE_SIZE, place_centre
from .drawing import opacity_of
from .kinds import KINDS
from .sampling import acceptable, put
from .spatial import holds
from .values import Scene, Thing, held

ACTIONS = (
    "move", "relate", "resize", "recolour", "pattern", "pose", "replace", "add", "remove", "swap", "ground", "sky",
    "style", "undo",
)  # fmt: skip
SETTINGS = ("ground", "sky", "style")
_TRIES = 30

Change = tuple[Thing | None, Thing | None]


@dataclass(frozen=True)
class Edit:
    """One change of a scene.

    Attributes:
        action: one of `ACTIONS`.
        changes: pairs of a thing before and after; None where it is not there.
        setting: for a change of ground, sky or style (and for the undoing of one): its name, old and new value.
        relation: for "relate", and for "add" where it was asked for: the name of the relation.
        anchors: the things that the relation is to.
    """

    action: str
    changes: tuple[Change, ...] = ()
    setting: tuple[str, str, str] | None = None
    relation: str | None = None
    anchors: tuple[Thing, ...] = ()

    def __post_init__(self):
        if self.action not in ACTIONS:
            raise ValueError(f"Unknown action {self.action!r}. Expected one of: {', '.join(ACTIONS)}.")

    @property
    def before(self) -> Thing | None:
        """The thing that changes, as it was; None for a new one and for settings."""
        return self.changes[0][0] if self.changes else None

    @property
    def after(self) -> Thing | None:
        return self.changes[0][1] if self.changes else None

    def to_json(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "changes": [[thing and thing.to_json() for thing in change] for change in self.changes],
            "setting": None if self.setting is None else list(self.setting),
            "relation": self.relation,
            "anchors": [thing.to_json() for thing in self.anchors],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Edit:
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError for a record that is no edit."""
        changes = tuple((old and Thing.from_json(old), new and Thing.from_json(new)) for old, new in record["changes"])
        setting = None if record["setting"] is None else tuple(record["setting"])
        anchors = tuple(Thing.from_json(entry) for entry in record["anchors"])
        return cls(record["action"], changes, setting, record["relation"], anchors)


def apply(scene: Scene, *edits: Edit) -> Scene:
    """The scene after all edits. What no edit names stays as it is.

    Raises ValueError where an edit does not fit the scene, and where the outcome is no legal scene.
    """
    things = list(scene.things)
    settings = {name: getattr(scene, name) for name in SETTINGS}
    for edit in edits:
        for before, _ in edit.changes:
            if before is not None:
                if before not in things:
                    raise ValueError(f"The edit changes {before}, which is not in the scene.")
                things.remove(before)
        things += [after for _, after in edit.changes if after is not None]
        if edit.setting is not None:
            name, old, new = edit.setting
            if settings[name] != old:
                raise ValueError(f"The edit changes the {name} {old}, but it is {settings[name]}.")
            settings[name] = new
    return Scene(things=tuple(things), **settings)


def undo(*edits: Edit) -> Edit:
    """The edit that takes other edits back, which were made one after the other."""
    changes: list[Change] = []
    setting = None
    for edit in reversed(edits):
        changes += [(after, before) for before, after in edit.changes]
        if edit.setting is not None:
            if setting is not None and setting[0] != edit.setting[0]:
                raise ValueError("One edit can take back changes of one setting only.")
            name, old, new = edit.setting
            setting = (name, setting[1] if setting else new, old)
    return Edit("undo", _merged(changes), setting)


def _merged(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Changes of changes in one step."""
    merged: list[Change] = []
    for before, after in changes:
        earlier = next((pair for pair in merged if before is not None and pair[1] == before), None)
        if earlier is not None:
            merged.remove(earlier)
            before = earlier[0]
        if before != after:
            merged.append((before, after))
    return tuple(merged)


def may_change(scene: Scene, *edits: Edit) -> np.ndarray:
    """bool [128, 128]: every pixel that the edits may change; all others are the same to the byte afterwards."""
    after = apply(scene, *edits)
    if after.style != scene.style:
        return np.ones((PICTURE_SIZE, PICTURE_SIZE), bool)
    changed = set(scene.things) ^ set(after.things)
    area = np.zeros((PICTURE_SIZE, PICTURE_SIZE), bool)
    for picture in (scene, after):
        free = np.ones((PICTURE_SIZE, PICTURE_SIZE), bool)  # what nothing nearer covers wholly
        for thing in reversed(picture.things):
            opacity = opacity_of(thing, scene.style)
            if thing in changed:
                area |= free & (opacity > 0)
            free &= opacity < 255
        if (after.ground, after.sky) != (scene.ground, scene.sky):
            pages = [background(page.ground, page.sky, scene.style) for page in (scene, after)]
            area |= free & (pages[0] != pages[1]).any(axis=-1)
    return area


def move(thing: Thing, place: tuple[int, int]) -> Edit:
    """To the middle of a place (column and row)."""
    return Edit("move", ((thing, thing.at(*held(thing.kind, thing.size, *place_centre(*place)))),))


def shift(thing: Thing, across: int, down: int) -> Edit:
    """By so many pixels to the right and downwards, as far as the picture goes."""
    return Edit("move", ((thing, thing.at(*held(thing.kind, thing.size, thing.x + across, thing.y + down))),))


def resize(thing: Thing, size: str) -> Edit:
    """Things of the ground stay on their feet, others keep their middle; both stay in the picture."""
    grown = held(thing.kind, size, thing.x, thing.y)
    if KINDS[thing.kind].home in ("ground", "water"):
        half = Thing(thing.kind, thing.colour, size, *held(thing.kind, size, 64, 64), thing.pose).box
        grown = held(thing.kind, size, thing.x, thing.box[3] - (half[3] - half[1]) // 2)
    return Edit("resize", ((thing, replace(thing, size=size, x=grown[0], y=grown[1], depth=_depth(thing, grown))),))


def _depth(thing: Thing, middle: tuple[int, int]) -> int:
    """The depth of a thing that grows: where it stands, as before, or its own."""
    return -1 if thing.depth == thing.box[3] and middle[1] == thing.y else thing.depth


def recolour(thing: Thing, colour: str) -> Edit:
    return Edit("recolour", ((thing, replace(thing, colour=colour)),))


def change_pattern(thing: Thing, pattern: str) -> Edit:
    return Edit("pattern", ((thing, replace(thing, pattern=pattern)),))


def change_pose(thing: Thing, pose: str) -> Edit:
    return Edit("pose", ((thing, replace(thing, pose=pose)),))


def add(*things: Thing, relation: str | None = None, anchors: tuple[Thing, ...] = ()) -> Edit:
    return Edit("add", tuple((None, thing) for thing in things), relation=relation, anchors=anchors)


def remove(*things: Thing) -> Edit:
    return Edit("remove", tuple((thing, None) for thing in things))


def exchange(thing: Thing, new: Thing) -> Edit:
    """Another thing where this one was."""
    return Edit("replace", ((thing, new.at(*_standing_as(new, thing), thing.depth)),))


def _standing_as(new: Thing, old: Thing) -> tuple[int, int]:
    height = new.box[3] - new.box[1]
    y = old.box[3] - height // 2 if KINDS[old.kind].home in ("ground", "water") else old.y
    return held(new.kind, new.size, old.x, y)


def swap(one: Thing, other: Thing) -> Edit:
    """Both where the other was."""
    first = one.at(*_standing_as(one, other), other.depth)
    second = other.at(*_standing_as(other, one), one.depth)
    return Edit("swap", ((one, first), (other, second)))


def change_setting(scene: Scene, name: str, value: str) -> Edit:
    """Another ground, sky or style."""
    if name not in SETTINGS:
        raise ValueError(f"Unknown setting {name!r}. Expected one of: {', '.join(SETTINGS)}.")
    return Edit(name, setting=(name, getattr(scene, name), value))


def relate(scene: Scene, thing: Thing, relation: str, *anchors: Thing, rng: Random | None = None) -> Edit | None:
    """The thing moved to where the relation is clearly true; None where no such place is found.

    The same place always, if the scene is acceptable then; else another by lot.
    """
    rng = rng or Random(0)
    true_at_least = None
    for trial in range(_TRIES):
        moved = put(rng if trial else None, relation, thing, *anchors)
        if moved is None or moved == thing:
            continue
        edit = Edit("relate", ((thing, moved),), relation=relation, anchors=anchors)
        after = apply(scene, edit)
        if holds(after, relation, moved, *anchors):
            if acceptable(after):
                return edit
            true_at_least = true_at_least or edit
    return true_at_least
