"""What a painter is: the one thing in which ComfyUI, plain Python and a user's own workflow differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import WeGenError
from ..network.configuration import WeGenConfig
from ..prompting.text_sampling import seeded
from ..values import SamplerSettings

SMALLEST_SIZE, LARGEST_SIZE = 16, 8192
"""Pixels of a side."""
LIGHT = 2**26
"""Multiplications of a UNet's widest layer up to which a CPU's threads mostly wait for each other: those of 16 pictures
of the bundled model at its own size."""


@dataclass(frozen=True)
class PaintJob:
    """Pictures that are painted at once.

    Attributes:
        features: `[B, tokens_per_picture, D]`, D the vision encoder's width.
        seeds: of the B pictures; each has its own start noise.
        settings: steps, guidance, sampler, scheduler and strength.
        width, height: in pixels.
        before: `[1 or B, height, width, 3]` in 0..1, the pictures that are changed; None for new ones.
        change: `[B, height, width]` in 0..1, where they may change; None is everywhere.
    """

    features: Tensor
    seeds: Sequence[int]
    settings: SamplerSettings
    width: int
    height: int
    before: Tensor | None = None
    change: Tensor | None = None


def is_light(config: WeGenConfig, pixels: int) -> bool:
    """Whether a UNet of these sizes has little to do for so many pixels, of all pictures that are painted at once."""
    return pixels // config.vae.downscale**2 * max(config.unet.block_out_channels) ** 2 <= LIGHT


class Painter(Protocol):
    """Turns features into pictures."""

    def paint(self, job: PaintJob) -> Tensor:
        """Pictures `[B, height, width, 3]` in 0..1, float32 on the CPU.

        Raises:
            WeGenError: settings or a size that it cannot paint with, or it computed no numbers.
        """


def require_size(width: int, height: int) -> None:
    """See that a picture of this size, in pixels, can be painted.

    Raises:
        WeGenError: a side is shorter than SMALLEST_SIZE or longer than LARGEST_SIZE.
    """
    for name, value in (("width", width), ("height", height)):
        if not SMALLEST_SIZE <= value <= LARGEST_SIZE:
            raise WeGenError(f"The {name} is {value} pixels; give {SMALLEST_SIZE} to {LARGEST_SIZE}.")


def start_noise(config: WeGenConfig, seed: int, width: int, height: int) -> Tensor:
    """Unit noise of one picture of `width` x `height` pixels, from the seed's own generator.

    Returns:
        `[1, config.vae.latent_channels, ceil(height / downscale), ceil(width / downscale)]`, float32 on the CPU.

    Raises:
        WeGenError: see `require_size`.
    """
    require_size(width, height)
    cell = config.vae.downscale
    shape = (1, config.vae.latent_channels, math.ceil(height / cell), math.ceil(width / cell))
    return torch.randn(shape, generator=seeded(seed))
