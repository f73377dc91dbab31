"""Kinds of things that the painters of the drawn world draw: which they are, and how their poses are called there."""

from collections.abc import Mapping
from types import MappingProxyType

from PIL import Image, ImageChops

from ..drawn_world.kinds import KINDS
from ..drawn_world.palette import Colour
from ..drawn_world.pen import MARGIN, Pen

_SIDES = {"facing left": "facing left", "facing right": "facing left"}  # drawn to the left, and mirrored
_SAME: dict[str, str] = {}
BORROWED: Mapping[str, Mapping[str, str]] = MappingProxyType({
    **{kind: _SIDES for kind in ("dog", "rabbit", "horse", "duck", "snail", "turtle", "train", "bus", "bicycle",
                                 "aeroplane")},
    **{kind: _SAME for kind in ("person", "snowman", "tower", "tent", "lamp", "flag", "pumpkin", "apple", "cake")},
    "butterfly": {side: "with open wings" for side in _SIDES},
    "kite": {side: "leaning left" for side in _SIDES},
    "child": {"waving": "jumping"},
    "castle": {"open": "with its gate open", "closed": "with its gate closed"},
    "cactus": {"blooming": "in bloom"},
})  # fmt: skip
"""For each kind the poses that have another name there."""


LEANING = MappingProxyType({"butterfly": 35.0})
"""By how many degrees what has no side of its own is turned to face left."""


def ink_of(kind: str, colour: Colour, pose: str, box: tuple[int, int], scale: int) -> Image.Image:
    """One thing in ink, RGBA, `scale` times as large as its box: width and height in pixels.

    Some of the shapes stand out of their units. They are moved into the box, and drawn smaller where that is not
    enough.
    """
    room, lean = MARGIN * scale, LEANING.get(kind, 0.0)
    for share in (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.8, 0.75):
        pen = Pen(*box, scale)
        pen.unit *= share
        KINDS[kind].paint(pen, colour, BORROWED[kind].get(pose, pose))
        ink = pen.canvas.rotate(lean, expand=True) if lean else pen.canvas
        left, top, right, bottom = ink.getbbox()
        width, height = pen.canvas.size
        if right - left <= width - 2 * room and bottom - top <= height - 2 * room:
            break
    if lean:
        turned = Image.new("RGBA", (width, height))
        turned.paste(ink.crop((left, top, right, bottom)), ((width - right + left) // 2, (height - bottom + top) // 2))
        return turned
    across = min(max(left, room), width - room - (right - left)) - left
    down = min(max(top, room), height - room - (bottom - top)) - top
    return ImageChops.offset(ink, across, down)
