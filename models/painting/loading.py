"""Loading a checkpoint with its headless decoder; inside ComfyUI the host's side does this its own way."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoints.loading import fill, load_wegen
from ..checkpoints.reader import Checkpoint, open_checkpoint
from ..checkpoints.wegen import WeGen
from ..network.decoder import empty_decoder
from .diffusers_painter import Decoder


def load(
    checkpoint: Checkpoint | str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[WeGen, Decoder]:
    """Load a packed or published checkpoint folder.

    Args:
        checkpoint: a folder, or what `open_checkpoint` gave.
        device: where all parts are put.
        dtype: precision of all parts but the VAE, which stays in float32 (it overflows in float16).

    Raises:
        CheckpointError: naming the file and key that are missing or wrong.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = open_checkpoint(checkpoint)
    return load_wegen(checkpoint, device, dtype), load_decoder(checkpoint, device, dtype)


def load_decoder(checkpoint: Checkpoint, device: str | torch.device, dtype: torch.dtype) -> Decoder:
    """The UNet and the VAE, as diffusers' classes."""
    config, device = checkpoint.config, torch.device(device)
    unet, vae = empty_decoder(config)
    return Decoder(
        config=config,
        unet=fill(unet, checkpoint.unet, device, dtype),
        vae=fill(vae, checkpoint.vae, device, torch.float32),
        device=device,
        dtype=dtype,
    )
