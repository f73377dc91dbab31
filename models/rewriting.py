"""Prompt self-rewriting: a vague wish to detailed descriptions, sampled in words, each with its own seed."""

from __future__ import annotations

from collections.abc import Sequence

from .chat import Chat, References
from .conversation import rewrite_prompt
from .errors import WeGenError
from .generation import Decoding, OnStep, Sampling, seeded
from .wegen import WeGen


def rewrite(
    wegen: WeGen,
    instruction: str,
    seeds: Sequence[int],
    sampling: Sampling,
    references: References = References(),  # noqa: B008 - immutable
    chat: Chat = Chat(),  # noqa: B008 - immutable
    limit: int | None = None,
    on_token: OnStep | None = None,
) -> list[str]:
    """One rewrite of `instruction` for each seed, all written in one batch.

    Args:
        wegen: the model, on its device.
        instruction: what the user wishes.
        seeds: rewrite k depends on seed k alone, not on how many others are written with it.
        sampling: temperature and top-p; at temperature 0 all rewrites are the same.
        references: pictures that the instruction may mention as `@name`.
        chat: earlier turns.
        limit: most tokens a rewrite; default as the checkpoint says.
        on_token: called after each token.

    Raises:
        WeGenError: an empty instruction, an unknown `@name`, or more tokens than the context holds.
    """
    if not seeds:
        raise WeGenError("0 rewrites were asked for; give 1 or more.")
    limit = wegen.config.templates.rewrite_limit if limit is None else limit
    if limit < 1:
        raise WeGenError(f"A limit of {limit} tokens leaves no room for a rewrite; give 1 or more.")
    prompt = rewrite_prompt(wegen.config, wegen.tokenizer, chat, instruction, references).embeddings(wegen)
    decoding = Decoding(wegen, [prompt], room=limit).expand(len(seeds))
    written = decoding.write_text(limit, sampling, [seeded(seed) for seed in seeds], on_token=on_token)
    # A model that has nothing to add answers with a picture at once: the wish then stands as it is.
    return [clean(wegen, ids) or instruction.strip() for ids in written]


def clean(wegen: WeGen, ids: Sequence[int]) -> str:
    """Written ids as plain text: no special or added tokens, no broken characters, single spaces."""
    plain = [index for index in ids if index < wegen.tokenizer.pieces.get_piece_size()]
    text = wegen.tokenizer.decode(plain, skip_special=True).replace("\ufffd", "")
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())
