"""Loading a checkpoint with its headless decoder; inside ComfyUI the host's side does this its own way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
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
        ImportError: diffusers is not installed.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = open_checkpoint(checkpoint)
    return load_wegen(checkpoint, device, dtype), load_decoder(checkpoint, device, dtype)


def open_decoder(checkpoint: Checkpoint, device: str | torch.device, dtype: torch.dtype) -> Callable[[], Decoder]:
    """A function that gives the decoder, always the same one, and reads it when it is first called.

    Args:
        checkpoint: an opened one.
        device: where the decoder is put.
        dtype: precision of the UNet.

    Raises:
        CheckpointError: tensors are missing or of other shapes. The function raises it where files are gone, were
            changed since or cannot be read.
        ImportError: diffusers is not installed.
    """
    unet, vae = empty_decoder(checkpoint.config)
    checkpoint.unet.check(unet)
    checkpoint.vae.check(vae)
    return cache(partial(load_decoder, checkpoint, device, dtype))


def load_decoder(
    checkpoint: Checkpoint,
    device: str | torch.device,
    dtype: torch.dtype,
    parts: Collection[str] = ("unet", "vae"),
) -> Decoder:
    """The UNet and the VAE, as diffusers' classes.

    Args:
        checkpoint: an opened one.
        device: where they are put.
        dtype: precision of the UNet.
        parts: which of the two are read; the other stays without memory, and cannot be used.

    Raises:
        CheckpointError: tensors are missing or of other shapes, or a file is gone, was changed or cannot be read.
        ImportError: diffusers is not installed.
    """
    config, device = checkpoint.config, torch.device(device)
    unet, vae = empty_decoder(config)
    return Decoder(
        config=config,
        unet=fill(unet, checkpoint.unet, device, dtype) if "unet" in parts else unet,
        vae=fill(vae, checkpoint.vae, device, torch.float32) if "vae" in parts else vae,
        device=device,
        dtype=dtype,
    )
