"""Edits drawn by lot whose outcome can be told by words as clearly as the scene before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from .catalogue import COLUMNS, GROUNDS, ROWS, SIZES, SKIES, STYLES
from .edits import (
    ACTIONS,
    Edit,
    add,
    apply,
    change_pattern,
    change_pose,
    change_setting,
    exchange,
    recolour,
    relate,
    remove,
    resize,
    swap,
    undo,
)
from .kinds import KINDS
from .sampling import acceptable, sample_look, sample_thing
from .settling import nearest_free
from .spatial import RELATIONS, holds, overlap, shelter_of, surface_of
from .values import MOST_THINGS, Scene, Thing

CHANGES = tuple(action for action in ACTIONS if action != "undo")
SEVERAL = 0.2  # how often several things come or go at once, where they can
RELATED_ADD = 0.3  # how often a new thing is added in a relation to another
_TRIES = 24


def carries(scene: Scene, thing: Thing) -> bool:
    """Whether something stands on it, or is under its roof."""
    others = [other for other in scene.things if other != thing]
    on = surface_of(thing) and any(holds(scene, "on", other, thing) for other in others)
    return bool(on or (shelter_of(thing) and any(holds(scene, "under", other, thing) for other in others)))


def _other(rng: Random, values: Sequence[str], value: str) -> str | None:
    others = [candidate for candidate in values if candidate != value]
    return rng.choice(others) if others else None


def _free(rng: Random, scene: Scene) -> Thing | None:
    """A thing on which nothing stands."""
    free = [thing for thing in scene.things if not carries(scene, thing)]
    return rng.choice(free) if free else None


def _move(rng: Random, scene: Scene) -> Edit | None:
    thing = _free(rng, scene)
    if thing is None:
        return None
    place = (rng.randrange(len(COLUMNS)), rng.randrange(len(ROWS)))
    without = scene.with_things([other for other in scene.things if other != thing])
    moved = nearest_free(without, thing, place) if place != thing.place else None
    return moved and Edit("move", ((thing, moved),))


def _relate(rng: Random, scene: Scene) -> Edit | None:
    thing, relation = _free(rng, scene), rng.choice(RELATIONS)
    others = [other for other in scene.things if other != thing]
    if relation == "on":
        others = [other for other in others if surface_of(other)]
    needed = 2 if relation == "between" else 1
    if thing is None or len(others) < needed:
        return None
    anchors = rng.sample(others, needed)
    if holds(scene, relation, thing, *anchors):
        return None
    return relate(scene, thing, relation, *anchors, rng=rng)


def _resize(rng: Random, scene: Scene) -> Edit | None:
    thing = _free(rng, scene)
    return thing and resize(thing, _other(rng, tuple(SIZES), thing.size))


def _recolour(rng: Random, scene: Scene) -> Edit | None:
    thing = rng.choice(scene.things)
    colour = _other(rng, KINDS[thing.kind].colours, thing.colour)
    return colour and recolour(thing, colour)


def _pattern(rng: Random, scene: Scene) -> Edit | None:
    thing = rng.choice(scene.things)
    pattern = _other(rng, KINDS[thing.kind].patterns, thing.pattern)
    return pattern and change_pattern(thing, pattern)


def _pose(rng: Random, scene: Scene) -> Edit | None:
    thing = rng.choice(scene.things)
    pose = _other(rng, KINDS[thing.kind].poses, thing.pose)
    return pose and change_pose(thing, pose)


def _replace(rng: Random, scene: Scene) -> Edit | None:
    thing = _free(rng, scene)
    if thing is None:
        return None
    home = KINDS[thing.kind].home
    kinds = [name for name, kind in KINDS.items() if name != thing.kind and (kind.home == home or rng.random() < 0.3)]
    kind = rng.choice(kinds)
    look = sample_look(rng, kind, size=thing.size)
    return exchange(thing, Thing(kind, x=64, y=64, **look))


def _add(rng: Random, scene: Scene) -> Edit | None:
    if len(scene.things) >= MOST_THINGS:
        return None
    fixed = {"kind": rng.choice(scene.things).kind} if scene.things and rng.random() < 0.15 else {}
    if scene.things and rng.random() < RELATED_ADD:
        anchor, relation = rng.choice(scene.things), rng.choice(RELATIONS[:-1])
        thing = sample_thing(rng, scene, relation=(relation, anchor), **fixed)
        return thing and add(thing, relation=relation, anchors=(anchor,))
    if rng.random() < SEVERAL:
        return _add_alike(rng, scene, rng.choice((2, 2, 3)))
    thing = sample_thing(rng, scene, **fixed)
    return thing and add(_in_the_middle(thing, scene))


def _in_the_middle(thing: Thing, scene: Scene) -> Thing:
    """The thing as near to the middle of its place as it touches nothing; where it is if it touches something."""
    if any(overlap(thing, other, scene.style)[0] for other in scene.things):
        return thing
    return nearest_free(scene, thing, thing.place) or thing


def _add_alike(rng: Random, scene: Scene, count: int) -> Edit | None:
    """Two or three things that differ in their places alone."""
    things: list[Thing] = []
    look: dict[str, str] = {}
    for _ in range(count):
        joined = scene.with_things((*scene.things, *things))
        thing = sample_thing(rng, joined, related=0.0, **look) if len(joined.things) < MOST_THINGS else None
        if thing is None:
            return None
        thing = _in_the_middle(thing, joined)
        look = dict(zip(("kind", "colour", "size", "pose", "pattern"), thing.look, strict=True))
        things.append(thing)
    return add(*things)


def _remove(rng: Random, scene: Scene) -> Edit | None:
    thing = _free(rng, scene)
    if thing is None:
        return None
    alike = [other for other in scene.things if other.kind == thing.kind and not carries(scene, other)]
    return remove(*alike) if len(alike) > 1 and rng.random() < SEVERAL else remove(thing)


def _swap(rng: Random, scene: Scene) -> Edit | None:
    free = [thing for thing in scene.things if not carries(scene, thing)]
    if len(free) < 2:
        return None
    one, other = rng.sample(free, 2)
    return None if one.look == other.look or one.place == other.place else swap(one, other)


def _setting(name: str, values: Sequence[str]) -> Callable[[Random, Scene], Edit | None]:
    return lambda rng, scene: change_setting(scene, name, _other(rng, values, getattr(scene, name)))


_SAMPLERS: dict[str, Callable[[Random, Scene], Edit | None]] = {
    "move": _move, "relate": _relate, "resize": _resize, "recolour": _recolour, "pattern": _pattern, "pose": _pose,
    "replace": _replace, "add": _add, "remove": _remove, "swap": _swap, "ground": _setting("ground", GROUNDS),
    "sky": _setting("sky", SKIES), "style": _setting("style", STYLES),
}  # fmt: skip


def sample_edit(
    scene: Scene, rng: Random, actions: Sequence[str] = CHANGES, history: Sequence[Edit] = ()
) -> Edit | None:
    """An edit of one of the actions; None where none of them is possible.

    Actions come equally often as far as the scene lets them. "undo" takes back the last edit of `history`.
    """
    actions = list(actions)
    while actions:
        action = rng.choice(actions)
        if action == "undo":
            if history:
                return undo(history[-1])
        elif edit := _possible(action, scene, rng):
            return edit
        actions.remove(action)
    return None


def _possible(action: str, scene: Scene, rng: Random) -> Edit | None:
    if not scene.things and action not in ("add", "ground", "sky", "style"):
        return None
    for _ in range(_TRIES):
        edit = _SAMPLERS[action](rng, scene)
        if edit is None:
            continue
        try:
            after = apply(scene, edit)
        except ValueError:  # two things the same in everything
            continue
        if acceptable(after):
            return edit
    return None


def sample_edits(scene: Scene, rng: Random, count: int, actions: Sequence[str] = CHANGES) -> tuple[Edit, ...]:
    """Several edits that make sense as one order: each of another thing or setting."""
    edits: list[Edit] = []
    touched: set[Thing | str] = set()
    for _ in range(_TRIES):
        edit = sample_edit(apply(scene, *edits), rng, actions) if len(edits) < count else None
        if edit is None:
            break
        names = {thing for change in edit.changes for thing in change if thing} | set(edit.anchors)
        names |= {edit.setting[0]} if edit.setting else set()
        if not names & touched:
            edits.append(edit)
            touched |= names
    return tuple(edits)
