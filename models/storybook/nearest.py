"""Words that a model does not know: the nearest ones that it knows, and plain sentences that say so."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from types import MappingProxyType

from ..errors import WeGenError
from ..prompting.domain import NormalisedPrompt

# A known word -> words that come nearest to it. Nouns and adjectives first, then what a wish or an order is made of.
NEAREST = MappingProxyType(
    {
        "house": "home hut cabin building villa barn shed castle palace church school shop mansion farm tent igloo",
        "tree": "oak pine fir palm bush shrub birch maple spruce willow cactus wood forest",
        "cat": "kitty dog puppy fox wolf tiger lion pet animal rabbit bunny mouse bear horse pony cow sheep goat pig "
               "squirrel hedgehog deer elephant monkey panda",
        "fish": "shark whale dolphin salmon goldfish trout octopus turtle crab seal",
        "boat": "sailboat yacht vessel canoe ferry raft submarine",
        "car": "automobile vehicle truck van taxi bus lorry jeep train tractor bicycle bike motorcycle",
        "sun": "sunshine",
        "moon": "planet",
        "star": "comet meteor",
        "cloud": "raincloud thundercloud storm",
        "flower": "rose tulip daisy sunflower poppy lily bloom orchid plant",
        "mushroom": "fungus",
        "balloon": "airship blimp zeppelin kite",
        "bird": "eagle owl parrot sparrow robin crow raven duck pigeon swallow gull seagull chicken penguin swan goose "
                "dragon butterfly bee bat plane airplane aeroplane helicopter rocket",
        "lighthouse": "tower beacon windmill",
        "umbrella": "parasol brolly",
        "red": "crimson scarlet ruby maroon",
        "orange": "amber tangerine",
        "yellow": "gold golden lemon blond",
        "green": "emerald olive lime mint",
        "blue": "navy azure cyan turquoise teal indigo",
        "purple": "violet lilac lavender magenta mauve",
        "pink": "fuchsia",
        "white": "ivory silver pale",
        "brown": "tan beige chestnut bronze",
        "black": "grey gray ebony",
        "small": "mini miniature short petite",
        "big": "giant enormous massive gigantic tall great",
        "happy": "cheerful glad joyful grinning",
        "sleeping": "asleep dozing tired",
        "meadow": "lawn prairie grassland garden park pasture hill valley countryside",
        "beach": "shore coast seaside island",
        "snow": "ice frost arctic",
        "sea": "lake river pond waves",
        "street": "highway city town lane avenue path motorway",
        "day": "morning noon midday afternoon",
        "night": "midnight",
        "dusk": "sundown twilight dawn sunrise",
        "mist": "haze smoke",
        "centre": "center",
        "bottom": "below",
        "colour": "color",
        "picture": "image photo photograph painting drawing illustration view",
        "scene": "landscape",
        "object": "item",
        "draw": "sketch create generate render illustrate design imagine",
        "show": "display",
        "add": "insert include",
        "remove": "erase eliminate drop",
        "move": "shift push pull bring",
        "paint": "recolour recolor dye tint",
        "grow": "enlarge expand",
        "shrink": "reduce",
        "describe": "explain",
        "quiet": "peaceful silent lonely",
        "busy": "crowded",
        "the": "my your his her its our their that these those",
        "zero": "0", "one": "1", "two": "2 couple pair", "three": "3", "four": "4",
    }
)  # fmt: skip
_FILLERS = (
    "my your his her its our their some any that these those very really just only kindly can could would will shall "
    "may might to be am was were been i'd i'll i'm it's that's there's let's need wish love of for so hi hello hey "
    "thanks thank 0 1 2 3 4"
)
#: words that may go, or become another, without a note: nothing is lost
FILLERS = frozenset(_FILLERS.split())
ARTICLES = ("a", "an", "the")
LIKENESS = 0.8  # of letters, from which on an unknown word counts as a mistyped known one
SHORTEST_MISTYPED = 4  # letters

_BY_WORD = MappingProxyType({word: known for known, words in NEAREST.items() for word in words.split()})
_TOKEN = re.compile(r"@[A-Za-z][A-Za-z0-9_-]*|[^\W_]+(?:['\u2019][^\W_]+)*")


def normalise_prompt(instruction: str, known_words: Collection[str]) -> NormalisedPrompt:
    """Replace the words that a model does not know by the nearest that it knows, or leave them out.

    Args:
        instruction: what the user says; `@name` mentions stay as they are.
        known_words: all words that the model knows, lower case; empty when it knows every word.

    Returns:
        The instruction with known words in lower case, and notes such as "I do not know 'dragon'; I took 'bird'
        instead.", one for each unknown word. Small words that carry nothing go without a note.

    Raises:
        WeGenError: no word with a meaning is left.
    """
    known = frozenset(known_words)
    if not known:
        return NormalisedPrompt(instruction)
    notes: dict[str, None] = {}
    meaningful = 0

    def replace(match: re.Match) -> str:
        nonlocal meaningful
        word = match.group().lower().replace("\u2019", "'")
        if word.startswith("@") or word in known:
            meaningful += word not in ARTICLES
            return match.group() if word.startswith("@") else word
        nearest = nearest_word(word, known)
        meaningful += nearest not in (None, *ARTICLES)
        if word not in FILLERS:
            done = "left it out" if nearest is None else f"took '{nearest}' instead"
            notes[f"I do not know '{word}'; I {done}."] = None
        return nearest or ""

    text = _tidy(_TOKEN.sub(replace, instruction))
    if not meaningful and instruction.strip():
        raise WeGenError(f"I know none of the words in {instruction.strip()!r}. Some that I know: {_examples(known)}.")
    return NormalisedPrompt(text, tuple(notes))


def nearest_word(word: str, known: Collection[str]) -> str | None:
    """The known word nearest to an unknown one, lower case: of like meaning, else of like letters, else None."""
    for single, ending in _singulars(word):
        meant = single if single in known else _BY_WORD.get(single)
        if meant in known:
            return meant + ending if meant + ending in known else meant
    if word in FILLERS or len(word) < SHORTEST_MISTYPED:
        return None
    alike = sorted(candidate for candidate in {*known, *_BY_WORD} if candidate[0] == word[0])
    for candidate in get_close_matches(word, alike, n=3, cutoff=LIKENESS):
        meant = candidate if candidate in known else _BY_WORD[candidate]
        if meant in known:
            return meant
    return None


def _singulars(word: str) -> list[tuple[str, str]]:
    """The word, and what it may be the plural or the genitive of, each with the ending that makes it a plural again."""
    found = [(word, "")]
    if word.endswith("'s"):
        found.append((word[:-2], ""))
    if word.endswith("ies"):
        found.append((word[:-3] + "y", "s"))
    if word.endswith("es"):
        found.append((word[:-2], "s"))
    if word.endswith("s"):
        found.append((word[:-1], "s"))
    return found


def _tidy(text: str) -> str:
    """Single spaces, none before a comma or a full stop, no lone articles, "a" or "an" as the next word wants it."""
    text = re.sub(r"\s+([,.;:?!])", r"\1", " ".join(text.split()))
    text = re.sub(r"\b(?:a|an|the)(?: (?=and\b|or\b|with\b)|(?=[,.;:?!]|$))", "", text).strip()
    text = re.sub(r"\ban? (?=[aeiou])", "an ", text)
    return re.sub(r"\ban (?=[^aeiou\W])", "a ", text)


def _examples(known: Collection[str]) -> str:
    return ", ".join([word for word in NEAREST if word in known][:12] or sorted(known)[:12])
