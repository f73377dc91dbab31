"""Stage "robust_encoder": a finished vision encoder learns to read damaged pictures as what they were.

It teaches itself: pages that are blurred, noisy, grey and so on, that are told by their edges or depth alone, or that
look as a painter made them, are to have the features that the encoder gave the pages themselves before. All other
pictures keep the features they had, so that neither the language model nor the UNet has to learn anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import storybook
from ..data.strange_pictures import strange_picture
from ..media.conditions import CONDITIONS, DEGRADATIONS
from ..metrics.recogniser import wear
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..storybook import STYLES, Scene
from .loop import HELD_OUT
from .pages import Mixture, altered, features_of, jittered, to_pixels
from .recipe import RecipeError, in_range
from .stage import Stage, sample_generator

WAYS = ("damaged", "told", "worn", "kept")
STRANGE = 0.25  # share of pictures that are no pages, of those that are shown as they are
MEASURED = 60  # held-out pages that are read in every way


@dataclass(frozen=True)
class RobustEncoderOptions(Mixture):
    """How the pages are shown, and how much an error counts; what the shares leave is shown as it is.

    Attributes:
        damaged: share of the pages that have suffered, each in one of `DEGRADATIONS`.
        told: share of the pages of which there is one of `CONDITIONS` alone.
        worn: share of the pages that look as if a VAE and a sampler had made them.
        told_weight: of the error of pages that are told; what the condition does not tell can never be read from it.
        kept_weight: of the error of what is shown as it is.
    """

    damaged: float = 0.55
    told: float = 0.1
    worn: float = 0.15
    told_weight: float = 0.2
    kept_weight: float = 3.0

    def __post_init__(self):
        in_range(self, 0, 1, "damaged", "told", "worn")
        in_range(self, 0, None, "told_weight", "kept_weight")
        if self.damaged + self.told + self.worn > 1:
            raise RecipeError("The shares 'damaged', 'told' and 'worn' are more than 1 together.")


class ShownPages(NamedTuple):
    seen: Tensor
    """`[B, 3, S, S]` in -1..1: what is read."""
    pages: Tensor
    """`[B, 3, S, S]` in -1..1: what it was."""
    ways: Tensor
    """`[B]`: the numbers of the `WAYS` in which they are shown."""


class RobustEncoderStage(Stage):
    """Trains the vision encoder to give altered pages the features of the pages."""

    def __init__(self, config: WeGenConfig, options: RobustEncoderOptions, seed: int, encoder: VisionEncoder):
        super().__init__()
        self.config, self.options, self.seed = config, options, seed
        self.before = encoder.eval().requires_grad_(False)
        self.vision_encoder = VisionEncoder(config.vision)
        self.vision_encoder.load_state_dict(encoder.state_dict())

    def batch(self, first: int, count: int) -> ShownPages:
        shown = [self._shown(index) for index in range(first, first + count)]
        seen, pages, ways = zip(*shown, strict=True)
        return ShownPages(torch.cat(seen), torch.cat(pages), torch.tensor([WAYS.index(way) for way in ways]))

    def _shown(self, index: int) -> tuple[Tensor, Tensor, str]:
        """Page `index` as it is read and as it was, `[1, 3, S, S]` each, and the way between them."""
        rng, options = Random(f"robust/{self.seed}/{index}"), self.options
        scene = jittered(self.options.page(self.seed, index), rng)
        shares = options.damaged, options.told, options.worn
        [way] = rng.choices(WAYS, (*shares, 1 - sum(shares)))
        if way in ("damaged", "told"):
            # Only pages in the first style are to be restored, and drawn from their edges.
            scene = replace(scene, style=STYLES[0])
            name = rng.choice(DEGRADATIONS if way == "damaged" else CONDITIONS)
            return to_pixels([altered(scene, name, rng)]), _page(scene), way
        if way == "worn":
            return wear(_page(scene), sample_generator(self.seed, index)), _page(scene), way
        page = to_pixels([strange_picture(rng)]) if rng.random() < STRANGE else _page(scene)
        return page, page, way

    def forward(self, batch: ShownPages) -> Mapping[str, Tensor]:
        with torch.no_grad():
            wanted = features_of(self.before, batch.pages, self.config.feature_grid)
        read = features_of(self.vision_encoder, batch.seen, self.config.feature_grid)
        errors = (read - wanted).float().square().mean(dim=(1, 2))
        shown = {way: batch.ways == number for number, way in enumerate(WAYS)}
        means = {way: errors[where].sum() / where.sum().clamp(min=1) for way, where in shown.items()}
        weighed = self.options.told_weight * means["told"] + self.options.kept_weight * means["kept"]
        return {"total": means["damaged"] + means["worn"] + weighed, **means}

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """Mean squared error of the features of held-out pages that are altered in each way, and as they are."""
        numbers = range(HELD_OUT, HELD_OUT + MEASURED)
        scenes = [replace(self.options.page(self.seed, number), style=STYLES[0]) for number in numbers]
        pages = torch.cat([_page(scene) for scene in scenes])
        shown = {"kept": pages}
        for name in (*DEGRADATIONS, *CONDITIONS):
            numbered = enumerate(scenes)
            shown[name] = to_pixels([altered(scene, name, Random(f"measured/{number}")) for number, scene in numbered])
        device, grid = next(self.before.parameters()).device, self.config.feature_grid
        wanted = features_of(self.before, pages.to(device), grid)
        read = {name: features_of(self.vision_encoder, seen.to(device), grid) for name, seen in shown.items()}
        return {name: float(F.mse_loss(features, wanted)) for name, features in read.items()}


def _page(scene: Scene) -> Tensor:
    """`[1, 3, S, S]`"""
    return to_pixels([storybook.render(scene)])
