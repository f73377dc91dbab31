"""One turn of a chat, from words and masks to finished pictures: the only place where a turn is put together.

ComfyUI's nodes, plain Python, the command line and evaluation differ in the painter and in where progress goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..editing.predicted_mask import PredictedMask
from ..editing.refinement import Masks
from ..errors import AnsweredInWords, WeGenError
from ..network.threads import threads
from ..painting.painter import Painter
from ..values import Chat
from .drafting import write_drafts
from .finishing import finish, look_closer, paint
from .interface import Parts, PictureDraft, Progress, TurnRequest, TurnResult
from .keeping import keep_named
from .planning import PlannedTurn, fewer_threads, plan_turn


def take_turn(
    request: TurnRequest,
    chat: Chat,
    painter: Painter,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> TurnResult:
    """The next turn of a chat.

    Args:
        request: what is asked.
        chat: the turns before; without any this is the first picture.
        painter: paints the features.
        parts: the checkpoint.
        progress: of the language model; painters tell their own.

    Raises:
        WeGenError: an unknown `@name`; several descriptions, and not one for each seed; steps that the schedule does
            not have at this strength; a size that cannot be painted; a mask for a first picture, or masks that are
            none or leave nothing to change (see `refinement.resolve_masks`); a picture or reference that cannot be
            looked at (see `encoding.look_at`); features that another checkpoint made; more tokens than the context
            holds; a part of the model that overflowed; painted pictures that are none, too few, too many or of another
            size; or what the painter and the parts raise.
        AnsweredInWords: the model answers a first wish in words and draws nothing. A chat stays as it is then, and the
            result says what it answered.
    """
    [result] = take_turns([request], [chat], painter, parts, progress)
    if result.spoken and not chat.turns:
        raise AnsweredInWords(result.spoken)
    return result


def take_turns(
    requests: Sequence[TurnRequest],
    chats: Sequence[Chat],
    painter: Painter,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> list[TurnResult]:
    """The next turns of many chats in one batch: what `take_turn` gives one by one.

    Args:
        requests: what is asked.
        chats: the turns before, for each request.
        painter, parts, progress: as for `take_turn`.

    Returns:
        A result for each request. Answers in words are always results here, on a chat without turns too.

    Raises:
        WeGenError: as `take_turn`; one request that cannot be done ends all.
    """
    turns = [plan_turn(request, chat, parts) for request, chat in zip(requests, chats, strict=True)]
    with threads(fewer_threads(turns, parts.config)):
        written = write_drafts(turns, parts, progress)
        items = [turn.item(draft) for turn, some in zip(turns, written, strict=True) for draft in some.drafts]
        for item in items:
            item.plan_change(parts.config)
        look_closer(items, parts, progress)
        keep_named(items, painter, parts, progress)
        paint(items, painter)
        finished = list(zip(items, finish(items, parts, progress), strict=True))
    results = []
    for turn, some in zip(turns, written, strict=True):
        own = [(item, answer) for item, answer in finished if item.turn is turn]
        results.append(turn.result([item for item, _ in own], [answer for _, answer in own], some.spoken))
    return results


def draft_pictures(
    request: TurnRequest,
    chat: Chat,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> list[PictureDraft]:
    """The language side of `take_turn` alone: words and features, for graphs that paint with the host's own nodes.

    Masks of the request are left out: all of the picture is drawn.

    Returns:
        A draft for each seed, with features `[tokens_per_picture, D]`.

    Raises:
        WeGenError: as `take_turn`, but for masks and what comes after the drafts; steps and sizes are checked here too.
        AnsweredInWords: the model answers in words and draws nothing.
    """
    # The host's own nodes paint all of the picture, so all of it is read, whatever masks keep.
    return drafts_of(plan_turn(replace(request, masks=Masks(release=True)), chat, parts), parts, progress)


def predict_masks(
    request: TurnRequest,
    chat: Chat,
    parts: Parts,
    progress: Progress = Progress(),  # noqa: B008 - immutable
) -> list[PredictedMask]:
    """Where a refinement would change the picture by the predicted edit mask: the one that `take_turn` would use.

    Things that the order names as what stays are not cut out of it: they are found by painting (see `keeping`).

    Returns:
        A mask for each seed, `[H, W]` in 0..1 at the size of the picture; it is 0 where the user's masks say so.

    Raises:
        WeGenError: the settings have no `auto_mask`, the chat has no turns, or as `take_turn`, but for what comes after
            the masks; steps and sizes are checked here too.
        AnsweredInWords: the model answers in words and changes nothing.
    """
    if request.settings.auto_mask is None:
        raise WeGenError("The predicted edit mask is off in the settings; give an AutoMask.")
    turn = plan_turn(request, chat, parts)
    turn.original.require_turn()
    found = []
    for item in map(turn.item, drafts_of(turn, parts, progress)):
        own = item.own_mask(request.settings.auto_mask, parts.config)
        own = own._replace(note="\n".join(filter(None, [own.note, item.doubt(own.empty, parts.config)])))
        found.append(own if turn.allowed is None else own._replace(mask=own.mask * turn.allowed))
    return found


def drafts_of(turn: PlannedTurn, parts: Parts, progress: Progress) -> list[PictureDraft]:
    """The drafts of one turn. Raises AnsweredInWords where the model answers in words instead."""
    [written] = write_drafts([turn], parts, progress)
    if written.spoken:
        raise AnsweredInWords(written.spoken)
    return written.drafts
