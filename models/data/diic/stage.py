"""What a stage is, and how a batch of clips goes through one: rejected clips pass by, and no error stops a run."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from ...errors import WeGenError
from .clip import Clip
from .reasons import REASONS


class StageError(WeGenError):
    """A stage that cannot work at all, such as one whose model is missing: it stops the run."""


@runtime_checkable
class Cutter(Protocol):
    """Finds the cuts of one video."""

    def __call__(self, source: str, key: str) -> list[Clip]:
        """The clips of a video, none of which has a cut in it; one rejected clip where there are none to be had.

        Never raises for a bad video.
        """


@runtime_checkable
class Stage(Protocol):
    """One step of the pipeline. `name` is what reports call it."""

    name: str

    def __call__(self, clips: Sequence[Clip]) -> Sequence[Clip]:
        """The same clips in the same order with more known about them, or with a rejection. None of those given is
        rejected. The outcome for a clip does not depend on the others of its batch."""


def run_stage(stage: Stage, clips: Sequence[Clip]) -> list[Clip]:
    """All clips after a stage; those rejected before are passed on as they are.

    Where the stage raises an error, its clips are tried one by one, so that only the one at fault is lost: it is
    rejected with the reason "stage_failed" and the end of the traceback. `StageError` and lack of memory are raised.
    """
    alive = [clip for clip in clips if clip.rejection is None]
    if not alive:
        return list(clips)
    begun = time.perf_counter()
    done = _attempt(stage, alive)
    if len(done) != len(alive) or any(a.key != b.key for a, b in zip(alive, done, strict=True)):
        raise StageError(f"The stage {stage.name!r} got {len(alive)} clips and gave back others.")
    for clip in done:
        if clip.rejection is not None and clip.rejection.reason not in REASONS:
            raise StageError(f"The stage {stage.name!r} rejects for an unknown reason {clip.rejection.reason!r}.")
    share = (time.perf_counter() - begun) / len(alive)
    timed = iter(replace(clip, seconds={**clip.seconds, stage.name: share}) for clip in done)
    return [next(timed) if clip.rejection is None else clip for clip in clips]


def _attempt(stage: Stage, clips: Sequence[Clip]) -> list[Clip]:
    try:
        return list(stage(clips))
    except (StageError, MemoryError):
        raise
    except Exception as error:  # whatever a bad clip makes a library raise: PyAV and OpenCV have errors of their own
        if _is_lack_of_memory(error):
            raise
        if len(clips) > 1:
            return [_attempt(stage, [clip])[0] for clip in clips]
        return [clips[0].rejected(stage.name, "stage_failed", words_of(error))]


def _is_lack_of_memory(error: BaseException) -> bool:
    return "out of memory" in str(error).lower()


def words_of(error: BaseException) -> str:
    """What kind of error, its words, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{words[:300]} ({place.filename.rsplit('/', 1)[-1]}, line {place.lineno})"


class StageRunner:
    """`run_stage`, until a stage fails on `patience` clips one after the other: then the stage is at fault.

    Raises StageError then, with the last error.
    """

    def __init__(self, stage: Stage, patience: int = 20):
        self._stage, self._patience, self._failed = stage, patience, 0

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        done = run_stage(self._stage, clips)
        for before, after in zip(clips, done, strict=True):
            if before.rejection is not None:
                continue
            failed = after.rejection is not None and after.rejection.reason == "stage_failed"
            self._failed = self._failed + 1 if failed else 0
            if self._failed >= self._patience:
                raise StageError(
                    f"The stage {self._stage.name!r} failed on {self._failed} clips one after the other, at last with: "
                    f"{after.rejection.detail}"
                )
        return done


def in_batches(clips: Iterable[Clip], size: int) -> Iterable[list[Clip]]:
    """Lists of `size` clips; the last may be shorter."""
    batch: list[Clip] = []
    for clip in clips:
        batch.append(clip)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
