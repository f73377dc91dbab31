"""The stages as operators of Ray Data: a pool of actors for each, on one machine or on many.

One clip is one row: its key, the clip itself, and why it was rejected. Ray moves rows between machines, holds back
stages whose output is not taken, and does anew what a dead worker had in hand. The last operator writes each clip into
the store, whose folder all machines must see.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import how_to_install
from .clip import Clip
from .pipeline import Pipeline, StageSpec
from .run import Progress
from .stage import StageError, StageRunner
from .store import Store

KEEPS = 0.1
"""Cores that the operator which writes clips occupies."""


class RayEngine:
    """Runs the stages on Ray.

    Args:
        address: of a running cluster ("auto", or "ray://HOST:PORT"); None starts Ray on this machine and stops it when
            `close` is called.
        cpus: how many of this machine's cores a Ray that is started here uses; default all.
    """

    def __init__(self, address: str | None = None, cpus: int | None = None):
        self._ray = _ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            options: dict[str, Any] = {"address": address, "log_to_driver": False, "include_dashboard": False}
            if address is None:
                options["num_cpus"] = cpus
            else:
                del options["include_dashboard"]
            try:
                self._ray.init(**options)
            except ConnectionError as error:
                raise StageError(
                    f"No Ray cluster answers at {address!r}: {error}. Start one, or leave out --address to start "
                    "Ray on this machine."
                ) from error

    def close(self) -> None:
        """Stop or leave the Ray that was started or joined here."""
        if self._started:
            self._ray.shutdown()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def check(self, pipeline: Pipeline) -> None:
        specs = self._shared(pipeline)
        gpus = min((spec.gpus for spec in specs if spec.gpus), default=0.0)
        # On the cluster: what is missing here may be there. With a GPU, or PyTorch would be shown none.
        ask = self._ray.remote(num_cpus=min(1.0, self._there("CPU")), num_gpus=gpus, max_retries=0)(_fault)
        if fault := self._ray.get(ask.remote(pipeline)):
            raise StageError(fault)

    def cut(self, pipeline: Pipeline, videos: Mapping[str, Path], store: Store, progress: Progress) -> None:
        rows = [{"key": key, "video": str(path), "error": ""} for key, path in videos.items()]
        actors = pipeline.cut_actors
        cpus = _rounded(min(1.0, self._there("CPU") / actors))
        self._run(rows, [self._operator(_Cut, (pipeline, store.folder), 1, actors, cpus)], "cut", progress)

    def annotate(self, pipeline: Pipeline, clips: Sequence[Clip], store: Store, progress: Progress) -> None:
        rows = [{"key": clip.key, "clip": clip.to_bytes(), "rejection": "", "error": ""} for clip in clips]
        operators = [
            self._operator(_Annotate, (spec,), spec.batch, spec.actors, spec.cpus, spec.gpus)
            for spec in self._shared(pipeline)
        ]
        operators.append(self._operator(_Keep, (store.folder, pipeline.seed), 1, 1, KEEPS))
        most = max(spec.batch for spec in pipeline.stages)
        self._run(rows, operators, "annotate", progress, most)

    def _there(self, kind: str) -> float:
        return self._ray.cluster_resources().get(kind, 0.0)

    def _shared(self, pipeline: Pipeline) -> list[StageSpec]:
        return with_shares(pipeline.stages, self._there("CPU"), self._there("GPU"))

    def _operator(self, maker, arguments, batch: int, actors: int, cpus: float = 1.0, gpus: float = 0.0):
        return {
            "fn_constructor_args": (maker, arguments),
            "batch_size": batch,
            "batch_format": "numpy",
            "zero_copy_batch": True,
            "compute": self._ray.data.ActorPoolStrategy(size=actors),
            "num_cpus": cpus,
            "num_gpus": gpus,
        }

    def _run(self, rows: list[dict[str, Any]], operators, what: str, progress: Progress, batch: int = 1) -> None:
        if not rows:
            return
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        if hasattr(context, "issue_detectors_config"):
            context.issue_detectors_config.detectors = []  # they warn of what is meant: actors that hold models
        dataset = self._ray.data.from_items(rows, override_num_blocks=-(-len(rows) // batch))
        for options in operators:
            dataset = dataset.map_batches(_Telling, **options)
        for done, row in enumerate(dataset.iter_rows(), start=1):
            if row["error"]:
                raise StageError(row["error"])
            progress(what, done, len(rows))


def _fault(pipeline: Pipeline) -> str:
    """Why a pipeline cannot work, in words; empty where it can."""
    try:
        pipeline.check()
    except StageError as error:
        return str(error)
    return ""


class _Telling:
    """An operator whose StageErrors become the column "error" of its rows, and go by the operators behind it.

    Ray wraps what its workers raise in errors of its own, without their cause, and tries again.
    """

    def __init__(self, maker: type, arguments: tuple):
        self._error = ""
        try:
            self._operator = maker(*arguments)
        except StageError as error:
            self._error = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        error = self._error or next(filter(None, map(str, batch["error"])), "")
        if not error:
            try:
                rows = self._operator(batch)
                return {**rows, "error": [""] * len(rows["key"])}
            except StageError as raised:
                error = str(raised)
        return {**{name: list(column) for name, column in batch.items()}, "error": [error] * len(batch["key"])}


class _Cut:
    """Cuts videos and keeps their clips; rows with the video's key come out."""

    def __init__(self, pipeline: Pipeline, folder: Path):
        self._cutter = pipeline.cutter()
        self._store = Store(folder)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        for key, video in zip(batch["key"], batch["video"], strict=True):
            self._store.add_cuts(str(key), self._cutter(str(video), str(key)))
        return {"key": list(batch["key"])}


class _Annotate:
    """One stage; a clip's errors are caught in `StageRunner` and come out as the row's rejection."""

    def __init__(self, spec: StageSpec):
        self._stage = StageRunner(spec.build())

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        clips = self._stage([Clip.from_bytes(content) for content in batch["clip"]])
        return {
            "key": [clip.key for clip in clips],
            "clip": [clip.to_bytes() for clip in clips],
            "rejection": [clip.rejection.reason if clip.rejection else "" for clip in clips],
        }


class _Keep:
    """Writes clips into the store; rows with the key and the reason come out."""

    def __init__(self, folder: Path, seed: int):
        self._store, self._seed = Store(folder), seed

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        for content in batch["clip"]:
            clip = Clip.from_bytes(content)
            if not self._store.is_done(clip.key):
                self._store.add_clip(clip, self._seed)
        return {"key": list(batch["key"]), "rejection": list(batch["rejection"])}


def with_shares(stages: Sequence[StageSpec], cpus: float, gpus: float) -> list[StageSpec]:
    """Stages each of which says what its actors occupy: what is not given to some is divided among the others.

    An actor gets one core and one GPU at most, and its share of a GPU is on one of them.

    Raises StageError where the cluster is too small for all actors: they would wait for ever.
    """
    given = KEEPS + sum(spec.cpus * spec.actors for spec in stages if spec.cpus is not None)
    sharing = sum(spec.actors for spec in stages if spec.cpus is None)
    core = _rounded(min(1.0, (cpus - given) / max(1, sharing)))
    if given > cpus + 1e-6 or (sharing and core <= 0):
        raise _no_room("CPU", given, sharing, cpus)
    used = [spec.gpus for spec in stages if spec.gpus for _ in range(spec.actors)]
    on_gpus = [spec for spec in stages if spec.gpus is None and spec.uses_gpu]
    sharing = sum(spec.actors for spec in on_gpus)
    part = _share_of_gpus(used, sharing, int(gpus))
    if part is None:
        raise _no_room("GPU", sum(used), sharing, gpus)
    return [
        replace(
            spec,
            cpus=core if spec.cpus is None else spec.cpus,
            gpus=part if spec in on_gpus else spec.gpus or 0.0,
        )
        for spec in stages
    ]


def _share_of_gpus(used: Sequence[float], actors: int, gpus: int) -> float | None:
    """What each of some actors can have of GPUs, beside what is `used` by each of the others; None without room."""
    free = [1.0] * gpus
    for share in sorted(used, reverse=True):
        for _ in range(max(1, math.ceil(share))):
            place = next((n for n, left in enumerate(free) if left >= min(1.0, share) - 1e-6), None)
            if place is None:
                return None
            free[place] -= min(1.0, share)
    if not actors:
        return 0.0
    shares = sorted({_rounded(left / parts) for left in free for parts in range(1, actors + 1)} - {0.0}, reverse=True)
    fitting = (one for one in shares if sum(int(left / one + 1e-6) for left in free) >= actors)
    return next(fitting, None)


def _rounded(share: float) -> float:
    """Down, to what Ray counts in."""
    return math.floor(share * 10_000 + 1e-6) / 10_000


def _no_room(kind: str, given: float, sharing: int, there: float) -> StageError:
    others = f" and a share of one for {sharing} others" if sharing else ""
    setting = f'"{kind.lower()}s": 0.2'
    advice = " With --device cpu models need none." if kind == "GPU" else ""
    return StageError(
        f"The stages need {given:g} {kind}s for actors whose shares are given{others}, but the cluster has {there:g}. "
        f"Give fewer actors, or smaller shares such as {setting}, in the configuration file.{advice}"
    )


def _ray():
    try:
        import ray
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.WARNING)
    except ImportError as error:
        raise StageError(f"The engine 'ray' needs the package {error.name}: {how_to_install('cluster')}.") from None
    return ray
