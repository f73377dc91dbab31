"""The behaviour of a model that is to draw in another style, told in words or by a picture; words in held-out frames.

Everything here is what the model does alone: its likeliest words are drawn as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

import numpy as np

from .. import storybook
from ..storybook import STYLES, Mention, Named, Scene, language
from ..storybook.language import HELD_OUT, Story
from ..values import Chat, References
from .batch_evaluator import BatchEvaluator, shown
from .cases import Case
from .comparison import same_things
from .nano import as_scene, in_words

WAYS = ("in words", "like a picture", "a picture like a picture", "words like a picture", "a new picture in words")
"""How a style is asked for: of the picture of a chat, in words or by a picture; of another picture or of words, by a
picture; and of a new picture, all in words."""
OF_A_CHAT = WAYS[:2]
CONTENT = "content"


@dataclass(frozen=True)
class Asked:
    """What is asked for: `text` mentions `pictures` by their names; the picture that comes is to have this style, and
    all of `content`."""

    text: str
    pictures: Mapping[str, Scene]
    style: str
    content: Named


def style(evaluator: BatchEvaluator) -> Iterator[Case]:
    """A picture, or things in words, in another style: the style is that one, and what is to be seen stays."""
    for batch in evaluator.batches("style"):
        seeds, generators = zip(*batch, strict=True)
        ways = [WAYS[number % len(WAYS)] for number in seeds]
        scenes = [_start(rng) for rng in generators]
        chats, scenes = _drawn(evaluator, scenes, ways, seeds)
        asked = [_asked(way, scene, rng) for way, scene, rng in zip(ways, scenes, generators, strict=True)]
        given, painted = _given(evaluator, asked, seeds)
        after = evaluator.take_turns(
            chats, [one.text for one in asked], seeds, [_named(evaluator, one) for one in given]
        )
        pictures = [shown(chat) for chat in after]
        readings = evaluator.read(pictures)
        cases = zip(ways, asked, given, painted, chats, after, pictures, readings, strict=True)
        for way, one, shared, drew, before, now, picture, seen in cases:
            answered = len(now) > len(before)  # by a picture, not by words alone
            followed = answered and (seen.style or STYLES[0]) == one.style
            kept = answered and _kept(seen, one.content)
            marks = {
                "style/followed": [followed],
                "style/content": [kept],
                f"style/{way}": [followed and kept],
                f"style/to {one.style}": [followed],
            }
            if language.LIKE in shared:
                marks["style/shown as it is painted" if drew else "style/shown as it is rendered"] = [followed]
            sources = [shown(before)] if before.turns else []
            yield Case((*sources, *shared.values(), picture), one.text, in_words(seen), marks)


def _start(rng: Random) -> Scene:
    scene = storybook.sample_scene(rng, rng.choice((1, 2, 3)))
    return replace(scene, style=rng.choice(STYLES)) if rng.random() < 0.4 else scene


def _drawn(
    evaluator: BatchEvaluator, scenes: Sequence[Scene], ways: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Chat], list[Scene]]:
    """Chats, with the picture of a scene that was asked for in words where it is to be changed; and what is to be seen,
    in those pictures or in the scenes."""
    places = [place for place, way in enumerate(ways) if way in OF_A_CHAT]
    texts = [storybook.full_caption(scenes[place]) for place in places]
    drawn = evaluator.take_turns([Chat()] * len(places), texts, [seeds[place] for place in places])
    chats, found = [Chat()] * len(scenes), list(scenes)
    for place, chat, seen in zip(places, drawn, evaluator.read([shown(chat) for chat in drawn]), strict=True):
        chats[place], found[place] = chat, as_scene(seen) or scenes[place]
    return chats, found


def _asked(way: str, scene: Scene, rng: Random) -> Asked:
    if way == "in words":
        order = language.sample_order(Story((scene,)), rng, HELD_OUT, "style")
        return Asked(order.text, {}, order.after.style, Named.of(scene))
    if way == "a new picture in words":
        wish = language.sample_wish(rng, HELD_OUT, "some", styled=1.0)
        return Asked(wish.text, {}, wish.scene.style, wish.named)
    wanted = rng.choice([style for style in STYLES if style != scene.style])
    like = {language.LIKE: replace(storybook.sample_scene(rng), style=wanted)}
    if way == "like a picture":
        return Asked(language.in_style_of(language.ORDERS_LIKE, rng, HELD_OUT), like, wanted, Named.of(scene))
    if way == "a picture like a picture":
        things, content, like = f"this picture @{CONTENT}", Named.of(scene), {CONTENT: scene, **like}
    else:
        wish = language.sample_things(rng)
        things, content = wish.text, wish.named
    return Asked(language.in_style_of(language.WISHES_LIKE, rng, HELD_OUT, things), like, wanted, content)


def _given(
    evaluator: BatchEvaluator, asked: Sequence[Asked], seeds: Sequence[int]
) -> tuple[list[dict[str, np.ndarray]], list[bool]]:
    """The pictures that are mentioned, rendered; every other one that shows a style as the model itself paints it. And
    which these are."""
    given = [{name: storybook.render(scene) for name, scene in one.pictures.items()} for one in asked]
    painted = [
        language.LIKE in one.pictures and bool(seed // len(WAYS) % 2) for one, seed in zip(asked, seeds, strict=True)
    ]
    places = [place for place, drew in enumerate(painted) if drew]
    texts = [storybook.full_caption(asked[place].pictures[language.LIKE]) for place in places]
    drawn = evaluator.take_turns([Chat()] * len(places), texts, [seeds[place] for place in places])
    for place, chat in zip(places, drawn, strict=True):
        given[place][language.LIKE] = shown(chat)
    return given, painted


def _named(evaluator: BatchEvaluator, pictures: Mapping[str, np.ndarray]) -> References:
    references = References()
    for name, picture in pictures.items():
        references = references.add(evaluator.reference(name, picture))
    return references


def _kept(seen: Named, wanted: Named) -> bool:
    """Whether all things are there in kind, colour and place, as far as they are told, and no others beside a whole
    scene."""
    # A pattern of None is a plain one, which mostly goes without saying.
    whole = all(
        value is not None for thing in wanted.things for name, value in vars(thing).items() if name != "pattern"
    )
    if wanted.ground and wanted.sky and whole:
        return same_things(seen, wanted)
    looks = (Mention(thing.kind, thing.colour, column=thing.column, row=thing.row) for thing in wanted.things)
    return storybook.covers(seen, Named(tuple(looks)))


BEHAVIOURS: Mapping[str, Callable[[BatchEvaluator], Iterator[Case]]] = MappingProxyType({"style": style})
