"""Kinds of things that the painters of the drawn world draw: which they are, and how their poses are called there."""

from collections.abc import Mapping
from types import MappingProxyType

from PIL import Image

from ..drawn_world.kinds import KINDS
from ..drawn_world.pen import OVERSAMPLING, Pen

Colour = tuple[int, int, int]

_SIDES = {"facing left": "facing left", "facing right": "facing left"}  # drawn to the left, and mirrored
_SAME: dict[str, str] = {}
BORROWED: Mapping[str, Mapping[str, str]] = MappingProxyType({
    **{kind: _SIDES for kind in ("dog", "rabbit", "horse", "duck", "snail", "turtle", "train", "bus", "bicycle",
                                 "aeroplane")},
    **{kind: _SAME for kind in ("person", "snowman", "tower", "tent", "lamp", "flag", "pumpkin", "apple", "cake")},
    "butterfly": {side: "with closed wings" for side in _SIDES},
    "kite": {side: "leaning left" for side in _SIDES},
    "child": {"waving": "jumping"},
    "castle": {"open": "with its gate open", "closed": "with its gate closed"},
    "cactus": {"blooming": "in bloom"},
})  # fmt: skip
"""For each kind the poses that have another name there."""

__all__ = ["BORROWED", "OVERSAMPLING", "ink_of"]


def ink_of(kind: str, colour: Colour, pose: str, width: int, height: int) -> Image.Image:
    """One thing in ink, RGBA, `OVERSAMPLING` times as large as its box of `width` x `height` pixels."""
    pen = Pen(width, height)
    KINDS[kind].paint(pen, colour, BORROWED[kind].get(pose, pose))
    return pen.canvas
