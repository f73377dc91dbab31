"""What one kind of thing is: how it may look, how it is drawn, where it is at home."""

from collections.abc import Callable
from dataclasses import dataclass

from ..palette import Colour
from ..pen import Pen

FACING = ("facing left", "facing right")


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        paint: draws it with a pen, a colour and a pose. What has exactly the given colour is the body: patterns go
            there and nowhere else. Kinds that face a side are drawn facing left.
        width, height: sides of its box in units of its size; the longer one is 1.
        home: where it is at home: "sky" (far up), "air", "ground" or "water".
    """

    name: str
    paint: Callable[[Pen, Colour, str], None]
    colours: tuple[str, ...]
    poses: tuple[str, ...] = ("",)
    width: float = 1.0
    height: float = 1.0
    home: str = "ground"
