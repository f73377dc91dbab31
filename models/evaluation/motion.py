"""Pictures of which one knows how they moved, to measure registration with."""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ..editing.registration import Motion

_DISCS = 8


def natural_picture(rng: Random, height: int, width: int) -> Tensor:
    """A picture `[height, width, 3]` float64 in 0..1 that resembles photographs in what registration looks at.

    Its spectrum falls as theirs does, colours go together, and things with sharp edges stand in front of others.
    """
    source = np.random.default_rng(rng.getrandbits(32))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width)) ** 1.3

    def layer() -> np.ndarray:
        return np.fft.irfft2(amplitude * np.exp(2j * np.pi * source.random(amplitude.shape)), s=(height, width))

    shared = layer()
    picture = np.stack([shared + 0.4 * layer() for _ in range(3)], axis=-1)
    picture = (picture - picture.mean()) / picture.std()
    rows, columns = np.mgrid[:height, :width]
    side = min(height, width)
    for _ in range(_DISCS):
        radius = source.uniform(side / 16, side / 5)
        distance = np.hypot(rows - source.uniform(0, height), columns - source.uniform(0, width))
        opacity = np.clip(radius - distance + 0.5, 0, 1)[..., None]
        picture = picture * (1 - opacity) + (source.normal(0, 1, 3) + 0.3 * picture[::-1]) * opacity
    return torch.from_numpy(np.clip(0.5 + 0.18 * picture, 0, 1))


def moved_picture(picture: Tensor, motion: Motion) -> Tensor:
    """What a picture `[H, W, C]` looks like after a motion; what comes in from outside mirrors the inside. float64."""
    centre = (np.array(picture.shape[:2]) - 1) / 2
    offset = centre - (centre + np.array([motion.dy, motion.dx])) / motion.zoom
    channels = [
        ndimage.affine_transform(channel, np.full(2, 1 / motion.zoom), offset, order=3, mode="mirror")
        for channel in np.moveaxis(picture.double().numpy(), -1, 0)
    ]
    return torch.from_numpy(np.stack(channels, axis=-1).clip(0, 1))


def worn(picture: Tensor, rng: Random) -> Tensor:
    """A picture `[H, W, C]` as a VAE and a sampler give it back: softer, a little noisy, of another tone, in 8 bits."""
    source = np.random.default_rng(rng.getrandbits(32))
    soft = ndimage.gaussian_filter(picture.double().numpy(), (0.7, 0.7, 0))
    toned = soft * (1 + source.normal(0, 0.03)) + source.normal(0, 0.02, soft.shape[-1])
    noisy = toned + source.normal(0, 0.01, soft.shape)
    return torch.from_numpy((noisy.clip(0, 1) * 255).round() / 255)
