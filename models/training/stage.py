"""What every training stage is: a module whose forward gives losses, and batches that depend on numbers alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from PIL import Image
from torch import Tensor, nn


class Stage(nn.Module, ABC):
    """One stage of training. Parameters that ask for gradients are trained; the rest is frozen and not saved."""

    @abstractmethod
    def batch(self, first: int, count: int) -> Any:
        """Samples `first` ... `first + count - 1` of the endless sequence, on the CPU; the same at every call."""

    @abstractmethod
    def forward(self, batch: Any) -> Mapping[str, Tensor]:
        """Scalar losses by name; "total" is the one that is minimised. Noise comes from the global generator."""

    @abstractmethod
    def sheet(self) -> Image.Image:
        """A picture that shows what the stage can do by now, from held-out samples."""

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
