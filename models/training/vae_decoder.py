"""Stage "vae_decoder": the VAE's decoder learns to make pictures of latents as they are painted.

A painted latent is never quite that of a picture: it is a little too smooth, and guidance has driven it too far. A
decoder that has seen such latents makes clean things of them. The VAE's encoder stays as it is, and so do all latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor

from .. import storybook
from ..network.compact_vae import CompactVAE
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..painting.diffusers_painter import Decoder
from ..storybook import Scene
from .loop import HELD_OUT
from .losses import noised
from .pagecache import PageCache
from .pages import Mixture, features_of, page, still, thing_weights, to_pixels
from .sheets import grid_sheet
from .stage import Stage
from .vae import picture_losses


@dataclass(frozen=True)
class VAEDecoderOptions(Mixture):
    """Options of the training of the VAE's decoder and of its pages.

    Attributes:
        own: share of the latents that come from pages, not from the painter: pictures that are changed begin as such.
        own_noise: deviation of what is added to them.
        feature_noise: largest deviation put on the features that are painted.
        sampler_steps: of each painting.
        things, gradient, colour: as in `VAEOptions`.
        capacity: different pages that are painted, each once.
    """

    own: float = 0.3
    own_noise: float = 0.05
    feature_noise: float = 0.1
    sampler_steps: int = 20
    things: float = 4.0
    gradient: float = 1.0
    colour: float = 1.0
    capacity: int = 4000


class PaintedPages(NamedTuple):
    own: Tensor
    """`[B]`: whether the latent is the page's own, not that of a painting."""
    numbers: Tensor
    """`[B]`"""
    pixels: Tensor
    """`[B, 3, S, S]` in -1..1: what should be decoded. Paintings lie on the exact places, pages with jitter."""
    weights: Tensor
    """`[B, S, S]`: how much an error of each pixel counts."""


class VAEDecoderStage(Stage):
    """Decodes painted latents, and some of the VAE's own, with the losses of the stage "vae"."""

    def __init__(
        self,
        config: WeGenConfig,
        options: VAEDecoderOptions,
        seed: int,
        vision_encoder: VisionEncoder,
        unet: UNet2DConditionModel,
        vae: CompactVAE,
        cache: Path,
    ):
        super().__init__()
        self.config, self.options, self.seed = config, options, seed
        self.vision_encoder = vision_encoder.eval().requires_grad_(False)
        self.unet = unet.eval().requires_grad_(False)
        self.vae = vae.requires_grad_(False)
        self.vae.decoder.requires_grad_(True)
        side = config.size // config.vae.downscale
        self.shape = (config.vae.latent_channels, side, side)
        self.cache = PageCache(cache, options.capacity, {"painted": self.shape}, self._paint_numbers)

    def batch(self, first: int, count: int) -> PaintedPages:
        indices = range(first, first + count)
        own = [Random(f"own/{self.seed}/{index}").random() < self.options.own for index in indices]
        # Paintings take long, so there are only so many; of pages there is no end.
        most = self.options.capacity
        numbers = [most + index if mine else index % most for mine, index in zip(own, indices, strict=True)]
        scenes = [self._page(number) for number in numbers]
        scenes = [scene if mine else still(scene) for mine, scene in zip(own, scenes, strict=True)]
        weights = torch.stack([thing_weights(scene, self.options.things) for scene in scenes])
        pixels = to_pixels([storybook.render(scene) for scene in scenes])
        return PaintedPages(torch.tensor(own), torch.tensor(numbers), pixels, weights)

    def _page(self, number: int) -> Scene:
        return self.options.page(self.seed, number)

    def _paint_numbers(self, numbers: Sequence[int]) -> tuple[Tensor]:
        return (self._paint([self._page(number) for number in numbers], numbers),)

    @torch.no_grad()
    def _paint(self, scenes: Sequence[Scene], numbers: Sequence[int]) -> Tensor:
        """Scaled latents of paintings from the features of pages with jitter; each draws on chance of its own."""
        generators = [torch.Generator().manual_seed(number) for number in numbers]
        device, grid = next(self.vae.parameters()).device, self.config.feature_grid
        seen = to_pixels([storybook.render(scene) for scene in scenes]).to(device)
        # In full precision, as the model paints.
        with torch.autocast(device.type, enabled=False):
            features = features_of(self.vision_encoder, seen, grid).cpu().split(1)
            pairs = zip(features, generators, strict=True)
            features = torch.cat([noised(feature, self.options.feature_noise, chance) for feature, chance in pairs])
            noise = torch.stack([torch.randn(self.shape, generator=generator) for generator in generators])
            decoder = Decoder(self.config, self.unet, self.vae, device, torch.float32)
            return decoder.paint(features, noise, self.options.sampler_steps, self.config.guidance_scale)

    def forward(self, batch: PaintedPages) -> Mapping[str, Tensor]:
        options = self.options
        latents = self.vae.encode(batch.pixels).float()
        latents = latents + options.own_noise * torch.randn_like(latents)
        if not batch.own.all():
            [painted] = self.cache.get(batch.numbers[~batch.own].tolist())
            latents[~batch.own] = painted.to(latents.device) / self.config.vae.scaling_factor
        error = self.vae.decode(latents).float() - batch.pixels
        return picture_losses(error, batch.weights, options.gradient, options.colour)

    def measure(self) -> Mapping[str, float]:
        """Decibels of paintings of held-out pages."""
        pages, pictures = self._held_out(24)
        return {"painted_psnr": float(10 * torch.log10(4 / (pictures - pages).square().mean()))}

    def sheet(self) -> Image.Image:
        """Held-out pages and their paintings."""
        pages, pictures = self._held_out(16)
        return grid_sheet([row.cpu() for start in (0, 8) for row in (pages[start:][:8], pictures[start:][:8])])

    def _held_out(self, count: int) -> tuple[Tensor, Tensor]:
        numbers = range(HELD_OUT, HELD_OUT + count)
        scenes = [page(self.seed, number) for number in numbers]
        painted = self._paint(scenes, numbers)
        pages = to_pixels([storybook.render(still(scene)) for scene in scenes]).to(painted.device)
        return pages, self.vae.decode(painted / self.config.vae.scaling_factor)
