"""Stages as slow as a model on a device of its own, to see what more of them bring."""

import time
from dataclasses import dataclass

from comfyui_wegen.models.data.diic.truth import NameFromTruth


@dataclass(frozen=True)
class WaitAndName(NameFromTruth):
    """Names from truth, after a time in which the processor is free for others."""

    seconds: float = 0.1

    def __call__(self, clips):
        time.sleep(self.seconds * len(clips))
        return super().__call__(clips)
