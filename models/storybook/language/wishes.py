"""Wishes for a new picture in people's own words, each with what it names and a picture that fulfils it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from ..captions import plural
from ..catalogue import COLOURS, GROUNDS, KINDS, SKIES, STYLES
from ..naming import Mention, Named
from ..wishes import named_first, nothing_alike, sample_scene_for, thinned
from ..world import MOST_THINGS, Scene, Thing, is_clearly_absent, sample_scene, sample_thing
from .adjectives import described, doing, doing_with
from .frames import wishes
from .held_out import TRAINED, choose
from .orders import beside, between
from .typing import uttered
from .words import (
    BETWEEN,
    DESCRIBED_IN_WISHES,
    GROUND_NAMES,
    KIND_WORDS,
    RELATIONS,
    STYLE_WORDS,
    bare_noun,
    in_general,
    indefinite,
    setting,
    several,
    usual,
    with_article,
)

WEIGHTS = MappingProxyType({
    "anything": 1.2, "setting": 1, "place": 1, "quiet": 0.4, "busy": 0.4, "kinds": 2, "some": 2, "most": 2,
    "everything": 0.5, "group": 2.4, "doing": 2, "without": 2.4, "related": 1.4,
})  # fmt: skip
LEVELS = tuple(WEIGHTS)
STYLED = 0.12  # share of the wishes that name a style
BETWEEN_TWO = 0.2  # how often a relation is one to two things
DOING = 0.4
"""How often the last thing of a wish is said to do something where it is."""
_COUNTS = (2, 2, 2, 3, 3, 4, 4, 5)
EMPTY = ("empty", "deserted", "bare", "abandoned")
"""What is said of a place in which there is nothing."""
BESIDE_GROUP = 0.6
"""How often there is something else beside several of a kind."""
_CHANCES = {"kinds": 0.0, "some": 0.4, "most": 0.8, "everything": 1.0}


@dataclass(frozen=True)
class OwnWish:
    """`text` names `named` and rules out the kinds of `absent`; `scene` fulfils both, its named things first.

    Where there is a `relation`, the first named thing has it to the other named ones; see `in_relation`.
    """

    level: str
    text: str
    named: Named
    scene: Scene
    absent: tuple[str, ...] = ()
    relation: str = ""


def sample_wish(rng: Random, part: str = TRAINED, level: str | None = None, styled: float = STYLED) -> OwnWish:
    """A wish of one of LEVELS; a share `styled` of them names a style. Raises ValueError for an unknown level."""
    level = rng.choices(LEVELS, list(WEIGHTS.values()))[0] if level is None else level
    if level not in LEVELS:
        raise ValueError(f"Unknown level {level!r} of a wish. Expected one of: {', '.join(LEVELS)}.")
    wish = _related(rng, part) if level == "related" else _plain(rng, part, level)
    if rng.random() < styled:
        wish = _styled(wish, rng)
    wish = replace(wish, text=uttered(wish.text, rng), scene=nothing_alike(wish.scene, wish.named))
    return _alone(wish) if _ALONE.search(wish.text) else wish


_ALONE = re.compile(r"\b(only|just|simply|nothing else|nothing but|lonely)\b(?! (no|without)\b)")


def _alone(wish: OwnWish) -> OwnWish:
    """The same wish for nothing but what it names."""
    count = len(wish.named.things)
    if not count:
        return wish
    return replace(
        wish, named=replace(wish.named, most=count), scene=replace(wish.scene, things=wish.scene.things[:count])
    )


def _styled(wish: OwnWish, rng: Random) -> OwnWish:
    """The same wish with a style that it names."""
    style = rng.choice(STYLES)
    words, asks = usual(STYLE_WORDS[style], rng), wish.text.endswith("?")
    text = wish.text.removesuffix("?").rstrip(".!")
    text = rng.choice((" ", ", ")).join((words, text) if rng.random() < 0.2 else (text, words))
    scene = replace(wish.scene, style=style)
    return replace(wish, text=text + "?" * asks, named=replace(wish.named, style=Named.of(scene).style), scene=scene)


def _plain(rng: Random, part: str, level: str) -> OwnWish:
    scene = sample_scene(rng)
    if level == "anything":
        return OwnWish(level, choose(wishes.ANYTHING, part, rng), Named(), scene)
    if level in ("setting", "quiet", "busy"):
        return _of_setting(rng, part, level)
    if level == "place":
        return _of_place(rng, part)
    if level in ("group", "doing"):
        return {"group": _group, "doing": _doing}[level](rng, part)
    things = [Mention.of(thing) for thing in rng.sample(scene.things, len(scene.things))]
    if level not in ("most", "everything"):
        things = things[: rng.choice((1, 1, 2, 2, 3))]
    mentions = tuple(thinned(mention, _CHANCES.get(level, 0.3), rng) for mention in things)
    if len(mentions) < 3:  # of "two animals and a cat" one might be the cat
        mentions = tuple(in_general(mention, rng) for mention in mentions)
    likely = {"most": 0.7, "everything": 1.0}.get(level, 0.3)
    ground = scene.ground if rng.random() < likely else None
    sky = scene.sky if rng.random() < likely else None
    named = Named(mentions, ground, sky)
    scene = named_first(scene, named)
    if level != "without":
        return OwnWish(level, _text(choose(wishes.THINGS, part, rng), named, rng, part), named, scene)
    absent = rng.choice([kind for kind in KINDS if is_clearly_absent(kind, scene)])
    word = usual(KIND_WORDS[absent], rng)
    frame = choose(wishes.WITHOUT, part, rng).replace("{absent}", word).replace("{absents}", plural(word))
    return OwnWish(level, _text(frame, named, rng, part), named, scene, (absent,))


def sample_things(rng: Random) -> OwnWish:
    """Things, and perhaps a setting, without a wish around them: "a red house and two cats on a beach"."""
    scene = sample_scene(rng, rng.choice((1, 1, 2, 3)))
    mentions = tuple(thinned(Mention.of(thing), 0.5, rng) for thing in scene.things)
    ground = scene.ground if rng.random() < 0.4 else None
    named = Named(mentions, ground, scene.sky if rng.random() < 0.3 else None)
    return OwnWish("some", _text("{things}", named, rng, TRAINED), named, named_first(scene, named))


def _of_setting(rng: Random, part: str, level: str) -> OwnWish:
    ground, sky = rng.choice(GROUNDS), rng.choice(SKIES)
    which = rng.random()
    ground, sky = (ground, None) if which < 0.35 else (None, sky) if which < 0.7 else (ground, sky)
    if level != "setting" and rng.random() < 0.3:
        ground = sky = None
    fewest, most = {"quiet": (None, 2), "busy": (3, None), "setting": (None, None)}[level]
    frames = {"quiet": wishes.MOOD_QUIET, "busy": wishes.MOOD_BUSY, "setting": wishes.SETTING}[level]
    text = choose(frames, part, rng).format(setting=setting(ground, sky, rng))
    named = Named((), ground, sky, fewest, most)
    return OwnWish(level, " ".join(text.split()).replace(" ?", "?"), named, sample_scene_for(named, rng))


def _of_place(rng: Random, part: str) -> OwnWish:
    """A ground in place of a thing: "a beach at sunset", "an empty road"."""
    ground, sky = rng.choice(GROUNDS), rng.choice(SKIES) if rng.random() < 0.5 else None
    names = [name for name in GROUND_NAMES[ground] if name.startswith(("a ", "the "))]
    article, _, noun = rng.choice(names).partition(" ")
    if rng.random() < 0.2:
        noun = f"{rng.choice(EMPTY)} {noun}"
    elif rng.random() < 0.3:
        noun = f"{described('place', rng, part)} {noun}"
    empty = any(word in noun.split() for word in EMPTY)
    place = f"the {noun}" if article == "the" else with_article(noun)
    named = Named((), ground, sky, most=0 if empty else None)
    text = set_somewhere(choose(wishes.THINGS, part, rng), place, setting(None, sky, rng), rng)
    return OwnWish("place", text, named, sample_scene_for(named, rng))


def _doing(rng: Random, part: str) -> OwnWish:
    """A thing that does something with another, or with several: "a dog chasing a cat"."""
    first, second = rng.sample(tuple(KINDS), 2)
    chance = rng.choice((0.0, 0.0, 0.3))
    mentions = [thinned(Mention.of(sample_thing(rng, (), kind=kind)), chance, rng) for kind in (first, second)]
    mentions = [replace(mention, pose=None, column=None, row=None) for mention in mentions]
    counts = rng.choice(((1, 1), (1, 1), (1, 1), (1, 2), (2, 1)))
    ground = rng.choice(GROUNDS) if rng.random() < 0.3 else None
    sky = rng.choice(SKIES) if rng.random() < 0.2 else None
    named = Named((mentions[0],) * counts[0] + (mentions[1],) * counts[1], ground, sky)
    try:
        scene = sample_scene_for(named, rng)
    except ValueError:
        return _doing(rng, part)
    one, other = (
        indefinite(mention, rng, part, DESCRIBED_IN_WISHES) if count == 1 else several(mention, count, rng, part)
        for mention, count in zip(mentions, counts, strict=True)
    )
    things = f"{one} {doing_with(first, rng, part)} {other}"
    text = set_somewhere(choose(wishes.THINGS, part, rng), things, setting(ground, sky, rng), rng)
    return OwnWish("doing", text, named, scene)


def _group(rng: Random, part: str) -> OwnWish:
    """Several of a kind or of a colour, and perhaps others: "three birds", "two red things", "a car and two trees"."""
    count = rng.choice(_COUNTS)
    mention = Mention(kind=rng.choice(tuple(KINDS)))
    others: tuple[Mention, ...] = ()
    if count < MOST_THINGS and rng.random() < BESIDE_GROUP:
        others = _others(mention, MOST_THINGS - count, rng)
    if count == 2 and not others and rng.random() < 0.3:
        mention = Mention(colour=rng.choice([c for c in COLOURS if any(c in kind.colours for kind in KINDS.values())]))
    elif rng.random() < 0.3:
        mention = replace(mention, colour=rng.choice(KINDS[mention.kind].colours))
    mention = mention if others else in_general(mention, rng)
    ground = rng.choice(GROUNDS) if rng.random() < 0.3 else None
    sky = rng.choice(SKIES) if rng.random() < 0.3 else None
    things = (mention,) * count
    named = Named(things + others if rng.random() < 0.5 else others + things, ground, sky)
    try:
        scene = sample_scene_for(named, rng)
    except ValueError:  # four large things of one colour may find no room
        return _group(rng, part)
    return OwnWish("group", _text(choose(wishes.THINGS, part, rng), named, rng, part), named, scene)


def _others(beside: Mention, room: int, rng: Random) -> tuple[Mention, ...]:
    """One or two things of other kinds, or two of one, for which there is room."""
    kinds = rng.sample([kind for kind in KINDS if kind != beside.kind], 2)
    others = [Mention(kind, rng.choice(KINDS[kind].colours) if rng.random() < 0.3 else None) for kind in kinds]
    return rng.choice(((others[0],),) * 3 + ((others[0], others[0]), tuple(others)))[:room]


def _text(frame: str, named: Named, rng: Random, part: str) -> str:
    counts = Counter(named.things)
    said = part, DESCRIBED_IN_WISHES
    phrases = [
        indefinite(m, rng, *said) if count == 1 else several(m, count, rng, *said) for m, count in counts.items()
    ]  # fmt: skip
    if "just" not in frame and rng.random() < 0.1:  # in few words
        phrases = [phrase.removeprefix("a ").removeprefix("an ") for phrase in phrases]
    things, where = _listed(phrases, rng), setting(named.ground, named.sky, rng)
    last = named.things[-1]
    if (named.ground or rng.random() < 0.2) and rng.random() < DOING and _is_open(last):
        return frame.format(things=f"{things} {doing(last.kind, rng, part)} {where}".strip())
    return set_somewhere(frame, things, where, rng)


def _listed(phrases: list[str], rng: Random) -> str:
    """Such as "a cat with a dog" or "a cat, a dog and a bird"."""
    *first, last = phrases
    if len(first) > 1 and rng.random() < 0.6:
        return f"{', '.join(first)}{rng.choice((' and ', ' and ', ', and ', ' with '))}{last}"
    return rng.choice((" and ", ", ", " and ", " with ")).join(phrases)


def _is_open(mention: Mention) -> bool:
    """Whether a thing of some kind may be said to do anything: nothing is said of its pose and its place."""
    return mention.kind is not None and (mention.pose, mention.column, mention.row) == (None, None, None)


def set_somewhere(frame: str, things: str, where: str, rng: Random) -> str:
    """A wish for things in a setting, which may be ""."""
    if not where:
        return frame.format(things=things)
    if rng.random() < 0.75:
        return frame.format(things=f"{things}{rng.choice((' ', ' ', ', '))}{where}")
    return f"{where}{rng.choice((', ', ': ', ' '))}{frame.format(things=things)}"


def _related(rng: Random, part: str) -> OwnWish:
    """A thing that has a named relation to another, or to two: "a cat under a tree"."""
    thing: Thing | None = None
    while thing is None:
        others: tuple[Thing, ...] = (sample_thing(rng),)
        if rng.random() < BETWEEN_TWO:
            second = sample_thing(rng, others)
            if second is None or second.kind == others[0].kind:
                continue
            others = (*others, second)
        absent = [kind for kind in KINDS if kind not in {one.kind for one in others}]
        thing = sample_thing(rng, (), kind=rng.choice(absent))
        if len(others) > 1:
            relation, words = "between", BETWEEN
            thing = between(thing, *others, others)
        else:
            relation = rng.choice(tuple(RELATIONS))
            words, thing = RELATIONS[relation], beside(thing, *others, relation, others)
    things = (thing, *others)
    for _ in range(rng.choice((0, 0, 1, 2))):
        more = sample_thing(rng, things) if len(things) < MOST_THINGS else None
        things = things if more is None or more.kind in {one.kind for one in things} else (*things, more)
    told = [
        replace(thinned(Mention.of(one), 0.3, rng), column=None, row=None, pose=None) for one in (thing, *others)
    ]  # fmt: skip
    told[0] = in_general(told[0], rng)
    named_others = [bare_noun(mention, rng) for mention in told[1:]]
    definite = rng.random() < 0.3
    text = choose(wishes.RELATED, part, rng).format(
        new=indefinite(told[0], rng, part, DESCRIBED_IN_WISHES),
        relation=usual(words, rng),
        other=" and ".join(f"the {words}" if definite else with_article(words) for words in named_others),
    )
    ground, sky = rng.choice(GROUNDS), rng.choice(SKIES)
    named = Named(tuple(told))
    if rng.random() < 0.3:
        named = replace(named, ground=ground)
        text = text.removesuffix("?") + " " + setting(ground, None, rng) + ("?" if text.endswith("?") else "")
    return OwnWish("related", text, named, Scene(ground, sky, things), relation=relation)
