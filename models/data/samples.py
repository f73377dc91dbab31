"""One training sample: an ordered, interleaved list of texts and pictures, with flags that tell inputs from targets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

ROLES = ("user", "assistant")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValueError(f"Unknown role {role!r}. Expected one of: {', '.join(ROLES)}.")


@dataclass(frozen=True)
class Text:
    """Words of one speaker. `target` says that a model learns to write them. `task` names the template by which a
    user's words are put; empty where the answer tells which."""

    text: str
    role: str
    target: bool = False
    task: str = ""

    def __post_init__(self):
        _check_role(self.role)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture where it stands in the conversation: uint8 [height, width, 3]. `target`: a model learns to draw it.

    `instance_map`, where it is known: uint8 [height, width], which instance is seen where; 0 where there is none.
    """

    pixels: np.ndarray
    role: str
    target: bool = False
    instance_map: np.ndarray | None = None

    def __post_init__(self):
        _check_role(self.role)
        shape, kind = self.pixels.shape, self.pixels.dtype
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"A picture is uint8 of shape [height, width, 3], got {kind} of shape {list(shape)}.")
        found = self.instance_map
        if found is not None and (found.dtype != np.uint8 or found.shape != shape[:2]):
            raise ValueError(
                f"The instance map of this picture is uint8 of shape {list(shape[:2])}, got {found.dtype} of shape "
                f"{list(found.shape)}."
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Picture):
            return NotImplemented
        same = (self.role, self.target) == (other.role, other.target)
        return same and _equal(self.pixels, other.pixels) and _equal(self.instance_map, other.instance_map)

    def __hash__(self) -> int:
        return hash((self.role, self.target, self.pixels.tobytes()))


def _equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


@dataclass(frozen=True)
class Forgotten:
    """A picture that an assistant drew here and that has left the conversation since: its words remain.

    `target`: a model learns that a picture begins here, though it never sees it.
    """

    role: str = "assistant"
    target: bool = False

    def __post_init__(self):
        _check_role(self.role)


Part = Text | Picture | Forgotten


@dataclass(frozen=True)
class Sample:
    """`parts` in the order in which a model reads and writes them. `record` is JSON: the truth that judges need.

    A turn is a run of parts of one role. In an assistant turn the words (the rewrite) come before the picture.
    """

    task: str
    parts: tuple[Part, ...]
    record: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def turns(self) -> tuple[tuple[str, tuple[Part, ...]], ...]:
        """(role, parts) of every turn, in order."""
        return tuple((role, tuple(parts)) for role, parts in groupby(self.parts, key=lambda part: part.role))

    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for part in self.parts if isinstance(part, Picture))

    def without_rewrites(self) -> "Sample":
        """The same sample where the assistant draws at once, without saying first what it will draw."""
        parts: list[Part] = []
        for role, turn in self.turns():
            draws = role == "assistant" and any(isinstance(part, Picture) for part in turn)
            parts += [part for part in turn if not (draws and isinstance(part, Text))]
        return replace(self, parts=tuple(parts))


def said_in(text: str, name: str) -> re.Match[str] | None:
    """Where a text first has `name` as a word of its own, or as a plural in -s, in capitals or not."""
    return re.search(rf"(?<!\w){re.escape(name)}(?:e?s)?(?!\w)", text, re.IGNORECASE)


def is_said(name: str, text: str) -> bool:
    """Whether a text has `name` as a word of its own, or as a plural in -s, in capitals or not."""
    return said_in(text, name) is not None


def mentions(sample: Sample, name: str) -> bool:
    """Whether anybody says `name` in a sample."""
    return any(is_said(name, part.text) for part in sample.parts if isinstance(part, Text))
