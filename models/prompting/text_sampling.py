"""How the next word is chosen: greedy or seeded, with one scale from faithful to daring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..checkpoints.wegen import require_finite
from ..errors import WeGenError

LEAST_TOP_P = 0.15
"""Of the creativity scale: keeps the likeliest word alone nearly everywhere."""


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
        require_finite(logits.amax(-1), "language model")
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
        # Only their sizes are sorted, which NumPy does twenty times as fast as sorting words along with them.
        ordered = torch.from_numpy(np.sort(probabilities.numpy())[::-1].copy())
        reached = ordered.cumsum(-1)
        last = int((reached - ordered < self.top_p).sum()) - 1
        place = min(int(torch.searchsorted(reached, draw * reached[last], right=True)), last)
        # Of words that are equally likely, the first comes first.
        number = place - int((ordered[:place] > ordered[place]).sum())
        return int((probabilities == ordered[place]).nonzero()[number])


def seeded(seed: int, index: int = 0) -> torch.Generator:
    """A CPU generator of its own for member `index` of a batch: member k of seed s equals member 0 of seed s + k."""
    return torch.Generator().manual_seed((seed + index) % 2**64)
