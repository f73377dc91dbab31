"""The configuration of one training stage: a JSON file, read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from ..errors import WeGenError
from ..json_values import in_words, is_a
from ..network.configuration import WeGenConfig

#: the stages of a whole training, in the order in which they need each other
STAGES = ("tokenizer", "vae", "encoder", "robust_encoder", "painter", "vae_decoder", "agent")
TOKENIZER, VAE, ENCODER, ROBUST_ENCODER, PAINTER, VAE_DECODER, AGENT = STAGES
#: the stages of a finished checkpoint that is trained on, named as its parts are
UNET, LANGUAGE_MODEL = CHECKPOINT_STAGES = ("unet", "language_model")
PRECISIONS = ("bf16", "no")
_OF_CHECKPOINTS = ("checkpoint", "data", "held_out", "lora", "recompute")
#: entries of a recipe that only some stages make use of
USED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    **dict.fromkeys(_OF_CHECKPOINTS, CHECKPOINT_STAGES), "model": (AGENT,),
    "start": (TOKENIZER, VAE, ENCODER, ROBUST_ENCODER, PAINTER, AGENT),
})  # fmt: skip


class RecipeError(WeGenError):
    """A training configuration that cannot be used; the message names the file and the entry."""


@dataclass(frozen=True)
class Recipe:
    """How one stage trains.

    Attributes:
        stage: name of the stage, one of `STAGES`; or, of `CHECKPOINT_STAGES`, the part of a finished checkpoint.
        model: file with the `WeGenConfig`, beside this file; of no use with a checkpoint.
        steps: optimiser steps in all; may be raised later to train on.
        batch: samples a step on one device.
        learning_rate: reached after `warmup` steps, held, and brought down to 0 over the last `decay` steps.
        average: decay of the running average of the weights that is exported and drawn with; 0 keeps none, which saves
            the memory of a copy.
        seed: of the data and of all noise.
        precision: "bf16" (autocast) or "no".
        optimizer: "adamw", or "muon" for hidden matrices (torch 2.9 or newer) and AdamW for the rest.
        start: a packed folder, relative to the recipe, from which this stage begins; see `PackedStart`. Empty: nothing.
        blend: of the stage "agent": share of the trained weights in those that are packed, beside those of `start`. A
            model that lies between the one before and the one after a short training keeps more of what the first could
            do and has most of what the second learned (WiSE-FT, arXiv 2109.01903).
        options: what only this stage knows.
        checkpoint: for `CHECKPOINT_STAGES` the folder, packed or published, relative to the recipe. Empty: the bundled.
        data: for these stages the shards, see `DataOptions`.
        held_out: shards that are measured, and never trained with.
        lora: see `LoraOptions`; None trains all weights.
        name: what the trained checkpoint or the LoRA is called.
        accumulate: batches a step on one device, one after the other: what does not fit at once.
        recompute: compute the inside of blocks again on the way back instead of keeping it, for less memory.
        shard: with several devices, spread weights and optimizer over them (FSDP2) instead of copying.
        tracker: what accelerate logs to beside the log file, such as "tensorboard"; empty is nothing.
        save_seconds, sheet_seconds: how often the run is saved, and measured and drawn.
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
    blend: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
    data: Sequence[Mapping[str, Any]] = ()
    held_out: Sequence[Mapping[str, Any]] = ()
    lora: Mapping[str, Any] | None = None
    name: str = ""
    accumulate: int = 1
    recompute: bool = False
    shard: bool = False
    tracker: str = ""
    save_seconds: float = 180.0
    sheet_seconds: float = 180.0

    def __post_init__(self):
        in_range(self, 1, None, "steps", "batch", "accumulate")
        in_range(self, 0, None, "learning_rate", "warmup", "decay", "weight_decay", "save_seconds", "sheet_seconds")
        in_range(self, 0, 1, "average")
        if self.average == 1:
            raise RecipeError("average is 1, which never takes in anything; it must be below.")
        if not self.gradient_limit > 0:
            raise RecipeError(f"gradient_limit is {self.gradient_limit!r}; it must be above 0.")
        if not 0 < self.blend <= 1:
            raise RecipeError(f"blend is {self.blend!r}; it must be above 0, and at most 1.")
        if self.blend != 1 and (self.stage != AGENT or not self.start):
            raise RecipeError(f"blend is {self.blend!r}, but the stage {self.stage!r} has nothing to be blended with.")
        if self.optimizer not in ("adamw", "muon"):
            raise RecipeError(f"The optimizer is {self.optimizer!r}; it must be 'adamw' or 'muon'.")
        if self.precision not in PRECISIONS:
            raise RecipeError(f"precision is {self.precision!r}; it must be one of {', '.join(map(repr, PRECISIONS))}.")
        known = (*STAGES, *CHECKPOINT_STAGES)
        given = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        unused = [name for name in given if name in USED and self.stage in known and self.stage not in USED[name]]
        if unused:
            raise RecipeError(
                f"The stage {self.stage!r} makes no use of {unused[0]!r}, which is for "
                f"{', '.join(map(repr, USED[unused[0]]))}; leave it out."
            )

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        left = (self.steps - step) / self.decay if self.decay else 1.0
        return self.learning_rate * rise * (1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * max(left, 0.0)))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises RecipeError, naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except FileNotFoundError:
        raise RecipeError(f"There is no training configuration {path}.") from None
    except ValueError as error:
        raise RecipeError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} must hold a JSON object.")
    return values


def read_recipe(path: Path) -> Recipe:
    """Read the recipe of one stage. Raises RecipeError, naming file and entry."""
    recipe: Recipe = build(Recipe, read_json(path), str(path))
    if recipe.stage not in (known := (*STAGES, *CHECKPOINT_STAGES)):
        raise RecipeError(f"{path}: there is no stage {recipe.stage!r}; choose one of {', '.join(known)}.")
    return recipe


def read_model(path: Path) -> WeGenConfig:
    """Read the sizes of the model that is trained."""
    if not path.is_file():
        raise RecipeError(f"The training configuration names {path}, which does not exist.")
    return WeGenConfig.from_json(path.read_text(encoding="utf-8-sig"), str(path))


def in_range(options: Any, least: float, most: float | None, *names: str) -> None:
    """Raise RecipeError where a number among the attributes of `options` is too small or too large; None is passed."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not (least <= value and (most is None or value <= most)):
            limits = f"{least} or more" if most is None else f"from {least} to {most}"
            raise RecipeError(f"{name} is {value!r}; it must be {limits}.")


def build(cls: type, values: Mapping[str, Any], source: str) -> Any:
    """Make a flat dataclass of values from JSON.

    Raises:
        RecipeError: an entry is unknown, missing, of another type, or has a value that is of no use; it names `source`.
    """
    fields = dataclasses.fields(cls)
    unknown = sorted(set(values) - {f.name for f in fields})
    if unknown:
        raise RecipeError(f"{source}: unknown {', '.join(unknown)}. Known are: {', '.join(f.name for f in fields)}.")
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise RecipeError(f"{source} lacks {', '.join(missing)}.")
    kinds = get_type_hints(cls)
    for name, value in values.items():
        if not is_a(value, kinds[name]):
            raise RecipeError(f"{source}: {name} is {value!r}; it must be {in_words(kinds[name])}.")
    try:
        return cls(**values)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None
