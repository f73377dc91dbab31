"""The judge: a small recogniser of drawn pictures, independent of the model whose pictures it reads.

It was trained on rendered scenes alone (see judge_training.py). Each cell of a grid says whether the middle of a thing
lies in it, and what that thing looks like. What it reads may be impossible in the drawn world (a green cat): that is
the point of a judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..metrics import recogniser
from ..metrics.recogniser import block
from .catalogue import GROUNDS, PICTURE_SIZE, SIZES, SKIES, STYLES, place_of
from .kinds import KINDS, PATTERNS
from .palette import COLOURS
from .spatial import holds
from .values import Scene, Thing, held

WEIGHTS = Path(__file__).with_name("judge.safetensors")
STRIDE = 4  # pixels from one cell to the next
CELLS = PICTURE_SIZE // STRIDE
SURE = 0.3  # from this probability on there is a thing

POSES = tuple(sorted({pose for kind in KINDS.values() for pose in kind.poses}))
# What is said of a thing in a cell, and the values that it can have.
LOOKS: dict[str, tuple[str, ...]] = {
    "kind": tuple(KINDS), "colour": tuple(COLOURS), "size": tuple(SIZES), "pose": POSES, "pattern": PATTERNS,
}  # fmt: skip
SETTINGS: dict[str, tuple[str, ...]] = {"ground": GROUNDS, "sky": SKIES, "style": STYLES}


@dataclass(frozen=True)
class Sight:
    """One thing that was seen: its look, its middle in pixels, and the probability that all of its look is right."""

    kind: str
    colour: str
    size: str
    pose: str
    pattern: str
    x: float
    y: float
    confidence: float

    @property
    def look(self) -> tuple[str, str, str, str, str]:
        return self.kind, self.colour, self.size, self.pose, self.pattern

    @property
    def place(self) -> tuple[int, int]:
        """Column and row."""
        return place_of(round(self.x), round(self.y))


@dataclass(frozen=True)
class Reading:
    """What a picture shows, its things from top to bottom and left to right."""

    ground: str
    sky: str
    style: str
    things: tuple[Sight, ...]
    setting_confidence: float

    def to_scene(self) -> Scene | None:
        """The scene that was seen; None where the drawn world has none like it (a green cat, two in one place)."""
        try:
            things = [Thing(s.kind, s.colour, s.size, *held(s.kind, s.size, s.x, s.y), s.pose, s.pattern)
                      for s in self.things]  # fmt: skip
            return Scene(self.ground, self.sky, tuple(_in_depth(things)), self.style)
        except ValueError:
            return None


def _in_depth(things: list[Thing]) -> list[Thing]:
    """The things, those that stand on another or under its roof before it."""
    settled = sorted(things, key=lambda thing: -thing.box[3])
    for number, guest in enumerate(settled):
        for host in settled[:number]:
            scene = Scene("meadow", "day", (host, replace(guest, depth=host.depth + 1)))
            if any(holds(scene, name, scene.things[1], host) for name in ("on", "under")):
                settled[number] = scene.things[1]
    return settled


class Judge(nn.Module):
    """Pictures to logits for every cell, and for ground, sky and style."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(block(3, 24, 5, stride=2), block(24, 40), block(40, 72, stride=2), block(72, 80))
        self.coarse = nn.Sequential(block(80, 112, stride=2), block(112, 112), block(112, 112), block(112, 96))
        self.join = nn.Sequential(block(80 + 96, 80, 1), block(80, 112), block(112, 160, 1))
        self.heads = nn.Conv2d(160, 3 + sum(map(len, LOOKS.values())), 1)
        self.page = nn.Sequential(
            block(96, 24, 1), nn.AdaptiveAvgPool2d((8, 4)), nn.Flatten(), nn.Linear(24 * 32, 64), nn.ReLU(),
            nn.Linear(64, sum(map(len, SETTINGS.values()))),
        )  # fmt: skip
        nn.init.constant_(self.heads.bias[:1], -4.0)  # most cells are empty

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures `[B, 3, 128, 128]` in -1..1 -> logits.

        Returns:
            `there` `[B, 1, 32, 32]`; `offset` `[B, 2, 32, 32]`, x and y of the middle from the centre of the cell, in
            cells; `kind`, `colour`, `size`, `pose`, `pattern` `[B, values, 32, 32]`; `ground`, `sky`, `style`
            `[B, values]`.
        """
        fine = self.fine(pixels)
        coarse = self.coarse(fine)
        wide = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        cells = self.heads(self.join(torch.cat([fine, wide], dim=1)))
        parts = cells.split([1, 2, *map(len, LOOKS.values())], dim=1)
        page = self.page(coarse).split([*map(len, SETTINGS.values())], dim=1)
        return {
            **dict(zip(("there", "offset", *LOOKS), parts, strict=True)),
            **dict(zip(SETTINGS, page, strict=True)),
        }

    @torch.no_grad()
    def read_pictures(self, pictures: Sequence[np.ndarray] | np.ndarray) -> list[Reading]:
        """Read uint8 pictures `[H, W, 3]`, of any number; other sizes than 128x128 are resized first.

        Raises:
            ValueError: a picture of another shape or type.
        """
        readings: list[Reading] = []
        for start in range(0, len(pictures), 64):
            logits = self(to_pixels(pictures[start : start + 64]))
            readings += _readings({name: values.float() for name, values in logits.items()})
        return readings

    def read_picture(self, picture: np.ndarray) -> Reading:
        """Read one uint8 picture `[H, W, 3]`."""
        return self.read_pictures([picture])[0]


def to_pixels(pictures: Sequence[np.ndarray] | np.ndarray) -> Tensor:
    """uint8 pictures `[H, W, 3]` -> what the judge takes, `[B, 3, 128, 128]` in -1..1."""
    return recogniser.to_pixels(pictures, PICTURE_SIZE)


def _readings(logits: dict[str, Tensor]) -> list[Reading]:
    there = logits["there"][:, 0].sigmoid()
    peaks = (there == F.max_pool2d(there[:, None], 3, 1, 1)[:, 0]) & (there >= SURE)
    chances = {name: logits[name].softmax(dim=1) for name in (*LOOKS, *SETTINGS)}
    readings = []
    for number in range(len(there)):
        found = [_sight(logits, chances, number, int(y), int(x)) for y, x in peaks[number].nonzero()]
        found.sort(key=lambda sight: (sight.place[1], sight.place[0], sight.x))
        best = {name: chances[name][number].max(dim=0) for name in SETTINGS}
        named = {name: SETTINGS[name][int(value.indices)] for name, value in best.items()}
        sure = float(torch.stack([value.values for value in best.values()]).prod())
        readings.append(Reading(**named, things=tuple(found), setting_confidence=sure))
    return readings


def _sight(logits: dict[str, Tensor], chances: dict[str, Tensor], number: int, row: int, column: int) -> Sight:
    sure = float(logits["there"][number, 0, row, column].sigmoid())
    look: dict[str, str] = {}
    for name, values in LOOKS.items():
        levels = chances[name][number, :, row, column]
        if name in ("pose", "pattern"):  # of those that the kind has
            about = KINDS[look["kind"]]
            possible = about.poses if name == "pose" else about.patterns
            allowed = torch.tensor([value in possible for value in values])
            levels = levels.where(allowed, torch.zeros(()))
            levels = levels / levels.sum().clamp(min=1e-9)
        best = levels.max(dim=0)
        look[name] = values[int(best.indices)]
        sure *= float(best.values)
    x, y = (float(value) for value in logits["offset"][number, :, row, column])
    return Sight(**look, x=(column + 0.5 + x) * STRIDE, y=(row + 0.5 + y) * STRIDE, confidence=sure)


@dataclass(frozen=True)
class Verdict:
    """How a picture compares with the scene that it should show; pairs are things that belong together.

    Attributes:
        pairs: index in `scene.things` and what was seen of it; None where nothing was.
        extra: how many things were seen that the scene does not have.
        settings: for ground, sky and style, whether each is right.
    """

    scene: Scene
    pairs: tuple[tuple[int, Sight | None], ...]
    extra: int
    settings: dict[str, bool]

    def right(self, name: str) -> list[bool]:
        """For each thing, whether "kind", "colour", "size", "pose", "pattern", "place" or "look" (all but place) is."""
        answers = []
        for index, sight in self.pairs:
            thing = self.scene.things[index]
            if sight is None:
                answers.append(False)
            elif name == "place":  # two pixels over a border are no other place
                answers.append(max(abs(sight.x - thing.x), abs(sight.y - thing.y)) <= 3 or sight.place == thing.place)
            else:
                answers.append(getattr(sight, name) == getattr(thing, name))
        return answers

    @property
    def all_right(self) -> bool:
        return self.extra == 0 and all(self.settings.values()) and all(self.right("look") + self.right("place"))


def compare(reading: Reading, scene: Scene, farthest: float = 20) -> Verdict:
    """Match what was seen with the things of a scene: nearest first, those of the same kind before others.

    `farthest` is the distance in pixels up to which two belong together.
    """
    costs = sorted(
        (
            ((sight.x - thing.x) ** 2 + (sight.y - thing.y) ** 2) ** 0.5 + 1000 * (sight.kind != thing.kind),
            index,
            number,
        )
        for index, thing in enumerate(scene.things)
        for number, sight in enumerate(reading.things)
    )
    taken: dict[int, int] = {}
    for cost, index, number in costs:
        if cost % 1000 <= farthest and index not in taken and number not in taken.values():
            taken[index] = number
    pairs = tuple(
        (index, reading.things[taken[index]] if index in taken else None) for index in range(len(scene.things))
    )
    settings = {name: getattr(reading, name) == getattr(scene, name) for name in SETTINGS}
    return Verdict(scene, pairs, len(reading.things) - len(taken), settings)


def load_judge(path: str | Path = WEIGHTS) -> Judge:
    """The trained judge, ready to read.

    Raises:
        CheckpointError: there is no such file, or it is not a judge's.
    """
    return recogniser.load_recogniser(Judge(), path)


@cache
def bundled_judge() -> Judge:
    """The judge that comes with the project."""
    return load_judge()
