"""Stage "encoder": the vision encoder learns features from which each cell of a page can be read and painted alone.

Every pooled feature, with noise on it, must tell the pixels of its own cell, what thing lies there (kind, colour, size,
pose, place), where the cell itself lies, and ground and sky. So features are local, say all that words can say, and
survive noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from .. import storybook
from ..data.strange_pictures import strange_picture
from ..errors import WeGenError
from ..media.conditions import CONDITIONS, DEGRADATIONS
from ..metrics.recogniser import wear
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..storybook import COLOURS, COLUMNS, GROUNDS, KINDS, PATTERNS, ROWS, SIZES, SKIES, STYLES, Scene, Thing
from ..storybook.world import MOST_THINGS
from .loop import HELD_OUT
from .losses import noised
from .pages import Mixture, altered, features_of, jittered, still, to_pixels
from .sheets import grid_sheet
from .stage import Stage, sample_generator
from .start import PackedStart

#: what a cell is asked, and how many answers there are; where a thing is asked for, 0 is "nothing here"
QUESTIONS = {
    "kind": len(KINDS) + 1, "colour": len(COLOURS) + 1, "size": len(SIZES) + 1, "pose": 3,
    "pattern": len(PATTERNS) + 1, "column": len(COLUMNS) + 1, "row": len(ROWS) + 1,
    "ground": len(GROUNDS), "sky": len(SKIES), "style": len(STYLES),
}  # fmt: skip
LEAST_OVERLAP = 24  # pixels of a thing's box in a cell, to belong to it
MEASURED, MEASURED_NOISE = 200, 0.3  # held-out pages that are read for a sheet, and the noise on their features


@dataclass(frozen=True)
class EncoderOptions(Mixture):
    """Which pages are read, and how. `noise`: largest deviation put on features. The others weigh the losses beside
    that of the pixels."""

    noise: float = 0.5
    answers: float = 0.1
    position: float = 0.05
    steadiness: float = 0.2
    """Weight of the distance between the features of a page with and without jitter."""
    frozen: bool = False
    """Train the reader alone, on an encoder that is finished."""
    kept: float = 0.0
    """Weight of the distance from the features that the encoder it began with gives pages and strange pictures: what
    was trained to read and draw them stays of use. A page in another style is to have the features of the same page in
    the first one, shifted by what is learned for that style and is the same everywhere."""
    worn: float = 0.0
    """Share of the pages with jitter that are read as a VAE and a sampler would have made them."""
    known: Sequence[int] = ()
    """How many kinds, grounds and skies, the first ones each, the encoder knows that it began with: where others lie,
    features need not stay what they were. Empty: it knows all."""
    told: float = 0.0
    """Weight of what pictures that tell a part of a page (edges, depth and so on), or that have suffered, are to say:
    their features are to be those of the page, as far as they tell it, and to be read alike."""
    told_share: float = 1.0
    """Share of the pages, the first ones of a batch, beside which there is such a picture."""


class PageBatch(NamedTuple):
    seen: Tensor
    """`[B + C, 3, S, S]` in -1..1: B pages with jitter, then the first C of them without."""
    painted: Tensor
    """`[B, 3, S, S]`, all of them without jitter."""
    answers: Tensor
    """`[B, cells, questions]`"""
    plain: Tensor
    """`[B, 3, S, S]`: the same as the first B of `seen`, all drawn in the first style."""
    styles: Tensor
    """`[B]`: the numbers of the styles in which they are drawn."""
    told: Tensor
    """`[B' <= B, 3, S, S]`, one for each of the first pages with its jitter: what tells a part of it, or what it
    became."""
    strange: Tensor
    """`[B // 4 or 0, 3, S, S]`, pictures that are no pages."""
    known: Tensor
    """bool `[B, cells]`: where nothing lies that the encoder it began with does not know; see `known_cells`."""


class CellReader(nn.Module):
    """Reads single features `[..., D]`: pixels of the cell, answers about it, and its position."""

    def __init__(self, width: int, cells: int, cell_pixels: int):
        super().__init__()
        self.cell_pixels = cell_pixels
        hidden = 4 * width
        self.pixels = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, 3 * cell_pixels**2),
        )
        self.answers = nn.Linear(width, sum(QUESTIONS.values()))
        self.position = nn.Linear(width, cells)

    def paint(self, features: Tensor) -> Tensor:
        """`[B, cells, D]` -> pixels `[B, 3, S, S]`."""
        side = round(features.shape[1] ** 0.5)
        size = {"h": side, "p": self.cell_pixels, "q": self.cell_pixels}
        return rearrange(self.pixels(features), "b (h w) (c p q) -> b c (h p) (w q)", **size)

    def loss(self, features: Tensor, answers: Tensor) -> Tensor:
        """How far features `[..., D]` are from these answers; cells with a thing weigh as much together as those
        without."""
        filled = (answers[..., 0] > 0).flatten()
        weights = torch.where(filled, 0.5 / filled.sum().clamp(min=1), 0.5 / (~filled).sum().clamp(min=1))
        groups = self.answers(features).float().flatten(0, -2).split(list(QUESTIONS.values()), dim=-1)
        return sum(
            (F.cross_entropy(group, answers[..., number].flatten(), reduction="none") * weights).sum()
            for number, group in enumerate(groups)
        )

    def read(self, features: Tensor) -> Tensor:
        """The likeliest answers `[..., questions]` that features `[..., D]` give."""
        groups = self.answers(features).split(list(QUESTIONS.values()), dim=-1)
        return torch.stack([group.argmax(-1) for group in groups], dim=-1)

    def accuracy(self, features: Tensor, answers: Tensor) -> dict[str, float]:
        """Share of the cells with a thing that are answered right, for each question."""
        answers = answers.to(features.device)
        right = self.read(features) == answers
        shares = right[answers[..., 0] > 0].float().mean(dim=0)
        return dict(zip(QUESTIONS, shares.tolist(), strict=True))


class EncoderStage(Stage):
    """Trains the vision encoder together with a `CellReader`, which is thrown away afterwards."""

    def __init__(self, config: WeGenConfig, options: EncoderOptions, seed: int, start: PackedStart | None = None):
        super().__init__()
        if (options.kept or options.told) and not start:
            raise WeGenError(
                "The options 'kept' and 'told' need the encoder of a finished model: name one in the entry 'start'."
            )
        self.config, self.options, self.seed = config, options, seed
        self.vision_encoder = VisionEncoder(config.vision)
        initialise(self.vision_encoder)
        self.before: VisionEncoder | None = None
        if start:
            start.fill_encoder(self.vision_encoder)
            if options.kept or options.told:
                self.before = VisionEncoder(start.config().vision).requires_grad_(False)
                start.fill(self.before, "vision_encoder")
                self.shifts = nn.Embedding(len(STYLES), config.vision.width, padding_idx=0)
                nn.init.zeros_(self.shifts.weight)
        if options.frozen:
            self.vision_encoder.requires_grad_(False)
        cell = config.vision.image_size // config.feature_grid
        self.reader = CellReader(config.vision.width, config.tokens_per_picture, cell)

    def batch(self, first: int, count: int) -> PageBatch:
        scenes = [self._page(index) for index in range(first, first + count)]
        moved = [jittered(s, Random(f"jitter/{self.seed}/{first + i}")) for i, s in enumerate(scenes)]
        exact = to_pixels([storybook.render(still(scene)) for scene in scenes])
        rendered = to_pixels([storybook.render(scene) for scene in moved])
        shown = [self._shown(picture[None], first + number) for number, picture in enumerate(rendered)]
        seen = torch.cat([*shown, exact[: (count + 3) // 4]])
        plain_scenes = [replace(scene, style=STYLES[0]) for scene in moved]
        plain = to_pixels([storybook.render(scene) for scene in plain_scenes])
        answers = torch.stack([cell_answers(scene, self.config.feature_grid) for scene in scenes])
        styles = torch.tensor([STYLES.index(scene.style) for scene in scenes])
        numbers = range(first, first + count)
        told = strange = seen[:0]
        if self.options.told:
            first_ones = enumerate(plain_scenes[: round(count * self.options.told_share)], first)
            told = to_pixels([_told(scene, Random(f"told/{self.seed}/{i}")) for i, scene in first_ones])
        if self.options.kept and count >= 4:
            strange = to_pixels([strange_picture(Random(f"strange/{self.seed}/{i}")) for i in numbers[: count // 4]])
        known = torch.stack([known_cells(scene, self.config.feature_grid, self.options.known) for scene in moved])
        return PageBatch(seen, exact, answers, plain, styles, told, strange, known)

    def _page(self, index: int) -> Scene:
        return self.options.page(self.seed, index, MOST_THINGS - index % 3)

    def _shown(self, picture: Tensor, index: int) -> Tensor:
        """Page `index` `[1, 3, S, S]` as it is read."""
        generator = sample_generator(self.seed, index)
        worn = float(torch.rand((), generator=generator)) < self.options.worn
        return wear(picture, generator) if worn else picture

    def encode(self, pixels: Tensor) -> Tensor:
        return features_of(self.vision_encoder, pixels, self.config.feature_grid)

    def forward(self, batch: PageBatch) -> Mapping[str, Tensor]:
        count = len(batch.painted)
        features, told, strange = self.encode(torch.cat([batch.seen, batch.told, batch.strange])).split(
            [len(batch.seen), len(batch.told), len(batch.strange)]
        )
        moved, exact = features.split([count, len(features) - count])
        steadiness = F.mse_loss(moved[: len(exact)], exact)
        read = noised(moved, self.options.noise)
        error = self.reader.paint(read).float() - batch.painted
        pixels = error.square().mean() + error.abs().mean()
        answers = self.reader.loss(read, batch.answers)
        cells = torch.arange(read.shape[1], device=read.device).repeat(len(read))
        position = F.cross_entropy(self.reader.position(read).flatten(0, 1).float(), cells)
        options = self.options
        total = pixels + options.answers * answers + options.position * position + options.steadiness * steadiness
        parts = {"pixels": pixels, "answers": answers, "position": position, "steadiness": steadiness}
        if self.before is None:
            return {"total": total, **parts}
        with torch.no_grad():
            seen = torch.cat([batch.plain, batch.strange])
            wanted = features_of(self.before, seen, self.config.feature_grid)
        unstyled = moved - self.shifts(batch.styles)[:, None]
        stays = torch.cat([batch.known, batch.known.new_ones(len(strange), batch.known.shape[1])])
        parts["kept"] = F.mse_loss(torch.cat([unstyled, strange])[stays], wanted[stays])
        total = total + options.kept * parts["kept"]
        if len(told):
            page = torch.where(batch.known[..., None], wanted[:count], unstyled.detach())[: len(told)]
            parts["told"] = F.mse_loss(told, page)
            answered = _plain_answers(batch.answers[: len(told)])
            parts["told_answers"] = self.reader.loss(noised(told, options.noise), answered)
            total = total + options.told * (parts["told"] + options.answers * parts["told_answers"])
        return {"total": total, **parts}

    def measure(self) -> Mapping[str, float]:
        """See `CellReader.accuracy`; on held-out pages, with noise on the features."""
        batch = self.batch(HELD_OUT + 1000, MEASURED)
        shares = self.reader.accuracy(noised(self.encode(batch.seen[:MEASURED]), MEASURED_NOISE), batch.answers)
        if not len(batch.told):
            return shares
        read = noised(self.encode(batch.told), MEASURED_NOISE)
        told = self.reader.accuracy(read, _plain_answers(batch.answers[: len(read)]))
        return {**shares, **{f"told_{name}": share for name, share in told.items()}}

    def sheet(self) -> Image.Image:
        batch = self.batch(HELD_OUT, 20)
        features = self.encode(batch.seen[:20])
        painted = [self.reader.paint(features), self.reader.paint(noised(features, self.options.noise))]
        return grid_sheet(
            [part for i in (0, 10) for part in [batch.seen[i : i + 10], *(p[i : i + 10].cpu() for p in painted)]]
        )


def _plain_answers(answers: Tensor) -> Tensor:
    """The same answers `[..., questions]` about pages in the first style."""
    number = list(QUESTIONS).index("style")
    return torch.cat([answers[..., :number], torch.zeros_like(answers[..., :1]), answers[..., number + 1 :]], dim=-1)


def _told(scene: Scene, rng: Random) -> np.ndarray:
    """A picture that tells a part of a page, or a page that has suffered, uint8 `[128, 128, 3]`."""
    return altered(scene, rng.choice(CONDITIONS if rng.random() < 0.5 else DEGRADATIONS), rng)


def initialise(encoder: VisionEncoder) -> None:
    """Unit patch embeddings and positions, as large as the output of the branches, which end in a norm."""
    for name, value in encoder.named_parameters():
        if name == "pos_embed":
            nn.init.normal_(value, std=0.5)
        elif "norm" in name and name.endswith("weight"):
            nn.init.constant_(value, 0.25)
        elif value.ndim >= 2:
            nn.init.normal_(value, std=value[0].numel() ** -0.5)
        elif name.endswith("bias"):
            nn.init.zeros_(value)


def known_cells(scene: Scene, side: int, known: Sequence[int]) -> Tensor:
    """bool `[cells]`: where nothing of a page lies beyond the first `known` kinds, grounds and skies; no pattern."""
    cells = torch.ones(side, side, dtype=torch.bool)
    if not known:
        return cells.flatten()
    kinds, grounds, skies = known
    if GROUNDS.index(scene.ground) >= grounds or SKIES.index(scene.sky) >= skies:
        return torch.zeros(side * side, dtype=torch.bool)
    cell = storybook.PICTURE_SIZE // side
    for thing in scene.things:
        if list(KINDS).index(thing.kind) >= kinds or thing.pattern != PATTERNS[0]:
            left, top, right, bottom = (max(edge, 0) for edge in thing.box)
            cells[top // cell : -(-bottom // cell), left // cell : -(-right // cell)] = False
    return cells.flatten()


def cell_answers(scene: Scene, side: int) -> Tensor:
    """`[cells, questions]` int64: the right answers of every cell of the page without jitter."""
    cell = storybook.PICTURE_SIZE // side
    answers = np.zeros((side, side, len(QUESTIONS)), np.int64)
    setting = GROUNDS.index(scene.ground), SKIES.index(scene.sky), STYLES.index(scene.style)
    answers[..., -len(setting) :] = setting
    most = np.full((side, side), LEAST_OVERLAP - 1)
    edges = np.arange(side) * cell
    for thing in scene.things:
        left, top, right, bottom = thing.still().box
        wide = (np.minimum(edges + cell, right) - np.maximum(edges, left)).clip(0)
        high = (np.minimum(edges + cell, bottom) - np.maximum(edges, top)).clip(0)
        overlap = high[:, None] * wide[None]
        inside = overlap > most
        most = np.where(inside, overlap, most)
        told = _answers_of(thing)
        answers[inside, : len(told)] = told
    return torch.from_numpy(answers.reshape(side * side, -1))


def _answers_of(thing: Thing) -> tuple[int, ...]:
    """What the cells of a thing answer, without those about the page."""
    return (
        list(KINDS).index(thing.kind) + 1,
        list(COLOURS).index(thing.colour) + 1,
        list(SIZES).index(thing.size) + 1,
        KINDS[thing.kind].poses.index(thing.pose) + 1,
        PATTERNS.index(thing.pattern) + 1,
        thing.column + 1,
        thing.row + 1,
    )
