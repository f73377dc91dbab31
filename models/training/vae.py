"""Stage "vae": a CompactVAE learns storybook pages, mostly from crops around things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from .. import storybook
from ..errors import WeGenError
from ..network.compact_vae import CompactVAE
from ..network.configuration import WeGenConfig
from ..storybook import Scene
from .loop import HELD_OUT
from .pages import Mixture, page, still, thing_weights, to_pixels
from .sheets import grid_sheet
from .stage import Stage
from .start import PackedStart

CELL = 8  # crops begin at multiples of this many pixels, so that latent cells lie in them as they lie in pages


@dataclass(frozen=True)
class VAEOptions(Mixture):
    """Options of the VAE's training and of its pages.

    Attributes:
        crop: side in pixels of what is mostly trained on.
        whole_every: every so many steps show whole pages, as many pixels as the crops of the other steps.
        jitter_share: share of pages with jitter; the rest lies on the exact places, as the decoder paints them.
        noise: deviation of what is added to latents before they are decoded.
        things: how much more an error weighs where things are; they are small, and all that captions speak of.
        gradient: weight of the error of pixel differences, which keeps edges sharp.
        colour: weight of the error without its grey part. The colour of a few pixels between dark lines is a small
            error otherwise, but the wrong colour.
        spread: weight of the distance between the latents' covariance and the identity. Without it all channels of a
            young VAE carry the brightness, and go on to do so for long.
    """

    crop: int = 64
    whole_every: int = 4
    jitter_share: float = 0.5
    noise: float = 0.05
    things: float = 4.0
    gradient: float = 1.0
    colour: float = 0.0
    spread: float = 0.02


class PageParts(NamedTuple):
    pixels: Tensor
    """`[B, 3, S, S]` in -1..1."""
    weights: Tensor
    """`[B, S, S]`: how much an error of each pixel counts."""


class VAEStage(Stage):
    """Absolute and squared error, the error of edges, and a pull to independent latents of unit variance."""

    def __init__(self, config: WeGenConfig, options: VAEOptions, seed: int, start: PackedStart | None = None):
        super().__init__()
        if config.vae.patch == 1:
            raise WeGenError("The stage 'vae' trains a CompactVAE; the model's vae.patch must be above 1.")
        self.vae = CompactVAE(config.vae)
        for name, value in self.vae.named_parameters():
            if ".conv2." in name:  # without norms, blocks that begin as the identity keep the first steps calm
                nn.init.zeros_(value)
        if start:
            start.fill(self.vae, "vae")
        self.options, self.seed = options, seed

    def batch(self, first: int, count: int) -> PageParts:
        """Crops or whole pages."""
        if (first // count) % self.options.whole_every == 0:
            count = max(1, count * self.options.crop**2 // storybook.PICTURE_SIZE**2)
            parts = [self._page(index)[1:3] for index in range(first, first + count)]
        else:
            parts = [self._crop(index) for index in range(first, first + count)]
        return PageParts(to_pixels([pixels for pixels, _ in parts]), torch.stack([weights for _, weights in parts]))

    def _page(self, index: int) -> tuple[Random, np.ndarray, Tensor, Scene]:
        rng = Random(f"vae/{self.seed}/{index}")
        scene = self.options.page(self.seed, index)
        shown = scene if rng.random() < self.options.jitter_share else still(scene)
        return rng, storybook.render(shown), thing_weights(shown, self.options.things), scene

    def _crop(self, index: int) -> tuple[np.ndarray, Tensor]:
        """Around a thing."""
        rng, pixels, weights, scene = self._page(index)
        left, top, right, bottom = rng.choice(scene.things).box
        crop = self.options.crop
        row, column = (
            min(max(CELL * round((centre - crop / 2 + rng.uniform(-16, 16)) / CELL), 0), storybook.PICTURE_SIZE - crop)
            for centre in ((top + bottom) / 2, (left + right) / 2)
        )
        cut = np.s_[row : row + crop, column : column + crop]
        return pixels[cut], weights[cut]

    def forward(self, batch: PageParts) -> Mapping[str, Tensor]:
        latents = self.vae.encode(batch.pixels).float()
        error = self.vae.decode(latents + self.options.noise * torch.randn_like(latents)).float() - batch.pixels
        losses = picture_losses(error, batch.weights, self.options.gradient, self.options.colour)
        spread = _spread(latents)
        return {**losses, "total": losses["total"] + self.options.spread * spread, "spread": spread}

    def measure(self) -> Mapping[str, float]:
        """Decibels of the reconstructions of held-out pages."""
        return {"psnr": measure(self.vae, self.seed, pages=32)["psnr"]}

    def sheet(self) -> Image.Image:
        device = next(self.vae.parameters()).device
        pages = to_pixels([storybook.render(self.options.page(self.seed, HELD_OUT + i)) for i in range(24)]).to(device)
        decoded = self.vae.decode(self.vae.encode(pages))
        rows = [row for pair in zip(pages.split(8), decoded.split(8), strict=True) for row in pair]
        return grid_sheet(rows)


def picture_losses(error: Tensor, weights: Tensor, gradient: float, colour: float) -> dict[str, Tensor]:
    """What the errors `[B, 3, H, W]` of pictures cost, where each pixel counts as `[B, H, W]` says.

    `gradient` and `colour` weigh two of the parts in "total", see `VAEOptions`.
    """
    weights = weights[:, None]
    across, down = error.diff(dim=-1).abs() * weights[..., 1:], error.diff(dim=-2).abs() * weights[..., 1:, :]
    parts = {
        "l1": (error.abs() * weights).mean(),
        "mse": (error.square() * weights).mean(),
        "edges": across.mean() + down.mean(),
        "colour": ((error - error.mean(dim=1, keepdim=True)).abs() * weights).mean(),
    }
    return {"total": parts["l1"] + parts["mse"] + gradient * parts["edges"] + colour * parts["colour"], **parts}


def _spread(latents: Tensor) -> Tensor:
    """Mean squared distance of latents' `[B, C, h, w]` covariance from the identity, and of their mean from 0."""
    values = rearrange(latents, "b c h w -> c (b h w)")
    mean = values.mean(dim=1)
    values = values - mean[:, None]
    covariance = values @ values.T / values.shape[1]
    identity = torch.eye(len(values), device=values.device)
    return (covariance - identity).square().mean() + mean.square().mean()


@torch.inference_mode()
def measure(vae: CompactVAE, seed: int, pages: int = 192) -> dict[str, float | list[float]]:
    """What `VAEConfig` must know of a trained VAE, measured on held-out pages.

    Returns:
        "scaling_factor", which gives latents unit variance; "preview_factors", the linear map from scaled latents to
        rough colours; "psnr" of the reconstructions in decibels.
    """
    device = next(vae.parameters()).device
    latents, colours, errors = [], [], []
    for first in range(0, pages, 16):
        numbers = range(HELD_OUT + first, HELD_OUT + first + 16)
        pixels = to_pixels([storybook.render(page(seed, number)) for number in numbers]).to(device)
        latent = vae.encode(pixels)
        errors.append((vae.decode(latent) - pixels).square().mean())
        latents.append(latent)
        colours.append(F.avg_pool2d(pixels, pixels.shape[-1] // latent.shape[-1]))
    scale = float(1 / torch.cat(latents).std())
    inputs = rearrange(torch.cat(latents) * scale, "b c h w -> (b h w) c").cpu()
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution = torch.linalg.lstsq(inputs, rearrange(torch.cat(colours), "b c h w -> (b h w) c").cpu()).solution
    psnr = float(10 * torch.log10(4 / torch.stack(errors).mean()))
    return {"scaling_factor": scale, "preview_factors": solution.flatten().tolist(), "psnr": psnr}
