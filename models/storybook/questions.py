"""Questions about a page, or about what changed between two, with short canonical answers that a program can check."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .captions import (
    GROUND_PLACES,
    KIND_WORDS,
    NUMBERS,
    SKY_IS,
    STYLE_WORDS,
    choose,
    noun_phrase,
    parse_caption,
    place_phrase,
    plural,
    words_of,
)
from .catalogue import KINDS
from .edits import Edit, reference_to, statement
from .naming import Mention
from .world import Scene, Thing, can_be_counted, is_clearly_absent

TOPICS = (
    "what",
    "where",
    "colour",
    "how_many",
    "count",
    "ground",
    "sky",
    "is_there",
    "size",
    "pose",
    "style",
    "pattern",
)

DESCRIBE = ("describe the picture", "what does the picture show", "tell me all about this picture", "describe this")
WHAT = ("what is there", "what do you see", "which things are in the picture", "what is in the picture")
WHERE = ("where is {it}", "in which place is {it}")
COLOUR = ("what colour is {it}", "which colour is {it}", "what colour does {it} have")
SIZE = ("how big is {it}", "is {it} small or big")
POSE = ("is {it} {one} or {other}",)
PATTERN = ("is {it} plain, striped or dotted", "which pattern does {it} have")
HOW_MANY = ("how many {kinds} are there", "how many {kinds} do you see")
COUNT = ("how many things are there", "how many objects do you see")
GROUND = ("what is the ground", "where are we", "on which ground is it")
SKY = ("what time is it", "how is the sky")
DAY_OR_NIGHT = ("is it day or night",)
STYLE = ("which style is it", "how is it drawn")
IS_THERE = ("is there {kind}", "do you see {kind}")
WITHOUT_THINGS = ("what", "how_many", "count", "ground", "sky", "is_there", "style")
"""Topics that a page without things has too."""
CHANGED = ("what changed", "what is new", "what did you change", "what is different now")
ANSWERS = ("yes", "no", "nothing")
PHRASES = (
    DESCRIBE,
    WHAT,
    WHERE,
    COLOUR,
    SIZE,
    POSE,
    HOW_MANY,
    COUNT,
    GROUND,
    SKY,
    DAY_OR_NIGHT,
    STYLE,
    IS_THERE,
    CHANGED,
    ANSWERS,
    PATTERN,
)


@dataclass(frozen=True)
class Question:
    """`topic` is one of TOPICS or "changed"; `answer` is canonical: lower case, no full stop."""

    topic: str
    text: str
    answer: str

    def is_right(self, answer: str) -> bool:
        """Whether an answer says the same: equal words, for "what" in any order of the things."""
        if self.topic != "what":
            return words_of(answer) == words_of(self.answer)
        given, wanted = (Counter(parse_caption(text).things) for text in (answer, self.answer))
        return given == wanted


def sample_question(scene: Scene, rng: Random, topic: str | None = None) -> Question:
    """A question that the scene answers. Raises ValueError for an unknown topic."""
    topics = TOPICS if scene.things else WITHOUT_THINGS
    topic = rng.choice(topics) if topic is None else topic
    if topic in ("where", "colour", "size", "pose", "pattern"):
        if topic == "pattern" and not with_patterns(scene):
            return sample_question(scene, rng, "colour")
        things = with_patterns(scene) if topic == "pattern" else scene.things
        return _about_thing(scene, rng.choice(things), topic, rng)
    if topic == "what":
        things = scene.canonical().things
        answer = ", ".join(noun_phrase(Mention(thing.kind, thing.colour)) for thing in things) or "nothing"
        return Question(topic, _ask(WHAT, rng), answer)
    if topic == "count":
        return Question(topic, _ask(COUNT, rng), NUMBERS[len(scene.things)])
    if topic == "ground":
        return Question(topic, _ask(GROUND, rng), GROUND_PLACES[scene.ground][0])
    if topic == "sky":
        asked = (*SKY, *DAY_OR_NIGHT) if scene.sky in ("day", "night") else SKY
        return Question(topic, _ask(asked, rng), SKY_IS[scene.sky][0])
    if topic == "style":
        return Question(topic, _ask(STYLE, rng), STYLE_WORDS[scene.style][0])
    if topic not in TOPICS:
        raise ValueError(f"Unknown topic {topic!r} of a question. Expected one of: {', '.join(TOPICS)}.")
    present, absent = askable(scene)
    kind = rng.choice(present) if present and rng.random() < 0.6 else rng.choice(absent)
    if topic == "how_many":
        number = sum(thing.kind == kind for thing in scene.things)
        return Question(topic, _ask(HOW_MANY, rng, kinds=plural(choose(KIND_WORDS[kind], rng))), NUMBERS[number])
    return Question(
        topic, _ask(IS_THERE, rng, kind=noun_phrase(Mention(kind), rng)), "yes" if kind in present else "no"
    )


def askable(scene: Scene) -> tuple[list[str], list[str]]:
    """Kinds whose things everybody would count alike: those that are there, and those that are not."""
    present = sorted({thing.kind for thing in scene.things if can_be_counted(thing.kind, scene)})
    return present, [kind for kind in KINDS if is_clearly_absent(kind, scene)]


def with_patterns(scene: Scene) -> tuple[Thing, ...]:
    """The things of which one can ask what pattern they have."""
    return tuple(thing for thing in scene.things if len(KINDS[thing.kind].patterns) > 1)


def _ask(forms: tuple[str, ...], rng: Random, **words: str) -> str:
    return rng.choice(forms).format(**words) + "?"


def _about_thing(scene: Scene, thing: Thing, topic: str, rng: Random) -> Question:
    rivals = [other for other in scene.things if other.kind == thing.kind and other != thing]
    it = reference_to(thing, scene, rng) if topic == "where" or not rivals else _by_place(thing, rng)
    if topic == "where":
        if "middle" in it or " at " in it or " in " in it or " on " in it:  # its name would give the answer away
            return sample_question(scene, rng, "count")
        return Question(topic, _ask(WHERE, rng, it=it), place_phrase(*thing.place))
    if topic == "colour":
        return Question(topic, _ask(COLOUR, rng, it=_by_place(thing, rng, kind_only=not rivals)), thing.colour)
    if topic == "size":
        return Question(
            topic,
            _ask(SIZE[:1] if thing.size == "medium" else SIZE, rng, it=_by_place(thing, rng, kind_only=not rivals)),
            thing.size,
        )
    if topic == "pattern":
        return Question(topic, _ask(PATTERN, rng, it=_by_place(thing, rng, kind_only=not rivals)), thing.pattern)
    one, other = rng.sample(KINDS[thing.kind].poses, 2)
    return Question(topic, _ask(POSE, rng, it=it, one=one, other=other), thing.pose)


def _by_place(thing: Thing, rng: Random, kind_only: bool = False) -> str:
    mention = Mention(thing.kind) if kind_only else Mention(thing.kind, column=thing.column, row=thing.row)
    return noun_phrase(mention, rng, article="the")


def change_question(before: Scene, edits: Sequence[Edit], rng: Random) -> Question:
    """What changed since `before`; the answer is `statement(before, edits)`."""
    return Question("changed", _ask(CHANGED, rng), statement(before, edits))
