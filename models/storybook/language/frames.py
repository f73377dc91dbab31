"""Which frames a model learns from, and which it is only tested with.

What is tested must be new: a frame that `edits`, `questions` and `wishes` say as well, or that begins or ends with what
is put around other frames, is not held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from random import Random

from .. import edits, questions, wishes
from .manners import AFTER, BEFORE

TRAINED, HELD_OUT = "trained", "held out"
PARTS = (TRAINED, HELD_OUT)
ONE_IN = 5


@cache
def is_held_out(frame: str) -> bool:
    """Whether a frame is never trained on: every fifth one, by the hash of its text, but what others say."""
    if int(hashlib.sha256(frame.encode()).hexdigest()[:8], 16) % ONE_IN:
        return False
    forms = (frame, frame.removesuffix("?"))
    return not any(form in _canonical() or form.startswith(BEFORE) or form.endswith(AFTER) for form in forms)


@cache
def _canonical() -> frozenset[str]:
    """All sentences of the grammar that makes the other samples, and parts of them."""
    keeping = (*(f"{keep}{{order}}" for keep in edits.KEEPS_FIRST), *(f"{{order}}{keep}" for keep in edits.KEEPS_LAST))
    return frozenset(_strings((edits.PHRASES, questions.PHRASES, wishes.PHRASES, keeping)))


def _strings(tree: object) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Iterable):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _strings(branch)


@cache
def part_of(frames: tuple[str, ...], part: str) -> tuple[str, ...]:
    """The frames of a table that belong to a part."""
    if part not in PARTS:
        raise ValueError(f"Unknown part {part!r}. Expected one of: {', '.join(PARTS)}.")
    return tuple(frame for frame in frames if is_held_out(frame) == (part == HELD_OUT))


def choose(frames: Sequence[str], part: str, rng: Random) -> str:
    """One frame of a part. Raises ValueError where a table has none of it."""
    possible = part_of(tuple(frames), part)
    if not possible:
        raise ValueError(f"None of these {len(frames)} frames is {part}.")
    return rng.choice(possible)
