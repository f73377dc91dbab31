"""Layers for a CPU that computes in float32: what `operations` is for headless inference.

PyTorch leaves products of float32 matrices to MKL, which spares CPUs of other makers than its own the widest
instructions; oneDNN, with which PyTorch computes convolutions, uses them everywhere. It multiplies by a copy of the
weight in an order of its own, made once. Medians on one thread of an EPYC, in microseconds, of a matrix of 1024 to 5632
and one row: 1096 against 660; two: 2486 against 715; sixteen: 3200 against 1320; 128: 15364 against 6332.

Where there is no such copy, MKL's product of one row in another form takes 702: the usual one reads the matrix with
about half of what the memory gives. A CPU without wider instructions than AVX2 MKL uses whole: there, one row of that
matrix takes 1638 by its usual product on one thread and 1788 by oneDNN's; on two threads, one of which the usual
product leaves idle, 1209 in pieces and 1305 by oneDNN's.

In small models the number of calls takes more time than their numbers, so layers with the same input are one product.
Results differ in rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

NEAREST = 4096
"""Numbers of a row that stay in the CPU's nearest cache while the matrix passes."""
TALL = 32
"""Rows of the matrix that are multiplied together."""
TYPICAL = 16
"""Rows that the copies of weights are made for; they serve any number."""
LIGHT = 2**19
"""Numbers of a matrix below which one row or two are best multiplied by MKL, one of them in pieces."""
SMALL = 2**18
"""Multiplications up to which the usual call is the fastest: in oneDNN's a part of the time is none of theirs."""
MOST_PACKED = 2**31
"""Bytes of a model's weights up to which they are copied: a larger one would not fit beside its copy everywhere."""

Embedding, LayerNorm, Conv2d = nn.Embedding, nn.LayerNorm, nn.Conv2d


class Linear(nn.Linear):
    """`nn.Linear` for frozen weights. What is trained, or differentiated, is computed as usual."""

    joint: Joint | None = None
    """The weights of `join`, of which this layer's is the first."""
    packs = True
    """Whether there is memory for a copy of the weights."""
    _packed: tuple[list[tuple[int, int]], Tensor] | None = None
    """The copy, and what it was made of: where each part stands, and how often it was changed."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_features]` -> `[..., out_features]`."""
        weight: Tensor = self.weight
        if x.requires_grad or weight.requires_grad or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        return self.product(x, weight, self.bias, (weight,))

    def __getstate__(self) -> Mapping[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, parts: Sequence[Tensor]) -> Tensor:
        """`[..., K]` times the transposed weight `[N, K]` -> `[..., N]`.

        Args:
            x: `[..., K]`.
            weight: `[N, K]`.
            bias: `[N]`, or None.
            parts: the parameters that `weight` consists of; the copy of it is made anew when one of them changes.
        """
        height, width = weight.shape
        if weight.dtype != torch.float32 or x.dtype != torch.float32:
            return nn.functional.linear(x, weight, bias)
        rows, numbers = x.numel() // width, height * width
        if rows == 1 and numbers >= LIGHT and _mkl_is_wide() and torch.get_num_threads() == 1:
            return nn.functional.linear(x, weight, bias)
        flat = x.reshape(rows, width).contiguous()
        light = 0 < rows <= 2 and bias is None and width <= NEAREST and height >= TALL and _has_mkl()
        by_mkl = light and (numbers < LIGHT or (rows == 1 and _mkl_is_wide()))
        # Weights that were made for inference do not count their changes, after which a copy would be wrong.
        packs = not by_mkl and self.packs and not parts[0].is_inference() and _can_pack()
        if packs and rows * numbers > SMALL:
            product = _multiply(flat, self._pack(weight, parts), bias)
        elif light:
            product = _in_pieces(flat, weight) if rows == 1 else torch.mm(weight, flat.t()).t()
        else:
            return nn.functional.linear(x, weight, bias)
        return product.view(*x.shape[:-1], height)

    def _pack(self, weight: Tensor, parts: Sequence[Tensor]) -> Tensor:
        """A copy of the weight as `_multiply` wants it; made anew when a part changes."""
        made_of = [(part.data_ptr(), part._version) for part in parts]
        if self._packed is None or self._packed[0] != made_of:
            self._packed = made_of, torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL)
        return self._packed[1]


class Joint(NamedTuple):
    """Weights of several layers in one piece of memory."""

    weight: Tensor
    """`[N, K]`, of all layers."""
    begins: tuple[int, ...]
    """Bytes before each layer's weight."""
    heights: tuple[int, ...]
    """Rows of each layer's weight."""


@cache
def _has_mkl() -> bool:
    return torch.backends.mkl.is_available()


@cache
def _mkl_is_wide() -> bool:
    """Whether the widest instructions of this CPU are those that MKL uses on CPUs of any maker."""
    return _has_mkl() and torch.backends.cpu.get_cpu_capability() == "AVX2"


def _in_pieces(x: Tensor, weight: Tensor) -> Tensor:
    """The product `[1, N]` with one row, some rows of the weight at a time."""
    height, width = weight.shape
    pieces = height // TALL
    column = x.t()  # not made contiguous: with the strides of a row, `bmm` takes its fast way
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
    except (AttributeError, RuntimeError):  # this PyTorch lacks it, or it takes other arguments
        return False
    return torch.allclose(found, nn.functional.linear(x, weight, bias), atol=1e-4)


class RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` over the last axis, in fewer operations."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` -> `[..., width]`."""
        weight = self.weight
        if weight.requires_grad or x.requires_grad or self.eps is None:
            return super().forward(x)
        norm = torch.linalg.vector_norm(x, 2, -1, True)
        return (x * weight).mul_(torch.addcmul(_constant(self.eps), norm, norm, value=1 / x.shape[-1]).rsqrt_())


@cache
def _constant(value: float) -> Tensor:
    """A number that need not be made a tensor each time."""
    with torch.inference_mode(False):
        return torch.tensor(value, device="cpu")


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
            parts = joint.split([layer.out_features for layer in layers])
            for layer, weight in zip(layers, parts, strict=True):
                layer.weight.data = weight
            begins = tuple(part.data_ptr() - joint.data_ptr() for part in parts)
            layers[0].joint = Joint(joint, begins, tuple(len(part) for part in parts))
    return module


def together(x: Tensor, *layers: Any) -> Sequence[Tensor]:
    """What each of these layers makes of the same input: in one product, where `join` put their weights together.

    Args:
        x: `[..., in_features]`.
        layers: linear ones, in the order of their module's `TOGETHER`.

    Returns:
        `[..., out_features]` of each layer.
    """
    joint = getattr(layers[0], "joint", None)
    if joint is None or x.requires_grad or torch.is_autocast_enabled("cpu"):
        return [layer(x) for layer in layers]
    parts = [layer.weight for layer in layers]
    place = joint.weight.data_ptr()
    for part, before in zip(parts, joint.begins, strict=True):
        if part.data_ptr() != place + before or part.requires_grad:  # a weight was replaced since `join`
            return [layer(x) for layer in layers]
    return layers[0].product(x, joint.weight, None, parts).split_with_sizes(joint.heights, -1)
