"""Layers for a CPU that computes one token at a time: what `operations` is for headless inference in float32.

A matrix times one to eight vectors is what writing a sequence consists of, and the usual call takes up to twice the
time that the same product takes in another form: medians on one thread of an EPYC, in microseconds, are 72 against 37
for two rows of 256 to 768 and 388 against 178 for 1024 to 1024. In small models the number of calls takes more time than
their numbers, so layers with the same input are one product. Results differ in rounding alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOST_ROWS = 8
"""Above, the usual call is the faster one."""
MOST_NUMBERS = 5632
"""Of all rows together: what must stay in the CPU's nearest cache for the other form to be the faster one."""
MOST_OF_ONE = 1024
"""Of a single row, which gains from a second, unused one beside it while both are short."""

Embedding, LayerNorm, Conv2d = nn.Embedding, nn.LayerNorm, nn.Conv2d


class Linear(nn.Linear):
    """`nn.Linear` that multiplies the weight by the transposed rows, where these are few."""

    joint: Tensor | None = None
    """The weights of `join`, of which this layer's is the first."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.bias is not None or weight.requires_grad:
            return super().forward(x)
        return _product(x, weight)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """`[..., K]` times the transposed `[N, K]` -> `[..., N]`."""
    width = x.shape[-1]
    numbers = x.numel()
    rows = numbers // width
    if rows == 1 and width <= MOST_OF_ONE:
        columns = x.reshape(1, width)
        product = torch.mm(weight, torch.cat([columns, columns]).t())[:, 0].contiguous()
    elif 1 < rows <= MOST_ROWS and numbers <= MOST_NUMBERS:
        # Rows that stand side by side in memory would take the slow way again, in this layer or the next.
        product = torch.mm(weight, x.reshape(rows, width).contiguous().t()).t().contiguous()
    else:
        return nn.functional.linear(x, weight)
    return product.view(*x.shape[:-1], -1)


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


def together(x: Tensor, *layers: nn.Module) -> list[Tensor]:
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
