"""Stage "language_model" of any checkpoint: words and features of interleaved samples, with the published losses.

All weights are trained, or a LoRA beside frozen ones; the vision encoder is always frozen.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..checkpoints.tokenizer import Tokenizer
from ..errors import WeGenWarning
from ..media.images import clip_pixels
from ..network.agent import Agent
from ..network.configuration import WeGenConfig
from ..network.vision_encoder import VisionEncoder, pool_features
from .adapters import has_adapters, without_adapters
from .conversations import Conversation, conversation, has_words
from .losses import IGNORED, AgentPredictions, agent_predictions
from .packing import pack
from .recipe import RecipeError, in_range
from .sources import Drawn, Mixture
from .stage import Stage, sample_generator

POOL = 8
"""Steps whose samples are sorted by length together."""
LONG = 0.1
"""Share of samples that do not fit the model from which on it is said."""
MEASURED = 64
"""Samples of the held-out shards that the losses are measured on."""


@dataclass(frozen=True)
class LanguageOptions:
    """How the language model is trained.

    Attributes:
        tokens: of a row into which several samples of a step are packed; 0 gives every sample a row of its own. A
            longer sample makes a longer row, up to the model's context. The rows are dealt to the batches of a step: at
            a batch of 1 there is one at a time on a device, and fewer than `accumulate` where they hold all.
        noise: largest deviation put on the features that are read.
        feature_weight: of the two feature losses; as published it is 1.
        keep_weight: of the distance from what the model does without its LoRA, on samples that are only kept.
        kept_changes: how much the words weigh that an order changes in a description, beside all that is copied, in
            samples that are only kept; see `Conversation.changes`.
        answers: how much the first word of each answer weighs in samples that are learned: it decides whether something
            is drawn, or declined, or said.
        kept_answers: as much, at least, in samples that are only kept.
        direct: share of the drawing samples in which the answer is a picture without words before it.
        things: how much more than the rest the features weigh in which something is, where a picture's instance map
            tells; as for the UNet.
    """

    tokens: int = 2048
    noise: float = 0.0
    feature_weight: float = 1.0
    keep_weight: float = 1.0
    kept_changes: float = 1.0
    answers: float = 1.0
    kept_answers: float = 1.0
    direct: float = 0.0
    things: float = 1.0

    def __post_init__(self):
        weights = ("feature_weight", "keep_weight", "kept_changes", "answers", "kept_answers", "things")
        in_range(self, 0, None, "tokens", "noise", *weights)
        in_range(self, 0, 1, "direct")


class LanguageBatch(NamedTuple):
    """Packed rows, padded on the right; see `agent_outputs` for the tensors."""

    ids: Tensor
    labels: Tensor
    inputs: Tensor
    targets: Tensor
    kept: Tensor
    """`[B, T]`, true in samples that are only kept."""
    weights: Tensor
    """`[B, T]`, of the words, and of the features that are learned."""
    segments: Tensor
    """`[B, T]`, or empty where every row is one sample."""
    pictures: Tensor
    """`[P, 3, S, S]`, CLIP-normalised, of all rows in order."""
    noise: Tensor
    """`[P, K, D]`, added to the features that are read."""


class LanguageStage(Stage):
    """Trains the agent on shards.

    Args:
        agent: with adapters, or whole.
        data: what is learned and what is only kept.
        held_out: what the losses are measured on; None measures nothing.
    """

    blocks = ("Layer", "Block")  # of the language model, and of the vision encoder

    def __init__(
        self,
        config: WeGenConfig,
        options: LanguageOptions,
        seed: int,
        tokenizer: Tokenizer,
        vision_encoder: VisionEncoder,
        agent: Agent,
        data: Mixture,
        held_out: Mixture | None = None,
    ):
        super().__init__()
        if data.keeps and not has_adapters(agent):
            raise RecipeError('Samples to "keep" need a LoRA: they are held to what the model does without it.')
        self.config, self.options, self.seed, self.tokenizer = config, options, seed, tokenizer
        self.data = data
        self.agent = agent
        self.vision_encoder = vision_encoder.eval().requires_grad_(False)
        self._pool = lru_cache(2)(self._make_pool)
        # Now, so that shards that are of no use are told before anything is trained.
        self._measured = [] if held_out is None else self._written(held_out.pool(0, MEASURED))

    def _make_pool(self, number: int, span: int) -> list[list[tuple[Conversation, Drawn]]]:
        """The samples of `POOL` steps, sorted by length and cut into steps of as many samples each."""
        made = self._written(self.data.pool(number, span * POOL))
        made.sort(key=lambda one: len(one[0].ids))
        steps = [made[n * len(made) // POOL : (n + 1) * len(made) // POOL] for n in range(POOL)]
        Random(f"pool/{self.seed}/{number}").shuffle(steps)
        return steps

    def _written(self, drawn: Sequence[Drawn]) -> list[tuple[Conversation, Drawn]]:
        """The samples in which the user says something, and which fit the model's context.

        Raises:
            RecipeError: there are none.
        """
        made, lengths, most = [], [], self.config.language.context_length
        spoken = [one for one in drawn if has_words(one.sample)]
        if len(spoken) < len(drawn):
            silent = len(drawn) - len(spoken)
            warnings.warn(
                f"{silent} of {len(drawn)} samples are left out: a user's turn has no words.",
                WeGenWarning,
                stacklevel=2,
            )
        if drawn and not spoken:
            raise RecipeError(f"In none of {len(drawn)} samples the user has words in each turn; give other shards.")
        for one in spoken:
            rng = Random(f"direct/{self.seed}/{one.number}")
            sample = one.sample.without_rewrites() if rng.random() < self.options.direct else one.sample
            written = conversation(self.config, self.tokenizer, sample)
            lengths.append(len(written.ids))
            if lengths[-1] <= most:  # a longer one could never be asked for
                made.append((written, one._replace(sample=sample)))
        long = len(lengths) - len(made)
        if lengths and not made:
            raise RecipeError(
                f"None of {long} samples fits the model's context of {most} tokens; the shortest has {min(lengths)}. "
                "Give shards whose samples have fewer pictures or shorter texts."
            )
        if long > LONG * len(lengths):
            warnings.warn(
                f"{long} of {len(lengths)} samples are left out: they are longer than the context of {most} tokens.",
                WeGenWarning,
                stacklevel=2,
            )
        return made

    def sources(self) -> Mapping[str, Any]:
        return {"data": self.data.described()}

    def batch(self, first: int, count: int) -> LanguageBatch | None:
        # Samples are pooled by whole steps, and all of a step's are packed together, so that it makes no difference how
        # a step is cut into batches. They become no more rows than samples: no batch has more than `count`.
        span = count * self.processes
        step = span * self.accumulate
        number, place = divmod(first // step, POOL)
        made = self._pool(number, step)[place]
        rows = self._rows(made, self.processes)
        turn = first % step // span * self.processes
        if turn and turn >= len(rows):  # for all processes
            return None
        return self._collate(made, rows[turn + first % span // count :: self.processes * self.accumulate])

    def _rows(self, made: Sequence[tuple[Conversation, Drawn]], processes: int = 1) -> list[list[int]]:
        """The numbers of the samples that stand in each row."""
        if not self.options.tokens:
            return [[number] for number in range(len(made))]
        return pack([len(one.ids) for one, _ in made], self.options.tokens, processes)

    def _collate(
        self, made: Sequence[tuple[Conversation, Drawn]], rows: Sequence[Sequence[int]] | None = None
    ) -> LanguageBatch:
        """Some rows of samples; default all."""
        lengths = [len(one.ids) for one, _ in made]
        rows = self._rows(made) if rows is None else rows
        longest = max((sum(lengths[i] for i in row) for row in rows), default=0)
        width = max(longest, 2)  # a process that has nothing must compute along with the others

        def tensor(fill: float, values) -> Tensor:
            out = torch.full((max(len(rows), 1), width), fill)
            for row, line in zip(rows, out, strict=False):
                joined = [value for i in row for value in values(i)]
                line[: len(joined)] = torch.tensor(joined, dtype=out.dtype)
            return out

        order = [i for row in rows for i in row]
        places = {index: number for number, index in enumerate(order)}
        config = self.config
        pixels = [
            clip_pixels(Image.fromarray(picture), config.vision.image_size)
            for i in order
            for picture in made[i][0].pictures
        ]
        noise = [self._noise(made[i]) for i in order]
        shape = (0, 3, config.vision.image_size, config.vision.image_size)
        packed = any(len(row) > 1 for row in rows)
        return LanguageBatch(
            tensor(0, lambda i: made[i][0].ids),
            tensor(IGNORED, lambda i: made[i][0].labels),
            tensor(False, lambda i: made[i][0].inputs),
            tensor(False, lambda i: made[i][0].targets),
            tensor(False, lambda i: [made[i][1].keep] * lengths[i]),
            tensor(1.0, lambda i: self._weights(*made[i])),
            tensor(-1, lambda i: [places[i]] * lengths[i]) if packed else torch.empty(0, dtype=torch.long),
            torch.stack(pixels) if pixels else torch.empty(shape),
            torch.cat(noise) if noise else torch.empty(0, config.tokens_per_picture, config.vision.width),
        )

    def _weights(self, written: Conversation, drawn: Drawn) -> list[float]:
        """Of each token of a sample: more where it stands for a place in which something is, or decides what is
        drawn."""
        weights = np.ones(len(written.ids))
        said = np.array(written.labels) != IGNORED
        first = said & ~np.roll(said, 1)
        if drawn.keep:
            weights[np.array(written.changes)] = self.options.kept_changes
            weights[first] = np.maximum(weights[first], self.options.kept_answers)
        else:
            weights[first] = self.options.answers
        if self.options.things != 1.0:
            side = self.config.feature_grid
            shown = [part for part in drawn.sample.pictures() if part.role == "assistant" and part.target]
            cells = [
                np.zeros(side**2, bool) if one.instance_map is None else _cells(one.instance_map, side) for one in shown
            ]
            there = np.concatenate([np.zeros(0, bool), *cells])
            weights[np.array(written.targets)] += (self.options.things - 1) * there
        return weights.tolist()

    def _noise(self, made: tuple[Conversation, Drawn]) -> Tensor:
        """`[P, K, D]` for the pictures of one sample, the same whichever process computes it."""
        written, drawn = made
        shape = (len(written.pictures), self.config.tokens_per_picture, self.config.vision.width)
        if not self.options.noise:
            return torch.zeros(shape)
        generator = sample_generator(self.seed, drawn.number)
        scale = torch.rand(len(written.pictures), 1, 1, generator=generator) * self.options.noise
        return scale * torch.randn(shape, generator=generator)

    def counts(self, batch: LanguageBatch) -> Tensor:
        """Words and features that are learned, and those that are only kept, the words by their weight: what the losses
        are divided by."""
        weights = batch.weights[:, 1:]
        words, kept = batch.labels[:, 1:] != IGNORED, batch.kept[:, 1:]
        drawn = batch.targets[:, 1:]
        each = ((words & ~kept) * weights, drawn & ~kept, (words & kept) * weights, drawn & kept)
        return torch.stack([one.sum() for one in each]).double()

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """CLIP-normalised pictures -> pooled features, float32."""
        kind = self.vision_encoder.pos_embed.dtype
        return pool_features(self.vision_encoder(pixels.to(kind)).float(), self.config.feature_grid)

    def forward(self, batch: LanguageBatch, counts: Tensor | None = None) -> Mapping[str, Tensor]:
        counts = self.counts(batch) if counts is None else counts
        words, drawn, kept_words, kept_drawn = counts.to(batch.ids.device).float().clamp(min=1e-6).unbind()
        features = self.encode(batch.pictures)
        read = self._predict(batch, features)
        width = read.wanted.shape[-1]
        said = batch.labels[:, 1:] != IGNORED
        kept_word, word_weights = batch.kept[:, 1:][said], batch.weights[:, 1:][said]
        kept_feature = batch.kept[:, 1:][batch.targets[:, 1:]]
        entropy = F.cross_entropy(read.logits, read.words, reduction="none") * word_weights
        weights = batch.weights[:, 1:][batch.targets[:, 1:]]
        squared = (read.predicted - read.wanted).square() * weights[:, None]
        apart = (1 - F.cosine_similarity(read.predicted, read.wanted, dim=-1)) * weights
        losses = {
            "text": _sum(entropy, ~kept_word) / words,
            "mse": _sum(squared, ~kept_feature) / (drawn * width),
            "cosine": _sum(apart, ~kept_feature) / drawn,
        }
        weight = self.options.feature_weight
        total = losses["text"] + weight * (losses["mse"] + losses["cosine"])
        if self.data.keeps:
            # Only rows with something to keep are computed again; the first row where there is none, so that processes
            # that share weights all do.
            rows = batch.kept.any(dim=1)
            rows[0] |= not rows.any()
            with torch.no_grad(), without_adapters(self.agent):
                before = self._predict(*_only(batch, features, rows))
            word, feature = (
                batch.kept[rows][:, 1:][where[rows][:, 1:]] for where in (batch.labels != IGNORED, batch.targets)
            )
            diverged = F.kl_div(
                read.logits[kept_word].log_softmax(-1),
                before.logits[word].log_softmax(-1),
                reduction="none",
                log_target=True,
            )
            diverged = diverged.sum(-1) * word_weights[kept_word]
            moved = (read.predicted[kept_feature] - before.predicted[feature]).square()
            losses["kept_text"] = diverged.sum() / kept_words
            losses["kept_mse"] = moved.sum() / (kept_drawn * width)
            total = total + self.options.keep_weight * (losses["kept_text"] + weight * losses["kept_mse"])
        return {**losses, "total": total}

    def _predict(self, batch: LanguageBatch, features: Tensor) -> AgentPredictions:
        segments = batch.segments if batch.segments.numel() else None
        fed = features + batch.noise
        return agent_predictions(
            self.agent, batch.ids, batch.labels, batch.inputs, batch.targets, features, fed, segments
        )

    def hidden_matrices(self) -> frozenset[str]:
        return super().hidden_matrices() - {"agent.llm.lm_head.weight"}

    def measure(self) -> Mapping[str, float]:
        """The losses on held-out samples."""
        if not self._measured:
            return {}
        batches = [self._collate(self._measured[n : n + 8]) for n in range(0, len(self._measured), 8)]
        counts = torch.stack([self.counts(batch) for batch in batches]).sum(dim=0)
        device = next(self.agent.parameters()).device
        sums: dict[str, float] = {}
        for batch in batches:
            moved = LanguageBatch(*(value.to(device) for value in batch))
            for name, value in self(moved, counts).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums


def _only(batch: LanguageBatch, features: Tensor, rows: Tensor) -> tuple[LanguageBatch, Tensor]:
    """Some rows of a batch, with the features of their pictures."""
    tokens = (batch.inputs | batch.targets).sum(dim=1)
    per_picture = features.shape[1]
    chosen = rows.repeat_interleave(tokens // per_picture)
    cut = {name: getattr(batch, name)[rows] for name in ("ids", "labels", "inputs", "targets", "kept", "weights")}
    segments = batch.segments[rows] if batch.segments.numel() else batch.segments
    return batch._replace(
        **cut, segments=segments, pictures=batch.pictures[chosen], noise=batch.noise[chosen]
    ), features[chosen]


def _sum(values: Tensor, where: Tensor) -> Tensor:
    return values[where].sum()


def _cells(chart: np.ndarray, side: int) -> np.ndarray:
    """In which of `side` x `side` cells something is, row after row, from an instance map `[H, W]`."""
    there = torch.from_numpy((chart > 0)[None].astype(np.float32))
    return F.adaptive_max_pool2d(there, side).flatten().numpy() > 0
