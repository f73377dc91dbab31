"""How people name kinds, sizes, colours, places and relations: synonyms, and phrases made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType

from ..captions import ANYTHING, GROUND_PLACES, NUMBERS, POSES_AFTER, POSES_BEFORE, SKY_TIMES, plural
from ..catalogue import CATEGORIES, COLOURS, COLUMNS, KINDS, ROWS
from ..naming import Mention
from .adjectives import described
from .held_out import TRAINED

USUAL = 0.65  # how often a thing is called by its first name
DESCRIBED, DESCRIBED_IN_WISHES, DESCRIBED_PLACES = 0.05, 0.2, 0.12
"""How often a thing, a thing that is wished for, and a ground have an adjective that changes nothing."""
_ARTICLE = re.compile(r"\ban? (?=\w+$)")
IN_GENERAL = 0.1  # how often one asks for something of a category

KIND_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    **{kind: (kind,) for kind in KINDS},
    "house": ("house", "cottage", "home", "hut"),
    "tree": ("tree",),
    "cat": ("cat", "kitten", "kitty", "pussycat"),
    "fish": ("fish",),
    "boat": ("boat", "ship", "sailboat", "sailing boat"),
    "car": ("car", "automobile", "auto"),
    "flower": ("flower", "blossom", "bloom"),
    "mushroom": ("mushroom", "toadstool"),
    "balloon": ("balloon", "hot air balloon"),
    "bird": ("bird", "birdie"),
    "lighthouse": ("lighthouse", "light house", "beacon"),
    "umbrella": ("umbrella", "parasol", "brolly"),
    "dog": ("dog", "puppy", "doggy", "hound"),
    "rabbit": ("rabbit", "bunny", "hare"),
    "horse": ("horse", "pony"),
    "duck": ("duck", "ducky"),
    "turtle": ("turtle", "tortoise"),
    "person": ("person", "man", "grown-up", "gentleman"),
    "child": ("child", "kid", "girl", "little girl"),
    "snowman": ("snowman", "snow man"),
    "train": ("train", "steam engine", "locomotive", "railway engine"),
    "bus": ("bus", "coach"),
    "bicycle": ("bicycle", "bike", "cycle"),
    "aeroplane": ("aeroplane", "airplane", "plane", "aircraft"),
    "castle": ("castle", "fortress"),
    "tower": ("tower", "clock tower"),
    "tent": ("tent", "camping tent"),
    "lamp": ("lamp", "street lamp", "lantern", "streetlight"),
    "flag": ("flag", "banner"),
    "cake": ("cake", "birthday cake"),
})  # fmt: skip
CATEGORY_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    **{category: (category,) for category in CATEGORIES},
    "animal": ("animal", "creature"),
    "sea animal": ("sea animal", "sea creature", "water animal"),
    "human": ("human", "human being"),
    "building": ("building", "piece of architecture"),
    "heavenly body": ("heavenly body", "celestial body"),
    "snack": ("snack", "treat"),
})  # fmt: skip
CLOTHED = frozenset(("person", "child"))
"""Kinds whose colour is that of what they wear: people say "a man in red"."""
SIZE_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "small": ("small", "little", "tiny", "mini", "wee", "very small", "really small", "smallish"),
    "medium": ("medium", "medium sized", "middle sized", "mid sized", "medium size"),
    "big": ("big", "large", "huge", "giant", "enormous", "very big", "really big", "great big"),
})  # fmt: skip
COLOUR_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    **{colour: (colour,) for colour in COLOURS},
    "red": ("red", "crimson", "scarlet", "bright red"),
    "yellow": ("yellow", "golden", "bright yellow"),
    "green": ("green", "bright green"),
    "blue": ("blue", "bright blue"),
    "purple": ("purple", "violet", "lilac"),
    "pink": ("pink", "rosy"),
    "brown": ("brown", "chestnut"),
    "black": ("black", "pitch black"),
    "white": ("white", "snow white"),
})  # fmt: skip
PATTERNS_BEFORE: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "striped": ("striped", "stripy", "stripey"), "dotted": ("dotted", "spotted", "spotty", "polka dot"),
    "plain": ("plain", "simple"),
})  # fmt: skip
PATTERNS_AFTER: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "striped": ("with stripes", "with a striped pattern"), "dotted": ("with dots", "with spots", "with polka dots"),
    "plain": ("without a pattern",),
})  # fmt: skip
MARKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"striped": ("stripes", "stripes", "lines"), "dotted": ("dots", "spots", "polka dots")}
)
COLUMN_WORDS = (
    ("the far left", "the very left", "the left edge", "the outer left"),
    ("the left", "the left side", "the left hand side"),
    ("the middle", "the centre", "the center"),
    ("the right", "the right side", "the right hand side"),
    ("the far right", "the very right", "the right edge", "the outer right"),
)
ROW_WORDS = (
    ("the top", "the very top", "the top edge"),
    ("the upper part", "the upper half"),
    ("the lower part", "the lower half"),
    ("the bottom", "the very bottom", "the bottom edge"),
)
CORNERS = MappingProxyType({
    (0, 0): ("the top left corner", "the upper left corner"),
    (4, 0): ("the top right corner", "the upper right corner"),
    (0, 3): ("the bottom left corner", "the lower left corner"),
    (4, 3): ("the bottom right corner", "the lower right corner"),
})  # fmt: skip
RELATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "left": ("to the left of", "left of", "on the left of", "on the left side of"),
    "right": ("to the right of", "right of", "on the right of", "on the right side of"),
    "above": ("above", "over", "behind"),
    "below": ("below", "under", "underneath", "beneath", "in front of"),
    "near": ("next to", "beside", "near", "close to", "by"),
    "on": ("on top of", "on"),
})  # fmt: skip
BETWEEN = ("between", "in between", "halfway between", "right between")
"""The relation to two things."""
#: those of which a picture tells whether they hold
CLEAR_RELATIONS = MappingProxyType({
    "left": RELATIONS["left"], "right": RELATIONS["right"], "above": ("above", "higher than", "further up than"),
    "below": ("below", "lower than", "further down than"),
})  # fmt: skip
GROUND_NAMES = MappingProxyType({
    "meadow": ("a meadow", "the meadow", "grass", "a field", "a green meadow"),
    "beach": ("a beach", "the beach", "sand", "a sandy beach"),
    "snow": ("snow", "a snowy place", "winter", "a winter landscape"),
    "sea": ("the sea", "the ocean", "water", "the open sea"), "desert": ("a desert", "the desert", "dunes"),
    "road": ("a road", "a street", "the street"),
    "forest": ("a forest", "the forest", "the woods", "a wood"),
    "mountains": ("the mountains", "a mountain landscape", "mountains", "a mountain valley"),
    "city": ("a city", "the city", "a town", "a big city"),
    "lake": ("a lake", "the lake", "a pond", "a lakeside"),
})  # fmt: skip
GROUND_WORDS = MappingProxyType({
    **GROUND_PLACES,
    "meadow": (
        *GROUND_PLACES["meadow"], "on the grass", "on grass", "in a meadow", "on the meadow", "in an open field",
        "across a meadow", "on a green field",
    ),
    "beach": (
        *GROUND_PLACES["beach"], "at the beach", "on sand", "by the sea shore", "at the seaside", "along the beach",
        "on the shore", "by the seaside",
    ),
    "snow": (
        *GROUND_PLACES["snow"], "on snow", "in a snowy place", "in deep snow", "through the snow",
        "in a winter landscape", "in a snowy landscape",
    ),
    "sea": (
        *GROUND_PLACES["sea"], "at sea", "on the open sea", "in the sea", "in the ocean", "out at sea",
        "across the sea", "over the sea", "above the ocean",
    ),
    "desert": (
        *GROUND_PLACES["desert"], "in a desert", "on the dunes", "through the desert", "across the desert",
        "in the middle of the desert",
    ),
    "road": (
        *GROUND_PLACES["road"], "on the street", "in the street", "on the road", "along a road", "down the street",
        "on a busy street", "along the street",
    ),
    "forest": (
        *GROUND_PLACES["forest"], "in the forest", "in a wood", "among the trees of a forest", "through a forest",
        "in the middle of a forest", "at the edge of a forest", "deep in the woods",
    ),
    "mountains": (
        *GROUND_PLACES["mountains"], "among mountains", "high up in the mountains", "in a mountain valley",
        "over the mountains", "up in the mountains", "in front of mountains",
    ),
    "city": (
        *GROUND_PLACES["city"], "in the city", "in town", "downtown", "among the houses of a city",
        "in the middle of a city", "through a city", "in a big city",
    ),
    "lake": (
        *GROUND_PLACES["lake"], "by a lake", "by the lake", "on the lake", "on a pond", "at the lakeside",
        "near a lake", "across a lake", "on the shore of a lake",
    ),
})  # fmt: skip
SKY_NAMES = MappingProxyType({
    "day": ("day", "daytime", "daylight", "bright day", "morning"), "night": ("night", "nighttime", "midnight", "dark"),
    "dusk": ("dusk", "evening", "sunset", "twilight"), "fog": ("foggy", "misty", "fog", "a foggy day", "hazy"),
    "rain": ("rainy", "pouring", "a rainy day", "wet weather", "bad weather"),
    "rainbow": ("rainbow weather", "a day with a rainbow", "a rainbow sky"),
})  # fmt: skip
SKY_WORDS = MappingProxyType({
    **SKY_TIMES,
    "day": (
        *SKY_TIMES["day"], "during the day", "in daylight", "in the morning", "on a sunny day", "on a bright day",
        "in the sunshine", "in bright sunlight", "at noon", "on a summer day", "under a blue sky", "in fine weather",
        "under a clear blue sky", "on a beautiful morning", "in the sun",
    ),
    "night": (
        *SKY_TIMES["night"], "by night", "at midnight", "in the dark", "on a clear night", "on a quiet night",
        "in the moonlight", "during the night", "on a starry night", "under the stars", "under a starry sky",
        "late at night", "on a dark night",
    ),
    "dusk": (
        *SKY_TIMES["dusk"], "at twilight", "at sundown", "on a warm evening", "on a quiet evening",
        "in the evening light", "in the evening", "at nightfall", "during sunset", "under a sunset sky",
    ),
    "fog": (
        *SKY_TIMES["fog"], "in the fog", "on a foggy day", "in mist", "on a misty day", "in thick fog",
        "on a misty morning", "on a foggy morning", "in the mist",
    ),
    "rain": (
        *SKY_TIMES["rain"], "on a rainy day", "in rainy weather", "in pouring rain", "while it rains", "when it rains",
        "in heavy rain", "on a wet day", "on a stormy day", "in a storm", "in stormy weather", "on a stormy night",
        "in bad weather", "in the pouring rain",
    ),
    "rainbow": (*SKY_TIMES["rainbow"], "under the rainbow", "with a rainbow in the sky", "with a rainbow above"),
})  # fmt: skip
STYLE_WORDS = MappingProxyType({
    "sticker": ("as stickers", "in the sticker style", "as clean stickers", "in the usual style", "as a cartoon"),
    "outline": (
        "in outlines", "as a line drawing", "as an ink drawing", "as line art", "in pen and ink", "drawn in outlines",
        "drawn with a pen", "in ink lines",
    ),
    "wash": (
        "in watercolour", "as a watercolour", "in watercolor", "as a watercolor painting", "as a watercolour painting",
        "painted in watercolour", "in watercolours", "as a soft wash",
    ),
    "mosaic": (
        "in mosaic", "as a mosaic", "as pixel art", "in pixel art", "as a pixel mosaic", "laid in mosaic",
        "made of little stones", "made of tiles",
    ),
})  # fmt: skip
STYLE_NAMES = MappingProxyType({
    "sticker": ("stickers", "a sticker picture", "the usual style", "the sticker style", "a cartoon"),
    "outline": ("outlines", "a line drawing", "an ink drawing", "line art", "a pen drawing", "an outline drawing"),
    "wash": ("watercolour", "a watercolour", "a watercolor", "a watercolour painting", "a soft wash", "watercolours"),
    "mosaic": ("mosaic", "a mosaic", "pixel art", "a pixel mosaic", "a tile mosaic", "a picture of little stones"),
})  # fmt: skip
DIGITS = ("0", "1", "2", "3", "4", "5")
COUPLE = ("a couple of", "a pair of")
ROUGHLY = MappingProxyType({
    2: ("", "", "some"), 3: ("a few", "several", "a row of", "a group of", "a bunch of", ""),
    4: ("many", "lots of", "a lot of", "a group of", "a row of", "plenty of", ""),
})  # fmt: skip
"""How many are drawn of what nobody has counted."""


def usual(wordings: tuple[str, ...], rng: Random) -> str:
    """The first wording mostly, else any."""
    return wordings[0] if rng.random() < USUAL else rng.choice(wordings)


def with_article(words: str) -> str:
    """Such as "an apple" and "a unicorn"."""
    sounds_like_a_vowel = words[0] in "aeiou" and not words.startswith(("uni", "use", "ufo", "uku", "euro"))
    return f"{'an' if sounds_like_a_vowel else 'a'} {words}"


def in_general(mention: Mention, rng: Random) -> Mention:
    """The same mention, or now and then one of a category: an animal for a cat."""
    categories = [category for category, kinds in CATEGORIES.items() if mention.kind in kinds]
    return replace(mention, kind=rng.choice(categories)) if categories and rng.random() < IN_GENERAL else mention


def bare_noun(
    mention: Mention,
    rng: Random,
    many: bool = False,
    place: bool = True,
    part: str = TRAINED,
    adjectives: float = DESCRIBED,
) -> str:
    """A thing without an article, as far as the mention names it: "small red cat looking left on the left".

    Args:
        mention: the thing, or what is asked for.
        rng: chooses.
        many: whether the noun is a plural.
        place: whether a place that is named is said.
        part: where further adjectives come from (see frames.py).
        adjectives: how often there is one.
    """
    before, after = POSES_BEFORE.get(mention.pose), POSES_AFTER.get(mention.pose)
    looks = [usual(COLOUR_WORDS[mention.colour], rng)] if mention.colour else []
    worn = looks.pop() if looks and mention.kind in CLOTHED and rng.random() < 0.6 else ""
    adjective = mention.pattern is not None and rng.random() < 0.7
    if before or adjective:
        looks += [rng.choice(before)] if before else []
        looks += [usual(PATTERNS_BEFORE[mention.pattern], rng)] if adjective else []
        rng.shuffle(looks)
    sizes = [usual(SIZE_WORDS[mention.size], rng)] if mention.size else []
    if mention.kind and rng.random() < adjectives:
        sizes.insert(rng.randint(0, len(sizes)), described(mention.kind, rng, part))
    noun = usual(_nouns(mention.kind), rng)
    words = [*sizes, *looks, plural(noun) if many else noun, *(("in", worn) if worn else ())]
    if mention.pattern and not adjective:
        words.append(usual(PATTERNS_AFTER[mention.pattern], rng))
    if after:
        words.append(rng.choice(after))
    if place and (mention.column is not None or mention.row is not None):
        words.append(at_place(mention.column, mention.row, rng))
    return " ".join(words)


def _nouns(kind: str | None) -> tuple[str, ...]:
    return ANYTHING if kind is None else KIND_WORDS.get(kind) or CATEGORY_WORDS[kind]


def indefinite(mention: Mention, rng: Random, part: str = TRAINED, adjectives: float = DESCRIBED) -> str:
    """Such as "a small red cat on the left"."""
    return with_article(bare_noun(mention, rng, part=part, adjectives=adjectives))


def side(column: int | None, row: int | None, rng: Random) -> str:
    """A place as a noun: "the top left corner", "the bottom far left", "the middle"."""
    if row is None:
        return usual(COLUMN_WORDS[column], rng)
    if column is None:
        return usual(ROW_WORDS[row], rng)
    if (column, row) in CORNERS and rng.random() < 0.6:
        return rng.choice(CORNERS[column, row])
    return f"the {ROWS[row]} {COLUMNS[column]}"


def at_place(column: int | None, row: int | None, rng: Random) -> str:
    """A place with its preposition: "in the top left corner", "on the left"."""
    if column is not None and row is not None and rng.random() < 0.3:
        parts = [at_place(column, None, rng), at_place(None, row, rng)]
        rng.shuffle(parts)
        return " ".join(parts)
    words = side(column, row, rng)
    if words.endswith(("corner", "part", "half", "middle", "centre", "center")):
        return f"in {words}"
    if row is not None:
        return f"at {words}"
    return f"{'at' if words.endswith('edge') else 'on'} {words}"


def setting(ground: str | None, sky: str | None, rng: Random) -> str:
    """Such as "on a beach at night"; empty where both are open."""
    parts = [usual(GROUND_WORDS[ground], rng)] if ground else []
    if ground and rng.random() < DESCRIBED_PLACES:
        parts = [_ARTICLE.sub(f"a {described('place', rng)} ", parts[0], count=1)]
    if sky:
        parts.append(usual(SKY_WORDS[sky], rng))
    rng.shuffle(parts)
    return " ".join(parts)


def number(count: int, rng: Random, noun: str = "") -> str:
    """Such as "two", "2" or "a couple of", with a plural noun behind it if there is one."""
    if count == 2 and noun and rng.random() < 0.15:
        return f"{rng.choice(COUPLE)} {noun}"
    return f"{NUMBERS[count] if rng.random() < 0.8 else DIGITS[count]} {noun}".strip()


def several(mention: Mention, count: int, rng: Random, part: str = TRAINED, adjectives: float = DESCRIBED) -> str:
    """Such as "two small red cats" or "many cats"."""
    placeless = replace(mention, column=None, row=None)
    noun = bare_noun(placeless, rng, many=True, part=part, adjectives=adjectives)
    if count in ROUGHLY and rng.random() < 0.2:
        return f"{rng.choice(ROUGHLY[count])} {noun}".strip()
    return number(count, rng, noun)
