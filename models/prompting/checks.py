"""Which of several rewrites of a wish for a new picture is preferred: those that name what the wish names, and as many.

A check prefers and reports. It never changes words, and says nothing about a wish that it cannot read: one that leaves
something out ("a house, but not red"), or one that is answered in another language. People say much that names nothing
in a picture ("my son would like"), so a word that is not among those common in pictures counts only where it is what
"a" or a number leads to.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

# How something should feel, which is told in other words.
_FEELINGS = """
quiet calm peaceful busy lively cosy cozy nice beautiful lovely pretty pleasant cute sweet funny moody dramatic good
great amazing interesting simple fancy cool awesome wonderful magical
"""
_COUNTED = "two three four five six seven eight nine ten"
# Told by naming things more than once.
_NUMBERS = f"a an another zero {_COUNTED} couple pair"
# Words that carry no content of a picture: grammar, places in it, and the ways in which one asks for something.
_STOP_WORDS = """
a about above across after again all along also although always am among an and another any anything are around as
at back be because been before behind being below beneath beside besides between both but by can could did do does
down during each either else enough even ever every everything few for from further had has have having he her here
hers him his how i if in inside instead into is it its itself just least less let like likes lot many may me might
mine more most much must my myself near neither next no nor not now of off often on once one only onto or other
others our ours out over own per perhaps quite rather really same shall she should since so some something somewhere
such than that the their theirs them then there these they this those through till to together too toward towards
under until up upon us very was we well were what when where which while who whole whose why will with within
without would yes yet you your yours s t d m re ve ll
against along alongside around away past
bunch crowd family flock group herd row sky
bottom centre center corner day daytime edge half left lower middle part piece place right side spot top upper
add appear art artwork become bit bring change changed choose come create delete depict depicting describe design draw
drawing drawn erase favor favour figure generate get give go going graphic grow have idea illustrate illustration image
imagine keep kind landscape leave let look looking make making maybe move need paint painting photo photograph pic
picture please pls portrait put remove render rendering replace request rest scene see setting show showing sketch sort
stay stays story style surprise swap take thank thanks thing things think together turn turned use view want way wish
"""
_COUNTS = {word: number for number, word in enumerate(_COUNTED.split(), start=2)}
# With one of these, or a figure, a description may speak of more things than it names one by one.
_SEVERAL = "another both each every few group many more other others pair couple row second several some twin"
_MORE = frozenset(_SEVERAL.split())
_ALSO_PLURAL = frozenset({"fish", "sheep", "deer"})
FEELINGS, NUMBERS = frozenset(_FEELINGS.split()), frozenset(_NUMBERS.split())
STOP_WORDS = FEELINGS | NUMBERS | frozenset(_STOP_WORDS.split())
# No letter stands before an @, as it does in addresses, but of scripts that are written without spaces: Thai, Chinese,
# Japanese, Korean. `mentions` of js/panel/document.mjs is the same.
_NO_SPACES = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
MENTION = re.compile(rf"(?<![^\W{_NO_SPACES}])(?<!@)@([A-Za-z][A-Za-z0-9_-]*)")
_WORD = re.compile(r"[^\W_]+")
_CLAUSE = re.compile(r"[,.;:!?()]+")


# With one of these, a word of the wish may be what is not wanted.
_NEGATED = """
no not without except instead never nothing none neither nor but avoid exclude excluding minus unlike cannot
don doesn didn isn aren won
"""
_NEGATIONS = frozenset(_NEGATED.split())
# What endings do not tell: plurals, and the two spellings of one word.
_PLURALS = {
    "mice": "mouse", "geese": "goose", "men": "man", "women": "woman", "children": "child", "people": "person",
    "feet": "foot", "teeth": "tooth", "leaves": "leaf", "wolves": "wolf", "knives": "knife", "oxen": "ox",
    "cacti": "cactus",
}  # fmt: skip
_SAME = _PLURALS | {
    "gray": "grey", "color": "colour", "colored": "coloured", "colorful": "colourful", "center": "centre",
    "theater": "theatre", "airplane": "aeroplane", "mustache": "moustache", "harbor": "harbour", "armor": "armour",
    "neighbor": "neighbour", "jewelry": "jewellery", "pajamas": "pyjamas", "plow": "plough", "tire": "tyre",
    "watercolor": "watercolour",
}  # fmt: skip
# Words for the same thing, without plural endings: a description may use another one than the wish. Only what pictures
# are made of everywhere, such as sizes, times and grounds; what is rarer is told by its own name.
_SYNONYMS = """
small little tiny mini miniature wee smallish
big large huge giant enormous gigantic
dusk sunset sundown evening twilight
daytime daylight
night nighttime midnight
fog foggy mist misty haze hazy
rain raining rainy downpour
snow snowy winter wintry
sea ocean
beach sand sandy seaside shore
meadow grass grassy field
road street
desert dune
happy smiling smile
sleeping asleep sleepy sleep
cat kitten kitty pussycat
dog puppy doggy hound
rabbit bunny hare
horse pony
bird birdie
house cottage home hut
boat ship sailboat
car automobile auto
bicycle bike cycle
plane aeroplane
child kid
flower blossom bloom
mushroom toadstool
umbrella parasol brolly
red crimson scarlet
yellow golden
purple violet lilac
forest wood woods
city town
lake pond
turtle tortoise
castle fortress
lamp lantern
flag banner
mosaic pixel
striped stripy stripey stripe
spotted dotted spot dot spotty dotty
"""
# Words for more than one thing, and what a description may name for them; without plural endings.
_EXAMPLES = """
animal creature beast pet mammal: cat dog rabbit horse bird duck goose fish turtle snail butterfly cow sheep pig goat
    donkey chicken mouse hamster fox wolf bear deer lion tiger elephant monkey frog owl swan
insect bug: butterfly bee ant beetle fly dragonfly ladybird moth
reptile: turtle tortoise snake lizard crocodile
vehicle: car bus train boat bicycle plane truck lorry tram van motorcycle tractor scooter helicopter
building: house castle tower lighthouse church barn palace temple mill school hut
plant: tree flower cactus bush palm fern grass rose shrub
fruit: apple pear banana orange cherry strawberry grape lemon peach plum
food snack treat dessert: cake apple bread cheese pie cookie fruit pizza soup
human person someone somebody: person child man woman boy girl
boy girl: child
forest: tree
tree: forest
toy: kite balloon ball doll teddy
"""


@dataclass(frozen=True)
class NamedInWish:
    """For any language: the content words of a wish come up in its rewrite, and as often as a number before them says.

    Words are compared without case, accents, plural endings and spelling variants, and common words for the same
    thing are equal ("little" and "small"); a dog is an animal. A rewrite that shares no word with the wish may be
    in another language or in other words: it is not compared, and neither is a wish with a negation. Things are
    counted only in a rewrite that names them one by one.

    Attributes:
        wish: what the user wrote; mentions in it are not compared.
        names: of references that must be mentioned, without the @.
    """

    wish: str
    names: tuple[str, ...] = ()

    def missing(self, rewrite: str) -> tuple[str, ...]:
        """What a rewrite does not name, in words; empty when nothing is missing, or when that cannot be told."""
        stems = _stems(rewrite)
        said = {meaning(word) for word in stems}
        # A name may hold - and _, which words do not.
        lost = tuple(f"@{name}" for name in self.names if not set(_stems(name)) <= stems)
        wished = MENTION.sub(" ", self.wish)
        if _NEGATIONS & set(_words(wished)):
            return lost
        words = content_words(wished)
        unnamed = tuple(word for word in words if not {meaning(stem(word)), *examples(stem(word))} & said)
        if len(unnamed) == len(words):
            return lost
        led_to = tuple(_led_to(wished))
        nouns = {word for _, word in led_to}
        return (
            *(word for word in unnamed if _is_common(word) or (word in nouns and not _like(word, _words(rewrite)))),
            *(
                f"{number} {word}"
                for number, word in led_to
                if word not in unnamed and _are_fewer(number, word, rewrite)
            ),
            *lost,
        )

    def settled(self, rewrite: str) -> bool:
        """Whether the rewrite says no more than the wish did, so that another one would not differ either."""
        return _stems(rewrite) <= _stems(self.wish)


def content_words(text: str) -> tuple[str, ...]:
    """The words of a text that name something, in lower case and in order, each once."""
    words = (word for word in _words(text) if word.isascii() and not word.isdigit())
    return tuple(dict.fromkeys(word for word in words if word not in STOP_WORDS))


@cache
def stem(word: str) -> str:
    """A lower-case word without its plural ending; equal for "boxes" and "box", "gray" and "grey"."""
    word = _SAME.get(word, word)
    bare = _without_plural(word)
    return _SAME.get(bare, bare)


def _without_plural(word: str) -> str:
    # "-ie" and "-ies" end like "-y", on both sides of the comparison: "birdie" and "birdies", "puppy" and "puppies".
    for ending in ("ies", "ie"):
        if len(word) > 4 and word.endswith(ending):
            return word.removesuffix(ending) + "y"
    if len(word) > 4 and word.endswith("men"):
        return word[:-3] + "man"
    if len(word) > 4 and word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        # "houses" and "roses" also end like that: the e goes there too, on both sides of the comparison.
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith(("se", "xe", "ze", "che", "she", "oe")) else word


_MEANINGS = {stem(word): line.split()[0] for line in _SYNONYMS.strip().splitlines() for word in line.split()}


def meaning(word: str) -> str:
    """The first of the common words for what a stem says, or the stem itself."""
    return _MEANINGS.get(word, word)


def _read_examples() -> dict[str, frozenset[str]]:
    entries = (entry.partition(":") for entry in re.split(r"\n(?! )", _EXAMPLES.strip()))
    return {
        meaning(stem(word)): frozenset(meaning(stem(one)) for one in things.split())
        for words, _, things in entries
        for word in words.split()
    }


_KINDS = _read_examples()


def examples(word: str) -> frozenset[str]:
    """What counts as one of a kind: of the stem "animal" those of cats, dogs and others; of most words nothing."""
    return _KINDS.get(meaning(word), frozenset())


_COMMON = frozenset(_MEANINGS.values()) | frozenset(_KINDS) | frozenset().union(*_KINDS.values())


def _is_common(word: str) -> bool:
    """Whether a word is one that pictures are often asked for with."""
    return meaning(stem(word)) in _COMMON


def _led_to(text: str) -> Iterator[tuple[str, str]]:
    """Each "a" or number, and the last word that it leads to: "a big old unicorn galloping" leads to the unicorn."""
    for clause in _CLAUSE.split(text):
        number, last, inside = "", "", False
        for word in (*_words(clause), "the"):
            if inside and (_is_number(word) or word in STOP_WORDS - FEELINGS):
                yield number, last
            if _is_number(word):
                number, last, inside = word, "", True
            elif word in STOP_WORDS - FEELINGS:
                inside = False
            elif inside and not word.endswith("ing"):
                last = word


def _is_number(word: str) -> bool:
    return word in NUMBERS or word.isdecimal()


def _are_fewer(number: str, word: str, rewrite: str) -> bool:
    """Whether a rewrite names, one by one, fewer of some things than a number from two to ten says."""
    wanted = _COUNTS.get(number) or (int(number) if number.isdecimal() and len(number) < 3 else 0)
    said = _words(rewrite)
    if not 2 <= wanted <= 10 or not (_is_plural(word) or word in _ALSO_PLURAL):
        return False
    if any(one in _MORE or one in _COUNTS or one.isdecimal() for one in said):
        return False
    meant = {meaning(stem(word)), *examples(stem(word))}
    found = [one for one in said if meaning(stem(one)) in meant]
    return len(found) < wanted and not any(map(_is_plural, found))


def _is_plural(word: str) -> bool:
    return word in _PLURALS or word.endswith("men") or (word.endswith("s") and stem(word) != word)


def _like(word: str, others: Sequence[str]) -> bool:
    """Whether one of the others is the word in another spelling, as after a slip of the hand."""
    return bool(difflib.get_close_matches(word, others, n=1, cutoff=0.8))


def _words(text: str) -> Sequence[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _words(text)}
