"""Where the thing is in pictures of something new: there, where a model that does not know it paints them wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from ..media.images import from_pil
from ..painting.diffusers_painter import DiffusersPainter
from ..painting.painter import PaintJob
from ..pipeline import Pipeline
from ..values import SamplerSettings

DIFFERENT = 0.12
"""Of a channel in 0..1: from here on a pixel is painted wrong."""
LEAST, MOST = 0.001, 0.25
"""Share of a picture that one thing has."""
ALMOST_ALL = 0.6
"""Share of all that is wrong which lies in one place, where that is the thing."""
ALIKE, STEPS = 14, 8
"""Of 255, by which neighbours differ that belong together; and pixels by which a mask may be too large."""


@torch.inference_mode()
def unknown_masks(pipeline: Pipeline, pictures: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """For each picture uint8 `[H, W, 3]` a mask bool `[H, W]`, of what comes back wrong from its own features.

    None where that is not mostly in one place of the size of a thing: a model that paints all of a picture a little
    differently tells nothing.
    """
    size = pipeline.config.size
    found = []
    for pixels in pictures:
        small = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
        features = pipeline.encode_reference("it", small).features
        settings = SamplerSettings(guidance_scale=pipeline.config.guidance_scale)
        job = PaintJob(features[None], (0,), settings, size, size)
        [painted] = DiffusersPainter(pipeline.decoder).paint(job)
        wrong = (painted - from_pil(small)).abs().amax(dim=-1).numpy()
        mask = one_place(ndimage.uniform_filter(wrong, 3))
        if mask is not None:
            mask = shrunk(mask, np.asarray(small))
            whole = Image.fromarray(mask).resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.NEAREST)
            mask = np.asarray(whole)
        found.append(mask)
    return found


def shrunk(mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """A mask without what at its edge goes on outside: pixels like their neighbours there, one row after the other."""
    mask, values = mask.copy(), pixels.astype(np.int16)
    for _ in range(STEPS):
        outside = np.pad(~mask, 1)  # the border of the picture is no edge of anything
        around = np.pad(values, ((1, 1), (1, 1), (0, 0)))
        same = np.zeros_like(mask)
        for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
            here = slice(down, down + mask.shape[0]), slice(right, right + mask.shape[1])
            same |= outside[here] & (np.abs(around[here] - values).max(axis=-1) <= ALIKE)
        if not (mask & same).any():
            break
        mask &= ~same
    return mask


def one_place(wrong: np.ndarray) -> np.ndarray | None:
    """The place bool `[H, W]` in which most of the error `[H, W]` is; None where there is none."""
    labels, count = ndimage.label(wrong > DIFFERENT, np.ones((3, 3)))
    if not count:
        return None
    errors = ndimage.sum(wrong, labels, range(1, count + 1))
    mask = labels == int(np.argmax(errors)) + 1
    mask = ndimage.binary_dilation(ndimage.binary_fill_holes(mask), iterations=1)
    alone = errors.max() >= ALMOST_ALL * errors.sum()
    return mask if alone and LEAST <= mask.mean() <= MOST else None
