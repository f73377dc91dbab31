"""The metadata of a saved picture: the turns that led to it, as JSON under one key."""

from __future__ import annotations

from typing import Any

from ..values import Chat

KEY = "wegen"
"""Of the text chunk in a PNG."""


def turns_of(chat: Chat, instruction: str, rewrite: str, seed: int) -> list[dict[str, Any]]:
    """All turns up to one picture, each with what was asked, the words that were drawn, and the seed.

    Args:
        chat: the turns before that of the picture, each with the picture that it goes on with.
        instruction, rewrite, seed: of the picture itself.
    """
    before = [(turn.instruction, turn.answer.rewrite, turn.answer.seed) for turn in chat.turns]
    names = ("instruction", "rewrite", "seed")
    return [dict(zip(names, turn, strict=True)) for turn in (*before, (instruction, rewrite, seed))]
