"""Layers for a CPU that computes one token at a time: what `operations` is for headless inference in float32.

A matrix times one to four vectors is what writing a sequence consists of, and the usual call takes up to twice the
time that the same product takes in another form: medians on one thread of an EPYC, in microseconds, are 61 against 32
for two rows of 256 to 704 and 390 against 191 for 1024 to 1024. Results differ in rounding alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOST_ROWS = 4
"""Above, the usual call is the faster one."""
SMALL = 2**18
"""Weights up to this many numbers gain from a second, unused column beside a single one."""

Embedding, RMSNorm, LayerNorm, Conv2d = nn.Embedding, nn.RMSNorm, nn.LayerNorm, nn.Conv2d


class Linear(nn.Linear):
    """`nn.Linear` that multiplies the weight by the transposed rows, where these are few."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        few = 1 < rows <= MOST_ROWS or (rows == 1 and self.weight.numel() <= SMALL)
        bias: Tensor | None = self.bias
        if not few or bias is not None or self.weight.requires_grad:
            return super().forward(x)
        columns = x.reshape(rows, -1)
        if rows == 1:
            columns = torch.cat([columns, columns])
        return torch.mm(self.weight, columns.t())[:, :rows].t().reshape(*x.shape[:-1], -1)
