"""Dynamics: what can change from one page to the next, in words, and exactly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from .captions import GROUND_PLACES, POSES, SKY_IS, choose, drawn, noun_phrase
from .catalogue import COLUMNS, GROUNDS, KINDS, PATTERNS, ROWS, SIZES, SKIES, larger
from .naming import Mention, place_name
from .world import MOST_THINGS, Scene, Thing, fits, sample_thing

ACTIONS = ("move", "grow", "shrink", "turn", "recolour", "pattern", "appear", "leave", "ground", "sky")
_TRIES = 40

MOVES = ("move {it} to the {place}", "put {it} at the {place}", "{it} should be at the {place}")
STEPS = ("move {it} one step {way}", "move {it} a bit to the {way}")
WAYS = {(-1, 0): "left", (1, 0): "right", (0, -1): "up", (0, 1): "down"}
GROWS = ("make {it} bigger", "{it} should be larger", "let {it} grow")
SHRINKS = ("make {it} smaller", "{it} should be smaller", "let {it} shrink")
RESIZES = ("make {it} {size}",)
COLOURINGS = ("make {it} {colour}", "paint {it} {colour}", "change {it} to {colour}", "{it} should be {colour}")
APPEARINGS = ("add {new}", "also draw {new}", "put in {new}", "let {new} appear")
LEAVINGS = ("remove {it}", "take away {it}", "delete {it}", "{it} should go")
GROUND_CHANGES = (
    "put everything {ground}",
    "change the ground, now {ground}",
    "now {ground}",
    "move all of it {ground}",
)
SKY_CHANGES = ("make it {sky}", "change the time, {sky} now", "let it be {sky}", "now it is {sky}")
TURNS = {
    "facing left": ("turn {it} to the left", "make {it} face left", "let {it} look left"),
    "facing right": ("turn {it} to the right", "make {it} face right", "let {it} look right"),
    "lit": ("turn on the lights of {it}", "light up {it}"),
    "dark": ("turn off the lights of {it}", "no light in {it}"),
    "round": ("make {it} round", "make {it} leafy"),
    "pointed": ("make {it} pointed", "make {it} pointy"),
    "smiling": ("wake up {it}", "make {it} smile", "make {it} happy"),
    "sleeping": ("let {it} sleep", "make {it} sleepy"),
    "full": ("make {it} full",),
    "crescent": ("make {it} a crescent", "make {it} thin"),
    "dry": ("make {it} dry", "stop the rain of {it}"),
    "raining": ("make {it} rain", "let {it} rain"),
    "open": ("open {it}", "make {it} open"),
    "closed": ("close {it}", "make {it} closed"),
    "spotted": ("make {it} spotted", "put spots on {it}"),
    "plain": ("make {it} plain", "make {it} simple"),
    "striped": ("make {it} striped", "put stripes on {it}"),
    "standing": ("let {it} stand still", "stop {it} from waving"),
    "waving": ("make {it} wave", "let {it} wave"),
    "hanging": ("let {it} hang", "make {it} droop"),
    "blooming": ("make {it} bloom", "put flowers on {it}"),
    "bare": ("make {it} bare", "take the flowers off {it}"),
    "whole": ("make {it} whole",),
    "carved": ("carve {it}", "give {it} a face"),
    "bitten": ("bite {it}", "take a bite of {it}"),
    "with candles": ("put candles on {it}",),
    "without candles": ("take the candles off {it}",),
}
PATTERN_CHANGES = {
    "striped": ("make {it} striped", "put stripes on {it}", "give {it} stripes"),
    "dotted": ("make {it} dotted", "put dots on {it}", "give {it} dots"),
    "plain": ("make {it} plain", "let {it} be plain"),
}
JOINS = (" and ", ", then ", ", and ")
KEEPS_FIRST = ("keep {kept}, but ", "keep {kept}, ", "leave {kept} as it is, ")
KEEPS_LAST = (
    ", keep {kept}",
    " but keep {kept}",
    ", keep everything else",
    ", change nothing else",
    " and keep the rest",
)
POLITE = ("", "", "", "", "please ", "now ")
STATEMENTS = {
    "move": "{it} moved to the {place}", "grow": "{it} became {size}", "shrink": "{it} became {size}",
    "turn": "{it} is now {pose}", "pattern": "{it} is now {pattern}", "recolour": "{it} became {colour}",
    "appear": "{new} appeared", "leave": "{it} is gone", "ground": "now it is {ground}", "sky": "now {sky}",
}  # fmt: skip
PHRASES = (
    MOVES, STEPS, tuple(WAYS.values()), GROWS, SHRINKS, RESIZES, COLOURINGS, APPEARINGS, LEAVINGS, GROUND_CHANGES,
    SKY_CHANGES,    drawn(TURNS, POSES), drawn(PATTERN_CHANGES, PATTERNS), JOINS,
    KEEPS_FIRST, KEEPS_LAST, POLITE, tuple(STATEMENTS.values()), "it",
)  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One change. `before` and `after` are the thing before and after it (None where it is not there); ground and sky
    changes carry the new `value`."""

    action: str
    before: Thing | None = None
    after: Thing | None = None
    value: str | None = None

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"action": self.action, "value": self.value}
        for name in ("before", "after"):
            thing = getattr(self, name)
            record[name] = None if thing is None else {**vars(thing), "jitter": list(thing.jitter)}
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Edit":
        sides = {
            name: None if record[name] is None else Thing(**{**record[name], "jitter": tuple(record[name]["jitter"])})
            for name in ("before", "after")
        }
        return cls(record["action"], value=record["value"], **sides)


def apply(scene: Scene, edits: Sequence[Edit]) -> Scene:
    """The scene after all edits. What no edit names stays as it is, jitter included.

    Raises ValueError where an edit's thing is not in the scene or where the outcome is no legal scene.
    """
    ground, sky, things = scene.ground, scene.sky, list(scene.things)
    for edit in edits:
        if edit.action == "ground":
            ground = edit.value
        elif edit.action == "sky":
            sky = edit.value
        elif edit.before is None:
            things.append(edit.after)
        elif edit.before not in things:
            raise ValueError(f"Cannot {edit.action}: there is no {edit.before} in the scene.")
        elif edit.after is None:
            things.remove(edit.before)
        else:
            things[things.index(edit.before)] = edit.after
    return replace(scene, ground=ground, sky=sky, things=tuple(things))


def other_pose(thing: Thing) -> str:
    first, second = KINDS[thing.kind].poses
    return second if thing.pose == first else first


def _changed(thing: Thing, action: str, others: Sequence[Thing], rng: Random) -> Thing | None:
    if action == "turn":
        return replace(thing, pose=other_pose(thing))
    if action == "pattern":
        patterns = [pattern for pattern in KINDS[thing.kind].patterns if pattern != thing.pattern]
        return replace(thing, pattern=rng.choice(patterns)) if patterns else None
    if action == "recolour":
        return replace(thing, colour=rng.choice([c for c in KINDS[thing.kind].colours if c != thing.colour]))
    if action in ("grow", "shrink"):
        sizes = [size for size in SIZES if (larger(size, thing.size) if action == "grow" else larger(thing.size, size))]
        grown = [after for after in (replace(thing, size=size) for size in sizes) if fits(after, others)]
        return rng.choice(grown) if grown else None
    places = [(column, row) for column in range(len(COLUMNS)) for row in range(len(ROWS))]
    moved = [replace(thing, column=column, row=row) for column, row in places if (column, row) != thing.place]
    free = [after for after in moved if fits(after, others)]
    if not free:
        return None
    natural = [after for after in free if after.row in KINDS[thing.kind].rows]
    return rng.choice(natural if natural and rng.random() < 0.5 else free)


def sample_edit(scene: Scene, rng: Random, actions: Sequence[str] = ACTIONS) -> Edit | None:
    """One change that the scene allows, or None where none of `actions` is possible. Actions are equally likely."""
    for action in rng.sample(list(actions), len(actions)):
        if action == "ground":
            return Edit(action, value=rng.choice([g for g in GROUNDS if g != scene.ground]))
        if action == "sky":
            return Edit(action, value=rng.choice([s for s in SKIES if s != scene.sky]))
        if action == "appear":
            new = sample_thing(rng, scene.things) if len(scene.things) < MOST_THINGS else None
            if new:
                return Edit(action, after=new)
            continue
        for thing in rng.sample(scene.things, len(scene.things)):
            if action == "leave":
                if len(scene.things) > 1:
                    return Edit(action, before=thing)
                continue
            others = [other for other in scene.things if other != thing]
            after = _changed(thing, action, others, rng)
            if after:
                return Edit(action, thing, after)
    return None


def sample_edits(scene: Scene, rng: Random, count: int = 1, actions: Sequence[str] = ACTIONS) -> tuple[Edit, ...]:
    """`count` changes, of which none changes the property that the one before changed. Fewer where the scene allows no
    more."""
    edits: tuple[Edit, ...] = ()
    now = scene
    for _ in range(_TRIES):
        if len(edits) == count:
            break
        edit = sample_edit(now, rng, actions)
        if edit is not None and not any(_clash(earlier, edit) for earlier in edits):
            edits, now = (*edits, edit), apply(now, [edit])
    return edits


def _property(edit: Edit) -> str:
    return "size" if edit.action in ("grow", "shrink") else edit.action


def _clash(earlier: Edit, edit: Edit) -> bool:
    if edit.before is None:
        return _property(earlier) == _property(edit)
    same_thing = edit.before == earlier.after
    whole = "appear" in (earlier.action, edit.action) or "leave" in (earlier.action, edit.action)
    return same_thing and (whole or _property(earlier) == _property(edit))


def reference_to(thing: Thing, scene: Scene, rng: Random | None = None) -> str:
    """A definite name that only this thing of the scene fits: "the cat", or "the small red cat" where there are two."""
    wanted = Mention.of(thing)
    rivals = [Mention.of(other) for other in scene.things if other != thing]
    ways = [("kind",), ("kind", "colour"), ("kind", "size"), ("kind", "colour", "size"), ("kind", "column", "row")]
    if rng is not None and rng.random() < 0.2:
        ways.insert(0, ("kind", "colour"))  # says a little more than needed
    for names in ways:
        mention = Mention(**{name: getattr(wanted, name) for name in names})
        if not any(mention.fits(rival) for rival in rivals):
            return noun_phrase(mention, rng, article="the")
    raise ValueError(f"No name tells {thing} from the others of {scene}.")  # impossible: places are unique


def _command(edit: Edit, it: str, rng: Random, new: Mention | None) -> str:
    words: dict[str, str] = {"it": it}
    if edit.action == "sky":
        forms, words["sky"] = SKY_CHANGES, choose(SKY_IS[edit.value], rng).removeprefix("it is ")
    elif edit.action == "ground":
        forms, words["ground"] = GROUND_CHANGES, choose(GROUND_PLACES[edit.value], rng)
    elif edit.action == "appear":
        forms, words["new"] = APPEARINGS, noun_phrase(new or Mention.of(edit.after), rng)
    elif edit.action == "turn":
        forms = TURNS[edit.after.pose]
    elif edit.action == "pattern":
        forms = PATTERN_CHANGES[edit.after.pattern]
    elif edit.action == "move":
        step = (edit.after.column - edit.before.column, edit.after.row - edit.before.row)
        way = WAYS.get(step) if rng.random() < 0.6 else None
        forms = MOVES
        words["place"] = place_name(*edit.after.place)
        if way:
            forms = STEPS if way in ("left", "right") else STEPS[:1]
            words["way"] = way
    elif edit.action == "recolour":
        forms, words["colour"] = COLOURINGS, edit.after.colour
    elif edit.action == "leave":
        forms = LEAVINGS
    else:
        forms, words["size"] = RESIZES, edit.after.size
        order = list(SIZES)
        if abs(order.index(edit.after.size) - order.index(edit.before.size)) == 1:  # "bigger" is the next size
            forms += GROWS if edit.action == "grow" else SHRINKS
    return rng.choice(forms).format(**words)


def instruction(
    scene: Scene, edits: Sequence[Edit], rng: Random, *, keep: bool | None = None, new: Mention | None = None
) -> str:
    """The edits as an order in words. `keep` forces or forbids the form that says what stays (None: now and then).

    `new` names a new thing less fully than it is ("add a cat"); all else is always said exactly.
    """
    parts = []
    for number, edit in enumerate(edits):
        it = ""
        if edit.before is not None:
            it = (
                "it"
                if number and edits[number - 1].after == edit.before
                else reference_to(_first(edits, edit), scene, rng)
            )
        parts.append(_command(edit, it, rng, new))
    order = rng.choice(JOINS).join(parts)
    if keep or (keep is None and rng.random() < 0.3):
        return _with_keep(scene, edits, order, rng)
    return rng.choice(POLITE) + order


def _first(edits: Sequence[Edit], edit: Edit) -> Thing:
    """The thing of an edit as it was before the first of the edits."""
    thing = edit.before
    for earlier in reversed(edits[: edits.index(edit)]):
        if earlier.after == thing and earlier.before is not None:
            thing = earlier.before
    return thing


def _with_keep(scene: Scene, edits: Sequence[Edit], order: str, rng: Random) -> str:
    kept = untouched(scene, edits)
    if not kept:
        return order
    some = rng.sample(kept, min(len(kept), rng.randint(1, 2)))
    names = " and ".join(reference_to(thing, scene, rng) for thing in some)
    if rng.random() < 0.5:
        return rng.choice(KEEPS_FIRST).format(kept=names) + order
    return order + rng.choice(KEEPS_LAST).format(kept=names)


def untouched(scene: Scene, edits: Sequence[Edit]) -> list[Thing]:
    """The things of the scene that no edit changes."""
    return [thing for thing in scene.things if not any(edit.before == thing for edit in edits)]


def statement(scene: Scene, edits: Sequence[Edit]) -> str:
    """What changed since `scene`, as canonical words: "the cat became black and now it is night"."""
    parts = []
    for edit in edits:
        words: dict[str, str] = {}
        if edit.before is not None:
            words["it"] = reference_to(_first(edits, edit), scene)
        if edit.after is not None:
            words["place"] = place_name(*edit.after.place)
            words["colour"], words["size"] = edit.after.colour, edit.after.size
            words["pose"], words["pattern"] = edit.after.pose, edit.after.pattern
            words["new"] = noun_phrase(Mention.of(edit.after))
        if edit.value is not None:
            words["ground"], words["sky"] = GROUND_PLACES.get(edit.value, ("",))[0], SKY_IS.get(edit.value, ("",))[0]
        parts.append(STATEMENTS[edit.action].format(**words))
    return " and ".join(parts) if parts else "nothing"
