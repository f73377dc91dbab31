"""Everything of the drawn world on one sheet, for the eye."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .catalogue import GROUNDS, PICTURE_SIZE, SKIES, STYLES
from .drawing import render
from .kinds import THEMES, Kind
from .sampling import sample_scene
from .values import Scene, Thing

_MARGIN, _GAP, _LABEL = 16, 6, 16
_INK, _PAPER = "#2b2d42", "#fbf8f1"
_COLUMNS = 8


def _portraits(kind: Kind) -> Scene:
    """A kind in four looks: as much of its colours, poses, patterns and sizes as four can show."""
    things = []
    for number, (x, y, size) in enumerate(((36, 40, "big"), (92, 40, "big"), (38, 98, "medium"), (92, 98, "small"))):
        look = {
            name: values[number % len(values)]
            for name, values in (("colour", kind.colours), ("pose", kind.poses), ("pattern", kind.patterns))
        }
        things.append(Thing(kind.name, look["colour"], size, x, y, look["pose"], look["pattern"]))
    return Scene("snow", "day", tuple(things))


def _rows() -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    rows = []
    for theme, kinds in THEMES.items():
        rows.append((theme, [(kind.name, render(_portraits(kind))) for kind in kinds]))
    rows.append(("grounds", [(ground, render(Scene(ground, "day"))) for ground in GROUNDS]))
    rows.append(("skies", [(sky, render(Scene("lake", sky))) for sky in SKIES]))
    rng = Random(3)
    for style in STYLES:
        scenes = [sample_scene(rng, rng.choice((2, 3, 4)), style=style) for _ in range(_COLUMNS)]
        rows.append((f"style: {style}", [(f"{scene.ground}, {scene.sky}", render(scene)) for scene in scenes]))
    return rows


def contact_sheet(path: str | Path) -> None:
    """Write a picture of all kinds, grounds, skies and styles, in the format that the path's ending names."""
    font = ImageFont.load_default(12)
    cell, step = PICTURE_SIZE + _GAP, PICTURE_SIZE + _GAP + _LABEL
    rows = [(title, pictures[start : start + _COLUMNS]) for title, pictures in _rows()
            for start in range(0, len(pictures), _COLUMNS)]  # fmt: skip
    size = (2 * _MARGIN + _COLUMNS * cell - _GAP, 2 * _MARGIN + len(rows) * (step + _LABEL))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (title, pictures) in enumerate(rows):
        top = _MARGIN + row * (step + _LABEL)
        draw.text((_MARGIN, top), title, _INK, ImageFont.load_default(14))
        for column, (label, picture) in enumerate(pictures):
            left = _MARGIN + column * cell
            sheet.paste(Image.fromarray(picture), (left, top + _LABEL + 2))
            draw.text((left + 2, top + _LABEL + 2 + PICTURE_SIZE), label, _INK, font)
    sheet.save(path)
