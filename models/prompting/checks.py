"""What of a wish must stay in its rewrite, whatever the model makes of the rest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

# Words that carry no content of a picture: grammar, and the ways in which one asks for something.
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
add appear art artwork become bit change changed choose come create delete depict depicting describe design draw
drawing drawn erase figure generate get give go going graphic grow have idea illustrate illustration image
imagine keep kind leave let look make making maybe move paint painting photo photograph pic picture please
portrait put remove render rendering replace rest scene show showing sketch sort stay stays style surprise swap take
thank thanks thing things turn turned use view want wish
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
MENTION = re.compile(r"(?<![\w@])@([A-Za-z][A-Za-z0-9_-]*)")
_WORD = re.compile(r"[^\W_]+")


class RewriteCheck(Protocol):
    """Holds rewrites of one instruction to it. Made for one checkpoint's language by `worlds.constraint`."""

    def missing(self, rewrite: str) -> tuple[str, ...]:
        """What a rewrite lacks, in words; empty when it may be taken."""

    def sound(self, rewrite: str) -> str:
        """The beginning of a rewrite that may not be taken, up to where it goes wrong; empty where that is unknown."""

    def settled(self, rewrite: str) -> bool:
        """Whether the rewrite says no more than the instruction did, so that another one would not differ either."""

    def mend(self, rewrite: str) -> str:
        """What is drawn of a rewrite when none may be taken; empty for the wish itself."""


@dataclass(frozen=True)
class WordsStay:
    """For any model of open language: the content words of the instruction come up in the rewrite.

    Words are compared without case, accents and plural endings. Words of scripts without spaces or case are not
    compared, for such a wish may be answered in another language.

    Attributes:
        instruction: what the user wrote; mentions in it are not compared.
        names: of references that must be mentioned, without the @.
    """

    instruction: str
    names: tuple[str, ...] = ()

    def missing(self, rewrite: str) -> tuple[str, ...]:
        said = _stems(rewrite)
        lost = [word for word in content_words(MENTION.sub(" ", self.instruction)) if stem(word) not in said]
        # A name may hold - and _, which words do not.
        lost += [f"@{name}" for name in self.names if not set(_stems(name)) <= said]
        return tuple(lost)

    def sound(self, rewrite: str) -> str:
        return ""

    def settled(self, rewrite: str) -> bool:
        return _stems(rewrite) <= _stems(self.instruction)

    def mend(self, rewrite: str) -> str:
        """The wish itself in front of the description: so nothing of it is lost."""
        wish = self.instruction.strip()
        return f"{wish}{'' if wish.endswith(('.', '!', '?', ':', ';', ',')) else '.'} {rewrite}".strip()


def content_words(text: str) -> tuple[str, ...]:
    """The words of a text that name something, in lower case and in order, each once."""
    words = (word for word in _words(text) if word.isascii() and not word.isdigit())
    return tuple(dict.fromkeys(word for word in words if word not in STOP_WORDS))


@cache
def stem(word: str) -> str:
    """A lower-case word without its plural ending; equal for "boxes" and "box", "cities" and "city"."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ses", "xes", "zes", "ches", "shes")):
        # "houses" and "roses" also end like that: the e goes there too, on both sides of the comparison.
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith(("se", "xe", "ze", "che", "she")) else word


def _words(text: str) -> Sequence[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _words(text)}
