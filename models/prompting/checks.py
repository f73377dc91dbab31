"""Which of several rewrites of a wish for a new picture is preferred: those that name what the wish names.

A check prefers and reports. It never changes words, and says nothing about a wish that it cannot read: one that leaves
something out ("a house, but not red"), or one that is answered in another language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

# Words that carry no content of a picture: grammar, the ways in which one asks for something, numbers (told by naming
# things more than once), and how something should feel (told in other words).
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
quiet calm peaceful busy lively cosy cozy nice beautiful lovely pretty pleasant cute sweet funny moody dramatic good
great amazing interesting simple fancy cool awesome wonderful magical
zero two three four five six seven eight nine ten couple pair
add appear art artwork become bit bring change changed choose come create delete depict depicting describe design draw
drawing drawn erase figure generate get give go going graphic grow have idea illustrate illustration image
imagine keep kind leave let look make making maybe move paint painting photo photograph pic picture please
portrait put remove render rendering replace rest scene show showing sketch sort stay stays style surprise swap take
thank thanks thing things together turn turned use view want wish
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
# No letter stands before an @, as it does in addresses, but of scripts that are written without spaces: Thai, Chinese,
# Japanese, Korean. `mentions` of js/panel/document.mjs is the same.
_NO_SPACES = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
MENTION = re.compile(rf"(?<![^\W{_NO_SPACES}])(?<!@)@([A-Za-z][A-Za-z0-9_-]*)")
_WORD = re.compile(r"[^\W_]+")


# With one of these, a word of the wish may be what is not wanted.
_NEGATED = """
no not without except instead never nothing none neither nor but avoid exclude excluding minus unlike cannot
don doesn didn isn aren won
"""
_NEGATIONS = frozenset(_NEGATED.split())
# What endings do not tell: plurals, and the two spellings of one word.
_SAME = {
    "mice": "mouse", "geese": "goose", "men": "man", "women": "woman", "children": "child", "people": "person",
    "feet": "foot", "teeth": "tooth", "leaves": "leaf", "wolves": "wolf", "knives": "knife", "oxen": "ox",
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
day daytime daylight
night nighttime midnight
fog foggy mist misty haze hazy
rain raining rainy
snow snowy winter wintry
sea ocean
beach sand sandy seaside shore
meadow grass grassy field
road street
desert dune
happy smiling smile
sleeping asleep sleepy sleep
cat kitten kitty pussycat
dog puppy doggy
rabbit bunny
horse pony
bird birdie
house cottage home hut
boat ship sailboat
car automobile auto
bicycle bike
plane aeroplane
child kid
flower blossom bloom
mushroom toadstool
umbrella parasol brolly
red crimson scarlet
yellow golden
purple violet lilac
middle centre
striped stripy stripe
spotted dotted spot dot
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
toy: kite balloon ball doll teddy
"""


@dataclass(frozen=True)
class NamedInWish:
    """For any language: the content words of a wish come up in its rewrite.

    Words are compared without case, accents, plural endings and spelling variants, and common words for the same
    thing are equal ("little" and "small"); a dog is an animal. A rewrite that shares no word with the wish may be
    in another language or in other words: it is not compared, and neither is a wish with a negation.

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
        return lost if len(unnamed) == len(words) else (*unnamed, *lost)

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
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ses", "xes", "zes", "ches", "shes")):
        # "houses" and "roses" also end like that: the e goes there too, on both sides of the comparison.
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith(("se", "xe", "ze", "che", "she")) else word


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


def _words(text: str) -> Sequence[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _words(text)}
