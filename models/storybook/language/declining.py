"""What lies outside the world, as people ask for it, and the plain answers that it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from random import Random
from string import Formatter
from types import MappingProxyType

from ..captions import NUMBERS, plural
from ..catalogue import CATEGORIES, COLOURS, GROUNDS, KINDS, SKIES
from ..naming import Mention
from ..questions import sample_question
from ..world import MOST_THINGS, Scene, Thing, is_clearly_absent
from .adjectives import blended, described
from .deeds import sample_deed
from .frames import (
    additions,
    colours,
    moves,
    outside,
    patterns,
    questions,
    removals,
    replacements,
    settings,
    sizes,
    wishes,
)
from .held_out import HELD_OUT, TRAINED, choose, part_of
from .referring import Reference
from .typing import uttered
from .wishes import set_somewhere
from .words import (
    CATEGORY_WORDS,
    COLOUR_WORDS,
    GROUND_NAMES,
    KIND_WORDS,
    MARKS,
    PATTERNS_BEFORE,
    RELATIONS,
    indefinite,
    number,
    setting,
    usual,
    with_article,
)

_KINDS = [plural(kind) for kind in KINDS]
ALL_I_DRAW = f"i can draw {', '.join(_KINDS[:-1])} and {_KINDS[-1]}."
CAN_DRAW = "i can draw animals, people, vehicles, buildings, plants, food, things of the sky and some others."
"""What is said to those who asked for something else; all of it only to those who ask what there is."""
CANNOT_DRAW = "i cannot draw that."
ONLY_ENGLISH = "i only understand english."
NOT_UNDERSTOOD = "i do not understand that."
CANNOT_DO = "i cannot do that."
CAN_DO = (
    "i can add, remove, replace, move, turn, resize and recolour things, give them stripes or dots, and change the "
    "ground, the weather and the style."
)
NO_SUCH_PLACE = "i cannot draw that place."
_GROUNDS = [GROUND_NAMES[ground][0] for ground in GROUNDS]
PLACES = f"the ground can be {', '.join(_GROUNDS[:-1])} or {_GROUNDS[-1]}."
NOT_THERE = "that is not in the picture."
WHICH = "i do not know which thing you mean."
NO_ROOM = f"there is no room for more. i draw {NUMBERS[MOST_THINGS]} things at most."
UNKNOWN_PICTURE = "i do not know what this picture shows."
#: what every plain answer begins with, one of them
BEGINNINGS = (
    CANNOT_DRAW, ONLY_ENGLISH, NOT_UNDERSTOOD, CANNOT_DO, NO_SUCH_PLACE, NOT_THERE, WHICH, NO_ROOM, UNKNOWN_PICTURE,
    "i can draw",
)  # fmt: skip

_ON_GROUND = tuple(frame for frame in settings.GROUND if "{ground}" not in frame)
UNKNOWN_ANSWER = f"{UNKNOWN_PICTURE} {CAN_DRAW}"

_MAY_BE_SEEN = frozenset((
    "door", "window", "wall", "gate", "chimney", "candle", "leaf", "shell", "hat", "scarf", "dune", "hill", "cliff",
    "boulder", "poodle", "labrador", "dachshund", "pigeon", "crow", "dove", "raven", "swallow", "duckling", "goose",
    "toddler", "cabin", "villa", "palace", "ferry", "yacht", "van", "taxi", "race car", "jeep", "jet", "tram",
))  # fmt: skip
"""Unknown things that something in a picture may be taken for, so that nobody says that they are not there."""
_MARKED = frozenset(("lighthouse", "butterfly", "turtle", "kite", "tower"))
"""Kinds that are drawn with something like stripes, dots or lines on them."""
MANY, RELATED = 0.15, 0.4
"""Shares of the unknown things that are asked for in numbers, and of those that stand in a relation to a known one."""
MADE_UP = 0.3
"""Share of the unknown things of training that are no word at all: no list holds every thing that people may name."""
PUT_TOGETHER = 0.45
"""Share of the unknown places and deeds of training that are put together from words, for the same reason."""
WISHED, ORDERED, ASKED = "wished", "ordered", "asked"
#: the template of what is said there
TASK_OF = {WISHED: "rewrite", ORDERED: "edit_rewrite", ASKED: "ask"}
WEIGHTS: Mapping[str, float] = MappingProxyType({
    "thing": 3, "things": 1, "place": 1.2, "wish": 1.2, "foreign": 1.5, "nonsense": 1, "talk": 1, "can": 0.6,
    "add": 1.4, "deed": 1.2, "absent": 2, "replace": 0.7, "colour": 1.4, "ground": 0.8, "question": 0.8, "full": 1.5,
    "which": 0.8, "pattern": 0.5,
})  # fmt: skip
"""What is declined, and how often people say it."""
DECLINED = tuple(WEIGHTS)


@dataclass(frozen=True)
class Declined:
    """Something outside the world: how it is said, where (as a wish, an order or a question), and its answer."""

    kind: str
    where: str
    text: str
    answer: str


def is_plain(answer: str) -> bool:
    """Whether an answer says that something cannot be done, seen or understood."""
    answer = answer.strip().lower()
    looks = (f"{with_article(kind)} {says}" for kind in KINDS for says in ("can be", "is always plain"))
    return any(map(answer.startswith, looks)) or any(answer.startswith(beginning) for beginning in BEGINNINGS)


def colours_of(kind: str) -> str:
    """Such as "a cat can be orange, black, white or brown."."""
    *most, last = KINDS[kind].colours
    return f"{with_article(kind)} can be {', '.join(most)} or {last}."


def always_plain(kind: str) -> str:
    """What is said of a kind that cannot have a pattern."""
    return f"{with_article(kind)} is always plain."


def seen(scene: Scene) -> str:
    """What there is instead of what is not there."""
    return f"{NOT_THERE} {_seen(scene)}"


def _seen(scene: Scene) -> str:
    return f"i see {sample_question(scene, Random(0), 'what').answer}."


_OF_THINGS = {"replace", "colour", "absent", "question"}
"""What is said of things in the picture, or in place of them."""


def sample_declined(
    scene: Scene,
    rng: Random,
    part: str = TRAINED,
    kind: str | None = None,
    weights: Mapping[str, float] = WEIGHTS,
) -> Declined:
    """Something outside the world; `scene` is the picture that orders and questions are about.

    `weights` say how often each kind comes where none is given; what they do not name weighs 1.
    """
    if kind is None:
        left_out = {"full"} if len(scene.things) < MOST_THINGS else set()
        left_out |= {"which"} if len(scene.things) < 2 else set()
        left_out |= set() if any(map(_has_no_pattern, scene.things)) else {"pattern"}
        left_out |= set() if scene.things else _OF_THINGS
        possible = [name for name in DECLINED if name not in left_out]
        kind = rng.choices(possible, [weights.get(name, 1) for name in possible])[0]
    where, text, answer = _declined(scene, rng, part, kind)
    foreign = kind in ("foreign", "nonsense")
    return Declined(kind, where, text if foreign and rng.random() < 0.7 else uttered(text, rng), answer)


def _setting(rng: Random) -> str:
    """A ground and a sky of this world, or less: what is asked for cannot be drawn there either."""
    ground = rng.choice(GROUNDS) if rng.random() < 0.4 else None
    return setting(ground, rng.choice(SKIES) if rng.random() < 0.3 else None, rng)


def _noun(rng: Random, part: str) -> str:
    return _made_up(rng) if part == TRAINED and rng.random() < MADE_UP else choose(outside.THINGS, part, rng)


def _made_up(rng: Random) -> str:
    """Such as "hamsffe", the front of one unknown thing and the back of another."""
    while True:
        word = blended(_nouns(), rng)
        # It might be a real word after all, or one of this world that is mistyped.
        if word not in outside.THINGS and not get_close_matches(word, _known_nouns(), n=1, cutoff=0.75):
            return word


@cache
def _nouns() -> tuple[str, ...]:
    return tuple(noun for noun in part_of(outside.THINGS, TRAINED) if noun.isalpha() and len(noun) >= 3)


@cache
def _known_nouns() -> tuple[str, ...]:
    return tuple(noun for words in (KIND_WORDS, CATEGORY_WORDS) for nouns in words.values() for noun in nouns)


def _place(rng: Random, part: str) -> str:
    """Such as "in space"; of those of training some are put together: "inside a teapot", "in hamsffe"."""
    while part == TRAINED and rng.random() < PUT_TOGETHER:
        noun = _noun(rng, part)
        place = f"{rng.choice(('in', 'at', 'inside'))} {rng.choice((with_article(noun), f'the {noun}', noun))}"
        if place not in part_of(outside.PLACES, HELD_OUT):
            return place
    return choose(outside.PLACES, part, rng)


def _deed(scene: Scene, rng: Random, part: str) -> str:
    while part == TRAINED and scene.things and rng.random() < PUT_TOGETHER:
        named = Reference.to(rng.choice(scene.things), scene, rng)
        text = sample_deed(named.it, named.its, _noun(rng, part), rng)
        if text not in part_of(outside.DEEDS, HELD_OUT):
            return text
    return choose(outside.DEEDS, part, rng)


def _thing(rng: Random, part: str) -> str:
    noun = _noun(rng, part)
    if rng.random() < 0.3:
        look = rng.choice((*COLOURS, "small", "big", "little", "huge"))
        noun = f"{look if rng.random() < 0.5 else described(rng.choice(tuple(CATEGORIES)), rng, part)} {noun}"
    return noun


def _declined(scene: Scene, rng: Random, part: str, kind: str) -> tuple[str, str, str]:
    drawing = f"{CANNOT_DRAW} {CAN_DRAW}"
    anywhere = rng.choice((WISHED, WISHED, ORDERED, ASKED))
    if kind == "thing":
        words = _thing(rng, part)
        many = number(rng.choice((2, 2, 3, 4)), rng, plural(words))
        words = many if rng.random() < MANY else with_article(words)
        return WISHED, set_somewhere(choose(wishes.THINGS, part, rng), words, _setting(rng), rng), drawing
    if kind == "things":
        pair = [with_article(_thing(rng, part)), indefinite(Mention(rng.choice(tuple(KINDS))), rng)]
        rng.shuffle(pair)
        if rng.random() < RELATED:
            relation = usual(RELATIONS[rng.choice(tuple(RELATIONS))], rng)
            words = {"new": pair[0], "relation": relation, "other": pair[1]}
            return WISHED, choose(wishes.RELATED, part, rng).format(**words), drawing
        text = set_somewhere(choose(wishes.THINGS, part, rng), " and ".join(pair), _setting(rng), rng)
        return WISHED, text, drawing
    if kind == "place":
        inside = f"{indefinite(Mention(rng.choice(tuple(KINDS))), rng)} " if rng.random() < 0.6 else "something "
        words = inside + _place(rng, part)
        return WISHED, choose(wishes.THINGS, part, rng).format(things=words), f"{NO_SUCH_PLACE} {PLACES}"
    if kind == "wish":
        words = choose(outside.WISHES, part, rng)
        return WISHED, choose(wishes.THINGS, part, rng).format(things=words), drawing
    if kind == "foreign":
        return anywhere, choose(outside.FOREIGN, part, rng), f"{ONLY_ENGLISH} {CAN_DRAW}"
    if kind == "nonsense":
        text = choose(outside.NONSENSE, part, rng) if rng.random() < 0.5 else _gibberish(rng)
        return anywhere, text, f"{NOT_UNDERSTOOD} {CAN_DRAW}"
    if kind == "talk":
        return anywhere, choose(outside.TALK, part, rng), f"{CANNOT_DO} {CAN_DRAW}"
    if kind == "can":
        return rng.choice((WISHED, ASKED)), choose(outside.CAN, part, rng), ALL_I_DRAW
    if kind == "add":
        return ORDERED, choose(additions.NEW, part, rng).format(new=with_article(_thing(rng, part))), drawing
    if kind == "deed":
        return ORDERED, _deed(scene, rng, part), f"{CANNOT_DO} {CAN_DO}"
    if kind == "ground":
        frame = choose(_ON_GROUND, part, rng)
        return ORDERED, frame.format(on=_place(rng, part)), f"{NO_SUCH_PLACE} {PLACES}"
    return _about_picture(scene, rng, part, kind)


def _about_picture(scene: Scene, rng: Random, part: str, kind: str) -> tuple[str, str, str]:
    if kind == "full":
        new = indefinite(Mention(rng.choice(tuple(KINDS))), rng)
        return ORDERED, choose(additions.NEW, part, rng).format(new=new), NO_ROOM
    if kind == "which":  # the first order, of several things: nobody can tell what "it" is
        frames = rng.choice((sizes.BIGGER, sizes.SMALLER, colours.NAMED, removals.ONE, moves.SIDEWAYS))
        words = {
            "it": rng.choice(("it", "it", "it", "that", "this", "that one", "this one")),
            "colour": usual(COLOUR_WORDS[rng.choice(scene.things).colour], rng),
            "way": rng.choice(("left", "right")),
        }
        return ORDERED, _with_it(frames, part, words, rng), f"{WHICH} {_seen(scene)}"
    thing = rng.choice([one for one in scene.things if kind != "pattern" or _has_no_pattern(one)])
    named = vars(Reference.to(thing, scene, rng))
    if kind == "replace":
        words = {**named, "new": with_article(_thing(rng, part))}
        return ORDERED, choose(replacements.REPLACE, part, rng).format(**words), f"{CANNOT_DRAW} {CAN_DRAW}"
    if kind == "colour":
        unreal = [colour for colour in COLOURS if colour not in KINDS[thing.kind].colours]
        colour = usual(COLOUR_WORDS[rng.choice(unreal)], rng)
        if rng.random() < 0.25:
            made_up = part == TRAINED and rng.random() < MADE_UP
            colour = _made_up(rng) if made_up else choose(outside.UNREAL_COLOURS, part, rng)
        words = {**named, "colour": colour, "old": usual(COLOUR_WORDS[thing.colour], rng)}
        return ORDERED, choose(colours.NAMED, part, rng).format(**words), colours_of(thing.kind)
    if kind == "pattern":
        pattern = rng.choice(tuple(MARKS))
        words = {**named, "pattern": usual(PATTERNS_BEFORE[pattern], rng), "marks": usual(MARKS[pattern], rng)}
        return ORDERED, choose(patterns.MARKED, part, rng).format(**words), always_plain(thing.kind)
    # "absent" and "question": of a thing that is not there, from this world or not
    noun = usual(KIND_WORDS[rng.choice([kind for kind in KINDS if is_clearly_absent(kind, scene)])], rng)
    if rng.random() < 0.5:
        noun = _noun(rng, part)
        while noun in _MAY_BE_SEEN:
            noun = _noun(rng, part)
    words = {"it": f"the {noun}", "its": f"the {noun}'s", "noun": noun, "kind": noun, "kinds": plural(noun)}
    if kind == "question":
        topic = rng.choice(("where", "colour", "size"))
        return ASKED, choose(questions.TOPICS[topic], part, rng).format(**words), seen(scene)
    frames = rng.choice((removals.ONE, removals.ONE, sizes.BIGGER, sizes.SMALLER, colours.NAMED))
    if frames is colours.NAMED:
        words["colour"] = rng.choice(tuple(COLOURS))
    return ORDERED, _with_it(frames, part, words, rng), seen(scene)


def _has_no_pattern(thing: Thing) -> bool:
    """Whether nothing like a pattern can be seen on things of this kind, in any pose."""
    kind = KINDS[thing.kind]
    return len(kind.patterns) == 1 and thing.kind not in _MARKED and not {"striped", "spotted"} & {*kind.poses}


def _with_it(frames: Sequence[str], part: str, words: Mapping[str, str], rng: Random) -> str:
    """A frame about a thing that needs no more than these words."""
    asked = ((frame, {name for _, name, _, _ in Formatter().parse(frame) if name}) for frame in frames)
    possible = [frame for frame, names in asked if "it" in names <= words.keys()]
    return choose(possible, part, rng).format(**words)


def _gibberish(rng: Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    vowels = "aeiou"
    words = []
    for _ in range(rng.randint(1, 4)):
        pattern = rng.random() < 0.5
        length = rng.randint(3, 9)
        words.append("".join(rng.choice(vowels if pattern and i % 2 else letters) for i in range(length)))
    return " ".join(words)
