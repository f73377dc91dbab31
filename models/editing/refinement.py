"""What a turn on a chat may change: the user's masks and the model's own, and whether a change came through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..errors import WeGenError
from ..values import Chat, union
from .masks import change_mask, fit_mask

OVERRULED, FOLLOWED = 0.3, 0.75
"""Of the way from the picture before to the one that was meant: below the first an order counts as not followed because
of the masks, from the second on as followed."""

MOVED = 0.5
"""Of the squared way that was meant: what has gone further than that has changed, be it into something else."""

Outcome = Literal["followed", "partly", "overruled"]


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


def resolve_masks(chat: Chat, masks: Masks) -> Tensor | None:
    """Where the user lets the chat's last picture change, `[H, W]` in 0..1; None is everywhere.

    Raises:
        WeGenError: the masks leave nothing to change.
    """
    height, width = chat.last.answer.picture.shape[:2]
    masks = masks.fitted(height, width)
    kept = None if masks.release else chat.kept()
    if kept is not None and kept.shape != (height, width):
        raise WeGenError(
            f"What earlier turns keep is {kept.shape[1]}x{kept.shape[0]} pixels and the picture {width}x{height}; "
            "release it in this turn."
        )
    return change_mask(masks.edit, union(kept, masks.keep), height, width)


def outcome(before: Tensor, meant: Tensor, after: Tensor) -> Outcome:
    """Whether what was meant can be seen in a picture whose masks may have kept it back.

    Each argument holds features `[K, D]`: of the picture before, of the one that was meant, and of the finished one.
    How far the finished one has gone from the first towards the second is what counts, cells that were to change most
    counting most.
    """
    wanted = meant.double() - before.double()
    came = after.double() - before.double()
    # Cells that were hardly to change say nothing but how noisy features are.
    weight = wanted.square().sum(-1)
    chosen = weight >= 0.25 * weight.max()
    length = weight[chosen].sum().clamp(min=1e-12)
    share = float((wanted * came)[chosen].sum() / length)
    moved = float(came[chosen].square().sum() / length)
    if share >= FOLLOWED:
        return "followed"
    # What changed much, but into something else, was not kept back by masks.
    return "overruled" if share < OVERRULED and moved < MOVED else "partly"


def everywhere(height: int, width: int) -> Tensor:
    """A change mask `[height, width]` of a picture all of which may change."""
    return torch.ones(height, width)
