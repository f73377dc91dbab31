"""What an order names as what stays is kept to the pixel: "keep the house, make it night"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..painting.painter import Painter
from .interface import Parts, Progress
from .planning import PlannedPicture
from .selecting import Selection, Wanted, find

MOST_OF_CHANGE = 0.5
"""Share of what the model means to change from which on that is what it names as staying: then one of the two is wrong,
and nothing is kept."""
NOT_KEPT = (
    "I could not tell where in the picture this is, so it may change with the rest: {things}. To keep it to the pixel, "
    "select it or paint a keep mask over it."
)


def keep_named(items: Sequence[PlannedPicture], painter: Painter, parts: Parts, progress: Progress) -> None:
    """Take what the model's own words for an order name as what stays out of where the picture may change.

    Nothing here reads the order: that its words begin with what stays, as `templates.kept` says, is what a model was
    taught. What they name is then found as by `select`, once for all pictures of a turn that name the same. Pictures
    all of which may change, without a predicted edit mask, are left alone.

    Args:
        items: pictures whose change is planned, not painted yet; they get what they keep, or a note.
        painter: paints each picture in which something is looked for twice.
        parts: the checkpoint.
        progress: of the language model, but for its words, which are not those of the turn.

    Raises:
        WeGenError: as `take_turn`.
    """
    named: dict[tuple[int, str], list[PlannedPicture]] = {}
    for item in items:
        things = parts.config.templates.things_kept(item.draft.rewrite)
        if things and item.is_edit and item.paints and item.settings.auto_mask is not None:
            named.setdefault((id(item.turn), things), []).append(item)
    if not named:
        return
    wanted = [Wanted(things, some[0].turn.original, some[0].draft.seed) for (_, things), some in named.items()]
    found = find(wanted, painter, parts, progress._replace(on_text=None))
    for (_, things), some, where in zip(named, named.values(), found, strict=True):
        for item in some:
            if isinstance(where, Selection) and not _is_what_changes(where.mask, item.change):
                item.keep(where.mask)
            else:
                item.notes.append(NOT_KEPT.format(things=things))


def _is_what_changes(mask: Tensor, change: Tensor | None) -> bool:
    """Whether things, `[H, W]`, are most of what is to change, `[H, W]` in 0..1; None is everywhere."""
    return change is not None and float((mask * change).sum()) > MOST_OF_CHANGE * float(change.sum())
