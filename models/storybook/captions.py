"""The caption grammar: scenes to words in many wordings, and words back to what they name.

With a random generator the wording varies; without one it is canonical, which is how the model is taught to answer.
Everything is lower case, with about one sense a word, so that a few hundred tokens say it all.
"""

import re
from collections.abc import Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

from .catalogue import COLOURS, COLUMNS, GROUNDS, KINDS, PATTERNS, ROWS, SIZES, SKIES, STYLES
from .naming import Mention, Named
from .world import Scene

# In each tuple the first wording is the canonical one.
KIND_WORDS = MappingProxyType({
    **{kind: (kind,) for kind in KINDS}, "house": ("house", "cottage"), "cat": ("cat", "kitten"),
    "boat": ("boat", "ship"), "mushroom": ("mushroom", "toadstool"), "flower": ("flower", "blossom"),
})  # fmt: skip
SIZE_WORDS = MappingProxyType({
    "small": ("small", "little", "tiny"), "medium": ("medium", "middle sized"), "big": ("big", "large", "huge"),
})  # fmt: skip
POSES_BEFORE = MappingProxyType({  # adjectives
    "round": ("round", "leafy"), "pointed": ("pointed", "pointy"), "smiling": ("smiling", "happy"),
    "sleeping": ("sleeping", "sleepy"), "full": ("full",), "crescent": ("crescent", "thin"), "dry": ("dry",),
    "raining": ("raining", "rainy"), "open": ("open",), "closed": ("closed", "shut"),
    "spotted": ("spotted", "dotted"), "plain": ("plain", "simple"), "striped": ("striped",),
    "standing": ("standing",), "waving": ("waving",), "hanging": ("hanging", "drooping"),
    "blooming": ("blooming", "flowering"), "bare": ("bare",), "whole": ("whole",), "carved": ("carved",),
    "bitten": ("bitten",),
})  # fmt: skip
POSES_AFTER = MappingProxyType({
    "facing left": ("facing left", "looking left"), "facing right": ("facing right", "looking right"),
    "lit": ("with the lights on", "with light inside"), "dark": ("with the lights off", "without light"),
    "with candles": ("with candles", "with its candles"), "without candles": ("without candles", "without its candles"),
})  # fmt: skip
PATTERN_WORDS = MappingProxyType({"striped": ("with stripes",), "dotted": ("with dots",)})
PLACES = ("at the {row} {column}", "in the {row} {column}")
COLUMN_PLACES = MappingProxyType({
    "far left": ("on the far left", "at the far left"), "left": ("on the left", "at the left"),
    "middle": ("in the middle", "in the centre"), "right": ("on the right", "at the right"),
    "far right": ("on the far right", "at the far right"),
})  # fmt: skip
ROW_PLACES = MappingProxyType({
    "top": ("at the top", "on the top"), "upper": ("in the upper part", "in the upper half"),
    "lower": ("in the lower part", "in the lower half"), "bottom": ("at the bottom", "on the bottom"),
})  # fmt: skip
GROUND_PLACES = MappingProxyType({
    "meadow": ("on a meadow", "in the grass", "in a field"), "beach": ("on a beach", "on the sand"),
    "snow": ("in the snow", "in winter"), "sea": ("on the sea", "on the ocean", "on the water"),
    "desert": ("in the desert", "in the dunes"), "road": ("on a road", "on a street"),
    "forest": ("in a forest", "in the woods"), "mountains": ("in the mountains", "on a mountain"),
    "city": ("in a city", "in a town"), "lake": ("on a lake", "at a lake"),
})  # fmt: skip
SKY_TIMES = MappingProxyType({
    "day": ("by day", "in the daytime"), "night": ("at night", "in the night"),
    "dusk": ("at dusk", "in the evening", "at sunset"), "fog": ("in fog", "in the mist"),
    "rain": ("in the rain", "in a downpour"), "rainbow": ("under a rainbow", "with a rainbow"),
})  # fmt: skip
SKY_IS = MappingProxyType({
    "day": ("it is day",), "night": ("it is night",), "dusk": ("it is dusk", "it is evening"), "fog": ("it is foggy",),
    "rain": ("it is pouring",), "rainbow": ("it is rainbow weather",),
})  # fmt: skip
STYLE_WORDS = MappingProxyType({
    "sticker": ("as stickers",), "outline": ("in outlines", "drawn in outlines"),
    "wash": ("in watercolour", "painted in watercolour"), "mosaic": ("in mosaic", "laid in mosaic"),
})  # fmt: skip
NUMBERS = ("zero", "one", "two", "three", "four", "five")
ANYTHING = ("thing", "object")
OPENINGS = ("", "", "", "a picture of ", "draw ", "show ", "there is ", "i see ")
JOINTS = (", ", " and ", ", and ", "; ")


_PLURALS = {
    "fish": "fish", "person": "people", "child": "children", "man": "men", "woman": "women", "puppy": "puppies",
    "pony": "ponies", "bunny": "bunnies", "lady": "ladies", "birdie": "birdies", "cactus": "cacti", "bus": "buses",
    "butterfly": "butterflies", "snowman": "snowmen", "coach": "coaches", "fortress": "fortresses",
    "aircraft": "aircraft", "gentleman": "gentlemen", "doggy": "doggies", "ducky": "duckies", "kitty": "kitties",
    "brolly": "brollies", "goose": "geese", "mouse": "mice", "sheep": "sheep", "deer": "deer", "moose": "moose",
    "wolf": "wolves", "knife": "knives", "leaf": "leaves", "scarf": "scarves", "shelf": "shelves", "loaf": "loaves",
    "calf": "calves", "elf": "elves", "thief": "thieves", "foot": "feet", "tooth": "teeth", "ox": "oxen",
}  # fmt: skip


def plural(words: str) -> str:
    """Such as "children" of "child", "double decker buses" of "double decker bus"."""
    *before, last = words.split(" ")
    return " ".join([*before, _PLURALS.get(last) or _regular_plural(last)])


def _regular_plural(word: str) -> str:
    if word.endswith("man") and word not in ("human", "caiman"):
        return f"{word[:-3]}men"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


def choose(wordings: tuple[str, ...], rng: Random | None) -> str:
    return wordings[0] if rng is None else rng.choice(wordings)


def place_phrase(column: int | None, row: int | None, rng: Random | None = None) -> str:
    """Such as "at the bottom far left"; empty where neither is given."""
    if column is None and row is None:
        return ""
    if row is None:
        return choose(COLUMN_PLACES[COLUMNS[column]], rng)
    if column is None:
        return choose(ROW_PLACES[ROWS[row]], rng)
    if rng is None or rng.random() < 0.6:
        return choose(PLACES, rng).format(row=ROWS[row], column=COLUMNS[column])
    parts = [choose(COLUMN_PLACES[COLUMNS[column]], rng), choose(ROW_PLACES[ROWS[row]], rng)]
    rng.shuffle(parts)
    return " ".join(parts)


def noun_phrase(
    mention: Mention, rng: Random | None = None, article: str = "a", count: int = 1, place_first: bool = False
) -> str:
    """A thing in words, as far as the mention names it; `count` above 1 says "two small cats"."""
    before = POSES_BEFORE.get(mention.pose)
    after = POSES_AFTER.get(mention.pose)
    adjectives = [choose(SIZE_WORDS[mention.size], rng)] if mention.size else []
    looks = [mention.colour] if mention.colour else []
    if before:
        looks.append(choose(before, rng))
        if rng is not None:
            rng.shuffle(looks)
    word = choose(KIND_WORDS[mention.kind] if mention.kind else ANYTHING, rng)
    words = [*adjectives, *looks, word if count == 1 else plural(word)]
    if count > 1:
        words.insert(0, NUMBERS[count])
    elif article == "a":
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    else:
        words.insert(0, article)
    words += [choose(phrases, rng) for phrases in (PATTERN_WORDS.get(mention.pattern), after) if phrases]
    place = place_phrase(mention.column, mention.row, rng)
    return " ".join(filter(None, [place, *words] if place_first else [*words, place]))


def setting_phrase(ground: str | None, sky: str | None, rng: Random | None = None) -> str:
    """Such as "on a meadow at night"; either part may be left out."""
    parts = []
    if ground:
        parts.append(choose(GROUND_PLACES[ground], rng))
    if sky:
        parts.append(choose(SKY_TIMES[sky], rng))
    if rng is not None:
        if sky and rng.random() < 0.2:
            parts[-1] = choose(SKY_IS[sky], rng)
            return " ".join(reversed(parts))
        rng.shuffle(parts)
    return " ".join(parts)


def full_caption(scene: Scene, rng: Random | None = None, *, shuffle: bool = True) -> str:
    """Everything visible, in words; `parse_caption` gets it all back.

    Without `rng`: canonical wording, things in the order of `scene.things`. With it: a paraphrase, its things in any
    order unless `shuffle` is False.
    """
    things = [Mention.of(thing) for thing in scene.things]
    setting = setting_phrase(scene.ground, scene.sky, rng)
    style = "" if scene.style == STYLES[0] else choose(STYLE_WORDS[scene.style], rng)
    if rng is None:
        return ", ".join([*filter(None, [style]), setting, *(noun_phrase(thing) for thing in things)]) + "."
    if shuffle:
        rng.shuffle(things)
    place_first = rng.random() < 0.2
    joint = rng.choice(JOINTS)
    phrases = joint.join(noun_phrase(thing, rng, place_first=place_first) for thing in things)
    opening = rng.choice(OPENINGS) if phrases and not place_first else ""
    if style:
        setting = f"{setting}, {style}"
    if rng.random() < 0.5 or not phrases:
        return setting + rng.choice((", ", ": ")) + phrases if phrases else setting
    return opening + phrases + rng.choice((", ", ". ", "; ")) + setting


def describe(scene: Scene) -> str:
    """The canonical description: canonical wording, things from top to bottom and left to right."""
    return full_caption(scene.canonical())


POSES = tuple(dict.fromkeys(pose for kind in KINDS.values() for pose in kind.poses))


def drawn(table: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The wordings of what this storybook draws; tables have those of the wide one too."""
    return {name: table[name] for name in known if name in table}


def _lexicon() -> dict[tuple[str, ...], tuple[str, Any]]:
    entries: dict[str, tuple[str, Any]] = {}
    looks = (
        ("kind", KIND_WORDS),
        ("size", drawn(SIZE_WORDS, SIZES)),
        *(("pose", drawn(t, POSES)) for t in (POSES_BEFORE, POSES_AFTER)),
        ("pattern", drawn(PATTERN_WORDS, PATTERNS)),
    )
    for slot, table in looks:
        for value, wordings in table.items():
            entries.update({wording: (slot, value) for wording in wordings})
    for kind, wordings in KIND_WORDS.items():
        entries.update({plural(wording): ("kind", kind) for wording in wordings})
    for word in ANYTHING:
        entries.update({word: ("kind", None), plural(word): ("kind", None)})
    entries.update({colour: ("colour", colour) for colour in COLOURS})
    entries.update({row: ("row", number) for number, row in enumerate(ROWS)})
    entries.update({column: ("column", number) for number, column in enumerate(COLUMNS)})
    entries["centre"] = entries["middle"]
    for slot, table in (("ground", drawn(GROUND_PLACES, GROUNDS)), ("sky", drawn(SKY_TIMES, SKIES))):
        for value, wordings in table.items():
            entries.update({wording.split()[-1]: (slot, value) for wording in wordings})
    styles = {style: None if style == STYLES[0] else style for style in STYLES}
    for style, wordings in STYLE_WORDS.items():
        entries.update({wording.split()[-1]: ("style", styles[style]) for wording in wordings})
    entries["foggy"] = entries["foggy day"] = ("sky", "fog")
    entries.update({"pouring": ("sky", "rain"), "rainy day": ("sky", "rain"), "rainbow day": ("sky", "rainbow")})
    entries.update({number: ("count", value) for value, number in enumerate(NUMBERS)})
    entries.update({"quiet": ("most", 2), "calm": ("most", 2), "busy": ("fewest", 3), "lively": ("fewest", 3)})
    return {tuple(phrase.split()): meaning for phrase, meaning in entries.items()}


_LEXICON = MappingProxyType(_lexicon())
_LONGEST = max(map(len, _LEXICON))


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _meanings(sentence: str) -> Iterable[tuple[str, Any]]:
    words = words_of(sentence)
    at = 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            meaning = _LEXICON.get(tuple(words[at : at + length]))
            if meaning:
                yield meaning
                at += length
                break
        else:
            at += 1


def parse_caption(text: str) -> Named:
    """What a text in this grammar names: the exact inverse of `full_caption`. Unknown words are passed over."""
    things: list[dict[str, Any]] = []
    whole: dict[str, Any] = {}
    for sentence in re.split(r"[.;:]", text):
        first = len(things)  # places and poses never reach back into an earlier sentence
        waiting: dict[str, Any] = {}
        copies = 1
        for slot, value in _meanings(sentence):
            if slot in ("ground", "sky", "fewest", "most", "style"):
                whole[slot] = value
            elif slot == "count":
                copies = value
            elif slot == "kind":
                things.extend({"kind": value, **waiting} for _ in range(copies))
                waiting, copies = {}, 1
            elif (
                slot in ("colour", "size")
                or (slot == "pose" and value in POSES_BEFORE)
                or len(things) == first
                or slot in things[-1]
            ):
                waiting[slot] = value
            else:
                things[-1][slot] = value
    return Named(tuple(Mention(**thing) for thing in things), **whole)


def phrase_words(phrases: Any) -> set[str]:
    """All words in nested tables of wordings, their {slots} left out."""
    if isinstance(phrases, str):
        return set(words_of(re.sub(r"\{\w+\}", " ", phrases)))
    if isinstance(phrases, Mapping):
        phrases = (*phrases.keys(), *phrases.values())
    return set().union(*map(phrase_words, phrases))


PHRASES: tuple[Any, ...] = (
    KIND_WORDS, [plural(word) for wordings in KIND_WORDS.values() for word in wordings],
    drawn(SIZE_WORDS, SIZES),
    drawn(POSES_BEFORE, POSES), drawn(POSES_AFTER, POSES), drawn(PATTERN_WORDS, PATTERNS), PLACES,
    COLUMN_PLACES, ROW_PLACES,
    drawn(GROUND_PLACES, GROUNDS), drawn(SKY_TIMES, SKIES), drawn(SKY_IS, SKIES), STYLE_WORDS, NUMBERS, ANYTHING,
    [plural(word) for word in ANYTHING], OPENINGS, JOINTS, tuple(COLOURS), COLUMNS, ROWS, GROUNDS, SKIES, tuple(SIZES),
    "a an the",
)  # fmt: skip
