"""Layers for a CPU that computes one token at a time: what `operations` is for headless inference in float32.

A matrix times one to sixteen vectors is what writing a sequence consists of. The usual call reads the matrix with about
half of what the memory gives; the same product in another form is faster. Medians on one thread of an EPYC with MKL, in
microseconds, are 1156 against 770 for one row of 1024 to 5632, 2611 against 894 for two, and 2980 against 2272 for
eight. In small models the number of calls takes more time than their numbers, so layers with the same input are one
product. Results differ in rounding alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

MOST_ROWS = 16
"""Above, the usual call is the fastest."""
NEAREST = 4096
"""Numbers, of all rows together, that stay in the CPU's nearest cache while the matrix passes."""
TALL = 32
"""Rows of the matrix that are multiplied together."""
WIDE = 1024
"""Numbers of a row from which on the matrix is better passed in pieces than at once."""

Embedding, LayerNorm, Conv2d = nn.Embedding, nn.LayerNorm, nn.Conv2d


class Linear(nn.Linear):
    """`nn.Linear` that multiplies the weight by the transposed rows, where these are few."""

    joint: Tensor | None = None
    """The weights of `join`, of which this layer's is the first."""

    def forward(self, x: Tensor) -> Tensor:
        bias: Tensor | None = self.bias
        if bias is not None or self.weight.requires_grad:
            return super().forward(x)
        return _product(x, self.weight)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """`[..., K]` times the transposed `[N, K]` -> `[..., N]`."""
    width, height = x.shape[-1], len(weight)
    rows = x.numel() // width
    if rows > MOST_ROWS or not _known():
        return nn.functional.linear(x, weight)
    # Rows that stand side by side in memory would take the slow way, so they are copied, here and behind the products.
    columns = x.reshape(rows, width).contiguous().t()
    if rows == 2 and WIDE <= width <= NEAREST:
        product = torch.bmm(weight.unsqueeze(1), columns.expand(height, width, 2)).view(height, 2).t().contiguous()
    elif 1 < rows <= 8 and rows * width <= (NEAREST if rows <= 4 else NEAREST // 2):
        product = torch.mm(weight, columns).t().contiguous()
    elif height >= TALL and (width <= NEAREST if rows == 1 else width >= WIDE):
        product = _in_pieces(weight, columns, rows)
    else:
        return nn.functional.linear(x, weight)
    return product.view(*x.shape[:-1], height)


def _in_pieces(weight: Tensor, columns: Tensor, rows: int) -> Tensor:
    """The product `[rows, N]`, some rows of the weight at a time."""
    height, width = weight.shape
    pieces = height // TALL
    whole = weight[: pieces * TALL].view(pieces, TALL, width)
    if rows == 1:
        product = torch.bmm(whole, columns.expand(pieces, width, 1)).view(1, -1)
    else:
        product = torch.bmm(columns.t().expand(pieces, rows, width), whole.transpose(1, 2))
        product = product.transpose(0, 1).reshape(rows, -1)
    if pieces * TALL == height:
        return product
    return torch.cat([product, nn.functional.linear(columns.t(), weight[pieces * TALL :])], dim=1)


@cache
def _known() -> bool:
    """Whether the CPU's products are those that were measured: without MKL, many small ones are many calls."""
    return torch.backends.mkl.is_available()


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` over the last axis, in fewer operations."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if weight.requires_grad or x.requires_grad or self.eps is None:
            return super().forward(x)
        norm = torch.linalg.vector_norm(x, 2, -1, True)
        return (x * norm.square_().div_(x.shape[-1]).add_(self.eps).rsqrt_()).mul_(weight)


def join(module: nn.Module) -> nn.Module:
    """Put the weights of layers that take the same input into one piece of memory, for `together`; gives the module."""
    for parent in module.modules():
        layers = [getattr(parent, name) for name in getattr(parent, "TOGETHER", ())]
        if layers and all(isinstance(layer, Linear) and layer.bias is None for layer in layers):
            joint = torch.cat([layer.weight.detach() for layer in layers])
            for layer, weight in zip(layers, joint.split([len(layer.weight) for layer in layers]), strict=True):
                layer.weight.data = weight
            layers[0].joint = joint
    return module


def together(x: Tensor, *layers: Any) -> list[Tensor]:
    """What each of these layers makes of the same input: in one product, where `join` put their weights together."""
    joint = getattr(layers[0], "joint", None)
    if joint is None:
        return [layer(x) for layer in layers]
    place, sizes = joint.data_ptr(), []
    for layer in layers:
        weight = layer.weight
        if weight.data_ptr() != place or weight.requires_grad:  # others have been put in since
            return [layer(x) for layer in layers]
        place += weight.nbytes
        sizes.append(len(weight))
    return list(_product(x, joint).split(sizes, -1))
