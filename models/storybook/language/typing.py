"""How people write: greetings and hedges around what they want, loose punctuation, missing letters."""

from __future__ import annotations

import re
from random import Random

from .frames.manners import AFTER, BEFORE

TYPOS = 0.12  # share of the texts in which letters are wrong
SHORTEST = 4  # letters of a word that is mistyped
_BEFORE_VOWEL = re.compile(r"\ba (?=[aeio]|um)")  # "a unicorn" stays


def uttered(text: str, rng: Random) -> str:
    """A text as somebody types it."""
    text = _BEFORE_VOWEL.sub("an ", text)  # a frame has "a" before whatever word comes
    asks = text.endswith("?")
    text = text.removesuffix("?")
    if rng.random() < 0.25:
        text = rng.choice(BEFORE) + text
    if rng.random() < 0.2:
        text += rng.choice(AFTER)
    if asks:
        text += "?" if rng.random() < 0.75 else ""
    elif text[-1].isalpha():
        text += rng.choice(("", "", ".", "!"))
    if rng.random() < 0.12:
        text = text.replace("'", "")
    if rng.random() < 0.08:
        text = text.replace(",", "")
    return mistyped(text, rng) if rng.random() < TYPOS else text


def mistyped(text: str, rng: Random) -> str:
    """The same text with one word, or two, mistyped; mentions with @ stay."""
    words = text.split(" ")
    long = [number for number, word in enumerate(words) if len(word) >= SHORTEST and word.isalpha()]
    for number in rng.sample(long, min(len(long), rng.choice((1, 1, 2)))):
        words[number] = _wrong(words[number], rng)
    return " ".join(words)


def _wrong(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    way = rng.randrange(4)
    if way == 0:  # a letter is missing
        return word[:at] + word[at + 1 :]
    if way == 1:  # two are swapped
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if way == 2:  # one is doubled
        return word[:at] + word[at] + word[at:]
    return word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]
