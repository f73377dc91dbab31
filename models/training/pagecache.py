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
        files = {folder / f"{name}.npy": (capacity, *shape) for name, shape in shapes.items()}
        known = folder / "known.npy"
        if not all(_fits(file, np.float16, shape) for file, shape in files.items()):
            known.unlink(missing_ok=True)  # its pages are not in files that are made anew
        self.arrays = [_mapped(file, np.float16, shape) for file, shape in files.items()]
        self.known = _mapped(known, np.uint8, (capacity,))

    def get(self, pages: Sequence[int]) -> tuple[Tensor, ...]:
        """One float32 tensor `[len(pages), *shape]` for each name."""
        missing = [page for page in dict.fromkeys(pages) if not self.known[page]]
        if missing:
            for array, values in zip(self.arrays, self.compute(missing), strict=True):
                array[missing] = values.cpu().numpy().astype(np.float16)
                array.flush()  # on the disk before it counts as known, whenever the power is lost
            self.known[missing] = 1
        return tuple(torch.from_numpy(array[list(pages)].astype(np.float32)) for array in self.arrays)


def _fits(path: Path, kind: type, shape: tuple[int, ...]) -> bool:
    if not path.is_file():
        return False
    array = np.lib.format.open_memmap(path, mode="r")
    return array.shape == shape and array.dtype == kind


def _mapped(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """A file of zeros of this shape, or the one that is there already if it fits."""
    if _fits(path, kind, shape):
        return np.lib.format.open_memmap(path, mode="r+")
    path.unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
