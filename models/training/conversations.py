"""Samples to token sequences, by the very templates and functions that inference uses."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..checkpoints.tokenizer import END, PICTURE_BEGIN, Tokenizer
from ..data import Forgotten, Part, Picture, Sample, Text
from ..network.configuration import WeGenConfig
from ..prompting.conversation import Task, plain_mentions, user_turn
from ..values import Reference
from .losses import IGNORED

_DECIDING = ("rewrite", "edit_rewrite")
"""Tasks in which a model decides whether it draws at all."""
PLAIN = 4
"""Words with which a plain answer has said what it is about, and the description of a wish where it takes place."""


class Conversation(NamedTuple):
    """One sample as the language model sees it."""

    ids: list[int]
    labels: list[int]
    inputs: list[bool]
    """True at the tokens of pictures that are only read."""
    targets: list[bool]
    """True at the tokens of pictures that are to be drawn."""
    pictures: list[np.ndarray]
    """uint8 `[H, W, 3]`, in the order in which they stand."""
    changes: list[bool]
    """True at the words of a description that are not what a copy of the description before would say, and at the first
    words of what is answered to a wish or an order: they decide whether it is drawn, and on which ground."""


class ConversationBatch(NamedTuple):
    """Conversations padded on the right; see `agent_outputs` for the tensors."""

    ids: Tensor
    labels: Tensor
    inputs: Tensor
    targets: Tensor
    pictures: Tensor
    """`[P, 3, H, W]` in -1..1, of all rows in order."""
    changes: Tensor


def conversation(config: WeGenConfig, tokenizer: Tokenizer, sample: Sample) -> Conversation:
    """Write a sample out: users' turns by the templates, answers as text and pictures; only answers are learned.

    A picture's end is never learned, as inference forces it. An answer without a picture ends with `</s>`.
    """
    out = Conversation([tokenizer.begin_id], [IGNORED], [False], [False], [], [False])
    drawn = forgotten = False
    task: Task = "ask"
    described: list[int] = []
    turns = sample.turns()
    for number, (role, parts) in enumerate(turns):
        if role == "assistant":
            begins = len(out.ids)
            _add_answer(out, tokenizer, parts)
            if task in _DECIDING:
                last = begins + (1 if _draws(parts) and task == "edit_rewrite" else PLAIN)
                out.changes[begins:last] = [label != IGNORED for label in out.labels[begins:last]]
            if _draws(parts) and any(isinstance(part, Text) for part in parts):
                text = " ".join(tokenizer.escape(part.text) for part in parts if isinstance(part, Text))
                described, before = tokenizer.encode(text, begin=False), described
                changed = _changed(before, described)
                for place, one in enumerate(changed[1:], start=begins + 1):
                    out.changes[place] |= one
            drawn = drawn or _draws(parts)
            forgotten = any(isinstance(part, Forgotten) for part in parts)
            continue
        answer = turns[number + 1][1] if number + 1 < len(turns) else ()
        task = _task(parts, answer, first=not drawn)
        text, pictures = _asked(config, tokenizer, parts, task)
        place = len(out.ids)
        _add(out, tokenizer, (config.templates.joint if number else "") + text, learned=False)
        if forgotten:  # the picture began here, and the next turn follows as it does in a chat without it
            out.labels[place] = tokenizer.picture_begin_id
        out.pictures.extend(pictures)
    if turns[-1][0] == "assistant" and forgotten:
        _add(out, tokenizer, PICTURE_BEGIN, learned=True)
    return out


def _changed(before: Sequence[int], now: Sequence[int]) -> list[bool]:
    """Which words a copy of what was said before would not say there: those that are new, and the first that follow on
    what is gone. None of them where nothing was said before."""
    changed = [False] * len(now)
    if not before:
        return changed
    for way, begins, _, first, last in SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if way == "delete":  # what is left may begin like what is gone: "a blue car" like "a black cat"
            same = takewhile(lambda pair: pair[0] == pair[1], zip(before[begins:], now[first:], strict=False))
            first += sum(1 for _ in same)
            last = min(first + 1, len(now))
        if way != "equal":
            changed[first:last] = [True] * (last - first)
    return changed


def has_words(sample: Sample) -> bool:
    """Whether the user says something in each turn."""
    asked = (parts for role, parts in sample.turns() if role == "user")
    return all(any(isinstance(part, Text) and part.text.strip() for part in parts) for parts in asked)


def _draws(parts: Sequence[Part]) -> bool:
    return any(isinstance(part, (Picture, Forgotten)) for part in parts)


def _task(asked: Sequence[Part], answer: Sequence[Part], first: bool) -> Task:
    """Which template asks for this answer. A picture before the first words is one that is to be changed."""
    named = next((part.task for part in asked if isinstance(part, Text) and part.task), "")
    if named:
        return cast(Task, named)
    if not _draws(answer):
        return "ask"
    edits = not first or isinstance(asked[0], Picture)
    if any(isinstance(part, Text) for part in answer):
        return "edit_rewrite" if edits else "rewrite"
    return "edit" if edits else "text_to_picture"


def _asked(
    config: WeGenConfig, tokenizer: Tokenizer, parts: Sequence[Part], task: Task
) -> tuple[str, list[np.ndarray]]:
    """A user's turn by its template: pictures before the first words lead, others stand where they are mentioned."""
    references: list[Reference] = []
    pictures: list[np.ndarray] = []
    words: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            words.append(plain_mentions(part.text, ()))  # what mentions no picture is a word, as in a chat
            continue
        name = f"p{len(pictures)}"
        # A stand-in whose features carry the picture's number; training encodes the pictures later, many at a time.
        references.append(Reference(name, torch.tensor(float(len(pictures))), torch.zeros(1, 1, 3)))
        pictures.append(part.pixels)
        if words:
            words.append(f"@{name}")
    prompt = user_turn(config, tokenizer, task, "".join(words), references)
    return prompt.text, [pictures[int(number)] for number in prompt.features]


def _add_answer(out: Conversation, tokenizer: Tokenizer, parts: Sequence[Part]) -> None:
    text = " ".join(tokenizer.escape(part.text) for part in parts if isinstance(part, Text))
    pictures = [part for part in parts if isinstance(part, Picture)]
    if not pictures:
        stop = "" if _draws(parts) else END
        _add(out, tokenizer, text + stop, learned=any(part.target for part in parts))
        return
    said = any(part.target for part in parts if isinstance(part, Text))
    for part in pictures:
        learned = part.target
        if text:
            _add(out, tokenizer, text, learned=said)
        _add(out, tokenizer, PICTURE_BEGIN, learned=learned)
        inside, end = tokenizer.picture_ids[1:-1], tokenizer.picture_end_id
        out.ids.extend((*inside, end))
        out.labels.extend([IGNORED] * (len(inside) + 1))
        out.inputs.extend([not learned] * len(inside) + [False])
        out.targets.extend([learned] * len(inside) + [False])
        out.changes.extend([False] * (len(inside) + 1))
        out.pictures.append(part.pixels)
        text = ""


def _add(out: Conversation, tokenizer: Tokenizer, text: str, learned: bool) -> None:
    """Text, in which there may be pictures that are only read."""
    ids = tokenizer.encode(text, begin=False)
    features = frozenset(tokenizer.picture_ids[1:-1])
    out.ids.extend(ids)
    out.labels.extend(ids if learned else [IGNORED] * len(ids))
    out.inputs.extend(index in features for index in ids)
    out.targets.extend([False] * len(ids))
    out.changes.extend([False] * len(ids))


def collate(conversations: Sequence[Conversation], pictures: Tensor) -> ConversationBatch:
    """Pad conversations to a batch; `pictures` holds all of theirs."""

    def padded(name: str, value: int | bool) -> Tensor:
        rows = [torch.tensor(getattr(conversation, name)) for conversation in conversations]
        return pad_sequence(rows, batch_first=True, padding_value=value)

    return ConversationBatch(
        padded("ids", 0),
        padded("labels", IGNORED),
        padded("inputs", False),
        padded("targets", False),
        pictures,
        padded("changes", False),
    )
