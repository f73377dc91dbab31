"""Building headless models from an opened checkpoint; inside ComfyUI the host's side does this its own way."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from .agent import Agent
from .checkpoint import Checkpoint, Part, open_checkpoint
from .compact_vae import CompactVAE
from .configuration import VAEConfig
from .decoder import Decoder
from .vision_encoder import VisionEncoder
from .wegen import WeGen


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


def load_wegen(checkpoint: Checkpoint, device: str | torch.device, dtype: torch.dtype) -> WeGen:
    """The parts that see and write, without the decoder."""
    config, device = checkpoint.config, torch.device(device)
    with torch.device("meta"):
        vision_encoder, agent = VisionEncoder(config.vision), Agent(config)
    return WeGen(
        config=config,
        tokenizer=checkpoint.tokenizer,
        vision_encoder=_fill(vision_encoder, checkpoint.vision_encoder, device, dtype),
        agent=_fill(agent, checkpoint.language_model, device, dtype),
        device=device,
        dtype=dtype,
    )


def load_decoder(checkpoint: Checkpoint, device: str | torch.device, dtype: torch.dtype) -> Decoder:
    """The UNet and the VAE, as diffusers' classes."""
    config, device = checkpoint.config, torch.device(device)
    unet, vae = empty_decoder(checkpoint)
    return Decoder(
        config=config,
        unet=_fill(unet, checkpoint.unet, device, dtype),
        vae=_fill(vae, checkpoint.vae, device, torch.float32),
        device=device,
        dtype=dtype,
    )


def empty_decoder(checkpoint: Checkpoint) -> tuple[nn.Module, nn.Module]:
    """diffusers' UNet and the VAE of the checkpoint's sizes, without weights (on the meta device)."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(**checkpoint.config.unet.to_diffusers()), make_vae(checkpoint.config.vae)


def make_vae(config: VAEConfig) -> nn.Module:
    """A headless VAE of these sizes: the small models' own, or diffusers'."""
    if config.patch > 1:
        return CompactVAE(config)
    from diffusers import AutoencoderKL

    return AutoencoderKL(**config.to_diffusers())


def _fill(module: nn.Module, part: Part, device: torch.device, dtype: torch.dtype) -> nn.Module:
    part.check(module)
    # Assigned tensor by tensor: beside the finished module only one tensor of the file is in memory at a time.
    # A tensor that already has the right type is copied too, so that nothing keeps pointing into the mapped file.
    state = {key: part[key].to(device, dtype, copy=True) for key in part}
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)
