"""Where the tensors of a PyTorch file are, from its own list of contents.

`torch.load` would map the file, writable and private, which Linux refuses where it is larger than memory and swap; and
a published file is larger than the memory of many machines that it can be converted on. None of its numbers is read.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._weights_only_unpickler import Unpickler


class TensorPlace(NamedTuple):
    """Where the numbers of one tensor are.

    Attributes:
        begin: of the first one, in bytes from the beginning of the file.
        dtype, shape, stride: as of the tensor.
    """

    begin: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """From the first number to the end of the last."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize


def tensor_places(path: Path) -> dict[str, TensorPlace]:
    """The tensors of a state dict in a zip file, as PyTorch 1.6 and later write it, by their names.

    Raises:
        pickle.UnpicklingError: it holds anything else than tensors, which could run code.
        ValueError: no state dict, or its list of contents and its tensors do not agree. Damaged files make the
            unpickler stumble in other ways too.
    """
    contents, records = _contents(path)
    storages: dict[str, torch.TypedStorage] = {}
    begins: dict[int, tuple[int, int]] = {}

    def storage(saved: tuple) -> torch.TypedStorage:
        _, kind, key, _, count = saved
        if key not in storages:
            dtype = torch.uint8 if kind is torch.UntypedStorage else kind.dtype
            begin, size = records.get(str(key), (0, 0))
            if size != count * dtype.itemsize:
                raise ValueError("its list of contents and its tensors do not agree")
            untyped = torch.UntypedStorage(size, device="meta")
            begins[untyped._cdata] = begin, begin + size
            storages[key] = torch.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)
        return storages[key]

    unpickler = Unpickler(io.BytesIO(contents), encoding="utf-8")
    unpickler.persistent_load = storage
    values = unpickler.load()
    require_state_dict(values)
    places = {}
    for key, value in values.items():
        begin, end = begins.get(value.untyped_storage()._cdata, (0, 0))
        begin += value.storage_offset() * value.element_size()
        place = TensorPlace(begin, value.dtype, tuple(value.shape), value.stride())
        if begin + place.bytes > end:
            raise ValueError(f"{key!r} is said to be where other tensors are")
        places[key] = place
    return places


def require_state_dict(values: Any) -> None:
    """Raises ValueError for anything else than names to tensors of plain numbers."""
    if not isinstance(values, dict) or not all(
        isinstance(key, str) and isinstance(t, Tensor) and t.layout == torch.strided and not t.is_quantized
        for key, t in values.items()
    ):
        raise ValueError("it does not hold a state dict (names to tensors)")


def _contents(path: Path) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The pickle, and of each storage by its name where its bytes begin and how many there are."""
    pickled, found = b"", {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for record in archive.infolist():
            _, _, name = record.filename.partition("/")
            if name == "data.pkl":
                pickled = archive.read(record)
            elif name == "byteorder" and archive.read(record) != b"little":
                raise ValueError("its numbers are big-endian")
            elif name.startswith("data/"):
                file.seek(record.header_offset + 26)  # lengths of the name and of what follows it
                lengths = file.read(4)
                begin = record.header_offset + 30 + sum(int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
                found[name.removeprefix("data/")] = begin, record.compress_size
    return pickled, found
