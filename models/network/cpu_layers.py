"""Layers for a CPU that computes in float32: what `operations` is for headless inference.

PyTorch leaves products of float32 matrices to MKL, which spares CPUs of other makers than its own the widest
instructions; oneDNN, with which PyTorch computes convolutions, uses them everywhere. It multiplies by a copy of the
weight in an order of its own, made once. Medians on one thread of an EPYC, in microseconds, of a matrix of 1024 to 5632
and one row: 1096 against 660; two: 2486 against 715; sixteen: 3200 against 1320; 128: 15364 against 6332.

Where there is no such copy, MKL's product of one row in another form takes 702: the usual one reads the matrix with
about half of what the memory gives. In small models the number of calls takes more time than their numbers, so layers
with the same input are one product. Results differ in rounding alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

NEAREST = 4096
"""Numbers of a row that stay in the CPU's nearest cache while the matrix passes."""
TALL = 32
"""Rows of the matrix that are multiplied together."""
TYPICAL = 16
"""Rows that the copies of weights are made for; they serve any number."""
LIGHT = 2**20
"""Numbers of a matrix up to which one row or two are best multiplied by MKL, one of them in pieces."""
SMALL = 2**18
"""Multiplications up to which the usual call is the fastest: in oneDNN's a part of the time is none of theirs."""
MOST_PACKED = 2**31
"""Bytes of a model's weights up to which they are copied: a larger one would not fit beside its copy everywhere."""

Embedding, LayerNorm, Conv2d = nn.Embedding, nn.LayerNorm, nn.Conv2d


class Linear(nn.Linear):
    """`nn.Linear` for frozen weights. What is trained, or differentiated, is computed as usual."""

    joint: Tensor | None = None
    """The weights of `join`, of which this layer's is the first."""
    packs = True
    """Whether there is memory for a copy of the weights."""
    _packed: tuple[Hashable, Tensor] | None = None
    """The copy, and what it was made of."""

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        return super().forward(x) if _is_trained(x, weight) else _product(x, weight, self.bias, (self,))

    def __getstate__(self) -> Mapping[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def packed(self, weight: Tensor, layers: Sequence[Linear]) -> Tensor:
        """A copy of the weight as `_multiply` wants it, which is of these layers; made anew when theirs change."""
        made_of = tuple((layer.weight.data_ptr(), layer.weight._version) for layer in layers)
        if self._packed is None or self._packed[0] != made_of:
            self._packed = made_of, torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL)
        return self._packed[1]


def _is_trained(x: Tensor, weight: Tensor) -> bool:
    return x.requires_grad or weight.requires_grad or torch.is_autocast_enabled("cpu")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, layers: Sequence[Linear]) -> Tensor:
    """`[..., K]` times the transposed `[N, K]` of these layers -> `[..., N]`."""
    height, width = weight.shape
    rows = x.numel() // width
    if weight.dtype != torch.float32 or x.dtype != torch.float32:
        return nn.functional.linear(x, weight, bias)
    flat = x.reshape(rows, width).contiguous()
    # Weights that were made for inference do not count their changes, after which a copy would be wrong.
    packs = bool(rows) and layers[0].packs and not layers[0].weight.is_inference() and _can_pack()
    mkl = rows in (1, 2) and bias is None and torch.backends.mkl.is_available()
    if mkl and width <= NEAREST and height >= TALL and (weight.numel() <= LIGHT or not packs):
        product = _in_pieces(flat, weight) if rows == 1 else torch.mm(weight, flat.t()).t().contiguous()
    elif packs and rows * weight.numel() > SMALL:
        product = _multiply(flat, layers[0].packed(weight, layers), bias)
    else:
        return nn.functional.linear(x, weight, bias)
    return product.view(*x.shape[:-1], height)


def _in_pieces(x: Tensor, weight: Tensor) -> Tensor:
    """The product `[1, N]` with one row, some rows of the weight at a time."""
    height, width = weight.shape
    pieces = height // TALL
    column = x.t()  # which says that it is a row; as a column of its own it would take a slow way
    whole = weight[: pieces * TALL].view(pieces, TALL, width)
    product = torch.bmm(whole, column.expand(pieces, width, 1)).view(1, -1)
    if pieces * TALL == height:
        return product
    return torch.cat([product, nn.functional.linear(x, weight[pieces * TALL :])], dim=1)


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


@cache
def _can_pack() -> bool:
    """Whether this PyTorch has oneDNN's products, which it does not promise, and whether they are right."""
    if not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = (torch.linspace(-1, 1, count) for count in (3 * 40, 50 * 40, 50))
    x, weight = x.view(3, 40), weight.view(50, 40)
    try:
        found = _multiply(x, torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL), bias)
    except (AttributeError, RuntimeError):  # not there, or called in another way
        return False
    return torch.allclose(found, nn.functional.linear(x, weight, bias), atol=1e-4)


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` over the last axis, in fewer operations."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if weight.requires_grad or x.requires_grad or self.eps is None:
            return super().forward(x)
        norm = torch.linalg.vector_norm(x, 2, -1, True)
        return (x * norm.square_().div_(x.shape[-1]).add_(self.eps).rsqrt_()).mul_(weight)


def prepare(module: nn.Module) -> nn.Module:
    """Make all linear layers of a finished module those of this file, on the same memory; gives the module."""
    for parent in module.modules():
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                ours = Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
                ours.weight, ours.bias = layer.weight, layer.bias
                setattr(parent, name, ours.train(layer.training))
    layers = [layer for layer in module.modules() if isinstance(layer, Linear)]
    if sum(layer.weight.nbytes for layer in layers) > MOST_PACKED:
        for layer in layers:
            layer.packs = False
    return join(module)


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
    if joint is None or _is_trained(x, joint):
        return [layer(x) for layer in layers]
    place, sizes = joint.data_ptr(), []
    for layer in layers:
        weight = layer.weight
        if weight.data_ptr() != place or weight.requires_grad:  # others have been put in since
            return [layer(x) for layer in layers]
        place += weight.nbytes
        sizes.append(len(weight))
    return list(_product(x, joint, None, layers).split(sizes, -1))
