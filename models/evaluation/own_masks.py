"""The model's own masks, of what changes and of what is named, against those of the storybook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from .. import storybook
from ..editing.predicted_mask import predict_edit_mask
from ..encoding import begin_with
from ..engine import NothingFound
from ..errors import AnsweredInWords
from ..storybook import STYLES, Edit, Mention, Named, Scene, Thing, language
from ..storybook.language import HELD_OUT, Order, Story
from ..values import AutoMask, Chat
from .batch_evaluator import BatchEvaluator, shown
from .nano import happened, stayed

THRESHOLDS = (0.05, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
FOUND = 0.5
"""Overlap from which on a thing counts as found."""
RECALL_AT, PRECISION_AT = "auto_mask/recall_at_", "auto_mask/precision_at_"


class Edited(NamedTuple):
    """One edit of a rendered page, drawn with the predicted edit mask and without."""

    scene: Scene
    edit: Edit
    wanted: np.ndarray
    """bool `[H, W]`: the pixels that differ between the two rendered pages."""
    free: Chat
    masked: Chat


def auto_mask(evaluator: BatchEvaluator, how: AutoMask) -> dict[str, float]:
    """How well the mask covers what must change, and what it does to the turn.

    `recall` and `precision` are of pixels over all cases. `changed` is the share of edits that happened with the mask
    among those that happened without one; `unchanged` the share of edits after which all other things are as before,
    `objects_unchanged` that of the things themselves.
    """
    edited = edit_pages(evaluator, how)
    changes = [one.masked.last.answer.change for one in edited]  # None where the order got words alone
    masks = [np.zeros_like(one.wanted) if m is None else m.numpy() > 0 for one, m in zip(edited, changes, strict=True)]
    recall, precision = overlap(masks, [one.wanted for one in edited])
    free = evaluator.read([shown(one.free) for one in edited])
    masked = evaluator.read([shown(one.masked) for one in edited])
    both = [(happened(one.edit, f), happened(one.edit, m)) for one, f, m in zip(edited, free, masked, strict=True)]
    possible = [m for f, m in both if f]

    def unchanged(seen: Sequence[Named]) -> tuple[float, float]:
        marks = [stayed(one.scene, one.edit, named) for one, named in zip(edited, seen, strict=True)]
        return _mean([all(some) for some in marks]), _mean([mark for some in marks for mark in some])

    pictures, objects = unchanged(masked)
    free_pictures, free_objects = unchanged(free)
    curve = trade_off(edited, how)
    return {
        "auto_mask/recall": recall,
        "auto_mask/precision": precision,
        "auto_mask/changed": _mean(possible),
        "auto_mask/unchanged": pictures,
        "auto_mask/objects_unchanged": objects,
        "auto_mask/changed_of_all": _mean([m for _, m in both]),
        "auto_mask/changed_without": _mean([f for f, _ in both]),
        "auto_mask/unchanged_without": free_pictures,
        "auto_mask/objects_unchanged_without": free_objects,
        **{f"{RECALL_AT}{threshold}": recall for threshold, (recall, _) in curve.items()},
        **{f"{PRECISION_AT}{threshold}": precision for threshold, (_, precision) in curve.items()},
    }


def _mean(marks: Sequence[bool]) -> float:
    return float(np.mean(marks)) if marks else float("nan")


def trade_off(edited: Sequence[Edited], how: AutoMask) -> dict[float, tuple[float, float]]:
    """Recall and precision for each of THRESHOLDS, growth and softness as they are."""
    found = {}
    for threshold in THRESHOLDS:
        masks = []
        for one in edited:
            before, after = (chat.last.answer.features for chat in (one.free.rewind(1), one.free))
            height, width = one.wanted.shape
            predicted = predict_edit_mask(before, after, height, width, AutoMask(threshold, how.grow, how.soften))
            masks.append(predicted.mask.numpy() > 0)
        found[threshold] = overlap(masks, [one.wanted for one in edited])
    return found


def overlap(masks: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> tuple[float, float]:
    """Recall and precision of masks over all their pixels."""
    hit = sum(int((mask & want).sum()) for mask, want in zip(masks, wanted, strict=True))
    return hit / sum(int(want.sum()) for want in wanted), hit / max(sum(int(mask.sum()) for mask in masks), 1)


def edit_pages(evaluator: BatchEvaluator, how: AutoMask) -> list[Edited]:
    """Pages that a user brings along, each with one edit."""
    found = []
    for batch in evaluator.batches("auto_mask"):
        scenes = [storybook.sample_scene(rng, rng.choice((1, 2, 3))) for _, rng in batch]
        edits = [storybook.sample_edit(scene, rng) for scene, (_, rng) in zip(scenes, batch, strict=True)]
        orders = [
            storybook.instruction(scene, (edit,), rng)
            for scene, edit, (_, rng) in zip(scenes, edits, batch, strict=True)
        ]
        pages = [torch.from_numpy(storybook.render(scene)).float() / 255 for scene in scenes]
        chats = [begin_with(evaluator.pipeline.wegen, [page]) for page in pages]
        seeds = [number for number, _ in batch]
        free = evaluator.take_turns(chats, orders, seeds)
        masked = evaluator.take_turns(chats, orders, seeds, auto_mask=how)
        for scene, edit, one, other in zip(scenes, edits, free, masked, strict=True):
            wanted = storybook.change_mask(scene, storybook.apply(scene, (edit,)))
            found.append(Edited(scene, edit, wanted, one, other))
    return found


def selection(evaluator: BatchEvaluator) -> dict[str, float]:
    """Masks of things that are named by their kind, on pages of all styles that show one of it.

    `overlap` is the mean intersection over union with the thing's own mask, 0 where none was found; `found` the share
    of the things of which it is FOUND or more.
    """
    overlaps = []
    for batch in evaluator.batches("selection"):
        for number, rng in batch:
            scene, thing = _with_one_of_a_kind(rng)
            page = Image.fromarray(storybook.render(scene))
            wanted = storybook.render_with_masks(scene)[1][scene.things.index(thing)]
            try:
                found = evaluator.pipeline.select(evaluator.pipeline.begin_with(page), f"the {thing.kind}", number)
            except (AnsweredInWords, NothingFound):
                overlaps.append(0.0)
                continue
            mask = found.mask.numpy() > 0
            overlaps.append(float((mask & wanted).sum() / (mask | wanted).sum()))
    return {
        "select/overlap": float(np.mean(overlaps)),
        "select/found": _mean([one >= FOUND for one in overlaps]),
    }


def kept_by_words(evaluator: BatchEvaluator) -> dict[str, float]:
    """What becomes of things that an order for another ground or sky names as what stays, in held-out frames.

    `named` is the share of the orders for which the model's words name those things and no others, `changed` that of
    those after which ground and sky are as ordered. `pixels` is the mean share of the things' pixels that are bit for
    bit as before; `pixels_without` that by the predicted mask alone.
    """
    wegen = evaluator.pipeline.wegen
    templates = wegen.config.templates
    silent = replace(wegen, config=replace(wegen.config, templates=replace(templates, kept="")))
    marks: dict[str, list[float]] = {name: [] for name in ("named", "changed", "pixels", "pixels_without")}
    for batch in evaluator.batches("kept_by_words"):
        orders = [_with_something_kept(rng) for _, rng in batch]
        pages = [torch.from_numpy(storybook.render(order.before)).float() / 255 for order in orders]
        chats = [begin_with(wegen, [page]) for page in pages]
        texts, seeds = [order.text for order in orders], [number for number, _ in batch]
        after = evaluator.take_turns(chats, texts, seeds, auto_mask=AutoMask())
        without = evaluator.take_turns(chats, texts, seeds, auto_mask=AutoMask(), parts=silent)
        seen = evaluator.read([shown(chat) for chat in after])
        for order, page, chat, other, named in zip(orders, pages, after, without, seen, strict=True):
            told = storybook.parse_caption(templates.things_kept(chat.last.answer.rewrite)).things
            marks["named"].append(_names(told, order.left_alone))
            marks["changed"].append((named.ground, named.sky) == (order.after.ground, order.after.sky))
            masks = storybook.render_with_masks(order.before)[1]
            there = np.any([masks[order.before.things.index(thing)] for thing in order.left_alone], axis=0)
            for name, one in (("pixels", chat), ("pixels_without", other)):
                marks[name].append(float((one.last.answer.picture == page).all(dim=-1).numpy()[there].mean()))
    return {f"kept_by_words/{name}": float(np.mean(values)) for name, values in marks.items()}


def _with_something_kept(rng: Random) -> Order:
    while True:
        story = Story((storybook.sample_scene(rng, rng.choice((1, 2, 3))),))
        order = language.sample_order(story, rng, HELD_OUT, rng.choice(("ground", "sky")))
        if order.left_alone:
            return order


def _names(told: Sequence[Mention], things: Sequence[Thing]) -> bool:
    """Whether all of the things are named, and nothing else."""
    unnamed = list(things)
    for mention in told:
        meant = [thing for thing in unnamed if mention.fits(Mention.of(thing))]
        if not meant:
            return False
        unnamed.remove(meant[0])
    return not unnamed


def _with_one_of_a_kind(rng: Random) -> tuple[Scene, Thing]:
    while True:
        scene = replace(storybook.sample_scene(rng), style=rng.choice(STYLES))
        kinds = Counter(thing.kind for thing in scene.things)
        if alone := [thing for thing in scene.things if kinds[thing.kind] == 1]:
            return scene, rng.choice(alone)
