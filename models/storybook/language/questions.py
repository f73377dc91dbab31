"""Questions about a picture in people's own words, with the short canonical answers of `storybook.questions`."""

from __future__ import annotations

import re
from itertools import permutations
from random import Random

import numpy as np

from .. import questions as canonical
from ..captions import NUMBERS, plural
from ..catalogue import KINDS
from ..naming import Mention
from ..questions import Question
from ..world import Scene, Thing
from .frames import questions
from .held_out import TRAINED, choose
from .orders import in_relation
from .referring import Reference
from .typing import uttered
from .words import BETWEEN, CLEAR_RELATIONS, COLOUR_WORDS, KIND_WORDS, SIZE_WORDS, indefinite, usual

TOPICS = tuple(questions.TOPICS)
_OF_THING = ("where", "colour", "size", "pose", "pattern")
_BETWEEN = 0.2  # how often a relation is one to two things, where there are two
_ON_THE_LINE, _BESIDE_THE_LINE = 0.75, 1.5  # places from the line between two things
_ALSO = {"it is dusk": ("evening",), "it is foggy": ("fog",), "it is pouring": ("rain", "rainy")}


def sample_question(scene: Scene, rng: Random, topic: str | None = None, part: str = TRAINED) -> Question:
    """A question that the scene answers. Raises ValueError for an unknown topic."""
    if topic is None:
        topic = rng.choice(TOPICS if scene.things else canonical.WITHOUT_THINGS)
    if topic not in TOPICS:
        raise ValueError(f"Unknown topic {topic!r} of a question. Expected one of: {', '.join(TOPICS)}.")
    if topic == "relation" and len(scene.things) < 2:
        topic = "where"
    if topic == "pattern" and not canonical.with_patterns(scene):
        topic = "colour"
    words, answer = _asked(scene, rng, topic)
    frames = [frame for frame in questions.TOPICS[topic] if _offers(frame, topic, answer)]
    text = choose(frames, part, rng).format(**words)
    return Question(topic, uttered(text, rng), answer)


def _asked(scene: Scene, rng: Random, topic: str) -> tuple[dict[str, str], str]:
    """What fills the frame, and the answer."""
    if topic in _OF_THING:
        things = canonical.with_patterns(scene) if topic == "pattern" else scene.things
        return _of_thing(scene, rng.choice(things), topic, rng)
    if topic == "relation":
        return _relation(scene, rng)
    if topic in ("how_many", "is_there"):
        present, absent = canonical.askable(scene)
        kind = rng.choice(present) if present and rng.random() < 0.6 else rng.choice(absent)
        named = usual(KIND_WORDS[kind], rng)
        words = {"kind": named, "kinds": plural(named), "new": indefinite(Mention(kind), rng)}
        count = sum(thing.kind == kind for thing in scene.things)
        return words, NUMBERS[count] if topic == "how_many" else "yes" if count else "no"
    return {}, canonical.sample_question(scene, rng, topic).answer


def _offers(frame: str, topic: str, answer: str) -> bool:
    """Whether a question that names some of the answers names the right one."""
    if topic == "size":
        return answer != "medium" or not re.search(
            r"\b(big|small|large|little|tiny|huge) or (rather )?(big|small|large|huge)", frame
        )
    offered = set(re.findall(r"\b(day|night|dusk|evening|fog|foggy|rain|rainy)\b", frame.replace("time of day", "")))
    return topic != "sky" or not offered or bool(offered & {*re.findall(r"\w+", answer), *_ALSO.get(answer, ())})


def _of_thing(scene: Scene, thing: Thing, topic: str, rng: Random) -> tuple[dict[str, str], str]:
    words = vars(_name(scene, thing, topic, rng))
    if topic == "where":
        return words, canonical.place_phrase(*thing.place)
    one, two = rng.sample(KINDS[thing.kind].poses, 2)
    return {**words, "one": one, "two": two}, getattr(thing, topic)


def _name(scene: Scene, thing: Thing, topic: str, rng: Random) -> Reference:
    """A name that does not give the answer away, as far as there is one."""
    hints = {
        "colour": COLOUR_WORDS[thing.colour],
        "size": tuple(word for words in SIZE_WORDS.values() for word in words),
        "where": (" at ", " on ", " in "),
        "pattern": ("strip", "dot", "spot", "plain", "simple", "pattern"),
    }
    for _ in range(12):
        reference = Reference.to(thing, scene, rng, last=Thing("house", "red", "small", 0, 0, "lit", (1, 1)))
        if not any(hint in f" {reference.it} " for hint in hints.get(topic, ())):
            break
    return reference


def _relation(scene: Scene, rng: Random) -> tuple[dict[str, str], str]:
    if len(scene.things) > 2 and rng.random() < _BETWEEN and _clear_triples(scene):
        return _between(scene, rng)
    thing, other = rng.sample(scene.things, 2)
    relations = ["left", "right"] if thing.column != other.column else []
    relations += ["above", "below"] if thing.row != other.row else []
    relation = rng.choice(relations)
    holds = {
        "left": thing.column < other.column,
        "right": thing.column > other.column,
        "above": thing.row < other.row,
        "below": thing.row > other.row,
    }[relation]
    words = {**vars(_name(scene, thing, "", rng)), "other": _name(scene, other, "", rng).it}
    return {**words, "relation": usual(CLEAR_RELATIONS[relation], rng)}, "yes" if holds else "no"


def _clear_triples(scene: Scene) -> dict[bool, list[tuple[Thing, Thing, Thing]]]:
    """By the answer, a thing and two others: whether it is between them, where everybody would say the same."""
    clear: dict[bool, list[tuple[Thing, Thing, Thing]]] = {}
    for thing, first, second in permutations(scene.things, 3):
        answer = _is_between(thing, first, second)
        if answer is not None and first.place < second.place:
            clear.setdefault(answer, []).append((thing, first, second))
    return clear


def _between(scene: Scene, rng: Random) -> tuple[dict[str, str], str]:
    clear = _clear_triples(scene)
    holds = rng.choice(list(clear))
    thing, *others = rng.choice(clear[holds])
    rng.shuffle(others)
    named = " and ".join(_name(scene, other, "", rng).it for other in others)
    words = {**vars(_name(scene, thing, "", rng)), "other": named, "relation": usual(BETWEEN, rng)}
    return words, "yes" if holds else "no"


def _is_between(thing: Thing, first: Thing, second: Thing) -> bool | None:
    """Whether a thing lies between two others; None where people would not agree."""
    start, end, at = (np.array(one.place, float) for one in (first, second, thing))
    along = end - start
    length = float(np.hypot(*along))
    share = float((at - start) @ along) / length**2
    aside = float(np.hypot(*(at - start - share * along)))
    if in_relation(thing.place, "between", first.place, second.place) and aside <= _ON_THE_LINE:
        return True
    beyond = not 0 < share < 1 and not in_relation(thing.place, "between", first.place, second.place)
    return False if beyond or aside >= _BESIDE_THE_LINE else None


def sample_describe(rng: Random, part: str = TRAINED) -> str:
    """A request to describe a picture."""
    return uttered(choose(questions.DESCRIBE, part, rng), rng)


def sample_changed(rng: Random, part: str = TRAINED) -> str:
    """A question about what changed from one picture to the next."""
    return uttered(choose(questions.CHANGED, part, rng), rng)
