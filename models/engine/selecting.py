"""Finding what somebody names in a picture: the model paints it without that, and the mask is what is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from ..editing.crop import put_back
from ..editing.refinement import Masks
from ..editing.taken_away import taken_away
from ..errors import AnsweredInWords, WeGenError
from ..network.threads import threads
from ..painting.painter import Painter
from ..values import Chat, SamplerSettings, whole_text
from .drafting import write_drafts
from .finishing import colours, paint
from .interface import Parts, Progress, TurnRequest
from .planning import PlannedPicture, PlannedTurn, fewer_threads, plan_turn

WITHOUT = "remove {things}"


class NothingFound(WeGenError):
    """The model takes nothing away for what was named."""


class Selection(NamedTuple):
    """Things that were found in a picture."""

    mask: Tensor
    """`[H, W]`, 1 where they are and 0 elsewhere."""
    without: Tensor
    """`[H, W, 3]` in 0..1: the picture as the model paints it without them."""


class Wanted(NamedTuple):
    """What is looked for in a picture."""

    things: str
    """What they are called."""
    chat: Chat
    """Has at least one turn; the picture that it goes on with is looked at."""
    seed: int
    """Of both paintings."""


def select(
    things: str,
    chat: Chat,
    painter: Painter,
    parts: Parts,
    seed: int = 0,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> Selection:
    """Find things in the picture that a chat goes on with, by what they are called.

    Args:
        things: what is looked for, such as "the red house".
        chat: has at least one turn; it stays as it is. What its turns keep can be selected too.
        painter: paints the picture twice, with the things and without.
        parts: the checkpoint.
        seed: of both.
        progress: of the language model.

    Raises:
        NothingFound: the model takes nothing away.
        WeGenError: nothing is named, the chat has no turns, or as `take_turn`.
        AnsweredInWords: the model answers in words, as where there is no such thing.
    """
    things = whole_text(things).strip()
    if not things:
        raise WeGenError("Nothing is named. Say what to select, such as: the red house.")
    chat.require_turn()
    [found] = find([Wanted(things, chat, seed)], painter, parts, progress)
    if isinstance(found, Selection):
        return found
    if found:
        raise AnsweredInWords(found)
    raise NothingFound(f"{things!r} was not found in the picture. Say what it is, and how it looks.")


def find(wanted: Sequence[Wanted], painter: Painter, parts: Parts, progress: Progress) -> list[Selection | str]:
    """Find things in many pictures in one batch.

    Returns:
        For each a selection, which is never empty; or what the model answers in words, as where there is no such thing;
        or an empty text, where it takes nothing away.

    Raises:
        WeGenError: as `take_turn`.
    """
    settings = SamplerSettings(auto_mask=None)
    turns = [
        plan_turn(
            TurnRequest(
                WITHOUT.format(things=things), (seed,), creativity=0.0, masks=Masks(release=True), settings=settings
            ),
            chat,
            parts,
        )
        for things, chat, seed in wanted
    ]
    with threads(fewer_threads(turns, parts.config)):
        written = write_drafts(turns, parts, progress)
        pairs = [
            None if some.spoken else _with_and_without(turn, turn.item(some.drafts[0]))
            for turn, some in zip(turns, written, strict=True)
        ]
        paint([item for pair in pairs if pair for item in pair], painter)
    found: list[Selection | str] = []
    for turn, some, pair in zip(turns, written, pairs, strict=True):
        if pair is None:
            found.append(some.spoken)
            continue
        picture = colours(turn.before.picture)
        painted, without = [
            put_back(picture, item.painted, item.view, None) for item in pair if item.painted is not None
        ]
        mask = taken_away(picture, painted, without)
        found.append(Selection(mask, without) if mask.any() else "")
    return found


def _with_and_without(turn: PlannedTurn, without: PlannedPicture) -> tuple[PlannedPicture, PlannedPicture]:
    """The picture as it was read, and a draft of it without something, to be painted from the same noise."""
    return turn.item(replace(without.draft, features=without.before_features)), without
