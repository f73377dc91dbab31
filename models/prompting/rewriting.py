"""Prompt self-rewriting: a vague wish to detailed descriptions, sampled in words, each with its own seed.

What the user named must stay, and no description comes twice: a rewrite that fails is drawn again, the first time from
where it failed. Attempt i of a seed is the same words wherever it is drawn, so rewrite k depends on seed k and the
rewrites before it alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..checkpoints.wegen import WeGen
from ..errors import WeGenError
from ..network.configuration import Templates
from ..values import Chat, References
from .checks import RewriteCheck
from .conversation import MENTION, ask_prompt, rewrite_prompt
from .decoding import Decoding, OnStep
from .domain import constraint, description_request
from .text_sampling import TextSampling, seeded

TRIES = 4
"""How often a rewrite is drawn as asked at most."""
ATTEMPTS = 8
"""How often a rewrite is drawn at most: after TRIES that all lack something, bolder ones follow."""
SPARE_ROWS = 4
"""Up to this many attempts are drawn at once where fewer are needed: a batch costs little more than a single one."""
_BOLD = TextSampling(temperature=1.0, top_p=1.0)  # as the model itself would speak
_LAST_TOKENS = 8  # a marker of the templates is shorter
_MARKER = re.compile(r"\[/?\w+\]|</?[^<>{}\s]+>")


class RewriteRequest(NamedTuple):
    """What is to be rewritten."""

    instruction: str
    references: References = References()
    """Pictures that the instruction may mention as `@name`."""
    chat: Chat = Chat()
    """Earlier turns."""
    kept: Tensor | None = None
    """`[H, W]` in 0..1, 1 where the chat's last picture stays as it is."""


@dataclass(frozen=True)
class Rewrite:
    """One description, and how it came to be."""

    text: str
    seed: int
    attempts: int = 1
    """Drawn until this one was taken."""
    missing: tuple[str, ...] = ()
    """What every attempt lacked in some way; `text` is then what `RewriteCheck.mend` made of them."""
    mended: bool = False
    """Whether that lacks nothing any more."""
    repeated: bool = False
    """Whether it equals an earlier one, because nothing else came in all attempts."""
    spoken: bool = False
    """Whether it is all that the model has to say, and no description of a picture."""


def rewrite(
    wegen: WeGen,
    instruction: str,
    seeds: Sequence[int],
    sampling: TextSampling,
    references: References = References(),  # noqa: B008 - immutable
    chat: Chat = Chat(),  # noqa: B008 - immutable
    limit: int | None = None,
    on_token: OnStep | None = None,
    kept: Tensor | None = None,
) -> list[Rewrite]:
    """One rewrite of `instruction` for each seed, written in batches.

    Args:
        wegen: the model, on its device.
        instruction: what the user wishes.
        seeds: rewrite k depends on seed k and the rewrites before it, not on how many others follow.
        sampling: temperature and top-p; at temperature 0 all rewrites are the same.
        references: pictures that the instruction may mention as `@name`.
        chat: earlier turns.
        limit: most tokens a rewrite; default as the checkpoint says.
        on_token: called after each token; what it raises stops the work.
        kept: `[H, W]` in 0..1, 1 where the chat's last picture stays as it is.

    Raises:
        WeGenError: an empty instruction, an unknown `@name`, or more tokens than the context holds.
    """
    if not seeds:
        raise WeGenError("0 rewrites were asked for; give 1 or more.")
    asked = RewriteRequest(instruction, references, chat, kept)
    if sampling.temperature == 0:
        [[written]] = rewrite_each(wegen, [asked], [0], sampling, limit, on_token)
        return [replace(written, seed=seed) for seed in seeds]
    [written] = rewrite_each(wegen, [asked], seeds, sampling, limit, on_token)
    return written


def rewrite_each(
    wegen: WeGen,
    wishes: Sequence[RewriteRequest],
    seeds: Sequence[int],
    sampling: TextSampling,
    limit: int | None = None,
    on_token: OnStep | None = None,
) -> list[list[Rewrite]]:
    """For each wish its rewrites, one for each seed: what `rewrite` gives wish by wish, in larger batches."""
    config, tokenizer = wegen.config, wegen.tokenizer
    limit = config.templates.rewrite_limit if limit is None else limit
    if limit < 1:
        raise WeGenError(f"A limit of {limit} tokens leaves no room for a rewrite; give 1 or more.")
    prompts = [rewrite_prompt(config, tokenizer, wish.chat, wish.instruction, wish.references) for wish in wishes]
    config.language.require_room(max(prompt.tokens(tokenizer) for prompt in prompts) + limit)
    start = Decoding(wegen, [prompt.embeddings(wegen) for prompt in prompts], room=limit)
    shown = _shown(wegen, wishes, limit, on_token)
    demands = [
        constraint(config, wish.instruction, wish.chat, before, wish.kept)
        for wish, before in zip(wishes, shown, strict=True)
    ]
    slots = [_Slot(number, seed) for number in range(len(wishes)) for seed in seeds]
    chosen = _choose(_Author(wegen, start, sampling, limit, wishes, demands, on_token), slots)
    return [chosen[first : first + len(seeds)] for first in range(0, len(slots), len(seeds))]


def _shown(wegen: WeGen, wishes: Sequence[RewriteRequest], limit: int, on_token: OnStep | None) -> list[str]:
    """What the picture that each wish goes on with shows: the words it was drawn from, or those that the model finds
    for a picture of the user's own; empty where nobody needs to know."""
    shown = [wish.chat.last.answer.rewrite if wish.chat.turns else "" for wish in wishes]
    requests = [description_request(wegen.config, wish.chat) for wish in wishes]
    asked = [number for number, request in enumerate(requests) if request]
    if asked:
        prompts = [
            ask_prompt(wegen.config, wegen.tokenizer, requests[number], References(), wishes[number].chat)
            for number in asked
        ]
        decoding = Decoding(wegen, [prompt.embeddings(wegen) for prompt in prompts], room=limit)
        written = decoding.write_text(limit, on_token=on_token, final=True)
        for number, ids in zip(asked, written, strict=True):
            shown[number] = clean(wegen, ids, limit)
    return shown


def rows_needed(count: int) -> int:
    """How many sequences are written at once at most for `count` rewrites."""
    return max(count, SPARE_ROWS)


def report(rewrites: Sequence[Rewrite]) -> str:
    """Plain sentences about what could not be had; empty where every rewrite is as it should be."""
    sentences = []
    if repeated := sum(rewrite.repeated for rewrite in rewrites):
        sentences.append(
            f"{repeated} of {len(rewrites)} descriptions repeat an earlier one, as did all {TRIES} attempts; "
            "more creativity may help."
        )
    if incomplete := sum(bool(rewrite.missing) for rewrite in rewrites):
        lost = ", ".join(dict.fromkeys(name for rewrite in rewrites for name in rewrite.missing))
        mended = sum(rewrite.mended for rewrite in rewrites)
        sentences.append(
            f"{incomplete} of {len(rewrites)} descriptions lacked something in all {ATTEMPTS} attempts: {lost}"
            f"{f'; {mended} mended without the model' if mended else ''}."
        )
    return " ".join(sentences)


class _Attempt(NamedTuple):
    text: str
    missing: tuple[str, ...]
    sound: tuple[int, ...]
    """The tokens up to where it failed."""
    spoken: bool = False


@dataclass
class _Slot:
    """A rewrite that is wanted, and the attempts drawn for it so far."""

    wish: int
    seed: int
    attempts: list[_Attempt] = field(default_factory=list)


@dataclass(frozen=True)
class _Author:
    """Writes attempts. Attempt i of a seed is the same words in any batch.

    `start` holds one sequence for each of the wishes.
    """

    wegen: WeGen
    start: Decoding
    sampling: TextSampling
    limit: int
    wishes: Sequence[RewriteRequest]
    demands: Sequence[RewriteCheck]
    on_token: OnStep | None

    @property
    def tries(self) -> int:
        """Attempts that are drawn as asked: one is enough where chance has no say."""
        return TRIES if self.sampling.temperature else 1

    def write(self, wanted: Sequence[tuple[_Slot, int]]) -> list[_Attempt]:
        """Some slots' attempts of these numbers; all are drawn as asked, or all boldly."""
        bold = TextSampling(max(self.sampling.temperature, _BOLD.temperature), max(self.sampling.top_p, _BOLD.top_p))
        written = self.start.select([slot.wish for slot, _ in wanted]).write_text(
            self.limit,
            self.sampling if wanted[0][1] < self.tries else bold,
            [_generator(slot.seed, attempt) for slot, attempt in wanted],
            on_token=self.on_token,
            stopped=_stopped(self.wegen),
            final=True,
            # Where the words are part of the answer, a chat of pictures without words would go on without them.
            least=1 if self.wegen.config.templates.rewrite_place == "answer" else 0,
            # Only the second attempt goes on with what was sound in the first: what cannot be saved is begun anew.
            begun=[slot.attempts[0].sound if attempt == 1 else () for slot, attempt in wanted],
        )
        return [self._read(ids, slot.wish) for ids, (slot, _) in zip(written, wanted, strict=True)]

    def _read(self, ids: Sequence[int], number: int) -> _Attempt:
        wish, demand = self.wishes[number], self.demands[number]
        if answers_in_words(self.wegen, ids):
            return _Attempt(self._text(ids, wish), (), (), spoken=True)
        # A model that has nothing to add answers with a picture at once: the wish then stands as it is.
        text = self._text(ids, wish) or _valid(wish.instruction)
        missing = demand.missing(text)
        return _Attempt(text, missing, self._leading(ids, demand.sound(text), wish) if missing else ())

    def _text(self, ids: Sequence[int], wish: RewriteRequest) -> str:
        return with_mentions(self.wegen, clean(self.wegen, ids, self.limit), wish.references)

    def _leading(self, ids: Sequence[int], text: str, wish: RewriteRequest) -> tuple[int, ...]:
        """The first of the tokens, as far as they say no more than the text does."""
        fitting = (end for end in range(len(ids), 0, -1) if text.startswith(self._text(ids[:end], wish)))
        return tuple(ids[: next(fitting, 0)]) if text else ()


def _generator(seed: int, attempt: int) -> torch.Generator:
    """The chance of one attempt; the factor keeps attempts of neighbouring seeds apart."""
    return seeded(seed ^ (attempt * 0x9E3779B97F4A7C15))


def _stopped(wegen: WeGen) -> Callable[[list[int]], bool]:
    """Tells a sequence in which the model goes on with a turn of the user's own."""
    marker = _markers(wegen.config.templates)
    return lambda ids: bool(marker.search(wegen.tokenizer.decode(ids[-_LAST_TOKENS:])))


@cache
def _markers(templates: Templates) -> re.Pattern:
    """What begins or ends a user's turn in any template, such as `[INST]`; nothing where there are no such marks."""
    texts = (templates.text_to_picture, templates.turn, templates.rewrite, templates.edit_rewrite, templates.ask)
    marks = dict.fromkeys(mark for text in texts for mark in _MARKER.findall(text))
    return re.compile("|".join(map(re.escape, marks)) or r"(?!)")


def _choose(author: _Author, slots: Sequence[_Slot]) -> list[Rewrite]:
    """For each slot the first attempt that may be taken and that no slot of the same wish before it took.

    Attempts are drawn when they are needed, some at once; which are drawn has no influence on which are taken.
    """
    while True:
        chosen, waiting = _take(author, slots)
        if not waiting:
            return chosen
        # Attempts of one kind at a time, as they are drawn differently; those as asked first.
        last = author.tries if any(len(slot.attempts) < author.tries for slot in waiting) else ATTEMPTS
        waiting = [slot for slot in waiting if len(slot.attempts) < last]
        # The first try again mostly succeeds; whoever fails more often gets more at once.
        most = rows_needed(len(slots)) // len(waiting)
        wanted = [
            (slot, len(slot.attempts) + further)
            for slot in waiting
            for further in range(min(max(len(slot.attempts), 1), most, last - len(slot.attempts)))
        ]
        for (slot, _), attempt in zip(wanted, author.write(wanted), strict=True):
            slot.attempts.append(attempt)


def _take(author: _Author, slots: Sequence[_Slot]) -> tuple[list[Rewrite], list[_Slot]]:
    """What the attempts drawn so far give, and the slots that need another one."""
    taken: set[tuple[int, str]] = set()
    chosen: list[Rewrite] = []
    waiting: list[_Slot] = []
    for slot in slots:
        demanded, attempts = author.demands[slot.wish], slot.attempts
        whole = [number for number, attempt in enumerate(attempts) if not attempt.missing]
        asked = [number for number in whole if number < author.tries]
        # Only what lacks something is drawn boldly; a description that comes twice is as creative as was asked.
        whole, last = (asked, author.tries) if asked else (whole, ATTEMPTS)
        fresh = [
            number
            for number in whole
            if (slot.wish, _same(attempts[number].text)) not in taken
            or attempts[number].spoken
            or demanded.settled(attempts[number].text)
        ]
        if fresh:
            first = attempts[fresh[0]]
            chosen.append(Rewrite(first.text, slot.seed, fresh[0] + 1, spoken=first.spoken))
        elif len(attempts) < last:
            waiting.append(slot)
            continue
        elif whole:
            chosen.append(Rewrite(attempts[whole[0]].text, slot.seed, last, repeated=True))
        else:
            closest = sorted(attempts, key=lambda attempt: len(attempt.missing))
            corrected = [demanded.mend(attempt.text) for attempt in closest]
            mended = next((text for text in corrected if text and not demanded.missing(text)), "")
            text = mended or corrected[0] or _valid(author.wishes[slot.wish].instruction)
            repeated = (slot.wish, _same(text)) in taken
            chosen.append(Rewrite(text, slot.seed, ATTEMPTS, closest[0].missing, bool(mended), repeated))
        taken.add((slot.wish, _same(chosen[-1].text)))
    return chosen, waiting


def answers_in_words(wegen: WeGen, ids: Sequence[int]) -> bool:
    """Whether a text that stands where a picture should follow ends without one: the model says that it draws nothing.

    Where rewrites are put into the instruction, and in a closed world, every text ends like that, or may by mistake.
    """
    config = wegen.config
    ends = bool(ids) and ids[-1] == wegen.tokenizer.end_id
    return ends and len(ids) > 1 and config.templates.rewrite_place == "answer" and not config.world


def _valid(instruction: str) -> str:
    """A user's text without half surrogate pairs, which a front end can send and no file takes."""
    return instruction.strip().encode("utf-8", "replace").decode()


def _same(text: str) -> str:
    """Equal for texts that differ in case and marks alone."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def clean(wegen: WeGen, ids: Sequence[int], limit: int | None = None) -> str:
    """Written ids as plain text: no special or added tokens, no marks of the templates, no broken characters.

    A text of `limit` tokens that has not ended by itself is cut where its last phrase or word ends.
    """
    tokenizer = wegen.tokenizer
    plain = [index for index in ids if index < tokenizer.pieces.get_piece_size()]
    text = tokenizer.decode(plain, skip_special=True).replace("\ufffd", "")
    whole, *rest = _markers(wegen.config.templates).split(text, maxsplit=1)
    text = tokenizer.without_tokens(whole)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    stops = (tokenizer.picture_begin_id, tokenizer.end_id)
    return _to_last_phrase(text) if not rest and len(ids) == limit and ids[-1] not in stops else text


def _to_last_phrase(text: str) -> str:
    """A text that was broken off, up to where a sentence or phrase ends in its second half, else up to a whole word."""
    for marks, with_mark in ((".!?", 1), (",;:", 0)):
        end = max(text.rfind(mark) for mark in marks)
        if end >= len(text) / 2:
            return text[: end + with_mark]
    head, space, last = text.rpartition(" ")
    # Scripts without spaces break off anywhere.
    return head.rstrip(" ,;:") if space or last.isascii() else text


def with_mentions(wegen: WeGen, text: str, references: References) -> str:
    """A rewrite as it can be read again: references as `@name`, and nothing else with an @ that looks like one."""
    if not len(references):
        return text
    template = wegen.config.templates.mention
    for number, reference in enumerate(references, start=1):
        if "{picture}" not in template:
            said = template.format(name=reference.name, number=number, picture="")
            text = text.replace(said, f"@{reference.name}")
    names = {reference.name for reference in references}
    return MENTION.sub(lambda match: match.group() if match.group(1) in names else match.group(1), text)
