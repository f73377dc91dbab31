"""WeGen ready to use: configuration, tokenizer, vision encoder and agent, with the device and precision they run in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import WeGenError
from ..media.images import clip_pixels
from ..network.agent import Agent
from ..network.configuration import WeGenConfig
from ..network.prefix_cache import PrefixCache
from ..network.vision_encoder import VisionEncoder, pool_features
from .tokenizer import Tokenizer

#: pictures that go through the vision encoder at once: what 64 take at the published size would crowd out other models
LOOKED_AT_ONCE = 8


@dataclass(frozen=True)
class WeGen:
    """The vision encoder and the language model of one checkpoint; the decoder is not part of it.

    Attributes:
        device: where inputs are put; inside a host the modules get there by the host's own patchers.
        dtype: precision of the language model's and the vision encoder's arithmetic.
        prefixes: what the language model has read before, where its weights stay as they are; None reads all anew.
        vision_id: tells its vision encoder from others, whose features it would misread; empty reads any.
    """

    config: WeGenConfig
    tokenizer: Tokenizer
    vision_encoder: VisionEncoder
    agent: Agent
    device: torch.device
    dtype: torch.dtype
    prefixes: PrefixCache | None = None
    vision_id: str = ""

    def load_vision(self, pictures: int) -> WeGen:
        """The model with its vision encoder ready for so many `pictures`; headless it always is."""
        return self

    def load_language(self, rows: int, positions: int) -> WeGen:
        """The model with its language model ready for `rows` sequences of `positions` tokens; headless it always is.

        Raises:
            WeGenError: more positions than the model's context holds.
        """
        self.config.language.require_room(positions)
        return self

    def with_open_language(self) -> WeGen:
        """The same model, taking any words: one that has learned something new since knows more than its world."""
        return replace(self, config=self.config.with_open_language())

    def recall(self, question: Hashable, answer: Callable[[], Any]) -> Any:
        """What `answer` gives; inside a host, or gave when the same was asked before."""
        return answer()

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """CLIP-normalised pictures `[B, 3, S, S]` -> pooled features `[B, tokens_per_picture, D]`, float32.

        Raises:
            WeGenError: the vision encoder overflowed.
        """
        patches = self.vision_encoder(pixels.to(self.device, self.dtype))
        features = pool_features(patches.float(), self.config.feature_grid)
        require_finite(features, "vision encoder")
        return features

    def encode_pictures(self, pictures: Sequence[Image.Image | Tensor]) -> Tensor:
        """Pictures of any size -> pooled features `[B, tokens_per_picture, D]`, float32.

        Pictures are Pillow's, or `[H, W, 1, 3 or 4]` in 0..1. As published, each is squeezed to a square, whatever its
        proportions.

        Raises:
            WeGenError: a tensor that is no picture, or holds NaN.
        """
        size = self.config.vision.image_size
        groups = (pictures[start : start + LOOKED_AT_ONCE] for start in range(0, len(pictures), LOOKED_AT_ONCE))
        with torch.no_grad():
            return torch.cat(
                [self.encode_pixels(torch.stack([clip_pixels(picture, size) for picture in group])) for group in groups]
            )

    def embed(self, ids: Sequence[int], features: Sequence[Tensor] = ()) -> Tensor:
        """Token ids -> embeddings `[L, width]`; whole pictures among the ids take the embeddings of `features`.

        Args:
            ids: of one sequence; each picture in it stands as all of `tokenizer.picture_ids`.
            features: `[tokens_per_picture, D]` for each picture, in order.

        Raises:
            WeGenError: features that another checkpoint made.
        """
        tokens = torch.tensor(ids, dtype=torch.long, device=self.device)
        embeddings = self.agent.llm.embed(tokens).to(self.dtype)
        starts = [position for position, index in enumerate(ids) if index == self.tokenizer.picture_ids[1]]
        if len(starts) != len(features):
            raise ValueError(f"The sequence has room for {len(starts)} pictures, {len(features)} were given.")
        expected = (self.config.tokens_per_picture, self.config.vision.width)
        for start, picture in zip(starts, features, strict=True):
            if tuple(picture.shape) != expected:
                raise WeGenError(
                    f"A reference or chat holds {picture.shape[0]} features of {picture.shape[1]} numbers, this "
                    f"checkpoint works with {expected[0]} of {expected[1]}. Make it again with this checkpoint."
                )
            inside = slice(start, start + self.config.tokens_per_picture)
            embeddings[inside] = self.agent.embed_features(picture.to(self.device, self.dtype))
        return embeddings


def require_finite(values: Tensor, part: str) -> None:
    """Raise where a part of the model computed what is no number: else that becomes a black picture, or none.

    Raises:
        WeGenError: naming the part and the first such value.
    """
    finite = values.isfinite()
    if not finite.all():
        raise WeGenError(
            f"The {part} computed {float(values[~finite][0])} instead of numbers. Its precision is too low or its "
            "weights are damaged: load it in bf16 or fp32."
        )
