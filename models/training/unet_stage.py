"""Stage "unet" of any checkpoint: the UNet learns to paint pictures of any size from their features.

All weights are trained, or a LoRA beside frozen ones; vision encoder and VAE are always frozen.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..data import Picture
from ..data.diic.assemble import GREY
from ..errors import WeGenWarning
from ..media.images import clip_pixels
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder, pool_features
from ..painting.diffusers_painter import Decoder
from ..painting.schedule import training_sigmas
from .adapters import has_adapters, without_adapters
from .buckets import enlargement, fit, nearest_bucket
from .pages import to_pixels
from .recipe import RecipeError, in_range
from .sheets import grid_sheet
from .sources import Drawn, Mixture
from .stage import Stage, sample_generator

POOL = 8
"""Steps whose pictures are sorted by size together."""
MEASURED, SHOWN = 32, 8
"""Held-out pictures that the losses are measured on, and that a sheet shows."""
CUT_OUT = 0.25
"""Share of a user's picture in exactly the grey that surrounds what was cut out, from which on it is taken for that
where nothing says what is seen in it."""
LEFT_OUT = 0.1
"""Share of samples none of whose pictures is of use from which on it is said."""


@dataclass(frozen=True)
class UNetOptions:
    """How the UNet is trained.

    Attributes:
        size: side of the square with the area of all buckets; None is the checkpoint's own.
        noise: largest deviation put on the features.
        dropped: share of the pictures painted from zeros, for guidance.
        snr_limit: of the min-SNR weighting; 0 weighs all noise levels the same.
        haze, offset: see `PainterOptions`.
        keep_weight: of the distance from what the UNet does without its LoRA, on samples that are only kept.
        remember: of how many pictures features and latents are kept, for data that comes again and again. Pictures are
            then encoded one by one, and on one device only.
        things: how much more than the rest the cells weigh in which something is, where a picture's instance map tells:
            one small new thing is else drowned by all that is painted right already.
        enlarged: how many times a picture's sides may be enlarged to cover its bucket; smaller pictures are left out.
            At 2, a square picture for a size of 1,024 must have 512 pixels.
    """

    size: int | None = None
    noise: float = 0.0
    dropped: float = 0.1
    snr_limit: float = 5.0
    haze: float = 0.0
    offset: float = 0.0
    keep_weight: float = 1.0
    remember: int = 0
    things: float = 1.0
    enlarged: float = 2.0

    def __post_init__(self):
        in_range(self, 1, None, "size", "enlarged")
        in_range(self, 0, 1, "dropped")
        in_range(self, 0, None, "noise", "snr_limit", "haze", "offset", "keep_weight", "remember", "things")


class Painting(NamedTuple):
    """One picture to learn from, and all that chance decides about it."""

    pixels: np.ndarray
    """uint8 `[H, W, 3]`, of the size of its bucket."""
    things: np.ndarray
    """bool `[H, W]`, where something is, as far as is known."""
    number: int
    keep: bool


class Group(NamedTuple):
    """Pictures of one size."""

    seen: Tensor
    """`[B, 3, S, S]`, CLIP-normalised."""
    pixels: Tensor
    """`[B, 3, H, W]` in -1..1."""
    weights: Tensor
    """`[B, h, w]`, of the cells."""
    noise: Tensor
    """`[B, C, h, w]`, of the latents."""
    feature_noise: Tensor
    """`[B, K, D]`"""
    timesteps: Tensor
    """`[B]`"""
    shown: Tensor
    """`[B]`, 0 where the features are dropped."""
    kept: Tensor
    """`[B]`, true where the sample is only kept."""
    keys: Tensor
    """`[B]`, equal for equal pictures."""
    counted: Tensor
    """`[B]`, false for pictures of another process, which stand in so that all processes compute the same shapes."""


class UNetStage(Stage):
    """Predicts the noise in latents of shards' pictures, weighted by min-SNR.

    Args:
        unet: diffusers', with adapters, or whole.
        vae: in float32.
        data: what is learned and what is only kept.
        held_out: what is measured and shown; None is nothing.
    """

    blocks = ("BasicTransformerBlock", "ResnetBlock2D", "Block")  # of the UNet, and of the vision encoder

    def __init__(
        self,
        config: WeGenConfig,
        options: UNetOptions,
        seed: int,
        vision_encoder: VisionEncoder,
        vae: nn.Module,
        unet: nn.Module,
        data: Mixture,
        held_out: Mixture | None = None,
    ):
        super().__init__()
        if data.keeps and not has_adapters(unet):
            raise RecipeError('Samples to "keep" need a LoRA: they are held to what the UNet does without it.')
        self.config, self.options, self.seed = config, options, seed
        self.data, self.held_out = data, held_out
        self.unet = unet
        self.vision_encoder = vision_encoder.eval().requires_grad_(False)
        self.vae = vae.eval().requires_grad_(False)
        self.register_buffer("sigmas", training_sigmas(config.schedule), persistent=False)
        self.step = least_step(config)
        self.size = options.size or config.size
        if self.size % self.step:
            raise RecipeError(f"The size is {self.size}; it must be a multiple of {self.step}.")
        self._pool = lru_cache(2)(self._make_pool)
        self._remembered: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()

    def _make_pool(self, number: int, span: int) -> list[list[Painting]]:
        """The pictures of `POOL` steps, sorted by size and cut into steps of as many each."""
        for later in range(POOL):
            drawn = self.data.pool(number + later, span * POOL)
            made = self._paintings(drawn)
            if not all(one.keep for one in made):
                break
        else:
            raise RecipeError(self._no_use(POOL * span * POOL, [one for one in drawn if not one.keep]))
        some = sum(bool(one.sample.pictures()) for one in drawn)
        if some - len(made) > LEFT_OUT * some:
            warnings.warn(
                f"{some - len(made)} of {some} samples are left out: their pictures are cut out, or would be enlarged "
                f"more than {self.options.enlarged:g} times.",
                WeGenWarning,
                stacklevel=2,
            )
        rng = Random(f"pool/{self.seed}/{number}")
        rng.shuffle(made)
        made.sort(key=lambda one: one.pixels.shape)
        ends = [n * len(made) // POOL for n in range(POOL + 1)]
        # Samples without pictures leave fewer; no step goes without.
        steps = [made[begin:end] or [made[begin % len(made)]] for begin, end in pairwise(ends)]
        rng.shuffle(steps)
        return steps

    def _no_use(self, count: int, last: Sequence[Drawn]) -> str:
        """Why nothing can be learned from so many samples, told by the last of them."""
        whole = [one for sample in last for one in sample.sample.pictures() if not is_cut_out(one)]
        if not whole:
            return (
                f"In {count} samples there is no picture to learn from but cut-out ones, if any: the UNet needs some."
            )
        needed = min(self._bucket(one)[1] for one in whole)
        return (
            f"The pictures of all {count} samples are too small for a size of {self.size}: the largest of the last "
            f"would be enlarged {needed:.2g} times, and {self.options.enlarged:g} times are allowed. Give larger ones, "
            'or set "size" or "enlarged" in the recipe\'s options.'
        )

    def _bucket(self, picture: Picture) -> tuple[tuple[int, int], float]:
        """Width and height of a picture's bucket, and how many times its sides are enlarged to cover that."""
        height, width = picture.pixels.shape[:2]
        bucket = nearest_bucket(width, height, self.size, self.step)
        return bucket, enlargement(width, height, bucket)

    def _is_of_use(self, picture: Picture) -> bool:
        return self._bucket(picture)[1] <= self.options.enlarged and not is_cut_out(picture)

    def _paintings(self, drawn: Sequence[Drawn]) -> list[Painting]:
        made = []
        for one in drawn:
            pictures = [picture for picture in one.sample.pictures() if self._is_of_use(picture)]
            if pictures:  # chats may have lost all of theirs
                picture = Random(f"picture/{self.seed}/{one.number}").choice(pictures)
                bucket, _ = self._bucket(picture)
                things = np.zeros((bucket[1], bucket[0]), bool)
                if picture.instance_map is not None:
                    there = np.where(picture.instance_map > 0, np.uint8(255), np.uint8(0))
                    things = fit(there[..., None].repeat(3, axis=-1), bucket)[..., 0] >= 128
                made.append(Painting(fit(picture.pixels, bucket), things, one.number, one.keep))
        return made

    def sources(self) -> Mapping[str, Any]:
        return {"data": self.data.described()}

    def batch(self, first: int, count: int) -> tuple[Group, ...]:
        # Samples are pooled by whole steps, so that it makes no difference how a step is cut into batches.
        span = count * self.processes
        step = span * self.accumulate
        number, place = divmod(first // step, POOL)
        whole = self._pool(number, step)[place]
        made = whole[first % step // span :: self.accumulate]
        return self._groups(made or whole[:1], made[first % span // count :: self.processes])

    def _groups(self, made: Sequence[Painting], own: Sequence[Painting] | None = None) -> tuple[Group, ...]:
        """One group for each size among `made`, with those that are `own`; default all of them."""
        by_size: dict[tuple[int, ...], list[Painting]] = {}
        for one in made:
            by_size.setdefault(one.pixels.shape, []).append(one)
        groups = []
        for size, group in by_size.items():
            mine = group if own is None else [one for one in own if one.pixels.shape == size]
            groups.append(self._group(mine or group[:1], bool(mine)))
        return tuple(groups)

    def _group(self, made: Sequence[Painting], counted: bool = True) -> Group:
        config, options = self.config, self.options
        height, width = made[0].pixels.shape[:2]
        cell = config.vae.downscale
        latent = (config.vae.latent_channels, height // cell, width // cell)
        features = (config.tokens_per_picture, config.vision.width)
        columns: list[list[Tensor]] = [[], [], [], []]
        for one in made:
            generator = sample_generator(self.seed, one.number)
            noise = torch.randn(latent, generator=generator)
            noise += options.offset * torch.randn(latent[0], 1, 1, generator=generator)
            deviation = options.noise * torch.rand(1, generator=generator)
            columns[0].append(noise)
            columns[1].append(deviation * torch.randn(features, generator=generator))
            columns[2].append(torch.randint(0, len(self.sigmas), (), generator=generator))
            columns[3].append((torch.rand((), generator=generator) >= options.dropped).float())
        return Group(
            torch.stack([clip_pixels(Image.fromarray(one.pixels), config.vision.image_size) for one in made]),
            to_pixels([one.pixels for one in made]),
            self._weights(torch.from_numpy(np.stack([one.things for one in made])), latent[1:]),
            *(torch.stack(column) for column in columns),
            torch.tensor([one.keep for one in made]),
            torch.tensor([_key(one.pixels) for one in made]),
            torch.full((len(made),), counted),
        )

    def _weights(self, things: Tensor, size: tuple[int, ...]) -> Tensor:
        """Of the cells `[B, *size]`, from where something is: bool `[B, H, W]`."""
        there = F.adaptive_max_pool2d(things[:, None].float(), size)[:, 0]
        return 1 + (self.options.things - 1) * there

    def counts(self, batch: tuple[Group, ...]) -> Tensor:
        """Pictures that are learned, and those that are only kept."""
        kept = sum(int((group.kept & group.counted).sum()) for group in batch)
        return torch.tensor([sum(int(group.counted.sum()) for group in batch) - kept, kept], dtype=torch.float64)

    def _encode(self, group: Group) -> tuple[Tensor, Tensor]:
        """Features `[B, K, D]` and scaled latents `[B, C, h, w]`, float32."""
        if not self.options.remember or self.processes > 1:
            return self._compute(group.seen, group.pixels)
        pairs = []
        for key, seen, pixels in zip(group.keys.tolist(), group.seen, group.pixels, strict=True):
            if key not in self._remembered:
                # Alone, so that it is the same to the bit whatever else there was in the batch.
                features, latents = self._compute(seen[None], pixels[None])
                self._remembered[key] = features[0], latents[0]
                if len(self._remembered) > self.options.remember:
                    self._remembered.popitem(last=False)
            pairs.append(self._remembered[key])
        return torch.stack([features for features, _ in pairs]), torch.stack([latents for _, latents in pairs])

    @torch.no_grad()
    def _compute(self, seen: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        kind = self.vision_encoder.pos_embed.dtype
        features = self.vision_encoder(seen.to(kind)).float()
        with torch.autocast(seen.device.type, enabled=False):
            latents = self.decoder().encode(pixels.permute(0, 2, 3, 1) / 2 + 0.5)
        return pool_features(features, self.config.feature_grid), latents.float()

    def forward(self, batch: tuple[Group, ...], counts: Tensor | None = None) -> Mapping[str, Tensor]:
        learned, kept = (self.counts(batch) if counts is None else counts).float().clamp(min=1e-6).tolist()
        zero = self.sigmas.new_zeros(())
        losses = {"noise": zero, "weighted": zero} | ({"kept": zero} if self.data.keeps else {})
        for group in batch:
            for name, value in self._errors(group).items():
                losses[name] = losses[name] + value / (kept if name == "kept" else learned)
        total = losses["weighted"] + (self.options.keep_weight * losses["kept"] if self.data.keeps else 0.0)
        return {**losses, "total": total}

    def _errors(self, group: Group) -> dict[str, Tensor]:
        """Sums over the pictures of a group."""
        features, latents = self._encode(group)
        features = (features + group.feature_noise) * group.shown[:, None, None]
        sigma = self.sigmas[group.timesteps][:, None, None, None]
        # The UNet sees samples of unit variance, as inference scales them.
        sample = (latents + sigma * group.noise) / (sigma.square() + 1).sqrt()
        width, height = self.config.size_told(*reversed(group.pixels.shape[-2:]))
        conditions = {
            "text_embeds": features.mean(dim=1),
            "time_ids": sample.new_tensor([height, width, 0, 0, height, width]).expand(len(sample), -1),
        }

        def predict(rows: Tensor) -> Tensor:
            some = {name: value[rows] for name, value in conditions.items()}
            features_read = features[rows]
            return self.unet(
                sample[rows], group.timesteps[rows], encoder_hidden_states=features_read, added_cond_kwargs=some
            ).sample.float()

        predicted = predict(torch.ones_like(group.kept))
        squared = (predicted - group.noise).square().mean(dim=1)
        sigma = sigma.flatten()
        weights = torch.ones_like(sigma)
        if self.options.snr_limit:
            snr = sigma**-2
            weights = snr.clamp(max=self.options.snr_limit) / snr
        weights = weights * sigma.clamp(min=1) ** self.options.haze
        learned = ~group.kept & group.counted
        errors = {
            "noise": squared.detach().mean(dim=(1, 2))[learned].sum(),
            "weighted": ((squared * group.weights).mean(dim=(1, 2)) * weights)[learned].sum(),
        }
        if self.data.keeps:
            # One where there is none, so that processes that share weights all compute.
            rows = group.kept.clone()
            rows[0] |= not rows.any()
            with torch.no_grad(), without_adapters(self.unet):
                before = predict(rows)
            moved = (predicted[rows] - before).square().mean(dim=(1, 2, 3)) * weights[rows]
            errors["kept"] = moved[(group.kept & group.counted)[rows]].sum()
        return errors

    def decoder(self) -> Decoder:
        """The decoder with the UNet as it is now."""
        return Decoder(self.config, self.unet, self.vae, self.sigmas.device, torch.float32)

    def _held_out(self, count: int) -> list[Painting]:
        return [] if self.held_out is None else self._paintings(self.held_out.pool(0, count))

    def measure(self) -> Mapping[str, float]:
        """The losses on held-out pictures, at the same noise every time."""
        made = self._held_out(MEASURED)
        batches = [self._groups(made[n : n + 8]) for n in range(0, len(made), 8)]
        if not batches:
            return {}
        counts = torch.stack([self.counts(batch) for batch in batches]).sum(dim=0)
        sums: dict[str, float] = {}
        for batch in batches:
            moved = tuple(Group(*(value.to(self.sigmas.device) for value in group)) for group in batch)
            for name, value in self(moved, counts).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def sheet(self) -> Image.Image | None:
        """Held-out pictures, and what the UNet paints from their features."""
        made = [one for one in self._held_out(SHOWN * 4) if one.pixels.shape[0] == one.pixels.shape[1]][:SHOWN]
        if not made:
            return None
        group = self._group(made)
        features, latents = self._encode(Group(*(value.to(self.sigmas.device) for value in group)))
        decoder = self.decoder()
        halved = next(self.unet.parameters()).dtype != torch.float32  # a base in 16 or 8 bits
        with torch.autocast(self.sigmas.device.type, torch.bfloat16, enabled=halved):
            noise, config = torch.randn(latents.shape), self.config
            painted = decoder.paint(features, noise, config.sampler_steps, config.guidance_scale)
        return grid_sheet([group.pixels, decoder.decode(painted).permute(0, 3, 1, 2) * 2 - 1])


def least_step(config: WeGenConfig) -> int:
    """What sides of pictures are multiples of, so that no level of the UNet is left with half a cell."""
    return config.vae.downscale * 2 ** (len(config.unet.block_out_channels) - 1)


def is_cut_out(picture: Picture) -> bool:
    """Whether a picture shows a thing without what is around it, as users bring them: nothing that is to be painted."""
    if picture.role != "user":
        return False
    grey = (picture.pixels == GREY).all(axis=-1)
    if picture.instance_map is None:
        return float(grey.mean()) >= CUT_OUT
    around = picture.instance_map == 0
    return bool(around.any() and grey[around].all())


def _key(pixels: np.ndarray) -> int:
    """A number for the content of a picture."""
    digest = hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
