"""From turns with pictures and text to one token sequence, as the checkpoint's templates say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .chat import Chat, Reference, References
from .configuration import WeGenConfig
from .errors import WeGenError
from .tokenizer import PICTURE_BEGIN, PICTURE_END, Tokenizer, picture_token
from .wegen import WeGen

Task = Literal["text_to_picture", "turn", "rewrite", "ask"]
MENTION = re.compile(r"(?<![\w@])@([A-Za-z][A-Za-z0-9_-]*)")


@dataclass(frozen=True)
class Prompt:
    """Text with pictures written out in tokens, and the features of those pictures in order."""

    text: str
    features: tuple[Tensor, ...] = ()

    def __add__(self, other: Prompt | str) -> Prompt:
        other = Prompt(other) if isinstance(other, str) else other
        return Prompt(self.text + other.text, self.features + other.features)

    def tokens(self, tokenizer: Tokenizer) -> int:
        """Positions that it takes."""
        return len(tokenizer.encode(self.text))

    def embeddings(self, wegen: WeGen) -> Tensor:
        """`[L, width]`, begin-of-sequence token in front."""
        return wegen.embed(wegen.tokenizer.encode(self.text), self.features)


def picture_text(tokens_per_picture: int) -> str:
    """The tokens that stand for one whole picture, as text."""
    return PICTURE_BEGIN + "".join(picture_token(i) for i in range(tokens_per_picture)) + PICTURE_END


def user_turn(
    config: WeGenConfig, tokenizer: Tokenizer, task: Task, instruction: str, references: Sequence[Reference] = ()
) -> Prompt:
    """One user turn: the template of `task` with the instruction and the references' pictures put in.

    `@name` becomes what the template `mention` says. References that are mentioned with `{picture}` stand where they
    are mentioned, all others together where the template has `{pictures}`.

    Raises:
        WeGenError: the instruction is empty, or mentions a reference that is not there.
    """
    if not instruction.strip():
        raise WeGenError("The instruction is empty. Say what to draw, or what to change.")
    templates = config.templates
    picture = picture_text(config.tokens_per_picture)
    numbers = {reference.name: number for number, reference in enumerate(references, start=1)}
    by_name = {reference.name: reference for reference in references}
    inline: list[Reference] = []

    def mention(match: re.Match) -> str:
        name = match.group(1)
        if name not in by_name:
            if not by_name:
                return match.group()  # without any references an @ is just text
            raise WeGenError(
                f"The instruction mentions @{name}, but the references are: {', '.join('@' + n for n in by_name)}."
            )
        if "{picture}" in templates.mention:
            inline.append(by_name[name])
        return templates.mention.format(name=name, number=numbers[name], picture=picture)

    text = MENTION.sub(mention, tokenizer.escape(instruction))
    leading = [reference for reference in references if reference not in inline]
    template = getattr(templates, task)
    pictures_first = template.index("{pictures}") < template.index("{text}")
    ordered = [*leading, *inline] if pictures_first else [*inline, *leading]
    # Filled in one pass, so that braces in the user's text are just text.
    filling = {"{text}": text, "{pictures}": picture * len(leading)}
    filled = re.sub(r"\{(?:text|pictures)\}", lambda slot: filling[slot.group()], template)
    return Prompt(filled, tuple(_weighted(reference) for reference in ordered))


def _weighted(reference: Reference) -> Tensor:
    return reference.features * reference.weight


def history(config: WeGenConfig, tokenizer: Tokenizer, chat: Chat) -> Prompt:
    """All turns of a chat with their answers, ready for the next turn to follow."""
    prompt = Prompt("")
    for index, turn in enumerate(chat.turns):
        answer = turn.answer
        asked = opening(config, tokenizer, index == 0, turn.instruction, turn.references, answer.rewrite)
        prompt += asked + Prompt(picture_text(config.tokens_per_picture), (answer.features,)) + config.templates.joint
    return prompt


def opening(
    config: WeGenConfig,
    tokenizer: Tokenizer,
    first: bool,
    instruction: str,
    references: References,
    rewrite: str | None = None,
) -> Prompt:
    """One turn up to where its picture begins: the user's part, and the rewrite where the templates want it.

    Args:
        config: sizes and templates.
        tokenizer: of the checkpoint.
        first: whether the turn begins a chat (`text_to_picture`) or goes on with one (`turn`).
        instruction: what the user asked.
        references: the turn's own references.
        rewrite: the words to draw; None or the instruction itself when it is not rewritten.
    """
    task: Task = "text_to_picture" if first else "turn"
    rewritten = rewrite is not None and rewrite != instruction
    if rewritten and config.templates.rewrite_place == "instruction":
        return user_turn(config, tokenizer, task, rewrite, references.items)
    asked = user_turn(config, tokenizer, task, instruction, references.items)
    return asked + tokenizer.escape(rewrite) if rewritten else asked


def picture_prompt(
    config: WeGenConfig,
    tokenizer: Tokenizer,
    chat: Chat,
    instruction: str,
    references: References,
    rewrite: str | None = None,
) -> Prompt:
    """The whole sequence after which the next picture's features are written; ends in `<img>`."""
    asked = opening(config, tokenizer, not chat.turns, instruction, references, rewrite)
    return history(config, tokenizer, chat) + asked + PICTURE_BEGIN


def rewrite_prompt(
    config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, instruction: str, references: References
) -> Prompt:
    """The whole sequence after which a rewrite of `instruction` is written."""
    return history(config, tokenizer, chat) + user_turn(config, tokenizer, "rewrite", instruction, references.items)
