"""Orders on a picture in people's own words, each with the picture that it leads to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

from ..captions import plural
from ..catalogue import COLUMNS, GROUNDS, KINDS, PATTERNS, ROWS, SIZES, SKIES, STYLES
from ..edits import other_pose
from ..naming import Mention
from ..world import MOST_THINGS, Scene, Thing, fits, sample_thing
from .frames import (
    additions,
    colours,
    keeping,
    moves,
    patterns,
    poses,
    removals,
    replacements,
    settings,
    sizes,
    styling,
    together,
    undoing,
)
from .frames import several as joining
from .held_out import TRAINED, choose, part_of
from .referring import Reference
from .typing import uttered
from .words import (
    BETWEEN,
    COLOUR_WORDS,
    GROUND_NAMES,
    GROUND_WORDS,
    KIND_WORDS,
    MARKS,
    PATTERNS_BEFORE,
    RELATIONS,
    SKY_NAMES,
    SKY_WORDS,
    STYLE_NAMES,
    STYLE_WORDS,
    at_place,
    in_general,
    indefinite,
    number,
    side,
    usual,
)

UNDO, SEVERAL = "undo", "several"
SAID_TO_STAY = (0.18, 0.4)
"""How often it is said what is to stay, and how often of those, that it is all the rest."""
_TRIES = 60
_NEAR = 2  # columns
_COPIED = 0.15  # how often one more is to be like the one that is there in all but its place
_THREE_AT_ONCE = 0.15  # how often three things are named in one order, not two
_NAMED_ONE_BY_ONE = 0.4  # how often things are named where all of a kind could be
_BETWEEN = 0.2  # how often a relation is one to two things, where there are two
_SAID_OF = {"(un)?fold": ("umbrella", "tent"), "(window|home|inside)": ("house", "tower", "castle")}
Relation = tuple[str, tuple[Thing, ...]]
"""The name of a relation, and the one thing that it is to, or the two of "between"."""
#: what an order that is one of several begins with
_VERBS = frozenset(
    "make move put place shift bring drag take slide push pull set nudge raise lift lower let enlarge shrink scale "  # noqa: SIM905
    "paint colour color turn change give flip light switch open close shut fold add draw include insert remove delete "
    "erase get leave replace swap exchange have dye wake cheer stop start round reduce increase recolour recolor "
    "tint".split()
)


@dataclass(frozen=True)
class Story:
    """The pictures of a chat so far, the last of them the one to be changed, and the thing last spoken of.

    `past` are those that can be gone back to, the latest last.
    """

    scenes: tuple[Scene, ...]
    last: Thing | None = None
    past: tuple[Scene, ...] = ()

    @property
    def now(self) -> Scene:
        return self.scenes[-1]

    def then(self, order: Order) -> Story:
        # One that was not followed goes nowhere back.
        undone = order.intent == UNDO and bool(self.past) and order.after.canonical() == self.past[-1].canonical()
        past = self.past[:-1] if undone else (*self.past, self.now)
        return Story((*self.scenes, order.after), order.last, past)


@dataclass(frozen=True)
class Order:
    """What is wanted of a picture.

    Attributes:
        intent: one of INTENTS, or "several".
        text: the words.
        before, after: the picture now, and one that the order may lead to.
        open: what the words ask of those things of `after` that they leave partly open.
        last: the thing that was spoken of, as it is afterwards.
        related: what relation to which other things the words ask of things of `after`; see `in_relation`.
        left_alone: things of `before` that are named as what is to stay as it is.
    """

    intent: str
    text: str
    before: Scene
    after: Scene
    open: Mapping[Thing, Mention] = field(default_factory=dict)
    last: Thing | None = None
    related: Mapping[Thing, Relation] = field(default_factory=dict)
    left_alone: tuple[Thing, ...] = ()

    def kept(self) -> tuple[Thing, ...]:
        """The things that stay as they are."""
        return tuple(thing for thing in self.before.things if thing in self.after.things)

    def gone(self) -> tuple[Thing, ...]:
        """The things that are no longer there, or no longer what they were."""
        return tuple(thing for thing in self.before.things if thing not in self.after.things)

    def asked(self) -> tuple[Mention, ...]:
        """What must be there that was not there before."""
        new = (thing for thing in self.after.things if thing not in self.before.things)
        return tuple(self.open.get(thing, Mention.of(thing)) for thing in new)


@dataclass(frozen=True)
class _Said:
    """A frame with what fills it, and the picture that it leads to."""

    frames: Sequence[str]
    words: Mapping[str, str]
    after: Scene
    open: Mapping[Thing, Mention] = field(default_factory=dict)
    last: Thing | None = None
    related: Mapping[Thing, Relation] = field(default_factory=dict)


@dataclass(frozen=True)
class _Speaker:
    """Who orders: what there is to be seen, what was spoken of, and where words come from."""

    story: Story
    rng: Random
    same: Thing | None = None

    @property
    def scene(self) -> Scene:
        return self.story.now

    def reference(self, thing: Thing, seen: Scene | None = None) -> Reference:
        same = self.same is not None and thing == self.same
        return Reference.to(thing, seen or self.scene, self.rng, self.story.last, same)

    def about(self, thing: Thing, **more: str) -> dict[str, str]:
        return {**vars(self.reference(thing)), **more}

    def others(self, thing: Thing) -> list[Thing]:
        return [other for other in self.scene.things if other != thing]

    def with_changed(self, thing: Thing, after: Thing | None) -> Scene:
        things = [after if one == thing else one for one in self.scene.things]
        return replace(self.scene, things=tuple(one for one in things if one is not None))

    def some_thing(self) -> Thing | None:
        if not self.scene.things:
            return None
        last = self.story.last
        if last in self.scene.things and self.rng.random() < 0.3:
            return last
        return self.rng.choice(self.scene.things)

    def changed(self, thing: Thing, after: Thing, frames: Sequence[str], **words: str) -> _Said | None:
        if not fits(after, self.others(thing)):
            return None
        return _Said(frames, self.about(thing, **words), self.with_changed(thing, after), last=after)


def _to_place(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    column, row = rng.randrange(len(COLUMNS)), rng.randrange(len(ROWS))
    kind = rng.random()
    named = (column, None) if kind < 0.3 else (None, row) if kind < 0.5 else (column, row)
    goal = (thing.column if named[0] is None else column, thing.row if named[1] is None else row)
    if goal == thing.place or _lies_there(thing, *named):
        return None
    after = replace(thing, column=goal[0], row=goal[1])
    frames, where = moves.TO_PLACE, side(*named, rng)
    if where in ("the left", "the right"):  # "to the left" is a step that way
        frames = tuple(frame for frame in frames if "to {side}" not in frame)
    return speaker.changed(thing, after, frames, at=at_place(*named, rng), side=where)


def _lies_there(thing: Thing, column: int | None, row: int | None) -> bool:
    """Whether a thing is in the half that one word names, "the left" or "the upper part", and nobody would send it
    there by that word."""
    if row is None:
        return (column, thing.column) in ((1, 0), (len(COLUMNS) - 2, len(COLUMNS) - 1))
    return column is None and (row, thing.row) in ((1, 0), (len(ROWS) - 2, len(ROWS) - 1))


def _sideways(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    step = rng.choice((-1, 1))
    if not 0 <= thing.column + step < len(COLUMNS):
        return None
    way, away = ("left", "right") if step < 0 else ("right", "left")
    return speaker.changed(thing, replace(thing, column=thing.column + step), moves.SIDEWAYS, way=way, away=away)


def _vertical(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    step = rng.choice((-1, 1))
    if not 0 <= thing.row + step < len(ROWS):
        return None
    frames = moves.VERTICAL if rng.random() < 0.4 else moves.UP if step < 0 else moves.DOWN
    return speaker.changed(thing, replace(thing, row=thing.row + step), frames, way="up" if step < 0 else "down")


def beside(thing: Thing, other: Thing, relation: str, others: Sequence[Thing]) -> Thing | None:
    """The thing at the nearest free place that has this relation to another thing; None where there is none."""
    columns, rows = range(len(COLUMNS)), range(len(ROWS))
    places = {
        "left": [(column, other.row) for column in reversed(columns) if column < other.column],
        "right": [(column, other.row) for column in columns if column > other.column],
        "above": [(other.column, row) for row in reversed(rows) if row < other.row],
        "below": [(other.column, row) for row in rows if row > other.row],
        "on": [(other.column, other.row - 1)] if other.row else [],
        "near": sorted(
            ((column, other.row) for column in columns if 0 < abs(column - other.column) <= _NEAR),
            key=lambda place: (abs(place[0] - other.column), abs(place[0] - thing.column), place),
        ),
    }[relation]
    moved = (replace(thing, column=column, row=row) for column, row in places)
    return next((one for one in moved if fits(one, others)), None)


def between(thing: Thing, first: Thing, second: Thing, others: Sequence[Thing]) -> Thing | None:
    """The thing at the free place between two others that is nearest to their middle; None where there is none."""
    middle = (first.column + second.column) / 2, (first.row + second.row) / 2
    places = [
        (column, row)
        for column in range(len(COLUMNS))
        for row in range(len(ROWS))
        if in_relation((column, row), "between", first.place, second.place)
    ]
    places.sort(key=lambda place: (math.dist(place, middle), place))
    moved = (replace(thing, column=column, row=row) for column, row in places)
    return next((one for one in moved if fits(one, others)), None)


def in_relation(
    place: tuple[int, int], relation: str, other: tuple[int, int], second: tuple[int, int] = (0, 0)
) -> bool:
    """Whether a place (column, row) is where words such as "next to" put a thing beside what lies at another place:
    on the same height or one above the other, and near within two columns or a row. Between two places is what lies
    inside the box that they span, and beyond both along its longer side."""
    if relation == "between":
        spans = [sorted(pair) for pair in zip(other, second, strict=True)]
        inside = all(low <= at <= high for at, (low, high) in zip(place, spans, strict=True))
        longer = max((0, 1), key=lambda axis: spans[axis][1] - spans[axis][0])
        return inside and spans[longer][0] < place[longer] < spans[longer][1]
    across, down = place[0] - other[0], place[1] - other[1]
    return {
        "left": down == 0 and across < 0,
        "right": down == 0 and across > 0,
        "above": across == 0 and down < 0,
        "below": across == 0 and down > 0,
        "on": across == 0 and down == -1,
        "near": (down == 0 and 0 < abs(across) <= _NEAR) or (across == 0 and abs(down) == 1),
    }[relation]


def _relative(speaker: _Speaker) -> _Said | None:
    thing = speaker.some_thing()
    others = speaker.others(thing)
    if not others:
        return None
    related = _related(speaker, thing, others)
    if related is None:
        return None
    relation, asked = related.asked
    if in_relation(thing.place, relation, *(one.place for one in asked)):
        return None  # that is so already
    after, frames = related.placed, moves.RELATIVE
    if len(related.others) > 1:
        frames = tuple(frame for frame in frames if "{relation} {other}" in frame)
    said = speaker.changed(thing, after, frames, other=related.named, relation=related.relation)
    return said and replace(said, related={after: related.asked})


class _Related(NamedTuple):
    """A thing where it has a relation to one other thing, or is between two."""

    placed: Thing
    asked: Relation
    relation: str
    """In words."""
    named: str
    """The others, in words."""

    @property
    def others(self) -> tuple[Thing, ...]:
        return self.asked[1]


def _related(speaker: _Speaker, thing: Thing, others: Sequence[Thing]) -> _Related | None:
    """The thing at a free place that is named by others of the picture."""
    rng = speaker.rng
    if len(others) > 1 and rng.random() < _BETWEEN:
        first, second = rng.sample(others, 2)
        placed = between(thing, first, second, others)
        named = f"{_named(speaker, first)} and {_named(speaker, second)}"
        return placed and _Related(placed, ("between", (first, second)), usual(BETWEEN, rng), named)
    other, relation = rng.choice(others), rng.choice(tuple(RELATIONS))
    placed = beside(thing, other, relation, others)
    if placed is None:
        return None
    named = _named(speaker, other)
    return _Related(placed, (relation, (other,)), usual(RELATIONS[relation], rng), named)


def _named(speaker: _Speaker, thing: Thing) -> str:
    """A thing by its name, never a pronoun."""
    return Reference.to(thing, speaker.scene, speaker.rng, last=_NOBODY).it


def _bigger(speaker: _Speaker) -> _Said | None:
    return _resized(speaker, list(SIZES), sizes.BIGGER, sizes.BIG)


def _smaller(speaker: _Speaker) -> _Said | None:
    return _resized(speaker, list(reversed(SIZES)), sizes.SMALLER, sizes.SMALL)


def _resized(speaker: _Speaker, order: list[str], frames: Sequence[str], far: frozenset[str]) -> _Said | None:
    """A step towards the last size of `order`; or all the way, where the words say so: those of `far`."""
    thing = speaker.some_thing()
    now = order.index(thing.size)
    steps = len(order) - 1 - now
    if not steps:
        return None
    if steps == 1:  # the next size is the last
        return speaker.changed(thing, replace(thing, size=order[-1]), frames)
    if speaker.rng.random() < 0.15:
        return speaker.changed(thing, replace(thing, size=order[now + 1]), sizes.MEDIUM)
    step = speaker.rng.random() < 0.6
    chosen = tuple(frame for frame in frames if (frame in far) != step)
    after = replace(thing, size=order[now + 1] if step else order[-1])
    said = speaker.changed(thing, after, chosen)
    return replace(said, open={after: replace(Mention.of(after), size=None)}) if said and step else said


def _colour(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    colour = rng.choice([colour for colour in KINDS[thing.kind].colours if colour != thing.colour])
    words = {"colour": usual(COLOUR_WORDS[colour], rng), "old": usual(COLOUR_WORDS[thing.colour], rng)}
    return speaker.changed(thing, replace(thing, colour=colour), colours.NAMED, **words)


def _other_colour(speaker: _Speaker) -> _Said | None:
    """Any other colour is right; the answer is the next one of its kind, so that one is likelier than a copy."""
    thing, rng = speaker.some_thing(), speaker.rng
    possible = KINDS[thing.kind].colours
    after = replace(thing, colour=possible[(possible.index(thing.colour) + 1) % len(possible)])
    if after.colour == thing.colour:
        return None
    said = speaker.changed(thing, after, colours.ANY_OTHER, old=usual(COLOUR_WORDS[thing.colour], rng))
    return said and replace(said, open={after: replace(Mention.of(after), colour=None)})


def _pose(speaker: _Speaker) -> _Said | None:
    thing = speaker.some_thing()
    pose = other_pose(thing)
    frames = poses.POSES[pose]
    if pose.startswith("facing"):
        frames = (*frames, *poses.AROUND)
    elif pose in ("raining", "dry"):
        # Which cloud is meant has to be said, and where skies rain too, that a cloud is.
        frames = tuple(frame for frame in frames if "{it}" in frame)
    frames = tuple(frame for frame in frames if _suits(frame, thing.kind))
    return speaker.changed(thing, replace(thing, pose=pose), frames)


def _suits(frame: str, kind: str) -> bool:
    """Whether people would say this of a thing of this kind."""
    return all(kind in kinds for word, kinds in _SAID_OF.items() if re.search(rf"\b{word}", frame))


def _pattern(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    others = [pattern for pattern in KINDS[thing.kind].patterns if pattern != thing.pattern]
    if not others:
        return None
    pattern = rng.choice(others)
    frames, told = (patterns.PLAIN, thing.pattern) if pattern == PATTERNS[0] else (patterns.MARKED, pattern)
    if thing.pattern != PATTERNS[0]:
        frames = tuple(frame for frame in frames if "too plain" not in frame and "boring" not in frame)
    words = {"pattern": usual(PATTERNS_BEFORE[told], rng), "marks": usual(MARKS[told], rng)}
    said = speaker.changed(thing, replace(thing, pattern=pattern), frames, **words)
    # Its name may tell the pattern that it has, which would not go with the new one.
    return said and replace(said, words={**said.words, "noun": said.words["kind"]})


def vague(thing: Thing, rng: Random) -> Mention:
    """A thing as somebody names it who does not say every detail."""
    size = thing.size if rng.random() < (0.15 if thing.size == "medium" else 0.4) else None
    colour = thing.colour if rng.random() < 0.6 else None
    pose = thing.pose if rng.random() < 0.15 else None
    column, row = thing.place if rng.random() < 0.4 else (None, None)
    pattern = None
    if len(KINDS[thing.kind].patterns) > 1 and rng.random() < (0.05 if thing.pattern == PATTERNS[0] else 0.7):
        pattern = thing.pattern
    return Mention(thing.kind, colour, size, pose, column, row, pattern)


def _new(speaker: _Speaker) -> _Said | None:
    scene, rng = speaker.scene, speaker.rng
    if len(scene.things) == MOST_THINGS:
        return None
    thing = sample_thing(rng, scene.things)
    if thing is None:
        return None
    mention = in_general(vague(thing, rng), rng)
    words, related = {"new": indefinite(mention, rng)}, {}
    if rng.random() < 0.15 and scene.things:  # "add a cat next to the house"
        found = _related(speaker, thing, scene.things)
        if found is not None:
            mention = replace(mention, kind=thing.kind, column=found.placed.column, row=found.placed.row)
            thing = found.placed
            told = replace(mention, column=None, row=None)
            words["new"] = f"{indefinite(told, rng)} {found.relation} {found.named}"
            related = {thing: found.asked}
    after = replace(scene, things=(*scene.things, thing))
    return _Said(additions.NEW, words, after, {thing: mention}, thing, related)


def _another(speaker: _Speaker) -> _Said | None:
    scene, rng, model = speaker.scene, speaker.rng, speaker.some_thing()
    if len(scene.things) == MOST_THINGS:
        return None
    copied = rng.random() < _COPIED
    looks = replace(Mention.of(model), column=None, row=None) if copied else Mention(model.kind)
    fixed = {**vars(looks), "pattern": model.pattern} if copied else vars(looks)
    thing = sample_thing(rng, scene.things, **fixed)
    if thing is None:
        return None
    frames = additions.COPY if copied else additions.ANOTHER
    return _Said(frames, speaker.about(model), replace(scene, things=(*scene.things, thing)), {thing: looks}, thing)


def _more(speaker: _Speaker) -> _Said | None:
    scene, rng, model = speaker.scene, speaker.rng, speaker.some_thing()
    count = rng.randint(2, 3)
    things = scene.things
    for _ in range(count):
        thing = sample_thing(rng, things, kind=model.kind) if len(things) < MOST_THINGS else None
        if thing is None:
            return None
        things = (*things, thing)
    alone = len({thing.kind for thing in scene.things}) == 1 and speaker.story.last != _NOBODY
    frames = [frame for frame in additions.MORE if alone or "{kinds}" in frame]
    words = {**speaker.about(model), "number": number(count, rng)}
    new = things[len(scene.things) :]
    return _Said(frames, words, replace(scene, things=things), {thing: Mention(thing.kind) for thing in new}, new[-1])


def _gone(speaker: _Speaker) -> _Said:
    thing = speaker.some_thing()
    return _Said(removals.ONE, speaker.about(thing), speaker.with_changed(thing, None))


def _all_gone(speaker: _Speaker) -> _Said | None:
    model = speaker.some_thing()
    left = tuple(thing for thing in speaker.scene.things if thing.kind != model.kind)
    if len(speaker.scene.things) - len(left) < 2:
        return None
    words, frames = speaker.about(model), removals.ALL_OF_KIND
    if words["kind"] == words["kinds"]:  # "the fish" may be one of them
        frames = tuple(frame for frame in frames if _ALL_OF_THEM.search(frame))
    return _Said(frames, words, replace(speaker.scene, things=left))


def _all_but(speaker: _Speaker) -> _Said | None:
    thing = speaker.some_thing()
    if len(speaker.scene.things) < 2:
        return None
    return _Said(removals.ALL_BUT, speaker.about(thing), replace(speaker.scene, things=(thing,)), last=thing)


def _some_gone(speaker: _Speaker) -> _Said | None:
    things = _some_things(speaker)
    if not things:
        return None
    left = tuple(thing for thing in speaker.scene.things if thing not in things)
    return _Said(together.REMOVED, {"them": _listed(speaker, things)}, replace(speaker.scene, things=left))


def _some_resized(speaker: _Speaker) -> _Said | None:
    grow = speaker.rng.random() < 0.5
    sizes_in_order = list(SIZES) if grow else list(reversed(SIZES))
    things = _all_of_kind(speaker) or _some_things(speaker)
    if any(thing.size == sizes_in_order[-1] for thing in things):
        return None
    changed = {one: replace(one, size=sizes_in_order[sizes_in_order.index(one.size) + 1]) for one in things}
    said = _changed_together(speaker, changed, together.BIGGER if grow else together.SMALLER)
    return said and replace(said, open={one: replace(Mention.of(one), size=None) for one in changed.values()})


def _some_coloured(speaker: _Speaker) -> _Said | None:
    things = _all_of_kind(speaker) or _some_things(speaker)
    possible = [set(KINDS[thing.kind].colours) - {thing.colour} for thing in things]
    colours_of_all = sorted(set.intersection(*possible)) if possible else []
    if not colours_of_all:
        return None
    colour = speaker.rng.choice(colours_of_all)
    changed = {thing: replace(thing, colour=colour) for thing in things}
    said = _changed_together(speaker, changed, together.COLOURED)
    return said and replace(said, words={**said.words, "colour": usual(COLOUR_WORDS[colour], speaker.rng)})


def _changed_together(speaker: _Speaker, changed: Mapping[Thing, Thing], frames: Sequence[str]) -> _Said | None:
    things = tuple(changed.get(one, one) for one in speaker.scene.things)
    if not changed or not all(fits(one, [*things[:place], *things[place + 1 :]]) for place, one in enumerate(things)):
        return None
    return _Said(frames, {"them": _listed(speaker, tuple(changed))}, replace(speaker.scene, things=things))


def _some_things(speaker: _Speaker) -> tuple[Thing, ...]:
    """Two things of the picture, or three; none where there are too few."""
    count = 3 if speaker.rng.random() < _THREE_AT_ONCE else 2
    there = speaker.scene.things
    return tuple(speaker.rng.sample(there, count)) if len(there) >= count else ()


def _all_of_kind(speaker: _Speaker) -> tuple[Thing, ...]:
    """Now and then all things of a kind that comes more than once; else none."""
    counts = Counter(thing.kind for thing in speaker.scene.things)
    many = [kind for kind, count in counts.items() if count > 1]
    if not many or speaker.rng.random() < _NAMED_ONE_BY_ONE:
        return ()
    kind = speaker.rng.choice(many)
    return tuple(thing for thing in speaker.scene.things if thing.kind == kind)


def _listed(speaker: _Speaker, things: Sequence[Thing]) -> str:
    """Such as "the cat and the red house", or "all cats" where these are all of them."""
    rng, kinds = speaker.rng, {thing.kind for thing in things}
    if len(kinds) == 1 and len(things) == sum(thing.kind in kinds for thing in speaker.scene.things):
        kind = usual(KIND_WORDS[things[0].kind], rng)
        many = plural(kind)
        ways = [f"all {many}", f"all the {many}", f"the {number(len(things), rng)} {many}"]
        if many != kind:  # "the fish" may be one of them
            ways += [f"the {many}"] * 2
        return rng.choice([*ways, f"both {many}", f"both {many}"] if len(things) == 2 else ways)
    names = [_named(speaker, thing) for thing in things]
    if len(names) > 2:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return usual((" and ", " and also ", " together with ", " as well as ", " plus "), rng).join(names)


def _replaced(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    others = speaker.others(thing)
    kinds = [kind for kind in KINDS if kind not in {one.kind for one in speaker.scene.things}]
    new = sample_thing(rng, others, kind=rng.choice(kinds), column=thing.column, row=thing.row)
    if new is None:
        return None
    mention = replace(in_general(vague(new, rng), rng), column=None, row=None)
    words = speaker.about(thing, new=indefinite(mention, rng))
    placed = replace(mention, column=new.column, row=new.row)
    return _Said(replacements.REPLACE, words, speaker.with_changed(thing, new), {new: placed}, new)


def _swapped(speaker: _Speaker) -> _Said | None:
    thing, rng = speaker.some_thing(), speaker.rng
    others = speaker.others(thing)
    if not others:
        return None
    other = rng.choice(others)
    first = replace(thing, column=other.column, row=other.row)
    second = replace(other, column=thing.column, row=thing.row)
    rest = [one for one in others if one != other]
    alike = (thing.kind, thing.colour) == (other.kind, other.colour)  # nobody would see that they are swapped
    if alike or not (fits(first, [*rest, second]) and fits(second, rest)):
        return None
    changed = {thing: first, other: second}
    after = replace(speaker.scene, things=tuple(changed.get(one, one) for one in speaker.scene.things))
    return _Said(replacements.SWAP, speaker.about(thing, other=_named(speaker, other)), after, last=first)


def _ground(speaker: _Speaker) -> _Said:
    rng = speaker.rng
    value = rng.choice([ground for ground in GROUNDS if ground != speaker.scene.ground])
    words = {"on": usual(GROUND_WORDS[value], rng), "ground": usual(GROUND_NAMES[value], rng)}
    return _Said(settings.GROUND, words, replace(speaker.scene, ground=value))


def _sky(speaker: _Speaker) -> _Said:
    rng, now = speaker.rng, speaker.scene.sky
    value = rng.choice([sky for sky in SKIES if sky != now])
    words = {name: usual(table[value], rng) for name, table in (("time", SKY_NAMES), ("when", SKY_WORDS))}
    words["old"] = SKY_NAMES[now][0]
    frames = settings.SKY if rng.random() < 0.65 else settings.SKIES[value]
    if value == "day" and now in settings.ENDS and rng.random() < 0.5:
        frames = settings.ENDS[now]
    return _Said(frames, words, replace(speaker.scene, sky=value))


def _style(speaker: _Speaker) -> _Said:
    rng, now = speaker.rng, speaker.scene.style
    value = rng.choice([style for style in STYLES if style != now])
    words = {"style": usual(STYLE_NAMES[value], rng), "in_style": usual(STYLE_WORDS[value], rng)}
    words["old"] = usual(STYLE_NAMES[now], rng)
    return _Said(styling.ORDERS, words, replace(speaker.scene, style=value))


def _undone(speaker: _Speaker) -> _Said | None:
    past = speaker.story.past
    return _Said(undoing.UNDO, {}, past[-1]) if past else None


def _brought_back(speaker: _Speaker) -> _Said | None:
    scene = speaker.scene
    present = {thing.kind for thing in scene.things}
    for earlier in reversed(speaker.story.scenes[:-1]):
        kinds = Counter(thing.kind for thing in earlier.things if thing.kind not in present)
        gone = [thing for thing in earlier.things if kinds[thing.kind] == 1 and fits(thing, scene.things)]
        if gone and len(scene.things) < MOST_THINGS:
            thing = speaker.rng.choice(gone)
            after = replace(scene, things=(*scene.things, thing))
            # Nothing else of that name is in sight, and nothing went with it, so its kind is enough to name it.
            words = vars(Reference.to(thing, replace(scene, things=(thing,)), speaker.rng, last=_NOBODY))
            if earlier == speaker.story.scenes[-2] and len(gone) == 1 and speaker.rng.random() < 0.4:
                words = {**words, "it": "it"}  # it has just gone
            return _Said(undoing.BRING_BACK, words, after, last=thing)
    return None


_NOBODY = Thing("house", "red", "small", 0, 0, "lit", (1, 1))

#: what can be ordered, how often, and how each is done
_INTENTS: Mapping[str, tuple[float, Callable[[_Speaker], _Said | None]]] = MappingProxyType({
    "to place": (2.0, _to_place), "sideways": (2.0, _sideways), "vertical": (2.0, _vertical),
    "relative": (2.5, _relative), "bigger": (1.7, _bigger), "smaller": (1.7, _smaller), "colour": (2.5, _colour),
    "other colour": (1.2, _other_colour), "pose": (3.0, _pose),
    "pattern": (2.5, _pattern), "add": (2.5, _new), "another": (1.2, _another),
    "more": (1.5, _more), "remove": (2.7, _gone), "remove all": (5.0, _all_gone), "only": (1.2, _all_but),
    "remove some": (1.5, _some_gone), "resize some": (1.5, _some_resized), "colour some": (1.5, _some_coloured),
    "replace": (2.0, _replaced), "swap": (1.5, _swapped), "ground": (1.5, _ground), "sky": (1.5, _sky),
    "style": (1.5, _style), UNDO: (2.0, _undone), "bring back": (12.0, _brought_back),
})  # fmt: skip
INTENTS = tuple(_INTENTS)
SEVERAL_SHARE = 0.12
_WHOLE = ("ground", "sky", "style")
_OF_THE_SKY = frozenset(
    frame for tables in (settings.SKIES, settings.ENDS) for frames in tables.values() for frame in frames
)
_ALL_OF_THEM = re.compile(r"\b(all|any|both|each|every|no|none)\b")
_PRONOUN = re.compile(r"\b(it|its|itself|that|this|one|other)\b")
_TOGETHER = ("remove some", "resize some", "colour some")
_ALONE = (UNDO, "bring back", "only", "swap", "remove all", "other colour", *_TOGETHER)
_WITHOUT_THING = (*_WHOLE, "add", UNDO, "bring back")


def sample_order(
    story: Story,
    rng: Random,
    part: str = TRAINED,
    intent: str | None = None,
    said_to_stay: tuple[float, float] = SAID_TO_STAY,
) -> Order:
    """An order that the last picture of the story allows; any intent, or a given one where it is possible.

    `said_to_stay` is how often it says what is to stay, and how often of those, that it is all the rest.

    Raises ValueError where a given intent is not possible in this story.
    """
    for _ in range(_TRIES):
        if intent == SEVERAL or (intent is None and rng.random() < SEVERAL_SHARE):
            order = _several(story, rng, part)
        else:
            name = intent or rng.choices(INTENTS, [weight for weight, _ in _INTENTS.values()])[0]
            order = _single(_Speaker(story, rng), name, part)
        if order is not None:
            order = _with_keep(order, rng, part, said_to_stay)
            return replace(order, text=uttered(order.text, rng))
    raise ValueError(f"No order{f' {intent!r}' if intent else ''} is possible for {story.now}.")


def _single(speaker: _Speaker, intent: str, part: str, joined: bool = False) -> Order | None:
    if not speaker.scene.things and intent not in _WITHOUT_THING:
        return None
    said = _INTENTS[intent][1](speaker)
    frames = () if said is None else part_of(tuple(said.frames), part)
    if joined:
        frames = tuple(one for one in frames if one.split()[0] in _VERBS and one[-1] != "?" and "," not in one)
    if not frames:
        return None
    text = _filled(speaker.rng.choice(frames), said.words)
    if intent == "pose" and text in _OF_THE_SKY:  # "make it dark" is about the whole picture
        return None
    return Order(intent, text, speaker.scene, said.after, said.open, said.last, said.related)


def _filled(frame: str, words: Mapping[str, Any]) -> str:
    return frame.format(**words)


def _several(story: Story, rng: Random, part: str) -> Order | None:
    """Two orders at once, or three; what one speaks of is named as it looks after those before it."""
    count = rng.choice((2, 2, 2, 3))
    parts: list[Order] = []
    now = story
    for _ in range(_TRIES):
        if len(parts) == count:
            break
        intent = rng.choice([name for name in INTENTS if name not in _ALONE])
        same = parts[-1].last if parts else None
        order = _single(_Speaker(now, rng, same), intent, part, joined=True)
        if order is None or any(_clash(earlier, order) for earlier in parts):
            continue
        parts.append(order)
        # Only what was spoken of just now may be called "it": behind something that was removed, nothing may.
        now = Story((order.after,), order.last or _NOBODY)
    if len(parts) < count:
        return None
    names = dict(zip(("first", "second", "third"), (order.text for order in parts), strict=False))
    text = _filled(choose(joining.TWO if count == 2 else joining.THREE, part, rng), names)
    after = parts[-1].after
    opened = {thing: mention for order in parts for thing, mention in order.open.items() if thing in after.things}
    # What became of things that looked different when they were spoken of.
    there = {(thing.kind, thing.place): thing for thing in after.things}
    related = {
        there[thing.kind, thing.place]: (relation, tuple(there[one.kind, one.place] for one in others))
        for order in parts
        for thing, (relation, others) in order.related.items()
        if (thing.kind, thing.place) in there
    }
    return Order(SEVERAL, text, story.now, after, opened, parts[-1].last, related)


def _clash(earlier: Order, order: Order) -> bool:
    """Whether two orders are of one kind on one thing, or take away, make or move what the other speaks of."""
    if earlier.intent == order.intent and order.intent in ("ground", "sky", "style", "add", "another", "more", "pose"):
        return True
    stand = {(thing.kind, thing.place) for thing in order.after.things}
    if any((other.kind, other.place) not in stand for _, others in earlier.related.values() for other in others):
        return True  # "beside the house, and move the house": where to?
    made = [thing for thing in earlier.after.things if thing not in earlier.before.things]
    touched = order.gone()
    whole = ("add", "another", "more", "replace", "remove")
    if any(thing in made for thing in touched):
        return earlier.intent in whole or order.intent in whole or _axis(earlier.intent) == _axis(order.intent)
    return False


def _axis(intent: str) -> str:
    if intent in ("bigger", "smaller"):
        return "size"
    return "place" if intent in ("to place", "sideways", "vertical", "relative") else intent


def _with_keep(order: Order, rng: Random, part: str, said_to_stay: tuple[float, float]) -> Order:
    """Now and then with what is to stay as it is."""
    share, share_of_all = said_to_stay
    if rng.random() >= share or order.text.endswith("?") or order.intent in (UNDO, "only"):
        return order
    kept = order.kept()
    # In another style nothing looks as before, so it is never said of single things.
    if not kept or order.before.style != order.after.style or rng.random() < share_of_all:
        return replace(order, text=_filled(choose(keeping.KEEP_ALL, part, rng), {"order": order.text}))
    some = tuple(rng.sample(kept, min(len(kept), rng.choice((1, 1, 2)))))
    names = " and ".join(Reference.to(thing, order.before, rng, last=_NOBODY).it for thing in some)
    frames: Sequence[str] = keeping.KEEP_SOME
    if order.intent not in _WHOLE and _PRONOUN.search(order.text):  # behind what is kept, "it" would be that
        frames = [frame for frame in frames if frame.index("{order}") < frame.index("{kept}")]
    text = _filled(choose(frames, part, rng), {"order": order.text, "kept": names})
    return replace(order, text=text, left_alone=some)
