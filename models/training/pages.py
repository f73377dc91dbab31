"""Numbered storybook pages as tensors: page i of a seed is always the same, so training can go on anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .. import storybook
from ..images import CLIP_MEAN, CLIP_STD
from ..storybook import Scene
from ..storybook.world import sample_jitter


def page(seed: int, index: int, things: int | None = None) -> Scene:
    """Page `index` of the endless book `seed`, with a given number of things or any."""
    return storybook.sample_scene(Random(f"pages/{seed}/{index}"), things)


def still(scene: Scene) -> Scene:
    """The same page without the jitter that words cannot tell."""
    return Scene(scene.ground, scene.sky, tuple(thing.still() for thing in scene.things))


def jittered(scene: Scene, rng: Random) -> Scene:
    """The same page with another jitter."""
    things = tuple(replace(thing, jitter=sample_jitter(rng)) for thing in scene.things)
    return Scene(scene.ground, scene.sky, things)


def to_pixels(pictures: Sequence[np.ndarray]) -> Tensor:
    """uint8 pictures `[H, W, 3]` -> `[B, 3, H, W]` in -1..1, as the VAE wants them."""
    return rearrange(torch.from_numpy(np.stack(pictures)), "b h w c -> b c h w").float() / 127.5 - 1


def to_clip(pixels: Tensor) -> Tensor:
    """-1..1 -> normalised as the vision encoder wants them."""
    mean = torch.tensor(CLIP_MEAN, device=pixels.device)[:, None, None]
    deviation = torch.tensor(CLIP_STD, device=pixels.device)[:, None, None]
    return (pixels / 2 + 0.5 - mean) / deviation


def thing_weights(scene: Scene, weight: float) -> Tensor:
    """`[H, W]`: `weight` in the boxes of things, 1 elsewhere."""
    weights = torch.ones(storybook.PICTURE_SIZE, storybook.PICTURE_SIZE)
    for thing in scene.things:
        left, top, right, bottom = (max(edge, 0) for edge in thing.box)
        weights[top:bottom, left:right] = weight
    return weights
