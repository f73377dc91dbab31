"""The published training losses of the agent: next token for text, mean square and cosine for picture features."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..network.agent import Agent

IGNORED = -100
"""The label of a position that does not count in the loss."""


class AgentOutputs(NamedTuple):
    """The agent's predictions for a batch of interleaved sequences."""

    text: Tensor
    """Scalar: the cross entropy of the target words."""
    predicted: Tensor
    """`[F, D]`: the features of all targets in reading order, float32."""
    wanted: Tensor
    """`[F, D]`: what they should have been."""


class AgentLosses(NamedTuple):
    """Scalars; `total` is the plain sum of the other three, as published."""

    total: Tensor
    text: Tensor
    mse: Tensor
    cosine: Tensor


def agent_outputs(
    agent: Agent,
    input_ids: Tensor,
    labels: Tensor,
    cmp_mask: Tensor,
    gen_mask: Tensor,
    features: Tensor,
    fed_features: Tensor | None = None,
    balance: float = 0.0,
    word_weights: Tensor | None = None,
) -> AgentOutputs:
    """One pass over a batch of interleaved sequences.

    Args:
        agent: the language model with its two projectors.
        input_ids: `[B, T]`, rows padded on the right.
        labels: `[B, T]`, the ids that are to be predicted, -100 elsewhere; position t is predicted from position t - 1.
        cmp_mask: `[B, T]`, true at the tokens of pictures that are inputs.
        gen_mask: `[B, T]`, true at the tokens of pictures that are targets.
        features: `[P, K, D]`, pooled features of all pictures in reading order, row after row.
        fed_features: what the language model reads in their places; default `features` themselves.
            Training puts noise on them, so that inference survives its own errors.
        balance: from 0, where every word weighs the same as published, to 1, where every row does. Short answers are
            drowned by long descriptions otherwise.
        word_weights: `[B, T]`, how much each label weighs beside that; all the same as published.
    """
    read = agent_predictions(agent, input_ids, labels, cmp_mask, gen_mask, features, fed_features)
    said = labels[:, 1:] != IGNORED
    words = F.cross_entropy(read.logits, read.words, reduction="none")
    weights = (said.sum(dim=1, keepdim=True).clamp(min=1).float() ** -balance).expand(said.shape)[said]
    if word_weights is not None:
        weights = weights * word_weights[:, 1:][said]
    text = _mean(words * weights) / _mean(weights).clamp(min=1e-6)
    return AgentOutputs(text, read.predicted, read.wanted)


class AgentPredictions(NamedTuple):
    """What the agent predicts in a batch of interleaved sequences, W words and F features in reading order."""

    logits: Tensor
    """`[W, vocab_size]`, float32."""
    words: Tensor
    """`[W]`: the words that should have come."""
    predicted: Tensor
    """`[F, D]`, float32."""
    wanted: Tensor
    """`[F, D]`: what the features should have been, float32."""


def agent_predictions(
    agent: Agent,
    input_ids: Tensor,
    labels: Tensor,
    cmp_mask: Tensor,
    gen_mask: Tensor,
    features: Tensor,
    fed_features: Tensor | None = None,
    segments: Tensor | None = None,
) -> AgentPredictions:
    """One pass; see `agent_outputs` for the arguments, and `LanguageModel.forward` for `segments`."""
    pictures = (cmp_mask.bool() | gen_mask.bool())[..., None]
    targets = gen_mask.bool()
    embeddings = agent.llm.embed(input_ids)
    read = agent.embed_features(features if fed_features is None else fed_features)
    # `masked_scatter` fills in reading order, which is the order of `features`.
    embeddings = embeddings.masked_scatter(pictures, read.to(embeddings.dtype))
    hidden = agent.llm(embeddings, segments=segments)

    said = labels[:, 1:] != IGNORED
    logits = agent.llm.logits(hidden[:, :-1][said])
    # Each feature is predicted one position before the place where it stands.
    predicted = agent.read_features(hidden[:, :-1][targets[:, 1:]]).float()
    wanted = features.flatten(0, 1)[targets[pictures[..., 0]]].float()
    return AgentPredictions(logits, labels[:, 1:][said], predicted, wanted)


def agent_losses(outputs: AgentOutputs) -> AgentLosses:
    """The published losses of one pass."""
    mse = _mean((outputs.predicted - outputs.wanted).square())
    cosine = _mean(1 - F.cosine_similarity(outputs.predicted, outputs.wanted, dim=-1))
    return AgentLosses(outputs.text + mse + cosine, outputs.text, mse, cosine)


def _mean(values: Tensor) -> Tensor:
    """The mean, and 0 for a batch without any such target."""
    return values.sum() / max(values.numel(), 1)


def noised(features: Tensor, most: float, generator: torch.Generator | None = None) -> Tensor:
    """Features `[P, K, D]` with normal noise, of a deviation between 0 and `most` that is drawn for each picture."""
    scale = torch.rand(len(features), 1, 1, generator=generator, device=features.device) * most
    noise = torch.randn(features.shape, generator=generator, device=features.device)
    return features + scale * noise
