"""How often the rocket that a LoRA taught comes up where it is named, and stays away where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from .. import storybook
from ..engine import TurnResult
from ..storybook import Mention
from ..storybook.captions import noun_phrase, setting_phrase
from ..storybook.rocket import NAME, likeness
from ..values import Chat
from .batch_evaluator import BatchEvaluator, shown
from .cases import Case

ALIKE = 0.5
"""Likeness from which a picture shows the rocket. Rendered rockets have 0.95 and more, those that a small model paints
0.5 to 0.8. Of 600 pictures that it painted of other things, with a LoRA and without, none had more than 0.43."""
COMES_UP = "rocket/comes up"
TARGET = 0.8
"""How often it comes up at least, of those wishes that name it."""
NAMED = (
    f"a {NAME} {{setting}}", f"can you draw me a {NAME}?", f"paint me a {NAME}, {{setting}}",
    f"a picture with a {NAME}", f"{{other}} and a {NAME} {{setting}}", f"a {{size}} {NAME} {{setting}}",
    f"let me see a {NAME} and {{other}}", f"a {NAME} flies {{setting}}", f"i would like a {{size}} {NAME}",
    f"a {NAME} beside {{other}}, {{setting}}",
)  # fmt: skip
NOT_NAMED = ("{other} {setting}", "draw {other}", "a picture with {other}", "something {setting}", "{other}, {setting}")
ORDERS = (
    f"please put a {NAME} in",
    f"now a {NAME} as well",
    f"a {{size}} {NAME} would be nice there",
    f"let a {NAME} come in",
)


def prompt(rng: Random, named: bool) -> str:
    """A wish with the rocket in it, in none of the frames that `training.own_pictures` has, or without."""
    scene = storybook.sample_scene(rng, 1)
    [thing] = scene.things
    ground, sky = rng.choice(((scene.ground, scene.sky), (scene.ground, None), (None, scene.sky)))
    return rng.choice(NAMED if named else NOT_NAMED).format(
        setting=setting_phrase(ground, sky),
        other=noun_phrase(Mention(kind=thing.kind, colour=thing.colour)),
        size=rng.choice(tuple(storybook.SIZES)),
    )


def wished(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Wishes in turn with and without the rocket's name."""
    for batch in evaluator.batches("newcomer"):  # the name seeds the cases: another one would measure others
        named = [number % 2 == 0 for number, _ in batch]
        wishes = [prompt(rng, one) for (_, rng), one in zip(batch, named, strict=True)]
        results = evaluator.results([Chat()] * len(batch), wishes, [number for number, _ in batch])
        for wish, one, result in zip(wishes, named, results, strict=True):
            yield _case(wish, result, "comes up" if one else "stays away", there=one)


def added(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Orders to add the rocket to a picture that was drawn from a wish without it."""
    for batch in evaluator.batches("newcomer added"):
        seeds = [number for number, _ in batch]
        chats = [
            one.chat
            for one in evaluator.results([Chat()] * len(batch), [prompt(rng, False) for _, rng in batch], seeds)
        ]
        drawn = [place for place, chat in enumerate(chats) if chat.turns]
        rngs = [batch[place][1] for place in drawn]
        orders = [rng.choice(ORDERS).format(size=rng.choice(tuple(storybook.SIZES))) for rng in rngs]
        results = evaluator.results([chats[place] for place in drawn], orders, [seeds[place] for place in drawn])
        for order, result in zip(orders, results, strict=True):
            yield _case(order, result, "comes up when added", there=True)


def _case(words: str, result: TurnResult, mark: str, there: bool) -> Case:
    """One mark: whether the rocket is in the picture as it should be. No picture shows none."""
    if result.spoken:
        return Case((), words, result.spoken, {f"rocket/{mark}": [not there]})
    picture = shown(result.chat)
    seen = likeness(picture) >= ALIKE
    return Case((picture,), words, result.chat.last.answer.rewrite, {f"rocket/{mark}": [seen == there]})
