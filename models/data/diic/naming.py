"""Names that the user gives: the same for all clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .clip import Clip
from .stage import StageError


@dataclass(frozen=True)
class NamesGiven:
    """Looks for the same things in all clips. Raises StageError where there is no name."""

    names: tuple[str, ...]
    name: str = "name"

    def __post_init__(self):
        if not self.names or not all(isinstance(one, str) and one.strip() for one in self.names):
            raise StageError(f"The names of things to look for are words, at least one, got {list(self.names)}.")

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [replace(clip, names=self.names) for clip in clips]
