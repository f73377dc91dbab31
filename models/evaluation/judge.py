"""The judge: a small recogniser that reads storybook pictures, independent of the model whose pictures it reads.

It was trained on rendered scenes alone (see judge_training.py) and looks at each of the 5x4 named places by itself.
What it reads may be impossible in the storybook (a green cat, two things that overlap): that is the point of a judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..metrics import recogniser
from ..metrics.recogniser import block
from ..storybook import (
    COLOURS,
    COLUMNS,
    GROUNDS,
    KINDS,
    PATTERNS,
    PICTURE_SIZE,
    ROWS,
    SIZES,
    SKIES,
    STYLES,
    Mention,
    Named,
)
from ..storybook.catalogue import COLUMN_CENTRES, ROW_CENTRES

WEIGHTS = Path(__file__).with_name("judge.safetensors")
EMPTY = len(KINDS)  # the class of a place where nothing stands
_STRIDE = 4  # pixels from one cell of the judge's map to the next
_WINDOW = 10  # cells along one side of what is looked at around a place
_WIDTH = 128  # of what is kept of a place
_KIND_NAMES, _COLOUR_NAMES, _SIZE_NAMES = tuple(KINDS), tuple(COLOURS), tuple(SIZES)


@dataclass(frozen=True)
class Reading:
    """What a picture shows: everything that a caption could say of it.

    Attributes:
        named: ground, sky and all things with every property, from top to bottom and left to right.
        confidences: for each thing, the probability in 0..1 that kind, colour, size and pose are all as read.
        setting_confidence: the same for ground and sky together.
    """

    named: Named
    confidences: tuple[float, ...]
    setting_confidence: float


def _window_matrix(centres: Sequence[int]) -> Tensor:
    """Bilinear weights `[places * window, cells]` that cut a window around each centre out of one axis of the map."""
    cells = torch.arange(PICTURE_SIZE // _STRIDE)
    offsets = (torch.arange(_WINDOW) - (_WINDOW - 1) / 2) * _STRIDE
    # A thing's box is centred between two pixels, half a pixel before the place's centre.
    wanted = (torch.tensor(centres)[:, None] - 0.5 + offsets).flatten() / _STRIDE
    return (1 - (wanted[:, None] - cells).abs()).clamp(min=0)


class Judge(nn.Module):
    """Pictures to logits for every place, and for ground and sky."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            block(3, 24, 5, stride=2), block(24, 32), block(32, 48, stride=2), block(48, 64), block(64, 64)
        )
        self.look = nn.Sequential(
            block(64, 96, stride=2, padding=0), nn.Flatten(), nn.Linear(96 * 16, _WIDTH), nn.ReLU()
        )
        self.kind = nn.Linear(_WIDTH, EMPTY + 1)
        self.colour = nn.Linear(_WIDTH, len(COLOURS))
        self.size = nn.Linear(_WIDTH, len(SIZES))
        self.pose = nn.Linear(_WIDTH, 2 * len(KINDS))
        self.pattern = nn.Linear(_WIDTH, len(PATTERNS))
        self.setting = nn.Sequential(
            nn.AdaptiveAvgPool2d((8, 4)), nn.Flatten(), nn.Linear(64 * 32, 32), nn.ReLU(),
            nn.Linear(32, len(GROUNDS) + len(SKIES) + len(STYLES)),
        )  # fmt: skip
        self.register_buffer("row_windows", _window_matrix(ROW_CENTRES), persistent=False)
        self.column_windows: Tensor
        self.register_buffer("column_windows", _window_matrix(COLUMN_CENTRES), persistent=False)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures `[B, 3, 128, 128]` in -1..1 -> logits.

        Returns:
            `kind`, `colour`, `size`, `pattern` `[B, rows, columns, classes]`; the last class of `kind` is an empty
            place.
            `pose` `[B, rows, columns, kinds, 2]`: for each kind, its two poses. `ground`, `sky` and `style` are
            `[B, classes]`.
        """
        seen = self.trunk(pixels)
        windows = torch.einsum("bchw,yh,xw->bcyx", seen, self.row_windows, self.column_windows)
        windows = rearrange(
            windows, "b c (row y) (column x) -> (b row column) c y x", row=len(ROWS), column=len(COLUMNS)
        )
        looked = self.look(windows)
        places = rearrange(looked, "(b row column) c -> b row column c", row=len(ROWS), column=len(COLUMNS))
        ground, sky, style = self.setting(seen).split([len(GROUNDS), len(SKIES), len(STYLES)], dim=1)
        return {
            "kind": self.kind(places),
            "colour": self.colour(places),
            "size": self.size(places),
            "pose": self.pose(places).unflatten(-1, (len(KINDS), 2)),
            "pattern": self.pattern(places),
            "ground": ground,
            "sky": sky,
            "style": style,
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
            chances = {name: values.float().softmax(-1) for name, values in logits.items()}
            readings += [_reading({name: c[b] for name, c in chances.items()}) for b in range(len(logits["kind"]))]
        return readings

    def read_picture(self, picture: np.ndarray) -> Reading:
        """Read one uint8 picture `[H, W, 3]`."""
        return self.read_pictures([picture])[0]


def to_pixels(pictures: Sequence[np.ndarray] | np.ndarray) -> Tensor:
    """uint8 pictures `[H, W, 3]` -> what the judge takes, `[B, 3, 128, 128]` in -1..1."""
    return recogniser.to_pixels(pictures, PICTURE_SIZE)


def _reading(chances: dict[str, Tensor]) -> Reading:
    mentions, confidences = [], []
    sure, kinds = chances["kind"].max(-1)
    for row in range(len(ROWS)):
        for column in range(len(COLUMNS)):
            kind = int(kinds[row, column])
            if kind == EMPTY:
                continue
            name = _KIND_NAMES[kind]
            patterned = len(KINDS[name].patterns) > 1
            properties = [chances["colour"], chances["size"], chances["pose"][:, :, kind]]
            properties += [chances["pattern"]] if patterned else []
            best = [values[row, column].max(-1) for values in properties]
            colour, size, pose, *patterns = (int(index) for _, index in best)
            look = (_COLOUR_NAMES[colour], _SIZE_NAMES[size], KINDS[name].poses[pose])
            pattern = PATTERNS[patterns[0]] if any(patterns) else None
            mentions.append(Mention(name, *look, column, row, pattern))
            confidences.append(float(sure[row, column] * torch.stack([value for value, _ in best]).prod()))
    ground, sky, style = (chances[name].max(-1) for name in ("ground", "sky", "style"))
    number = int(style.indices)
    setting = GROUNDS[int(ground.indices)], SKIES[int(sky.indices)]
    named = Named(tuple(mentions), *setting, style=STYLES[number] if number else None)
    return Reading(named, tuple(confidences), float(ground.values * sky.values))


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
