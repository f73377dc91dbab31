"""The generation loop: text by greedy or seeded sampling, and pictures as 64 features fed back one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..checkpoints.wegen import WeGen, require_finite
from ..network.cpu_layers import LIGHT
from ..network.prefix_cache import PrefixCache
from ..network.threads import threads
from ..values import Collection
from .text_sampling import TextSampling, seeded

OnStep = Callable[[int, int], None]
"""Called after each step with the steps done and the steps to do at most; what it raises stops the generation."""


class Picture(NamedTuple):
    """What one generated picture left behind, for a batch of B sequences."""

    features: Tensor
    """`[B, tokens_per_picture, D]`, float32: what the decoder paints."""
    fed_back: Tensor
    """`[B, tokens_per_picture, width]`: the embeddings that were fed back."""


P = ParamSpec("P")
R = TypeVar("R")


def _on_few_threads(write: Callable[Concatenate[Decoding, P], R]) -> Callable[Concatenate[Decoding, P], R]:
    """A method that writes token by token, on one thread of a CPU where all matrices are small.

    Threads of such a model wait for each other about as long as they compute, and whenever another process has one of
    their cores, all wait for that. On two quiet cores the bundled model writes one picture's features in .59 s on one
    thread and in .53 s on two, nine in 1.2 and .93. Beside four other busy processes, words and features of a turn take
    1.6 s on one thread and up to a minute on two.
    """

    @wraps(write)
    def limited(self: Decoding, *args: P.args, **kwargs: P.kwargs) -> R:
        language = self.wegen.config.language
        small = self.wegen.device.type == "cpu" and 2 * language.width * language.mlp_width < LIGHT
        with threads(1 if small else None):
            return write(self, *args, **kwargs)

    return limited


class Decoding:
    """A batch of sequences being written, each behind its own prompt.

    Args:
        wegen: the model; its modules must already be where `wegen.device` is.
        prompts: embeddings `[L, width]` of each sequence; lengths may differ.
        room: how many positions may follow the longest prompt.
        guided: whether `write_picture` will be called with a guidance scale other than 1. The unconditional context
            then has its rows in the same cache, so that both contexts run as one batch.

    Raises:
        WeGenError: prompt and room exceed the model's context.
    """

    def __init__(self, wegen: WeGen, prompts: Sequence[Tensor], room: int, guided: bool = False):
        self.wegen = wegen
        self.batch = len(prompts)
        lengths = [len(prompt) for prompt in prompts]
        rows = self.batch * 2 if guided else self.batch
        self.both = wegen.agent.llm.new_cache(rows, max(lengths) + room, wegen.dtype, wegen.device)
        self.cache = self.both.rows(slice(0, self.batch))
        with torch.inference_mode():
            llm = wegen.agent.llm
            done = (PrefixCache(0) if wegen.prefixes is None else wegen.prefixes).read(llm, prompts, self.cache)
            lengths = [length - done for length in lengths]
            hidden = llm(pad_sequence([prompt[done:] for prompt in prompts], batch_first=True), self.cache, lengths)
            ends = torch.tensor(lengths, device=hidden.device) - 1
            #: the states `[B, width]` that predict each sequence's next token
            self.hidden = hidden[torch.arange(self.batch, device=hidden.device), ends]

    def select(self, rows: Sequence[int]) -> Decoding:
        """A decoding of these sequences of this one, without computing their prompts again; rows may come up often."""
        if len(self.both.lengths) != self.batch:
            raise ValueError("Only an unguided decoding can be selected from.")
        with torch.inference_mode():
            copy = object.__new__(Decoding)
            copy.wegen, copy.batch = self.wegen, len(rows)
            copy.both = self.cache.select(rows)
            copy.cache = copy.both.rows(slice(0, copy.batch))
            copy.hidden = self.hidden[torch.tensor(rows, device=self.hidden.device)]
        return copy

    @_on_few_threads
    @torch.inference_mode()
    def write_text(
        self,
        limit: int,
        sampling: TextSampling = TextSampling(),  # noqa: B008 - immutable
        generators: Sequence[torch.Generator] | None = None,
        picture_logit: float = -math.inf,
        on_token: OnStep | None = None,
        stopped: Callable[[list[int]], bool] | None = None,
        final: bool = False,
        least: int = 0,
    ) -> list[list[int]]:
        """Write text until `<img>` or `</s>` (both belong to the result), or until `limit` tokens.

        Args:
            limit: most tokens of a sequence.
            sampling: how words are chosen.
            generators: one for each sequence; only needed when sampling is not greedy.
            picture_logit: logit of the tokens inside a picture, which make no sense outside one. The published
                inference gives them 0.0, so that they can still come up; here they cannot.
            on_token: called after each token.
            stopped: told all ids of a sequence after each of its tokens; true ends that sequence.
            final: nothing is written after this. Sequences that have ended are then let go, which makes the others
                faster; the decoding itself is of no use any more.
            least: how many tokens come before it may end.

        Returns:
            Token ids of each sequence.
        """
        tokenizer, llm = self.wegen.tokenizer, self.wegen.agent.llm
        generators = generators or [seeded(0)] * self.batch
        inside = torch.tensor(tokenizer.picture_ids[1:], device=self.hidden.device)
        stops = {tokenizer.picture_begin_id, tokenizer.end_id}
        written: list[list[int]] = [[] for _ in range(self.batch)]
        rows = list(range(self.batch))  # the sequence that each row of the cache belongs to
        going = [limit > 0] * self.batch
        for step in range(limit):
            logits = llm.logits(self.hidden).index_fill_(-1, inside, picture_logit)
            for b, row in enumerate(rows):
                if len(written[row]) < least:
                    logits[b, list(stops)] = -math.inf
            chosen = sampling.choose(logits, generators)
            for b, row in enumerate(rows):
                if going[b]:
                    written[row].append(chosen[b])
            hidden = self._feed(llm.embed(torch.tensor(chosen, device=self.hidden.device)), [int(g) for g in going])
            self.hidden = torch.where(torch.tensor(going, device=hidden.device)[:, None], hidden, self.hidden)
            for b, row in enumerate(rows):
                ended = chosen[b] in stops or (stopped is not None and stopped(written[row]))
                going[b] = going[b] and not ended and len(written[row]) < limit
            if on_token is not None:
                on_token(step + 1, limit)
            if not any(going):
                break
            left = [b for b, g in enumerate(going) if g]
            if final and 2 * len(left) <= len(rows):  # copying the cache is worth it for half of it, not for each row
                self.cache, self.hidden = self.cache.select(left), self.hidden[left]
                generators, rows, going = [generators[b] for b in left], [rows[b] for b in left], [True] * len(left)
        return written

    @_on_few_threads
    @torch.inference_mode()
    def write_picture(
        self,
        guidance_scale: float = 1.0,
        collection: Collection = "aligned",
        on_feature: OnStep | None = None,
        final: bool = False,
    ) -> Picture:
        """Write one picture in every sequence; each must have `<img>` as its last token.

        Args:
            guidance_scale: 1 is off; above, hidden states move away from those of a context of `<img>` alone.
            collection: "aligned" takes each feature where training put its target (the position before it);
                "released" takes them one position later and unguided, as the published inference does.
            on_feature: called after each of the steps.
            final: nothing is written after this. What only that would need is not computed, and the decoding itself
                is of no use any more.

        Raises:
            WeGenError: the language model overflowed.
        """
        wegen, agent = self.wegen, self.wegen.agent
        guided = guidance_scale != 1.0
        count = wegen.config.tokens_per_picture
        context = self.cache
        unconditional = self.hidden
        if guided:
            unconditional, context = self._open_unconditional()
        features, fed = [], []
        for step in range(count):
            hidden = unconditional + guidance_scale * (self.hidden - unconditional) if guided else self.hidden
            feature = agent.read_features(hidden)
            embedding = agent.embed_features(feature)
            fed.append(embedding)
            if not final or collection == "released" or step + 1 < count:
                states = agent.llm(torch.cat([embedding] * 2 if guided else [embedding])[:, None], context)[:, 0]
                self.hidden, unconditional = states[: self.batch], states[-self.batch :]
            features.append(feature if collection == "aligned" else agent.read_features(self.hidden))
            if on_feature is not None:
                on_feature(step + 1, count)
        if not final:
            if guided:
                self.cache.advance(count)
            end = torch.full((self.batch,), wegen.tokenizer.picture_end_id, device=self.hidden.device)
            self.hidden = self._feed(agent.llm.embed(end))
        with torch.inference_mode(False):  # tensors that may be trained with and changed in place
            drawn = torch.stack(features, dim=1).float()
            require_finite(drawn, "language model")
            return Picture(drawn, torch.stack(fed, dim=1))

    def _feed(self, embeddings: Tensor, counts: list[int] | None = None) -> Tensor:
        return self.wegen.agent.llm(embeddings[:, None].to(self.wegen.dtype), self.cache, counts)[:, 0]

    def _open_unconditional(self):
        """Start the second context with `<img>` alone; gives its state and the cache of both contexts."""
        if len(self.both.lengths) == self.batch:
            raise ValueError("A guided picture needs a Decoding made with guided=True.")
        llm, device = self.wegen.agent.llm, self.hidden.device
        begin = torch.full((self.batch, 1), self.wegen.tokenizer.picture_begin_id, device=device)
        second = self.both.rows(slice(self.batch, None))
        second.restart()
        hidden = llm(llm.embed(begin).to(self.wegen.dtype), second)[:, 0]
        self.both.join(self.cache, second)
        return hidden, self.both
