"""Writing packed folders: one safetensors file a part, tensor by tensor, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from ..errors import WeGenError, naming
from ..network.configuration import WeGenConfig
from ..paths import expanded, put_in_place, sync_folder
from .reader import CONFIG_FILE, PARTS, part_file
from .tokenizer import ADDED_FILE, MODEL_FILE, Tokenizer

PARTIAL = ".partial"
NAMES = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.int8: "I8",
    torch.float8_e4m3fn: "F8_E4M3",
}
"""Of number types in safetensors files."""


class Entry(NamedTuple):
    """One tensor of a file that is to be written."""

    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class PartLayout:
    """What the safetensors file of one part will look like, known before any tensor is there.

    Args:
        entries: in the order of writing.
        metadata: strings for the file's header.
    """

    def __init__(self, entries: Sequence[Entry], metadata: Mapping[str, str] = {}):
        self.entries = tuple(entries)
        header: dict[str, dict] = {"__metadata__": {"format": "pt", **metadata}}
        end = 0
        for key, dtype, shape in self.entries:
            begin, end = end, end + torch.Size(shape).numel() * dtype.itemsize
            header[key] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.header = len(text).to_bytes(8, "little") + text
        self.tensor_bytes = end
        self.file_bytes = len(self.header) + end


def new_folder(destination: str | Path) -> Path:
    """The absolute path of a folder to be written.

    Raises:
        WeGenError: it exists.
    """
    destination = Path(os.path.abspath(expanded(destination)))
    if destination.exists() or destination.is_symlink():
        raise WeGenError(f"{destination} exists already. Remove it, or choose another name.")
    return destination


def partial_folder(destination: Path) -> Path:
    """Where a folder is written until it is whole."""
    return destination.with_name(destination.name + PARTIAL)


def write_folder(
    destination: Path,
    config: WeGenConfig,
    tokenizer: Tokenizer,
    layouts: Mapping[str, PartLayout],
    tensors: Callable[[str], Iterator[Tensor]],
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a packed folder from tensors that come one by one.

    Everything is written to a sibling `<name>.partial`, `config.json` last, and renamed at the end: whenever this is
    interrupted, nothing stands at `destination`, and the next call begins anew.

    Args:
        destination: from `new_folder`.
        layouts: of each part.
        tensors: gives those of a part, in the order of its layout.
        on_progress: called with bytes written and bytes to write, of tensors.

    Raises:
        WeGenError: the disk is too full.
    """
    partial = partial_folder(destination)
    remove_left_over(partial, {MODEL_FILE, ADDED_FILE, *map(part_file, PARTS)})
    destination.parent.mkdir(parents=True, exist_ok=True)
    check_space(destination.parent, sum(layout.file_bytes for layout in layouts.values()))
    done, total = 0, sum(layout.tensor_bytes for layout in layouts.values())
    with writing_to(partial):
        for name, layout in layouts.items():
            with _synced(partial / part_file(name)) as file:
                file.write(layout.header)
                for entry, value in zip(layout.entries, tensors(name), strict=True):
                    if (value.dtype, tuple(value.shape)) != (entry.dtype, entry.shape):
                        raise ValueError(f"{entry.key}: {value.dtype} {tuple(value.shape)} for {entry}.")
                    file.write(memoryview(value.contiguous().reshape(-1).view(torch.uint8).numpy()))
                    done += value.nbytes
                    del value
                    if on_progress is not None:
                        on_progress(done, total)
        with _synced(partial / MODEL_FILE) as file:
            file.write(tokenizer.model_bytes)
        with _synced(partial / ADDED_FILE) as file:
            file.write((json.dumps(tokenizer.added_tokens, ensure_ascii=False, indent=1) + "\n").encode())
        # Without its configuration a folder is not a checkpoint to anyone, so this comes last.
        with _synced(partial / CONFIG_FILE) as file:
            file.write(config.to_json().encode())
        sync_folder(partial)
        os.rename(partial, destination)
        sync_folder(destination.parent)
    return destination


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] = {}) -> None:
    """Write a file over what may be there, whole or not at all.

    Raises:
        WeGenError: it cannot be written, such as on a full disk.
    """
    partial = path.with_suffix(PARTIAL)
    try:
        save_file(dict(tensors), partial, metadata={"format": "pt", **metadata})
        partial.chmod(0o644)  # safetensors makes files that only their owner can read
        put_in_place(partial, path)
    except (SafetensorError, OSError) as error:  # the former stands for errors of the system too
        partial.unlink(missing_ok=True)
        raise WeGenError(f"{path} cannot be written: {error}. Make room, or choose another place.") from error


def raise_full_disk(error: BaseException, folder: Path) -> None:
    """Say in words that a disk filled up while something else wrote to it as well; other errors are left alone."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise WeGenError(
            f"The disk of {folder} is full; what had been written was removed. Make room, or choose another place."
        ) from error


def check_space(folder: Path, needed: int) -> None:
    """Raise a WeGenError when the disk of a folder has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeGenError(
            f"The model takes {needed / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left. Make room, or choose "
            "another place or a smaller precision."
        )


def remove_left_over(partial: Path, written: Set[str]) -> None:
    """Remove what an earlier run left behind that was stopped, and only that.

    Args:
        partial: the folder.
        written: paths within it of all files that such a run writes, but for the last one: with that it is whole, and
            somebody's own.

    Raises:
        WeGenError: it holds something else, or is a link.
    """
    if not partial.exists() and not partial.is_symlink():
        return
    found = {entry.relative_to(partial).as_posix() for entry in partial.rglob("*") if not entry.is_dir()}
    if partial.is_symlink() or not partial.is_dir() or found - written:
        raise WeGenError(f"{partial} is in the way, and is not what an earlier conversion left. Move it.")
    with held(partial):
        shutil.rmtree(partial)


@contextmanager
def writing_to(partial: Path) -> Iterator[None]:
    """Makes a folder and holds it; where the block fails or is stopped, the folder is removed.

    Raises:
        WeGenError: another process holds it, or the disk is too full.
    """
    partial.mkdir()
    with held(partial):  # outside of what removes the folder: one that another process holds is not ours
        try:
            yield
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise_full_disk(error, partial.parent)
            raise


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps others from taking a folder that is being written for a left-over.

    Raises:
        WeGenError: another process holds it.
    """
    handle = _lock(folder) if fcntl is None else os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WeGenError(f"{_other_writes(folder)}.") from error
        yield
    finally:
        os.close(handle)


def _lock(folder: Path) -> int:
    """A file beside a folder, for Windows, which lets nobody open or rename a folder that is in use.

    It is gone with its handle, however the process ends.
    """
    path = folder.with_name(f"{folder.name}.lock")
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOINHERIT | os.O_TEMPORARY)
    except FileExistsError as error:
        raise WeGenError(f"{_other_writes(folder)}; where there is none, remove {path}.") from error


def _other_writes(folder: Path) -> str:
    return f"Another process is writing to {folder}. Wait for it, or choose another name"


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk, not just on its way, when the block ends."""
    with naming(path), path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
