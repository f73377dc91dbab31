"""From pictures to values that the model reads: references, pictures of the user's own, and of other models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from .checkpoints.wegen import WeGen
from .editing.masks import fit_mask
from .errors import WeGenError
from .media.images import from_pil, to_pil
from .media.reference_crop import alone_on_page, crop_to_mask
from .values import Answer, Chat, Reference, References, Turn


def encode_reference(
    wegen: WeGen, name: str, picture: Tensor, mask: Tensor | None = None, weight: float = 1.0
) -> Reference:
    """Make a named reference of a picture.

    Args:
        wegen: with its vision encoder ready.
        name: how instructions mention it.
        picture: `[H, W, 1, 3 or 4]` in 0..1.
        mask: `[h, w]` in 0..1, white where the reference is; it may be rough. None is the whole picture.
        weight: how strongly its features speak, from 0 to 2.

    Raises:
        WeGenError: what is given is no picture or no mask (see `media.images.check_picture`, `editing.masks.fit_mask`),
            the mask shows nothing, the name cannot be mentioned, the weight is out of range, or the vision encoder
            overflowed.
    """
    whole = from_pil(to_pil(picture))
    shown, kept = whole, None
    if mask is not None:
        kept = fit_mask(mask, *whole.shape[:2], thin=True).clone()
        shown = (alone_on_page if wegen.config.reference_view == "page" else crop_to_mask)(whole, kept)
    return Reference(name, wegen.encode_pictures([shown])[0].cpu(), whole, kept, weight, wegen.vision_id)


def begin_with(wegen: WeGen, pictures: Sequence[Tensor]) -> Chat:
    """A chat that begins with the user's own pictures; it goes on with the first of them.

    Args:
        wegen: with its vision encoder ready.
        pictures: `[H, W, 3]` each, in 0..1; sizes may differ.

    Raises:
        WeGenError: there is no picture, one is none or has pixels that are NaN, or the vision encoder overflowed.
    """
    if not pictures:
        raise WeGenError("There is no picture to begin with; give 1 or more.")
    features = [wegen.encode_pictures([picture])[0].cpu() for picture in pictures]
    answers = (
        Answer("", seen, picture.clamp(0, 1), 0, seen_by=wegen.vision_id)
        for seen, picture in zip(features, pictures, strict=True)
    )
    return Chat().add(Turn("", tuple(answers)))


def is_unseen(one: Answer | Reference, vision_id: str) -> bool:
    """Whether a picture has no features of this vision encoder: none yet, or those of another checkpoint, or of one
    whose weights were others. Without an id any features count."""
    return one.features is None or bool(vision_id and one.seen_by != vision_id)


def unseen(chat: Chat, vision_id: str) -> bool:
    """Whether a chat holds pictures that this vision encoder has not looked at yet."""
    return any(is_unseen(turn.answer, vision_id) or lack_features(turn.references, vision_id) for turn in chat.turns)


def lack_features(references: References, vision_id: str) -> bool:
    """Whether there are references that this vision encoder has not looked at yet."""
    return any(is_unseen(one, vision_id) for one in references)


def with_features(wegen: WeGen, references: References) -> References:
    """The references as `wegen` can read them: with features for those that it has not looked at.

    Raises:
        WeGenError: a picture or mask that `encode_reference` refuses.
    """
    return References(
        tuple(
            encode_reference(wegen, one.name, one.picture, one.mask, one.weight)
            if is_unseen(one, wegen.vision_id)
            else one
            for one in references
        )
    )


def look_at(wegen: WeGen, chat: Chat) -> Chat:
    """The chat as `wegen` can read it: with features for the pictures that it has not looked at, which other models
    painted or were given, or which another checkpoint read.

    It is the same chat where all have been looked at. Turns that are too long ago to fit into its context stay as they
    are.

    Raises:
        WeGenError: a picture that has pixels that are NaN, a reference that `encode_reference` refuses, or the vision
            encoder overflowed.
    """
    if not unseen(chat, wegen.vision_id):
        return chat
    config = wegen.config
    fitting = config.language.context_length // config.tokens_per_picture
    in_view = min(fitting, config.turns_in_view or fitting) + 1  # a picture of the user's own comes along with a turn

    def seen(turn: Turn) -> Turn:
        answers = list(turn.answers)
        if is_unseen(turn.answer, wegen.vision_id):
            features = wegen.encode_pictures([turn.answer.picture])[0].cpu()
            answers[turn.picked] = replace(turn.answer, features=features, seen_by=wegen.vision_id)
        return replace(turn, answers=tuple(answers), references=with_features(wegen, turn.references))

    return Chat((*chat.turns[:-in_view], *map(seen, chat.turns[-in_view:])))
