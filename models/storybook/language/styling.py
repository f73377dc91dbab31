"""Orders and wishes that mention a picture whose style is meant."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from .frames.styling import PICTURES
from .held_out import TRAINED, choose
from .typing import uttered

LIKE = "style"
"""The name under which texts mention the picture whose style is meant, as in "@style"."""


def in_style_of(frames: Sequence[str], rng: Random, part: str = TRAINED, things: str = "") -> str:
    """An order of `ORDERS_LIKE`, or a wish of `WISHES_LIKE` for `things`, that mentions the picture as "@style"."""
    like = f"{rng.choice(PICTURES)}@{LIKE}"
    return uttered(choose(frames, part, rng).format(like=like, things=things), rng)
