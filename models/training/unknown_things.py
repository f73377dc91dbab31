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
UNLIKE = 0.5
"""Share of the colours that may differ from those of the thing in other pictures."""
ALIKE, STEPS = 14, 8
"""Of 255, by which neighbours differ that belong together; and pixels by which a mask may be too large."""


@torch.inference_mode()
def unknown_masks(pipeline: Pipeline, pictures: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """For each picture uint8 `[H, W, 3]` a mask bool `[H, W]`, of what comes back wrong from its own features.

    Where that is in several places, it is the one with the colours of the thing in the other pictures. None where there
    is no such place of the size of a thing: a model that paints all of a picture a little differently tells nothing.
    """
    size = pipeline.config.size
    small = [Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC) for pixels in pictures]
    wrong = [_painted_wrong(pipeline, one) for one in small]
    found = choose([places(one) for one in wrong], [np.asarray(one) for one in small])
    masks: list[np.ndarray | None] = []
    for mask, pixels in zip(found, pictures, strict=True):
        if mask is not None:
            whole = Image.fromarray(mask).resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.NEAREST)
            mask = np.asarray(whole)
        masks.append(mask)
    return masks


def _painted_wrong(pipeline: Pipeline, picture: Image.Image) -> np.ndarray:
    """How far what is painted from a picture's features is from it: `[size, size]`, of a channel in 0..1."""
    features = pipeline.encode_reference("it", picture).features
    settings = SamplerSettings().for_checkpoint(pipeline.config)
    job = PaintJob(features[None], (0,), settings, *picture.size)
    [painted] = DiffusersPainter(pipeline.decoder).paint(job)
    wrong = (painted - from_pil(picture)).abs().amax(dim=-1).numpy()
    return ndimage.uniform_filter(wrong, 3)


def places(wrong: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The places of the size of a thing, bool `[H, W]`, in which errors `[H, W]` are, each with its share of all; the
    one with most of them first."""
    labels, count = ndimage.label(wrong > DIFFERENT, np.ones((3, 3)))
    errors = ndimage.sum(wrong, labels, range(1, count + 1)) if count else np.zeros(0)
    found = []
    for number in np.argsort(-errors):
        mask = ndimage.binary_dilation(ndimage.binary_fill_holes(labels == number + 1), iterations=1)
        if LEAST <= mask.mean() <= MOST:
            found.append((mask, float(errors[number] / errors.sum())))
    return found


def choose(
    found: Sequence[Sequence[tuple[np.ndarray, float]]], pictures: Sequence[np.ndarray]
) -> list[np.ndarray | None]:
    """One of the places of each picture, without what at its edge goes on outside; None where none is sure."""
    tight = [
        [(shrunk(mask, pixels), share) for mask, share in several]
        for several, pixels in zip(found, pictures, strict=True)
    ]
    sure = [several[0][0] if several and several[0][1] >= ALMOST_ALL else None for several in tight]
    known = [_colours(pixels, mask) for pixels, mask in zip(pictures, sure, strict=True) if mask is not None]
    if not known:
        return sure
    typical = np.median(known, axis=0)
    chosen = []
    for several, pixels in zip(tight, pictures, strict=True):
        unlike = [np.abs(_colours(pixels, mask) - typical).sum() / 2 if mask.any() else 1.0 for mask, _ in several]
        best = int(np.argmin(unlike)) if unlike else 0
        chosen.append(several[best][0] if unlike and unlike[best] <= UNLIKE else None)
    return chosen


def _colours(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shares of 64 colours in a place."""
    kinds = (pixels[mask] >> 6).astype(np.int64) @ np.array((16, 4, 1))
    return np.bincount(kinds, minlength=64) / max(1, len(kinds))


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
