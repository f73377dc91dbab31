"""Which stages a run has, with which options, and what each may use of the machines."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .cutting import CutScenes
from .stage import Stage, StageError

ORDER = ("decode", "select", "name", "ground", "track", "pair", "describe", "caption")
"""The stages after the cutting, in their order."""

CUTTER = "cutting:CutScenes"
KINDS = MappingProxyType(
    {
        "decode": {"": "decoding:DecodeFrames"},
        "select": {"": "selecting:SelectFrames"},
        "name": {
            "given": "naming:NamesGiven",
            "model": "transformers_stages.vision_language:NameThings",
            "truth": "truth:NameFromTruth",
        },
        "ground": {"model": "transformers_stages.grounding:GroundNames", "truth": "truth:GroundFromTruth"},
        "track": {
            "boxes": "linking:LinkDetections",
            "sam2": "transformers_stages.segmentation:TrackInVideo",
            "truth": "truth:LinkTrueMasks",
        },
        "pair": {"": "pairing:PairFrames"},
        "describe": {
            "measured": "changes:DescribeChanges",
            "model": "transformers_stages.vision_language:DescribeWithModel",
        },
        "caption": {
            "places": "changes:CaptionPlaces",
            "model": "transformers_stages.vision_language:CaptionWithModel",
            "truth": "truth:CaptionFromTruth",
        },
    }
)
"""The implementations of each stage: module and class in this package."""


@dataclass(frozen=True)
class StageSpec:
    """One stage as it is configured.

    Attributes:
        kind: which implementation: a key of `KINDS[name]`, or "package.module:Class" for a stage of one's own.
        options: the arguments of its class, as JSON.
        batch: clips that it gets at once.
        actors: how many of it work side by side on a cluster.
        cpus, gpus: what each of them occupies there.
    """

    name: str
    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1
    actors: int = 1
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self):
        kinds = KINDS.get(self.name)
        if kinds is None:
            raise StageError(f"There is no stage {self.name!r}. Expected one of: {', '.join(ORDER)}.")
        if self.kind not in kinds and ":" not in self.kind:
            known = ", ".join(repr(kind) for kind in kinds)
            raise StageError(f"The stage {self.name!r} has no kind {self.kind!r}. Expected one of: {known}.")
        if self.batch < 1 or self.actors < 1 or self.cpus < 0 or self.gpus < 0:
            raise StageError(
                f"The stage {self.name!r} needs a batch and actors of 1 or more, and cpus and gpus of 0 or more; got "
                f"{self.batch}, {self.actors}, {self.cpus:g} and {self.gpus:g}."
            )

    def build(self) -> Stage:
        """The stage itself; loads its model where it has one. Raises StageError for options that it does not have."""
        return _made(f"stage {self.name!r}", KINDS[self.name].get(self.kind, self.kind), self.options)


def _made(what: str, place: str, options: Mapping[str, Any]) -> Any:
    maker = _class(place)
    parameters = inspect.signature(maker).parameters
    known = set(parameters) - {"name"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise StageError(f"The {what} has no option {unknown[0]!r}. Expected some of: {', '.join(sorted(known))}.")
    values = {
        # A stage of somebody else says itself what it takes.
        key: value
        if isinstance(value, Mapping) and not _is_own(place)
        else _value(f"option {key!r} of the {what}", parameters[key].default, value)
        for key, value in options.items()
    }
    try:
        return maker(**values)
    except TypeError as error:
        raise StageError(f"The {what} cannot be made of {dict(options)}: {error}.") from error


def _value(what: str, default: Any, value: Any) -> Any:
    """What an option's JSON stands for; `default` says what is expected."""
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, Mapping):
        return value
    if not is_dataclass(default) or isinstance(default, type):
        raise StageError(f"The {what} is an object, {dict(value)}; it must be one value.")
    known = [one.name for one in fields(default)]
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise StageError(f"The {what} has no {unknown[0]!r}. Expected some of: {', '.join(known)}.")
    return replace(default, **value)


def _is_own(place: str) -> bool:
    """Whether it is a stage of this pack."""
    return any(place in kinds.values() for kinds in KINDS.values()) or place == CUTTER


def _class(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        found = import_module(f".{module}", __package__) if _is_own(place) else import_module(module)
        return getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise StageError(f"The stage {place!r} cannot be imported: {error}.") from error


@dataclass(frozen=True)
class Pipeline:
    """All of it. `cut` are options of `CutScenes`; `stages` has one of each name of `ORDER`, in this order."""

    stages: tuple[StageSpec, ...]
    cut: Mapping[str, Any] = field(default_factory=dict)
    cut_actors: int = 1
    seed: int = 0

    def __post_init__(self):
        names = tuple(spec.name for spec in self.stages)
        if names != ORDER:
            raise StageError(f"A pipeline has the stages {', '.join(ORDER)}; got {', '.join(names)}.")

    def cutter(self) -> CutScenes:
        return _made("cutting", CUTTER, self.cut)

    def to_json(self) -> dict[str, Any]:
        """What decides about the outcome: not batches and actors."""
        stages = [{"name": one.name, "kind": one.kind, "options": dict(one.options)} for one in self.stages]
        return {"cut": dict(self.cut), "stages": stages, "seed": self.seed}

    def changed(self, settings: Mapping[str, Any]) -> Pipeline:
        """With settings of a configuration file: for "cut" and for each stage an object of what is to be different.

        A stage's object has "options", which are added to those that are there, and any other attribute of
        `StageSpec`. Raises StageError for what does not exist.
        """
        cut = dict(self.cut)
        actors = self.cut_actors
        stages = {spec.name: spec for spec in self.stages}
        for name, values in settings.items():
            if not isinstance(values, Mapping):
                raise StageError(f"The settings of {name!r} must be an object, got {values!r}.")
            known = {one.name for one in fields(StageSpec)} - {"name"}
            known = {"options", "actors"} if name == "cut" else known
            unknown = sorted(set(values) - known)
            if name != "cut" and name not in stages:
                raise StageError(f"There is no stage {name!r}. Expected some of: cut, {', '.join(ORDER)}.")
            if unknown:
                raise StageError(f"{name!r} has no setting {unknown[0]!r}. Expected: {', '.join(sorted(known))}.")
            if name == "cut":
                cut |= values.get("options", {})
                actors = values.get("actors", actors)
                continue
            old = stages[name]
            options = {**old.options, **values.get("options", {})}
            if values.get("kind", old.kind) != old.kind:
                options = dict(values.get("options", {}))
            stages[name] = replace(old, **{**values, "options": options})
        return replace(self, stages=tuple(stages.values()), cut=cut, cut_actors=actors)


def read_settings(path: Path) -> dict[str, Any]:
    """A configuration file of `Pipeline.changed`. Raises StageError where it is not JSON."""
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        raise StageError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise StageError(f"{path} is not JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise StageError(f"{path} must hold an object with the names of stages, got {type(settings).__name__}.")
    return settings


def truth_pipeline(seed: int = 0) -> Pipeline:
    """For films of `wegen data films` and `wegen demo clips`: what is in them is read from their truth, all else is
    done as for any video."""
    kinds = {"name": "truth", "ground": "truth", "track": "truth", "describe": "measured", "caption": "truth"}
    return Pipeline(tuple(StageSpec(name, kinds.get(name, "")) for name in ORDER), seed=seed)


def model_pipeline(
    detector: str,
    tracker: str = "",
    language_model: str = "",
    names: tuple[str, ...] = (),
    device: str = "cpu",
    precision: str = "",
    seed: int = 0,
) -> Pipeline:
    """For real videos, with models from folders on this machine.

    Without a tracker boxes are linked and stand for masks. Without a vision-language model `names` must be given, and
    changes are described as they were measured. Raises StageError where there are neither names nor such a model.
    """
    if not (language_model or names):
        raise StageError("Give the things to look for (--names), or a vision-language model that names them (--vlm).")
    place = {"device": device, **({"precision": precision} if precision else {})}
    gpus = 0.0 if device == "cpu" else 1.0
    speaker = {"folder": language_model, **place}
    specs = {
        "name": StageSpec("name", "given", {"names": list(names)})
        if names
        else StageSpec("name", "model", speaker, gpus=gpus),
        "ground": StageSpec("ground", "model", {"folder": detector, **place}, gpus=gpus),
        "track": StageSpec("track", "sam2", {"folder": tracker, **place}, gpus=gpus)
        if tracker
        else StageSpec("track", "boxes"),
        "describe": StageSpec("describe", "model", speaker, gpus=gpus)
        if language_model
        else StageSpec("describe", "measured"),
        "caption": StageSpec("caption", "model", speaker, gpus=gpus)
        if language_model
        else StageSpec("caption", "places"),
    }
    return Pipeline(tuple(specs.get(name) or StageSpec(name) for name in ORDER), seed=seed)
