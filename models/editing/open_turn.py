"""A turn that waits for a picture which somebody else paints: any model, or none at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import WeGenError
from ..media.images import check_picture
from ..options import LARGEST_SEED
from ..prompting.checks import MENTION
from ..values import Answer, Chat, Reference, References, Turn, Value, whole_text
from .composite import resized, with_channels
from .keep import keep
from .refinement import Masks, resolve_masks

BLANK = 0.5
"""Grey of the picture that stands for none."""


def begin_unseen(*pictures: Tensor) -> Chat:
    """A chat that begins with the user's own pictures `[H, W, 1, 3 or 4]`, which no WeGen has to look at for that.

    An alpha channel is left out.

    Raises:
        WeGenError: there is none, or one is no picture or has pixels that are NaN.
    """
    if not pictures:
        raise WeGenError("There is no picture to begin with; give 1 or more.")
    for picture in pictures:
        check_picture(picture)
    pictures = tuple(with_channels(picture[..., :3], 3).cpu().clamp(0, 1) for picture in pictures)
    return Chat().add(Turn("", tuple(Answer("", None, picture, 0) for picture in pictures)))


@dataclass(frozen=True, eq=False)
class OpenTurn(Value):
    """What is asked in a turn, and where its picture may differ from the one before.

    Attributes:
        instruction: as the user wrote it, with `@name` mentions.
        chat: the turns before; empty for a first picture.
        references: of this turn; those of other models need no features.
        edit_mask, keep_mask, release: as in `refinement.Masks`; without a picture before they say nothing.
        seed: of the first picture.
        width, height: in pixels, of a first picture; later ones have the size of the picture before.

    Raises:
        WeGenError: the instruction is empty.
    """

    instruction: str
    chat: Chat = field(default_factory=Chat)
    references: References = field(default_factory=References)
    edit_mask: Tensor | None = None
    keep_mask: Tensor | None = None
    release: bool = False
    seed: int = 0
    width: int = 1024
    height: int = 1024

    def __post_init__(self):
        object.__setattr__(self, "instruction", whole_text(self.instruction).strip())
        if not self.instruction:
            raise WeGenError("The instruction is empty. Say what to draw, or what to change.")
        if len(self.chat):
            height, width = self.chat.last.answer.picture.shape[:2]
            object.__setattr__(self, "width", width)
            object.__setattr__(self, "height", height)

    @property
    def words(self) -> str:
        """The instruction without the signs before names, as other models read it."""
        return MENTION.sub(r"\1", self.instruction)

    @property
    def before(self) -> Tensor | None:
        """The picture so far, `[H, W, 3]`; None for a first picture."""
        return self.chat.last.answer.picture if len(self.chat) else None

    @property
    def picture(self) -> Tensor:
        """The picture so far, or an even grey one, `[height, width, 3]`."""
        return torch.full((self.height, self.width, 3), BLANK) if self.before is None else self.before

    @property
    def change(self) -> Tensor | None:
        """Where the picture may change, `[height, width]` in 0..1; None is everywhere.

        Raises:
            WeGenError: see `refinement.resolve_masks`.
        """
        if self.before is None:
            return None
        return resolve_masks(self.chat, self._masks)

    def reference(self, name: str, number: int) -> Reference | None:
        """The reference called `name`, or without a name the one with this number, from 0; None when there is none."""
        name = name.strip().removeprefix("@")
        found = [one for one in self.references if one.name == name] if name else self.references.items[number:]
        return found[0] if found else None

    @property
    def _masks(self) -> Masks:
        return Masks(self.edit_mask, self.keep_mask, self.release)


def cut_out(reference: Reference) -> Tensor:
    """A copy of a reference's picture, `[H, W, 3]` in 0..1, for models that take no mask with it.

    It is grey where the mask says that it is not meant.
    """
    if reference.mask is None:
        return reference.picture.clone()
    meant = reference.mask[..., None].to(reference.picture)
    return reference.picture * meant + BLANK * (1 - meant)


def side_by_side(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures `[h, w, 3]` of any sizes as one batch `[B, H, W, 3]` of the size of the first, which there must be.

    The others are laid on grey in whole.
    """
    height, width = pictures[0].shape[:2]
    batch = torch.full((len(pictures), height, width, 3), BLANK)
    for canvas, picture in zip(batch, pictures, strict=True):
        scale = min(height / picture.shape[0], width / picture.shape[1])
        size = [
            max(1, min(most, round(side * scale))) for side, most in zip(picture.shape, (height, width), strict=False)
        ]
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        canvas[top : top + size[0], left : left + size[1]] = resized(picture, *size)
    return batch


@dataclass(frozen=True, eq=False)
class Answered:
    """A turn that has its pictures.

    Attributes:
        chat: with the turn at its end.
        report: what was done to each picture, a line for each when there are several.
    """

    chat: Chat
    report: str


def answer(
    turn: OpenTurn,
    pictures: Tensor,
    feather: float = 8,
    align: bool = True,
    match_tone: bool = False,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> Answered:
    """Make pictures of any origin the answers of a turn.

    Each is brought to the size of the picture before; where that may not change it is pasted back, to the bit.

    Args:
        turn: what was asked.
        pictures: `[B, h, w, 1, 3 or 4]` in 0..1; an alpha channel is left out.
        feather: width in pixels of the soft edge, inside what may change.
        align: whether shift and zoom against what is kept are found and undone.
        match_tone: whether colours are matched at the edge.
        on_picture: called after each picture with how many are done and how many there are; what it raises stops the
            work.

    Raises:
        WeGenError: there is no picture, one has pixels that are NaN or other proportions than the one before, the
            feather is negative, or the masks are wrong: see `refinement.resolve_masks`.
    """
    if not len(pictures):
        raise WeGenError("There is no picture to answer the turn with: the batch is empty.")
    pictures = pictures[..., :3].float().cpu()
    pictures = pictures.expand(*pictures.shape[:-1], 3)
    before = turn.before
    masks = Masks() if before is None else turn._masks.fitted(*before.shape[:2]).copied()
    change = None if before is None else resolve_masks(turn.chat, masks)
    answers, reports = [], []
    for number, picture in enumerate(pictures):
        weight, report = None, "The first picture of this chat."
        if before is None:
            check_picture(picture)
            picture = picture.clamp(0, 1)  # a copy: the caller may change its own
        else:
            everywhere = torch.ones(before.shape[:2])
            where = everywhere if change is None else change
            kept = keep(
                before, picture, where, feather, align and change is not None, match_tone and change is not None
            )
            picture, report = kept.picture, kept.report
            weight = None if change is None else kept.weight
        answers.append(Answer(turn.instruction, None, picture, (turn.seed + number) % (LARGEST_SEED + 1), weight))
        reports.append(report)
        on_picture(number + 1, len(pictures))
    if len(reports) > 1:
        reports = [f"{number}. {report}" for number, report in enumerate(reports, start=1)]
    made = Turn(turn.instruction, tuple(answers), turn.references, masks.edit, masks.keep, masks.release)
    return Answered(turn.chat.add(made), "\n".join(reports))
