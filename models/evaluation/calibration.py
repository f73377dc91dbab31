"""Measure a checkpoint's feature statistics on pictures, and write them into its packed folder.

What is measured: how far the features of the pictures spread around their mean; how far they move when a picture goes
through the VAE, as every painted picture does; and what a change does to them, by pasting a part of another picture
over some cells. The threshold is the one that tells the cells that changed from the others best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from PIL import Image
from torch import Tensor, nn

from .. import storybook
from ..checkpoints.loading import fill
from ..checkpoints.reader import CONFIG_FILE, Checkpoint, checkpoint_kind, open_checkpoint
from ..editing.feature_statistics import distances, spread_of
from ..errors import CheckpointError, WeGenError
from ..media.images import clip_pixels, from_pil
from ..network.configuration import FeatureStatistics, WeGenConfig
from ..network.decoder import make_vae
from ..network.vision_encoder import VisionEncoder, pool_features
from ..painting.diffusers_painter import Decoder
from ..paths import replace_file
from ..training.loop import HELD_OUT
from ..training.pages import page

FEWEST = 4
"""Pictures that a measurement needs."""
EDITS = 4
"""Changes that are tried on each picture."""
PAGES = 60
"""Pages of the storybook on which the features of a model that has learned it are measured."""
ALARM = 2.5
"""What a cell that is taken for changed in vain weighs beside one that is missed: a missed one mostly has neighbours
that are found, and a mask grows beyond them; and features that are drawn are less exact than those measured here."""
QUIET = 0.99
"""Share of the cells of a picture seen twice that stay below the noise."""
DIFFERENT = 0.05
"""Mean difference of a cell's pixels, in 0..1, from which on it shows something else."""


@dataclass(frozen=True)
class Calibration:
    """What was found.

    Attributes:
        statistics: for the checkpoint's configuration.
        mean: length of the mean feature.
        pictures, changed, unchanged: how many pictures, and how many changed and unchanged cells, were looked at.
        recall: share of the changed cells that are above the threshold.
        false_alarms: share of the unchanged cells that are above it.
    """

    statistics: FeatureStatistics
    mean: float
    pictures: int
    changed: int
    unchanged: int
    recall: float
    false_alarms: float


class MeasuredParts:
    """What a measurement needs of a checkpoint: its vision encoder and its VAE, without the rest."""

    def __init__(self, checkpoint: Checkpoint, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32):
        self.config, self.device, self.dtype = checkpoint.config, torch.device(device), dtype
        with torch.device("meta"):
            vision_encoder, vae = VisionEncoder(self.config.vision), make_vae(self.config.vae)
        self.vision_encoder = fill(vision_encoder, checkpoint.vision_encoder, self.device, dtype)
        vae = fill(vae, checkpoint.vae, self.device, torch.float32)
        self._painter = Decoder(self.config, nn.Identity(), vae, self.device, dtype)

    @torch.no_grad()
    def encode(self, picture: Tensor) -> Tensor:
        """A picture `[H, W, 3]` in 0..1 -> features `[tokens_per_picture, D]`, float32 on the CPU."""
        pixels = clip_pixels(picture, self.config.vision.image_size)[None]
        patches = self.vision_encoder(pixels.to(self.device, self.dtype))
        return pool_features(patches.float(), self.config.feature_grid)[0].cpu()

    def repaint(self, picture: Tensor) -> Tensor:
        """The picture as it comes out of the VAE."""
        return self._painter.decode(self._painter.encode(picture[None]))[0]


def read_square(picture: Image.Image, config: WeGenConfig) -> Tensor:
    """A picture as large as the checkpoint paints by default, `[size, size, 3]` in 0..1."""
    side = (config.size, config.size)
    return from_pil(picture.resize(side, Image.Resampling.LANCZOS))


def calibrate(
    config: WeGenConfig,
    encode: Callable[[Tensor], Tensor],
    repaint: Callable[[Tensor], Tensor],
    pictures: Sequence[Tensor],
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Measure feature statistics.

    Args:
        config: whose grid of features is used.
        encode: a picture `[S, S, 3]` in 0..1 -> its features `[K, D]`.
        repaint: a picture -> the same picture after the VAE.
        pictures: `[S, S, 3]`, of the kind that the checkpoint is used for.
        seed: of what is pasted where.
        on_progress: called with pictures done and to do.

    Raises:
        WeGenError: too few pictures, or pictures that are all alike.
    """
    if len(pictures) < FEWEST:
        raise WeGenError(f"{len(pictures)} pictures are too few to measure features; give {FEWEST} or more, best 50.")
    rng, grid = Random(f"calibration/{seed}"), config.feature_grid
    before = torch.stack([encode(picture) for picture in pictures])
    spread = spread_of(before)
    if not spread > 1e-6:
        raise WeGenError("The features of all pictures are alike; give pictures that show different things.")
    scale = FeatureStatistics(spread, 0.0, 1.0)
    noise, changed, unchanged = [], [], []
    for number, picture in enumerate(pictures):
        noise.append(distances(before[number], encode(repaint(picture)), scale))
        for _ in range(EDITS):
            other = pictures[(number + rng.randrange(1, len(pictures))) % len(pictures)]
            cells = _rectangle(rng, grid)
            edited = _pasted(picture, other, cells)
            far = distances(before[number], encode(repaint(edited)), scale)
            shows_other = _by_cell((edited - picture).abs().mean(dim=-1), grid) > DIFFERENT
            changed.append(far[shows_other])
            unchanged.append(far[~cells.flatten()])
        if on_progress is not None:
            on_progress(number + 1, len(pictures))
    hits, others = torch.cat(changed), torch.cat(unchanged)
    if not len(hits):
        raise WeGenError("The pictures are too much alike to measure a change; give pictures that show other things.")
    quiet = float(torch.cat(noise).quantile(QUIET))
    threshold = _threshold(hits, others)
    return Calibration(
        FeatureStatistics(_rounded(spread), _rounded(quiet), _rounded(threshold)),
        float(before.flatten(0, 1).mean(dim=0).norm()),
        len(pictures),
        len(hits),
        len(others),
        float((hits > threshold).float().mean()),
        float((others > threshold).float().mean()),
    )


def calibrate_folder(
    folder: Path,
    pictures: Iterable[Image.Image],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Measure a packed folder's feature statistics and write them into its configuration.

    Pictures of any size are taken one after the other, and only small squares of them are held in memory.

    Raises:
        CheckpointError: the folder is no packed checkpoint.
        WeGenError: see `calibrate`; or the configuration cannot be written.
    """
    if checkpoint_kind(folder) == "published":
        raise CheckpointError(f"{folder} is a published folder, which has no place for statistics; convert it first.")
    checkpoint = open_checkpoint(folder)
    parts = MeasuredParts(checkpoint, device, dtype)
    squares = [read_square(picture, parts.config) for picture in pictures]
    found = calibrate(parts.config, parts.encode, parts.repaint, squares, on_progress=on_progress)
    write_statistics(checkpoint, found.statistics)
    return found


def calibrate_on_pages(folder: Path) -> None:
    """The same on pages of the storybook that no training has seen."""
    numbers = range(HELD_OUT, HELD_OUT + PAGES)
    calibrate_folder(folder, [Image.fromarray(storybook.render(page(1, number))) for number in numbers])


def write_statistics(checkpoint: Checkpoint, statistics: FeatureStatistics) -> None:
    """Put statistics into a packed folder's configuration: at any moment the old file stands there, or the new one."""
    file = checkpoint.folder / CONFIG_FILE
    try:
        replace_file(file, replace(checkpoint.config, features=statistics).to_json().encode())
    except OSError as error:
        raise WeGenError(f"Cannot write {file}: {error.strerror}.") from error


def _rectangle(rng: Random, grid: int) -> Tensor:
    """Some cells side by side, bool `[grid, grid]`: up to three quarters of each side."""
    rows, columns = (rng.randint(1, max(1, grid * 3 // 4)) for _ in range(2))
    top, left = rng.randint(0, grid - rows), rng.randint(0, grid - columns)
    cells = torch.zeros(grid, grid, dtype=torch.bool)
    cells[top : top + rows, left : left + columns] = True
    return cells


def _pasted(picture: Tensor, other: Tensor, cells: Tensor) -> Tensor:
    """`picture` with what `other` shows in `cells`."""
    height, width = picture.shape[:2]
    where = nn.functional.interpolate(cells[None, None].float(), size=(height, width), mode="nearest-exact")[0, 0]
    return torch.where(where[..., None] > 0, other, picture)


def _by_cell(values: Tensor, grid: int) -> Tensor:
    """The mean of `[H, W]` in each cell: `[grid * grid]`."""
    return nn.functional.adaptive_avg_pool2d(values[None, None], grid).flatten()


def _threshold(changed: Tensor, unchanged: Tensor) -> float:
    """The distance with the smallest sum of the share that is missed and, by ALARM, the share of false alarms."""
    candidates = torch.cat([changed, unchanged]).quantile(torch.linspace(0, 1, 513))
    missed = torch.searchsorted(changed.sort().values, candidates, right=True) / len(changed)
    alarms = 1 - torch.searchsorted(unchanged.sort().values, candidates, right=True) / len(unchanged)
    cost = missed + ALARM * alarms
    best = candidates[cost == cost.min()]
    return max(float(best.min() + best.max()) / 2, 1e-6)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
