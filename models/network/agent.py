"""The agent: the language model with the two projectors that join it to the vision encoder's features."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .configuration import WeGenConfig
from .language_model import LanguageModel


class Projector(nn.Module):
    """A bias-free linear map; the sub-module is called `proj` in the published weights.

    `operations` makes the layer (`torch.nn`, or the host's).
    """

    def __init__(self, width_in: int, width_out: int, operations, dtype=None, device=None):
        super().__init__()
        self.proj = operations.Linear(width_in, width_out, bias=False, dtype=dtype, device=device)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., width_in]` -> `[..., width_out]`."""
        return self.proj(x)


class Agent(nn.Module):
    """Reads and writes text and features in one sequence. Parameter names are those of the published weights.

    Features are pooled before they come here, so that features the model itself generates take the same way in.
    `operations` makes every layer (`torch.nn`, or the host's).
    """

    def __init__(self, config: WeGenConfig, operations: Any = nn, dtype=None, device=None):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        width = config.language.width
        self.llm = LanguageModel(config.language, operations, **place)
        self.input_resampler = Projector(config.vision.width, width, operations, **place)
        self.output_resampler = Projector(width, config.vision.width, operations, **place)

    def embed_features(self, features: Tensor) -> Tensor:
        """Pooled features `[..., vision width]` -> embeddings `[..., language width]`."""
        return self.input_resampler(features)

    def read_features(self, hidden: Tensor) -> Tensor:
        """Hidden states `[..., language width]` -> the features that they predict, `[..., vision width]`."""
        return self.output_resampler(hidden)
