"""What a reference's weight and mask do to the next picture of a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np

from .. import storybook
from ..storybook import Mention, Scene, Thing
from ..values import Chat, Reference, References
from .batch_evaluator import BatchEvaluator, shown, to_bytes
from .comparison import LOOKS, holds

NAME = "one"
WEIGHTS = (1.0, 0.5, 0.0)
GROWN = (0, 5, 16)
"""Pixels that a user's rectangle reaches beyond a thing."""


class _Plan(NamedTuple):
    """A page that is drawn first, and a page that is shown then: one thing of it is to be added, the other is not."""

    before: Scene
    reference: Scene
    wanted: Thing
    other: Thing
    place: str


def reference_effects(evaluator: BatchEvaluator) -> dict[str, float]:
    """One thing of a page with two is added to a chat: by its name, at several weights, or by a mask and no name.

    `weight_W` is the share of pictures to which the named thing came with its kind, colour and size, at weight W.
    `masked` is the share to which the thing came that the mask shows, `outside_mask` that to which the other one came.
    `box_N` is the share of references whose features alone hold kind, colour and size, seen by painting them as they
    are, when the mask is a rectangle that reaches N pixels beyond the thing.
    """
    rows: dict[str, list[bool]] = {f"references/weight_{weight:g}": [] for weight in WEIGHTS}
    rows |= {name: [] for name in ("references/masked", "references/outside_mask", *map(_box_name, GROWN))}
    for batch in evaluator.batches("references"):
        plans, seeds = [_plan(rng) for _, rng in batch], [number for number, _ in batch]
        wanted, others = [plan.wanted for plan in plans], [plan.other for plan in plans]
        chats = evaluator.take_turns(
            [Chat()] * len(plans), [storybook.full_caption(plan.before) for plan in plans], seeds
        )
        whole = [evaluator.reference(NAME, storybook.render(plan.reference)) for plan in plans]
        orders = [f"add the {plan.wanted.kind} of @{NAME} {plan.place}" for plan in plans]
        for weight in WEIGHTS:
            given = [replace(reference, weight=weight) for reference in whole]
            rows[f"references/weight_{weight:g}"] += _came(_drawn(evaluator, chats, orders, given, seeds), wanted)
        orders = [f"add @{NAME} {plan.place}" for plan in plans]
        given = [
            evaluator.reference(NAME, storybook.render(plan.reference), storybook.mask_of(plan.wanted))
            for plan in plans
        ]
        drawn = _drawn(evaluator, chats, orders, given, seeds)
        rows["references/masked"] += _came(drawn, wanted)
        rows["references/outside_mask"] += _came(drawn, others)
        for grown in GROWN:
            boxes = [box_around(storybook.mask_of(plan.wanted), grown) for plan in plans]
            features = [
                evaluator.reference(NAME, storybook.render(plan.reference), box).features
                for plan, box in zip(plans, boxes, strict=True)
            ]
            painted = [to_bytes(picture) for picture in evaluator.paint(features, seeds)]
            rows[_box_name(grown)] += _came([named.things for named in evaluator.read(painted)], wanted)
    return {name: float(np.mean(marks)) for name, marks in rows.items()}


def box_around(mask: np.ndarray, grown: int) -> np.ndarray:
    """The rectangle that reaches `grown` pixels beyond a mask `[H, W]`, bool `[H, W]`."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(max(0, line[0] - grown), line[-1] + 1 + grown) for line in spans)
    box = np.zeros(mask.shape, dtype=bool)
    box[rows, columns] = True
    return box


def _box_name(grown: int) -> str:
    return f"references/box_{grown}"


def _plan(rng: Random) -> _Plan:
    while True:
        addition = storybook.sample_addition(rng)
        others = [thing for thing in addition.reference.things if thing != addition.chosen]
        kinds = {thing.kind for thing in (*addition.before.things, addition.chosen)}
        if others and others[0].kind not in kinds:
            place = f"at the {storybook.place_name(*addition.added.place)}"
            return _Plan(addition.before, addition.reference, addition.chosen, others[0], place)


def _drawn(
    evaluator: BatchEvaluator,
    chats: Sequence[Chat],
    orders: Sequence[str],
    given: Sequence[Reference],
    seeds: Sequence[int],
) -> list[tuple[Mention, ...]]:
    """The things that the judge sees after one more turn."""
    found = evaluator.take_turns(chats, orders, seeds, [References((one,)) for one in given])
    return [seen.things for seen in evaluator.read([shown(chat) for chat in found])]


def _came(drawn: Sequence[tuple[Mention, ...]], wanted: Sequence[Thing]) -> list[bool]:
    return [holds(things, [Mention.of(thing)], LOOKS) for things, thing in zip(drawn, wanted, strict=True)]
