"""Features and latents of numbered pages, computed once and kept in memory-mapped files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Compute = Callable[[Sequence[int]], tuple[Tensor, ...]]


class PageCache:
    """A cache that can be deleted at any time: what is missing is computed again.

    Args:
        folder: where the files are.
        capacity: page numbers run from 0 to `capacity - 1`.
        shapes: of what is kept of each page, by name.
        compute: page numbers to one tensor `[B, *shape]` for each name.
    """

    def __init__(self, folder: Path, capacity: int, shapes: dict[str, tuple[int, ...]], compute: Compute):
        folder.mkdir(parents=True, exist_ok=True)
        self.compute = compute
        self.arrays = [
            _mapped(folder / f"{name}.npy", np.float16, (capacity, *shape)) for name, shape in shapes.items()
        ]
        self.known = _mapped(folder / "known.npy", np.uint8, (capacity,))

    def get(self, pages: Sequence[int]) -> tuple[Tensor, ...]:
        """One float32 tensor `[len(pages), *shape]` for each name."""
        missing = [page for page in dict.fromkeys(pages) if not self.known[page]]
        if missing:
            for array, values in zip(self.arrays, self.compute(missing), strict=True):
                array[missing] = values.cpu().numpy().astype(np.float16)
            self.known[missing] = 1
        return tuple(torch.from_numpy(array[list(pages)].astype(np.float32)) for array in self.arrays)


def _mapped(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """A file of zeros of this shape, or the one that is there already if it fits."""
    if path.exists():
        array = np.lib.format.open_memmap(path, mode="r+")
        if array.shape == shape and array.dtype == kind:
            return array
        # The pages that are known no longer fit either.
        path.unlink()
        path.with_name("known.npy").unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
