"""What this machine has, and whether a checkpoint is whole."""

from __future__ import annotations

import os

import torch

from ..errors import CheckpointError
from .loading import empty_parts
from .needs import GIB
from .reader import Checkpoint


def machine() -> tuple[float, float]:
    """GiB of the first card's memory (0 without one) and of the machine's."""
    card = torch.cuda.get_device_properties(0).total_memory / GIB if torch.cuda.is_available() else 0.0
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):  # not on Windows
        import psutil

        memory = psutil.virtual_memory().total / GIB
    return card, memory


def examine(checkpoint: Checkpoint) -> list[str]:
    """Read every tensor; gives a sentence for each part that is not as it should be."""
    faults = []
    modules = empty_parts(checkpoint.config)
    for name, part in checkpoint.parts.items():
        try:
            part.check(modules[name])
            for key in part:
                if not bool(torch.isfinite(part[key]).all()):
                    raise CheckpointError(f"{part.stored[key].file}: {key!r} has values that are not finite.")
        except CheckpointError as error:
            faults.append(str(error))
    return faults
