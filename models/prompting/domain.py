"""What a checkpoint's language asks for: the words that it knows, and what a rewrite must keep.

A model of open language takes any words. One that was trained in a closed world (`WeGenConfig.world`) knows the words
of that world alone: others are replaced by the nearest, and rewrites are read by the world's own grammar.
"""

from __future__ import annotations

import re

from torch import Tensor

from .. import storybook
from ..network.configuration import WeGenConfig
from ..storybook import Understood
from ..values import Chat
from .checks import MENTION, RewriteCheck, WordsStay

STORYBOOK = "storybook"
# All that a storybook's text is made of, beside words: what a mention needs, and marks between words.
_FOREIGN_MARKS = re.compile(r"[^\w\s@.,;:?!'\u2019-]")


def understand(config: WeGenConfig, text: str) -> Understood:
    """A user's text in words that the model knows, and a plain sentence about each word that it does not.

    Raises:
        WeGenError: the model knows none of the words.
    """
    if config.world != STORYBOOK or not text.strip():
        return Understood(text)
    # Of nothing but marks nothing would be left to say that it is not known.
    words = _FOREIGN_MARKS.sub(" ", text) if re.search(r"\w", text) else text
    return storybook.understand(words, storybook.vocabulary())


def description_request(config: WeGenConfig, chat: Chat) -> str:
    """How to ask the model what the picture that the chat goes on with shows, where `constraint` needs to know.

    Empty where it does not: the picture was drawn from words, or the model's language is open.
    """
    brought = bool(chat.turns) and chat.last.is_upload
    return storybook.DESCRIBE[0] if brought and config.world == STORYBOOK else ""


def constraint(
    config: WeGenConfig, instruction: str, chat: Chat, before: str = "", kept: Tensor | None = None
) -> RewriteCheck:
    """What of an instruction, and of the picture that the chat goes on with, must stay in a rewrite.

    Args:
        config: of the checkpoint.
        instruction: what the user wrote.
        chat: earlier turns.
        before: what the chat's last picture shows, in words; as far as they are known.
        kept: `[H, W]` in 0..1, 1 where that picture stays as it is. Only words with places can be held to it.
    """
    if config.world == STORYBOOK:
        known, words = understand(config, instruction).text, storybook.vocabulary()
        asked = MENTION.sub(" ", known)
        if not chat.turns and asked != known:
            return storybook.demand_of_composition(asked, words)
        if chat.turns:
            return storybook.demand_of_order(known, before, words, None if kept is None else kept.numpy())
        return storybook.demand_of_wish(asked, words)
    # Where the picture itself stands at the mention, it is there whatever the rewrite says.
    inline = "{picture}" in config.templates.mention
    names = () if inline else tuple(dict.fromkeys(MENTION.findall(instruction)))
    return WordsStay(instruction, names)
