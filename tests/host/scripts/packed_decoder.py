"""Paints, decodes and encodes with the host's decoder of `model` in each folder given.

Takes `given.safetensors` in it, and writes `out.safetensors` beside it.
"""

import sys
from pathlib import Path

import torch
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.values import SamplerSettings
from comfyui_wegen.wegen_nodes.host.loading import load_unet, load_vae
from comfyui_wegen.wegen_nodes.host.painter import sample
from safetensors.torch import load_file, save_file


def paint(folder):
    given = load_file(folder / "given.safetensors")
    config = open_checkpoint(folder / "model").config
    model, vae = load_unet(folder / "model"), load_vae(folder / "model")
    start = torch.zeros_like(given["noise"])
    settings = SamplerSettings(steps=4, guidance_scale=3.0)
    latent = sample(model, config, given["features"], given["noise"], start, settings) * config.vae.scaling_factor
    old = (given["latent"] / config.vae.scaling_factor).expand(len(start), -1, -1, -1)
    edited = sample(model, config, given["features"], given["noise"], old, settings, given["mask"][None])
    part, nearly = (SamplerSettings(steps=4, guidance_scale=3.0, strength=strength) for strength in (0.5, 0.95))
    parts = [
        sample(model, config, given["features"], given["noise"], old, chosen, given["mask"][None])
        for chosen in (part, nearly)
    ]
    results = {
        "half": parts[0] * config.vae.scaling_factor,
        "nearly all": parts[1] * config.vae.scaling_factor,
        "latent": latent,
        "edited": edited * config.vae.scaling_factor,
        "picture": vae.decode(given["latent"] / config.vae.scaling_factor),
        "encoded": vae.encode(given["picture"]) * config.vae.scaling_factor,
    }
    save_file({name: value.contiguous() for name, value in results.items()}, folder / "out.safetensors")


with torch.inference_mode():
    for folder in map(Path, sys.argv[1:]):
        paint(folder)
