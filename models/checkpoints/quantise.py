"""Weights in 8 bits, in ComfyUI's own layout: its operations run them, and what is here turns them back.

A quantised layer X has its weight under the usual name, `X.weight_scale` beside it, and an entry in the file's header
under `_quantization_metadata`. Linear layers inside the transformers are quantised; norms, embeddings, convolutions,
`lm_head`, the projectors of features and the embeddings of time stay in 16 bits, and the VAE in 32.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

QUANTISED = ("int8", "fp8")
"""int8: rotated rows with a scale each, about 1 % off in a layer's output; fp8: one scale for a layer, about 3 %."""
HEADER_KEY = "_quantization_metadata"
SCALE = "weight_scale"
INT8, FP8 = "int8_tensorwise", "float8_e4m3fn"
GROUPS = (256, 64, 16)
"""Neighbouring inputs that are rotated together, the largest that divides a row. Rotation spreads what a few inputs
have over the group, so that one large weight does not take the digits of its row."""

LAYER = re.compile(
    r"(blocks|llm\.model\.layers)\.\d+\..*|(down_blocks|up_blocks|mid_block)\..*attentions\.\d+\.transformer_blocks\..*"
)


def quantised_format(key: str, shape: tuple[int, ...], precision: str) -> dict[str, Any] | None:
    """How the weight `key` is stored when its part is asked for in `precision`; None: as it is, in 16 bits."""
    if not (key.endswith(".weight") and len(shape) == 2 and LAYER.fullmatch(key)):
        return None
    if precision == "fp8":
        return {"format": FP8}
    group = next((group for group in GROUPS if shape[1] % group == 0), None)
    return None if group is None else {"format": INT8, "convrot": True, "convrot_groupsize": group}


def scale_shape(layer: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the scales of a weight of `shape`."""
    return (shape[0], 1) if layer["format"] == INT8 else ()


def storage_type(layer: Mapping[str, Any]) -> torch.dtype:
    """Type of the stored weight."""
    return torch.int8 if layer["format"] == INT8 else torch.float8_e4m3fn


def quantise(weight: Tensor, layer: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """A weight `[N, K]` -> what is stored of it, and its scales in float32."""
    if layer["format"] == FP8:
        scale = (weight.abs().amax().float() / torch.finfo(torch.float8_e4m3fn).max).clamp(min=1e-30)
        return (weight.float() / scale).to(torch.float8_e4m3fn), scale
    rotated = rotate_groups(weight.float(), layer["convrot_groupsize"])
    scale = (rotated.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30)
    return rotated.div_(scale).round_().clamp_(-128, 127).to(torch.int8), scale


def dequantise(stored: Tensor, scale: Tensor, layer: Mapping[str, Any]) -> Tensor:
    """The weight in float32 that `quantise` made this of, but for rounding."""
    weight = stored.float() * scale
    if layer["format"] == INT8 and layer.get("convrot"):
        weight = rotate_groups(weight, int(layer.get("convrot_groupsize", GROUPS[0])))
    return weight


def rotate_groups(weight: Tensor, group: int) -> Tensor:
    """Each `group` of neighbouring columns times the Hadamard matrix of that size; twice is nothing."""
    rows, columns = weight.shape
    return (weight.view(-1, group) @ hadamard(group)).view(rows, columns)


@cache
def hadamard(size: int) -> Tensor:
    """The regular Hadamard matrix, symmetric and orthogonal, for a power of 4."""
    if size < 4 or 4 ** round(math.log(size, 4)) != size:
        raise CheckpointError(f"Weights are rotated in groups of {size}; that must be a power of 4.")
    four = torch.tensor([[1.0, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]])
    matrix = four
    while len(matrix) < size:
        matrix = torch.kron(matrix, four)
    return matrix / size**0.5


def to_header(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What the header of a file says about its quantised layers."""
    if not layers:
        return {}
    return {HEADER_KEY: json.dumps({"format_version": "1.0", "layers": layers}, separators=(",", ":"))}


def from_header(metadata: Mapping[str, str] | None, file: object) -> dict[str, dict[str, Any]]:
    """The quantised layers of a file.

    Raises:
        CheckpointError: the header is damaged, or a layer has a format that is not read here.
    """
    text = (metadata or {}).get(HEADER_KEY)
    if text is None:
        return {}
    try:
        layers = dict(json.loads(text)["layers"])
        formats = {layer["format"] for layer in layers.values()}
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{file}: what its header says about quantised layers is damaged.") from error
    unknown = sorted(formats - {INT8, FP8})
    if unknown:
        raise CheckpointError(f"{file} has weights in {unknown[0]!r}; read here are {INT8!r} and {FP8!r}.")
    return layers
