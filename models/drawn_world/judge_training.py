"""Training the judge on rendered scenes, worn as a decoder wears its pictures.

Run `python -m comfyui_wegen.models.drawn_world.judge_training` to make the bundled weights again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.recogniser import train_recogniser, wobble
from .catalogue import GROUNDS, SIZES, SKIES, STYLES, box_of
from .drawing import render, visible_shares
from .judge import CELLS, LOOKS, SETTINGS, STRIDE, WEIGHTS, Judge, compare, to_pixels
from .kinds import KINDS
from .sampling import sample_look, sample_scene
from .values import MOST_THINGS, Scene, Thing, held

BATCH = 32
STEPS = 5000  # half an hour of one quiet core
LEARNING_RATE = 2e-3
LEAST_VISIBLE = 0.45  # of a thing that the judge is taught to see
_NONE = -1  # target of a cell in which nothing has to be said
_NEAR = 1.3  # cells from the middle of a thing within which its look is learnt


def sample_crowd(rng: Random) -> Scene:
    """Things anywhere, without sense, that hide each other at most a little: the hard cases, made fast."""
    things: list[Thing] = []
    for _ in range(rng.randint(3, 24)):
        kind = rng.choice(tuple(KINDS))
        look = sample_look(rng, kind, size=rng.choice(tuple(SIZES)))
        width, height = box_of(kind, look["size"])
        thing = Thing(kind, x=64, y=64, **look).at(*held(kind, look["size"], rng.randint(0, 128), rng.randint(0, 128)))
        room = rng.choice((0.3, 0.6, 0.9, 1.0))
        clear = all(
            abs(thing.x - other.x) > room * (width + other.box[2] - other.box[0]) / 2
            or abs(thing.y - other.y) > room * (height + other.box[3] - other.box[1]) / 2
            for other in things
        )
        if clear and len(things) < MOST_THINGS:
            things.append(thing)
    return Scene(rng.choice(GROUNDS), rng.choice(SKIES), tuple(things), rng.choice(STYLES))


def scenes_at(seed: int, step: int, batch: int = BATCH) -> list[Scene]:
    """The scenes of one training step; the same for the same seed and step."""
    rng = Random(f"judge/{seed}/{step}")
    return [
        sample_crowd(rng) if rng.random() < 0.7 else sample_scene(rng, style=rng.choice(STYLES)) for _ in range(batch)
    ]


def targets(scenes: list[Scene]) -> dict[str, Tensor]:
    """What the judge has to say of each scene.

    Returns:
        `there` `[B, 32, 32]` in 0..1, 1 where a middle is and less around it, -1 where a thing is hidden too much to be
        sure; `offset` `[B, 2, 32, 32]`; class indices, -1 where there is nothing to say, for each part of the look
        `[B, 32, 32]` and for each setting `[B]`.
    """
    batch = len(scenes)
    there = torch.zeros(batch, CELLS, CELLS)
    offset = torch.zeros(batch, 2, CELLS, CELLS)
    nearest = torch.full((batch, CELLS, CELLS), torch.inf)
    found = {name: torch.full((batch, CELLS, CELLS), _NONE) for name in LOOKS}
    rows, columns = torch.meshgrid(torch.arange(CELLS) + 0.5, torch.arange(CELLS) + 0.5, indexing="ij")
    hidden: list[tuple[int, Tensor]] = []
    for number, scene in enumerate(scenes):
        for thing, share in zip(scene.things, visible_shares(scene), strict=True):
            across, down = thing.x / STRIDE - columns, thing.y / STRIDE - rows
            distance = torch.hypot(across, down)
            if share < LEAST_VISIBLE:
                hidden.append((number, distance < 3))
                continue
            there[number] = torch.maximum(there[number], torch.exp(-(distance**2) / 1.6))
            there[number, min(thing.y // STRIDE, CELLS - 1), min(thing.x // STRIDE, CELLS - 1)] = 1.0
            own = (distance < _NEAR) & (distance < nearest[number])
            nearest[number][own] = distance[own]
            offset[number, 0][own], offset[number, 1][own] = across[own], down[own]
            for name, values in LOOKS.items():
                found[name][number][own] = values.index(getattr(thing, name))
    for number, area in hidden:
        there[number][area & (there[number] < 0.99)] = -1.0
    settings = {
        name: torch.tensor([values.index(getattr(scene, name)) for scene in scenes])
        for name, values in SETTINGS.items()
    }
    return {"there": there, "offset": offset, **found, **settings}


def loss_of(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """The focal loss of CenterNet (Zhou 2019) for where things are, and cross entropies for what they are."""
    there, goal = logits["there"][:, 0], wanted["there"]
    chance = there.sigmoid().clamp(1e-4, 1 - 1e-4)
    middle = goal == 1
    hit = (1 - chance[middle]) ** 2 * chance[middle].log()
    empty = (goal >= 0) & ~middle
    miss = (1 - goal[empty]) ** 4 * chance[empty] ** 2 * (1 - chance[empty]).log()
    total = -(hit.sum() + miss.sum()) / middle.sum().clamp(min=1)
    near = wanted["kind"] != _NONE
    if near.any():
        for name in LOOKS:
            said = logits[name].permute(0, 2, 3, 1)[near]
            total = total + F.cross_entropy(said, wanted[name][near])
        moved = logits["offset"].permute(0, 2, 3, 1)[near] - wanted["offset"].permute(0, 2, 3, 1)[near]
        total = total + moved.abs().mean()
    return total + sum(F.cross_entropy(logits[name], wanted[name]) for name in SETTINGS) / 2


def wear(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Make rendered pictures `[B, 3, H, W]` in -1..1 look as if a VAE and a sampler had made them.

    Each picture gets its own mix of blur, smearing over coarse cells, wobbling lines, noise, and a shift of colour,
    contrast and brightness; about one in four stays clean.
    """
    batch = len(pixels)

    def draw() -> Tensor:
        return torch.rand(batch, 1, 1, 1, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator)

    worn = wobble(pixels, normal(2, 8, 8) * draw() * 0.005)
    soft = F.avg_pool2d(F.pad(worn, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    worn = torch.lerp(worn, soft, draw() * 0.9)
    coarse = F.interpolate(F.avg_pool2d(worn, 2), scale_factor=2, mode="bilinear")
    worn = torch.lerp(worn, coarse, draw() ** 2 * 0.7)
    blotches = F.interpolate(normal(3, 16, 16), scale_factor=8, mode="bilinear")
    worn = worn + blotches * draw() ** 2 * 0.07 + normal(*pixels.shape[1:]) * draw() ** 2 * 0.07
    worn = worn * (1 + normal(1, 1, 1) * 0.05) + normal(1, 1, 1) * 0.04 + normal(3, 1, 1) * 0.02
    return torch.where(draw() < 0.25, pixels, worn).clamp(-1, 1)


def accuracy(judge: Judge, scenes: list[Scene]) -> dict[str, float]:
    """Shares of what the judge reads right in clean pictures of scenes: of all things, settings and whole scenes.

    "extra" is the number of things seen that are not there, for each thing that is.
    """
    readings = judge.read_pictures([render(scene) for scene in scenes])
    verdicts = [compare(reading, scene) for reading, scene in zip(readings, scenes, strict=True)]
    shares = {}
    for name in (*LOOKS, "look", "place"):
        answers = [answer for verdict in verdicts for answer in verdict.right(name)]
        shares[name] = float(np.mean(answers))
    for name in SETTINGS:
        shares[name] = float(np.mean([verdict.settings[name] for verdict in verdicts]))
    things = sum(len(scene.things) for scene in scenes)
    shares["extra"] = sum(verdict.extra for verdict in verdicts) / max(things, 1)
    shares["scene"] = float(np.mean([verdict.all_right for verdict in verdicts]))
    return shares


def held_out_scenes(count: int, seed: int = 0) -> list[Scene]:
    """Scenes as the world draws them, in all styles, none of which training has seen."""
    rng = Random(f"judge held out/{seed}")
    return [sample_scene(rng, style=STYLES[number % len(STYLES)]) for number in range(count)]


def train_judge(out: str | Path, steps: int = STEPS, seed: int = 0) -> Judge:
    """Train a judge and write its weights to `out`; see `train_recogniser`."""
    torch.manual_seed(seed)
    judge = Judge().to(memory_format=torch.channels_last).train()

    def loss_at(step: int) -> Tensor:
        scenes = scenes_at(seed, step)
        pixels = wear(
            to_pixels([render(scene) for scene in scenes]), torch.Generator().manual_seed(seed * 1_000_003 + step)
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits = judge(pixels.contiguous(memory_format=torch.channels_last))
        return loss_of({name: values.float() for name, values in logits.items()}, targets(scenes))

    def report() -> None:
        print(_numbers(accuracy(judge, held_out_scenes(100))), flush=True)

    train_recogniser(judge, loss_at, out, steps, LEARNING_RATE, gradient_limit=5.0, on_save=report)
    print(_numbers(accuracy(judge, held_out_scenes(1000, seed=1))), flush=True)
    return judge


def _numbers(shares: dict[str, float]) -> str:
    return "  " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items())


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the judge of drawn pictures.")
    parser.add_argument("out", nargs="?", type=Path, default=WEIGHTS, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train_judge(arguments.out, arguments.steps, arguments.seed)


if __name__ == "__main__":
    main()
