"""The stages as operators of Ray Data: a pool of actors for each, on one machine or on many.

One clip is one row: its key, the clip itself, and why it was rejected. Ray moves rows between machines, holds back
stages whose output is not taken, and does anew what a dead worker had in hand. The last operator writes each clip into
the store, whose folder all machines must see.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import how_to_install
from .clip import Clip
from .pipeline import Pipeline, StageSpec
from .run import Progress
from .stage import StageError, StageRunner
from .store import Store


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

    def cut(self, pipeline: Pipeline, videos: Mapping[str, Path], store: Store, progress: Progress) -> None:
        rows = [{"key": key, "video": str(path)} for key, path in videos.items()]
        self._run(rows, [self._operator(_Cut, (pipeline, store.folder), 1, pipeline.cut_actors)], "cut", progress)

    def annotate(self, pipeline: Pipeline, clips: Sequence[Clip], store: Store, progress: Progress) -> None:
        _check_room(self._ray, pipeline)
        rows = [{"key": clip.key, "clip": clip.to_bytes(), "rejection": ""} for clip in clips]
        operators = [
            self._operator(_Annotate, (spec,), spec.batch, spec.actors, spec.cpus, spec.gpus)
            for spec in pipeline.stages
        ]
        operators.append(self._operator(_Keep, (store.folder, pipeline.seed), 1, 1, 0.1))
        most = max(spec.batch for spec in pipeline.stages)
        self._run(rows, operators, "annotate", progress, most)

    def _operator(self, maker, arguments, batch: int, actors: int, cpus: float = 1.0, gpus: float = 0.0):
        return maker, {
            "fn_constructor_args": arguments,
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
        for maker, options in operators:
            dataset = dataset.map_batches(maker, **options)
        for done, _ in enumerate(dataset.iter_rows(), start=1):
            progress(what, done, len(rows))


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
    """One stage; errors are caught in `StageRunner` and come out as the row's rejection."""

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


def _check_room(ray, pipeline: Pipeline) -> None:
    """Raise StageError where the cluster is too small for one actor of each stage: it would wait for ever."""
    there = ray.cluster_resources()
    for name, needed in (
        ("CPU", sum(spec.cpus * spec.actors for spec in pipeline.stages) + 0.1),
        ("GPU", sum(spec.gpus * spec.actors for spec in pipeline.stages)),
    ):
        if needed > there.get(name, 0) + 1e-6:
            raise StageError(
                f"The stages need {needed:g} {name}s for their actors, but the cluster has {there.get(name, 0):g}. "
                'Give fewer actors, or smaller shares such as "cpus": 0.2, in the configuration file.'
            )


def _ray():
    try:
        import ray
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.WARNING)
    except ImportError as error:
        raise StageError(f"The engine 'ray' needs the package {error.name}: {how_to_install('cluster')}.") from None
    return ray
