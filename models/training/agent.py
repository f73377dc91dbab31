"""Stage "agent": the language model learns to describe, answer, rewrite, draw and refine, in one stream of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..checkpoints.tokenizer import END, PICTURE_BEGIN, Tokenizer
from ..checkpoints.wegen import WeGen
from ..data import TASKS, Picture, Sample, Text, read_index, sample_at, stream
from ..data.shards import count_samples
from ..network.agent import Agent
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder
from ..prompting.decoding import Decoding
from ..storybook import Named, Scene, parse_caption
from .conversations import Conversation, ConversationBatch, collate, conversation
from .encoder import CellReader, cell_answers
from .losses import agent_losses, agent_outputs, noised
from .pages import features_of, to_pixels
from .recipe import RecipeError
from .sheets import captioned, grid_sheet
from .sources import digest
from .stage import Stage

POOL = 8
"""Batches whose samples are sorted by length together, so that rows of a batch need little padding. With 8 of them even
a batch of the longest conversations holds at least one."""

LOOKED_AT = 20
"""Samples of shards that are looked at before anything is trained."""

MEASURED = 24
"""Held-out samples that are drawn, and described, whenever a sheet is."""


@dataclass(frozen=True)
class AgentOptions:
    """What the conversations are about.

    Attributes:
        tasks: weights of the tasks of `data.TASKS`.
        noise: largest deviation put on the features that are read.
        direct: share of the drawing samples in which the answer is a picture without words before it, by task.
        feature_weight: of the two feature losses; as published it is 1.
        answers: weight of what the encoder's `CellReader` reads wrong in the drawn features. A drawn thing of the wrong
            kind is a small distance, but the wrong thing; this tells it from noise.
        balance: see `agent_outputs`.
        changes: how much the words weigh that an order changes in a description, beside all that is copied.
    """

    tasks: Mapping[str, float]
    noise: float = 0.3
    direct: Mapping[str, float] = field(default_factory=dict)
    feature_weight: float = 1.0
    answers: float = 0.1
    balance: float = 0.0
    changes: float = 1.0


def require_pages(shards: Path, size: int) -> None:
    """See that shards can be read, and hold pictures of the model's size `size`, by their first samples.

    Raises:
        WeGenError: they cannot be used.
    """
    for sample in islice(stream(shards, None), min(count_samples(shards), LOOKED_AT)):
        for picture in sample.pictures():
            height, width = picture.pixels.shape[:2]
            if (height, width) != (size, size):
                raise RecipeError(
                    f"{shards} has pictures of {width} x {height} pixels, and this model takes {size} x {size}, as "
                    "`wegen data` writes them. Samples of videos and of your own pictures are for `wegen train lora` "
                    "and for 'data' in a recipe of `wegen train --config`."
                )


class AgentStage(Stage):
    """Trains the agent on features of a finished vision encoder."""

    def __init__(
        self,
        config: WeGenConfig,
        options: AgentOptions,
        seed: int,
        tokenizer: Tokenizer,
        vision_encoder: VisionEncoder,
        reader: CellReader,
        shards: Path | None = None,
    ):
        super().__init__()
        if shards is not None:
            read_index(shards)  # raises for a bad folder before anything is computed
        self.shards = shards
        self.config, self.options, self.seed, self.tokenizer = config, options, seed, tokenizer
        self.agent = Agent(config)
        initialise(self.agent)
        self.vision_encoder = vision_encoder.eval().requires_grad_(False)
        self.reader = reader.eval().requires_grad_(False)
        self._pool = lru_cache(2)(self._make_pool)

    def sources(self) -> Mapping[str, Any]:
        if self.shards is None:
            return {"tasks": dict(self.options.tasks), "data": None}
        return {"tasks": None, "data": digest(self.shards)}

    def samples(self, first: int, count: int) -> list[Sample]:
        """Samples `first` and those after it of the endless sequence."""
        if self.shards is None:
            samples = [sample_at(self.options.tasks, self.seed, first + i) for i in range(count)]
        else:
            samples = list(islice(stream(self.shards, self.seed, first), count))
        return [self._perhaps_direct(sample, index) for index, sample in enumerate(samples, start=first)]

    def _perhaps_direct(self, sample: Sample, index: int) -> Sample:
        share = self.options.direct.get(sample.task, 0.0)
        return sample.without_rewrites() if Random(f"direct/{self.seed}/{index}").random() < share else sample

    def _make_pool(self, number: int, count: int) -> list[list[Conversation]]:
        """The samples of `POOL` batches, sorted by length and cut into batches of as many tokens each."""
        samples = self.samples(number * count * POOL, count * POOL)
        made = [conversation(self.config, self.tokenizer, sample) for sample in samples]
        made.sort(key=lambda one: len(one.ids))
        lengths = list(accumulate(len(one.ids) for one in made))
        batches: list[list[Conversation]] = [[] for _ in range(POOL)]
        for one, end in zip(made, lengths, strict=True):
            batches[(end - 1) * POOL // lengths[-1]].append(one)
        Random(f"pool/{self.seed}/{number}").shuffle(batches)
        return batches

    def batch(self, first: int, count: int) -> ConversationBatch:
        number, place = divmod(first // count, POOL)
        rows = self._pool(number, count)[place]
        pictures = [picture for row in rows for picture in row.pictures]
        none = torch.empty(0, 3, self.config.size, self.config.size)  # chats may have lost all of theirs
        return collate(rows, to_pixels(pictures) if pictures else none)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        return features_of(self.vision_encoder, pixels, self.config.feature_grid)

    def forward(self, batch: ConversationBatch) -> Mapping[str, Tensor]:
        features = self.encode(batch.pictures)
        outputs = agent_outputs(
            self.agent,
            batch.ids,
            batch.labels,
            batch.inputs,
            batch.targets,
            features,
            noised(features, self.options.noise),
            self.options.balance,
            1 + (self.options.changes - 1) * batch.changes,
        )
        losses = agent_losses(outputs)
        answers = self.reader.loss(outputs.predicted, self.reader.read(outputs.wanted))
        total = (
            losses.text + self.options.feature_weight * (losses.mse + losses.cosine) + self.options.answers * answers
        )
        return {**losses._asdict(), "answers": answers, "total": total}

    def hidden_matrices(self) -> frozenset[str]:
        return super().hidden_matrices() - {"agent.llm.lm_head.weight"}

    def wegen(self) -> WeGen:
        """The trained parts, ready to use."""
        device = next(self.agent.parameters()).device
        return WeGen(self.config, self.tokenizer, self.vision_encoder, self.agent, device, torch.float32)

    def draw(self, samples: Sequence[Sample], given_words: bool = False) -> tuple[list[str], Tensor]:
        """The last answers of drawing samples, made anew: the words, and features `[B, K, D]`.

        Args:
            samples: whose last answer holds a picture.
            given_words: whether the right words are given, so that only the picture is drawn.
        """
        limit = self.config.templates.rewrite_limit
        prompts = [self._prompt(sample, given_words) for sample in samples]
        decoding = Decoding(self.wegen(), prompts, room=limit + self.config.tokens_per_picture + 4)
        written = [[] for _ in samples] if given_words else decoding.write_text(limit)
        return [self.tokenizer.decode(ids, skip_special=True) for ids in written], decoding.write_picture(
            final=True
        ).features

    def describe(self, samples: Sequence[Sample]) -> list[str]:
        """The last answers of samples that are answered in words, written anew."""
        limit = self.config.templates.rewrite_limit
        written = Decoding(self.wegen(), [self._prompt(sample) for sample in samples], room=limit).write_text(limit)
        return [self.tokenizer.decode(ids, skip_special=True) for ids in written]

    def _prompt(self, sample: Sample, given_words: bool = False) -> Tensor:
        """Embeddings up to where the last answer begins, or up to its picture."""
        whole = conversation(self.config, self.tokenizer, sample)
        last = sample.turns()[-1][1]
        drawn = sum(isinstance(part, Picture) for part in last)
        words = " ".join(self.tokenizer.escape(part.text) for part in last if isinstance(part, Text))
        length = len(whole.ids) - drawn * (self.config.tokens_per_picture + 1)
        if not given_words:
            length -= len(self.tokenizer.encode(words + (PICTURE_BEGIN if drawn else END), begin=False))
        pictures = whole.pictures[: len(whole.pictures) - drawn]
        return self.wegen().embed(whole.ids[:length], tuple(self.encode(to_pixels(pictures))) if pictures else ())

    def measure(self) -> Mapping[str, float]:
        """On held-out samples: cells of drawn things that a reader finds right, and things described right."""
        samples = [TASKS["text_to_picture"](Random(f"measure/{self.seed}/{i}")) for i in range(MEASURED)]
        _, features = self.draw(samples, given_words=True)
        scenes = [Scene.from_json(sample.record["scene"]) for sample in samples]
        answers = torch.stack([cell_answers(scene, self.config.feature_grid) for scene in scenes])
        drawn = self.reader.accuracy(features, answers)
        seen = [TASKS["caption"](Random(f"measure/{self.seed}/{i}")) for i in range(MEASURED)]
        right = wanted = 0
        for sample, text in zip(seen, self.describe(seen), strict=True):
            things = Counter(Named.of(Scene.from_json(sample.record["scene"])).things)
            right += (things & Counter(parse_caption(text).things)).total()
            wanted += things.total()
        return {**{f"drawn_{name}": value for name, value in drawn.items()}, "described": right / wanted}

    def sheet(self) -> Image.Image:
        """Held-out samples: the right picture, its features read back, drawn from right words, and from own words."""
        tasks = ("text_to_picture", "text_to_picture", "rewrite", "rewrite", "refine", "refine", "compose", "compose")
        samples = [TASKS[task](Random(f"sheet/{self.seed}/{i}")) for i, task in enumerate(tasks)]
        right = to_pixels([sample.pictures()[-1].pixels for sample in samples])
        _, given = self.draw(samples, given_words=True)
        words, own = self.draw(samples)
        rows = [right, *(self.reader.paint(features).cpu() for features in (self.encode(right), given, own))]
        picture = grid_sheet(rows, scale=2)
        return captioned(picture, [f"{asked(sample)} -> {text}" for sample, text in zip(samples, words, strict=True)])


def asked(sample: Sample) -> str:
    """The words of the last question."""
    turns = sample.turns()
    return "".join(part.text if isinstance(part, Text) else "[..]" for part in turns[-2][1])


def initialise(agent: Agent) -> None:
    """Small normal weights; those that write into the residual stream smaller the more layers there are."""
    layers = agent.llm.config.layers
    for name, value in agent.named_parameters():
        if value.ndim >= 2:
            wide = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = value.shape[1] ** -0.5 / ((2 * layers) ** 0.5 if wide else 1)
            nn.init.normal_(value, std=0.02 if "embed_tokens" in name or "lm_head" in name else std)
