"""The words of the drawn world: in each tuple the first is the one of the canonical description."""

from types import MappingProxyType

from .catalogue import COLUMNS, ROWS
from .kinds import KINDS

_SYNONYMS = {
    "cat": ("kitten", "kitty"), "dog": ("puppy",), "rabbit": ("bunny",), "horse": ("pony",),
    "pig": ("piglet",), "person": ("man", "grown-up"), "child": ("girl", "kid"), "bicycle": ("bike",),
    "aeroplane": ("airplane", "plane"), "boat": ("sailing boat", "sailboat"), "balloon": ("hot-air balloon",),
    "train": ("steam train", "locomotive"), "house": ("cottage",), "tower": ("clock tower",),
    "lamp": ("street lamp", "lantern"), "umbrella": ("parasol",), "present": ("gift",), "cup": ("mug",),
    "ball": ("beach ball",), "palm": ("palm tree",), "flower": ("blossom",), "mushroom": ("toadstool",),
    "ice cream": ("ice-cream cone",), "tent": ("tepee",), "turtle": ("tortoise",), "rocket": ("spaceship",),
}  # fmt: skip
KIND_WORDS = MappingProxyType({name: (name, *_SYNONYMS.get(name, ())) for name in KINDS})
IRREGULAR = MappingProxyType(
    {"fish": "fish", "sheep": "sheep", "mouse": "mice", "person": "people", "child": "children", "man": "men",
     "snowman": "snowmen", "bench": "benches", "bus": "buses", "butterfly": "butterflies", "cactus": "cactuses",
     "puppy": "puppies", "bunny": "bunnies", "pony": "ponies", "kitty": "kitties"}
)  # fmt: skip
SIZE_WORDS = MappingProxyType(
    {"small": ("small", "little", "tiny"), "medium": ("medium", "medium-sized"), "big": ("big", "large", "huge")}
)
PATTERN_WORDS = MappingProxyType({"striped": ("striped", "stripy"), "dotted": ("dotted", "spotted", "polka-dot")})

# How a pose is said: in front of the colour, or behind the noun.
POSES_BEFORE = MappingProxyType(
    {
        "sleeping": ("sleeping", "sleepy"), "awake": ("awake",), "flying": ("flying",), "standing": ("standing",),
        "waving": ("waving",), "walking": ("walking",), "jumping": ("jumping",), "hiding": ("hiding",),
        "smiling": ("smiling", "happy"), "open": ("open",), "closed": ("closed", "shut"), "whole": ("whole",),
        "broken": ("broken",), "bitten": ("bitten",), "carved": ("carved",), "melting": ("melting",),
        "steaming": ("steaming", "hot"), "empty": ("empty",), "bare": ("bare",), "laid": ("laid",),
        "round": ("round", "leafy"), "pointed": ("pointed", "pointy"), "full": ("full",),
        "crescent": ("crescent", "thin"), "fluffy": ("fluffy",), "raining": ("raining", "rainy"),
        "hanging": ("hanging", "limp"),
    }
)  # fmt: skip
POSES_AFTER = MappingProxyType(
    {
        "facing left": ("facing left", "looking left"), "facing right": ("facing right", "looking right"),
        "leaning left": ("leaning left",), "leaning right": ("leaning right",),
        "lit": ("with the lights on", "with light inside"), "dark": ("with the lights off", "without light"),
        "switched on": ("switched on", "turned on"), "switched off": ("switched off", "turned off"),
        "in bloom": ("in bloom", "with flowers"), "with lightning": ("with lightning",),
        "with open wings": ("with open wings",), "with closed wings": ("with closed wings",),
        "with its sails up": ("with its sails up", "under sail"), "with its sails down": ("with its sails down",),
        "with a passenger": ("with a passenger", "with somebody in it"),
        "with its gate open": ("with its gate open", "with an open gate"),
        "with its gate closed": ("with its gate closed", "with a closed gate"),
        "with its door open": ("with its door open", "with an open door"),
        "with its door closed": ("with its door closed", "with a closed door"),
        "with one arch": ("with one arch",), "with two arches": ("with two arches",),
        "with candles": ("with candles", "with burning candles"), "without candles": ("without candles",),
        "with coconuts": ("with coconuts",), "without coconuts": ("without coconuts",),
    }
)  # fmt: skip

ROW_WORDS = MappingProxyType({row: (row,) for row in ROWS})
COLUMN_WORDS = MappingProxyType({**{column: (column,) for column in COLUMNS}, "middle": ("middle", "centre")})
PLACES = ("at the {row} {column}", "in the {row} {column}")
COLUMN_PLACES = MappingProxyType(
    {
        "far left": ("on the far left", "at the far left"), "left": ("on the left", "at the left"),
        "middle": ("in the middle", "in the centre"), "right": ("on the right", "at the right"),
        "far right": ("on the far right", "at the far right"),
    }
)  # fmt: skip
ROW_PLACES = MappingProxyType(
    {
        "top": ("at the top",), "upper": ("in the upper part", "in the upper half"),
        "lower": ("in the lower part", "in the lower half"), "bottom": ("at the bottom",),
    }
)  # fmt: skip
GROUND_PLACES = MappingProxyType(
    {
        "meadow": ("on a meadow", "in the grass"), "forest": ("in a forest", "in the woods"),
        "field": ("on a field", "on a ploughed field", "on farmland"), "beach": ("on a beach", "on the sand"),
        "sea": ("on the sea", "on the ocean", "out at sea"), "lake": ("at a lake", "by a lake", "at a pond"),
        "snow": ("in the snow", "in winter"), "desert": ("in the desert", "in the dunes"),
        "mountains": ("in the mountains", "near the mountains"),
        "city": ("in a city", "on a city street", "in town", "on a road"),
    }
)  # fmt: skip
SKY_TIMES = MappingProxyType(
    {
        "day": ("by day", "in the daytime", "under a blue sky"), "dusk": ("at dusk", "in the evening", "at sunset"),
        "night": ("at night", "in the night", "under the stars"), "fog": ("in fog", "in the mist", "on a foggy day"),
        "rain": ("in the rain", "on a rainy day"), "rainbow": ("under a rainbow", "with a rainbow in the sky"),
    }
)  # fmt: skip
STYLE_WORDS = MappingProxyType(
    {
        "sticker": ("as stickers", "in the sticker style"), "outline": ("in outlines", "as a line drawing"),
        "wash": ("in watercolour", "as a soft wash", "in watercolor"),
        "mosaic": ("as a mosaic", "in pixels", "as pixel art"),
    }
)  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
OPENINGS = ("", "", "", "a picture of ", "there is ", "one sees ")
JOINTS = (", ", " and ", ", and ", "; ")


def plural(word: str) -> str:
    head, _, last = word.rpartition(" ")
    return f"{head} {IRREGULAR.get(last, last + 's')}".strip()


def with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
