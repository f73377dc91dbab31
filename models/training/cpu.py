"""What makes training on a CPU fast: each has other products that it is slow at."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SIDE, TRIES = 256, 5
"""Of the matrices whose products are timed, and how often."""
SLOW = 3
"""Times that a product in bfloat16 takes longer than in float32 on a CPU that computes in float32 instead. One with
instructions for bfloat16 needs less time for it; one that has AVX2 alone needs a hundred times as much."""


@cache
def is_slow_in_bfloat16() -> bool:
    """Whether this CPU multiplies matrices much slower in bfloat16 than in float32."""
    taken = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(SIDE, SIDE, dtype=dtype)
        times = []
        for _ in range(TRIES):
            begun = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - begun)
        taken[dtype] = min(times)
    return taken[torch.bfloat16] > SLOW * taken[torch.float32]


def precision(stage: nn.Module, wanted: str) -> str:
    """What a stage is computed in, "bf16" or "no": as wanted, but in float32 on a CPU that is slow in bfloat16.

    A stage that holds weights in fewer bits stays with "bf16".
    """
    if wanted != "bf16" or torch.cuda.is_available():
        return wanted
    whole = all(value.dtype == torch.float32 for value in stage.parameters())
    return "no" if whole and is_slow_in_bfloat16() else wanted


def optimizer_step(device: torch.device):
    """Muon orthogonalises in bfloat16, whatever its weights are in: in float32 on a CPU that is slow in bfloat16."""
    return _InFloat32() if device.type == "cpu" and is_slow_in_bfloat16() else nullcontext()


class _InFloat32(TorchFunctionMode):
    """What would be cast to bfloat16 is copied in float32."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)
        return function(*args, **(kwargs or {}))


class _PlainAttention(TorchFunctionMode):
    """Attention in bfloat16 by plain matrix products; causal one in a few blocks of queries, each with the keys up to
    its own end.

    On a CPU with bfloat16 products that takes half the time of PyTorch's own kernel, most of all on the way back.
    What needs no gradients, or is in float32, is left to that kernel, in float32: its bfloat16 form takes several times
    as long, and so do plain products in float32 on long rows.
    """

    BLOCK = 200

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        query, key, value = args
        halved = torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False):
            in_blocks = kwargs.get("is_causal") and not kwargs.get("enable_gqa")
            if not (halved and (in_blocks or not kwargs) and torch.is_grad_enabled()):
                return function(query.float(), key.float(), value.float(), **kwargs)
            query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
            if in_blocks:
                return _causal_attention(query, key, value, self.BLOCK)
            return (query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)).softmax(-1) @ value


def _causal_attention(query: Tensor, key: Tensor, value: Tensor, block: int) -> Tensor:
    """Causal attention of `[B, H, T, D]` queries, keys and values of equal length."""
    length = query.shape[-2]
    blocks = max(1, round(length / block))
    later = torch.full((length, length), -math.inf, dtype=query.dtype, device=query.device).triu(1)
    out = []
    for number in range(blocks):
        begin, end = number * length // blocks, (number + 1) * length // blocks
        scores = (query[:, :, begin:end] * query.shape[-1] ** -0.5) @ key[:, :, :end].transpose(-1, -2)
        out.append((scores + later[begin:end, :end]).softmax(-1) @ value[:, :, :end])
    return torch.cat(out, dim=2)


def attention(device: torch.device):
    """Computes attention as a device does it fastest, on the way back too."""
    return _PlainAttention() if device.type == "cpu" else nullcontext()
