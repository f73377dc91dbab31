"""Which frames a model learns from, and which it is only tested with.

What is tested must be new: a frame that `edits`, `questions` and `wishes` say as well, or that begins or ends with what
is put around other frames, is not held out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from random import Random

from .. import captions, edits, questions, wishes
from .frames.manners import AFTER, BEFORE

TRAINED, HELD_OUT = "trained", "held out"
PARTS = (TRAINED, HELD_OUT)
ONE_IN = 5
_ABOUT_ONE = (
    ("{them} are ", "{it} is "), ("{them} aren't ", "{it} isn't "), ("{them} have ", "{it} has "),
    ("{them} need ", "{it} needs "), ("{them} don't ", "{it} doesn't "), ("{them} bother ", "{it} bothers "),
    ("{them} look ", "{it} looks "), ("why are {them}", "why is {it}"), ("{them}", "{it}"), (" them", " it"),
)  # fmt: skip
"""What turns an order on several things into the same one on a single thing."""
_SIGNS = re.compile(r"[,.;:!?-]")


@cache
def is_held_out(frame: str) -> bool:
    """Whether a frame is never trained on: every fifth one, by the hash of its text, but what others say.

    One about several things (`{them}`) is held out with the same one about a single thing (`{it}`): whoever has learned
    one of them knows the other.
    """
    for several, one in _ABOUT_ONE:
        frame = frame.replace(several, one)
    if int(hashlib.sha256(frame.encode()).hexdigest()[:8], 16) % ONE_IN:
        return False
    forms = (frame, frame.removesuffix("?"))
    return not any(form in _canonical() or form.startswith(BEFORE) or form.endswith(AFTER) for form in forms)


@cache
def _canonical() -> frozenset[str]:
    """All sentences of the grammar that makes the other samples, and parts of them."""
    keeping = (*(f"{keep}{{order}}" for keep in edits.KEEPS_FIRST), *(f"{{order}}{keep}" for keep in edits.KEEPS_LAST))
    opened = [f"{opening}{{things}}" for opening in captions.OPENINGS]
    return frozenset(_strings((edits.PHRASES, questions.PHRASES, wishes.PHRASES, keeping, opened)))


def _strings(tree: object) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Iterable):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _strings(branch)


@cache
def part_of(frames: tuple[str, ...], part: str) -> tuple[str, ...]:
    """The frames of a table that belong to a part. Those that differ in signs alone ("{first} then {second}" and one
    with a comma) are trained on where one of them is."""
    if part not in PARTS:
        raise ValueError(f"Unknown part {part!r}. Expected one of: {', '.join(PARTS)}.")
    learned = {_without_signs(frame) for frame in frames if not is_held_out(frame)}
    return tuple(frame for frame in frames if (_without_signs(frame) not in learned) == (part == HELD_OUT))


def _without_signs(frame: str) -> str:
    return " ".join(_SIGNS.sub(" ", frame.replace("'", "")).split())


def choose(frames: Sequence[str], part: str, rng: Random) -> str:
    """One frame of a part. Raises ValueError where a table has none of it."""
    possible = part_of(tuple(frames), part)
    if not possible:
        raise ValueError(f"None of these {len(frames)} frames is {part}.")
    return rng.choice(possible)
