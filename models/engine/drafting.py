"""Drafts of a turn's pictures: the words and features that the language model writes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from ..checkpoints.tokenizer import Tokenizer
from ..checkpoints.wegen import WeGen
from ..errors import AnsweredInWords
from ..network.configuration import WeGenConfig
from ..prompting.conversation import Prompt, memory_note, picture_prompt
from ..prompting.decoding import Decoding, OnStep
from ..prompting.rewriting import Rewrite, RewriteRequest, descriptions, report, rewrite_each, rows_held
from ..prompting.text_sampling import TextSampling
from ..values import Chat, Collection, References
from .interface import Parts, PictureDraft, Progress
from .planning import PlannedTurn


class DraftRequest(NamedTuple):
    """What the words and features of a turn depend on; nothing of the painter's is among it."""

    chat: Chat
    instruction: str
    references: References
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    """Words in place of a rewrite, one text for each seed; an empty one leaves them to the model."""
    sampling: TextSampling | None
    """None where nothing is rewritten."""
    feature_guidance: float
    collection: Collection

    @property
    def needs_rewrite(self) -> bool:
        """Whether the model has to write the words of any picture."""
        return self.sampling is not None and not all(self.overrides)

    def prompt(self, config: WeGenConfig, tokenizer: Tokenizer, text: str | None) -> Prompt:
        """The sequence after which the features of a picture follow that `text` describes."""
        return picture_prompt(config, tokenizer, self.chat, self.instruction, self.references, text)


class Written(NamedTuple):
    """What the language model made of a turn: a draft for each seed, or an answer in words."""

    drafts: list[PictureDraft]
    spoken: str = ""


@dataclass(frozen=True)
class _Description:
    """The words that the pictures of a request are drawn from, or what the model answered in place of them."""

    texts: tuple[str, ...] = ()
    """One for each seed; none where the model answered in words."""
    attempts: tuple[int, ...] = ()
    """For each text how often it was drawn until it was taken; 0 where it is no rewrite."""
    note: str = ""
    """What the rewrites lack."""
    spoken: str = ""


def write_drafts(turns: Sequence[PlannedTurn], parts: Parts, progress: Progress) -> list[Written]:
    """The drafts of each turn, one for each seed; or what the model answered in words.

    Raises:
        WeGenError: more tokens than the context holds, features that another checkpoint made, or the language model
            overflowed.
    """
    requests = [draft_request(turn, parts.config) for turn in turns]
    if len(requests) == 1:
        return [parts.recall(requests[0], lambda: _write(requests, parts, progress)[0])]
    return _write(requests, parts, progress)


def draft_request(turn: PlannedTurn, config: WeGenConfig) -> DraftRequest:
    """What is asked of the language model in a turn: what its words and features depend on."""
    request, settings = turn.request, turn.request.settings
    # Without a template for it, an order on a picture is drawn as it stands.
    rewritten = request.rewrite and bool(config.templates.edit_rewrite or not turn.chat.turns)
    sampling = request.sampling_of(len(turn.chat)) if rewritten else None
    return DraftRequest(
        replace(turn.chat, painted_by=None),  # what is remembered is not to hold on to the models of earlier turns
        request.instruction,
        request.references,
        request.seeds,
        request.overrides,
        sampling,
        settings.feature_guidance,
        settings.collection,
    )


def _write(requests: Sequence[DraftRequest], parts: Parts, progress: Progress) -> list[Written]:
    """Rewrites, then features, of many turns; without chance all seeds of a turn share one draft's features."""
    wegen = _load_language(requests, parts)
    memory_notes = [
        memory_note(parts.config, parts.tokenizer, request.chat, request.instruction, request.references)
        for request in requests
    ]
    described = _describe(wegen, requests, progress)
    features = draw_features(wegen, requests, [description.texts for description in described], progress.on_feature)
    written = []
    for number, (request, description) in enumerate(zip(requests, described, strict=True)):
        if description.spoken:
            written.append(Written([], description.spoken))
            continue
        notes = tuple(dict.fromkeys(filter(None, (memory_notes[number], description.note))))
        words = zip(description.texts, request.seeds, description.attempts, strict=True)
        drafts = [PictureDraft(text, features[number, text], seed, notes, attempts) for text, seed, attempts in words]
        written.append(Written(drafts))
    return written


def _load_language(requests: Sequence[DraftRequest], parts: Parts) -> WeGen:
    """The model with its language model ready for the largest batch and the longest sequence of the requests."""
    distinct = sum(len(set(request.seeds)) for request in requests)
    guided = any(request.feature_guidance != 1 for request in requests)
    rows = 2 * distinct if guided else distinct  # when features are drawn
    if any(request.needs_rewrite for request in requests):
        rows = max(rows, rows_held(distinct, len(requests)))
    return parts.load_language(rows, max(positions(request, parts.config, parts.tokenizer) for request in requests))


def _describe(wegen: WeGen, requests: Sequence[DraftRequest], progress: Progress) -> list[_Description]:
    """The words of each request's pictures: rewrites where it needs them, written in one go for each sampling."""
    described = [_as_it_stands(request) for request in requests]
    for sampling in dict.fromkeys(request.sampling for request in requests):
        places = [n for n, request in enumerate(requests) if request.sampling == sampling and request.needs_rewrite]
        if sampling is None or not places:
            continue
        rewritten = _rewrite([requests[n] for n in places], wegen, sampling, progress)
        for n, description in zip(places, rewritten, strict=True):
            described[n] = description
    return described


def _as_it_stands(request: DraftRequest) -> _Description:
    """The user's own words."""
    texts = tuple(override or request.instruction for override in request.overrides)
    return _Description(texts, (0,) * len(texts))


def _rewrite(
    requests: Sequence[DraftRequest], wegen: WeGen, sampling: TextSampling, progress: Progress
) -> list[_Description]:
    """The words of requests that are all rewritten with the same sampling."""
    rewritten = rewrite_each(
        wegen,
        [RewriteRequest(request.instruction, request.references, request.chat) for request in requests],
        [request.seeds for request in requests],
        sampling,
        on_token=progress.on_token,
        on_text=progress.on_text,
    )
    return [_as_rewritten(request, rewrites) for request, rewrites in zip(requests, rewritten, strict=True)]


def _as_rewritten(request: DraftRequest, rewrites: Sequence[Rewrite]) -> _Description:
    """The rewrites of a request, one for each seed, but where its own words override them or the model wrote none."""
    try:
        described = descriptions(rewrites)
    except AnsweredInWords as answer:
        return _Description(spoken=str(answer))
    texts = tuple(
        override or rewrite.text or request.instruction
        for override, rewrite in zip(request.overrides, described, strict=True)
    )
    attempts = tuple(
        0 if override else rewrite.attempts for override, rewrite in zip(request.overrides, rewrites, strict=True)
    )
    used = [rewrite for rewrite, count in zip(rewrites, attempts, strict=True) if count and not rewrite.spoken]
    return _Description(texts, attempts, report(used))


def positions(request: DraftRequest, config: WeGenConfig, tokenizer: Tokenizer) -> int:
    """Positions that the longest sequence of a turn takes; what a cache must have room for."""
    longest = max(
        request.prompt(config, tokenizer, text or None).tokens(tokenizer) for text in dict.fromkeys(request.overrides)
    )
    rewrite = config.templates.rewrite_limit if request.needs_rewrite else 0
    return longest + rewrite + config.tokens_per_picture + 1


def draw_features(
    wegen: WeGen, requests: Sequence[DraftRequest], texts: Sequence[Sequence[str]], on_feature: OnStep | None
) -> dict[tuple[int, str], Tensor]:
    """The features of each turn's picture for each of its descriptions, in few batches.

    Args:
        wegen: with its language model ready.
        requests: the turns.
        texts: the descriptions of each of them.
        on_feature: called after each feature of a batch.

    Returns:
        `[tokens_per_picture, D]` float32 on the CPU, by the turn's number and the description.

    Raises:
        WeGenError: as `write_drafts`.
    """
    config, tokenizer = wegen.config, wegen.tokenizer
    found: dict[tuple[int, str], Tensor] = {}
    settings = [(request.feature_guidance, request.collection) for request in requests]
    for guidance, collection in dict.fromkeys(settings):
        places = [
            (n, text)
            for n in range(len(requests))
            if settings[n] == (guidance, collection)
            for text in dict.fromkeys(texts[n])
        ]
        if not places:
            continue
        prompts = [requests[n].prompt(config, tokenizer, text).embeddings(wegen) for n, text in places]
        # The picture's features and its end follow the prompt.
        decoding = Decoding(wegen, prompts, config.tokens_per_picture + 1, guided=guidance != 1.0)
        features = decoding.write_picture(guidance, collection, on_feature, final=True).features.cpu()
        found |= dict(zip(places, features, strict=True))
    return found
