"""Consistency in numbers and pictures: what changed outside the change area, what inside, and how a chat drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..editing.composite import with_channels
from ..errors import WeGenError
from ..values import Chat, only_small_copies

BINS = ("0", "1", "2-3", "4-7", "8-15", "16-31", "32-63", "64+")
"""Differences in levels of 255, as the shares of an `Area` count them."""
_LOWEST = np.array([0, 1, 2, 4, 8, 16, 32, 64])
_WINDOW = 11  # pixels, of SSIM


@dataclass(frozen=True)
class Area:
    """How two pictures differ in a part of them, in the 8 bits that are saved.

    Attributes:
        pixels: how many the part has, 1 or more.
        psnr: dB; infinite when nothing differs.
        ssim: mean structural similarity, up to 1.
        largest: difference of any channel of any pixel, 0..255.
        mean: of the differences of all channels, 0..255.
        shares: of pixels by their largest difference, one for each of BINS; they add up to 1.
    """

    pixels: int
    psnr: float
    ssim: float
    largest: int
    mean: float
    shares: tuple[float, ...]

    @property
    def changed(self) -> float:
        """Share of the pixels that differ, 0..1."""
        return sum(self.shares[1:])

    def __str__(self) -> str:
        if self.largest == 0:
            return "identical to the bit"
        return (
            f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}, largest difference {self.largest} of 255, "
            f"mean {self.mean:.2f}, {self.changed:.1%} of the pixels changed"
        )


@dataclass(frozen=True)
class Comparison:
    """Two pictures outside and inside the change area; None where there is no such area.

    Outside is all that masks keep in full, so only soft edges, and what may change, are not part of it.
    """

    outside: Area | None
    inside: Area | None
    blended: int = 0
    """Pixels of the change area at the soft edges of masks, where old and new may be mixed."""

    def __str__(self) -> str:
        lines = [
            f"{name} the change area: " + ("no pixels" if area is None else f"{area} ({area.pixels} pixels)")
            for name, area in (("Outside", self.outside), ("Inside", self.inside))
        ]
        if self.blended:
            lines.append(f"{self.blended} pixels inside are soft edges of the masks: kept only in part.")
        return "\n".join(lines)


@dataclass(frozen=True)
class Drift:
    """How far each turn of a chat is from the first one where no turn was allowed to change anything.

    Attributes:
        turns: one area for each turn after the first; all None when every pixel was free in some turn.
        untouched: share of the picture that no change area ever covered, 0..1.
        unmasked: numbers, from 2, of turns that had no change area and painted the whole picture. They do not make
            pixels touched: what they lost is what drift is.
    """

    turns: tuple[Area | None, ...]
    untouched: float
    unmasked: tuple[int, ...]

    def __str__(self) -> str:
        lines = [f"{self.untouched:.1%} of the picture was never inside a change area. Against turn 1, it is:"]
        for number, area in enumerate(self.turns, start=2):
            repainted = ", painted as a whole without a mask" if number in self.unmasked else ""
            lines.append(f"Turn {number}{repainted}: {area or 'no pixels to compare'}.")
        return "\n".join(lines)


def compare(before: Tensor, after: Tensor, change: Tensor | None = None) -> Comparison:
    """Compare two pictures `[H, W, C]` in 0..1; without a change area `[H, W]` all of them counts as outside.

    Raises:
        WeGenError: the pictures differ in size.
    """
    old, new = _bytes(before, after)
    touched = np.zeros(old.shape[:2], bool) if change is None else (change > 0).numpy()
    blended = 0 if change is None else int(((change > 0) & (change < 1)).sum())
    return Comparison(_area(old, new, ~touched), _area(old, new, touched), blended)


def drift(chat: Chat) -> Drift:
    """Compare every turn of a chat with its first one.

    Raises:
        WeGenError: the chat has fewer than two turns, or pictures of several sizes, or small copies of pictures.
    """
    if len(chat) < 2:
        raise WeGenError(f"The chat has {len(chat)} turns; drift needs 2 or more. Refine it first.")
    if why := only_small_copies(chat):
        raise WeGenError(f"The drift of this chat cannot be told: {why}")
    first, *later = [turn.answer for turn in chat.turns]
    touched = np.zeros(first.picture.shape[:2], bool)
    for answer in later:
        _require_same_size(first.picture, answer.picture)
        if answer.change is not None:
            touched |= (answer.change > 0).numpy()
    areas = tuple(_area(*_bytes(first.picture, answer.picture), ~touched) for answer in later)
    unmasked = tuple(number for number, answer in enumerate(later, start=2) if answer.change is None)
    return Drift(areas, 1 - float(touched.mean()), unmasked)


def difference(before: Tensor, after: Tensor, amplify: float = 8) -> Tensor:
    """How pictures `[H, W, C]` differ, channel by channel, `[H, W, 3]` in 0..1: black is the same.

    Args:
        before, after: in 0..1, of one size.
        amplify: what differences are multiplied with, above 0.
    """
    if not amplify > 0:
        raise WeGenError(f"Differences cannot be amplified {amplify} times; give more than 0.")
    old, new = (torch.from_numpy(picture.astype(np.float32)) for picture in _bytes(before, after))
    colours = (new - old)[..., :3].abs()
    if old.shape[-1] == 4:
        colours = torch.maximum(colours, (new - old)[..., 3:].abs())
    return (colours.expand(*colours.shape[:2], 3) * amplify / 255).clamp(0, 1)


def _bytes(before: Tensor, after: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures as ComfyUI saves them, rounded down, uint8 `[H, W, C]` with the same channels."""
    _require_same_size(before, after)
    channels = max(before.shape[-1], after.shape[-1])
    old, new = ((with_channels(p, channels).cpu().clamp(0, 1) * 255).byte().numpy() for p in (before, after))
    return old, new


def _require_same_size(before: Tensor, after: Tensor) -> None:
    if before.shape[:2] != after.shape[:2]:
        raise WeGenError(
            f"Pictures of {before.shape[1]}x{before.shape[0]} and {after.shape[1]}x{after.shape[0]} pixels cannot be "
            "compared; resize one to the size of the other first."
        )


def _area(old: np.ndarray, new: np.ndarray, where: np.ndarray) -> Area | None:
    if not where.any():
        return None
    off = np.abs(old.astype(np.int16) - new)[where]
    counts = np.bincount(np.searchsorted(_LOWEST, off.max(axis=1), side="right") - 1, minlength=len(BINS))
    power = float(np.square(off.astype(np.float64)).mean())
    return Area(
        pixels=len(off),
        psnr=10 * math.log10(255**2 / power) if power else math.inf,
        ssim=_similarity(old, np.where(where[..., None], new, old))[where].mean().item(),
        largest=int(off.max()),
        mean=float(off.mean()),
        shares=tuple((counts / len(off)).tolist()),
    )


def _similarity(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """SSIM around each pixel, `[H, W]`."""
    from kornia.metrics import ssim

    window = min(_WINDOW, *(side - 1 + side % 2 for side in old.shape[:2]))
    one, other = (torch.from_numpy(p.astype(np.float32) / 255).permute(2, 0, 1)[None] for p in (old, new))
    return ssim(one, other, window)[0].mean(dim=0).numpy()
