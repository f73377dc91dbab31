"""The headless painter: diffusers' UNet, VAE and Euler schedule, painting the features of a picture.

In shapes here C is `config.vae.latent_channels` (4 as published, 16 in the bundled model), D is `config.vision.width`,
and a latent's h and w are the picture's height and width divided by `config.vae.downscale`, rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..checkpoints.wegen import require_finite
from ..editing.masks import latent_mask, pad_to_multiple
from ..errors import WeGenError
from ..network.compact_vae import CompactVAE
from ..network.configuration import WeGenConfig
from .painter import PaintJob, start_noise
from .schedule import PUBLISHED, require_steps, steps_for_strength

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel


@dataclass(frozen=True)
class Decoder:
    """Paints features. Inside ComfyUI the host's own UNet and VAE take this place; both must agree."""

    config: WeGenConfig
    unet: UNet2DConditionModel
    vae: AutoencoderKL | CompactVAE
    """In float32, whatever `dtype` is."""
    device: torch.device
    dtype: torch.dtype

    @torch.no_grad()
    def predict_noise(
        self, sample: Tensor, timestep: Tensor | float, features: Tensor, width: int, height: int
    ) -> Tensor:
        """One UNet call: the noise in a latent. The UNet is told a size as SDXL's are (`WeGenConfig.told_size`).

        Args:
            sample: `[B, C, h, w]`, scaled as the scheduler wants it.
            timestep: of the schedule that the UNet was trained with.
            features: `[B, tokens_per_picture, D]`; their mean is the pooled embedding.
            width, height: of the picture, in pixels.

        Returns:
            `[B, C, h, w]` in the UNet's precision.
        """
        width, height = self.config.size_told(width, height)
        sizes = torch.tensor([height, width, 0, 0, height, width], device=self.device, dtype=self.dtype)
        return self.unet(
            sample.to(self.device, self.dtype),
            timestep,
            encoder_hidden_states=features.to(self.device, self.dtype),
            added_cond_kwargs={
                "text_embeds": features.mean(dim=1).to(self.device, self.dtype),
                "time_ids": sizes.expand(len(sample), -1),
            },
        ).sample

    @torch.no_grad()
    def paint(
        self,
        features: Tensor,
        noise: Tensor,
        steps: int,
        guidance_scale: float,
        keep: tuple[Tensor, Tensor] | None = None,
        strength: float = 1.0,
        on_step: Callable[[int, int, Tensor], None] | None = None,
    ) -> Tensor:
        """Sample latents by Euler steps, with classifier-free guidance (arXiv 2207.12598).

        Args:
            features: `[B, tokens_per_picture, D]`.
            noise: unit variance, `[B, C, h, w]`; its size decides the picture's.
            steps: Euler steps of the published schedule, 1 or more.
            guidance_scale: 1 is off; the negative is zeros, as published.
            keep: a latent `[1 or B, C, h, w]` and a mask `[1 or B, 1, h, w]`: how early on the way from noise to
                picture the latent may change, from 0 (never) to 1 (from the first step on). Until then it is that
                latent with the noise of each step on it.
            strength: above 0, at most 1: how much of the latent of `keep` is painted over; only 1 without one. The
                steps are taken at the lower noise levels of a longer schedule.
            on_step: called after each step with steps done, steps to do, and the current guess of the final latent.

        Returns:
            `[B, C, h, w]`, scaled as the UNet sees it, on the decoder's device and in its precision.

        Raises:
            WeGenError: steps that the published schedule does not have at this strength, or the UNet overflowed.
        """
        from diffusers import EulerDiscreteScheduler

        schedule = self.config.schedule
        total = steps_for_strength(steps, strength)
        require_steps(schedule, steps, strength)
        scheduler = EulerDiscreteScheduler(
            num_train_timesteps=schedule.num_train_timesteps,
            beta_start=schedule.beta_start,
            beta_end=schedule.beta_end,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=schedule.steps_offset,
        )
        scheduler.set_timesteps(total, device=self.device)
        downscale = self.config.vae.downscale
        height, width = noise.shape[-2] * downscale, noise.shape[-1] * downscale
        guided = guidance_scale != 1
        context = torch.cat([torch.zeros_like(features), features]) if guided else features
        noise = noise.to(self.device, self.dtype)
        first = total - steps
        whole = first == 0
        latent = noise * scheduler.init_noise_sigma if whole else keep[0] + noise * scheduler.sigmas[first].to(noise)
        timesteps = scheduler.timesteps[first:]
        scheduler.set_begin_index(first)
        if keep is not None and whole:
            latent = torch.where(keep[1] >= 1, latent, keep[0] + noise * scheduler.sigmas[first].to(noise))
        for index, timestep in enumerate(timesteps):
            sample = scheduler.scale_model_input(latent, timestep)
            predicted = self.predict_noise(
                torch.cat([sample] * 2) if guided else sample, timestep, context, width, height
            )
            if guided:
                without, with_features = predicted.chunk(2)
                predicted = without + guidance_scale * (with_features - without)
            step = scheduler.step(predicted, timestep, latent)
            latent = step.prev_sample
            if keep is not None:
                free = may_change(keep[1], timestep / timesteps[0])
                latent = torch.where(free, latent, keep[0] + noise * scheduler.sigmas[first + index + 1].to(latent))
            if on_step is not None:
                on_step(index + 1, steps, step.pred_original_sample)
        require_finite(latent, "UNet")
        return latent

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Scaled latents `[B, C, h, w]` -> pictures `[B, H, W, 3]` in 0..1, float32 on the CPU."""
        decoded = self.vae.decode(latent.float() / self.config.vae.scaling_factor)
        pixels = decoded if isinstance(self.vae, CompactVAE) else decoded.sample
        return (pixels.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures `[B, H, W, 3]` in 0..1 -> scaled latents `[B, C, h, w]` (the mode, nothing is drawn at random).

        H and W are multiples of `config.vae.downscale`; see `editing.masks.pad_to_multiple`.
        """
        encoded = self.vae.encode(pictures.permute(0, 3, 1, 2).to(self.device) * 2 - 1)
        latent = encoded if isinstance(self.vae, CompactVAE) else encoded.latent_dist.mode()
        return latent.to(self.dtype) * self.config.vae.scaling_factor


def may_change(mask: Tensor, remaining: Tensor) -> Tensor:
    """Where a soft mask lets the latent change at this step, as in Differential Diffusion (arXiv 2306.00950).

    Args:
        mask: of any shape, in 0..1; the higher a value, the earlier its cell may change.
        remaining: the step's timestep as a share of the first one's, from 1 down to nearly 0.

    Returns:
        True and false, in the shape of the mask.
    """
    return (mask > 0) & (mask >= remaining.to(mask))


class DiffusersPainter:
    """Paints with a headless decoder.

    Args:
        decoder: of the checkpoint.
        on_step: called after each sampler step with steps done, steps to do, and the current guess of the latent.
    """

    def __init__(self, decoder: Decoder, on_step: Callable[[int, int, Tensor], None] | None = None):
        self.decoder = decoder
        self.on_step = on_step

    def paint(self, job: PaintJob) -> Tensor:
        """See `Painter`.

        Raises:
            WeGenError: a sampler or scheduler that only ComfyUI has, a side that is too short or too long, steps that
                the published schedule does not have at this strength, or the UNet overflowed.
        """
        settings, config = job.settings, self.decoder.config
        if (settings.sampler, settings.scheduler) != ("euler", PUBLISHED):
            raise WeGenError(
                f"Sampler {settings.sampler!r} with scheduler {settings.scheduler!r} runs inside ComfyUI only; "
                "headless there is 'euler' with 'published'."
            )
        noise = torch.cat([start_noise(config, seed, job.width, job.height) for seed in job.seeds])
        keep = None
        if job.before is not None and (job.change is not None or settings.strength < 1):
            cell = config.vae.downscale
            padded = torch.stack([pad_to_multiple(picture, cell) for picture in job.before])
            latent = self._each(self.decoder.encode, padded)
            change = torch.ones(1, job.height, job.width) if job.change is None else job.change
            keep = latent, latent_mask(change, cell).to(latent)
        painted = self.decoder.paint(
            job.features, noise, settings.steps, settings.guidance_scale, keep, settings.strength, self.on_step
        )
        return self._each(self.decoder.decode, painted)[:, : job.height, : job.width]

    def _each(self, work: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """What the VAE makes of each member: the published one takes 3 GB for a picture of 1024 x 1024."""
        if isinstance(self.decoder.vae, CompactVAE):
            return work(batch)
        return torch.cat([work(one) for one in batch.split(1)])
