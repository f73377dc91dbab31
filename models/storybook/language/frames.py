"""Which frames a model learns from, and which it is only tested with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from random import Random

TRAINED, HELD_OUT = "trained", "held out"
PARTS = (TRAINED, HELD_OUT)
ONE_IN = 5


@cache
def is_held_out(frame: str) -> bool:
    """Whether a frame is never trained on: every fifth one, by the hash of its text."""
    return int(hashlib.sha256(frame.encode()).hexdigest()[:8], 16) % ONE_IN == 0


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
