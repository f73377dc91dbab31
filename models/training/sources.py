"""Where a training takes its samples from: shards, several of them mixed, in an order that numbers alone fix."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..data import Sample, mentions, read_index, stream
from .recipe import RecipeError, build

BEGINNING = 2**20
"""Bytes of a shard by which it is told from others."""


@dataclass(frozen=True)
class DataOptions:
    """One folder of shards that a recipe names.

    Attributes:
        shards: the folder, relative to the recipe.
        weight: its share among the recipe's folders.
        keep: these samples are not learned: on them a LoRA is held to what the model does without it.
        without: samples in whose words this occurs are left out: what a LoRA names must not stay as it is.
    """

    shards: str
    weight: float = 1.0
    keep: bool = False
    without: str = ""

    def __post_init__(self):
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise RecipeError(f"The weight of {self.shards!r} is {self.weight}; it must be above 0.")


class Source(Protocol):
    """An endless sequence of samples."""

    def described(self) -> dict[str, Any]:
        """JSON that is equal where all samples are."""

    def samples(self, first: int, count: int) -> list[Sample]:
        """Samples `first` ... `first + count - 1`, or those of them that are of use; the same at every call."""


@dataclass(frozen=True)
class ShardSource:
    """The samples of a folder of shards, shuffled anew in each pass, without those that name `without`."""

    folder: Path
    seed: int
    without: str = ""

    def __post_init__(self):
        read_index(self.folder)  # raises for a bad folder before anything is computed

    def described(self) -> dict[str, Any]:
        return {"content": digest(self.folder), "without": self.without}

    def samples(self, first: int, count: int) -> list[Sample]:
        found = islice(stream(self.folder, self.seed, first), count)
        return [sample for sample in found if not (self.without and mentions(sample, self.without))]


def digest(folder: Path) -> str:
    """A few letters that tell the content of one folder of shards from that of others, wherever it stands.

    Sizes of all shards, and the beginning of the first one: shards may be larger than what one wants to read for that.
    """
    shards = read_index(folder)
    found = hashlib.blake2b(digest_size=8)
    with open(shards[0][0], "rb") as first:
        found.update(first.read(BEGINNING))
    for path, count in shards:
        found.update(f"{path.name}/{count}/{path.stat().st_size}".encode())
    return found.hexdigest()


class Drawn(NamedTuple):
    """One sample of a mixture."""

    sample: Sample
    number: int
    """Its place in the endless sequence: what noise is seeded with."""
    keep: bool


class Mixture:
    """Several sources in fixed shares, cut into pools of equal size.

    Args:
        parts: source, weight, and whether its samples are only kept.
    """

    def __init__(self, parts: Sequence[tuple[Source, float, bool]]):
        if not parts:
            raise RecipeError('The recipe names no data: write "data": [{"shards": FOLDER}].')
        self.parts = tuple(parts)
        total = sum(weight for _, weight, _ in parts)
        self.bounds = [sum(weight for _, weight, _ in parts[: n + 1]) / total for n in range(len(parts))]
        self.bounds[-1] = 1.0
        self.keeps = any(keep for _, _, keep in parts)

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]], folder: Path, seed: int, file: str) -> Mixture:
        """The mixture that a recipe's "data" describes; folders in it are relative to `folder`."""
        options = [build(DataOptions, entry, f"{file}: data") for entry in entries]
        return cls([(ShardSource(folder / one.shards, seed, one.without), one.weight, one.keep) for one in options])

    def described(self) -> list[dict[str, Any]]:
        """Its parts, as JSON: equal where all its samples are."""
        return [{**source.described(), "weight": weight, "keep": keep} for source, weight, keep in self.parts]

    def pool(self, number: int, size: int) -> list[Drawn]:
        """Pool `number` of `size` samples: every source has its share in each, as exactly as whole numbers allow.

        It is smaller where a source leaves samples out.
        """
        drawn: list[Drawn] = []
        for index, (source, _, keep) in enumerate(self.parts):
            first, end = self._taken(index, number * size), self._taken(index, (number + 1) * size)
            for sample in source.samples(first, max(0, end - first)):
                drawn.append(Drawn(sample, number * size + len(drawn), keep))
        return drawn

    def _taken(self, index: int, total: int) -> int:
        """How many of the first `total` samples come from source `index`."""
        before = math.floor(total * self.bounds[index - 1]) if index else 0
        return math.floor(total * self.bounds[index]) - before
