"""What this machine has, and whether a checkpoint is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..container_memory import container_memory
from ..errors import CheckpointError
from .convert import check_finite
from .loading import empty_parts
from .memory_needs import GIB
from .reader import Checkpoint


class Machine(NamedTuple):
    """What computes, and with how much memory."""

    device: str
    """PyTorch's name of it: "cuda", "xpu", "mps" or "cpu"."""
    card: float
    """GiB of the first card's own memory; 0 without one, and for "mps", which uses the machine's."""
    memory: float
    """GiB of the machine's memory."""

    def __str__(self) -> str:
        place = "no card, so everything runs on the CPU"
        if self.device == "mps":
            place = "a GPU that uses the machine's memory (mps)"
        elif self.card:
            place = f"a card of {self.card:.0f} GB ({self.device})"
        return f"{place}; {self.memory:.0f} GB of memory"


def _card() -> tuple[str, float]:
    """Name and GiB of the first card."""
    for name, backend in (("cuda", torch.cuda), ("xpu", getattr(torch, "xpu", None))):
        if backend is not None and backend.is_available():
            return name, backend.get_device_properties(0).total_memory / GIB
    return ("mps" if torch.backends.mps.is_available() else "cpu"), 0.0


def machine() -> Machine:
    """The one that this runs on."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):  # not on Windows
        import psutil

        memory = psutil.virtual_memory().total / GIB
    allowed = container_memory()
    return Machine(*_card(), memory if allowed is None else min(memory, allowed.total / GIB))


def examine(checkpoint: Checkpoint, on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Read every tensor; gives a sentence for each part that is not as it should be.

    Args:
        checkpoint: to be read.
        on_progress: called with bytes read and bytes to read. Those that a fault leaves unread count as read.
    """
    faults = []
    sizes = {name: part.stored_bytes() for name, part in checkpoint.parts.items()}
    before, total = 0, sum(sizes.values())
    modules = empty_parts(checkpoint.config)
    for name, part in checkpoint.parts.items():
        done = before
        before += sizes[name]
        try:
            part.check(modules[name])
            for key in part:
                check_finite(part[key], f"{part.stored[key].file}: {key!r}")
                done += part.stored_bytes(key)
                if on_progress is not None:
                    on_progress(done, total)
        except CheckpointError as error:
            faults.append(str(error))
            if on_progress is not None:
                on_progress(before, total)
    return faults
