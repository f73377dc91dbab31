"""LLaMA-2 style language model over embeddings, with a key/value cache whose rows may differ in length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from .configuration import LanguageConfig


class KVCache:
    """Keys and values of every layer, for `batch` sequences of up to `capacity` positions.

    `lengths[b]` positions of row b are valid. New tokens of a row are written right behind them; what a shorter row of
    a padded batch leaves behind its end is never attended to and overwritten by the next tokens of that row.
    """

    def __init__(self, config: LanguageConfig, batch: int, capacity: int, dtype: torch.dtype, device: torch.device):
        shape = (batch, config.kv_heads, capacity, config.head_width)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.layers)]
        self.lengths = torch.zeros(batch, dtype=torch.long, device=device)
        self.capacity = capacity
        self.longest = 0
        """Length of the longest row as a Python number, so that no step waits for the device."""

    def positions(self, tokens: int) -> Tensor:
        """Positions `[B, tokens]` that the next tokens of each row take."""
        return self.lengths[:, None] + torch.arange(tokens, device=self.lengths.device)

    def update(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Write `[B, H, T, D]` at `positions` and return all that may be attended to, `[B, H, longest + T, D]`."""
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        self.keys[layer][rows, :, positions] = rearrange(keys, "b h t d -> b t h d")
        self.values[layer][rows, :, positions] = rearrange(values, "b h t d -> b t h d")
        end = self.longest + positions.shape[1]
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def advance(self, tokens: int | list[int]) -> None:
        """Count the tokens just written as valid, `tokens` of every row or a number for each row."""
        counts = [tokens] * len(self.lengths) if isinstance(tokens, int) else tokens
        self.lengths = self.lengths + torch.tensor(counts, device=self.lengths.device)
        self.longest = self.longest + counts[0] if len(set(counts)) == 1 else int(self.lengths.max())

    def rows(self, rows: slice) -> KVCache:
        """A view of some rows: keys and values are shared, lengths are its own."""
        view = object.__new__(KVCache)
        view.keys = [keys[rows] for keys in self.keys]
        view.values = [values[rows] for values in self.values]
        view.lengths = self.lengths[rows].clone()
        view.capacity, view.longest = self.capacity, self.longest
        return view

    def select(self, rows: Sequence[int]) -> KVCache:
        """A new cache with these rows of this one, in this order; a row may come up more than once."""
        index = torch.tensor(rows, device=self.lengths.device)

        def selected(memory: Tensor) -> Tensor:
            chosen = memory.new_zeros(len(rows), *memory.shape[1:])
            chosen[:, :, : self.longest] = memory[:, :, : self.longest].index_select(0, index)
            return chosen

        copy = object.__new__(KVCache)
        copy.keys = [selected(keys) for keys in self.keys]
        copy.values = [selected(values) for values in self.values]
        copy.lengths = self.lengths.index_select(0, index)
        copy.capacity, copy.longest = self.capacity, self.longest
        return copy

    def restart(self) -> None:
        """Forget every position."""
        self.lengths = torch.zeros_like(self.lengths)
        self.longest = 0


def rotary_angles(positions: Tensor, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines `[B, 1, T, head_width]` of the rotary embedding, in float32."""
    steps = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32)
    # Written as LLaMA's own code computes it: another rounding of the frequencies grows with the position.
    angles = positions[..., None].float() * (1.0 / theta ** (steps / head_width))
    angles = repeat(angles, "b t d -> b 1 t (two d)", two=2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys `[B, H, T, D]` by their positions' angles (halves, not pairs, as LLaMA's weights expect)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x) + torch.cat([-second, first], dim=-1) * sin.to(x)


class Attention(nn.Module):
    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        place = {"bias": False, "dtype": dtype, "device": device}
        kv_width = config.kv_heads * config.head_width
        self.q_proj = operations.Linear(config.width, config.width, **place)
        self.k_proj = operations.Linear(config.width, kv_width, **place)
        self.v_proj = operations.Linear(config.width, kv_width, **place)
        self.o_proj = operations.Linear(config.width, config.width, **place)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None, layer: int,
                positions: Tensor) -> Tensor:  # fmt: skip
        q = rotate(rearrange(self.q_proj(x), "b t (h d) -> b h t d", h=self.heads), *angles)
        k = rotate(rearrange(self.k_proj(x), "b t (h d) -> b h t d", h=self.kv_heads), *angles)
        v = rearrange(self.v_proj(x), "b t (h d) -> b h t d", h=self.kv_heads)
        if cache is not None:
            k, v = cache.update(layer, k, v, positions)
        grouped = self.heads != self.kv_heads
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and x.shape[1] > 1, enable_gqa=grouped
        )
        return self.o_proj(rearrange(attended, "b h t d -> b t (h d)"))


class MLP(nn.Module):
    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        place = {"bias": False, "dtype": dtype, "device": device}
        self.gate_proj = operations.Linear(config.width, config.mlp_width, **place)
        self.up_proj = operations.Linear(config.width, config.mlp_width, **place)
        self.down_proj = operations.Linear(config.mlp_width, config.width, **place)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.input_layernorm = operations.RMSNorm(config.width, eps=config.norm_eps, **place)
        self.self_attn = Attention(config, operations, **place)
        self.post_attention_layernorm = operations.RMSNorm(config.width, eps=config.norm_eps, **place)
        self.mlp = MLP(config, operations, **place)

    def forward(self, x: Tensor, **attention) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), **attention)
        return x + self.mlp(self.post_attention_layernorm(x))


class Transformer(nn.Module):
    def __init__(self, config: LanguageConfig, operations, dtype=None, device=None):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.embed_tokens = operations.Embedding(config.vocab_size, config.width, **place)
        self.layers = nn.ModuleList(Layer(config, operations, **place) for _ in range(config.layers))
        self.norm = operations.RMSNorm(config.width, eps=config.norm_eps, **place)


class LanguageModel(nn.Module):
    """Embeddings in, final-norm hidden states out; parameter names are those of Hugging Face's LLaMA.

    `operations` makes every layer (`torch.nn`, or the host's). It needs `Linear`, `Embedding` and `RMSNorm`.
    """

    def __init__(self, config: LanguageConfig, operations: Any = nn, dtype=None, device=None):
        super().__init__()
        self.config = config
        self.model = Transformer(config, operations, dtype=dtype, device=device)
        self.lm_head = operations.Linear(config.width, config.vocab_size, bias=False, dtype=dtype, device=device)

    def embed(self, ids: Tensor) -> Tensor:
        """Ids `[..., T]` -> embeddings `[..., T, width]`."""
        return self.model.embed_tokens(ids)

    def new_cache(self, batch: int, capacity: int, dtype: torch.dtype, device: torch.device) -> KVCache:
        """A cache for `capacity` positions a row.

        Raises:
            WeGenError: `capacity` exceeds the context length that the weights were made for.
        """
        self.config.require_room(capacity)
        return KVCache(self.config, batch, capacity, dtype, device)

    def forward(
        self, embeddings: Tensor, cache: KVCache | None = None, counts: int | list[int] | None = None
    ) -> Tensor:
        """Hidden states `[B, T, width]` after the final norm.

        Args:
            embeddings: `[B, T, width]`; rows shorter than T are padded on the right.
            cache: earlier positions of each row; extended in place by the T new ones.
            counts: how many of the T tokens of each row are real (default: all); only used with a cache.
        """
        tokens = embeddings.shape[1]
        if cache is None:
            positions = torch.arange(tokens, device=embeddings.device)[None].expand(len(embeddings), -1)
            mask = None
        else:
            positions = cache.positions(tokens)
            keys = torch.arange(cache.longest + tokens, device=embeddings.device)
            fresh = cache.longest == 0
            mask = None if fresh else rearrange(keys[None, None] <= positions[..., None], "b t k -> b 1 t k")
        angles = rotary_angles(positions, self.config.head_width, self.config.rope_theta)
        x = embeddings
        for index, layer in enumerate(self.model.layers):
            x = layer(x, angles=angles, mask=mask, cache=cache, layer=index, positions=positions)
        if cache is not None:
            cache.advance(tokens if counts is None else counts)
        return self.model.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states `[..., width]` -> next-token logits `[..., vocab_size]`, in float32."""
        return self.lm_head(hidden).float()
