"""Things and scenes as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .catalogue import COLUMNS, GROUNDS, PICTURE_SIZE, ROWS, SIZES, SKIES, STYLES, box_of, place_centre, place_of
from .kinds import KINDS

MOST_THINGS = 8


def _check(name: str, value: Any, known: Sequence[Any]) -> None:
    if value not in known:
        raise ValueError(f"Unknown {name} {value!r}. Expected one of: {', '.join(map(str, known))}.")


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a scene.

    Raises ValueError for anything that the catalogue does not know, and for a box that leaves the picture.

    Attributes:
        x, y: middle of its box, whole pixels.
        depth: what has more of it is nearer and hides what has less. Left out, it is where the box stands, so that
            what stands lower in the picture is nearer. Among equals the lower, then the more right one is nearer.
    """

    kind: str
    colour: str
    size: str
    x: int
    y: int
    pose: str | None = None
    pattern: str = "plain"
    depth: int = field(default=-1)

    def __post_init__(self):
        _check("kind", self.kind, tuple(KINDS))
        kind = KINDS[self.kind]
        if self.pose is None:
            object.__setattr__(self, "pose", kind.poses[0])
        _check(f"colour of a {self.kind}", self.colour, kind.colours)
        _check(f"pose of a {self.kind}", self.pose, kind.poses)
        _check(f"pattern of a {self.kind}", self.pattern, kind.patterns)
        _check("size", self.size, tuple(SIZES))
        left, top, right, bottom = self.box
        if left < 0 or top < 0 or right > PICTURE_SIZE or bottom > PICTURE_SIZE:
            raise ValueError(f"A {self.size} {self.kind} at {self.x}, {self.y} would leave the picture.")
        if self.depth < 0:
            object.__setattr__(self, "depth", bottom)

    @property
    def place(self) -> tuple[int, int]:
        """Column and row."""
        return place_of(self.x, self.y)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels (right and bottom exclusive)."""
        width, height = box_of(self.kind, self.size)
        left, top = self.x - width // 2, self.y - height // 2
        return left, top, left + width, top + height

    @property
    def look(self) -> tuple[str, str, str, str, str]:
        """All that it is but where it is: kind, colour, size, pose, pattern."""
        return self.kind, self.colour, self.size, self.pose, self.pattern

    def at(self, x: int, y: int, depth: int = -1) -> "Thing":
        """The same thing elsewhere; its depth is where it stands then, unless given."""
        return replace(self, x=x, y=y, depth=depth)

    def to_json(self) -> dict[str, Any]:
        names = ("kind", "colour", "size", "x", "y", "pose", "pattern", "depth")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Thing":
        return cls(**record)


def held(kind: str, size: str, x: float, y: float) -> tuple[int, int]:
    """The middle nearest to `x`, `y` at which a thing of this kind and size is wholly in the picture."""
    width, height = box_of(kind, size)
    across = min(max(round(x), width // 2), PICTURE_SIZE - width // 2)
    return across, min(max(round(y), height // 2), PICTURE_SIZE - height // 2)


@dataclass(frozen=True)
class Scene:
    """One picture: a ground, a sky, a drawing style, and up to eight things, kept in order of depth, far ones first."""

    ground: str
    sky: str
    things: tuple[Thing, ...] = ()
    style: str = "sticker"

    def __post_init__(self):
        _check("ground", self.ground, GROUNDS)
        _check("sky", self.sky, SKIES)
        _check("style", self.style, STYLES)
        if len(self.things) > MOST_THINGS:
            raise ValueError(f"A scene holds at most {MOST_THINGS} things, got {len(self.things)}.")
        if len(set(self.things)) < len(self.things):
            raise ValueError("Two things of a scene are the same in everything.")
        ordered = sorted(self.things, key=lambda thing: (thing.depth, thing.box[3], thing.x, thing))
        object.__setattr__(self, "things", tuple(ordered))

    def with_things(self, things: Sequence[Thing]) -> "Scene":
        return replace(self, things=tuple(things))

    def to_json(self) -> dict[str, Any]:
        things = [thing.to_json() for thing in self.things]
        return {"ground": self.ground, "sky": self.sky, "style": self.style, "things": things}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Scene":
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError for a record that is no scene."""
        things = tuple(Thing.from_json(entry) for entry in record["things"])
        return cls(record["ground"], record["sky"], things, record["style"])


def place_name(place: tuple[int, int]) -> str:
    """Such as "bottom far left"."""
    return f"{ROWS[place[1]]} {COLUMNS[place[0]]}"


def placed(kind: str, colour: str, size: str, place: tuple[int, int], **look: Any) -> Thing:
    """A thing in the middle of a place (column and row)."""
    return Thing(kind, colour, size, *held(kind, size, *place_centre(*place)), **look)
