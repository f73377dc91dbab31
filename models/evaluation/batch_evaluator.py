"""Who asks a model for pictures and words, many cases at a time, and has the judge look at what comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..editing.masks import latent_mask
from ..editing.refinement import Masks, Plan, finish, plan
from ..engine import PictureDraft
from ..errors import WeGenError
from ..media.images import to_pil
from ..pipeline import Pipeline, start_noise
from ..prompting.conversation import picture_prompt
from ..prompting.decoding import Decoding
from ..prompting.rewriting import RewriteRequest, rewrite_each
from ..prompting.text_sampling import TextSampling
from ..storybook import Named
from ..values import AutoMask, Chat, Reference, References, Turn
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

    def think(
        self, chats: Sequence[Chat], instructions: Sequence[str], references: Sequence[References]
    ) -> list[tuple[str, Tensor]]:
        """Words and features `[tokens_per_picture, D]` of the next turns of many chats: `turn.think` in one batch."""
        pipeline, settings = self.pipeline, self.pipeline.default_settings
        wegen = pipeline.wegen
        asked = [RewriteRequest(*each) for each in zip(instructions, references, chats, strict=True)]
        rewrites = list(instructions)
        if self.rewriting:
            rewrites = [one.text for [one] in rewrite_each(wegen, asked, [0], TextSampling())]
        prompts = [
            picture_prompt(pipeline.config, wegen.tokenizer, wish.chat, wish.instruction, wish.references, rewrite)
            for wish, rewrite in zip(asked, rewrites, strict=True)
        ]
        prompts = [prompt.embeddings(wegen) for prompt in prompts]
        guidance = settings.feature_guidance
        decoding = Decoding(wegen, prompts, pipeline.config.tokens_per_picture + 1, guided=guidance != 1.0)
        features = decoding.write_picture(guidance, settings.collection).features
        return list(zip(rewrites, features, strict=True))

    def paint(
        self, features: Sequence[Tensor], seeds: Sequence[int], keep: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The pictures `[B, H, W, 3]` in 0..1 of features `[tokens_per_picture, D]`, all in one batch.

        `keep` are the pictures before, and where `[B, H, W]` they may change.
        """
        config, settings = self.pipeline.config, self.pipeline.default_settings
        height, width = (config.size, config.size) if keep is None else keep[1].shape[1:]
        noise = torch.cat([start_noise(config, seed, width, height) for seed in seeds])
        decoder = self.pipeline.decoder
        if keep is not None:
            keep = decoder.encode(keep[0]), latent_mask(keep[1], config.vae.downscale)
        latent = decoder.paint(torch.stack(list(features)), noise, settings.steps, settings.guidance_scale, keep)
        return decoder.decode(latent)

    def take_turns(
        self,
        chats: Sequence[Chat],
        instructions: Sequence[str],
        seeds: Sequence[int],
        references: Sequence[References] | None = None,
        auto_mask: AutoMask | None = None,
    ) -> list[Chat]:
        """The next turn of many chats: what the pipeline's `generate` and `refine` give one by one.

        Without `auto_mask` all of a picture may change; with one every chat must have a turn.
        """
        references = references or [References()] * len(chats)
        thought = self.think(chats, instructions, references)
        ideas = [
            PictureDraft(words, features.cpu(), seed) for (words, features), seed in zip(thought, seeds, strict=True)
        ]
        settings = replace(self.pipeline.default_settings, auto_mask=auto_mask)
        if auto_mask is None:
            plans, befores, keep = [Plan(idea, None) for idea in ideas], [None] * len(ideas), None
        else:
            befores = [chat.last.answer.picture for chat in chats]
            plans = [plan(chat, [idea], Masks(), settings)[0] for chat, idea in zip(chats, ideas, strict=True)]
            keep = torch.stack(befores), torch.stack([one.change for one in plans])
        pictures = self.paint([one.idea.features for one in plans], seeds, keep)
        turns = zip(chats, instructions, references, plans, befores, pictures, strict=True)
        return [
            chat.add(
                Turn(
                    text, (finish(self.pipeline.wegen, one, before, after, settings).answer,), given, settings=settings
                )
            )
            for chat, text, given, one, before, after in turns
        ]

    def read(self, pictures: Sequence[np.ndarray]) -> list[Named]:
        """What the judge sees in uint8 pictures `[H, W, 3]`."""
        return [reading.named for reading in self.judge.read_pictures(pictures)]


def shown(chat: Chat) -> np.ndarray:
    """The picture that a chat goes on with, uint8 `[H, W, 3]`."""
    return to_bytes(chat.last.answer.picture)


def to_bytes(picture: Tensor) -> np.ndarray:
    """A picture `[H, W, 3]` in 0..1 -> uint8, as it would be saved."""
    return np.asarray(to_pil(picture))
