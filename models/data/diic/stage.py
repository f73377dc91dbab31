"""What a stage is, and how a batch of clips goes through one: rejected clips pass by, and no error stops a run."""

from __future__ import annotations

import gc
import operator
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from ...errors import WeGenError, is_out_of_memory
from .clip import Clip
from .reasons import FAILED, REASONS


class StageError(WeGenError):
    """A stage that cannot work at all, such as one whose model is missing: it stops the run."""


def require(stage: Any, above: Mapping[str, float], at_least: Mapping[str, float]) -> None:
    """Raise StageError for settings of a stage that are not above, or below, a limit. A list needs a number at least,
    and all of them are compared."""
    for words, limits, right in (("above", above, operator.gt), ("at least", at_least, operator.ge)):
        for name, limit in limits.items():
            value = getattr(stage, name)
            values = value if isinstance(value, tuple) else (value,)
            if not values or not all(right(one, limit) for one in values):
                what = "a list of numbers, all" if isinstance(value, tuple) else "a number"
                raise StageError(f"{name!r} of {type(stage).__name__} is {what} {words} {limit:g}, got {value!r}.")


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
    rejected with the reason "stage_failed" and the end of the traceback, or with "out_of_memory" where it lacks memory
    a second time too, after what can be given back was given back. `StageError` is raised.
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


def _attempt(stage: Stage, clips: Sequence[Clip], again: bool = True) -> list[Clip]:
    """The clips after the stage; `again`: a clip that lacks memory is tried once more."""
    try:
        return list(stage(clips))
    except StageError:
        raise
    except Exception as error:  # whatever a bad clip makes a library raise: PyAV and OpenCV have errors of their own
        short, words = is_out_of_memory(error), words_of(error)
    # Not among the lines above: as long as the error is there, it holds what the stage had in hand.
    if short:
        _free_memory()
    if len(clips) > 1:
        return [_attempt(stage, [clip])[0] for clip in clips]
    if short and again:
        return _attempt(stage, clips, again=False)
    return [clips[0].rejected(stage.name, "out_of_memory" if short else "stage_failed", words)]


def _free_memory() -> None:
    """Give back what is no longer used, also what PyTorch keeps on GPUs where a stage uses it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def words_of(error: BaseException) -> str:
    """What kind of error, its words, and where it was raised."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{words[:300]} ({place.filename.rsplit('/', 1)[-1]}, line {place.lineno})"


class StageRunner:
    """`run_stage`, until a stage fails on `patience` clips one after the other: then the stage is at fault.

    Raises StageError then, with the last error, and where memory was lacking with what to do about it.
    """

    def __init__(self, stage: Stage, patience: int = 20):
        self._stage, self._patience, self._failed = stage, patience, 0

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        done = run_stage(self._stage, clips)
        for before, after in zip(clips, done, strict=True):
            if before.rejection is not None:
                continue
            failed = after.rejection is not None and after.rejection.reason in FAILED
            self._failed = self._failed + 1 if failed else 0
            if self._failed >= self._patience:
                raise StageError(
                    f"The stage {self._stage.name!r} failed on {self._failed} clips one after the other, at last with: "
                    f"{after.rejection.detail}{_MEMORY if after.rejection.reason == 'out_of_memory' else ''}"
                )
        return done


_MEMORY = (
    '. Give it more memory, or let it do less at once: a smaller "at_once" or "side" in its options, a smaller model, '
    "--precision bf16, or fewer actors that share a GPU."
)


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
