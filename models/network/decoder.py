"""The decoder's modules without weights: diffusers' UNet, and the VAE of the checkpoint's sizes."""

from __future__ import annotations

import torch
from torch import nn

from .compact_vae import CompactVAE
from .configuration import VAEConfig, WeGenConfig


def empty_decoder(config: WeGenConfig) -> tuple[nn.Module, nn.Module]:
    """diffusers' UNet and the VAE of these sizes, without weights (on the meta device).

    Raises:
        ImportError: diffusers is not installed.
    """
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(**config.unet.to_diffusers()), make_vae(config.vae)


def make_vae(config: VAEConfig) -> nn.Module:
    """A VAE of these sizes with random weights: `CompactVAE` where pixels are folded into patches, else diffusers'.

    Raises:
        ImportError: it is diffusers', which is not installed.
    """
    if config.patch > 1:
        return CompactVAE(config)
    from diffusers import AutoencoderKL

    return AutoencoderKL(**config.to_diffusers())
