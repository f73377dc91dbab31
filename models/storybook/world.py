"""Things and scenes as values: what a page of the storybook holds, and how to sample one with taste."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from .catalogue import (  # fmt: skip
    COLUMN_CENTRES,
    COLUMNS,
    GROUNDS,
    JITTER,
    KIN,
    KINDS,
    ROW_CENTRES,
    ROWS,
    SHOWN_BY,
    SIZES,
    SKIES,
    STYLES,
    box_of,
)

MOST_THINGS = 5
HOW_MANY = (1, 2, 2, 3, 3, 4, 4, 5)
"""How many things there are, where that is left open: each as often as the others."""
PLAIN = 0.6  # how often a thing has no pattern that may have one
NATURAL_ROW = 0.7  # how often a thing stands where one expects it
SAME_KIND = 0.12  # how often a new thing repeats a kind that is there already
_TRIES = 60


def _check(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        raise ValueError(f"Unknown {name} {value!r}. Expected one of: {', '.join(map(str, known))}.")


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a scene.

    `column` is 0..4 (far left to far right), `row` 0..3 (top to bottom), `jitter` the (x, y) offset in whole pixels, at
    most 1 either way: the only property that a caption cannot tell. Raises ValueError for anything that the catalogue
    does not know.
    """

    kind: str
    colour: str
    size: str
    column: int
    row: int
    pose: str
    jitter: tuple[int, int] = (0, 0)
    pattern: str = "plain"

    def __post_init__(self):
        _check("kind", self.kind, tuple(KINDS))
        kind = KINDS[self.kind]
        _check(f"colour of a {self.kind}", self.colour, kind.colours)
        _check(f"pose of a {self.kind}", self.pose, kind.poses)
        _check(f"pattern of a {self.kind}", self.pattern, kind.patterns)
        _check("size", self.size, tuple(SIZES))
        _check("column", self.column, range(len(COLUMNS)))
        _check("row", self.row, range(len(ROWS)))
        if max(abs(self.jitter[0]), abs(self.jitter[1])) > JITTER:
            raise ValueError(f"A jitter is at most {JITTER} pixel either way, got {self.jitter}.")

    @property
    def place(self) -> tuple[int, int]:
        return self.column, self.row

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels (right and bottom exclusive); nothing is drawn outside."""
        width, height = box_of(self.kind, self.size)
        left = COLUMN_CENTRES[self.column] + self.jitter[0] - width // 2
        top = ROW_CENTRES[self.row] + self.jitter[1] - height // 2
        return left, top, left + width, top + height

    def still(self) -> "Thing":
        """The same thing without jitter: all that words can tell."""
        return replace(self, jitter=(0, 0))


def collide(one: Thing, other: Thing) -> bool:
    """Whether two things could touch at some jitter; their places decide, not the jitter they happen to have."""
    width, height = (a + b for a, b in zip(box_of(one.kind, one.size), box_of(other.kind, other.size), strict=True))
    across = abs(COLUMN_CENTRES[one.column] - COLUMN_CENTRES[other.column])
    down = abs(ROW_CENTRES[one.row] - ROW_CENTRES[other.row])
    return across < width / 2 + 2 * JITTER and down < height / 2 + 2 * JITTER


def fits(thing: Thing, others: Sequence[Thing]) -> bool:
    return not any(collide(thing, other) for other in others)


@dataclass(frozen=True)
class Scene:
    """One page: a ground, a sky and up to `MOST_THINGS` things that never touch, in a drawing style.

    The order of things has no meaning.
    """

    ground: str
    sky: str
    things: tuple[Thing, ...] = ()
    style: str = STYLES[0]

    def __post_init__(self):
        _check("ground", self.ground, GROUNDS)
        _check("sky", self.sky, SKIES)
        _check("style", self.style, STYLES)
        if len(self.things) > MOST_THINGS:
            raise ValueError(f"A scene holds at most {MOST_THINGS} things, got {len(self.things)}.")
        for number, thing in enumerate(self.things):
            for other in self.things[:number]:
                if collide(thing, other):
                    raise ValueError(f"Two things would touch: {other} and {thing}.")

    def canonical(self) -> "Scene":
        """Without jitter, things from top to bottom and left to right: equal when captions would say the same."""
        things = sorted((t.still() for t in self.things), key=lambda t: (t.row, t.column))
        return replace(self, things=tuple(things))

    def to_json(self) -> dict[str, Any]:
        things = [{**vars(thing), "jitter": list(thing.jitter)} for thing in self.things]
        return {"ground": self.ground, "sky": self.sky, "things": things, "style": self.style}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Scene":
        """Inverse of `to_json`. Raises ValueError or TypeError for a record that is no scene."""
        things = tuple(Thing(**{**entry, "jitter": tuple(entry["jitter"])}) for entry in record["things"])
        return cls(record["ground"], record["sky"], things, record.get("style", STYLES[0]))


def is_clearly_absent(kind: str, scene: Scene) -> bool:
    """Whether nobody would say that a picture shows a thing of this kind, or something like it."""
    shown = (*SHOWN_BY.get(scene.ground, ()), *SHOWN_BY.get(scene.sky, ()))
    return kind not in shown and not {kind, KIN.get(kind)} & {thing.kind for thing in scene.things}


def can_be_counted(kind: str, scene: Scene) -> bool:
    """Whether everybody would find as many things of this kind."""
    return is_clearly_absent(kind, replace(scene, things=tuple(one for one in scene.things if one.kind != kind)))


def sample_jitter(rng: Random) -> tuple[int, int]:
    return rng.randint(-JITTER, JITTER), rng.randint(-JITTER, JITTER)


def sample_thing(rng: Random, others: Sequence[Thing] = (), **fixed: Any) -> Thing | None:
    """A thing that touches none of `others`; `fixed` holds fields of `Thing` that are already decided.

    Returns None where no place is found. Values that the kind cannot have raise ValueError.
    """
    named = {name: value for name, value in fixed.items() if value is not None}
    for _ in range(_TRIES):
        fields = dict(named)
        if "kind" not in fields:
            fields["kind"] = _sample_kind(rng, others, named)
        kind = KINDS[fields["kind"]]
        fields.setdefault("colour", rng.choice(kind.colours))
        fields.setdefault("pose", rng.choice(kind.poses))
        if "pattern" not in fields and len(kind.patterns) > 1 and rng.random() >= PLAIN:
            fields["pattern"] = rng.choice(kind.patterns[1:])
        fields.setdefault("size", rng.choice(tuple(SIZES)))
        rows = kind.rows if rng.random() < NATURAL_ROW else range(len(ROWS))
        fields.setdefault("row", rng.choice(rows))
        fields.setdefault("column", rng.randrange(len(COLUMNS)))
        fields.setdefault("jitter", sample_jitter(rng))
        thing = Thing(**fields)
        twin = any((o.kind, o.colour, o.size) == (thing.kind, thing.colour, thing.size) for o in others)
        if fits(thing, others) and (not twin or "colour" in named):
            return thing
    return None


def _sample_kind(rng: Random, others: Sequence[Thing], named: Mapping[str, Any]) -> str:
    possible = [
        name for name, kind in KINDS.items()
        if named.get("colour", kind.colours[0]) in kind.colours
        and named.get("pose", kind.poses[0]) in kind.poses
        and named.get("pattern", "plain") in kind.patterns
    ]  # fmt: skip
    if not possible:
        raise ValueError(f"No kind of thing has {', '.join(f'{k} {v!r}' for k, v in named.items())}.")
    present = {other.kind for other in others}
    old, new = [k for k in possible if k in present], [k for k in possible if k not in present]
    if old and (not new or rng.random() < SAME_KIND):
        return rng.choice(old)
    return rng.choice(new)


def sample_scene(rng: Random, n_things: int | None = None) -> Scene:
    """A scene with `n_things` (0..`MOST_THINGS`, or one of `HOW_MANY` when None); a crowded draw is begun again."""
    wanted = rng.choice(HOW_MANY) if n_things is None else n_things
    if not 0 <= wanted <= MOST_THINGS:
        raise ValueError(f"A scene holds 0 to {MOST_THINGS} things, got {wanted}.")
    ground, sky = rng.choice(GROUNDS), rng.choice(SKIES)
    while True:
        things: tuple[Thing, ...] = ()
        while len(things) < wanted and (thing := sample_thing(rng, things)):
            things += (thing,)
        if len(things) == wanted:
            return Scene(ground, sky, things)
