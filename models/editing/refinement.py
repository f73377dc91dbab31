"""What a turn on a chat may change: the user's masks and the model's own, and whether a change came through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import WeGenError
from ..values import Chat, Value, union
from .masks import combine, fit_mask

NO_ROOM, ROOM = 0.01, 0.9
"""Of what was meant to change, weighted by how much: with less than the first allowed to change, masks overrule an
order; from the second on they hardly touch it."""
CAME, MOVED = 0.3, 0.5
"""Between the two, an order is overruled when what may change has gone less than this share of the way that was meant,
and has not moved far in another direction."""
WHOLE = 0.75
"""From this share of the whole way on an order is followed."""

Outcome = Literal["followed", "partly", "overruled"]


@dataclass(frozen=True, eq=False)
class Masks(Value):
    """What the user says about where the picture may change; all of it may be left open.

    Attributes:
        edit: `[h, w]`, white may change.
        keep: `[h, w]`, white must stay, in this turn and in those after it.
        release: give up what keep masks of earlier turns have kept.
        size: height and width of the picture that they were fitted to; None as the user gave them.
    """

    edit: Tensor | None = None
    keep: Tensor | None = None
    release: bool = False
    size: tuple[int, int] | None = None

    def copied(self) -> Masks:
        """The same masks in memory of their own: a caller may go on painting in what it gave."""
        edit, keep = (None if mask is None else mask.clone() for mask in (self.edit, self.keep))
        return replace(self, edit=edit, keep=keep)

    def fitted(self, height: int, width: int) -> Masks:
        """The same masks at the size of a picture, `[height, width]`.

        Raises:
            WeGenError: one is no mask, see `masks.fit_mask`.
        """
        if self.size == (height, width):
            return self
        edit = None if self.edit is None else fit_mask(self.edit, height, width)
        keep = None if self.keep is None else fit_mask(self.keep, height, width, thin=True)
        return replace(self, edit=edit, keep=keep, size=(height, width))


def resolve_masks(chat: Chat, masks: Masks) -> Tensor | None:
    """Where the user lets the chat's last picture change, `[H, W]` in 0..1; None is everywhere.

    Raises:
        WeGenError: the chat has no turns, one of the masks is no mask (see `masks.fit_mask`), they leave nothing to
            change, or what earlier turns keep is of another size than the picture.
    """
    height, width = chat.last.answer.picture.shape[:2]
    masks = masks.fitted(height, width)
    kept = None if masks.release else chat.kept()
    if kept is not None and kept.shape != (height, width):
        raise WeGenError(
            f"What earlier turns keep is {kept.shape[1]}x{kept.shape[0]} pixels and the picture {width}x{height}; "
            "turn on release for this turn."
        )
    return combine(masks.edit, union(kept, masks.keep), height, width)


def outcome(before: Tensor, meant: Tensor, after: Tensor, changed: Tensor, allowed: Tensor, measured: bool) -> Outcome:
    """Whether what was meant can be seen in a picture, or masks kept it back.

    Args:
        before, meant, after: features `[K, D]` of the picture before, of the one that was meant, and of the finished
            one; K is a square number.
        changed: `[K]`, whether the model meant to change a cell.
        allowed: `[H, W]` in 0..1, where the user let the picture change.
        measured: whether the checkpoint's features were calibrated. Else an order is overruled only where masks leave
            nothing of it at all, for features that a model writes may be far from those that it sees in any picture.
    """
    side = round(len(before) ** 0.5)
    wanted = (meant.double() - before.double())[changed]
    weight = wanted.square().sum(-1)
    if not len(weight):
        return "followed"
    free = F.adaptive_avg_pool2d(allowed[None, None].double(), side).flatten()[changed]
    whole = float(weight.sum().clamp(min=1e-12))
    room = float((weight * free).sum()) / whole
    if room < NO_ROOM:
        return "overruled"
    if room >= ROOM or not measured:
        return "followed"
    came = (after.double() - before.double())[changed]
    ahead, length = (wanted * came).sum(-1), came.square().sum(-1)
    share, moved = (float((free * each).sum()) / (room * whole) for each in (ahead, length))
    if share < CAME and moved < MOVED:
        return "overruled"
    return "followed" if float(ahead.sum()) / whole >= WHOLE else "partly"


def everywhere(height: int, width: int) -> Tensor:
    """A change mask `[height, width]` of a picture all of which may change."""
    return torch.ones(height, width)
