"""Sizes for pictures of any proportions: a few shapes of about equal area, into the nearest of which each is cut."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image

WIDEST = 2.0
"""Longest side to shortest, of the longest bucket; pictures beyond lose what is outside of it."""


@cache
def bucket_sizes(size: int, step: int) -> tuple[tuple[int, int], ...]:
    """Widths and heights of all buckets: multiples of `step` with an area of about `size` squared, the square among
    them.

    Raises:
        ValueError: the square itself is no multiple of the step.
    """
    if size % step:
        raise ValueError(f"Pictures of {size} pixels are no multiple of {step}.")
    found = {(size, size)}
    for width in range(step, math.floor(size * WIDEST**0.5) // step * step + step, step):
        height = max(step, round(size * size / width / step) * step)
        if max(width, height) / min(width, height) <= WIDEST:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def nearest_bucket(width: int, height: int, size: int, step: int) -> tuple[int, int]:
    """The bucket whose proportions are nearest to those of a picture."""
    wanted = math.log(width / height)
    return min(bucket_sizes(size, step), key=lambda bucket: (abs(math.log(bucket[0] / bucket[1]) - wanted), bucket))


def enlargement(width: int, height: int, bucket: tuple[int, int]) -> float:
    """How many times a picture's sides are enlarged to cover a bucket; below 1 they are made smaller."""
    return max(bucket[0] / width, bucket[1] / height)


def fit(pixels: np.ndarray, bucket: tuple[int, int]) -> np.ndarray:
    """A picture uint8 `[H, W, 3]`, scaled until it covers the bucket (width, height) and cut in the middle."""
    height, width = pixels.shape[:2]
    if (width, height) == bucket:
        return pixels
    scale = max(bucket[0] / width, bucket[1] / height)
    wide, high = max(bucket[0], round(width * scale)), max(bucket[1], round(height * scale))
    picture = Image.fromarray(pixels).resize((wide, high), Image.Resampling.LANCZOS)
    left, top = (wide - bucket[0]) // 2, (high - bucket[1]) // 2
    return np.asarray(picture.crop((left, top, left + bucket[0], top + bucket[1])))
