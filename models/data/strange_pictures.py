"""Pictures that are no drawings of the storybook: soft colours, textures and shapes, much like blurred photographs."""

from __future__ import annotations

from random import Random

import numpy as np

from ..storybook import PICTURE_SIZE

_SIZE = PICTURE_SIZE


def strange_picture(rng: Random) -> np.ndarray:
    """uint8 `[128, 128, 3]`, of one of several sorts; the same for the same generator."""
    noise = np.random.default_rng(rng.getrandbits(63))
    picture = _clouds(noise, rng.choice((2, 3, 4, 6)), colours=rng.random() < 0.5)
    if rng.random() < 0.6:
        picture = _with_horizon(picture, noise)
    for _ in range(rng.choice((0, 2, 5, 12))):
        picture = _with_shape(picture, noise)
    if rng.random() < 0.5:
        picture = picture + noise.normal(0, rng.uniform(0.02, 0.25), picture.shape)
    if rng.random() < 0.15:
        picture = picture.mean(axis=2, keepdims=True).repeat(3, axis=2)
    if rng.random() < 0.1:
        picture = noise.random((_SIZE, _SIZE, 3))
    low, high = sorted((rng.uniform(0, 0.4), rng.uniform(0.5, 1)))
    return (np.clip(low + picture * (high - low), 0, 1) * 255).astype(np.uint8)


def _smooth(field: np.ndarray) -> np.ndarray:
    """A coarse field `[n, n, C]`, grown to the size of a picture."""
    at = np.linspace(0, len(field) - 1, _SIZE)
    low = np.clip(at.astype(int), 0, len(field) - 2)
    part = (at - low)[:, None, None]
    rows = field[low] * (1 - part) + field[low + 1] * part
    part = part.transpose(1, 0, 2)
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _clouds(noise: np.random.Generator, octaves: int, colours: bool) -> np.ndarray:
    base = noise.random(3)
    picture = np.zeros((_SIZE, _SIZE, 3)) + base
    for octave in range(octaves):
        field = noise.normal(0, 0.5**octave, (2 ** (octave + 1) + 1,) * 2 + (3 if colours else 1,))
        picture = picture + 0.3 * _smooth(field)
    return np.clip(picture, 0, 1)


def _with_horizon(picture: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    edge = _SIZE * noise.uniform(0.2, 0.8) + _smooth(noise.normal(0, 12, (9, 9, 1)))[0, :, 0]
    below = (np.arange(_SIZE)[:, None] > edge[None])[..., None]
    return np.where(below, _clouds(noise, 5, colours=False), picture)


def _with_shape(picture: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    """A shaded blob, block or stripe of any direction."""
    centre, angle = noise.uniform(0, _SIZE, 2), noise.uniform(0, np.pi)
    radii = noise.uniform(3, 45, 2)
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    down, across = rows - centre[0], columns - centre[1]
    along, aside = across * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - across * np.sin(angle)
    power = noise.choice((1, 2, 2, 8))
    distance = (np.abs(along / radii[0]) ** power + np.abs(aside / radii[1]) ** power)[..., None]
    edge = np.clip((1 - distance) * noise.uniform(1, 12), 0, 1)
    light = 1 + noise.uniform(-0.6, 0.6) * (along / radii[0])[..., None].clip(-1, 1)
    return picture * (1 - edge) + np.clip(noise.random(3) * light, 0, 1) * edge
