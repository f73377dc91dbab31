"""Stages of one's own: as slow as a model on a device of its own, without memory at times, and one that cannot work."""

import time
from dataclasses import dataclass
from pathlib import Path

from comfyui_wegen.models.data.diic.stage import StageError
from comfyui_wegen.models.data.diic.truth import NameFromTruth


@dataclass(frozen=True)
class WaitAndName(NameFromTruth):
    """Names from truth, after a time in which the processor is free for others."""

    seconds: float = 0.1

    def __call__(self, clips):
        time.sleep(self.seconds * len(clips))
        return super().__call__(clips)


@dataclass(frozen=True)
class LacksMemory(NameFromTruth):
    """Names from truth, but for the clips of one film as long as a file is there."""

    film: str = ""
    while_there: str = ""

    def __call__(self, clips):
        if Path(self.while_there).exists() and any(Path(clip.source).name == self.film for clip in clips):
            raise MemoryError("too little")
        return super().__call__(clips)


class Fails:
    """A stage that cannot work, as is seen when it is "checked", "made" or "called"."""

    name = "name"

    def __init__(self, when="called", device="cpu"):
        self._when = when
        self._reach("made")

    @staticmethod
    def check(when="called", device="cpu"):
        if when == "checked":
            raise StageError("fails when it is checked")

    def _reach(self, moment):
        if moment == self._when:
            raise StageError(f"fails when it is {moment}")

    def __call__(self, clips):
        self._reach("called")
        return clips
