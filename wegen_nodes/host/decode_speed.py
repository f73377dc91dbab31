"""Times the native decoder's sampling against the host's own sampler on a stock model of the same size.

`wegen bench decode --comfyui PATH` runs this file inside ComfyUI; it prints the medians of both and of their ratio.
"""

from __future__ import annotations

import json
import statistics
import time

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.supported_models
import torch

from ...models.checkpoints.reader import open_checkpoint
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


def measure(folder: str, repeats: int) -> tuple[float, float, float]:
    """Seconds of sampling with the pack's painter and with the host's sampler, medians, and the median of the ratio."""
    config, ours = open_checkpoint(folder).config, load_unet(folder)
    theirs = stock_model(folder, ours)
    side = config.size // config.vae.downscale
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, config.vae.latent_channels, side, side, generator=generator)
    features = torch.randn(1, config.tokens_per_picture, config.vision.width, generator=generator)
    positive, negative = conditioning(features, config.size, config.size)
    start = torch.zeros_like(noise)
    settings = SamplerSettings(steps=STEPS, guidance_scale=GUIDANCE)

    def native() -> None:
        sample(ours, config, features, noise, start, settings)

    def stock() -> None:
        comfy.sample.sample(
            theirs, noise, STEPS, GUIDANCE, "euler", "normal", positive, negative, start, disable_pbar=True
        )

    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    pairs = []
    for _ in range(repeats + 1):
        pair = []
        for work in (native, stock):
            begin = clock()
            work()
            pair.append(clock() - begin)
        pairs.append(pair)
    pairs = pairs[1:]
    return (
        statistics.median(one for one, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(one / other for one, other in pairs),
    )


def main(folder: str, repeats: str, threads: str) -> None:
    """Print what `measure` gives."""
    torch.set_num_threads(int(threads))
    with torch.inference_mode():
        print(json.dumps(measure(folder, int(repeats))))
