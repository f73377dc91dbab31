"""What the storybook world is made of: kinds, colours, sizes, poses, patterns, places, grounds, skies and styles.

Everything here can be said in a caption (see captions.py); nothing else is ever drawn, except a jitter of one pixel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..drawn_world.pen import box_sides

PICTURE_SIZE = 128  # pixels, both ways

# Not those of the drawn world: the bundled weights were trained on exactly these.
COLOURS = MappingProxyType(
    {
        "red": (222, 58, 54),
        "orange": (246, 142, 38),
        "yellow": (252, 214, 66),
        "green": (74, 164, 84),
        "blue": (54, 116, 214),
        "purple": (136, 78, 184),
        "pink": (246, 146, 190),
        "white": (248, 247, 242),
        "brown": (140, 92, 58),
        "black": (58, 58, 70),
    }
)

SIZES = MappingProxyType({"small": 22, "medium": 28, "big": 34})  # longest side of the box, pixels

COLUMNS = ("far left", "left", "middle", "right", "far right")
ROWS = ("top", "upper", "lower", "bottom")
COLUMN_CENTRES = (18, 41, 64, 87, 110)  # pixels
ROW_CENTRES = (19, 49, 79, 109)
JITTER = 1  # pixels; a big thing at the edge still fits the picture

GROUNDS = ("meadow", "beach", "snow", "sea", "desert", "road", "forest", "mountains", "city", "lake")
SKIES = ("day", "night", "dusk", "fog", "rain", "rainbow")
STYLES = ("sticker", "outline", "wash", "mosaic")
PATTERNS = ("plain", "striped", "dotted")

SHOWN_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"forest": ("tree",), "city": ("house", "tower"), "desert": ("cactus",), "night": ("star",), "rain": ("cloud",)}
)
"""Kinds that a ground or a sky shows a little of: whether there are any is not to be asked there."""
KIN: Mapping[str, str] = MappingProxyType({"person": "child", "child": "person", "bird": "duck", "duck": "bird"})
"""Kinds that people call by one word, now and then."""
CATEGORIES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "animal": ("cat", "fish", "bird", "dog", "rabbit", "horse", "duck", "snail", "turtle", "butterfly"),
    "pet": ("cat", "dog", "rabbit", "bird", "fish", "turtle"), "farm animal": ("horse", "duck", "rabbit"),
    "sea animal": ("fish", "turtle"), "human": ("person", "child"),
    "vehicle": ("boat", "car", "train", "bus", "bicycle", "aeroplane"),
    "building": ("house", "lighthouse", "castle", "tower"), "plant": ("tree", "flower", "cactus"),
    "mammal": ("cat", "dog", "rabbit", "horse"), "insect": ("butterfly",), "reptile": ("turtle",),
    "snack": ("apple", "cake"), "fruit": ("apple",), "vegetable": ("pumpkin",), "dessert": ("cake",),
    "heavenly body": ("sun", "moon", "star"), "toy": ("kite", "balloon"),
})  # fmt: skip
"""What kinds belong to: who asks for "an animal" leaves open which one."""


@dataclass(frozen=True)
class Kind:
    """One kind of thing: what it may look like, where it likes to be, and its box in units of its size."""

    name: str
    colours: tuple[str, ...]
    poses: tuple[str, str]
    rows: tuple[int, ...]
    width: float = 1.0
    height: float = 1.0

    @property
    def patterns(self) -> tuple[str, ...]:
        """Those of PATTERNS that it may have: all where they can be told even when it is small, in every style.

        A balloon's stripes and a mushroom's spots are poses.
        """
        return PATTERNS if self.name in _PATTERNED else PATTERNS[:1]


_PATTERNED = frozenset((
    "cat", "fish", "boat", "car", "star", "umbrella", "dog", "rabbit", "horse", "duck", "snail", "train",
    "castle", "tent", "flag", "pumpkin", "apple",
))  # fmt: skip
_UP, _LOW, _BOTTOM = (0, 1), (2, 3), (3,)
_FACING = ("facing left", "facing right")

_KINDS = (
    Kind("house", ("red", "blue", "yellow", "green", "white"), ("lit", "dark"), _LOW, width=0.95),
    Kind("tree", ("green", "red", "orange", "pink"), ("round", "pointed"), _LOW, width=0.8),
    Kind("cat", ("orange", "black", "white", "brown"), _FACING, _LOW, width=0.95),
    Kind("fish", ("orange", "blue", "red", "purple"), _FACING, _BOTTOM, height=0.7),
    Kind("boat", ("red", "blue", "white", "green"), _FACING, _LOW),
    Kind("car", ("red", "yellow", "blue", "green"), _FACING, _LOW, height=0.7),
    Kind("sun", ("yellow", "orange", "red", "pink"), ("smiling", "sleeping"), _UP),
    Kind("moon", ("yellow", "white", "orange", "blue"), ("full", "crescent"), _UP, width=0.9, height=0.9),
    Kind("star", ("yellow", "white", "pink", "blue"), ("smiling", "sleeping"), _UP),
    Kind("cloud", ("white", "pink", "blue", "purple"), ("dry", "raining"), _UP, height=0.85),
    Kind("flower", ("red", "yellow", "purple", "pink", "white"), ("open", "closed"), _LOW, width=0.75),
    Kind("mushroom", ("red", "brown", "blue", "purple"), ("spotted", "plain"), _LOW),
    Kind("balloon", ("red", "yellow", "blue", "purple"), ("striped", "plain"), _UP, width=0.8),
    Kind("bird", ("red", "blue", "yellow", "black"), _FACING, _UP, height=0.85),
    Kind("lighthouse", ("red", "blue", "green", "black"), ("lit", "dark"), _LOW, width=0.8),
    Kind("umbrella", ("red", "yellow", "blue", "pink"), ("open", "closed"), _LOW),
    Kind("dog", ("brown", "white", "black", "orange"), _FACING, _LOW, height=0.92),
    Kind("rabbit", ("white", "brown", "pink", "black"), _FACING, _LOW, width=0.86),
    Kind("horse", ("brown", "white", "black", "orange"), _FACING, _LOW),
    Kind("duck", ("yellow", "white", "brown", "green"), _FACING, _LOW),
    Kind("snail", ("brown", "red", "yellow", "blue"), _FACING, _LOW, height=0.8),
    Kind("turtle", ("green", "brown", "purple", "red"), _FACING, _LOW, height=0.66),
    Kind("butterfly", ("orange", "blue", "pink", "yellow"), _FACING, _UP, height=0.94),
    Kind("person", ("red", "blue", "green", "purple", "yellow"), ("standing", "waving"), _LOW, width=0.72),
    Kind("child", ("red", "yellow", "blue", "pink", "green"), ("standing", "waving"), _LOW, width=0.86),
    Kind("snowman", ("red", "blue", "black", "green"), ("standing", "waving"), _LOW, width=0.84),
    Kind("train", ("red", "green", "blue", "black"), _FACING, _LOW, height=0.82),
    Kind("bus", ("red", "yellow", "blue", "green"), _FACING, _LOW, height=0.66),
    Kind("bicycle", ("red", "blue", "green", "pink"), _FACING, _LOW, height=0.68),
    Kind("aeroplane", ("white", "red", "blue", "yellow"), _FACING, _UP, height=0.6),
    Kind("castle", ("white", "pink", "blue", "yellow"), ("open", "closed"), _LOW, height=0.96),
    Kind("tower", ("red", "brown", "white", "green"), ("lit", "dark"), _LOW, width=0.56),
    Kind("tent", ("red", "orange", "blue", "green"), ("open", "closed"), _LOW, height=0.82),
    Kind("lamp", ("black", "green", "red", "blue"), ("lit", "dark"), _LOW, width=0.56),
    Kind("flag", ("red", "blue", "yellow", "green"), ("waving", "hanging"), _LOW, width=0.82),
    Kind("kite", ("red", "yellow", "blue", "purple"), _FACING, _UP, width=0.78),
    Kind("cactus", ("green", "blue", "purple"), ("blooming", "bare"), _LOW, width=0.86),
    Kind("pumpkin", ("orange", "white", "green"), ("whole", "carved"), _LOW, height=0.84),
    Kind("apple", ("red", "green", "yellow"), ("whole", "bitten"), _LOW, width=0.96),
    Kind("cake", ("pink", "brown", "yellow", "red"), ("with candles", "without candles"), _LOW, height=0.84),
)
KINDS = MappingProxyType({kind.name: kind for kind in _KINDS})


def larger(size: str, other: str) -> bool:
    """Whether one size is larger than another."""
    return SIZES[size] > SIZES[other]


def box_of(kind: str, size: str) -> tuple[int, int]:
    """Width and height in pixels, both even, of the box that a thing of this kind and size never leaves."""
    shape, pixels = KINDS[kind], SIZES[size]
    return box_sides(shape.width, shape.height, pixels)
