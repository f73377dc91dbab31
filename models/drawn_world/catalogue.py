"""What pictures are made of besides kinds: sizes, grounds, skies and drawing styles."""

from functools import cache
from types import MappingProxyType

from .kinds import KINDS
from .pen import box_sides

PICTURE_SIZE = 128  # pixels, both ways

SIZES = MappingProxyType({"small": 24, "medium": 33, "big": 46})  # longest side of the box, pixels

GROUNDS = ("meadow", "forest", "field", "beach", "sea", "lake", "snow", "desert", "mountains", "city")
SKIES = ("day", "dusk", "night", "fog", "rain", "rainbow")
STYLES = ("sticker", "outline", "wash", "mosaic")


@cache
def box_of(kind: str, size: str) -> tuple[int, int]:
    """Width and height in pixels, both even, of the box that a thing of this kind and size never leaves."""
    shape, pixels = KINDS[kind], SIZES[size]
    return box_sides(shape.width, shape.height, pixels)
