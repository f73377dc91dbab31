"""Small recognisers of drawn pictures, such as the judge of the storybook: reading, loading and training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import CheckpointError
from ..paths import put_in_place

SAVE_EVERY = 250  # steps
Recogniser = TypeVar("Recogniser", bound=nn.Module)


def block(channels: int, out: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    """A convolution, batch normalisation and ReLU; with `stride` 1 the size stays unless `padding` says otherwise."""
    padding = kernel // 2 if padding is None else padding
    convolution = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


def to_pixels(pictures: Sequence[np.ndarray] | np.ndarray, size: int) -> Tensor:
    """uint8 pictures `[H, W, 3]` -> `[B, 3, size, size]` in -1..1.

    Raises:
        ValueError: a picture of another shape or type.
    """
    stacked = torch.from_numpy(np.stack([_fitted(picture, size) for picture in pictures]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def _fitted(picture: np.ndarray, size: int) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"A picture is uint8 of shape [height, width, 3], got {picture.dtype} {list(picture.shape)}.")
    if picture.shape[:2] == (size, size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))


def wobble(pixels: Tensor, shifts: Tensor) -> Tensor:
    """Move pixels `[B, 3, H, W]` by smooth shifts `[B, 2, h, w]`, in units of half the picture's side."""
    axis = torch.linspace(-1, 1, pixels.shape[-1])
    here = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    there = here + F.interpolate(shifts, size=pixels.shape[-2:], mode="bicubic").permute(0, 2, 3, 1)
    return F.grid_sample(pixels, there, padding_mode="border", align_corners=True)


def wear(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Make rendered pictures `[B, 3, H, W]` in -1..1 look as if a VAE and a sampler had made them.

    Each picture gets its own mix of blur, smearing over coarse cells, wobbling lines, noise, and a shift of colour,
    contrast and brightness; about one in six stays clean.
    """
    batch = len(pixels)

    def draw(*shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator)

    worn = wobble(pixels, normal(2, 8, 8) * draw(1, 1, 1) * 0.006)
    soft = F.avg_pool2d(F.pad(worn, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    worn = torch.lerp(worn, soft, draw(1, 1, 1))
    coarse = F.interpolate(F.avg_pool2d(worn, 2), scale_factor=2, mode="bilinear")
    worn = torch.lerp(worn, coarse, draw(1, 1, 1) ** 2 * 0.8)
    coarser = F.interpolate(F.avg_pool2d(worn, 4), scale_factor=4, mode="bilinear")
    worn = torch.lerp(worn, coarser, draw(1, 1, 1) ** 3 * 0.5)
    blotches = F.interpolate(normal(3, 16, 16), scale_factor=8, mode="bilinear")
    worn = worn + blotches * draw(1, 1, 1) ** 2 * 0.08 + normal(*pixels.shape[1:]) * draw(1, 1, 1) ** 2 * 0.08
    worn = worn * (1 + normal(1, 1, 1) * 0.06) + normal(1, 1, 1) * 0.05 + normal(3, 1, 1) * 0.03
    clean = draw(1, 1, 1) < 1 / 6
    return torch.where(clean, pixels, worn).clamp(-1, 1)


def load_recogniser(recogniser: Recogniser, path: str | Path) -> Recogniser:
    """Fill a recogniser with trained weights, ready to read.

    Raises:
        CheckpointError: there is no such file, or its weights are another's.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no judge at {path}. Train one with judge_training.train_judge.")
    try:
        recogniser.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
        )
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path} does not hold a judge's weights: {error}") from error
    return recogniser.eval().requires_grad_(False)


def train_recogniser(
    recogniser: nn.Module,
    loss_at: Callable[[int], Tensor],
    out: str | Path,
    steps: int,
    learning_rate: float,
    gradient_limit: float = float("inf"),
    on_save: Callable[[], None] = lambda: None,
) -> None:
    """Train a recogniser and write its weights, float16, to `out`.

    An interrupted training goes on where it last saved its state, beside `out` in a file that ends in `.state.pt` and
    that is removed at the end.

    Args:
        recogniser: in training mode, with pictures in `torch.channels_last`.
        loss_at: the loss of the batch of step `n`, counted from 0; the same each time.
        learning_rate: the highest, reached after a tenth of the steps.
        gradient_limit: largest norm of the gradients of a step.
        on_save: is called whenever the state was saved, and may look at the recogniser in evaluation mode.
    """
    out = Path(out)
    state_file = out.with_suffix(".state.pt")
    optimiser = torch.optim.AdamW(recogniser.parameters(), learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=0.1)
    parts = {"judge": recogniser, "optimiser": optimiser, "schedule": schedule}
    first = 0
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        first = state.pop("step")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    began = time.monotonic()
    for step in range(first, steps):
        loss = loss_at(step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(recogniser.parameters(), gradient_limit)
        optimiser.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            speed = (step + 1 - first) / (time.monotonic() - began)
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}, {speed:.2f} steps a second", flush=True)
        if (step + 1) % SAVE_EVERY == 0:
            partial = state_file.with_suffix(".partial")
            torch.save({"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, partial)
            put_in_place(partial, state_file)
            recogniser.eval()
            on_save()
            recogniser.train()
    weights = recogniser.eval().state_dict()
    partial = Path(out).with_suffix(".partial")
    save_file({k: v.half().contiguous() if v.is_floating_point() else v for k, v in weights.items()}, partial)
    put_in_place(partial, Path(out))
    state_file.unlink(missing_ok=True)
