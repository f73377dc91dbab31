"""Stage "painter": the UNet learns to paint latents from the vision encoder's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import Tensor

from .. import storybook
from ..network.compact_vae import CompactVAE
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..painting.diffusers_painter import Decoder
from ..painting.schedule import training_sigmas
from ..storybook import Scene
from .loop import HELD_OUT
from .losses import noised
from .pagecache import PageCache
from .pages import Mixture, features_of, still, thing_weights, to_pixels
from .sheets import grid_sheet
from .stage import Stage
from .start import PackedStart


@dataclass(frozen=True)
class PainterOptions(Mixture):
    """Options of the UNet's training and of its pages: things are what is hard to paint, and small ones the most.

    Attributes:
        noise: largest deviation put on the features.
        dropped: share of the pictures painted from zeros, for guidance.
        things: how much more an error weighs where things are; they are small, and all that captions speak of.
        snr_limit: of the min-SNR weighting.
        haze: noise levels sigma above 1 weigh sigma to this power more. There a small error of the noise is a large one
            of the picture, and colours of whole pictures follow the start noise until it is learned. 0: as published.
        offset: deviation of a constant that is added to each channel of the noise, so that the colour of the whole
            picture must be read from the features; pure start noise has none to tell.
        fresh: share of each batch that are pages never seen before; the others are drawn from those seen.
        capacity: most different pages in all.
    """

    noise: float = 0.5
    dropped: float = 0.1
    things: float = 3.0
    snr_limit: float = 5.0
    haze: float = 1.0
    offset: float = 0.2
    fresh: float = 0.25
    capacity: int = 60_000


class PainterStage(Stage):
    """Predicts the noise, weighted by min-SNR. Features come from pages with jitter, latents from the same without."""

    def __init__(
        self,
        config: WeGenConfig,
        options: PainterOptions,
        seed: int,
        vision_encoder: VisionEncoder,
        vae: CompactVAE,
        cache: Path,
        start: PackedStart | None = None,
    ):
        super().__init__()
        self.config, self.options, self.seed = config, options, seed
        self.unet = UNet2DConditionModel(**config.unet.to_diffusers())
        if start:
            start.fill_unet(self.unet)
        self.vision_encoder = vision_encoder.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False)
        self.register_buffer("sigmas", training_sigmas(config.schedule), persistent=False)
        latent = config.size // config.vae.downscale
        shapes = {
            "features": (config.tokens_per_picture, config.vision.width),
            "latents": (config.vae.latent_channels, latent, latent),
            "weights": (latent, latent),
        }
        self.cache = PageCache(cache, options.capacity, shapes, self._encode)

    def batch(self, first: int, count: int) -> Tensor:
        """Numbers of the pages `[B]`."""
        fresh = max(1, round(count * self.options.fresh))
        step = first // count
        known = min((step + 1) * fresh, self.options.capacity)
        rng = Random(f"painter/{self.seed}/{step}")
        new = [number % self.options.capacity for number in range(step * fresh, (step + 1) * fresh)]
        return torch.tensor(new + [rng.randrange(known) for _ in range(count - fresh)])

    def _page(self, number: int) -> Scene:
        return self.options.page(self.seed, number)

    @torch.no_grad()
    def _encode(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        device = self.sigmas.device
        scenes = [self._page(number) for number in numbers]
        seen = to_pixels([storybook.render(scene) for scene in scenes]).to(device)
        exact = to_pixels([storybook.render(still(scene)) for scene in scenes]).to(device)
        features = features_of(self.vision_encoder, seen, self.config.feature_grid)
        latents = self.vae.encode(exact).float() * self.config.vae.scaling_factor
        weights = torch.stack([thing_weights(still(scene), self.options.things) for scene in scenes])
        return features, latents, F.max_pool2d(weights, self.config.vae.downscale)

    def forward(self, batch: Tensor) -> Mapping[str, Tensor]:
        features, latents, where = (part.to(batch.device) for part in self.cache.get(batch.tolist()))
        features = noised(features, self.options.noise)
        features = features * (torch.rand(len(features), 1, 1, device=batch.device) >= self.options.dropped)
        timesteps = torch.randint(0, len(self.sigmas), (len(latents),), device=batch.device)
        sigma = self.sigmas[timesteps][:, None, None, None]
        noise = torch.randn_like(latents) + self.options.offset * torch.randn_like(latents[..., :1, :1])
        # The UNet sees samples of unit variance, as inference scales them.
        sample = (latents + sigma * noise) / (sigma.square() + 1).sqrt()
        size = self.config.size
        predicted = self.unet(
            sample,
            timesteps,
            encoder_hidden_states=features,
            added_cond_kwargs={
                "text_embeds": features.mean(dim=1),
                "time_ids": sample.new_tensor([size, size, 0, 0, size, size]).expand(len(sample), -1),
            },
        ).sample.float()
        squared = ((predicted - noise).square().mean(dim=1) * where).mean(dim=(1, 2))
        snr = sigma.flatten() ** -2
        weights = snr.clamp(max=self.options.snr_limit) / snr * sigma.flatten().clamp(min=1) ** self.options.haze
        return {"total": (squared * weights).mean(), "noise": squared.mean()}

    def decoder(self) -> Decoder:
        """The decoder with the UNet as it is now."""
        return Decoder(self.config, self.unet, self.vae, self.sigmas.device, torch.float32)

    def sheet(self) -> Image.Image:
        """Pages, what the VAE makes of them, and paintings from their features without and with noise."""
        pages = to_pixels([storybook.render(self._page(HELD_OUT + i)) for i in range(10)]).to(self.sigmas.device)
        features = features_of(self.vision_encoder, pages, self.config.feature_grid)
        decoder = self.decoder()
        side = self.config.size // self.config.vae.downscale
        start = torch.randn(len(pages), self.config.vae.latent_channels, side, side)
        rows = [pages, self.vae.decode(self.vae.encode(pages))]
        for noise, guidance in ((0.0, 1.0), (0.0, self.config.guidance_scale), (0.3, self.config.guidance_scale)):
            latent = decoder.paint(features + noise * torch.randn_like(features), start, 20, guidance)
            rows.append(decoder.decode(latent).permute(0, 3, 1, 2) * 2 - 1)
        return grid_sheet([row.cpu() for row in rows])
