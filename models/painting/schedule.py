"""Noise levels of the published decoder: Euler steps on "leading" timesteps of a scaled-linear schedule.

The numbers are those of diffusers' `EulerDiscreteScheduler` with SDXL's settings, which the published code uses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import WeGenError
from ..network.configuration import ScheduleConfig

PUBLISHED = "published"
"""The scheduler with the noise levels and the initial noise of the published inference."""


def training_sigmas(config: ScheduleConfig) -> Tensor:
    """Sigma of every training timestep, `[num_train_timesteps]`, rising, float32.

    A sigma is the noise's deviation where the latent has its own scale (arXiv 2206.00364).
    """
    betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.num_train_timesteps) ** 2
    kept = torch.cumprod(1 - betas, dim=0)
    return ((1 - kept) / kept) ** 0.5


def published_timesteps(config: ScheduleConfig, steps: int) -> Tensor:
    """The `steps` timesteps that the published inference visits, falling, `[steps]` int64.

    Raises:
        WeGenError: fewer than 1 step, or more than there are timesteps from the offset on.
    """
    if not 1 <= steps <= config.num_train_timesteps - config.steps_offset:
        raise WeGenError(f"{steps} sampler steps: give 1 to {config.num_train_timesteps - config.steps_offset}.")
    stride = config.num_train_timesteps // steps
    return torch.arange(steps).flip(0) * stride + config.steps_offset


def steps_for_strength(steps: int, strength: float) -> int:
    """Steps of the whole schedule whose last `steps` paint over `strength` (above 0, at most 1) of a latent."""
    return max(steps, int(steps / strength))


def begins_with_noise(steps: int, strength: float) -> bool:
    """Whether these steps are all of the schedule: the ones before would not be one whole step."""
    return steps_for_strength(steps, strength) == steps


def require_steps(config: ScheduleConfig, steps: int, strength: float) -> None:
    """See that the published schedule has so many steps at this strength.

    Raises:
        WeGenError: fewer than 1 step, or more in the whole schedule than `published_timesteps` gives.
    """
    most, total = config.num_train_timesteps - config.steps_offset, steps_for_strength(steps, strength)
    if total > most >= steps:
        raise WeGenError(
            f"{steps} steps at a strength of {strength:g} are the end of {total}, and there are at most {most}: "
            "set fewer steps, or more strength."
        )
    published_timesteps(config, total)


def published_sigmas(config: ScheduleConfig, steps: int) -> Tensor:
    """Sigmas of the published inference with a final 0, falling, `[steps + 1]` float32.

    Raises:
        WeGenError: see `published_timesteps`.
    """
    sigmas = training_sigmas(config)[published_timesteps(config, steps)]
    return torch.cat([sigmas, sigmas.new_zeros(1)])
