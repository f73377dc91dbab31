"""One run from videos to shards, on this machine or on a cluster; both give the same shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from .clip import Clip
from .cutting import source_key
from .pipeline import Pipeline
from .stage import StageError, StageRunner, in_batches
from .store import Store

Progress = Callable[[str, int, int], None]
"""Is told what is being done ("cut" or "annotate"), how much is done, and of how much."""


class Engine(Protocol):
    """Where the stages run. What is done is kept in the store at once, so that a killed run loses little."""

    def check(self, pipeline: Pipeline) -> None:
        """Raise StageError where the stages could not work there; called before anything is done."""

    def cut(self, pipeline: Pipeline, videos: Mapping[str, Path], store: Store, progress: Progress) -> None:
        """Cut all videos, named by their keys."""

    def annotate(self, pipeline: Pipeline, clips: Sequence[Clip], store: Store, progress: Progress) -> None:
        """Put all clips through the stages."""


class LocalEngine:
    """A plain loop: a few clips at a time through all the stages."""

    def check(self, pipeline: Pipeline) -> None:
        pipeline.check()

    def cut(self, pipeline: Pipeline, videos: Mapping[str, Path], store: Store, progress: Progress) -> None:
        cutter = pipeline.cutter()
        for done, (key, path) in enumerate(videos.items(), start=1):
            store.add_cuts(key, cutter(str(path), key))
            progress("cut", done, len(videos))

    def annotate(self, pipeline: Pipeline, clips: Sequence[Clip], store: Store, progress: Progress) -> None:
        if not clips:
            return
        stages = [(StageRunner(spec.build()), spec.batch) for spec in pipeline.stages]
        done = 0
        for group in in_batches(clips, max(batch for _, batch in stages)):
            for stage, batch in stages:
                group = [clip for part in in_batches(group, batch) for clip in stage(part)]
            for clip in group:
                store.add_clip(clip, pipeline.seed)
            done += len(group)
            progress("annotate", done, len(clips))


def annotate_videos(
    videos: Iterable[Path],
    folder: str | Path,
    pipeline: Pipeline,
    engine: Engine | None = None,
    shard_size: int = 1000,
    progress: Progress = lambda what, done, total: None,
    leave_out_failed: bool = False,
) -> dict[str, int]:
    """From videos to shards in `folder`; returns counts: "videos", "clips", "used", "rejected", "samples".

    A run that was stopped goes on where it was when it is started again with the same settings: what is finished is not
    done twice. Copies of the same file count once.

    Raises ShardError for a folder that is finished or was begun with other settings; StageError for a stage that cannot
    work at all, before anything is done where that can be seen, and where a stage failed on clips. When the run goes on
    those are tried again, and with `leave_out_failed` the shards are made without those that fail then.
    """
    engine = engine or LocalEngine()
    keyed = {source_key(path): path for path in videos}
    store = Store(folder)
    engine.check(pipeline)
    about: dict[str, Any] = {"pipeline": pipeline.to_json(), "videos": len(keyed)}
    store.begin(about["pipeline"])
    engine.cut(pipeline, {key: path for key, path in keyed.items() if store.cuts(key) is None}, store, progress)
    # A run may go on from another folder than the one in which it was begun.
    clips = [replace(clip, source=str(path)) for key, path in keyed.items() for clip in store.cuts(key) or ()]
    waiting = [clip for clip in clips if not store.is_done(clip.key)]
    engine.annotate(pipeline, [clip for clip in waiting if clip.rejection is None], store, progress)
    for clip in waiting:
        if clip.rejection is not None:
            store.add_clip(clip, pipeline.seed)
    keys = [clip.key for clip in clips]
    if not leave_out_failed and (failed := store.failed(keys)):
        key, detail = next(iter(failed.items()))
        raise StageError(
            f"Stages failed on {len(failed)} of {len(keys)} clips, such as {key}: {detail}. All else is kept, and no "
            "shards are made yet: the same command tries these clips again, and with --leave-out-failed it makes "
            "shards without those that fail again."
        )
    return {"videos": len(keyed), **store.finish(keys, shard_size, about)}
