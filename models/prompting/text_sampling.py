"""How the next word is chosen: greedy or seeded, with one scale from faithful to daring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import WeGenError

LEAST_TOP_P = 0.15
"""Of the creativity scale: keeps the likeliest word alone nearly everywhere."""


LIKELIEST = (512, 8192)
"""Words of a large vocabulary among which the next one nearly always is, and is where many are about as likely."""


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
        # Counted from the likeliest word, so that no temperature is too small to divide by.
        probabilities = ((logits.double() - best.double()).cpu() / self.temperature).softmax(-1)
        draws = torch.stack([torch.rand(1, generator=generator, dtype=torch.float64) for generator in generators])
        chosen: list[int | None] = [None] * len(draws)
        ways: list[Callable[[Tensor, Tensor], Sequence[int | None]]]
        ways = [partial(self._among_likeliest, most=most) for most in LIKELIEST if most < probabilities.shape[-1]]
        ways.append(self._among_all)
        for way in ways:
            rows = [row for row, index in enumerate(chosen) if index is None]
            if not rows:
                break
            for row, found in zip(rows, way(probabilities[rows], draws[rows]), strict=True):
                chosen[row] = found
        return [index for index in chosen if index is not None]

    def _among_all(self, probabilities: Tensor, draws: Tensor) -> list[int]:
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        reached = probabilities.cumsum(-1)
        last = (reached - probabilities < self.top_p).sum(-1, keepdim=True) - 1
        places = torch.searchsorted(reached, draws * reached.gather(-1, last), right=True)
        return order.gather(-1, places.minimum(last))[:, 0].tolist()

    def _among_likeliest(self, probabilities: Tensor, draws: Tensor, most: int) -> list[int | None]:
        """What `_among_all` chooses, without sorting all words; None where that takes more than `most` of them.

        Sorting 64 rows of 32,330 words took as long as a step of a large language model.
        """
        # By number first, so that the stable sort puts equally likely words in the order of the whole vocabulary.
        order = probabilities.topk(most, sorted=False).indices.sort(-1).values
        found, places = probabilities.gather(-1, order).sort(dim=-1, descending=True, stable=True)
        order = order.gather(-1, places)
        reached = found.cumsum(-1)
        # Words as likely as the last of these may be missing here, so it and its equals decide nothing.
        certain = found > found[:, -1:]
        inside = reached - found < self.top_p
        last = inside.sum(-1, keepdim=True) - 1
        cut = reached.gather(-1, last)
        whole = certain.gather(-1, last) & (last < most - 1)
        if self.top_p == 1:  # nothing is cut: all words together
            cut, whole = probabilities.sum(-1, keepdim=True), torch.ones_like(whole)
            last = torch.full_like(last, most - 1)
        places = torch.searchsorted(reached, draws * cut, right=True).minimum(last)
        known = (whole & certain.gather(-1, places))[:, 0].tolist()
        indices = order.gather(-1, places)[:, 0].tolist()
        return [index if sure else None for index, sure in zip(indices, known, strict=True)]


def seeded(seed: int, index: int = 0) -> torch.Generator:
    """A CPU generator of its own for member `index` of a batch: member k of seed s equals member 0 of seed s + k."""
    return torch.Generator().manual_seed((seed + index) % 2**64)
