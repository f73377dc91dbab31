"""Training the judge on rendered scenes, degraded as a decoder would.

Run `python -m comfyui_wegen.models.evaluation.judge_training` to make the bundled weights again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import storybook
from ..metrics.recogniser import train_recogniser, wear
from ..storybook import COLOURS, COLUMNS, GROUNDS, KINDS, PATTERNS, ROWS, SIZES, SKIES, STYLES, Scene
from ..storybook.world import MOST_THINGS
from ..training.cpu import is_slow_in_bfloat16
from .judge import EMPTY, WEIGHTS, Judge, to_pixels

BATCH = 32
STEPS = 1800  # ten minutes of one core, or so
LEARNING_RATE = 2e-3
STYLED = 0.7  # share of the scenes that are drawn in any style
_NONE = -1  # target of a property where nothing stands


def targets(scenes: list[Scene]) -> dict[str, Tensor]:
    """What the judge has to say of each scene, as class indices; -1 where there is nothing to say."""
    places = (len(scenes), len(ROWS), len(COLUMNS))
    found = {name: torch.full(places, _NONE) for name in ("colour", "size", "pose", "pattern")}
    found["kind"] = torch.full(places, EMPTY)
    for number, scene in enumerate(scenes):
        for thing in scene.things:
            at = (number, thing.row, thing.column)
            found["kind"][at] = list(KINDS).index(thing.kind)
            found["colour"][at] = list(COLOURS).index(thing.colour)
            found["size"][at] = list(SIZES).index(thing.size)
            found["pattern"][at] = PATTERNS.index(thing.pattern)
            found["pose"][at] = KINDS[thing.kind].poses.index(thing.pose)
    found["ground"] = torch.tensor([GROUNDS.index(scene.ground) for scene in scenes])
    found["sky"] = torch.tensor([SKIES.index(scene.sky) for scene in scenes])
    found["style"] = torch.tensor([STYLES.index(scene.style) for scene in scenes])
    return found


def loss_of(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Sum of the cross entropies of all properties."""
    there = wanted["kind"] != EMPTY
    kinds = wanted["kind"][there]
    total = F.cross_entropy(logits["kind"].flatten(0, 2), wanted["kind"].flatten()) * 4  # most places are empty
    for name in ("colour", "size", "pattern"):
        total = total + F.cross_entropy(logits[name][there], wanted[name][there])
    total = total + F.cross_entropy(logits["pose"][there, kinds], wanted["pose"][there])
    return total + sum(F.cross_entropy(logits[name], wanted[name]) for name in ("ground", "sky", "style"))


def batch_at(seed: int, step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The degraded pictures and targets of one training step; the same for the same seed and step."""
    rng = Random(f"judge/{seed}/{step}")
    scenes = [storybook.sample_scene(rng, rng.choice((*range(MOST_THINGS), *(MOST_THINGS,) * 6))) for _ in range(BATCH)]
    scenes = [replace(scene, style=rng.choice(STYLES)) if rng.random() < STYLED else scene for scene in scenes]
    pictures = to_pixels(np.stack([storybook.render(scene) for scene in scenes]))
    return wear(pictures, torch.Generator().manual_seed(seed * 1_000_003 + step)), targets(scenes)


def train_judge(out: str | Path, steps: int = STEPS, seed: int = 0) -> Judge:
    """Train a judge and write its weights to `out`; see `train_recogniser`."""
    torch.manual_seed(seed)
    judge = Judge().to(memory_format=torch.channels_last).train()

    def loss_at(step: int) -> Tensor:
        pixels, wanted = batch_at(seed, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=not is_slow_in_bfloat16()):
            logits = judge(pixels.contiguous(memory_format=torch.channels_last))
        return loss_of({name: values.float() for name, values in logits.items()}, wanted)

    train_recogniser(judge, loss_at, out, steps, LEARNING_RATE)
    return judge


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the judge of storybook pictures.")
    parser.add_argument("out", nargs="?", type=Path, default=WEIGHTS, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train_judge(arguments.out, arguments.steps, arguments.seed)


if __name__ == "__main__":
    main()
