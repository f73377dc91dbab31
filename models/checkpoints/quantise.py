"""Weights in 8 or 4 bits, in ComfyUI's own layout: its operations run them, and what is here turns them back.

A quantised layer X is stored as its pieces: the weight under the usual name, scales beside it (`X.weight_scale`; for
4 bits `X.weight_s_rel`, `X.weight_s_channel` and `X.weight_codebook`), and an entry in the file's header under
`_quantization_metadata`. Linear layers inside the transformers are quantised; norms, embeddings, convolutions,
`lm_head`, the projectors of features and the embeddings of time stay in 16 bits, and the VAE in 32.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CheckpointError

QUANTISED = ("int8", "fp8", "w4a8")
"""int8: rotated rows with a scale each, about 1 % off in a layer's output; fp8: one scale for a layer, about 3 %;
w4a8: 4 bits a weight with a scale for 16 of them, about 7 %, in little more than half of the memory."""
HEADER_KEY = "_quantization_metadata"
CONFIGURATION = "comfy_quant"
"""Behind a layer's name: the tensor that tells the host how it is quantised."""
WEIGHT, SCALE = "weight", "weight_scale"
GROUP_SCALES, ROW_SCALES, CODEBOOK = "weight_s_rel", "weight_s_channel", "weight_codebook"
INT8, FP8, W4A8 = "int8_tensorwise", "float8_e4m3fn", "asym_w4a8_int8"
PIECES = {INT8: (WEIGHT, SCALE), FP8: (WEIGHT, SCALE), W4A8: (WEIGHT, GROUP_SCALES, ROW_SCALES, CODEBOOK)}
"""What a weight of each format is stored as: ends of keys behind the layer's name."""
GROUPS = (256, 64, 16)
"""Neighbouring inputs that are rotated together, the largest that divides a row. Rotation spreads what a few inputs
have over the group, so that one large weight does not take the digits of its row."""
SCALED = 16
"""Neighbouring inputs that share a scale in 4 bits."""
_UPPER = (0.0531, 0.1604, 0.2705, 0.3859, 0.5095, 0.6454, 0.7998, 0.9818)
LEVELS = (*(-level for level in reversed(_UPPER)), *_UPPER)
"""The 16 values that lie nearest to normally distributed numbers over the largest of their 16, in the mean square."""
_SIZES = {"convrot_groupsize": 0, "group_size": 1}
"""Numbers of a layer in the header, with the least that each can be."""
_CHUNK = 2**22  # numbers of a weight that are quantised to 4 bits at once, which takes many times their memory

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
    if group is None:
        return None
    if precision == "w4a8":
        return {"format": W4A8, "group_size": SCALED, "convrot_groupsize": group}
    return {"format": INT8, "convrot": True, "convrot_groupsize": group}


def less_memory(formats: Collection[str]) -> str:
    """The end of a sentence on what to do where memory ran out: which smaller precision there is for a checkpoint.

    Args:
        formats: of its quantised layers; none where nothing is quantised.
    """
    if formats and not set(formats) - {W4A8}:
        return ". The checkpoint is in the smallest precision already (w4a8)."
    smaller = "w4a8" if formats else "int8 (or w4a8)"
    return f", or convert the checkpoint to a smaller precision: wegen convert SOURCE DESTINATION --dtype {smaller}."


def layout(layer: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Types and shapes of the pieces of a weight of `shape`."""
    rows, columns = shape
    if layer["format"] == FP8:
        return {WEIGHT: (torch.float8_e4m3fn, shape), SCALE: (torch.float32, ())}
    if layer["format"] == INT8:
        return {WEIGHT: (torch.int8, shape), SCALE: (torch.float32, (rows, 1))}
    return {
        WEIGHT: (torch.int8, (rows, columns // 2)),
        GROUP_SCALES: (torch.float8_e4m3fn, (rows, columns // layer["group_size"])),
        ROW_SCALES: (torch.float32, (rows,)),
        CODEBOOK: (torch.float32, (len(LEVELS),)),
    }


def stored_bytes(layer: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """Bytes of all pieces."""
    return sum(dtype.itemsize * math.prod(size) for dtype, size in layout(layer, shape).values())


def piece_names(layer: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the tensors that a weight is stored as."""
    return PIECES[layer["format"]]


def whole_shape(stored: tuple[int, ...], layer: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of a weight whose stored one is `stored`: two numbers of 4 bits share a byte."""
    return (stored[0], 2 * stored[1]) if layer["format"] == W4A8 and len(stored) == 2 else tuple(stored)


def quantise(weight: Tensor, layer: Mapping[str, Any]) -> dict[str, Tensor]:
    """A weight `[N, K]` -> its pieces, in the order of `layout`."""
    if layer["format"] == FP8:
        scale = (weight.abs().amax().float() / torch.finfo(torch.float8_e4m3fn).max).clamp(min=1e-30)
        return {WEIGHT: (weight.float() / scale).to(torch.float8_e4m3fn), SCALE: scale}
    group = layer["convrot_groupsize"]
    if layer["format"] == INT8:
        rotated = rotate_groups(weight.float(), group)
        scale = (rotated.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30)
        return {WEIGHT: rotated.div_(scale).round_().clamp_(-128, 127).to(torch.int8), SCALE: scale}
    chunks = [
        _four_bits(rotate_groups(rows.float(), group), layer["group_size"])
        for rows in weight.split(max(1, _CHUNK // weight.shape[1]))
    ]
    pieces = {end: torch.cat([chunk[end] for chunk in chunks]) for end in chunks[0]}
    return {**pieces, CODEBOOK: torch.tensor(LEVELS)}


def _four_bits(weight: Tensor, scaled: int) -> dict[str, Tensor]:
    """Rows that are rotated already -> pieces in 4 bits."""
    rows, columns = weight.shape
    levels = torch.tensor(LEVELS)
    between = (levels[1:] + levels[:-1]) / 2
    groups = weight.view(rows, -1, scaled)
    scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-20)
    for _ in range(3):  # the scale that suits the chosen levels best, then the levels that suit that scale
        chosen = levels[torch.bucketize(groups / scale, between)]
        best = (groups * chosen).sum(-1, keepdim=True) / chosen.square().sum(-1, keepdim=True)
        scale = best.clamp(min=1e-20)
    # The host multiplies in 8 bits: a row's largest value is 127, and groups say how much smaller theirs are.
    row = (scale.amax(dim=(1, 2), keepdim=True) * LEVELS[-1] / 127).clamp(min=1e-20)
    share = (scale / row).to(torch.float8_e4m3fn)
    grid = share.float()
    wanted = groups / row
    first = torch.bucketize(wanted / grid.clamp(min=1e-6), between)
    codes, error = first, torch.full_like(wanted, math.inf)
    for step in (-1, 0, 1):  # rounding to whole numbers may have made a neighbour the nearest
        other = (first + step).clamp_(0, len(LEVELS) - 1)
        distance = (wanted - _on_grid(levels[other], grid)).abs_()
        nearer = distance < error
        codes, error = torch.where(nearer, other, codes), torch.where(nearer, distance, error)
    codes = codes.view(rows, columns).to(torch.uint8)
    packed = codes[:, 0::2] | (codes[:, 1::2] << 4)
    return {
        WEIGHT: packed.view(torch.int8),
        GROUP_SCALES: share.squeeze(-1).contiguous(),
        ROW_SCALES: row.flatten().contiguous(),
    }


def _on_grid(values: Tensor, scale: Tensor) -> Tensor:
    """Levels as the whole numbers that the host multiplies."""
    return (values * scale).round_().clamp_(-127, 127)


class Int8Weight(NamedTuple):
    """A weight as `int8 * scale`, with its inputs rotated in groups (0: not rotated)."""

    values: Tensor
    """`[N, K]` int8."""
    scale: Tensor
    """`[N]` float32."""
    group: int


def int8_weight(pieces: Mapping[str, Tensor], layer: Mapping[str, Any]) -> Int8Weight | None:
    """A weight in int8, those of w4a8 unpacked; None where its format is fp8.

    Raises:
        ValueError: scales or groups do not fit the weight, or it is not stored in int8.
    """
    if layer["format"] == FP8:
        return None
    group = layer.get("convrot_groupsize", GROUPS[0]) if layer["format"] == W4A8 or layer.get("convrot") else 0
    stored = pieces[WEIGHT]
    if stored.dtype != torch.int8:
        raise ValueError(f"it holds {stored.dtype} in place of int8.")
    columns = whole_shape(stored.shape, layer)[-1]
    if group and columns % group:
        raise ValueError(f"its rows of {columns} numbers are no groups of {group}.")
    if layer["format"] == INT8:
        scale = pieces[SCALE].float().reshape(-1)
        if len(scale) not in (1, len(stored)):
            raise ValueError(f"it has {len(scale)} scales for {len(stored)} rows.")
        scale = scale.expand(len(stored)).contiguous()
        return Int8Weight(stored, scale, group)
    bits = stored.view(torch.uint8)
    scaled = layer.get("group_size", SCALED)
    if columns % scaled:
        raise ValueError(f"its rows of {columns} numbers are no groups of {scaled}.")
    codes = torch.stack([bits & 15, bits >> 4], dim=-1).view(len(stored), -1, scaled)
    values = torch.empty(codes.shape, dtype=torch.int8)
    levels, scales = pieces[CODEBOOK].float(), pieces[GROUP_SCALES]
    if levels.shape != (len(LEVELS),):
        raise ValueError(f"its codebook is of {list(levels.shape)} numbers in place of {len(LEVELS)}.")
    if scales.shape != codes.shape[:2] or pieces[ROW_SCALES].shape != stored.shape[:1]:
        found = [list(pieces[name].shape) for name in (GROUP_SCALES, ROW_SCALES)]
        raise ValueError(f"its scales are of {found[0]} and {found[1]} numbers, for {list(codes.shape)} weights.")
    rows = max(1, _CHUNK // codes[0].numel())
    for some in range(0, len(codes), rows):  # as float32 all of it would take four times its memory
        part = slice(some, some + rows)
        values[part] = _on_grid(levels[codes[part].long()], scales[part].float()[..., None]).to(torch.int8)
    return Int8Weight(values.view(len(stored), -1), pieces[ROW_SCALES].float(), group)


def dequantise(pieces: Mapping[str, Tensor], layer: Mapping[str, Any]) -> Tensor:
    """The weight in float32 that `quantise` made this of, but for rounding.

    Raises:
        ValueError: scales or groups do not fit the weight, or it is not stored in int8.
    """
    whole = int8_weight(pieces, layer)
    if whole is None:
        if pieces[SCALE].numel() != 1:
            raise ValueError(f"it has {pieces[SCALE].numel()} scales in place of one.")
        return pieces[WEIGHT].float() * pieces[SCALE]
    weight = whole.values.float().mul_(whole.scale[:, None])
    return rotate_groups(weight, whole.group) if whole.group else weight


def rotate_groups(weight: Tensor, group: int) -> Tensor:
    """Each `group` of neighbouring columns times the Hadamard matrix of that size; twice is nothing."""
    rows, columns = weight.shape
    return (weight.view(-1, group) @ hadamard(group)).view(rows, columns)


def has_hadamard(size: int) -> bool:
    """Whether there is a regular Hadamard matrix of this size here: it is a power of 4."""
    return size >= 4 and size.bit_count() == 1 and size.bit_length() % 2 == 1


@cache
def hadamard(size: int) -> Tensor:
    """The regular Hadamard matrix, symmetric and orthogonal, of a size that `has_hadamard`."""
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


def to_tensor(layer: Mapping[str, Any]) -> Tensor:
    """What the header says of one layer, as the tensor that the host looks for beside the weight."""
    return torch.tensor(list(json.dumps(layer).encode()), dtype=torch.uint8)


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
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file}: what its header says about quantised layers is damaged.") from error
    unknown = sorted(formats - set(PIECES), key=str)
    if unknown:
        raise CheckpointError(f"{file} has weights in {unknown[0]!r}; read here are {', '.join(map(repr, PIECES))}.")
    for name, layer in layers.items():
        for key, least in _SIZES.items():
            size = layer.get(key, least)
            if not isinstance(size, int) or isinstance(size, bool) or size < least:
                raise CheckpointError(
                    f"{file}: {key} of {name!r} is {size!r} in its header; it must be a whole number from {least} on."
                )
        group = layer.get("convrot_groupsize", 0)
        if group and not has_hadamard(group):
            raise CheckpointError(
                f"{file}: convrot_groupsize of {name!r} is {group} in its header; it must be 4 or another power of 4."
            )
    return layers
