"""What a turn on a chat may change: masks to plans before painting, and painted pictures to answers after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..checkpoints.wegen import WeGen
from ..engine import PictureDraft
from ..media.images import to_pil
from ..values import Answer, Chat, SamplerSettings, union
from .composite import paste
from .masks import change_mask, fit_mask
from .predicted_mask import keep_features, predict_edit_mask
from .registration import estimate, undo

NOTHING_TO_CHANGE = "The picture already shows that, as far as I can see, so nothing was changed."


@dataclass(frozen=True)
class Masks:
    """What the user says about where the picture may change; all of it may be left open.

    Attributes:
        edit: `[h, w]`, white may change.
        keep: `[h, w]`, white must stay, in this turn and in those after it.
        release: give up what keep masks of earlier turns have kept.
    """

    edit: Tensor | None = None
    keep: Tensor | None = None
    release: bool = False

    def fitted(self, height: int, width: int) -> Masks:
        """The same masks at the size of a picture."""
        edit, keep = (None if mask is None else fit_mask(mask, height, width) for mask in (self.edit, self.keep))
        return replace(self, edit=edit, keep=keep)


@dataclass(frozen=True)
class Plan:
    """One idea for the next picture, and where it may differ from the one before."""

    idea: PictureDraft
    change: Tensor | None
    """`[H, W]` in 0..1; None when all of it may."""


class Finished(NamedTuple):
    """What a turn led to."""

    answer: Answer
    note: str = ""
    """A plain sentence about what the user would otherwise wonder at, or nothing."""


def kept_area(chat: Chat, masks: Masks) -> Tensor | None:
    """Where the chat's last picture stays as it is, `[H, W]` in 0..1; None when all of it may change.

    Raises:
        WeGenError: the user's masks leave nothing to change.
    """
    allowed = _allowed(chat, masks)
    return None if allowed is None else 1 - allowed


def _allowed(chat: Chat, masks: Masks) -> Tensor | None:
    """Where the user lets the chat's last picture change, `[H, W]` in 0..1; None is everywhere."""
    height, width = chat.last.answer.picture.shape[:2]
    masks = masks.fitted(height, width)
    keep = union(None if masks.release else chat.kept(), masks.keep)
    return change_mask(masks.edit, keep, height, width)


def plan(chat: Chat, ideas: Sequence[PictureDraft], masks: Masks, settings: SamplerSettings) -> list[Plan]:
    """Decide where each idea may change the chat's last picture.

    Without an edit mask the model's own is used when the settings have one. What is kept, now or since an earlier turn,
    never changes. Cells that may not change get the features that they had.

    Raises:
        WeGenError: the user's masks leave nothing to change.
    """
    before = chat.last.answer
    height, width = before.picture.shape[:2]
    allowed = _allowed(chat, masks)
    plans = []
    for idea in ideas:
        change = allowed
        if masks.edit is None and settings.auto_mask is not None:
            own = predict_edit_mask(before.features, idea.features, height, width, settings.auto_mask).mask
            change = own if allowed is None else own * allowed
        if change is not None:
            idea = replace(idea, features=keep_features(before.features, idea.features, change))
        plans.append(Plan(idea, change))
    return plans


def changes(plans: Sequence[Plan], height: int, width: int) -> Tensor | None:
    """The plans' masks `[B, H, W]`; None when all of every picture may change."""
    if all(one.change is None for one in plans):
        return None
    return torch.stack([torch.ones(height, width) if one.change is None else one.change for one in plans])


def finish(wegen: WeGen | None, one: Plan, before: Tensor | None, after: Tensor, settings: SamplerSettings) -> Finished:
    """The answer of a turn: kept pixels are pasted back, and the features fit the result.

    Args:
        wegen: with its vision encoder ready; only needed with a change mask, like `before`.
        one: the plan that was painted.
        before: `[H, W, 3]`, the picture of the turn before.
        after: `[H, W, 3]`, what was painted.
        settings: of the turn.
    """
    idea = one.idea
    if one.change is None:
        return Finished(Answer(idea.rewrite, idea.features.cpu(), after, idea.seed))
    if not one.change.any():
        return Finished(Answer(idea.rewrite, idea.features.cpu(), before, idea.seed, one.change), NOTHING_TO_CHANGE)
    note = ""
    if settings.align:
        motion = estimate(before, after, one.change)
        after, note = undo(after, motion), motion.reason if motion.moved else ""
    picture = paste(before, after, one.change)
    # What was painted is only part of the picture; the next turn has to see all of it.
    features = wegen.encode_pictures([to_pil(picture)])[0].cpu()
    return Finished(Answer(idea.rewrite, features, picture, idea.seed, one.change), note)
