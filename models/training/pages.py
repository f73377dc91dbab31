"""Numbered storybook pages as tensors: page i of a seed is always the same, so training can go on anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from random import Random

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from .. import storybook
from ..data.tasks import damaged
from ..media.conditions import CONDITIONS
from ..media.images import CLIP_MEAN, CLIP_STD
from ..network.vision_encoder import pool_features
from ..storybook import COLOURS, GROUNDS, KINDS, ROWS, SKIES, STYLES, Scene, Thing
from ..storybook.world import MOST_THINGS, sample_jitter

#: kinds that are hard to tell apart when they are small and of one colour
ALIKE = (
    ("balloon", "tree"), ("sun", "star", "moon"), ("moon", "cat", "cloud"), ("star", "bird", "fish"), ("fish", "cloud"),
    ("balloon", "umbrella", "mushroom"), ("flower", "balloon"), ("house", "lighthouse"), ("tree", "cat"),
    ("dog", "cat", "horse"), ("rabbit", "cat", "dog"), ("person", "child", "snowman"), ("bus", "car", "train"),
    ("tower", "lighthouse", "lamp"), ("castle", "house"), ("kite", "flag", "tent"), ("apple", "pumpkin", "cake"),
    ("aeroplane", "bird", "fish"), ("duck", "bird"), ("turtle", "snail"), ("cactus", "tree"),
    ("butterfly", "flower", "kite"), ("bicycle", "car"),
)  # fmt: skip


def page(seed: int, index: int, things: int | None = None) -> Scene:
    """Page `index` of the endless book `seed`, with a given number of things or any."""
    return storybook.sample_scene(Random(f"pages/{seed}/{index}"), things)


@dataclass(frozen=True)
class Mixture:
    """How many pages are harder than those that the world gives by itself: options that every stage with pages has.

    The shares are drawn each on its own.

    Attributes:
        crowded: share of the pages that hold the most things there can be.
        alike: share of the pages that hold things hard to tell apart, and nothing else; see `alike_page`.
        small: share of the pages all things of which are small.
        styled: share of the pages that are not drawn in the first style.
        patterned: share of the pages all things of which are striped or dotted, where they may be.
    """

    crowded: float = 0.0
    alike: float = 0.0
    small: float = 0.0
    styled: float = 0.0
    patterned: float = 0.0

    def shares(self) -> tuple[float, ...]:
        """All of them: what pages of one seed depend on."""
        return tuple(getattr(self, field.name) for field in fields(Mixture))

    def page(self, seed: int, index: int, things: int | None = None) -> Scene:
        """Page `index` of the endless book `seed`, with a given number of things or any where it is not crowded."""
        rng = Random(f"mixture/{seed}/{index}")
        crowded, alike, small = (rng.random() < share for share in (self.crowded, self.alike, self.small))
        things = MOST_THINGS if crowded else things
        scene = alike_page(rng, things or rng.randint(1, MOST_THINGS)) if alike else page(seed, index, things)
        if small:
            scene = replace(scene, things=tuple(replace(thing, size="small") for thing in scene.things))
        if rng.random() < self.styled:
            scene = replace(scene, style=rng.choice(STYLES[1:]))
        if rng.random() < self.patterned:
            scene = replace(scene, things=tuple(_patterned(thing, rng) for thing in scene.things))
        return scene


def _patterned(thing: Thing, rng: Random) -> Thing:
    """The same thing, striped or dotted where its kind may be."""
    patterns = KINDS[thing.kind].patterns[1:]
    return replace(thing, pattern=rng.choice(patterns)) if patterns else thing


def alike_page(rng: Random, things: int) -> Scene:
    """A page of kinds that look alike in one colour, or of one kind in several; fewer things where there is no room.

    They lie in any row, also where their kind is seldom seen.
    """
    kinds = rng.choice(ALIKE)
    shared = [colour for colour in COLOURS if sum(colour in KINDS[kind].colours for kind in kinds) > 1]
    pairs = [(kind, colour) for colour in [rng.choice(shared)] for kind in kinds if colour in KINDS[kind].colours]
    if rng.random() < 0.5:
        kind = rng.choice(tuple(KINDS))
        pairs = [(kind, colour) for colour in KINDS[kind].colours]
    scene = Scene(rng.choice(GROUNDS), rng.choice(SKIES))
    for _ in range(things):
        kind, colour = rng.choice(pairs)
        thing = storybook.sample_thing(rng, scene.things, kind=kind, colour=colour, row=rng.randrange(len(ROWS)))
        if thing is not None:
            scene = replace(scene, things=(*scene.things, thing))
    return scene


def still(scene: Scene) -> Scene:
    """The same page without the jitter that words cannot tell."""
    return replace(scene, things=tuple(thing.still() for thing in scene.things))


def jittered(scene: Scene, rng: Random) -> Scene:
    """The same page with another jitter."""
    things = tuple(replace(thing, jitter=sample_jitter(rng)) for thing in scene.things)
    return replace(scene, things=things)


def altered(scene: Scene, name: str, rng: Random) -> np.ndarray:
    """One of `CONDITIONS` of a page, or the page after one of `DEGRADATIONS`, uint8 `[S, S, 3]`."""
    return storybook.condition(scene, name) if name in CONDITIONS else damaged(scene, name, rng)


def to_pixels(pictures: Sequence[np.ndarray]) -> Tensor:
    """uint8 pictures `[H, W, 3]` -> `[B, 3, H, W]` in -1..1, as the VAE wants them."""
    return rearrange(torch.from_numpy(np.stack(pictures)), "b h w c -> b c h w").float() / 127.5 - 1


def to_clip(pixels: Tensor) -> Tensor:
    """-1..1 -> normalised as the vision encoder wants them."""
    mean = torch.tensor(CLIP_MEAN, device=pixels.device)[:, None, None]
    deviation = torch.tensor(CLIP_STD, device=pixels.device)[:, None, None]
    return (pixels / 2 + 0.5 - mean) / deviation


def features_of(vision_encoder: nn.Module, pixels: Tensor, side: int) -> Tensor:
    """-1..1 pictures `[B, 3, S, S]`, on any device -> pooled features `[B, side * side, D]`, float32."""
    pixels = pixels.to(next(vision_encoder.parameters()).device)
    return pool_features(vision_encoder(to_clip(pixels)).float(), side)


def thing_weights(scene: Scene, weight: float) -> Tensor:
    """`[H, W]`: `weight` in the boxes of things, 1 elsewhere."""
    weights = torch.ones(storybook.PICTURE_SIZE, storybook.PICTURE_SIZE)
    for thing in scene.things:
        left, top, right, bottom = (max(edge, 0) for edge in thing.box)
        weights[top:bottom, left:right] = weight
    return weights
