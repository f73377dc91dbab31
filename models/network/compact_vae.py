"""The small models' VAE: pixels folded into channels first, then a few convolutions without norms.

SDXL's VAE spends nearly all its work at full resolution, and its group norms need wide layers; neither fits a model of
a few million parameters. A larger model keeps diffusers' AutoencoderKL.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .configuration import VAEConfig


class Block(nn.Module):
    """Two 3x3 convolutions beside the identity, each behind a SiLU."""

    def __init__(self, channels: int, operations, dtype=None, device=None):
        super().__init__()
        place = {"kernel_size": 3, "padding": 1, "dtype": dtype, "device": device}
        self.conv1 = operations.Conv2d(channels, channels, **place)
        self.conv2 = operations.Conv2d(channels, channels, **place)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, h, w]` -> the same shape."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class CompactVAE(nn.Module):
    """Pictures `[B, 3, H, W]` in -1..1 <-> latents `[B, latent_channels, H / downscale, W / downscale]`, unscaled.

    H and W are multiples of `config.downscale`, in pixels. The UNet works on latents times `config.scaling_factor`,
    which is left to the caller, as diffusers' `AutoencoderKL` leaves it. There is no variance: the latent is what
    `AutoencoderKL` calls the mode. Levels go from fine to coarse, each half as fine as the one before. `operations`
    makes every layer (`torch.nn`, or the host's).
    """

    def __init__(self, config: VAEConfig, operations: Any = nn, dtype=None, device=None):
        super().__init__()
        self.patch = config.patch
        folded = config.in_channels * config.patch**2
        channels = config.block_out_channels
        place = {"dtype": dtype, "device": device}

        def conv(inside: int, outside: int, stride: int = 1) -> nn.Module:
            return operations.Conv2d(inside, outside, 3, stride=stride, padding=1, **place)

        def blocks(count: int, width: int) -> list[nn.Module]:
            return [Block(width, operations, **place) for _ in range(count)]

        encoder = [conv(folded, channels[0]), *blocks(config.layers_per_block, channels[0])]
        for before, after in pairwise(channels):
            encoder += [conv(before, after, stride=2), *blocks(config.layers_per_block, after)]
        self.encoder = nn.Sequential(*encoder, nn.SiLU(), conv(channels[-1], config.latent_channels))

        layers = config.decoder_layers_per_block
        layers = config.layers_per_block + 1 if layers is None else layers
        decoder = [conv(config.latent_channels, channels[-1]), *blocks(layers, channels[-1])]
        for before, after in pairwise(reversed(channels)):
            decoder += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                conv(before, after),
                *blocks(layers, after),
            ]
        self.decoder = nn.Sequential(*decoder, nn.SiLU(), conv(channels[0], folded))

    def encode(self, pixels: Tensor) -> Tensor:
        """Pictures `[B, 3, H, W]` in -1..1 -> latents `[B, latent_channels, H / downscale, W / downscale]`, unscaled.

        Raises:
            RuntimeError: H or W is no multiple of `config.patch`. One that is a multiple of that alone is rounded up
                to the next cell, and the decoded picture is larger.
        """
        return self.encoder(F.pixel_unshuffle(pixels, self.patch))

    def decode(self, latent: Tensor) -> Tensor:
        """Latents `[B, latent_channels, h, w]`, unscaled -> pictures `[B, 3, h * downscale, w * downscale]`.

        They lie in about -1..1: nothing is cut to the range.
        """
        return F.pixel_shuffle(self.decoder(latent), self.patch)
