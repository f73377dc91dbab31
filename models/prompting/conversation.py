"""From turns with pictures and text to one token sequence, as the checkpoint's templates say."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

from ..checkpoints.tokenizer import PICTURE_BEGIN, PICTURE_END, Tokenizer, picture_token
from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..network.configuration import WeGenConfig
from ..values import Chat, Reference, References, whole_text
from .checks import MENTION

Task = Literal["text_to_picture", "edit", "rewrite", "edit_rewrite", "ask"]
UPLOAD = "uploaded-picture"
"""The name that a picture which the user brought to a chat has among the references of the next turn."""


@dataclass(frozen=True)
class Prompt:
    """Text with pictures written out in tokens, and the features of those pictures in order."""

    text: str
    features: tuple[Tensor | None, ...] = ()
    """None for a picture that is too long ago to be read."""

    def __add__(self, other: Prompt | str) -> Prompt:
        other = Prompt(other) if isinstance(other, str) else other
        return Prompt(self.text + other.text, self.features + other.features)

    def tokens(self, tokenizer: Tokenizer) -> int:
        """Positions that it takes."""
        return len(tokenizer.encode(self.text))

    def embeddings(self, wegen: WeGen) -> Tensor:
        """`[L, width]`, begin-of-sequence token in front."""
        seen = [features for features in self.features if features is not None]
        return wegen.embed(wegen.tokenizer.encode(self.text), seen)


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
            raise unknown_mention(name, references)
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


def mentioned(text: str, references: References) -> tuple[References, str]:
    """The references that a text mentions, and a sentence about those that it does not.

    Raises:
        WeGenError: one is mentioned that is not there, or it is no text.
    """
    names = dict.fromkeys(MENTION.findall(whole_text(text)))
    there = {reference.name: reference for reference in references}
    for name in names:
        if name not in there:
            raise unknown_mention(name, references)
    unused = ", ".join(f"@{name}" for name in there if name not in names)
    note = f"Not mentioned, so not used: {unused}." if unused else ""
    return References(tuple(there[name] for name in there if name in names)), note


def unknown_mention(name: str, references: Iterable[Reference]) -> WeGenError:
    """The error for a mention of a reference that is not there."""
    named = ", ".join(f"@{one.name}" for one in references if one.name != UPLOAD)
    there = f"the references are: {named}" if named else "there are no references"
    return WeGenError(
        f"The instruction mentions @{name}, but {there}. Add a reference called {name!r}, or write the word without @."
    )


def _weighted(reference: Reference) -> Tensor | None:
    if reference.features is None:
        return None  # of a turn that is too long ago to be read
    return reference.features * reference.weight


TOO_LONG = (
    "The turn before this one is too long for me to read again: I see its picture, and no longer know what was said."
)
OUTGROWN = "From here on this chat has outgrown what I can read at once"


class Memory(NamedTuple):
    """What of a chat still fits into the context."""

    prompt: Prompt
    """The turns before, ready for the next one to follow."""
    unseen: tuple[int, ...]
    """Numbers, from 1, of the turns whose pictures are left out."""
    forgotten: tuple[int, ...]
    """Numbers, from 1, of the turns that are left out with all that was said; they are among `unseen`."""


def remember(config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, asked: Prompt, written: int = 0) -> Memory:
    """The turns before `asked`, as many as fit with room for a rewrite, of `written` tokens where that is more than the
    model writes itself, and a picture.

    Where they do not, or are more than the model can look back at, the oldest pictures go first, then the oldest words.
    The last turn always stays, and so do `asked` and the references in it.
    """
    past = _all_past(config, tokenizer, chat)
    unseen, forgotten = _left_out(config, tokenizer, past, asked, written)
    whole = [turn.whole for turn in past[unseen:]]
    words = [turn.words for turn in past[forgotten:unseen]]
    return Memory(sum((*words, *whole), Prompt("")), tuple(range(1, unseen + 1)), tuple(range(1, forgotten + 1)))


class _Past(NamedTuple):
    """A turn as it can be read again: with its pictures, or its words alone; and how many tokens each takes."""

    whole: Prompt
    words: Prompt
    whole_tokens: int
    words_tokens: int


def _all_past(config: WeGenConfig, tokenizer: Tokenizer, chat: Chat) -> list[_Past]:
    found = []
    for number in range(len(chat)):
        whole, words = (_past(config, tokenizer, chat, number, pictures) for pictures in (True, False))
        sizes = (len(tokenizer.encode(prompt.text, begin=False)) for prompt in (whole, words))
        found.append(_Past(whole, words, *sizes))
    return found


def _room(config: WeGenConfig, tokenizer: Tokenizer, asked: Prompt, written: int) -> int:
    """How many tokens are left for what stands before `asked`."""
    room = config.language.context_length - asked.tokens(tokenizer)
    return room - max(config.templates.rewrite_limit, written) - config.tokens_per_picture - 2


def readable(
    config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, ask: Callable[[Chat], Prompt], written: int = 0
) -> Chat:
    """The chat as it can be read: a last turn that is too long for what `ask` makes of the chat to follow, as it has
    many references or a very long description, counts as a picture that the user brought. That needs no words."""
    if not chat.turns or chat.last.is_upload:
        return chat
    whole = _past(config, tokenizer, chat, len(chat) - 1, pictures=True)
    if len(tokenizer.encode(whole.text, begin=False)) <= _room(config, tokenizer, ask(chat), written):
        return chat
    return replace(chat, turns=(*chat.turns[:-1], replace(chat.last, instruction="", references=References())))


def _left_out(
    config: WeGenConfig, tokenizer: Tokenizer, past: Sequence[_Past], asked: Prompt, written: int = 0
) -> tuple[int, int]:
    """How many of the oldest turns are left out before `asked`: with their pictures, and with their words too."""
    room = _room(config, tokenizer, asked, written)
    unseen = _out_of_view(config, past)
    forgotten = 0
    while sum(t.whole_tokens for t in past[unseen:]) + sum(t.words_tokens for t in past[forgotten:unseen]) > room:
        if unseen < len(past) - 1:
            unseen += 1
        elif forgotten < unseen:
            forgotten += 1
        else:
            break  # nothing more may go; whoever reserves the room says what is too long
    return unseen, forgotten


def _out_of_view(config: WeGenConfig, past: Sequence[_Past]) -> int:
    """How many of the oldest turns are read without their pictures, however much room there is."""
    return 0 if config.turns_in_view is None else max(0, len(past) - config.turns_in_view)


def _past(config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, number: int, pictures: bool) -> Prompt:
    """Turn `number` of a chat with its answer; nothing for a picture that the user brought: the next turn shows it."""
    turn = chat.turns[number]
    if turn.is_upload:
        return Prompt("")
    shown = references_at(chat, number, turn.references) if pictures else References()
    # What names no reference that can be seen is a plain word; another model's instruction may have any.
    names = {reference.name for reference in shown}
    instruction, rewrite = (plain_mentions(text, names) for text in (turn.instruction, turn.answer.described))
    asked = opening(config, tokenizer, number == 0, instruction, shown, rewrite or None)
    if pictures:
        asked += Prompt(picture_text(config.tokens_per_picture), (turn.answer.features,))
    return asked + config.templates.joint


def plain_mentions(text: str, names: Collection[str]) -> str:
    """A text in which only what mentions one of these names keeps its @."""
    return MENTION.sub(lambda match: match.group() if match.group(1) in names else match.group(1), text)


def references_at(chat: Chat, number: int, references: References) -> References:
    """The references of turn `number`, with the picture that the user brought just before it in front."""
    if number == 0 or not chat.turns[number - 1].is_upload:
        return references
    upload = chat.turns[number - 1].answer
    return References((Reference(UPLOAD, upload.features, upload.picture), *references))


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
        first: whether the turn begins a chat (`text_to_picture`) or goes on with one (`edit`).
        instruction: what the user asked.
        references: the turn's own references.
        rewrite: the words to draw; None or the instruction itself when it is not rewritten.
    """
    task: Task = "text_to_picture" if first else "edit"
    rewritten = rewrite if rewrite != instruction else None
    if rewritten is not None and config.templates.rewrite_place == "instruction":
        return user_turn(config, tokenizer, task, rewritten, references.items)
    if rewritten is not None and first:
        task = "rewrite"
    elif rewritten is not None and config.templates.edit_rewrite:
        task = "edit_rewrite"
    asked = user_turn(config, tokenizer, task, instruction, references.items)
    return asked if rewritten is None else asked + tokenizer.escape(rewritten)


def _next(
    config: WeGenConfig,
    tokenizer: Tokenizer,
    instruction: str,
    references: References,
    chat: Chat,
    rewrite: str | None = None,
) -> Prompt:
    """What `opening` makes of the turn that follows a chat."""
    number = len(chat)
    return opening(config, tokenizer, number == 0, instruction, references_at(chat, number, references), rewrite)


def picture_prompt(
    config: WeGenConfig,
    tokenizer: Tokenizer,
    chat: Chat,
    instruction: str,
    references: References,
    rewrite: str | None = None,
) -> Prompt:
    """The whole sequence after which the next picture's features are written; ends in `<img>`."""
    # Room is reserved as for a prompt that is not rewritten yet, so that words and picture come of the same memory; a
    # description of the user's own may be longer than any that the model writes.
    written = len(tokenizer.encode(rewrite, begin=False)) if rewrite else 0
    ask = partial(_next, config, tokenizer, instruction, references)
    chat = readable(config, tokenizer, chat, ask, written)
    return remember(config, tokenizer, chat, ask(chat), written).prompt + ask(chat, rewrite) + PICTURE_BEGIN


def rewrite_prompt(
    config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, instruction: str, references: References, limit: int = 0
) -> Prompt:
    """The whole sequence after which a rewrite of `instruction` is written.

    Args:
        config: sizes and templates.
        tokenizer: of the checkpoint.
        chat: the turns before.
        instruction: as the user wrote it.
        references: of this turn.
        limit: tokens that the rewrite may take, where that is more than the checkpoint's own limit.

    Raises:
        WeGenError: it is an order on a picture, and the checkpoint has no `edit_rewrite` template to describe it with.
    """
    if chat.turns and not config.templates.edit_rewrite:
        raise WeGenError(
            "This checkpoint has no template 'edit_rewrite', so it cannot describe what an order on a picture leads "
            "to. Draw the order as it stands, or leave out the chat."
        )
    return _asked_of(
        config, tokenizer, "edit_rewrite" if chat.turns else "rewrite", instruction, references, chat, limit
    )


def _asked_of(
    config: WeGenConfig,
    tokenizer: Tokenizer,
    task: Task,
    instruction: str,
    references: References,
    chat: Chat,
    limit: int,
) -> Prompt:
    """What can be read of a chat, and what is asked for, of which up to `limit` tokens of words come."""

    def ask(chat: Chat) -> Prompt:
        return user_turn(config, tokenizer, task, instruction, references_at(chat, len(chat), references).items)

    chat = readable(config, tokenizer, chat, ask, limit)
    return remember(config, tokenizer, chat, ask(chat), limit).prompt + ask(chat)


def require_question(question: str) -> None:
    """Raises WeGenError for a question without words, or one that is no text."""
    if not whole_text(question).strip():
        raise WeGenError("The question is empty. Ask something about a picture, or about the chat.")


def ask_prompt(
    config: WeGenConfig, tokenizer: Tokenizer, question: str, references: References, chat: Chat, limit: int = 0
) -> Prompt:
    """The whole sequence after which the answer to `question` is written, of up to `limit` tokens."""
    require_question(question)
    return _asked_of(config, tokenizer, "ask", question, references, chat, limit)


def memory_note(config: WeGenConfig, tokenizer: Tokenizer, chat: Chat, instruction: str, references: References) -> str:
    """What the next turn's reply has to say of what the model no longer knows.

    It is said once, in the turn in which the first pictures or words leave for lack of room; empty in all others. That
    a checkpoint looks back at a few turns only (`turns_in_view`) is its way with every chat, and not said. That all but
    the picture of the turn just before had to be left out is said in place of it.
    """
    ask = partial(_next, config, tokenizer, instruction, references)
    if readable(config, tokenizer, chat, ask) is not chat:
        return TOO_LONG
    asked, past = ask(chat), _all_past(config, tokenizer, chat)
    unseen, forgotten = _left_out(config, tokenizer, past, asked)
    if unseen == _out_of_view(config, past) and not forgotten:
        return ""
    unseen_before, forgotten_before = _left_out(config, tokenizer, past[:-1], asked)
    if forgotten and not forgotten_before:
        return f"{OUTGROWN}: I no longer know what was said in its oldest turns, nor see their pictures."
    if not forgotten and unseen_before == _out_of_view(config, past[:-1]):
        return f"{OUTGROWN}: I no longer see its oldest pictures, but still know what was said."
    return ""
