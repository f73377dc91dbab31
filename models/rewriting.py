"""Prompt self-rewriting: a vague wish to detailed descriptions, sampled in words, each with its own seed.

What the user named must stay, and no description comes twice: a rewrite that fails is drawn again. Attempt i of a seed
is the same words wherever it is drawn, so rewrite k depends on seed k and the rewrites before it alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from .chat import Chat, References
from .configuration import Templates
from .constraints import Constraint
from .conversation import MENTION, rewrite_prompt
from .errors import WeGenError
from .generation import Decoding, OnStep, Sampling, seeded
from .wegen import WeGen
from .worlds import constraint

TRIES = 4
"""How often a rewrite is drawn as asked at most."""
ATTEMPTS = 8
"""How often a rewrite is drawn at most: after TRIES that all lack something, bolder ones follow."""
SPARE_ROWS = 4
"""Attempts are drawn this many at once where fewer are needed: a batch costs little more than a single one."""
_BOLD = Sampling(temperature=0.8, top_p=0.9)
_LAST_TOKENS = 8  # a marker of the templates is shorter
_MARKER = re.compile(r"\[/?\w+\]|</?[^<>{}\s]+>")


@dataclass(frozen=True)
class Rewrite:
    """One description, and how it came to be."""

    text: str
    seed: int
    attempts: int = 1
    """Drawn until this one was taken."""
    missing: tuple[str, ...] = ()
    """What every attempt lacked in some way; `text` is then what `Constraint.mend` made of the best one."""
    repeated: bool = False
    """Whether it equals an earlier one, because nothing else came in all attempts."""


def rewrite(
    wegen: WeGen,
    instruction: str,
    seeds: Sequence[int],
    sampling: Sampling,
    references: References = References(),  # noqa: B008 - immutable
    chat: Chat = Chat(),  # noqa: B008 - immutable
    limit: int | None = None,
    on_token: OnStep | None = None,
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

    Raises:
        WeGenError: an empty instruction, an unknown `@name`, or more tokens than the context holds.
    """
    if not seeds:
        raise WeGenError("0 rewrites were asked for; give 1 or more.")
    limit = wegen.config.templates.rewrite_limit if limit is None else limit
    if limit < 1:
        raise WeGenError(f"A limit of {limit} tokens leaves no room for a rewrite; give 1 or more.")
    prompt = rewrite_prompt(wegen.config, wegen.tokenizer, chat, instruction, references)
    wegen.config.language.require_room(prompt.tokens(wegen.tokenizer) + limit)
    start = Decoding(wegen, [prompt.embeddings(wegen)], room=limit)
    author = _Author(wegen, start, sampling, limit, instruction.strip(), references, on_token)
    demanded = constraint(wegen.config, instruction, chat)
    if sampling.temperature == 0:
        [written] = _choose(author, demanded, [0])
        return [replace(written, seed=seed) for seed in seeds]
    return _choose(author, demanded, seeds)


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
        sentences.append(
            f"{incomplete} of {len(rewrites)} descriptions lacked something in all {ATTEMPTS} attempts: {lost}."
        )
    return " ".join(sentences)


@dataclass(frozen=True)
class _Author:
    """Writes attempts. Attempt i of a seed is the same words in any batch."""

    wegen: WeGen
    start: Decoding
    sampling: Sampling
    limit: int
    instruction: str
    references: References
    on_token: OnStep | None

    @property
    def tries(self) -> int:
        """Attempts that are drawn as asked: one is enough where chance has no say."""
        return TRIES if self.sampling.temperature else 1

    def write(self, pairs: Sequence[tuple[int, int]]) -> list[str]:
        """The texts of (seed, attempt) pairs, in one batch; all attempts are drawn as asked, or all boldly."""
        bold = Sampling(max(self.sampling.temperature, _BOLD.temperature), max(self.sampling.top_p, _BOLD.top_p))
        written = self.start.select([0] * len(pairs)).write_text(
            self.limit,
            self.sampling if pairs[0][1] < self.tries else bold,
            [_generator(*pair) for pair in pairs],
            on_token=self.on_token,
            stopped=_stopped(self.wegen),
            final=True,
        )
        # A model that has nothing to add answers with a picture at once: the wish then stands as it is.
        texts = (with_mentions(self.wegen, clean(self.wegen, ids, self.limit), self.references) for ids in written)
        return [text or self.instruction for text in texts]


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
    texts = (templates.text_to_picture, templates.turn, templates.rewrite, templates.ask)
    marks = dict.fromkeys(mark for text in texts for mark in _MARKER.findall(text))
    return re.compile("|".join(map(re.escape, marks)) or r"(?!)")


def _choose(author: _Author, demanded: Constraint, seeds: Sequence[int]) -> list[Rewrite]:
    """Of each seed the first attempt that may be taken and that no seed before it took.

    Attempts are drawn when they are needed, many at once; which are drawn has no influence on which are taken.
    """
    drawn: list[list[str]] = [[] for _ in seeds]
    missing = cache(demanded.missing)
    while True:
        chosen, waiting = _take(drawn, seeds, author, demanded, missing)
        if not waiting:
            return chosen
        # Attempts of one kind at a time, as they are drawn differently; those as asked first.
        last = author.tries if any(len(drawn[k]) < author.tries for k in waiting) else ATTEMPTS
        waiting = [k for k in waiting if len(drawn[k]) < last]
        ahead = rows_needed(len(seeds)) // len(waiting) if any(drawn) else 1
        wanted = [(k, i) for k in waiting for i in range(len(drawn[k]), min(len(drawn[k]) + ahead, last))]
        for (k, _), text in zip(wanted, author.write([(seeds[k], i) for k, i in wanted]), strict=True):
            drawn[k].append(text)


def _take(
    drawn: Sequence[Sequence[str]],
    seeds: Sequence[int],
    author: _Author,
    demanded: Constraint,
    missing: Callable[[str], tuple[str, ...]],
) -> tuple[list[Rewrite], list[int]]:
    """What the attempts drawn so far give, and the numbers of the seeds that need another attempt."""
    taken: set[str] = set()
    chosen: list[Rewrite] = []
    waiting: list[int] = []
    for k, (attempts, seed) in enumerate(zip(drawn, seeds, strict=True)):
        asked = [i for i, text in enumerate(attempts[: author.tries]) if not missing(text)]
        bold = [i for i, text in enumerate(attempts) if i >= author.tries and not missing(text)]
        whole = asked or bold
        fresh = [i for i in whole if _same(attempts[i]) not in taken or demanded.settled(attempts[i])]
        # Only what lacks something is drawn boldly; a description that comes twice is as creative as was asked.
        last = author.tries if asked else ATTEMPTS
        if fresh:
            chosen.append(Rewrite(attempts[fresh[0]], seed, fresh[0] + 1))
        elif len(attempts) < last:
            waiting.append(k)
            continue
        elif whole:
            chosen.append(Rewrite(attempts[whole[0]], seed, len(attempts[:last]), repeated=True))
        else:
            best = min(attempts, key=lambda text: len(missing(text)))
            text = demanded.mend(best) or author.instruction
            chosen.append(Rewrite(text, seed, ATTEMPTS, missing(best), _same(text) in taken))
        taken.add(_same(chosen[-1].text))
    return chosen, waiting


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
