"""How the next word is chosen: greedy or seeded, with one scale from faithful to daring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import WeGenError

LEAST_TOP_P = 0.15
"""Of the creativity scale: keeps the likeliest word alone nearly everywhere."""


LIKELY = (2.0**-10, 2.0**-20, 0.0)
"""How likely words are that the next one is looked for among, as a share of the likeliest: more only where needed."""


@dataclass(frozen=True)
class TextSampling:
    """How the next word is chosen. `temperature` 0 takes the likeliest; `top_p` in (0, 1] cuts the unlikely tail."""

    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self):
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise WeGenError(f"Temperature is {self.temperature}; it must be 0 or more.")
        if not 0 < self.top_p <= 1:
            raise WeGenError(f"top_p is {self.top_p}; it must be above 0 and at most 1.")

    @classmethod
    def from_creativity(
        cls, creativity: float, temperature: float | None = None, top_p: float | None = None
    ) -> TextSampling:
        """One scale for both: 0 always takes the likeliest word, 1 dares unlikely ones.

        Sixteen pictures hardly differ more at a top-p of 0.7 than at 1: the scale spends most of itself below that.

        Args:
            creativity: from 0 to 1.
            temperature, top_p: in place of what the scale says; None follows it.
        """
        if not 0 <= creativity <= 1:
            raise WeGenError(f"Creativity is {creativity}; it must be from 0 to 1.")
        return cls(
            temperature=(0.5 + 0.5 * creativity**2 if creativity else 0.0) if temperature is None else temperature,
            top_p=LEAST_TOP_P + (1 - LEAST_TOP_P) * creativity**3 if top_p is None else top_p,
        )

    def choose(self, logits: Tensor, generators: Sequence[torch.Generator]) -> list[int]:
        """For each row of `[B, vocab]` logits an index; one uniform number of the row's own generator decides.

        That happens on the CPU on any device, and for each row as if it were alone.

        Raises:
            WeGenError: the logits hold no number to choose by, because the model overflowed.
        """
        best = logits.amax(-1, keepdim=True)
        if not best.isfinite().all():
            raise WeGenError(
                f"The language model computed {float(best[~best.isfinite()][0])} instead of numbers. Its precision is "
                "too low or its weights are damaged: load it in bf16 or fp32."
            )
        if self.temperature == 0:
            return logits.argmax(-1).tolist()
        # Row by row: what is computed for one stays in the processor's cache.
        return [
            self._choose(row, float(torch.rand(1, generator=generator, dtype=torch.float64)))
            for row, generator in zip(logits.cpu(), generators, strict=True)
        ]

    def _choose(self, logits: Tensor, draw: float) -> int:
        """The index among `[vocab]` logits that a number in 0..1 decides on."""
        # Counted from the likeliest word, so that no temperature is too small to divide by.
        exact = logits.to(torch.float64, copy=True)
        probabilities = exact.sub_(exact.amax()).div_(self.temperature).softmax(-1)
        # Sorting 64 rows of 32,330 words took as long as a step of a large language model. The likely ones are as well
        # sorted without the others, words that are equally likely too, as long as no other word is asked for.
        for least in LIKELY:
            words = (probabilities >= least * probabilities.amax()).nonzero()[:, 0]
            found, order = probabilities[words].sort(descending=True, stable=True)
            place = self._place(found, probabilities, draw)
            if place is not None:
                break
        return int(words[order[place]])

    def _place(self, found: Tensor, probabilities: Tensor, draw: float) -> int | None:
        """Which of the likeliest words, in order, is chosen; None where it may be one of those that are not there."""
        whole = len(found) == len(probabilities)
        reached = found.cumsum(-1)
        last = int((reached - found < self.top_p).sum()) - 1
        if self.top_p < 1 and not whole and last == len(found) - 1:
            return None
        cut = reached[last] if self.top_p < 1 or whole else probabilities.sum()
        place = int(torch.searchsorted(reached, draw * cut, right=True))
        if place > last and not whole and self.top_p == 1:
            return None
        return min(place, last)


def seeded(seed: int, index: int = 0) -> torch.Generator:
    """A CPU generator of its own for member `index` of a batch: member k of seed s equals member 0 of seed s + k."""
    return torch.Generator().manual_seed((seed + index) % 2**64)
