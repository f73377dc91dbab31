"""The metadata of a saved picture: the turns that led to it, as JSON under one key."""

from __future__ import annotations

from typing import Any

from ..values import Answer, Chat

KEY = "wegen"
"""Of the text chunk in a PNG."""


def turns_of(chat: Chat, instruction: str, answer: Answer) -> list[dict[str, Any]]:
    """All turns up to one picture, each with what was asked, the words that were drawn, and the seed.

    Where masks kept that back, `shows` says what the finished picture shows in place of it.

    Args:
        chat: the turns before that of the picture, each with the picture that it goes on with.
        instruction, answer: of the picture itself.
    """
    return [_turn(turn.instruction, turn.answer) for turn in chat.turns] + [_turn(instruction, answer)]


def _turn(instruction: str, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"instruction": instruction, "rewrite": answer.rewrite, "seed": answer.seed}
    return told if answer.shows is None else {**told, "shows": answer.shows}
