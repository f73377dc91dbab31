"""Prompt self-rewriting: a vague wish to detailed descriptions, sampled in words, each with its own seed.

Of several attempts at the same creativity the one that names what the wish names is preferred, and no description comes
twice where another one can be had. Attempt i of a seed is the same words wherever it is drawn, so rewrite k depends on
seed k and the rewrites before it alone. Orders on a picture are never checked by their words.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import torch

from ..checkpoints.wegen import WeGen
from ..errors import AnsweredInWords, WeGenError
from ..network.configuration import Templates, WeGenConfig
from ..values import Chat, References
from .checks import MENTION, NamedInWish
from .conversation import plain_mentions, references_at, rewrite_prompt
from .decoding import Decoding, OnStep
from .text_sampling import TextSampling, seeded

ATTEMPTS = 4
"""How often a rewrite is drawn at most; once where chance has no say, and no further after two that lack the same."""
SPARE_ROWS = 4
"""Up to this many attempts are drawn at once where fewer are needed: a batch costs little more than a single one."""
_LAST_TOKENS = 8  # a marker of the templates is shorter
_MARKER = re.compile(r"\[/?\w+\]|</?[^<>{}\s]+>")


class RewriteRequest(NamedTuple):
    """What is to be rewritten."""

    instruction: str
    references: References = References()
    """Pictures that the instruction may mention as `@name`."""
    chat: Chat = Chat()
    """Earlier turns."""


@dataclass(frozen=True)
class Rewrite:
    """One description, and how it came to be."""

    text: str
    """Empty when the model wrote nothing in any attempt."""
    seed: int
    attempts: int = 1
    """Drawn until this one was taken."""
    missing: tuple[str, ...] = ()
    """What the wish names and no attempt did."""
    repeated: bool = False
    """Whether it equals an earlier one, because nothing else came in all attempts."""
    spoken: bool = False
    """Whether it is all that the model has to say, and no description of a picture."""


OnText = Callable[[str], None]
"""Told the first rewrite so far, every `TEXT_INTERVAL` at most."""
TEXT_INTERVAL = 0.05
"""Seconds between two times that words are told. Putting them together takes the longer the more there are."""


def rewrite(
    wegen: WeGen,
    instruction: str,
    seeds: Sequence[int],
    sampling: TextSampling,
    references: References = References(),  # noqa: B008 - immutable
    chat: Chat = Chat(),  # noqa: B008 - immutable
    limit: int | None = None,
    on_token: OnStep | None = None,
    on_text: OnText | None = None,
    attempts: int = ATTEMPTS,
) -> list[Rewrite]:
    """One rewrite of `instruction` for each seed, written in batches.

    Args:
        wegen: the model, on its device.
        instruction: what the user wishes.
        seeds: rewrite k depends on seed k and the rewrites before it, not on how many others follow.
        sampling: temperature and top-p; at temperature 0 all rewrites are the same, written in one greedy pass.
        references: pictures that the instruction may mention as `@name`.
        chat: earlier turns.
        limit: most tokens a rewrite; default as the checkpoint says.
        on_token: called after each token; what it raises stops the work.
        on_text: told the first rewrite as it grows.
        attempts: how often each is drawn at most; 1 takes what the model says first.

    Raises:
        WeGenError: an empty instruction, an unknown `@name`, or more tokens than the context holds.
    """
    request = RewriteRequest(instruction, references, chat)
    [written] = rewrite_each(wegen, [request], [seeds], sampling, limit, on_token, on_text, attempts)
    return written


def rewrite_each(
    wegen: WeGen,
    requests: Sequence[RewriteRequest],
    seeds: Sequence[Sequence[int]],
    sampling: TextSampling,
    limit: int | None = None,
    on_token: OnStep | None = None,
    on_text: OnText | None = None,
    attempts: int = ATTEMPTS,
) -> list[list[Rewrite]]:
    """For each request its rewrites, one for each of its seeds: what `rewrite` gives one by one, in larger batches."""
    if not all(seeds):
        raise WeGenError("0 rewrites were asked for; give 1 or more.")
    config, tokenizer = wegen.config, wegen.tokenizer
    limit = config.templates.rewrite_limit if limit is None else limit
    if limit < 1:
        raise WeGenError(f"A limit of {limit} tokens leaves no room for a rewrite; give 1 or more.")
    prompts = [rewrite_prompt(config, tokenizer, one.chat, one.instruction, one.references, limit) for one in requests]
    config.language.require_room(max(prompt.tokens(tokenizer) for prompt in prompts) + limit)
    start = Decoding(wegen, [prompt.embeddings(wegen) for prompt in prompts], room=limit)
    checks = [_check(config, request) for request in requests]
    # Without chance every seed gets the same words.
    drawn = seeds if sampling.temperature else [some[:1] for some in seeds]
    slots = [_Slot(number, seed) for number, some in enumerate(drawn) for seed in some]
    attempts = attempts if sampling.temperature else 1
    author = _Author(wegen, start, sampling, limit, requests, checks, on_token, on_text, slots[0], attempts)
    chosen = iter(_choose(author, slots))
    written = [[next(chosen) for _ in some] for some in drawn]
    if sampling.temperature:
        return written
    return [[replace(one, seed=seed) for seed in some] for [one], some in zip(written, seeds, strict=True)]


def _check(config: WeGenConfig, request: RewriteRequest) -> NamedInWish | None:
    """What prefers among rewrites of a request; None for an order on a picture, whose words say nothing about it."""
    if request.chat.turns:
        return None
    # Where the picture itself stands at the mention, it is there whatever the rewrite says.
    inline = "{picture}" in config.templates.mention
    names = () if inline else tuple(dict.fromkeys(MENTION.findall(request.instruction)))
    return NamedInWish(request.instruction, names)


def rows_needed(count: int) -> int:
    """How many sequences are written at once at most for `count` rewrites."""
    return max(count, SPARE_ROWS)


def rows_held(count: int, requests: int = 1) -> int:
    """How many rows the caches have at once at most while `count` rewrites of so many requests are written: the
    beginnings, what is written behind them, and copies of those that go on when half of them have ended."""
    # A single one is drawn once, once more, and then twice at once, see `_choose`.
    rows = 2 if count == 1 else rows_needed(count)
    return requests + rows + rows // 2


def descriptions(written: Sequence[Rewrite]) -> list[Rewrite]:
    """The rewrites that describe a picture, in their places; the first of them where the model answered in words.

    Raises:
        AnsweredInWords: half of them or more are answers in words: the model draws nothing.
    """
    drawn = [one for one in written if not one.spoken]
    if 2 * len(drawn) <= len(written):
        raise AnsweredInWords(next(one.text for one in written if one.spoken))
    return [replace(drawn[0], seed=one.seed) if one.spoken else one for one in written]


def report(rewrites: Sequence[Rewrite]) -> str:
    """Plain sentences about what the rewrites lack; empty where every one is as it should be."""
    sentences = []
    if empty := sum(not rewrite.text for rewrite in rewrites):
        sentences.append(f"{_of(empty, rewrites)} could not be written, so your own words are used as they stand.")
    if repeated := sum(rewrite.repeated for rewrite in rewrites):
        sentences.append(
            f"{_of(repeated, rewrites)} repeat{'s' if repeated == 1 else ''} an earlier one; more creativity may help."
        )
    if incomplete := sum(bool(rewrite.missing) for rewrite in rewrites):
        lost = ", ".join(dict.fromkeys(name for rewrite in rewrites for name in rewrite.missing))
        sentences.append(f"{_of(incomplete, rewrites)} may leave out something that you named: {lost}.")
    return " ".join(sentences)


def _of(count: int, rewrites: Sequence[Rewrite]) -> str:
    return "The description" if len(rewrites) == 1 else f"{count} of {len(rewrites)} descriptions"


class _Attempt(NamedTuple):
    text: str
    missing: tuple[str, ...]
    spoken: bool = False


@dataclass
class _Slot:
    """A rewrite that is wanted, and the attempts drawn for it so far."""

    request: int
    seed: int
    attempts: list[_Attempt] = field(default_factory=list)


@dataclass(frozen=True)
class _Author:
    """Writes attempts. Attempt i of a seed is the same words in any batch.

    `start` holds one sequence for each of the requests. `on_text` is told the attempts of the slot `first` alone.
    """

    wegen: WeGen
    start: Decoding
    sampling: TextSampling
    limit: int
    requests: Sequence[RewriteRequest]
    checks: Sequence[NamedInWish | None]
    on_token: OnStep | None
    on_text: OnText | None
    first: _Slot
    attempts: int

    def write(self, wanted: Sequence[tuple[_Slot, int]]) -> list[_Attempt]:
        """Some slots' attempts of these numbers."""
        written = self.start.select([slot.request for slot, _ in wanted]).write_text(
            self.limit,
            self.sampling,
            [_generator(slot.seed, attempt) for slot, attempt in wanted],
            on_token=self.on_token,
            stopped=self._stopped(wanted[0][0]),
            final=True,
            # Where the words are part of the answer, a chat of pictures without words would go on without them.
            least=1 if self.wegen.config.templates.rewrite_place == "answer" else 0,
        )
        return [self._read(ids, slot.request) for ids, (slot, _) in zip(written, wanted, strict=True)]

    def _read(self, ids: Sequence[int], number: int) -> _Attempt:
        request, check = self.requests[number], self.checks[number]
        text = self._text(ids, request)
        if answers_in_words(self.wegen, ids):
            return _Attempt(text, (), spoken=True)
        return _Attempt(text, check.missing(text) if check is not None and text else ())

    def _text(self, ids: Sequence[int], request: RewriteRequest) -> str:
        text = without_preamble(clean(self.wegen, ids, self.limit))
        return with_mentions(self.wegen, text, request.references, request.chat)

    def _stopped(self, slot: _Slot) -> Callable[[list[int]], bool]:
        """Tells a sequence in which the model goes on with a turn of the user's own, and tells `on_text` the first.

        `slot` is that of the first sequence.
        """
        marker, tokenizer = _markers(self.wegen.config.templates), self.wegen.tokenizer
        on_text = self.on_text if slot is self.first else None
        first: list[int] | None = None
        told = -TEXT_INTERVAL

        def stopped(ids: list[int]) -> bool:
            nonlocal first, told
            first = ids if first is None else first
            if on_text is not None and ids is first and (now := time.monotonic()) - told >= TEXT_INTERVAL:
                told = now
                on_text(clean(self.wegen, ids))
            return bool(marker.search(tokenizer.decode(ids[-_LAST_TOKENS:])))

        return stopped


def _generator(seed: int, attempt: int) -> torch.Generator:
    """The chance of one attempt; the factor keeps attempts of neighbouring seeds apart."""
    return seeded(seed ^ (attempt * 0x9E3779B97F4A7C15))


@cache
def _markers(templates: Templates) -> re.Pattern:
    """What begins or ends a user's turn in any template, such as `[INST]`; nothing where there are no such marks."""
    marks = dict.fromkeys(mark for text in templates.user_turns for mark in _MARKER.findall(text))
    return re.compile("|".join(map(re.escape, marks)) or r"(?!)")


def _choose(author: _Author, slots: Sequence[_Slot]) -> list[Rewrite]:
    """For each slot the first attempt that lacks nothing and that no slot of the same request before it took.

    Attempts are drawn when they are needed, some at once; which are drawn has no influence on which are taken.
    """
    while True:
        chosen, waiting = _take(author, slots)
        if not waiting:
            return chosen
        # The first try again mostly succeeds; whoever fails more often gets more at once.
        most = max(1, rows_needed(len(slots)) // len(waiting))
        wanted = [
            (slot, len(slot.attempts) + further)
            for slot in waiting
            for further in range(min(max(len(slot.attempts), 1), most, author.attempts - len(slot.attempts)))
        ]
        for (slot, _), attempt in zip(wanted, author.write(wanted), strict=True):
            slot.attempts.append(attempt)


def _take(author: _Author, slots: Sequence[_Slot]) -> tuple[list[Rewrite], list[_Slot]]:
    """What the attempts drawn so far give, and the slots that need another one."""
    taken: set[tuple[int, str]] = set()
    chosen: list[Rewrite] = []
    waiting: list[_Slot] = []
    for slot in slots:
        check, attempts = author.checks[slot.request], _considered(slot.attempts)
        given_up = len(attempts) < len(slot.attempts) or _alike(attempts)
        written = [number for number, attempt in enumerate(attempts) if attempt.text]
        whole = [number for number in written if not attempts[number].missing]
        fresh = [
            number
            for number in whole
            if (slot.request, _same(attempts[number].text)) not in taken
            or attempts[number].spoken
            or (check is not None and check.settled(attempts[number].text))
        ]
        if fresh:
            first = attempts[fresh[0]]
            chosen.append(Rewrite(first.text, slot.seed, fresh[0] + 1, spoken=first.spoken))
        elif len(attempts) < author.attempts and not given_up:
            waiting.append(slot)
            continue
        elif whole:
            chosen.append(Rewrite(attempts[whole[0]].text, slot.seed, len(attempts), repeated=True))
        elif written:
            closest = min((attempts[number] for number in written), key=lambda attempt: len(attempt.missing))
            repeated = (slot.request, _same(closest.text)) in taken
            chosen.append(Rewrite(closest.text, slot.seed, len(attempts), closest.missing, repeated))
        else:
            chosen.append(Rewrite("", slot.seed, len(attempts)))
        if chosen[-1].text:
            taken.add((slot.request, _same(chosen[-1].text)))
    return chosen, waiting


def _alike(attempts: Sequence[_Attempt]) -> bool:
    """Whether the last two attempts lack the very same words: others would too, as a model may have other words."""
    return len(attempts) > 1 and bool(attempts[-1].missing) and attempts[-1].missing == attempts[-2].missing


def _considered(attempts: Sequence[_Attempt]) -> Sequence[_Attempt]:
    """The attempts up to where no more would be drawn; some are drawn together, and the later ones do not count."""
    ends = (end for end in range(2, len(attempts)) if _alike(attempts[:end]))
    return attempts[: next(ends, len(attempts))]


def _same(text: str) -> str:
    """Equal for texts that differ in case and marks alone."""
    return " ".join(re.findall(r"\w+", text.casefold()))


_PREAMBLE = re.compile(
    r"^(?:(?:sure|certainly|of course|okay|ok|absolutely|great|alright)\b(?: thing)?[!,.:]+\s+)*"
    r"(?:(?:here(?:'s|\u2019s| is| are| you go| goes)|this is|the following is)\b[^.!?\n:]{0,80}:\s*)?"
    r"(?:(?:(?:detailed |rewritten |new )?(?:description|prompt|rewrite|answer|caption)|painting|output)\s*:\s*)?",
    re.IGNORECASE,
)
_QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"), ("\u00ab", "\u00bb"), ("\u201e", "\u201c"), ("`", "`"))


def without_preamble(text: str) -> str:
    """An answer without what chat models say before it ("Sure! Here is ...:"), and without quotes around all of it."""
    rest = _PREAMBLE.sub("", text, count=1).strip()
    for left, right in _QUOTES:
        if len(rest) > 2 and rest.startswith(left) and rest.endswith(right) and left not in rest[1:-1]:
            rest = rest[1:-1].strip()
            break
    return rest or text


def answers_in_words(wegen: WeGen, ids: Sequence[int]) -> bool:
    """Whether a text that stands where a picture should follow ends without one: the model says that it draws nothing.

    Where rewrites are put into the instruction every text ends like that, and a model of version 0.1's closed world may
    end so by mistake.
    """
    config = wegen.config
    ends = bool(ids) and ids[-1] == wegen.tokenizer.end_id
    return ends and len(ids) > 1 and config.templates.rewrite_place == "answer" and not config.world


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


def with_mentions(
    wegen: WeGen,
    text: str,
    references: References,
    chat: Chat = Chat(),  # noqa: B008 - immutable
) -> str:
    """A rewrite as it can be read again: references as `@name`, and nothing else with an @ that looks like one.

    References are numbered as the turn that follows `chat` shows them: a picture that the user brought comes first.
    """
    template = wegen.config.templates.mention
    for number, reference in enumerate(references_at(chat, len(chat), references), start=1):
        if "{picture}" not in template:
            said = template.format(name=reference.name, number=number, picture="")
            text = text.replace(said, f"@{reference.name}")
    return plain_mentions(text, {reference.name for reference in references})
