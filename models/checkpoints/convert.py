"""Writing packed checkpoints from published or packed ones, in any precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..errors import CheckpointError, WeGenError
from .loading import empty_parts
from .quantise import GROUPS, QUANTISED, layout, quantise, quantised_format, to_header
from .reader import PARTS, Checkpoint, Part, open_checkpoint
from .writer import Entry, PartLayout, new_folder, partial_folder, write_folder

Precision = Literal["fp16", "bf16", "fp32", "int8", "fp8", "w4a8"]
PRECISIONS: dict[str, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
CHOICES = (*PRECISIONS, *QUANTISED)
"""What `dtype` may be."""
BESIDE_QUANTISED = "bf16"
"""Precision of what stays unquantised in a quantised part."""
CHECKED = 2**22
"""Numbers that are looked at together for some that are not finite."""


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
    parts: Mapping[str, Precision] = {},
) -> Path:
    """Write the packed form of a checkpoint: `config.json`, the tokenizer, and one safetensors file a part.

    All names and shapes are checked before the first byte is written. Tensors pass one by one, so that memory stays
    near the largest of them (pickles from before PyTorch 1.6 excepted, which can only be read as a whole). Nothing
    stands at `destination` before all of it is written.

    Args:
        source: a published or a packed folder.
        destination: a folder that does not exist yet.
        dtype: precision of all parts but the VAE, see `part_precision`.
        on_progress: called with bytes written and bytes to write, of tensors.
        parts: other precisions for some parts; of the VAE only "fp32".

    Returns:
        The folder written.

    Raises:
        CheckpointError: the source is incomplete, of another model, or holds a value that `dtype` cannot.
        WeGenError: an unknown precision or part, one of `parts` that cannot have its precision, `destination` exists,
            or the disk is too full.
    """
    for asked in (dtype, *parts.values()):
        if asked not in CHOICES:
            raise WeGenError(f"There is no precision {asked!r}; choose one of {', '.join(CHOICES)}.")
    for part, asked in parts.items():
        if part not in PARTS:
            raise WeGenError(f"There is no part {part!r}; choose one of {', '.join(PARTS)}.")
        if asked != part_precision(part, asked):
            raise WeGenError(f"The VAE can be stored in fp32 only, not in {asked}: leave it out, or give vae=fp32.")
    destination = new_folder(destination)
    checkpoint = open_checkpoint(source)
    _check_parts(checkpoint)
    plans = {name: _Plan(part, part_precision(name, parts.get(name, dtype))) for name, part in checkpoint.parts.items()}
    for name, asked in parts.items():
        if asked in QUANTISED and not plans[name].layers:
            raise WeGenError(
                f"No layer of the {name.replace('_', ' ')} can be stored in {asked}, which is for layers of "
                f"transformers with a multiple of {min(GROUPS)} inputs. Choose one of {', '.join(PRECISIONS)}."
            )
    partial = partial_folder(destination)
    if checkpoint.folder.resolve().is_relative_to(partial.resolve()):
        raise WeGenError(f"{checkpoint.folder} is what this conversion would overwrite; rename it first.")
    return write_folder(
        destination,
        checkpoint.config,
        checkpoint.tokenizer,
        {name: plan.layout for name, plan in plans.items()},
        lambda name: _converted(checkpoint.parts[name], plans[name]),
        on_progress,
    )


class _Plan:
    """How each tensor of a part is stored."""

    def __init__(self, part: Part, precision: Precision):
        self.precision = BESIDE_QUANTISED if precision in QUANTISED else precision
        self.dtype = PRECISIONS[self.precision]
        self.layers: dict[str, dict] = {}
        entries = []
        #: sorted, so that the same weights make the same file, whatever they were read from
        self.keys = sorted(part.stored)
        for key in self.keys:
            shape = part.stored[key].shape
            layer = quantised_format(key, shape, precision) if precision in QUANTISED else None
            if layer is None:
                entries.append(Entry(key, self.dtype, shape))
                continue
            name = key.removesuffix(".weight")
            self.layers[name] = layer
            entries += [Entry(f"{name}.{end}", *piece) for end, piece in layout(layer, shape).items()]
        self.layout = PartLayout(entries, to_header(self.layers))


def _check_parts(checkpoint: Checkpoint) -> None:
    modules = empty_parts(checkpoint.config)
    for name, part in checkpoint.parts.items():
        part.check(modules[name])


def _converted(part: Part, plan: _Plan) -> Iterator[Tensor]:
    for key in plan.keys:
        value = part[key]
        where = f"{part.stored[key].file}: {key!r}"
        layer = plan.layers.get(key.removesuffix(".weight")) if key.endswith(".weight") else None
        if layer is None:
            yield _cast(value, plan, where)
        else:
            check_finite(value, where)
            yield from quantise(value.float() if value.itemsize == 1 else value, layer).values()
        del value


def _cast(value: Tensor, plan: _Plan, where: str) -> Tensor:
    converted = value.to(plan.dtype).contiguous()
    if not _is_finite(converted):
        check_finite(value, where)
        raise CheckpointError(
            f"{where} has values up to {float(value.float().abs().max()):.3g}, beyond the "
            f"{torch.finfo(plan.dtype).max:.3g} that {plan.precision} holds. Convert with --dtype bf16."
        )
    return converted


def check_finite(value: Tensor, where: str) -> None:
    """Raises CheckpointError where a number of floating point ones is none."""
    if not _is_finite(value):
        raise CheckpointError(f"{where} has values that are not finite: the file is damaged or its training failed.")


def _is_finite(value: Tensor) -> bool:
    # At once this would take several times the memory of the largest tensor. PyTorch cannot tell of 8 bits.
    pieces = value.reshape(-1).split(CHECKED)
    return all(bool(torch.isfinite(some.float() if some.itemsize == 1 else some).all()) for some in pieces)
