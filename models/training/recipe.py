"""The configuration of one training stage: a JSON file, read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import WeGenError
from ..network.configuration import WeGenConfig

#: the stages of a whole training, in the order in which they need each other
STAGES = ("tokenizer", "vae", "encoder", "painter", "vae_decoder", "agent")
TOKENIZER, VAE, ENCODER, PAINTER, VAE_DECODER, AGENT = STAGES


class RecipeError(WeGenError):
    """A training configuration that cannot be used; the message names the file and the entry."""


@dataclass(frozen=True)
class Recipe:
    """How one stage trains.

    Attributes:
        stage: name of the stage, one of `STAGES`.
        model: file with the `WeGenConfig`, beside this file.
        steps: optimiser steps in all; may be raised later to train on.
        batch: samples a step on one device.
        learning_rate: reached after `warmup` steps, held, and brought down to 0 over the last `decay` steps.
        average: decay of the running average of the weights that is exported and drawn with.
        seed: of the data and of all noise.
        precision: "bf16" (autocast) or "no".
        optimizer: "adamw", or "muon" for hidden matrices (torch 2.9 or newer) and AdamW for the rest.
        start: a packed folder, relative to the recipe, from which this stage begins; see `PackedStart`. Empty: nothing.
        options: what only this stage knows.
    """

    stage: str
    steps: int
    batch: int
    learning_rate: float
    model: str = "model.json"
    warmup: int = 300
    decay: int = 0
    weight_decay: float = 0.01
    gradient_limit: float = 1.0
    average: float = 0.998
    seed: int = 1
    precision: str = "bf16"
    optimizer: Literal["adamw", "muon"] = "adamw"
    start: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.optimizer not in ("adamw", "muon"):
            raise RecipeError(f"The optimizer is {self.optimizer!r}; it must be 'adamw' or 'muon'.")

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        left = (self.steps - step) / self.decay if self.decay else 1.0
        return self.learning_rate * rise * (1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * max(left, 0.0)))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises RecipeError, naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"There is no training configuration {path}.") from None
    except ValueError as error:
        raise RecipeError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} must hold a JSON object.")
    return values


def read_recipe(path: Path) -> Recipe:
    """Read the recipe of one stage. Raises RecipeError, naming file and entry."""
    return build(Recipe, read_json(path), str(path))


def read_model(path: Path) -> WeGenConfig:
    """Read the sizes of the model that is trained."""
    if not path.is_file():
        raise RecipeError(f"The training configuration names {path}, which does not exist.")
    return WeGenConfig.from_json(path.read_text(encoding="utf-8"), str(path))


def build(cls: type, values: Mapping[str, Any], source: str) -> Any:
    """Make a flat dataclass of `values`; unknown or missing entries raise RecipeError naming `source`."""
    fields = dataclasses.fields(cls)
    unknown = sorted(set(values) - {f.name for f in fields})
    if unknown:
        raise RecipeError(f"{source}: unknown {', '.join(unknown)}. Known are: {', '.join(f.name for f in fields)}.")
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise RecipeError(f"{source} lacks {', '.join(missing)}.")
    return cls(**values)
