"""Vision encoder: a ViT with post-norm blocks (EVA-CLIP's layout), pictures to patch features."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from .configuration import VisionConfig


class Attention(nn.Module):
    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        self.heads = config.heads
        self.qkv = operations.Linear(config.width, 3 * config.width, config.qkv_bias, dtype=dtype, device=device)
        self.proj = operations.Linear(config.width, config.width, dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))


class MLP(nn.Module):
    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        self.fc1 = operations.Linear(config.width, config.mlp_width, dtype=dtype, device=device)
        self.fc2 = operations.Linear(config.mlp_width, config.width, dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """The norm comes after attention and MLP, inside the residual branch."""

    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.norm1 = operations.LayerNorm(config.width, eps=config.layer_norm_eps, **place)
        self.attn = Attention(config, operations, **place)
        self.norm2 = operations.LayerNorm(config.width, eps=config.layer_norm_eps, **place)
        self.mlp = MLP(config, operations, **place)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm1(self.attn(x))
        return x + self.norm2(self.mlp(x))


class PatchEmbed(nn.Module):
    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        size = config.patch_size
        self.proj = operations.Conv2d(3, config.width, size, stride=size, dtype=dtype, device=device)

    def forward(self, pixels: Tensor) -> Tensor:
        return rearrange(self.proj(pixels), "b c h w -> b (h w) c")


class VisionEncoder(nn.Module):
    """Pictures `[B, 3, image_size, image_size]`, CLIP-normalised -> patch features `[B, grid * grid, width]`.

    Parameter names are those of the published `visual.pt`. `operations` makes every layer (`torch.nn`, or the host's).
    """

    def __init__(self, config: VisionConfig, operations: Any = nn, dtype=None, device=None):
        super().__init__()
        self.config = config
        place = {"dtype": dtype, "device": device}
        self.patch_embed = PatchEmbed(config, operations, **place)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width, **place))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.width, **place))
        self.blocks = nn.ModuleList(Block(config, operations, **place) for _ in range(config.layers))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patch_embed(pixels)
        # The two raw parameters are not moved by a host that offloads layer by layer: cast them where they are used.
        x = torch.cat([self.cls_token.to(x).expand(len(x), -1, -1), x], dim=1) + self.pos_embed.to(x)
        for block in self.blocks:
            x = block(x)
        features = x[:, 1:]
        return F.layer_norm(features, features.shape[-1:]) if self.config.normalize_features else features


def pool_features(patch_features: Tensor, side: int) -> Tensor:
    """Average patch features `[B, grid * grid, D]` over a `side` x `side` grid -> `[B, side * side, D]`."""
    grid = round(patch_features.shape[1] ** 0.5)
    cell = grid // side
    return reduce(
        patch_features, "b (h cell_h w cell_w) d -> b (h w) d", "mean", h=side, w=side, cell_h=cell, cell_w=cell
    )
