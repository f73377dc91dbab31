"""What a LoRA does to all else: the same cases without it and with it, compared one by one."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .cases import Case

Marks = Mapping[str, Sequence[bool]]
MOST_LOST = 0.02
"""What other behaviours may lose."""
OK, UNCLEAR, MISSED = "ok", "unclear", "MISSED"


class Change(NamedTuple):
    """One measurement without and with a LoRA.

    Attributes:
        cases: in which it was measured both times.
        before, after: the shares of 0..1 that were right, without the LoRA and with it.
        error: standard error of the difference, from the differences of the single cases.
    """

    cases: int
    before: float
    after: float
    error: float

    @property
    def lost(self) -> float:
        """Negative where something was won."""
        return self.before - self.after

    @property
    def verdict(self) -> str:
        """It is unclear where more was lost than may be, but no more than the standard error above it."""
        if self.lost <= MOST_LOST + 1e-9:
            return OK
        return MISSED if self.lost - self.error > MOST_LOST else UNCLEAR


def compare(before: Sequence[Marks], after: Sequence[Marks], names: Iterable[str]) -> dict[str, Change]:
    """The measurements of those names that both have, from the marks of the same cases in the same order.

    A case with several marks of one name counts as one, with the share of them that is right.
    """
    found = {}
    for name in names:
        pairs = [
            (sum(one[name]) / len(one[name]), sum(other[name]) / len(other[name]))
            for one, other in zip(before, after, strict=True)
            if one.get(name) and other.get(name)
        ]
        if pairs:
            lost = [one - other for one, other in pairs]
            error = statistics.stdev(lost) / math.sqrt(len(lost)) if len(lost) > 1 else 0.0
            found[name] = Change(len(pairs), *(statistics.fmean(column) for column in zip(*pairs, strict=True)), error)
    return found


def remembered(file: Path | None, measure: Callable[[], Sequence[Case]]) -> list[Marks]:
    """The marks of a file or, where there is none yet, those that are measured now and written to it."""
    if file is not None and file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    marks = [{name: list(map(bool, values)) for name, values in case.marks.items()} for case in measure()]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".part")
        beside.write_text(json.dumps(marks), encoding="utf-8")
        beside.replace(file)
    return marks


def digest(files: Iterable[Path], *about: object) -> str:
    """A name for what the files hold, in their order, and what else matters."""
    total = hashlib.sha256(repr(about).encode())
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]
