"""Writing state dicts as PyTorch files tensor by tensor: `torch.save` needs all of them in memory."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .writer import Entry

ALIGNED = 64
"""Bytes at whose multiples the tensors begin, so that they can be mapped."""
_STORAGES = {
    torch.float32: torch.FloatStorage,
    torch.float16: torch.HalfStorage,
    torch.bfloat16: torch.BFloat16Storage,
}


class _Storage:
    def __init__(self, number: int, entry: Entry):
        self.number, self.entry = number, entry


class _Tensor:
    """Pickled as a tensor whose numbers stand in a record of their own."""

    def __init__(self, number: int, entry: Entry):
        self.number, self.entry = number, entry

    def __reduce__(self) -> tuple:
        shape = self.entry.shape
        strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
        arguments = (_Storage(self.number, self.entry), 0, shape, strides, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> Any:
        if not isinstance(obj, _Storage):
            return None
        return "storage", _STORAGES[obj.entry.dtype], str(obj.number), "cpu", prod(obj.entry.shape)


def torch_file_bytes(entries: Sequence[Entry]) -> int:
    """About how many bytes a file of these tensors takes."""
    return sum(entry.dtype.itemsize * prod(entry.shape) + 2 * ALIGNED + 200 for entry in entries)


def write_torch_file(path: Path, entries: Sequence[Entry], tensors: Iterator[Tensor]) -> Iterator[int]:
    """Write a file that `torch.load` reads as a dict of these tensors; gives the bytes of each when it is written.

    Args:
        path: the file.
        entries: names, types and shapes.
        tensors: in the order of the entries.
    """
    pickled = io.BytesIO()
    _Pickler(pickled, protocol=2).dump({entry.key: _Tensor(number, entry) for number, entry in enumerate(entries)})
    name = path.stem
    with path.open("wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for record, content in (("data.pkl", pickled.getvalue()), (".format_version", b"1"), ("byteorder", b"little")):
            archive.writestr(f"{name}/{record}", content)
        for number, (entry, value) in enumerate(zip(entries, tensors, strict=True)):
            if (value.dtype, tuple(value.shape)) != (entry.dtype, entry.shape):
                raise ValueError(f"{entry.key}: {value.dtype} {tuple(value.shape)} for {entry}.")
            info = zipfile.ZipInfo(f"{name}/data/{number}")
            # A field of zeros behind the name moves the numbers to where they should begin.
            padding = -(raw.tell() + 30 + len(info.filename) + 4) % ALIGNED
            info.extra = b"FB" + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(info, memoryview(value.contiguous().reshape(-1).view(torch.uint8).numpy()))
            yield value.nbytes
        archive.writestr(f"{name}/version", b"3\n")
