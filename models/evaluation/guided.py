"""The behaviours of a model that is given a picture to draw after, or to restore; all words are in held-out frames.

Everything here is what the model does alone: its likeliest words are drawn as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from types import MappingProxyType

import numpy as np
from PIL import Image

from .. import storybook
from ..data.tasks import damaged, sample_distinct_scene
from ..encoding import begin_with
from ..media.conditions import CONDITIONS, DEGRADATIONS, grey
from ..media.images import from_pil
from ..storybook import Named, Scene, language
from ..storybook.catalogue import COLOURS
from ..storybook.language import HELD_OUT
from .batch_evaluator import BatchEvaluator, shown
from .cases import Case
from .comparison import IDENTITY, same_things
from .nano import in_words
from .own_words import take_turns

ALIKE = 8
"""Levels of brightness, of 255, by which colours have to differ to be told apart in a grey picture."""


def condition(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Edges, areas, depth or a scribble of a page, and words for the rest: the page is drawn."""

    def given(scene: Scene, name: str, rng: Random) -> tuple[np.ndarray, str]:
        return storybook.condition(scene, name), language.sample_conditioned(scene, name, rng, HELD_OUT)

    yield from _drawn_after(evaluator, "condition", CONDITIONS, given)


def restore(evaluator: BatchEvaluator) -> Iterator[Case]:
    """A page that has suffered: it is drawn as it was. Of a grey one nobody can tell colours that are equally bright:
    they count as one, and the share in which they were guessed right too is told beside."""

    def given(scene: Scene, name: str, rng: Random) -> tuple[np.ndarray, str]:
        return damaged(scene, name, rng), language.sample_restored(name, rng, HELD_OUT)

    yield from _drawn_after(evaluator, "restore", DEGRADATIONS, given)


def _drawn_after(
    evaluator: BatchEvaluator,
    behaviour: str,
    names: Sequence[str],
    given: Callable[[Scene, str, Random], tuple[np.ndarray, str]],
) -> Iterator[Case]:
    """What becomes of pictures that are given with an order, each of one of `names`."""
    wegen = evaluator.pipeline.wegen
    for batch in evaluator.batches(behaviour):
        kinds = [names[number % len(names)] for number, _ in batch]
        scenes = [sample_distinct_scene(rng, most=3) for _, rng in batch]
        asked = [given(scene, kind, rng) for scene, kind, (_, rng) in zip(scenes, kinds, batch, strict=True)]
        chats = [begin_with(wegen, [from_pil(Image.fromarray(picture))]) for picture, _ in asked]
        after, replies = take_turns(evaluator, chats, [text for _, text in asked], [number for number, _ in batch])
        readings = evaluator.read([shown(chat) for chat in after])
        for scene, kind, (picture, text), chat, reply, seen in zip(
            scenes, kinds, asked, after, replies, readings, strict=True
        ):
            wanted, drawn = Named.of(scene), reply.picture is not None
            setting = (seen.ground, seen.sky) == (wanted.ground, wanted.sky)
            exact = right = [drawn and setting and same_things(seen, wanted, (*IDENTITY, "size"))]
            if kind == "grey":
                right = [drawn and setting and same_things(_in_grey(seen), _in_grey(wanted), (*IDENTITY, "size"))]
            marks = {
                f"{behaviour}/scene": right,
                **({f"{behaviour}/exact": exact} if "grey" in names else {}),
                f"{behaviour}/kinds": [drawn and same_things(seen, wanted, ("kind",))],
                f"{behaviour}/answered by a picture": [drawn],
                f"{behaviour}/drawn anew": [drawn and wegen.config.templates.says_anew(reply.text)],
                f"{behaviour}/{kind}": right,
            }
            yield Case((picture, shown(chat)), f"[{kind}] {text}", f"{in_words(seen)} | {reply.text}", marks)


def _in_grey(named: Named) -> Named:
    """The same with one colour for all that look alike in a grey picture."""
    return replace(named, things=tuple(replace(thing, colour=_alike(thing.colour)) for thing in named.things))


@cache
def _alike(colour: str | None) -> str | None:
    """The first of the colours, by name, that are as bright as this one."""
    levels = {name: float(grey(np.array([[value]], np.uint8))[0, 0]) for name, value in COLOURS.items()}
    return min((name for name in levels if colour and abs(levels[name] - levels[colour]) < ALIKE), default=colour)


BEHAVIOURS: Mapping[str, Callable[[BatchEvaluator], Iterator[Case]]] = MappingProxyType(
    {build.__name__: build for build in (condition, restore)}
)
