"""Conversions between PIL pictures, tensors, and what the vision encoder takes."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..errors import WeGenError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def to_pil(image: Tensor) -> Image.Image:
    """One picture `[H, W, 3 or 4]` in 0..1 -> 8-bit PIL; transparent parts are laid on white."""
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise WeGenError(f"A picture must have the shape [height, width, 1, 3 or 4], got {list(image.shape)}.")
    pixels = (image.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    return flatten_alpha(Image.fromarray(pixels))


def flatten_alpha(picture: Image.Image) -> Image.Image:
    """RGB version of any PIL picture; transparent parts are laid on white, 16 bits become 8."""
    if picture.mode.startswith("I"):
        # Pillow's own conversion would cut off all that is above 255.
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def from_pil(picture: Image.Image) -> Tensor:
    """PIL picture -> `[H, W, 3]` float32 in 0..1 (exact for 8 bits: the way back gives the same bytes)."""
    return torch.from_numpy(np.array(flatten_alpha(picture))).float() / 255


def clip_pixels(picture: Image.Image, size: int) -> Tensor:
    """The published transform: bilinear resize to a square (no crop), CLIP mean and deviation -> `[3, size, size]`."""
    resized = from_pil(flatten_alpha(picture).resize((size, size), Image.Resampling.BILINEAR))
    normalised = (resized - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    return rearrange(normalised, "h w c -> c h w")
