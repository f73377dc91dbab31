"""Questions about pictures, and about the chat so far: words in, words out, nothing is drawn."""

from __future__ import annotations

from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..values import Chat, References
from .conversation import ask_prompt
from .decoding import Decoding, OnStep
from .rewriting import clean


def ask(
    wegen: WeGen,
    question: str,
    references: References = References(),  # noqa: B008 - immutable
    chat: Chat = Chat(),  # noqa: B008 - immutable
    limit: int | None = None,
    on_token: OnStep | None = None,
) -> str:
    """The answer to a question, always the likeliest words; empty where the model has nothing to say.

    Args:
        wegen: the model, on its device.
        question: what the user wants to know, with `@name` for references.
        references: the pictures that it is about; those that are not mentioned come first.
        chat: earlier turns, whose pictures it may be about too.
        limit: most tokens of the answer; default as the checkpoint says.
        on_token: called after each token.

    Raises:
        WeGenError: an empty question, an unknown `@name`, a limit below 1, or more tokens than the context holds.
    """
    limit = wegen.config.templates.rewrite_limit if limit is None else limit
    if limit < 1:
        raise WeGenError(f"A limit of {limit} tokens leaves no room for an answer; give 1 or more.")
    prompt = ask_prompt(wegen.config, wegen.tokenizer, question, references, chat, limit).embeddings(wegen)
    [written] = Decoding(wegen, [prompt], room=limit).write_text(limit, on_token=on_token)
    return clean(wegen, written, limit)
