"""What scenes are made of besides kinds: sizes, places, grounds, skies and drawing styles.

Everything here can be said in a description (see description.py); nothing else is ever drawn, except where exactly
inside its place a thing lies.
"""

from bisect import bisect_right
from functools import cache
from types import MappingProxyType

from .kinds import KINDS

PICTURE_SIZE = 128  # pixels, both ways

SIZES = MappingProxyType({"small": 24, "medium": 33, "big": 46})  # longest side of the box, pixels

COLUMNS = ("far left", "left", "middle", "right", "far right")
ROWS = ("top", "upper", "lower", "bottom")
COLUMN_EDGES = (34, 54, 74, 94)  # pixels; a thing's centre decides
ROW_EDGES = (39, 64, 89)

GROUNDS = ("meadow", "forest", "field", "beach", "sea", "lake", "snow", "desert", "mountains", "city")
SKIES = ("day", "dusk", "night", "fog", "rain", "rainbow")
STYLES = ("sticker", "outline", "wash", "mosaic")


@cache
def box_of(kind: str, size: str) -> tuple[int, int]:
    """Width and height in pixels, both even, of the box that a thing of this kind and size never leaves."""
    shape, pixels = KINDS[kind], SIZES[size]
    return 2 * round(shape.width * pixels / 2), 2 * round(shape.height * pixels / 2)


def place_of(x: float, y: float) -> tuple[int, int]:
    """Column and row, as indices, of a centre in pixels."""
    return bisect_right(COLUMN_EDGES, x), bisect_right(ROW_EDGES, y)


def clearance(x: float, y: float) -> float:
    """How many pixels a centre is away from the nearest border between two places."""
    return min(*(abs(x - edge) for edge in COLUMN_EDGES), *(abs(y - edge) for edge in ROW_EDGES))


def place_centre(column: int, row: int) -> tuple[int, int]:
    """The middle of a place, in pixels, for things of any size."""
    edges_x, edges_y = (14, *COLUMN_EDGES, 114), (14, *ROW_EDGES, 114)
    return (edges_x[column] + edges_x[column + 1]) // 2, (edges_y[row] + edges_y[row + 1]) // 2
