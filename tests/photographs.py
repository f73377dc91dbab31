"""Two real photographs, scikit-learn's sample images, and files like those that cameras write."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

ORIENTATION = 0x0112  # the EXIF tag
NAMES = ("china", "flower")


def photograph(name: str, megapixels: float | None = None) -> Tensor:
    """A photograph `[H, W, 3]` in 0..1: 427 x 640 pixels, or enlarged to `megapixels`; skips without scikit-learn."""
    return torch.from_numpy(np.array(photograph_pil(name, megapixels))).float() / 255


def photograph_pil(name: str, megapixels: float | None = None) -> Image.Image:
    """The same for Pillow."""
    datasets = pytest.importorskip("sklearn.datasets", reason="NOT RUN: scikit-learn has the photographs")
    picture = Image.fromarray(datasets.load_sample_image(f"{name}.jpg"))
    if megapixels is not None:
        factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
        size = (round(picture.width * factor), round(picture.height * factor))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def save_turned(picture: Image.Image, path: Path, orientation: int = 6) -> Path:
    """Save a picture as a camera that was held on its side does: turned pixels, and EXIF that says so.

    `orientation` is 3 (upside down), 6 or 8 (a quarter turn).
    """
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.transpose(turns[orientation]).save(path, exif=exif, quality=95)
    return path
