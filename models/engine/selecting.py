"""Finding what somebody names in a picture: the model paints it without that, and the mask is what is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from ..editing.crop import put_back
from ..editing.refinement import Masks
from ..editing.taken_away import taken_away
from ..errors import WeGenError
from ..network.threads import threads
from ..painting.painter import Painter
from ..values import Chat, SamplerSettings, whole_text
from .finishing import colours, paint
from .interface import Parts, Progress, TurnRequest
from .planning import plan_turn
from .turns import drafts_of, fewer_threads

WITHOUT = "remove {things}"


class NothingFound(WeGenError):
    """The model takes nothing away for what was named."""


class Selection(NamedTuple):
    """Things that were found in a picture."""

    mask: Tensor
    """`[H, W]`, 1 where they are and 0 elsewhere."""
    without: Tensor
    """`[H, W, 3]` in 0..1: the picture as the model paints it without them."""


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
    order = WITHOUT.format(things=things)
    settings = SamplerSettings(auto_mask=None)
    turn = plan_turn(
        TurnRequest(order, (seed,), creativity=0.0, masks=Masks(release=True), settings=settings), chat, parts
    )
    with threads(fewer_threads([turn], parts.config)):
        [draft] = drafts_of(turn, parts, progress)
        without = turn.item(draft)
        painted = turn.item(replace(draft, features=without.before_features))
        paint([painted, without], painter)
    picture = colours(turn.before.picture)
    whole = [
        put_back(picture, item.painted, item.view, None) for item in (painted, without) if item.painted is not None
    ]
    mask = taken_away(picture, *whole)
    if not mask.any():
        raise NothingFound(f"{things!r} was not found in the picture. Say what it is, and how it looks.")
    return Selection(mask, whole[1])
