"""How many threads of a CPU compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Inside of the block PyTorch computes on `count` threads of the CPU, after it on as many as before.

    Other threads of Python that begin to compute meanwhile keep the number, as PyTorch takes it from the process.

    Args:
        count: 1 or more; None changes nothing.

    Raises:
        RuntimeError: it is below 1.
    """
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
