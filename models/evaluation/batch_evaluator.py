"""Who asks a model for pictures and words, many cases at a time, and has the judge look at what comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..engine import Parts, TurnRequest, TurnResult, take_turns
from ..errors import WeGenError
from ..media.images import to_pil
from ..painting.diffusers_painter import DiffusersPainter
from ..painting.painter import PaintJob
from ..pipeline import Pipeline
from ..storybook import PICTURE_SIZE, Named
from ..values import AutoMask, Chat, Reference, References, SamplerSettings
from .judge import Judge, bundled_judge

BATCH = 8  # cases worked on at once


@dataclass(frozen=True)
class BatchEvaluator:
    """What all behaviours are measured with.

    Attributes:
        pipeline: the model that is measured.
        count: cases of each behaviour, 1 or more.
        seed: of all cases. Training draws its scenes under other names, so no seed repeats them.
        rewriting: whether the model first says in full what it will draw, in its likeliest words (creativity 0).
        judge: who looks at the pictures.
    """

    pipeline: Pipeline
    count: int = 200
    seed: int = 0
    rewriting: bool = True
    judge: Judge = field(default_factory=bundled_judge)

    def __post_init__(self):
        if self.count < 1:
            raise WeGenError(f"{self.count} cases were asked for; give 1 or more.")

    def batches(self, behaviour: str) -> Iterator[list[tuple[int, Random]]]:
        """Seed and generator of each case, up to BATCH at a time; they depend on seed, behaviour and number alone."""
        for start in range(0, self.count, BATCH):
            numbers = range(start, min(start + BATCH, self.count))
            yield [(n, Random(f"evaluation/{behaviour}/{self.seed}/{n}")) for n in numbers]

    def reference(self, name: str, pixels: np.ndarray, mask: np.ndarray | None = None) -> Reference:
        """A picture given by the user (uint8 `[H, W, 3]`), cut out by its mask (bool `[H, W]`) if there is one."""
        cut = None if mask is None else torch.from_numpy(mask).float()
        return self.pipeline.encode_reference(name, Image.fromarray(pixels), cut)

    def paint(self, features: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
        """New pictures `[B, H, W, 3]` in 0..1 of features `[tokens_per_picture, D]`, all in one batch."""
        config = self.pipeline.config
        settings = SamplerSettings().for_checkpoint(config)
        job = PaintJob(torch.stack(list(features)), seeds, settings, config.size, config.size)
        return DiffusersPainter(self.pipeline.decoder).paint(job)

    def take_turns(
        self,
        chats: Sequence[Chat],
        instructions: Sequence[str],
        seeds: Sequence[int],
        references: Sequence[References] | None = None,
        auto_mask: AutoMask | None = None,
        parts: Parts | None = None,
    ) -> list[Chat]:
        """The next turns of many chats, each with one picture; without `auto_mask` all of a picture may change, and
        without `parts` they are those of the pipeline."""
        return [result.chat for result in self.results(chats, instructions, seeds, references, auto_mask, parts)]

    def results(
        self,
        chats: Sequence[Chat],
        instructions: Sequence[str],
        seeds: Sequence[int],
        references: Sequence[References] | None = None,
        auto_mask: AutoMask | None = None,
        parts: Parts | None = None,
    ) -> list[TurnResult]:
        """The same with all that the engine says of each turn. Words are the model's likeliest: nothing is checked."""
        if not chats:
            return []
        references = references or [References()] * len(chats)
        settings = SamplerSettings(auto_mask=auto_mask)
        requests = [
            TurnRequest(text, (seed,), named, self.rewriting, creativity=0.0, settings=settings)
            for text, seed, named in zip(instructions, seeds, references, strict=True)
        ]
        painter = DiffusersPainter(self.pipeline.decoder)
        return take_turns(requests, chats, painter, parts or self.pipeline.wegen)

    def read(self, pictures: Sequence[np.ndarray]) -> list[Named]:
        """What the judge sees in uint8 pictures `[H, W, 3]`."""
        return [reading.named for reading in self.judge.read_pictures(pictures)]


NOTHING = np.zeros((PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)


def shown(chat: Chat) -> np.ndarray:
    """The picture that a chat goes on with, uint8 `[H, W, 3]`; a black one where its first wish got words alone."""
    return NOTHING if not chat.turns else to_bytes(chat.last.answer.picture)


def to_bytes(picture: Tensor) -> np.ndarray:
    """A picture `[H, W, 3]` in 0..1 -> uint8, as it would be saved."""
    return np.asarray(to_pil(picture))
