"""Writing packed checkpoints: one safetensors file a part, tensor by tensor, all parts or none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, WeGenError
from ..network.agent import Agent
from ..network.decoder import empty_decoder
from ..network.vision_encoder import VisionEncoder
from .reader import CONFIG_FILE, PARTS, Checkpoint, Part, open_checkpoint, part_file
from .tokenizer import ADDED_FILE, MODEL_FILE

Precision = Literal["fp16", "bf16", "fp32"]
PRECISIONS: dict[str, tuple[torch.dtype, str]] = {
    "fp16": (torch.float16, "F16"),
    "bf16": (torch.bfloat16, "BF16"),
    "fp32": (torch.float32, "F32"),
}
"""What `dtype` may be: PyTorch's type, and its name in safetensors files."""

PARTIAL = ".partial"
REOPEN_AFTER = 256 * 2**20
"""Source bytes read from one memory mapping before it is closed."""


def part_precision(part: str, dtype: Precision) -> Precision:
    """The precision in which `part` is stored.

    The VAE always stays in fp32: SDXL's overflows in fp16, bf16 keeps so few digits that skies get
    bands, and it is some 1 % of the whole.
    """
    return "fp32" if part == "vae" else dtype


def convert(
    source: str | Path,
    destination: str | Path,
    dtype: Precision = "fp16",
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the packed form of a checkpoint: `config.json`, the tokenizer, and one safetensors file a part.

    All names and shapes are checked before the first byte is written. Tensors pass one by one, so that memory stays
    near the largest of them (pickles from before PyTorch 1.6 excepted, which can only be read as a whole). Everything
    is written to a sibling `<name>.partial`, `config.json` last, and renamed at the end: whenever this is interrupted,
    nothing stands at `destination`, and the next call begins anew.

    Args:
        source: a published or a packed folder.
        destination: a folder that does not exist yet.
        dtype: precision of all parts but the VAE, see `part_precision`.
        on_progress: called with bytes written and bytes to write, of tensors.

    Returns:
        The folder written.

    Raises:
        CheckpointError: the source is incomplete, of another model, or holds a value that `dtype` cannot.
        WeGenError: `destination` exists, or the disk is too full.
    """
    if dtype not in PRECISIONS:
        raise WeGenError(f"There is no precision {dtype!r}; choose one of {', '.join(PRECISIONS)}.")
    destination = Path(os.path.abspath(Path(destination).expanduser()))
    if destination.exists() or destination.is_symlink():
        raise WeGenError(f"{destination} exists already. Remove it, or choose another name.")
    checkpoint = open_checkpoint(source)
    _check_parts(checkpoint)
    layouts = {name: _Layout(part, part_precision(name, dtype)) for name, part in checkpoint.parts.items()}
    partial = destination.with_name(destination.name + PARTIAL)
    if checkpoint.folder.resolve().is_relative_to(partial.resolve()):
        raise WeGenError(f"{checkpoint.folder} is what this conversion would overwrite; rename it first.")
    _remove_left_over(partial)
    destination.parent.mkdir(parents=True, exist_ok=True)
    _check_space(destination.parent, sum(layout.file_bytes for layout in layouts.values()))
    try:
        partial.mkdir()
        _write_parts(checkpoint, layouts, partial, on_progress)
        with _synced(partial / MODEL_FILE) as file:
            file.write(checkpoint.tokenizer.model_bytes)
        with _synced(partial / ADDED_FILE) as file:
            file.write((json.dumps(checkpoint.tokenizer.added_tokens, ensure_ascii=False, indent=1) + "\n").encode())
        # Without its configuration a folder is not a checkpoint to anyone, so this comes last.
        with _synced(partial / CONFIG_FILE) as file:
            file.write(checkpoint.config.to_json().encode())
        _sync_folder(partial)
        os.rename(partial, destination)
        _sync_folder(destination.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return destination


class _Layout:
    """What the safetensors file of one part will look like, known before any tensor is read."""

    def __init__(self, part: Part, precision: Precision):
        self.precision = precision
        self.dtype, name = PRECISIONS[precision]
        header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
        end = 0
        # Sorted, so that the same weights make the same file, whatever they were read from.
        for key, entry in sorted(part.stored.items()):
            begin, end = end, end + entry.elements * self.dtype.itemsize
            header[key] = {"dtype": name, "shape": list(entry.shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.header = len(text).to_bytes(8, "little") + text
        self.tensor_bytes = end
        self.file_bytes = len(self.header) + end


def _check_parts(checkpoint: Checkpoint) -> None:
    with torch.device("meta"):
        modules: dict[str, nn.Module] = {
            "vision_encoder": VisionEncoder(checkpoint.config.vision),
            "language_model": Agent(checkpoint.config),
        }
    modules["unet"], modules["vae"] = empty_decoder(checkpoint.config)
    for name, part in checkpoint.parts.items():
        part.check(modules[name])


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeGenError(f"The model takes {needed / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left.")


def _remove_left_over(partial: Path) -> None:
    """Remove what an earlier conversion left behind, and only that."""
    if not partial.exists():
        return
    written = {MODEL_FILE, ADDED_FILE, CONFIG_FILE, *(part_file(part) for part in PARTS)}
    if not partial.is_dir() or {entry.name for entry in partial.iterdir()} - written:
        raise WeGenError(f"{partial} is in the way, and is not what an earlier conversion left. Remove it.")
    shutil.rmtree(partial)


def _write_parts(
    checkpoint: Checkpoint, layouts: dict[str, _Layout], folder: Path, on_progress: Callable[[int, int], None] | None
) -> None:
    # Pages of a mapped file that were read count as this process's memory until the mapping goes. So tensors are read
    # from mappings of their own, which are closed and opened again from time to time.
    parts: dict[str, Part] = {}
    left = 0
    done, total = 0, sum(layout.tensor_bytes for layout in layouts.values())
    names = {name: sorted(part) for name, part in checkpoint.parts.items()}
    for name, layout in layouts.items():
        with _synced(folder / part_file(name)) as file:
            file.write(layout.header)
            for key in names[name]:
                if left <= 0:
                    parts.clear()
                    parts.update(open_checkpoint(checkpoint.folder).parts)
                    left = REOPEN_AFTER
                value = parts[name][key]
                left -= value.nbytes
                entry = parts[name].stored[key]
                data = _converted(value, layout, f"{entry.file}: {entry.key!r}")
                file.write(memoryview(data.reshape(-1).view(torch.uint8).numpy()))
                done += data.nbytes
                del value, data, entry
                if on_progress is not None:
                    on_progress(done, total)


def _converted(value: Tensor, layout: _Layout, where: str) -> Tensor:
    if not value.dtype.is_floating_point:
        raise CheckpointError(f"{where} holds {value.dtype} numbers, expected floating point ones.")
    converted = value.to(layout.dtype).contiguous()
    if not bool(torch.isfinite(converted).all()):
        largest = float(value.float().abs().max())
        if largest < float("inf"):
            raise CheckpointError(
                f"{where} has values up to {largest:.3g}, beyond the {torch.finfo(layout.dtype).max:.3g} that "
                f"{layout.precision} holds. Convert with --dtype bf16."
            )
        raise CheckpointError(f"{where} has values that are not finite: the file is damaged or its training failed.")
    return converted


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk, not just on its way, when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; only POSIX systems can open one for that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
