"""A turn before anything is computed: mentions, sizes and masks resolved, and the pictures that come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..editing.crop import Crop, plan_crop
from ..editing.predicted_mask import PredictedMask, keep_features, predict_edit_mask
from ..editing.refinement import Masks, Outcome, everywhere, outcome, resolve_masks
from ..encoding import lack_features, look_at, unseen, with_features
from ..errors import WeGenError
from ..network.configuration import WeGenConfig
from ..painting.painter import is_light, require_size
from ..painting.schedule import PUBLISHED, require_steps
from ..prompting.conversation import mentioned
from ..values import Answer, AutoMask, Chat, SamplerSettings, Turn
from .interface import Parts, PictureDraft, TurnRequest, TurnResult

NOT_UNDERSTOOD = (
    "I did not understand {order!r}: nothing in the picture would change, so it is as it was. If all of it is to be "
    "drawn anew, as when it is restored, let the whole picture change (on a node: turn auto_mask off)."
)
AS_BEFORE = (
    "{order!r} changed nothing in my description of the picture. If the picture does not show it yet, say it in other "
    "words."
)


@dataclass
class PlannedTurn:
    """A request with its chat, and the part of the picture that is worked on."""

    request: TurnRequest
    original: Chat
    chat: Chat
    """As the model reads it: it ends in the picture that is worked on."""
    size: tuple[int, int]
    """Height and width in pixels of the finished picture."""
    allowed: Tensor | None
    """`[H, W]` in 0..1, where the user lets the picture change; None is everywhere."""
    view: Crop
    notes: list[str] = field(default_factory=list)

    @property
    def is_edit(self) -> bool:
        return bool(self.original.turns)

    @property
    def before(self) -> Answer:
        """The picture that is changed.

        Raises:
            WeGenError: the chat has no turns.
        """
        return self.original.last.answer

    @property
    def view_features(self) -> Tensor:
        """`[tokens_per_picture, D]` of the part of the picture that is worked on; nothing for a first picture."""
        features = self.chat.last.answer.features if self.is_edit else None
        return torch.empty(0) if features is None else features

    def item(self, draft: PictureDraft) -> PlannedPicture:
        """One of the pictures of this turn."""
        return PlannedPicture(self, draft, self.view, self.view_features, draft.features)

    def result(self, items: Sequence[PlannedPicture], answers: Sequence[Answer], spoken: str) -> TurnResult:
        """What the turn led to.

        Args:
            items: its pictures, with their notes.
            answers: what came of each of them.
            spoken: what the model answered in words instead; the chat stays as it was then.
        """
        if spoken:
            return TurnResult(self.original, tuple(self.notes), spoken)
        request = self.request
        masks = request.masks if self.is_edit else Masks()
        turn = Turn(
            request.instruction,
            tuple(answers),
            request.references,
            masks.edit,
            masks.keep,
            masks.release,
            request.settings,
        )
        notes = [*self.notes, *(note for item in items for note in (*item.draft.notes, *item.notes))]
        attempts = tuple(item.draft.attempts for item in items)
        return TurnResult(self.original.add(turn), tuple(dict.fromkeys(notes)), attempts=attempts)


@dataclass
class PlannedPicture:
    """One picture of one turn on its way."""

    turn: PlannedTurn
    draft: PictureDraft
    view: Crop
    before_features: Tensor
    """Of the part of the picture that is worked on, as it was; nothing for a first picture."""
    meant: Tensor
    """The features of the draft, before kept cells got back those of the picture before."""
    change: Tensor | None = None
    """`[H, W]` in 0..1 at full size; None when all of it may change."""
    painted: Tensor | None = None
    """`[h, w, 3]` of the view."""
    kept: Tensor | None = None
    """`[H, W]`, 1 where things are that the model's words name as what stays; see `keeping`."""
    paints: bool = True
    """Whether anything of it may change at all."""
    nothing_meant: bool = False
    """Whether the model would change nothing."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_edit(self) -> bool:
        return self.turn.is_edit

    @property
    def settings(self) -> SamplerSettings:
        return self.turn.request.settings

    def plan_change(self, config: WeGenConfig) -> None:
        """Decide where the picture may change. Cells that may not change get the features that they had.

        Raises:
            WeGenError: the features of the picture before and of the draft are of different numbers or widths.
        """
        if not self.is_edit:
            return
        self.change = self.turn.allowed
        how = self.settings.auto_mask
        if how is not None and self.turn.request.masks.edit is None:
            own = self.own_mask(how, config)
            self.change = own.mask if self.turn.allowed is None else own.mask * self.turn.allowed
            self.paints = bool(self.change.any())
            if own.note:
                self.notes.append(own.note)
            self.nothing_meant = own.empty
            if doubt := self.doubt(own.empty, config):
                self.notes.append(doubt)
        self.keep_cells()

    def keep(self, mask: Tensor) -> None:
        """Things that stay as they are, `[H, W]`: 1 where they are, else 0."""
        self.kept = mask
        self.change = (everywhere(*self.turn.size) if self.change is None else self.change) * (1 - mask)
        self.paints = bool(self.change.any())
        self.keep_cells()

    def doubt(self, empty: bool, config: WeGenConfig) -> str:
        """What to say where the model's words for the new picture are those for the old one, as the order is followed
        already or was not understood; and where it means to change nothing. Else empty."""
        before, order = self.turn.before.described, self.turn.request.instruction
        described = not _same_words(self.draft.rewrite, order)  # in words of the model's own, not drawn as it stands
        now, then = map(config.templates.of_picture, (self.draft.rewrite, before))
        if described and before and _same_words(now, then):
            return AS_BEFORE.format(order=order)
        return NOT_UNDERSTOOD.format(order=order) if empty else ""

    def anew(self, config: WeGenConfig) -> bool:
        """Whether the model says that it draws all of the picture anew, as one that it restores.

        A picture that was read well in spite of its blur has the features of the restored one: those alone would change
        hardly anything.
        """
        return config.templates.says_anew(self.draft.rewrite)

    def own_mask(self, how: AutoMask, config: WeGenConfig) -> PredictedMask:
        """The predicted edit mask at full size, `[H, W]`; the user's masks are not in it.

        Raises:
            WeGenError: see `plan_change`.
        """
        box = self.view
        own = predict_edit_mask(self.before_features, self.draft.features, box.height, box.width, how, config.features)
        if self.anew(config):
            own = own._replace(mask=torch.ones_like(own.mask), note="")
        if (box.height, box.width) == self.turn.size:
            return own
        mask, heat = torch.zeros(*self.turn.size), torch.zeros(*self.turn.size)
        mask[box.box], heat[box.box] = own.mask, own.heat
        return own._replace(mask=mask, heat=heat)

    def keep_cells(self) -> None:
        """Give cells that may not change the features that they had."""
        if self.change is not None:
            part = self.change[self.view.box]
            self.draft = replace(self.draft, features=keep_features(self.before_features, self.draft.features, part))

    def outcome(self, after: Tensor, config: WeGenConfig) -> Outcome:
        """Whether what was meant came through the user's masks.

        Args:
            after: features `[tokens_per_picture, D]` of the finished view.
            config: of the checkpoint.

        Raises:
            WeGenError: see `plan_change`.
        """
        if self.anew(config):
            return "followed"
        how = replace(self.settings.auto_mask or AutoMask(), grow=0, soften=0)
        cells = config.feature_grid
        meant = predict_edit_mask(self.before_features, self.meant, cells, cells, how, config.features).mask
        allowed = everywhere(*self.turn.size) if self.turn.allowed is None else self.turn.allowed
        return outcome(
            self.before_features,
            self.meant,
            after,
            meant.flatten() > 0,
            allowed[self.view.box],
            config.features.measured,
        )


def plan_turn(request: TurnRequest, chat: Chat, parts: Parts) -> PlannedTurn:
    """Resolve mentions, sizes and masks, and look at the pictures that the model has not seen.

    Raises:
        WeGenError: an unknown `@name`; several descriptions, and not one for each seed; steps that the schedule does
            not have at this strength; a size that cannot be painted; a mask for a first picture, or masks that are
            none or leave nothing to change (see `refinement.resolve_masks`); or a picture or reference that cannot be
            looked at (see `encoding.look_at`).
    """
    config = parts.config
    references, note = mentioned(" ".join((request.instruction, *request.overrides)), request.references)
    notes = [note] if note else []
    if lack_features(references, parts.vision_id):
        references = with_features(parts.load_vision(1), references)
    settings = request.settings.for_checkpoint(config)
    if not chat.turns:
        settings = replace(settings, strength=1.0)  # there is nothing to paint over
    require_steps(config.schedule, settings.steps, settings.strength if settings.scheduler == PUBLISHED else 1.0)
    request = replace(request, references=references, settings=settings)
    if not chat.turns:
        if request.masks.edit is not None or request.masks.keep is not None:
            raise WeGenError("A mask needs a picture that is changed, and this is the first of the chat.")
        width, height = request.size or (config.size, config.size)
        require_size(width, height)
        whole = Crop(0, 0, height, width, (height, width), (height, width))
        return PlannedTurn(request, chat, chat, (height, width), None, whole, notes)
    height, width = chat.last.answer.picture.shape[:2]
    request = replace(request, masks=request.masks.fitted(height, width).copied())
    allowed = resolve_masks(chat, request.masks)
    view = plan_crop(allowed, height, width, config.size**2, config.vae.downscale)
    require_size(*reversed(view.padded))
    read = look_at(parts.load_vision(1), chat) if unseen(chat, parts.vision_id) else chat
    if (view.height, view.width) != (height, width):
        [seen] = seen_features([(chat, view)], parts)
        read = reading(read, seen)
    return PlannedTurn(request, chat, read, (height, width), allowed, view, notes)


def fewer_threads(turns: Sequence[PlannedTurn], config: WeGenConfig) -> int | None:
    """One thread of the CPU less than there are, for turns that are soon painted; None for others.

    Another process, be it the browser, keeps one of the threads waiting now and then, and the others with it. On two
    cores beside two busy processes the bundled model paints one picture in 3.2 s on one thread and in 9.8 on two, nine
    in 13 and 31. On two quiet cores one takes .85 s and .72, nine 3.4 and 2.5.
    """
    pixels = sum(len(turn.request.seeds) * math.prod(turn.view.padded) for turn in turns)
    return max(1, torch.get_num_threads() - 1) if is_light(config, pixels) else None


def seen_features(views: Sequence[tuple[Chat, Crop]], parts: Parts) -> list[Tensor]:
    """The features of a part of the picture that each chat goes on with.

    Args:
        views: chats, each with the part of its picture; 1 or more.
        parts: the checkpoint.

    Returns:
        `[tokens_per_picture, D]` float32 on the CPU for each.

    Raises:
        WeGenError: a picture has pixels that are NaN, or the vision encoder overflowed.
    """
    pictures = [chat.last.answer.picture[view.box] for chat, view in views]
    found = parts.load_vision(len(pictures)).encode_pictures(pictures)
    return list(found.float().cpu())


def reading(chat: Chat, features: Tensor) -> Chat:
    """The chat with these features `[tokens_per_picture, D]` of the picture that it goes on with."""
    shown = replace(chat.last.answer, features=features)
    return Chat((*chat.turns[:-1], replace(chat.last, answers=(shown,), picked=0)))


def _same_words(one: str, other: str) -> bool:
    return one.casefold().split() == other.casefold().split()
