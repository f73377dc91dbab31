"""What every training stage is: a module whose forward gives losses, and batches that depend on numbers alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn


class Stage(nn.Module, ABC):
    """One stage of training. Parameters that ask for gradients are trained; the rest is frozen and not saved."""

    blocks: ClassVar[tuple[str, ...]] = ()
    """Class names of the repeated modules: what is sharded over devices, and recomputed on the way back, one by one."""

    processes: int = 1
    """How many processes share a step, for stages that sort the samples of one among themselves; the loop sets it."""
    accumulate: int = 1
    """In how many batches, one after the other, each of them takes its share of a step; the loop sets it."""
    built_on: Mapping[str, Any] = MappingProxyType({})
    """What it learns with and nobody may exchange on the way, by name, as JSON; whoever makes the stage sets it."""

    @abstractmethod
    def batch(self, first: int, count: int) -> Any:
        """Samples `first` ... `first + count - 1` of the endless sequence, on the CPU; the same at every call.

        Stages that have `counts` may deal out the samples of a step anew, and give None to all processes where earlier
        batches of the step hold all.
        """

    def counts(self, batch: Any) -> Tensor | None:
        """How much of each kind a batch has, `[N]`, where losses are sums divided by that; None where they are means.

        The loop adds the counts of all batches of a step, over all processes, and gives them to `forward`: so that it
        makes no difference how a step is spread.
        """
        return None

    @abstractmethod
    def forward(self, batch: Any, counts: Tensor | None = None) -> Mapping[str, Tensor]:
        """Scalar losses by name; "total" is the one that is minimised.

        Args:
            batch: what `batch` made, on the device.
            counts: to divide by, for stages that have `counts`; default those of the batch itself.
        """

    def sources(self) -> Mapping[str, Any]:
        """What decides, beside the recipe's seed, which samples there are, as JSON: a run goes on with no others."""
        return {}

    def sheet(self) -> Image.Image | None:
        """A picture that shows what the stage can do by now, from held-out samples; None where there is none to see."""
        return None

    def measure(self) -> Mapping[str, float]:
        """Numbers on held-out samples for the log, taken whenever a sheet is drawn."""
        return {}

    def trained(self) -> dict[str, nn.Parameter]:
        """Names and parameters that training changes."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def hidden_matrices(self) -> frozenset[str]:
        """Names of trained weights that map hidden states to hidden states: what the optimizer Muon is meant for."""
        trained = self.trained()
        linear = (f"{name}.weight" for name, module in self.named_modules() if isinstance(module, nn.Linear))
        return frozenset(name for name in linear if name in trained)


def sample_generator(seed: int, number: int) -> torch.Generator:
    """Random numbers of one sample, the same on every device and however many there are."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
