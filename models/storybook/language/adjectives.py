"""Adjectives and verbs that change nothing about how a thing is drawn: people say them all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from types import MappingProxyType

from ..catalogue import CATEGORIES
from .held_out import TRAINED, choose, part_of

FOR_ALL = (
    "nice", "lovely", "pretty", "beautiful", "cute", "funny", "wonderful", "strange", "special", "magical", "fancy",
    "adorable", "fantastic", "amazing", "gorgeous", "elegant", "perfect", "unusual", "mysterious", "neat", "cool",
    "sweet", "dreamy", "old", "new", "ordinary", "typical", "normal", "classic", "famous", "good", "interesting",
    "crazy", "silly", "weird", "stylish", "charming", "odd", "marvellous", "splendid", "delightful", "magnificent",
    "impressive", "remarkable", "ugly", "delicate", "romantic", "enchanted", "mystical", "cartoonish", "artistic",
    "decorative", "attractive", "pleasant", "peculiar", "rare", "precious", "unique", "random", "lucky", "quirky",
    "colourful", "colorful", "fabulous", "whimsical", "stunning",
)  # fmt: skip
"""What is said of anything."""
BY_CATEGORY: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "animal": (
        "happy", "sad", "friendly", "hungry", "clever", "brave", "curious", "shy", "playful", "gentle", "lazy",
        "proud", "excited", "grumpy", "angry", "kind", "jolly", "loyal", "wild", "tame", "young", "fluffy", "furry",
        "chubby", "smart", "naughty", "cheerful", "bored", "calm", "cuddly", "noble", "timid", "thirsty", "lonely",
    ),
    "human": (
        "happy", "sad", "friendly", "kind", "polite", "brave", "clever", "cheerful", "young", "elderly", "busy",
        "shy", "proud", "jolly", "grumpy", "excited", "curious", "thoughtful", "tired", "rich", "poor", "lonely",
    ),
    "building": (
        "cosy", "cozy", "ancient", "abandoned", "modern", "rustic", "medieval", "inviting", "traditional", "wooden",
        "majestic", "empty", "comfortable", "quaint", "grand", "royal", "humble", "brick", "spooky", "haunted",
        "warm", "homely", "picturesque", "luxurious", "lonely", "forgotten", "welcoming", "sturdy", "creepy",
        "country", "village", "family", "holiday", "fairytale", "summer", "hidden",
    ),
    "vehicle": (
        "fast", "slow", "shiny", "vintage", "rusty", "sporty", "modern", "old-fashioned", "brand new", "expensive",
        "cheap", "noisy", "speedy", "antique", "futuristic", "retro", "used", "sleek", "battered", "powerful",
    ),
    "plant": (
        "fresh", "healthy", "wild", "lush", "exotic", "fragrant", "tropical", "majestic", "graceful", "tender", "young",
        "prickly", "ancient", "lonely", "magic", "shady", "sturdy",
    ),
    "snack": (
        "delicious", "tasty", "yummy", "juicy", "ripe", "fresh", "homemade", "festive", "crunchy", "mouth-watering",
        "fruity", "scrumptious", "appetising", "organic",
    ),
    "heavenly body": ("shining", "glowing", "sparkling", "twinkling", "warm", "distant", "radiant", "gleaming"),
    "place": (
        "quiet", "peaceful", "wide", "endless", "empty", "wild", "remote", "deep", "vast", "deserted",
        "hidden", "secret", "foreign", "exotic", "magic", "enchanted", "far away", "distant", "famous", "ancient",
    ),
    "other": ("handmade", "shiny", "antique", "festive", "vintage", "well made", "homemade", "sturdy"),
})  # fmt: skip
"""What is said of the kinds of one category, of a ground, and of other things."""
DOING: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "animal": (
        "playing", "sitting", "resting", "running", "walking", "standing", "waiting", "jumping", "relaxing",
        "having fun", "exploring", "enjoying the view", "looking around", "strolling", "wandering", "living", "hiding",
    ),
    "human": (
        "playing", "walking", "waiting", "running", "sitting", "relaxing", "hiking", "strolling",
        "having a good time", "enjoying the day", "going for a walk", "resting", "daydreaming",
    ),
    "boat": ("sailing", "drifting", "floating", "cruising", "travelling", "lying", "rocking", "heading out"),
    "fish": ("swimming", "diving", "splashing", "playing", "floating", "living"),
    "bird": ("flying", "gliding", "soaring", "hovering", "passing by", "circling"),
    "vehicle": (
        "driving", "going", "travelling", "rolling", "parked", "waiting", "speeding", "passing by", "standing",
        "on its way", "making its way", "moving",
    ),
    "plant": ("growing", "standing", "thriving", "swaying", "to be found", "located"),
    "building": ("standing", "built", "hidden", "nestled", "waiting", "situated", "to be seen", "perched", "located"),
    "heavenly body": ("shining", "glowing", "hovering", "sparkling", "hanging low", "gleaming"),
    "other": ("lying", "waiting", "left behind", "placed", "to be seen", "forgotten"),
})  # fmt: skip
"""What things are said to do, or to be, somewhere; nothing of it is drawn."""
TOGETHER: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "animal": (
        "chasing", "following", "watching", "looking at", "playing with", "running after", "meeting", "greeting",
        "sitting next to", "lying beside", "hiding behind", "running towards", "waiting for", "staring at",
        "walking past", "guarding", "visiting", "resting beside", "on its way to", "curious about", "dreaming of",
        "together with", "sniffing at", "jumping over",
    ),
    "human": (
        "watching", "looking at", "walking towards", "waving at", "talking to", "playing with", "pointing at",
        "visiting", "admiring", "waiting for", "standing next to", "walking with", "greeting", "running to",
        "leaning on", "walking past", "chasing", "looking for", "coming from", "on the way to", "together with",
        "sitting by", "hugging", "showing us",
    ),
    "fish": ("swimming past", "swimming around", "swimming towards", "following", "watching", "chasing", "circling"),
    "bird": (
        "flying over", "gliding over", "circling", "hovering above", "floating above", "passing over", "flying around",
        "flying towards", "flying away from", "landing on", "soaring above", "drifting past", "following",
        "hovering near",
    ),
    "boat": (
        "sailing past", "drifting towards", "anchored by", "leaving", "heading for", "passing", "sailing around",
        "docked by",
    ),
    "vehicle": (
        "passing", "driving past", "going by", "parked next to", "parked in front of", "heading for", "racing",
        "following", "on its way to", "waiting at", "overtaking", "driving towards", "stopping at", "leaving",
    ),
    "plant": ("growing beside", "growing next to", "standing by", "in front of", "shading", "towering over", "near"),
    "building": (
        "standing next to", "towering over", "overlooking", "facing", "hidden behind", "built beside", "close to",
        "surrounded by", "guarded by", "along with",
    ),
    "heavenly body": (
        "shining on", "shining down on", "rising over", "smiling at", "looking down on", "high above", "winking at",
    ),
    "other": ("leaning against", "standing next to", "left beside", "lying next to", "together with", "not far from"),
})  # fmt: skip
"""What one thing is said to do with another. Both are drawn, and nothing of what is done."""
_LIKE: Mapping[str, str] = MappingProxyType({
    "duck": "fish", "turtle": "fish", "butterfly": "bird", "aeroplane": "bird", "balloon": "bird", "kite": "bird",
})  # fmt: skip
MADE_UP = 0.15
"""Share of the adjectives of training that are no words: no list holds all that people may say."""
TWO = 0.1


def described(kind: str, rng: Random, part: str = TRAINED) -> str:
    """An adjective, or two, for a kind, a category or a "place": "cosy", "happy friendly"."""
    words = [_adjective(kind, rng, part) for _ in range(1 + (rng.random() < TWO))]
    return rng.choice((" ", ", ", " and ")).join(dict.fromkeys(words))


def doing(kind: str, rng: Random, part: str = TRAINED) -> str:
    """What a kind or a category may be said to do: "playing", of a boat "sailing"."""
    return _done(DOING, kind, rng, part)


def doing_with(kind: str, rng: Random, part: str = TRAINED) -> str:
    """What a kind or a category may be said to do with something: "chasing", of a car "driving past"."""
    return _done(TOGETHER, kind, rng, part)


def _done(table: Mapping[str, tuple[str, ...]], kind: str, rng: Random, part: str) -> str:
    name = kind if kind in table else _LIKE.get(kind, "")
    return choose(table[name] if name else _fitting(table, kind), part, rng)


def blended(words: Sequence[str], rng: Random) -> str:
    """A word that is none: the front of one word and the back of another."""
    front, back = rng.choice(words), rng.choice(words)
    return front[: (len(front) + 1) // 2] + back[len(back) // 2 :]


def _adjective(kind: str, rng: Random, part: str) -> str:
    if part == TRAINED and rng.random() < MADE_UP:
        return blended(_one_word(), rng)
    return choose(_fitting(BY_CATEGORY, kind) if rng.random() < 0.6 else FOR_ALL, part, rng)


def _fitting(table: Mapping[str, tuple[str, ...]], kind: str) -> tuple[str, ...]:
    """The words of the category that a kind, or all of a smaller category, belongs to."""
    kinds = {*CATEGORIES.get(kind, (kind,))}
    fitting = (words for name, words in table.items() if name == kind or kinds <= {*CATEGORIES.get(name, ())})
    return next(fitting, table["other"])


@cache
def _one_word() -> tuple[str, ...]:
    every = (word for words in (FOR_ALL, *BY_CATEGORY.values()) for word in part_of(words, TRAINED))
    return tuple(dict.fromkeys(word for word in every if word.isalpha() and len(word) >= 5))
