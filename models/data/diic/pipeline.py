"""Which stages a run has, with which options, and what each may use of the machines."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from ...json_values import converted, in_words, is_a, is_known
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
        cpus, gpus: what each of them occupies there; None for a share of what is there and not given to others, of a
            GPU only where `device` in its options is one.
    """

    name: str
    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1
    actors: int = 1
    cpus: float | None = None
    gpus: float | None = None

    def __post_init__(self):
        kinds = KINDS.get(self.name)
        if kinds is None:
            raise StageError(f"There is no stage {self.name!r}. Expected one of: {', '.join(ORDER)}.")
        if not isinstance(self.kind, str) or (self.kind not in kinds and ":" not in self.kind):
            known = ", ".join(repr(kind) for kind in kinds)
            raise StageError(f"The stage {self.name!r} has no kind {self.kind!r}. Expected one of: {known}.")
        _check_options(f"stage {self.name!r}", self.options)
        for setting in ("batch", "actors"):
            _check_count(f"{setting!r} of the stage {self.name!r}", getattr(self, setting))
        for setting in ("cpus", "gpus"):
            value = getattr(self, setting)
            if value is not None and not (is_a(value, float) and value >= 0):
                raise StageError(f"{setting!r} of the stage {self.name!r} is a number of 0 or more, got {value!r}.")

    @property
    def uses_gpu(self) -> bool:
        """Whether it computes on a GPU, as far as its options say."""
        return str(self.options.get("device", "cpu")).partition(":")[0] not in ("cpu", "mps")

    def build(self) -> Stage:
        """The stage itself; loads its model where it has one. Raises StageError for options that it does not have."""
        return _made(f"stage {self.name!r}", self._place, self.options)

    def check(self) -> None:
        """Raise StageError where it could not be built, as far as that is seen without loading a model.

        A class may have a static method `check` for that, which gets what the class is made of. This pack's others are
        made; those of somebody else are looked for, and their options compared.
        """
        what = f"stage {self.name!r}"
        maker, values = _maker(what, self._place, self.options)
        if isinstance(inspect.getattr_static(maker, "check", None), staticmethod):
            maker.check(**values)
        elif _is_own(self._place):
            _made(what, self._place, self.options)

    @property
    def _place(self) -> str:
        return KINDS[self.name].get(self.kind, self.kind)


def _check_count(what: str, value: Any) -> None:
    if not is_a(value, int) or value < 1:
        raise StageError(f"{what} is a whole number of 1 or more, got {value!r}.")


def _check_options(what: str, options: Any) -> None:
    if not isinstance(options, Mapping):
        raise StageError(f'"options" of the {what} must be an object, got {options!r}.')


def _made(what: str, place: str, options: Mapping[str, Any]) -> Any:
    maker, values = _maker(what, place, options)
    try:
        return maker(**values)
    except TypeError as error:
        raise _not_made(what, options, error) from error


def _maker(what: str, place: str, options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The class of a stage and what it is made of."""
    maker = _class(place)
    signature = inspect.signature(maker)
    known = {name: one for name, one in signature.parameters.items() if name != "name"}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise StageError(f"The {what} has no option {unknown[0]!r}. Expected some of: {', '.join(sorted(known))}.")
    # A stage of somebody else says itself what it takes.
    if _is_own(place):
        kinds = get_type_hints(maker if is_dataclass(maker) else maker.__init__)
        values = {
            key: _value(f"option {key!r} of the {what}", kinds[key], known[key].default, value)
            for key, value in options.items()
        }
    else:
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        signature.bind(**values)
    except TypeError as error:
        raise _not_made(what, options, error) from error
    return maker, values


def _not_made(what: str, options: Mapping[str, Any], error: TypeError) -> StageError:
    return StageError(f"The {what} cannot be made of {dict(options)}: {error}.")


def _value(what: str, kind: Any, default: Any, value: Any) -> Any:
    """What an option's JSON stands for, by its type and its default."""
    if is_known(kind):
        if not is_a(value, kind):
            raise StageError(f"The {what} must be {in_words(kind)}, got {value!r}.")
        return converted(value, kind)
    if not is_dataclass(default) or isinstance(default, type):
        raise StageError(f"The {what} cannot be set in JSON.")
    if not isinstance(value, Mapping):
        raise StageError(f"The {what} must be an object, got {value!r}.")
    kinds = get_type_hints(type(default))
    unknown = sorted(set(value) - set(kinds))
    if unknown:
        raise StageError(f"The {what} has no {unknown[0]!r}. Expected some of: {', '.join(kinds)}.")
    made = {key: _value(f"{key!r} of the {what}", kinds[key], getattr(default, key), one) for key, one in value.items()}
    return replace(default, **made)


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
        _check_options("cutting", self.cut)
        _check_count("'actors' of the cutting", self.cut_actors)

    def cutter(self) -> CutScenes:
        return _made("cutting", CUTTER, self.cut)

    def check(self) -> None:
        """Raise StageError where it could not run: for options, packages and models; no model is loaded for it."""
        self.cutter().check()
        for spec in self.stages:
            spec.check()

    def to_json(self) -> dict[str, Any]:
        """What decides about the outcome: not batches and actors, nor where and how many at once; see `outcome_of`."""
        stages = [{"name": one.name, "kind": one.kind, "options": dict(one.options)} for one in self.stages]
        return outcome_of({"cut": dict(self.cut), "stages": stages, "seed": self.seed})

    def changed(self, settings: Mapping[str, Any]) -> Pipeline:
        """With settings of a configuration file: for "cut" and for each stage an object of what is to be different.

        A stage's object has "options", which are added to those that are there, and any other attribute of
        `StageSpec`. Another "kind" begins without the options and the shares of the old one. Raises StageError for
        what does not exist, or is not of the right type.
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
            options = values.get("options", {})
            _check_options("cutting" if name == "cut" else f"stage {name!r}", options)
            if name == "cut":
                cut |= options
                actors = values.get("actors", actors)
                continue
            old = stages[name]
            if values.get("kind", old.kind) != old.kind:  # what another kind is made of and needs is its own
                old = replace(old, options={}, cpus=None, gpus=None)
            stages[name] = replace(old, **{**values, "options": {**old.options, **options}})
        return replace(self, stages=tuple(stages.values()), cut=cut, cut_actors=actors)


def outcome_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as in `Pipeline.to_json`, with what decides about the outcome alone.

    Of this pack's stages the paths of models are absolute, and "device" and "at_once" are left out. Settings of earlier
    versions, which have them, become what they would be today.
    """
    stages = []
    for stage in settings["stages"]:
        options = dict(stage["options"])
        if ":" not in stage["kind"]:
            options = {key: value for key, value in options.items() if key not in ("device", "at_once")}
            if "folder" in options:
                options["folder"] = str(Path(options["folder"]).absolute())
        stages.append({**stage, "options": options})
    return {**settings, "stages": stages}


def read_settings(path: Path) -> dict[str, Any]:
    """A configuration file of `Pipeline.changed`. Raises StageError where it is not JSON."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8-sig"))
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
    speaker = {"folder": language_model, **place}
    specs = {
        "name": StageSpec("name", "given", {"names": list(names)}) if names else StageSpec("name", "model", speaker),
        "ground": StageSpec("ground", "model", {"folder": detector, **place}),
        "track": StageSpec("track", "sam2", {"folder": tracker, **place}) if tracker else StageSpec("track", "boxes"),
        "describe": StageSpec("describe", "model", speaker) if language_model else StageSpec("describe", "measured"),
        "caption": StageSpec("caption", "model", speaker) if language_model else StageSpec("caption", "places"),
    }
    return Pipeline(tuple(specs.get(name) or StageSpec(name) for name in ORDER), seed=seed)
