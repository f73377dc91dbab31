"""What one kind of thing is: how it may look, how it is drawn, where it likes to be, what may stand on or under it."""

from collections.abc import Callable
from dataclasses import dataclass

from ..palette import Colour
from ..pen import Pen

PLAIN = ("plain",)
PATTERNS = ("plain", "striped", "dotted")
FACING = ("facing left", "facing right")


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        paint: draws it with a pen, a colour and a pose. What has exactly the given colour is the body: patterns go
            there and nowhere else. Kinds that face a side are drawn facing left.
        width, height: sides of its box in units of its size; the longer one is 1.
        home: where it is at home: "sky" (far up), "air", "ground" or "water".
        grounds, skies: grounds and skies that it likes best; empty where it has no favourite.
        top: (y, left, right) of a surface that things can stand on, in units of the pen; None where there is none.
        shelter: (y, left, right) of the lower edge of a roof; things may stand under it, inside the box.
        shelter_poses: the poses in which it shelters; empty for all.
        climbs: whether it may stand on other things.
        clothes: whether its colour is that of what it wears.
    """

    name: str
    paint: Callable[[Pen, Colour, str], None]
    colours: tuple[str, ...]
    poses: tuple[str, ...] = ("",)
    patterns: tuple[str, ...] = PLAIN
    width: float = 1.0
    height: float = 1.0
    home: str = "ground"
    grounds: tuple[str, ...] = ()
    skies: tuple[str, ...] = ()
    top: tuple[float, float, float] | None = None
    shelter: tuple[float, float, float] | None = None
    shelter_poses: tuple[str, ...] = ()
    climbs: bool = False
    clothes: bool = False
