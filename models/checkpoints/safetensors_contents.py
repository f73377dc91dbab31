"""Where the tensors of a safetensors file are, from its header.

The library safetensors maps the file to read that, copy on write. On Windows all of the file must then have room in
memory and paging file, and a checkpoint is larger than that on many machines. None of its numbers is read here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import CheckpointError
from ..json_values import is_a

LONGEST_HEADER = 100_000_000
"""Bytes, as the library has it: what is no safetensors file may begin with any number."""
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
"""Number types by their names in safetensors files."""


class Place(NamedTuple):
    """Where one tensor is: its first byte in the file, its type and its shape."""

    begin: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """From the first number to the end of the last."""
        return math.prod(self.shape) * self.dtype.itemsize


def safetensors_contents(path: Path) -> tuple[dict[str, Place], dict[str, str]]:
    """The tensors of a file by their names, in the order in which they stand there, and what it says of itself.

    Raises:
        CheckpointError: it has numbers of a type that is not read here.
        ValueError, RecursionError: it is damaged, or no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin = 8 + length
        if length > LONGEST_HEADER or begin > size:
            raise ValueError("it does not begin with a header")
        header = json.loads(file.read(length).decode())
    about = header.pop("__metadata__", None) or {} if isinstance(header, dict) else None
    if not is_a(about, Mapping[str, str]) or not all(_describes_tensor(entry) for entry in header.values()):
        raise ValueError("its header does not describe tensors")
    places = {}
    for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["dtype"] not in TYPES:
            raise CheckpointError(f"{path}: {key!r} holds numbers of the unknown type {entry['dtype']!r}.")
        places[key] = Place(begin, TYPES[entry["dtype"]], tuple(entry["shape"]))
        # Without gaps between them, and each as long as its shape says.
        end = begin + places[key].bytes
        if [begin, end] != [8 + length + offset for offset in entry["data_offsets"]]:
            raise ValueError(f"{key!r} is said to be where it cannot be")
        begin = end
    if begin != size:
        raise ValueError(f"it has {size} bytes, and its header tells of {begin}")
    return places, about


def _describes_tensor(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    whole = all(is_a(one, Sequence[int]) and min(one, default=0) >= 0 for one in (shape, offsets))
    return whole and len(offsets) == 2 and isinstance(entry.get("dtype"), str)
