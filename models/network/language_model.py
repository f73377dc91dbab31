"""LLaMA-2 style language model over embeddings, with a key/value cache whose rows may differ in length.

Layers and names are those of Hugging Face's LLaMA (arXiv 2302.13971, 2307.09288).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration import LanguageConfig

#: positions by which the attended part of a cache grows: between two such steps every tensor keeps its shape
WINDOW = 128
GROUPS = 2
"""Most lengths of rows that a CPU looks at one after the other, each without what it must not see."""
APART = 2**17
"""Numbers of a layer's keys that rows must not see, from which on that saves more time than its calls take."""
FEW = 2**18
"""Numbers of a layer's keys up to which one token's attention is PyTorch's own on a CPU as well."""


DecodeAttention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Attention of one token of each row, `[B, 1, H, D]`, to keys and values `[B, L, KV, D]`, contiguous, of which the
first `lengths` `[B]`, int32, count. Gives `[B, 1, H, D]`."""


class KVCache:
    """Keys and values of every layer, for `batch` sequences of up to `capacity` positions, in memory of a fixed size.

    `lengths[b]` positions of row b are valid. New tokens of a row are written right behind them; what a shorter row of
    a padded batch leaves behind its end is never attended to and overwritten by the next tokens of that row.

    Args:
        config: sizes of the language model.
        batch: rows.
        capacity: positions of a row. What is written is not compared with it.
        dtype: precision of keys, values and angles.
        device: where they are.
        decode: computes the attention of single tokens, where there is something better than PyTorch's. It wants the
            heads of a position side by side in memory; `keys` and `values` of a layer are
            `[batch, kv_heads, capacity, head_width]` either way.
    """

    def __init__(
        self,
        config: LanguageConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
        decode: DecodeAttention | None = None,
    ):
        self.decode = decode
        shape = (batch, config.kv_heads, capacity, config.head_width)
        self.keys = [self._memory(shape, dtype, device) for _ in range(config.layers)]
        self.values = [self._memory(shape, dtype, device) for _ in range(config.layers)]
        self.lengths = torch.zeros(batch, dtype=torch.long, device=device)
        self.capacity = capacity
        self.longest = 0
        """The longest row as a Python number, so that no step has to ask the device for it."""
        self.even = True
        """Whether all rows are known to be equally long, so that one token of each needs no mask."""
        self.places = torch.arange(capacity, device=device)
        self._count_slots()
        cos, sin = rotary_angles(self.places[None], config.head_width, config.rope_theta)
        self.cos, self.sin = cos[0].to(dtype), sin[0].to(dtype)

    def _memory(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        batch, heads, capacity, width = shape
        if self.decode is None:
            return torch.zeros(shape, dtype=dtype, device=device)
        return torch.zeros(batch, capacity, heads, width, dtype=dtype, device=device).transpose(1, 2)

    def _count_slots(self) -> None:
        batch, heads, capacity, _ = self.keys[0].shape
        rows, columns = (torch.arange(count, device=self.places.device) for count in (batch, heads))
        #: how far the next position of a head is, counted through the memory of one layer
        self.stride = 1 if self.decode is None else heads
        #: of each row and head, `[B, H, 1]`, counted likewise
        apart = capacity if self.decode is None else 1
        self.first_slots = (rows[:, None] * heads * capacity + columns * apart)[..., None]

    def step(self, tokens: int) -> Step:
        """Where the next `tokens` of each row go, what they may attend to, and their angles.

        Args:
            tokens: of each row, padding included; 1 or more, and as many as there is room for behind the longest row.
        """
        positions = self.lengths[:, None] + self.places[:tokens]
        end = self.longest + tokens
        mask = lengths = None
        groups: list[Group] = []
        if self.decode is not None and tokens == 1 and self.longest:
            window, lengths = self.capacity, (self.lengths + 1).int()
        elif self.places.device.type == "cpu" and tokens == 1 and self.longest:
            window, groups = end, self._groups()  # a shape that changes costs a CPU nothing
        else:
            window = min(self.capacity, -(-end // WINDOW) * WINDOW)
        if self.longest and not groups and lengths is None:
            hidden = self.places[:window] > positions[..., None]
            mask = torch.zeros_like(hidden, dtype=self.cos.dtype).masked_fill_(hidden, -math.inf)[:, None]
        place = self.longest if self.even and self.places.device.type == "cpu" else None
        slots = None if place is not None else (self.first_slots + positions[:, None] * self.stride).flatten()
        return Step(slots, window, mask, self.cos[positions], self.sin[positions], groups, lengths, place)

    def _groups(self) -> list[Group]:
        """Rows that stand beside each other and are equally long, counting the one token that comes; none where a mask
        over all rows takes less time."""
        if self.even:
            return [Group(0, len(self.lengths), self.longest + 1)]
        groups: list[Group] = []
        for row, length in enumerate(self.lengths.tolist()):
            if groups and groups[-1].length == length + 1:
                groups[-1] = groups[-1]._replace(end=row + 1)
            else:
                groups.append(Group(row, row + 1, length + 1))
        hidden = sum((group.end - group.begin) * (self.longest + 1 - group.length) for group in groups)
        _, heads, _, width = self.keys[0].shape
        return groups if len(groups) <= GROUPS and hidden * heads * width >= APART else []

    def update(self, layer: int, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Write keys and values of new tokens, and give those that may be attended to.

        Args:
            layer: its number, from 0.
            keys, values: `[B, kv_heads, T, head_width]`.
            step: of this cache, for T tokens.

        Returns:
            Keys and values `[B, kv_heads, step.window, head_width]`; of the first tokens of a cache just their own.
        """
        for memory, fresh in ((self.keys[layer], keys), (self.values[layer], values)):
            if step.place is not None:
                memory.narrow(2, step.place, fresh.shape[2]).copy_(fresh)
                continue
            assert step.slots is not None, "a step of this cache"
            flat = (memory if self.decode is None else memory.transpose(1, 2)).view(-1, memory.shape[-1])
            flat.index_copy_(0, step.slots, fresh.reshape(-1, fresh.shape[-1]))
        if not self.longest:
            return keys, values
        return self.keys[layer].narrow(2, 0, step.window), self.values[layer].narrow(2, 0, step.window)

    def advance(self, tokens: int | list[int]) -> None:
        """Count the tokens just written as valid.

        Args:
            tokens: of every row, or a number for each row: the rest of what was written for it was padding.
        """
        if isinstance(tokens, int) or len(set(tokens)) == 1:
            count = tokens if isinstance(tokens, int) else tokens[0]
            self.lengths = self.lengths + count
            self.longest += count
        else:
            self.lengths = self.lengths + torch.tensor(tokens, device=self.lengths.device)
            self.longest = int(self.lengths.max())
            self.even = False

    def rows(self, rows: slice) -> KVCache:
        """The same memory narrowed to some rows, without a copy; lengths are counted apart from then on."""
        view = self._like([keys[rows] for keys in self.keys], [values[rows] for values in self.values])
        view.lengths = self.lengths[rows].clone()
        return view

    def select(self, rows: Sequence[int]) -> KVCache:
        """A new cache, of the same capacity, with these rows of this one, in this order; a row may come up more than
        once."""
        index = torch.tensor(rows, device=self.lengths.device)

        def selected(memory: Tensor) -> Tensor:
            chosen = self._memory((len(rows), *memory.shape[1:]), memory.dtype, memory.device)
            chosen[:, :, : self.longest] = memory[:, :, : self.longest].index_select(0, index)
            return chosen

        copy = self._like([selected(keys) for keys in self.keys], [selected(values) for values in self.values])
        copy.lengths = self.lengths.index_select(0, index)
        return copy

    def _like(self, keys: list[Tensor], values: list[Tensor]) -> KVCache:
        other = object.__new__(KVCache)
        other.__dict__ |= self.__dict__
        other.keys, other.values = keys, values
        other._count_slots()
        return other

    def join(self, first: KVCache, second: KVCache) -> None:
        """Take the lengths of two caches that together are this one's rows, as `rows` gave them, in their order."""
        self.lengths = torch.cat([first.lengths, second.lengths])
        self.longest = max(first.longest, second.longest)
        self.even = first.even and second.even and first.longest == second.longest

    def restart(self) -> None:
        """Forget every position."""
        self.lengths = torch.zeros_like(self.lengths)
        self.longest, self.even = 0, True


class Group(NamedTuple):
    """Rows `begin` to `end` of a batch, all of which look at the first `length` positions of the cache."""

    begin: int
    end: int
    length: int


class Step(NamedTuple):
    """One pass of new tokens through the layers: computed once, the same for every layer."""

    slots: Tensor | None
    """`[B * H * T]`, where the new tokens' keys and values stand in the cache; None without one, and with `place`."""
    window: int
    """How many positions of the cache are looked at."""
    mask: Tensor | None
    """`[B, 1, T, window]`, 0 where a token may look and -inf elsewhere, or true and false; None: one token that may
    look at all of the window, or the first tokens, each of which may look at those before it."""
    cos: Tensor
    sin: Tensor
    """Of the rotary embedding, `[B, T, head_width]`, in the precision of the arithmetic."""
    groups: Sequence[Group] = ()
    """Rows whose one token looks at the same positions, without a mask; empty: all rows are looked at together."""
    lengths: Tensor | None = None
    """`[B]`, int32: how many positions one token of each row looks at, where the cache's own function computes that."""
    place: int | None = None
    """Where the new tokens of all rows stand in the cache, where that is known to be the same."""


def _first_places(segments: Tensor) -> Tensor:
    """`[B, T]`: where the sequence begins that each token belongs to."""
    places = torch.arange(segments.shape[1], device=segments.device)
    begins = F.pad(segments[:, 1:] != segments[:, :-1], (1, 0), value=True)
    return torch.where(begins, places, 0).cummax(dim=1).values


def rotary_angles(positions: Tensor, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding (RoPE, arXiv 2104.09864); see `rotate` for the sines' sign.

    Args:
        positions: `[B, T]`, from 0.
        head_width: an even number.
        theta: base of the frequencies; 10000 in the paper and in LLaMA-2.

    Returns:
        Cosines and sines, each `[B, T, head_width]` in float32.
    """
    steps = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32)
    # Written as LLaMA's own code computes it: another rounding of the frequencies grows with the position.
    angles = positions[..., None].float() * (1.0 / theta ** (steps / head_width))
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries and keys by their positions' angles (halves, not pairs, as LLaMA's weights in Hugging Face's form
    expect).

    The first half of `sin` is negative, in place of that of the halves that change sides.

    Args:
        x: `[B, T, H, D]`.
        cos, sin: of `rotary_angles`, as `[B, T, 1, D]`.

    Returns:
        `[B, T, H, D]`.
    """
    if cos.dtype != x.dtype:
        cos, sin = cos.to(x), sin.to(x)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool = False) -> Tensor:
    """PyTorch's own; several queries to a key are asked for where they are alone, as PyTorch 2.4 cannot do that."""
    grouped: dict[str, bool] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal, **grouped)


def _look_back(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of one token `[B, H, 1, D]` to `[B, KV, L, D]`, or to what `mask` `[B, 1, 1, L]` leaves of it.

    In float32 it is two products of a matrix and a vector, which PyTorch's own function does not make of it on a CPU:
    16 heads of 64 over 1,230 positions take 450 microseconds instead of 640 on one thread of an EPYC. Over few
    positions its one call is faster than several: 8 heads of 32 over 100 take 8 microseconds instead of 17.
    """
    batch, _, _, width = q.shape
    if q.dtype != torch.float32 or k.numel() <= FEW:
        return _attention(q, k, v, mask)
    columns = q.reshape(batch * k.shape[1], -1, width).transpose(1, 2) * width**-0.5
    scores = torch.bmm(k.flatten(0, 1), columns)
    if mask is not None:
        scores.view(batch, -1, *scores.shape[1:]).add_(mask.transpose(2, 3))
    return torch.bmm(scores.transpose(1, 2).softmax(-1), v.flatten(0, 1)).view(q.shape)


def _separately(x: Tensor, *layers: nn.Module) -> list[Tensor]:
    return [layer(x) for layer in layers]


class Attention(nn.Module):
    """Causal attention with rotary positions; several heads of queries may share one of keys and values (arXiv
    2305.13245)."""

    TOGETHER = ("q_proj", "k_proj", "v_proj")

    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        self.heads, self.kv_heads, self.width = config.heads, config.kv_heads, config.head_width
        self.together = getattr(operations, "together", _separately)
        place = {"bias": False, "dtype": dtype, "device": device}
        kv_width = config.kv_heads * config.head_width
        self.q_proj = operations.Linear(config.width, config.width, **place)
        self.k_proj = operations.Linear(config.width, kv_width, **place)
        self.v_proj = operations.Linear(config.width, kv_width, **place)
        self.o_proj = operations.Linear(config.width, config.width, **place)

    def forward(self, x: Tensor, step: Step, cache: KVCache | None, layer: int) -> Tensor:
        """Attention of T new tokens to themselves and to those before them.

        Args:
            x: `[B, T, width]`.
            step: angles and mask of these tokens; of `cache` where there is one.
            cache: holds the tokens before, and takes the new ones' keys and values. None: there are none before.
            layer: the number of this layer in the cache, from 0.

        Returns:
            `[B, T, width]`.
        """
        batch, tokens, _ = x.shape
        projected = self.together(x, self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (values.view(batch, tokens, -1, self.width) for values in projected)
        # Queries and keys are turned together: at one token, the number of operations is what takes the time.
        turned = rotate(torch.cat([q, k], dim=2), step.cos[:, :, None], step.sin[:, :, None]).transpose(1, 2)
        q, k, v = turned[:, : self.heads], turned[:, self.heads :], v.transpose(1, 2)
        if cache is not None:
            k, v = cache.update(layer, k, v, step)
        if step.lengths is not None:
            assert cache is not None and cache.decode is not None, "a step of this cache"
            # Queries, keys and values `[B, heads, T, D]` with their heads side by side, as they are in memory.
            attended = cache.decode(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), step.lengths)
            return self.o_proj(attended.reshape(batch, tokens, -1))
        if len(step.groups) == 1:
            attended = _look_back(q, k, v)
        elif step.groups:
            parts = [
                _look_back(q[g.begin : g.end], k[g.begin : g.end, :, : g.length], v[g.begin : g.end, :, : g.length])
                for g in step.groups
            ]
            attended = torch.cat(parts)
        elif cache is not None and tokens == 1 and q.device.type == "cpu":
            attended = _look_back(q, k, v, step.mask)
        else:
            attended = _attention(q, k, v, step.mask, is_causal=step.mask is None and tokens > 1)
        return self.o_proj(attended.transpose(1, 2).reshape(batch, tokens, -1))


class MLP(nn.Module):
    """SwiGLU without biases (arXiv 2002.05202)."""

    TOGETHER = ("gate_proj", "up_proj")

    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        self.together = getattr(operations, "together", _separately)
        place = {"bias": False, "dtype": dtype, "device": device}
        self.gate_proj = operations.Linear(config.width, config.mlp_width, **place)
        self.up_proj = operations.Linear(config.width, config.mlp_width, **place)
        self.down_proj = operations.Linear(config.mlp_width, config.width, **place)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width]` -> `[..., width]`."""
        gate, up = self.together(x, self.gate_proj, self.up_proj)
        return self.down_proj(F.silu(gate) * up)


class Layer(nn.Module):
    """Attention, then MLP: each works on what an RMS norm makes of its input, and is added to the input."""

    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.input_layernorm = operations.RMSNorm(config.width, eps=config.norm_eps, **place)
        self.self_attn = Attention(config, operations, **place)
        self.post_attention_layernorm = operations.RMSNorm(config.width, eps=config.norm_eps, **place)
        self.mlp = MLP(config, operations, **place)

    def forward(self, x: Tensor, **attention) -> Tensor:
        """`[B, T, width]` -> `[B, T, width]`; `attention` is what `Attention.forward` takes beside `x`."""
        x = x + self.self_attn(self.input_layernorm(x), **attention)
        return x + self.mlp(self.post_attention_layernorm(x))


class Transformer(nn.Module):
    """Embeddings, layers and the last norm under the names of the published weights. `LanguageModel` runs them."""

    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.embed_tokens = operations.Embedding(config.vocab_size, config.width, **place)
        self.layers = nn.ModuleList(Layer(config, operations, **place) for _ in range(config.layers))
        self.norm = operations.RMSNorm(config.width, eps=config.norm_eps, **place)


class LanguageModel(nn.Module):
    """Embeddings in, final-norm hidden states out; parameter names are those of Hugging Face's LLaMA.

    `operations` makes every layer (`torch.nn`, or the host's). It needs `Linear`, `Embedding` and `RMSNorm`; where it
    has `together(x, *layers)`, that computes what the layers in a module's `TOGETHER` make of their common input.
    """

    def __init__(self, config: LanguageConfig, operations: Any = nn, dtype=None, device=None):
        super().__init__()
        self.config = config
        self.model = Transformer(config, operations, dtype=dtype, device=device)
        self.lm_head = operations.Linear(config.width, config.vocab_size, bias=False, dtype=dtype, device=device)
        self.decode_attention: Callable[[torch.device, torch.dtype, int], DecodeAttention | None] | None = None
        """Gives what computes the attention of single tokens on a device, in a precision, for a width of heads; None,
        here or given, is PyTorch's own function."""

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids `[..., T]`, int64 from 0 to `vocab_size` - 1 -> embeddings `[..., T, width]`."""
        return self.model.embed_tokens(ids)

    def new_cache(self, batch: int, capacity: int, dtype: torch.dtype, device: torch.device) -> KVCache:
        """An empty cache of `batch` rows, each of up to `capacity` positions.

        Raises:
            WeGenError: `capacity` exceeds the context length that the weights were made for.
        """
        self.config.require_room(capacity)
        decode = self.decode_attention and self.decode_attention(device, dtype, self.config.head_width)
        return KVCache(self.config, batch, capacity, dtype, device, decode)

    def forward(
        self,
        embeddings: Tensor,
        cache: KVCache | None = None,
        counts: int | list[int] | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, which `logits` and `Agent.read_features` read.

        Args:
            embeddings: `[B, T, width]`; rows shorter than T are padded on the right.
            cache: earlier positions of each row; extended in place by the T new ones.
            counts: how many of the T tokens of each row are real (default: all); only used with a cache.
            segments: `[B, T]` whole numbers, for rows in which several sequences stand one behind the other: tokens of
                equal numbers belong together, and see none of the others. Only used without a cache.

        Returns:
            `[B, T, width]`; what stands where a row is padded means nothing.
        """
        tokens = embeddings.shape[1]
        if cache is None:
            positions = torch.arange(tokens, device=embeddings.device)[None]
            mask = None
            if segments is not None:
                mask = (segments[:, None] == segments[..., None]).tril()[:, None]
                positions = positions - _first_places(segments)
            cos, sin = rotary_angles(positions, self.config.head_width, self.config.rope_theta)
            step = Step(None, tokens, mask, cos.to(embeddings), sin.to(embeddings))
        else:
            step = cache.step(tokens)
        x = embeddings
        for index, layer in enumerate(self.model.layers):
            x = layer(x, step=step, cache=cache, layer=index)
        if cache is not None:
            cache.advance(tokens if counts is None else counts)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states `[..., width]` -> next-token logits `[..., vocab_size]`, in float32."""
        return self.lm_head(hidden).float()
