"""Vision encoder: a ViT with post-norm blocks, pictures to patch features.

The layout is that of EVA-CLIP (arXiv 2303.15389) with its option `postnorm`, which the published WeGen uses.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from .configuration import VisionConfig


class Attention(nn.Module):
    """Attention of all tokens to each other, without a mask; queries, keys and values come of one layer."""

    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        self.heads = config.heads
        self.qkv = operations.Linear(config.width, 3 * config.width, config.qkv_bias, dtype=dtype, device=device)
        self.proj = operations.Linear(config.width, config.width, dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, width]` -> `[B, N, width]`."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        return self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))


class MLP(nn.Module):
    """Two linear layers with a GELU between them, the exact one."""

    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        self.fc1 = operations.Linear(config.width, config.mlp_width, dtype=dtype, device=device)
        self.fc2 = operations.Linear(config.mlp_width, config.width, dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` -> `[..., width]`."""
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
        """`[B, N, width]` -> `[B, N, width]`."""
        x = x + self.norm1(self.attn(x))
        return x + self.norm2(self.mlp(x))


class PatchEmbed(nn.Module):
    """One token for each square of `patch_size` pixels; the squares do not overlap."""

    def __init__(self, config: VisionConfig, operations, dtype=None, device=None):
        super().__init__()
        size = config.patch_size
        self.proj = operations.Conv2d(3, config.width, size, stride=size, dtype=dtype, device=device)

    def forward(self, pixels: Tensor) -> Tensor:
        """`[B, 3, H, W]` -> `[B, (H // patch_size) * (W // patch_size), width]`, row by row."""
        return rearrange(self.proj(pixels), "b c h w -> b (h w) c")


class VisionEncoder(nn.Module):
    """Pictures `[B, 3, image_size, image_size]`, CLIP-normalised -> patch features `[B, grid * grid, width]`.

    There is no norm after the last block, as published, unless `normalize_features` asks for one. Parameter names are
    those of the published `visual.pt`. `operations` makes every layer (`torch.nn`, or the host's).
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
        """Patch features of pictures, row by row; the class token is left out.

        Args:
            pixels: `[B, 3, image_size, image_size]`, with CLIP's mean and deviation taken off: see
                `media.images.clip_pixels`.

        Returns:
            `[B, grid * grid, width]`; where `normalize_features` is set, with mean 0 and variance 1 over `width`.

        Raises:
            RuntimeError: pictures of another size, which give another number of patches.
        """
        x = self.patch_embed(pixels)
        # The two raw parameters are not moved by a host that offloads layer by layer: cast them where they are used.
        x = torch.cat([self.cls_token.to(x).expand(len(x), -1, -1), x], dim=1) + self.pos_embed.to(x)
        for block in self.blocks:
            x = block(x)
        features = x[:, 1:]
        return F.layer_norm(features, features.shape[-1:]) if self.config.normalize_features else features


def pool_features(patch_features: Tensor, side: int) -> Tensor:
    """Average patch features `[B, grid * grid, D]` over a `side` x `side` grid -> `[B, side * side, D]`.

    As the published code does, which makes 8 x 8 features of 32 x 32 patches.

    Raises:
        EinopsError: the patches form no square grid, or one that `side` does not divide.
    """
    grid = round(patch_features.shape[1] ** 0.5)
    cell = grid // side
    return reduce(
        patch_features, "b (h cell_h w cell_w) d -> b (h w) d", "mean", h=side, w=side, cell_h=cell, cell_w=cell
    )
