"""What the language model has read before: keys and values of the beginnings of sequences, for those that begin alike.

A sequence is read in blocks of a fixed size. What a block leaves behind depends on it and the blocks before it alone:
one that is remembered gives, to the bit, what reading it again would give.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from .language_model import WINDOW, KVCache, LanguageModel

BLOCK = WINDOW
"""Positions that are read at once."""


class PrefixCache:
    """Remembers blocks, those that were used last.

    Args:
        most_bytes: of the keys and values that are kept; the blocks unused for longest go first.
        device: where they are kept; None is where they were read. They come back from it bit for bit.
    """

    def __init__(self, most_bytes: int = 2**30, device: torch.device | None = None):
        self.most_bytes = most_bytes
        self.device = device
        self.bytes = 0
        self.found = self.missed = 0
        """How many blocks were remembered, and how many had to be read."""
        self._blocks: OrderedDict[bytes, Tensor] = OrderedDict()
        self._weights: Hashable = None

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()
        self.bytes = 0

    def belongs_to(self, weights: Hashable) -> None:
        """Forget everything when the weights are others than before.

        Args:
            weights: anything that is equal for equal weights, and for no others.
        """
        if weights != self._weights:
            self.clear()
            self._weights = weights

    @torch.no_grad()
    def read(self, llm: LanguageModel, prompts: Sequence[Tensor], cache: KVCache) -> int:
        """Read the whole blocks that all prompts begin with; something is left of each.

        Args:
            llm: the language model.
            prompts: embeddings `[L, width]` of each row of the cache; lengths may differ.
            cache: empty, and with a capacity of the longest prompt or more. What is read stands in all its rows then.

        Returns:
            How many positions were read, a multiple of BLOCK.
        """
        count = _shared(prompts)
        if not count:
            return 0
        first = cache.rows(slice(0, 1))
        names = _names(prompts[0], count)
        for number, name in enumerate(names):
            inside = slice(number * BLOCK, (number + 1) * BLOCK)
            block = self._blocks.get(name)
            if block is None:
                self.missed += 1
                llm(prompts[0][None, inside], first)
                self._remember(name, first, inside)
            else:
                self.found += 1
                for layer, (keys, values) in enumerate(zip(first.keys, first.values, strict=True)):
                    keys[0, :, inside], values[0, :, inside] = block[layer, 0], block[layer, 1]
                first.advance(BLOCK)
        for name in reversed(names):  # later blocks are of no use without the earlier ones, which therefore stay longer
            if name in self._blocks:
                self._blocks.move_to_end(name)
        length = count * BLOCK
        for memory in (*cache.keys, *cache.values):
            memory[1:, :, :length] = memory[:1, :, :length]
        cache.advance(length)
        return length

    def _remember(self, name: bytes, cache: KVCache, inside: slice) -> None:
        pairs = zip(cache.keys, cache.values, strict=True)
        block = torch.stack([torch.stack([k[0, :, inside], v[0, :, inside]]) for k, v in pairs])
        block = block if self.device is None else block.to(self.device)
        if block.nbytes > self.most_bytes:
            return
        while self.bytes + block.nbytes > self.most_bytes:
            self.bytes -= self._blocks.popitem(last=False)[1].nbytes
        self._blocks[name] = block
        self.bytes += block.nbytes


def _shared(prompts: Sequence[Tensor]) -> int:
    """How many whole blocks all prompts begin with, such that a token of each is left."""
    most = (min(map(len, prompts)) - 1) // BLOCK
    for number in range(most):
        inside = slice(number * BLOCK, (number + 1) * BLOCK)
        if not all(torch.equal(prompts[0][inside], other[inside]) for other in prompts[1:]):
            return number
    return most


def _names(prompt: Tensor, count: int) -> list[bytes]:
    """A name for each block that says all of it and of the blocks before it."""
    content = prompt[: count * BLOCK].detach().contiguous().cpu().view(torch.uint8).numpy()
    running = hashlib.blake2b(f"{prompt.dtype} {prompt.device} {prompt.shape[-1]}".encode())
    names = []
    for number in range(count):
        running.update(content[number * BLOCK : (number + 1) * BLOCK].tobytes())
        names.append(running.digest())
    return names
