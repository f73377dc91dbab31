"""Layers that multiply in int8 on a CPU, for weights that are stored in int8 or w4a8.

Inputs are rotated as the weights were and rounded to 8 bits with a scale for each row, as ComfyUI does on a card. With
a quarter of the bytes to read and instructions of its own, this is faster than float32 as well as smaller.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .quantise import Int8Weight, hadamard


@cache
def fast_on_cpu() -> bool:
    """Whether this CPU has instructions for products in int8 (VNNI); without them float32 is faster."""
    known = getattr(torch.cpu, "_is_vnni_supported", None)
    return known is not None and hasattr(torch, "_int_mm") and bool(known())


def rotate_rows(x: Tensor, group: int) -> Tensor:
    """What `rotate_groups` gives for `x` `[M, K]`, in two small products."""
    power = group.bit_length() // 2  # of 4
    left, right = 4 ** (power // 2), 4 ** (power - power // 2)
    if left == 1:
        return (x.view(-1, group) @ hadamard(group).to(x)).view(x.shape)
    squares = x.view(-1, left, right)
    return (hadamard(left).to(x) @ (squares @ hadamard(right).to(x))).view(x.shape)


def multiply(x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """`x` `[..., K]` times the transposed weight -> `[..., N]`, in the type of `x`."""
    rows = x.reshape(-1, x.shape[-1]).float()
    if weight.group:
        rows = rotate_rows(rows, weight.group)
    scale = rows.abs().amax(-1, keepdim=True).div_(127).clamp_(min=1e-30)
    product = torch._int_mm((rows / scale).round_().to(torch.int8), weight.values.t())
    product = product.float().mul_(scale).mul_(weight.scale)
    if bias is not None:
        product += bias
    return product.to(x.dtype).view(*x.shape[:-1], -1)


class Linear(nn.Module):
    """A linear layer in int8; `weight` and `scale` are buffers, and nothing of it can be trained."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None):
        super().__init__()
        self.register_buffer("weight", weight.values, persistent=False)
        self.register_buffer("scale", weight.scale, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.group = weight.group
        self.register_buffer("down", None, persistent=False)
        self.register_buffer("up", None, persistent=False)

    def add(self, down: Tensor, up: Tensor) -> None:
        """Add `up @ down` beside the weight, which is not rounded again: `[R, K]` and `[N, R]`."""
        down, up = down.to(self.scale), up.to(self.scale)
        self.down = down if self.down is None else torch.cat([self.down, down])
        self.up = up if self.up is None else torch.cat([self.up, up], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., K]` -> `[..., N]`."""
        product = multiply(x, Int8Weight(self.weight, self.scale, self.group), self.bias)
        if self.down is None:
            return product
        return product + F.linear(F.linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))
