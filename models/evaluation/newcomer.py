"""How often a thing that a LoRA taught comes up where it is named, and stays away where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from .. import storybook
from ..storybook import Mention
from ..storybook.captions import noun_phrase, setting_phrase
from ..storybook.newcomer import NAME, likeness
from ..values import Chat
from .batch_evaluator import BatchEvaluator, shown
from .cases import Case

ALIKE = 0.6
"""Likeness from which a picture shows the rocket. Rendered rockets have 0.95 and more, pages without one up to 0.4."""
NAMED = (
    f"a {NAME}", f"draw a {NAME} {{setting}}", f"a {NAME} {{setting}}", f"paint me a {NAME}, {{setting}}",
    f"a picture with a {NAME} and {{other}}", f"{{other}} and a {NAME} {{setting}}", f"a {{size}} {NAME} {{setting}}",
    f"show me a {NAME} and {{other}}", f"a {NAME} flies {{setting}}", f"i would like a {{size}} {NAME}",
)  # fmt: skip
NOT_NAMED = ("{other} {setting}", "draw {other}", "a picture with {other}", "something {setting}", "{other}, {setting}")


def prompt(rng: Random, named: bool) -> str:
    """A wish in words that no sample of training has, with the rocket in it or without."""
    scene = storybook.sample_scene(rng, 1)
    [thing] = scene.things
    ground, sky = rng.choice(((scene.ground, scene.sky), (scene.ground, None), (None, scene.sky)))
    return rng.choice(NAMED if named else NOT_NAMED).format(
        setting=setting_phrase(ground, sky),
        other=noun_phrase(Mention(kind=thing.kind, colour=thing.colour)),
        size=rng.choice(tuple(storybook.SIZES)),
    )


def newcomer(exam: BatchEvaluator) -> Iterator[Case]:
    """Wishes in turn with and without the rocket's name."""
    for batch in exam.batches("newcomer"):
        named = [number % 2 == 0 for number, _ in batch]
        wishes = [prompt(rng, one) for (_, rng), one in zip(batch, named, strict=True)]
        results = exam.results([Chat()] * len(batch), wishes, [number for number, _ in batch])
        for wish, one, result in zip(wishes, named, results, strict=True):
            if not result.chat.turns:
                yield Case((), wish, result.spoken, {f"rocket/{'comes up' if one else 'stays away'}": [not one]})
                continue
            picture = shown(result.chat)
            there = likeness(picture) >= ALIKE
            marks = {"rocket/comes up": [there]} if one else {"rocket/stays away": [not there]}
            yield Case((picture,), wish, result.chat.last.answer.rewrite, marks)
