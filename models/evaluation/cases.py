"""What an evaluation gathers: single cases with their marks, and the shares that they add up to."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Case:
    """One thing that was tried.

    Attributes:
        pictures: uint8 `[H, W, 3]`, what was given first and what was made last.
        asked: what was wanted, in words.
        answered: what was read or answered, in words.
        marks: name of a measurement -> what was right and wrong in this case; may be empty lists.
    """

    pictures: tuple[np.ndarray, ...]
    asked: str
    answered: str
    marks: Mapping[str, Sequence[bool]] = field(default_factory=dict)

    def wrong(self) -> list[str]:
        """The measurements in which something was wrong, without the behaviour's name before them."""
        return [name.split("/", 1)[-1] for name, marks in self.marks.items() if not all(marks)]

    def passed(self, names: Container[str]) -> bool:
        """Whether everything was right in those measurements."""
        return all(all(marks) for name, marks in self.marks.items() if name in names)


def shares(cases: Iterable[Case]) -> dict[str, float]:
    """The share of right marks for each measurement, 0..1, in the order in which measurements first come up."""
    gathered: dict[str, list[bool]] = {}
    for case in cases:
        for name, marks in case.marks.items():
            gathered.setdefault(name, []).extend(marks)
    return {name: sum(marks) / len(marks) for name, marks in gathered.items() if marks}
