"""Scenes drawn by lot, with taste: every kind about as often as any other, mostly where one expects it."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from .catalogue import GROUNDS, SIZES, SKIES, STYLES, box_of, clearance
from .kinds import KINDS, Kind
from .pen import MARGIN
from .spatial import RELATIONS, SUNK, holds, is_clear, overlap, shelter_of, surface_of
from .values import MOST_THINGS, Scene, Thing, held

NATURAL = 0.84  # how often a thing is where one expects it
FAVOURITE = 0.7  # how often a kind that likes some grounds or skies best has one of them
RELATED = 0.36  # how often a new thing is put in a relation to another
APART = 0.8  # how often a thing in no relation touches no other
GROUPED = 0.14  # how often a scene has a group of one kind
STACKED = 0.16  # how often a scene begins with one thing on another, or under its roof
PLAIN = 0.25  # how often a thing is plain beside the times that chance makes it so
STICKER = 0.25  # how often the style is the common one
_COUNTS = (1, 2, 2, 3, 3, 3, 4, 4, 5)
_TRIES = 40
_MOST_DRAWS = 300
EDGE = 2  # pixels at least from the border between two places

_POSITIONS = {"sky": (0, 46), "air": (0, 84)}  # rows of pixels for the middle
_STANDING = (84, 125)  # rows of pixels for the feet
_AFLOAT = {"sea": (88, 124), "lake": (96, 116), "beach": (82, 92)}


def weight_of(kind: Kind, ground: str, sky: str) -> float:
    """How well a kind goes with a ground and a sky."""
    weight = 1.0 if not kind.skies else 2.0 if sky in kind.skies else 0.6
    if kind.grounds:
        return weight * (2.5 if ground in kind.grounds else 0.7 if kind.home != "water" else 0.35)
    return weight * (0.45 if kind.home == "ground" and ground == "sea" else 1.0)


def _setting(rng: Random, favourites: tuple[str, ...], values: tuple[str, ...]) -> str:
    return rng.choice(favourites if favourites and rng.random() < FAVOURITE else values)


def sample_look(rng: Random, kind: str, **fixed: Any) -> dict[str, str]:
    """Colour, size, pose and pattern of a thing; what is fixed stays."""
    about = KINDS[kind]
    pattern = "plain" if rng.random() < PLAIN else rng.choice(about.patterns)
    look = {
        "colour": rng.choice(about.colours), "size": rng.choice(tuple(SIZES)), "pose": rng.choice(about.poses),
        "pattern": pattern,
    }  # fmt: skip
    return {**look, **fixed}


def _sample_kind(rng: Random, scene: Scene) -> str:
    present = {thing.kind for thing in scene.things}
    names = [name for name in KINDS if name not in present]
    return rng.choices(names, [weight_of(KINDS[name], scene.ground, scene.sky) for name in names])[0]


def sample_position(rng: Random, kind: str, size: str, ground: str, natural: bool) -> tuple[int, int]:
    """The middle of a thing that stands free."""
    home = KINDS[kind].home
    width, height = box_of(kind, size)
    x = rng.uniform(width / 2, 128 - width / 2)
    if not natural:
        y = rng.uniform(height / 2, 128 - height / 2)
    elif home in _POSITIONS:
        first, last = _POSITIONS[home]
        y = rng.uniform(max(first, height / 2), max(last, height / 2))
    else:
        first, last = _AFLOAT.get(ground, _STANDING) if home == "water" else _STANDING
        y = rng.uniform(first, last) - height / 2 + MARGIN
        if home == "water" and ground == "lake":
            x = rng.uniform(34, 94)
    return held(kind, size, x, y)


def _about(rng: Random | None, low: int, high: int) -> int:
    """A number by lot, or the middle one."""
    return (low + high) // 2 if rng is None else rng.randint(low, high)


def _side(rng: Random | None, thing: Thing, other: Thing) -> int:
    """-1 for left and 1 for right: by lot, or where the thing is."""
    return rng.choice((-1, 1)) if rng else -1 if thing.x < other.x else 1


def _put_on(rng: Random | None, thing: Thing, base: Thing) -> Thing | None:
    surface = surface_of(base)
    if surface is None:
        return None
    y, left, right = surface
    height = box_of(thing.kind, thing.size)[1]
    x = _about(rng, round(left), max(round(left), round(right)))
    return _moved(thing, x, round(y) + SUNK + MARGIN - height // 2, max(base.depth + 1, round(y)))


def _put_under(rng: Random | None, thing: Thing, roof: Thing) -> Thing | None:
    """Right under another, in its shelter where it has one."""
    shelter = shelter_of(roof)
    height = box_of(thing.kind, thing.size)[1]
    edge = round(shelter[0]) - 1 if shelter else roof.box[3] + _about(rng, 1, 8)
    x = roof.x + _about(rng, -4, 4)
    return _moved(thing, x, edge + height // 2, max(roof.depth + 1, edge + height) if shelter else -1)


def _put_above(rng: Random | None, thing: Thing, below: Thing) -> Thing | None:
    height = box_of(thing.kind, thing.size)[1]
    return _moved(thing, below.x + _about(rng, -4, 4), below.box[1] - _about(rng, 1, 8) - height // 2)


def _put_beside(rng: Random | None, thing: Thing, other: Thing, side: int | None = None) -> Thing | None:
    """Left (-1) or right (1) of another, feet at the same height, more or less."""
    side = side or _side(rng, thing, other)
    width, height = box_of(thing.kind, thing.size)
    edge = other.box[0] if side < 0 else other.box[2]
    return _moved(
        thing, edge + side * (_about(rng, 2, 10) + width // 2), other.box[3] - height // 2 + _about(rng, -3, 3)
    )


def _put_before(rng: Random | None, thing: Thing, other: Thing, behind: bool = False) -> Thing | None:
    """In front of another, hiding a part of it, or behind it and partly hidden."""
    width, height = box_of(thing.kind, thing.size)
    both = width + other.box[2] - other.box[0]
    x = other.x + _side(rng, thing, other) * _about(rng, round(0.25 * both), round(0.42 * both))
    lower = _about(rng, 2, 8)
    return _moved(thing, x, other.box[3] + (-lower if behind else lower) - height // 2)


def _put_between(rng: Random | None, thing: Thing, one: Thing, other: Thing) -> Thing | None:
    across, down = _about(rng, -3, 3), _about(rng, -3, 3)
    return _moved(thing, (one.x + other.x) // 2 + across, (one.y + other.y) // 2 + down)


def put(rng: Random | None, relation: str, thing: Thing, *others: Thing) -> Thing | None:
    """The thing where it is in a relation to others, as far as the picture has room; None where it has not.

    Just where is drawn by lot, or, without `rng`, always the same.
    """
    if relation == "on":
        return _put_on(rng, thing, *others)
    if relation == "under":
        return _put_under(rng, thing, *others)
    if relation == "above":
        return _put_above(rng, thing, *others)
    if relation == "beside":
        return _put_beside(rng, thing, *others)
    if relation in ("left of", "right of"):
        return _put_beside(rng, thing, *others, side=-1 if relation == "left of" else 1)
    if relation in ("in front of", "behind"):
        return _put_before(rng, thing, *others, behind=relation == "behind")
    if relation == "between":
        return _put_between(rng, thing, *others)
    raise ValueError(f"Unknown relation {relation!r}. Expected one of: {', '.join(RELATIONS)}.")


def _moved(thing: Thing, x: int, y: int, depth: int = -1) -> Thing | None:
    """The thing at another middle; None where it would leave the picture."""
    return thing.at(x, y, depth) if held(thing.kind, thing.size, x, y) == (x, y) else None


def acceptable(scene: Scene, new: Thing | None = None) -> bool:
    """Whether a scene can be told by words: clear relations, places clear of borders, no twins in one place.

    With `new`, only this thing's place is looked at.
    """
    looked = scene.things if new is None else (new,)
    if any(clearance(thing.x, thing.y) < EDGE for thing in looked):
        return False
    seen = {(thing.look, thing.place) for thing in scene.things}
    return len(seen) == len(scene.things) and is_clear(scene)


def sample_thing(
    rng: Random,
    scene: Scene,
    related: float = RELATED,
    relation: tuple[Any, ...] | None = None,
    **fixed: Any,
) -> Thing | None:
    """A thing that can join the scene; `fixed` holds fields of `Thing` that are already decided.

    `column` and `row` can be fixed too, or a relation: its name and the things of the scene that it is to.
    Returns None where no place is found. Raises ValueError for values that the kind cannot have.
    """
    column, row = fixed.pop("column", None), fixed.pop("row", None)
    for _ in range(_TRIES):
        kind = fixed.get("kind") or _sample_kind(rng, scene)
        look = sample_look(rng, kind, **{name: value for name, value in fixed.items() if name != "kind"})
        natural = rng.random() < NATURAL and row is None
        thing: Thing | None = Thing(kind, x=64, y=64, **look)
        thing = thing.at(*sample_position(rng, kind, thing.size, scene.ground, natural))
        if relation is not None:
            thing = put(rng, relation[0], thing, *relation[1:])
        elif scene.things and rng.random() < related:
            thing = _sample_related(rng, thing, scene)
        elif rng.random() < APART and _touches(thing, scene.things, scene.style):
            continue
        if thing is None or thing.place != (
            thing.place[0] if column is None else column,
            thing.place[1] if row is None else row,
        ):
            continue
        if clearance(thing.x, thing.y) < EDGE or thing in scene.things:
            continue
        joined = scene.with_things((*scene.things, thing))
        if acceptable(joined, thing) and (relation is None or holds(joined, relation[0], thing, *relation[1:])):
            return thing
    return None


def _sample_related(rng: Random, thing: Thing, scene: Scene) -> Thing | None:
    kind = KINDS[thing.kind]
    flies = kind.home in ("sky", "air")
    bases = [other for other in scene.things if surface_of(other)]
    roofs = [other for other in scene.things if shelter_of(other)]
    if kind.climbs and bases and rng.random() < 0.75:
        return put(rng, "on", thing, rng.choice(bases))
    if roofs and not flies and rng.random() < 0.75:
        return put(rng, "under", thing, rng.choice(roofs))
    other = rng.choice(scene.things)
    if (KINDS[other.kind].home in ("sky", "air")) != flies:
        return put(rng, "above" if flies else "under", thing, other)
    return put(rng, rng.choice(("beside", "beside", "in front of", "behind")), thing, other)


def sample_scene(
    rng: Random,
    n_things: int | None = None,
    *,
    asked: Sequence[Mapping[str, Any]] = (),
    ground: str | None = None,
    sky: str | None = None,
    style: str | None = None,
) -> Scene:
    """A scene with `n_things` (0..8, or drawn by lot: 1..5); a crowded draw is thrown away and begun again.

    `asked` holds what is already decided of the first things, as `sample_thing` takes it, with numbers of things asked
    for earlier as the others of a relation: ({"kind": "bench"}, {"kind": "cat", "relation": ("on", 0)}).
    Raises ValueError where no such scene is found.
    """
    if n_things is not None and not len(asked) <= n_things <= MOST_THINGS:
        raise ValueError(f"A scene holds {len(asked)} to {MOST_THINGS} things, got {n_things}.")
    for _ in range(_MOST_DRAWS):
        wanted = max(rng.choice(_COUNTS), len(asked)) if n_things is None else n_things
        first = (asked[0].get("kind") if asked else None) or rng.choice(tuple(KINDS))
        common = "sticker" if rng.random() < STICKER else rng.choice(STYLES)
        own = (_setting(rng, KINDS[first].grounds, GROUNDS), _setting(rng, KINDS[first].skies, SKIES))
        scene = Scene(ground or own[0], sky or own[1], (), style or common)
        scene = _filled(rng, scene, wanted, asked or _beginning(rng, wanted, first))
        if len(scene.things) == wanted:
            return scene
    raise ValueError(f"No scene with {n_things or 'some'} things and {list(asked)} was found in {_MOST_DRAWS} draws.")


def _beginning(rng: Random, wanted: int, first: str) -> list[dict[str, Any]]:
    """What the first things of a scene are to be: one of a kind, a group of it, or something that carries another."""
    if wanted > 1 and rng.random() < GROUPED:
        count = rng.randint(2, min(wanted, 5))
        alike = {"kind": first, "size": rng.choice(("small", "small", "medium") if count > 2 else tuple(SIZES))}
        if rng.random() < 0.5:
            alike["colour"] = rng.choice(KINDS[first].colours)
        return [alike] * count
    if wanted > 1 and rng.random() < STACKED:
        return [
            {"kind": rng.choice([name for name, kind in KINDS.items() if kind.top or kind.shelter])},
            {"guest": True},
        ]
    return [{"kind": first}]


def _filled(rng: Random, scene: Scene, wanted: int, beginning: Sequence[Mapping[str, Any]]) -> Scene:
    placed: list[Thing] = []
    for number in range(wanted):
        fixed = dict(beginning[number]) if number < len(beginning) else {}
        related = 0.0 if 0 < number < len(beginning) else RELATED
        if "relation" in fixed:
            name, *others = fixed["relation"]
            fixed["relation"] = (name, *(placed[other] for other in others))
        thing = _sample_guest(rng, scene) if "guest" in fixed else sample_thing(rng, scene, related, **fixed)
        if thing is None:
            break
        placed.append(thing)
        scene = scene.with_things((*scene.things, thing))
    return scene


def _sample_guest(rng: Random, scene: Scene) -> Thing | None:
    """Something that stands on the first thing of the scene, or under its roof."""
    host = scene.things[0]
    way = "under" if shelter_of(host) and (not surface_of(host) or rng.random() < 0.5) else "on"
    if way == "on" and not surface_of(host):  # a closed umbrella
        return sample_thing(rng, scene)
    free = [name for name, kind in KINDS.items() if kind.climbs and name != host.kind]
    for _ in range(6):
        guest = sample_thing(
            rng, scene, relation=(way, host), kind=rng.choice(free), size=rng.choice(("small", "medium"))
        )
        if guest is not None:
            return guest
    return None


def _touches(thing: Thing, others: Sequence[Thing], style: str) -> bool:
    return any(overlap(thing, other, style)[0] for other in others)


def jittered(rng: Random, scene: Scene, pixels: int = 3) -> Scene:
    """The same scene for words: each thing that touches no other moved a little inside its place."""
    for thing in scene.things:
        others = [other for other in scene.things if other != thing]
        x, y = (value + rng.randint(-pixels, pixels) for value in (thing.x, thing.y))
        moved = _moved(thing, x, y)
        if moved is None or moved.place != thing.place or clearance(x, y) < EDGE:
            continue
        if not any(_touches(version, others, scene.style) for version in (thing, moved)):
            scene = scene.with_things((*others, moved))
    return scene
