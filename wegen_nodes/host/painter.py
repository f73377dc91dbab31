"""Painting features with the host's own samplers, MODEL and VAE."""

from __future__ import annotations

from collections.abc import Callable, Collection

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ...models.editing.masks import latent_mask, pad_to_multiple
from ...models.errors import WeGenError
from ...models.network.configuration import WeGenConfig
from ...models.options import LARGEST_SEED
from ...models.painting.diffusers_painter import may_change
from ...models.painting.painter import PaintJob, start_noise
from ...models.painting.schedule import PUBLISHED, begins_with_noise, published_sigmas, steps_for_strength
from ...models.prompting.decoding import OnStep
from ...models.values import SamplerSettings
from .parts import memory_errors


def samplers() -> list[str]:
    """The host's samplers."""
    return list(comfy.samplers.SAMPLER_NAMES)


def schedulers() -> list[str]:
    """The published schedule, then the host's own."""
    return [PUBLISHED, *comfy.samplers.SCHEDULER_NAMES]


def conditioning(config: WeGenConfig, features: Tensor, width: int, height: int) -> tuple[list, list]:
    """Positive and negative CONDITIONING of features for a picture of `width` x `height` pixels.

    Args:
        config: says which size the UNet is told (`told_size`), in the way of SDXL.
        features: `[B, tokens_per_picture, D]`.
        width, height: in pixels.

    Returns:
        The features `[B, tokens_per_picture, D]` with their mean `[B, D]` as `pooled_output`, and the same in zeros for
        a batch of 1, as published.
    """
    width, height = config.size_told(width, height)
    sizes = {
        "width": width,
        "height": height,
        "crop_w": 0,
        "crop_h": 0,
        "target_width": width,
        "target_height": height,
    }
    features = features.float().cpu()
    pooled = features.mean(dim=1)
    nothing = torch.zeros_like(features[:1])
    return (
        [[features, {"pooled_output": pooled, **sizes}]],
        [[nothing, {"pooled_output": torch.zeros_like(pooled[:1]), **sizes}]],
    )


def sigmas_of(model, config: WeGenConfig, settings: SamplerSettings) -> Tensor:
    """Falling noise levels of the chosen schedule, `steps + 1` or a few more; at a lower strength the last of a longer.

    Args:
        model: the host's MODEL, whose noise levels the host's own schedulers space.
        config: has the published schedule.
        settings: steps, scheduler and strength.

    Raises:
        WeGenError: an unknown scheduler, fewer than 1 step, or more than the published schedule has at this strength.
    """
    if settings.scheduler not in schedulers():
        raise WeGenError(f"There is no scheduler {settings.scheduler!r}; choose one of {', '.join(schedulers())}.")
    if settings.steps < 1:
        raise WeGenError(f"{settings.steps} sampler steps give no picture; set 1 or more.")
    steps = steps_for_strength(settings.steps, settings.strength)
    if settings.scheduler == PUBLISHED:
        sigmas = published_sigmas(config.schedule, steps)
    else:
        sampling = model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, settings.scheduler, steps)
    # As in the host's own sampler: a whole schedule is used whole, and some have a level more than was asked for.
    return sigmas if steps == settings.steps else sigmas[-(settings.steps + 1) :]


def _check_sizes(model, vae, config: WeGenConfig) -> None:
    """Raise a WeGenError for a MODEL or VAE that cannot be of this checkpoint."""
    width = getattr(getattr(model.model, "model_config", None), "unet_config", {}).get("context_dim")
    pairs = (
        ("MODEL", "context width", width, config.unet.cross_attention_dim),
        ("VAE", "latent channels", getattr(vae, "latent_channels", None), config.vae.latent_channels),
    )
    for name, what, found, wanted in pairs:
        if found is not None and found != wanted:
            raise WeGenError(
                f"The {name} is of another checkpoint than WEGEN: its {what} is {found}, not {wanted}. Connect all "
                "three outputs of one WeGen Load Model."
            )


class HostPainter:
    """Paints with the host's sampler.

    Args:
        model, vae: the host's; the model may be patched (LoRA, DifferentialDiffusion).
        config: sizes and schedule.
        on_begin: called before it begins to sample.
        on_step: called after each step with the number done and that of all.
        formats: of the quantised layers of the checkpoint, for messages.

    Raises:
        WeGenError: the model or the VAE is of another checkpoint.
    """

    def __init__(
        self,
        model,
        vae,
        config: WeGenConfig,
        on_begin: Callable[[], None] = lambda: None,
        on_step: OnStep = lambda *_: None,
        formats: Collection[str] = (),
    ):
        _check_sizes(model, vae, config)
        self.model = model
        self.vae = vae
        self.config = config
        self.on_begin = on_begin
        self.on_step = on_step
        self.formats = formats

    def paint(self, job: PaintJob) -> Tensor:
        """See `Painter`.

        Raises:
            WeGenError: a side that is too short or too long, besides what `sample` raises.
            OutOfMemoryError: PyTorch's; memory ran out.
        """
        self.on_begin()
        config, cell = self.config, self.config.vae.downscale
        noise = torch.cat([start_noise(config, seed, job.width, job.height) for seed in job.seeds])
        latent, mask = torch.zeros_like(noise), None
        if job.before is not None and (
            job.change is not None or not begins_with_noise(job.settings.steps, job.settings.strength)
        ):
            padded = torch.stack([pad_to_multiple(picture, cell) for picture in job.before])
            latent = self.vae.encode(padded).float().expand(len(job.seeds), -1, -1, -1).contiguous()
        if job.change is not None:
            mask = latent_mask(job.change, cell)[:, 0]
        seed = min(job.seeds[0], LARGEST_SEED - 1)  # samplers with noise of their own count one on
        work = f"painting {len(job.seeds)} x {job.width} x {job.height} pixels"
        with memory_errors(work, self.formats):
            samples = sample(self.model, config, job.features, noise, latent, job.settings, mask, seed, self.on_step)
            return self.vae.decode(samples)[:, : job.height, : job.width].float().cpu()


def sample(
    model,
    config: WeGenConfig,
    features: Tensor,
    noise: Tensor,
    latent: Tensor,
    settings: SamplerSettings,
    mask: Tensor | None = None,
    seed: int = 0,
    on_step: OnStep = lambda *_: None,
) -> Tensor:
    """Sample latents `[B, C, h, w]` (as the VAE has them) with previews, progress and cancel.

    C is `config.vae.latent_channels`; h and w are the picture's sides divided by `config.vae.downscale`, rounded up.

    Args:
        model: the host's.
        config: sizes and schedule.
        features: `[B, tokens_per_picture, D]`.
        noise: unit variance, `[B, C, h, w]`.
        latent: what to start from, `[B, C, h, w]`; zeros for a new picture.
        settings: steps, guidance, sampler and scheduler.
        mask: `[1 or B, h, w]` in 0..1: how early on the way from noise to picture the latent may change.
        seed: of samplers that add noise of their own.
        on_step: called after each step with the number done and that of all; what it raises stops the work.

    Raises:
        WeGenError: an unknown sampler, or what `sigmas_of` raises.
    """
    cell = config.vae.downscale
    # Sizes of what is really painted, padding included.
    positive, negative = conditioning(config, features, noise.shape[-1] * cell, noise.shape[-2] * cell)
    if settings.sampler not in samplers():
        raise WeGenError(f"There is no sampler {settings.sampler!r}; choose one of {', '.join(samplers())}.")
    sampler = comfy.samplers.sampler_object(settings.sampler)
    whole = begins_with_noise(settings.steps, settings.strength)
    if settings.scheduler == PUBLISHED and whole:
        # The published start noise is scaled by sqrt(sigma_max^2 + 1). The host does that too, for a schedule that it
        # takes to begin at the model's own maximum; the published one begins a little below.
        sampler.max_denoise = lambda *_: True
    if mask is not None and "denoise_mask_function" not in model.model_options:
        model = model.clone()
        model.set_model_denoise_mask_function(_soft_mask)
    if mask is not None and whole:
        _start_anew(sampler, mask)
    sigmas = sigmas_of(model, config, settings)
    preview = latent_preview.prepare_callback(model, len(sigmas) - 1)

    def callback(step, denoised, noisy, total):
        on_step(step + 1, total)
        preview(step, denoised, noisy, total)

    return comfy.sample.sample_custom(
        model,
        noise,
        settings.guidance_scale,
        sampler,
        sigmas,
        positive,
        negative,
        latent,
        noise_mask=mask,
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )


def _start_anew(sampler, mask: Tensor) -> None:
    """Let what may change from the first step on begin with noise alone, as the headless painter does: the host adds
    what was there to it. What may change later begins with what was there and the noise of the first step."""
    plain = sampler.sampler_function

    def begin(guided, noisy: Tensor, sigmas: Tensor, *rest, **named):
        old = guided.latent_image
        free = mask[:, None].to(noisy) >= 1
        start = torch.where(free, noisy - old, old + guided.noise * sigmas[0])
        return plain(guided, start, sigmas, *rest, **named)

    sampler.sampler_function = begin


def _soft_mask(sigma: Tensor, denoise_mask: Tensor, extra_options: dict) -> Tensor:
    """The mask of one sampling step; the host's hook that stock Differential Diffusion uses as well."""
    sampling = extra_options["model"].inner_model.model_sampling
    first = sampling.timestep(extra_options["sigmas"][0])
    return may_change(denoise_mask, sampling.timestep(sigma[0]) / first).to(denoise_mask)
