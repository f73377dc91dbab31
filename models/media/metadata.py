"""The metadata of a saved picture: the turns that led to it, as JSON under one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..values import Answer, Chat

if TYPE_CHECKING:
    from ..network.configuration import Templates

KEY = "wegen"
"""Of the text chunk in a PNG."""


def turns_of(chat: Chat, instruction: str, answer: Answer, templates: Templates | None = None) -> list[dict[str, Any]]:
    """All turns up to one picture, each with what was asked, the words that were drawn, and the seed.

    Where masks kept that back, `shows` says what the finished picture shows in place of it. Where the model's words
    begin with what the last turn changes, `of_picture` is all the rest: who wishes for such a picture again wants that.

    Args:
        chat: the turns before that of the picture, each with the picture that it goes on with.
        instruction, answer: of the picture itself.
        templates: of the checkpoint that wrote its words; None where no WeGen model did.
    """
    told = [_turn(turn.instruction, turn.answer) for turn in chat.turns] + [_turn(instruction, answer)]
    words = answer.described
    # A first picture changes nothing, and words that are the order itself are the user's own, however they begin.
    if templates is not None and chat.turns and words != instruction:
        alone = templates.of_picture(words)
        if alone != words:
            told[-1]["of_picture"] = alone
    return told


def _turn(instruction: str, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"instruction": instruction, "rewrite": answer.rewrite, "seed": answer.seed}
    return told if answer.shows is None else {**told, "shows": answer.shows}
