"""What a text names, as a record: the common ground of captions, wishes, rewrites and answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .catalogue import CATEGORIES, COLUMNS, PATTERNS, ROWS, STYLES
from .world import Scene, Thing


@dataclass(frozen=True)
class Mention:
    """One thing as far as a text names it; None is what it leaves open. Column and row are indices as in `Thing`.

    A `pattern` of None is left open, or is the first of PATTERNS, which mostly goes without saying. What somebody asks
    for may have one of CATEGORIES as its `kind`, and then leaves open which of its kinds it is.
    """

    kind: str | None = None
    colour: str | None = None
    size: str | None = None
    pose: str | None = None
    column: int | None = None
    row: int | None = None
    pattern: str | None = None

    @classmethod
    def of(cls, thing: Thing) -> "Mention":
        pattern = None if thing.pattern == PATTERNS[0] else thing.pattern
        return cls(thing.kind, thing.colour, thing.size, thing.pose, thing.column, thing.row, pattern)

    def fits(self, other: "Mention") -> bool:
        """Whether all that this mention names is named alike in the other."""
        if other.kind in CATEGORIES.get(self.kind or "", ()):
            return replace(self, kind=None).fits(other)
        seen = {**vars(other), "pattern": other.pattern or PATTERNS[0]}
        return all(value is None or value == seen[name] for name, value in vars(self).items())


@dataclass(frozen=True)
class Named:
    """All that a text names. `fewest` and `most` bound the number of things ("busy", "quiet"). A `style` of None is
    left open, or is the first of STYLES, which goes without saying."""

    things: tuple[Mention, ...] = ()
    ground: str | None = None
    sky: str | None = None
    fewest: int | None = None
    most: int | None = None
    style: str | None = None

    @classmethod
    def of(cls, scene: Scene) -> "Named":
        style = None if scene.style == STYLES[0] else scene.style
        return cls(tuple(Mention.of(thing) for thing in scene.things), scene.ground, scene.sky, style=style)

    def same_as(self, other: "Named") -> bool:
        """Equal but for the order in which things are named."""
        return self.ordered() == other.ordered()

    def ordered(self) -> "Named":
        things = tuple(sorted(self.things, key=lambda mention: repr(mention)))
        return replace(self, things=things)

    def to_scene(self) -> Scene:
        """The scene of a complete description, without jitter. Raises ValueError where something is left open."""
        looks = [{**vars(mention), "pattern": mention.pattern or PATTERNS[0]} for mention in self.things]
        if self.ground is None or self.sky is None or any(None in look.values() for look in looks):
            raise ValueError(f"Not a complete description of a scene: {self}.")
        things = tuple(Thing(**look) for look in looks)
        return Scene(self.ground, self.sky, things, self.style or STYLES[0])

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "things": [dict(vars(mention)) for mention in self.things]}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Named":
        return cls(**{**record, "things": tuple(Mention(**entry) for entry in record["things"])})


def covers(described: Named, wanted: Named) -> bool:
    """Whether a description (such as a rewrite) keeps everything that `wanted` (such as a wish) names.

    Each wanted thing needs a described thing of its own; described things may be more.
    """
    if wanted.ground not in (None, described.ground) or wanted.sky not in (None, described.sky):
        return False
    if wanted.style not in (None, described.style):
        return False
    count = len(described.things)
    if not (wanted.fewest or 0) <= count <= (count if wanted.most is None else wanted.most):
        return False
    return matched(wanted.things, described.things) is not None


def matched(wanted: Sequence[Mention], offered: Sequence[Mention]) -> list[int] | None:
    """Which of `offered` fits each of `wanted`, another one each; None where there are not enough."""

    def rest(at: int, left: Sequence[int]) -> list[int] | None:
        if at == len(wanted):
            return []
        for number in left:
            if wanted[at].fits(offered[number]):
                others = rest(at + 1, [one for one in left if one != number])
                if others is not None:
                    return [number, *others]
        return None

    return rest(0, range(len(offered)))


def satisfies(scene: Scene, named: Named) -> bool:
    """Whether everything named is true of the scene."""
    return covers(Named.of(scene), named)


def place_name(column: int, row: int) -> str:
    """Such as "bottom far left"."""
    return f"{ROWS[row]} {COLUMNS[column]}"
