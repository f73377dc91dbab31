"""What an order makes of the picture before, as far as its words tell: the reading side of `edits.instruction`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .captions import parse_caption
from .catalogue import COLOURS, COLUMNS, ROWS
from .edits import COLOURINGS, GROUND_CHANGES, GROWS, LEAVINGS, MOVES, SHRINKS, SKY_CHANGES, STEPS, TURNS, WAYS
from .naming import Mention, Named

_CLAUSES = re.compile(r"[,;.!?]| and then | then | and | but ")
_POLITE = re.compile(r"^(?:(?:please|now|also|then)\s+)+")
_APPEAR = re.compile(
    r"^(?:add|draw|put in|let .* appear)\b|^put (?!the\b|it\b|everything\b|spots\b|stripes\b)|^put\b.*@"
)
_MENTION = re.compile(r"@[\w-]+")
_KEEP = re.compile(r"^(?:keep|leave|change nothing)\b")
_VERB = re.compile(
    r"^(?:add|draw|put|let|keep|leave|remove|take|delete|make|move|turn|change|paint|light|no|wake|stop|open|close)\b"
    r"|\bshould\b"
)
# "change the ground, now in the snow" is said in two clauses, the second of which says it all.
_ANNOUNCEMENTS = frozenset(form.split(",")[0] for form in (*GROUND_CHANGES, *SKY_CHANGES) if "," in form)
_SLOTS = {
    "it": r"(?P<it>the .+?|it)",
    "colour": f"(?P<colour>{'|'.join(COLOURS)})",
    "place": f"(?P<row>{'|'.join(ROWS)}) (?P<column>{'|'.join(sorted(COLUMNS, key=len, reverse=True))})",
    "way": f"(?P<way>{'|'.join(WAYS.values())})",
}
_STEP = {way: step for step, way in WAYS.items()}


class Outcome(NamedTuple):
    """What must be there after an order."""

    named: Named
    """Things, ground and sky; what the order leaves open is left out."""
    certain: bool
    """Whether every clause was understood, so that nothing else can be there."""


@dataclass
class _Reading:
    """The things of the picture before with what becomes of them (None: gone), and all that is new."""

    shown: tuple[Mention, ...]
    now: list[Mention | None]
    open: set[int] = field(default_factory=set)
    added: list[Mention] = field(default_factory=list)
    target: int | None = None
    certain: bool = True
    all_open: bool = False

    def find(self, words: str) -> int | None:
        """The one thing that words such as "the red cat" or "it" mean; None where it could be several, or none."""
        if words == "it":
            return self.target
        mentions = parse_caption(words).things
        if len(mentions) != 1:
            return None
        found = [number for number, thing in enumerate(self.shown) if mentions[0].fits(thing)]
        return found[0] if len(found) == 1 else None

    def leave_open(self, clause: str) -> None:
        """A clause that was not understood may mean any thing of the kinds it names; without a kind, all of it."""
        self.certain = False
        kinds = {thing.kind for thing in parse_caption(clause).things}
        self.all_open |= not kinds or None in kinds
        self.open |= {number for number, thing in enumerate(self.shown) if thing.kind in kinds}


def outcome(order: str, shown: Named, fixed: Collection[int] = ()) -> Outcome:
    """Read an order that changes a picture.

    Args:
        order: such as "remove the house and keep the cat"; `@name` stands for a picture.
        shown: what the picture before shows, as far as it is known.
        fixed: numbers of shown things that no unclear order means.
    """
    reading = _Reading(shown.things, list(shown.things))
    ground, sky, settings_named = shown.ground, shown.sky, False
    verb: Callable[[_Reading, str], None] | None = None
    for clause in filter(None, (_POLITE.sub("", part.strip()) for part in _CLAUSES.split(order.lower()))):
        said = parse_caption(clause)
        if (said.ground or said.sky) and not said.things:
            ground, sky, settings_named = said.ground or ground, said.sky or sky, True
            continue
        if clause in _ANNOUNCEMENTS:
            continue
        # A clause without a verb goes on with the one before it: "keep the cat and the house".
        verb = _verb(clause) if verb is None or _VERB.search(clause) else verb
        verb(reading, clause)
    opened = range(len(shown.things)) if reading.all_open else reading.open
    stayed = [
        thing for number, thing in enumerate(reading.now)
        if thing is not None and (number in fixed or number not in opened)
    ]  # fmt: skip
    if reading.all_open and not settings_named:
        ground = sky = None
    return Outcome(Named((*stayed, *reading.added), ground, sky), reading.certain)


def _verb(clause: str) -> Callable[[_Reading, str], None]:
    if _KEEP.search(clause):
        return _keep
    return _appear if _APPEAR.search(clause) else _change


def _keep(reading: _Reading, clause: str) -> None:
    """Kept things are what they were; nothing else is said by that."""


def _appear(reading: _Reading, clause: str) -> None:
    # A thing whose picture stands between the words may have no name of its own.
    reading.added += parse_caption(_MENTION.sub(" ", clause)).things or (Mention(),)


def _change(reading: _Reading, clause: str) -> None:
    for pattern, change in _CHANGES:
        match = pattern.fullmatch(clause)
        number = reading.find(match["it"]) if match else None
        if number is None:
            continue
        thing = reading.now[number]
        changed = None if thing is None else change(thing, match)
        if changed is not None or change is _gone:
            reading.now[number], reading.target = changed, number
            return
    reading.leave_open(clause)


def _gone(thing: Mention, match: re.Match) -> None:
    return None


def _coloured(thing: Mention, match: re.Match) -> Mention:
    return replace(thing, colour=match["colour"])


def _moved(thing: Mention, match: re.Match) -> Mention:
    return replace(thing, row=ROWS.index(match["row"]), column=COLUMNS.index(match["column"]))


def _stepped(thing: Mention, match: re.Match) -> Mention | None:
    if thing.row is None or thing.column is None:
        return None
    columns, rows = _STEP[match["way"]]
    column, row = thing.column + columns, thing.row + rows
    inside = 0 <= column < len(COLUMNS) and 0 <= row < len(ROWS)
    return replace(thing, column=column, row=row) if inside else None


def _sized(size: str) -> Callable[[Mention, re.Match], Mention]:
    return lambda thing, match: replace(thing, size=size)


def _posed(pose: str) -> Callable[[Mention, re.Match], Mention]:
    return lambda thing, match: replace(thing, pose=pose)


def _patterns(forms: Iterable[str], change: Callable) -> list[tuple[re.Pattern, Callable]]:
    return [(re.compile(form.format(**_SLOTS)), change) for form in forms]


_CHANGES = [
    *_patterns(LEAVINGS, _gone),
    *_patterns(COLOURINGS, _coloured),
    *_patterns(MOVES, _moved),
    *_patterns(STEPS, _stepped),
    *_patterns(GROWS, _sized("big")),
    *_patterns(SHRINKS, _sized("small")),
    *(one for pose, forms in TURNS.items() for one in _patterns(forms, _posed(pose))),
]
