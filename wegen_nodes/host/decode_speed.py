"""Times the native decoder's sampling against the host's own sampler on a stock model of the same size, and against
diffusers' sampling of the same features.

`wegen bench decode --comfyui PATH` runs this inside ComfyUI by `start_decode_speed.py`; it prints the medians of both
sides and of the ratio.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import time

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.supported_models
import torch

from ...models.checkpoints.reader import open_checkpoint
from ...models.painting.loading import load_decoder
from ...models.values import SamplerSettings
from .loading import host_unet_config, latent_format, load_unet
from .painter import conditioning, sample

STEPS = 8
GUIDANCE = 3.0


class StockDecoder(comfy.supported_models.SDXL):
    """The host's SDXL in the sizes of a checkpoint."""

    unet_extra_config = {}  # noqa: RUF012 - the host's own declaration

    def inpaint_model(self) -> bool:
        """As for SDXL's own latents of 4 channels."""
        return False


def stock_model(folder: str, like):
    """A stock model of the sizes of a checkpoint, with the weights and the type of another patcher."""
    config = open_checkpoint(folder).config
    model_config = StockDecoder(host_unet_config(config.unet))
    model_config.latent_format = latent_format(config.vae)
    kind = like.model.get_dtype()
    model_config.set_inference_dtype(kind, like.model.manual_cast_dtype)
    model = model_config.get_model({}, "")
    comfy.model_management.load_models_gpu([like])
    model.diffusion_model.load_state_dict(like.model.diffusion_model.state_dict())
    return comfy.model_patcher.ModelPatcher(model, like.load_device, like.offload_device)


def measure(folder: str, repeats: int) -> dict[str, tuple[float, float, float] | None]:
    """Sampling with the pack's painter against the host's sampler, and against diffusers' at equal steps.

    Returns:
        The median of the ratios, and of the seconds of both sides; None for diffusers' where it is not installed.
    """
    checkpoint, ours = open_checkpoint(folder), load_unet(folder)
    config = checkpoint.config
    theirs = stock_model(folder, ours)
    side = config.size // config.vae.downscale
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, config.vae.latent_channels, side, side, generator=generator)
    features = torch.randn(1, config.tokens_per_picture, config.vision.width, generator=generator)
    positive, negative = conditioning(config, features, config.size, config.size)
    start = torch.zeros_like(noise)
    settings = SamplerSettings(steps=STEPS, guidance_scale=GUIDANCE)

    def native() -> None:
        sample(ours, config, features, noise, start, settings)

    def stock() -> None:
        comfy.sample.sample(
            theirs, noise, STEPS, GUIDANCE, "euler", "normal", positive, negative, start, disable_pbar=True
        )

    works = {"ours": native, "decode/vs_stock": stock}
    if importlib.util.find_spec("diffusers") is not None:
        decoder = load_decoder(checkpoint, ours.load_device, ours.model.get_dtype())
        works["decode/vs_diffusers"] = lambda: decoder.paint(features, noise, STEPS, GUIDANCE)

    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    turns = []
    for _ in range(repeats + 1):
        turn = {}
        for name, work in works.items():
            begin = clock()
            work()
            turn[name] = clock() - begin
        turns.append(turn)
    turns = turns[1:]  # the first is for warming up

    def held_against(name: str) -> tuple[float, float, float] | None:
        if name not in works:
            return None
        return (
            statistics.median(turn["ours"] / turn[name] for turn in turns),
            statistics.median(turn["ours"] for turn in turns),
            statistics.median(turn[name] for turn in turns),
        )

    return {name: held_against(name) for name in ("decode/vs_stock", "decode/vs_diffusers")}


def main(folder: str, repeats: str, threads: str) -> None:
    """Print what `measure` gives."""
    torch.set_num_threads(int(threads))
    with torch.inference_mode():
        print(json.dumps(measure(folder, int(repeats))))
