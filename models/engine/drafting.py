"""Words and features of turns: what the language model writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..checkpoints.tokenizer import Tokenizer
from ..checkpoints.wegen import WeGen
from ..errors import AnsweredInWords
from ..network.configuration import WeGenConfig
from ..prompting.conversation import memory_note, picture_prompt
from ..prompting.decoding import Decoding, OnStep
from ..prompting.rewriting import RewriteRequest, descriptions, report, rewrite_each, rows_held
from ..prompting.text_sampling import TextSampling
from ..values import Chat, Collection, References
from .interface import Parts, PictureDraft, Progress
from .planning import PlannedTurn


class Words(NamedTuple):
    """What the words and features of a turn depend on; nothing of the painter's is among it."""

    chat: Chat
    instruction: str
    references: References
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    sampling: TextSampling | None
    feature_guidance: float
    collection: Collection


class Written(NamedTuple):
    """What the language model made of a turn: a draft for each seed, or an answer in words."""

    drafts: list[PictureDraft]
    spoken: str = ""


def write_drafts(turns: Sequence[PlannedTurn], parts: Parts, progress: Progress) -> list[Written]:
    """The drafts of each turn, one for each seed."""
    asked = [words_of(turn, parts.config) for turn in turns]
    if len(asked) == 1:
        return [parts.recall(asked[0], lambda: _write(asked, parts, progress)[0])]
    return _write(asked, parts, progress)


def words_of(turn: PlannedTurn, config: WeGenConfig) -> Words:
    request, settings = turn.request, turn.request.settings
    # Without a template for it, an order on a picture is drawn as it stands.
    rewritten = request.rewrite and bool(config.templates.edit_rewrite or not turn.chat.turns)
    sampling = request.sampling_of(len(turn.chat)) if rewritten else None
    return Words(
        turn.chat,
        request.instruction,
        request.references,
        request.seeds,
        request.overrides,
        sampling,
        settings.feature_guidance,
        settings.collection,
    )


def _write(asked: Sequence[Words], parts: Parts, progress: Progress) -> list[Written]:
    """Rewrites, then features, of many turns; without chance all seeds of a turn share one draft's features."""
    config, tokenizer = parts.config, parts.tokenizer
    distinct = sum(len(set(one.seeds)) for one in asked)
    rows = distinct * 2 if any(one.feature_guidance != 1 for one in asked) else distinct  # when features are drawn
    if any(one.sampling is not None and not all(one.overrides) for one in asked):
        rows = max(rows, rows_held(distinct, len(asked)))
    wegen = parts.load_language(rows, max(positions(one, config, tokenizer) for one in asked))
    notes: list[tuple[str, ...]] = [(memory_note(config, tokenizer, *_asked(one)),) for one in asked]
    texts: list[list[str]] = [list(one.overrides) for one in asked]
    attempts = [[0] * len(one.seeds) for one in asked]
    spoken = [""] * len(asked)
    for sampling in dict.fromkeys(one.sampling for one in asked):
        chosen = [n for n, one in enumerate(asked) if one.sampling == sampling and not all(one.overrides)]
        if not chosen:
            continue
        written = None
        if sampling is not None:
            requests = [RewriteRequest(asked[n].instruction, asked[n].references, asked[n].chat) for n in chosen]
            seeds = [asked[n].seeds for n in chosen]
            written = rewrite_each(
                wegen, requests, seeds, sampling, on_token=progress.on_token, on_text=progress.on_text
            )
        for place, n in enumerate(chosen):
            found = asked[n].instruction
            if written is not None:
                try:
                    described = descriptions(written[place])
                except AnsweredInWords as answer:
                    spoken[n], texts[n] = str(answer), []
                    continue
                notes[n] += (report([one for one in written[place] if not one.spoken]),)
                rewrites = [one.text or found for one in described]
                attempts[n] = [
                    0 if o else one.attempts for o, one in zip(asked[n].overrides, written[place], strict=True)
                ]
            else:
                rewrites = [found] * len(asked[n].seeds)
            texts[n] = [override or text for override, text in zip(asked[n].overrides, rewrites, strict=True)]
    features = draw_features(wegen, asked, texts, progress.on_feature)
    return [
        Written(
            [
                PictureDraft(text, features[n, text], seed, tuple(dict.fromkeys(filter(None, notes[n]))), tries)
                for text, seed, tries in zip(texts[n], one.seeds, attempts[n], strict=not spoken[n])
            ],
            spoken[n],
        )
        for n, one in enumerate(asked)
    ]


def _asked(one: Words) -> tuple[Chat, str, References]:
    return one.chat, one.instruction, one.references


def positions(one: Words, config: WeGenConfig, tokenizer: Tokenizer) -> int:
    """Positions that the longest sequence of a turn takes; what a cache must have room for."""
    longest = max(
        picture_prompt(config, tokenizer, *_asked(one), text or None).tokens(tokenizer)
        for text in dict.fromkeys(one.overrides)
    )
    written = 0 if one.sampling is None or all(one.overrides) else config.templates.rewrite_limit
    return longest + written + config.tokens_per_picture + 1


def draw_features(
    wegen: WeGen, asked: Sequence[Words], texts: Sequence[Sequence[str]], on_feature: OnStep | None
) -> dict[tuple[int, str], Tensor]:
    """The features `[tokens_per_picture, D]` of each turn's picture for each of its descriptions, in few batches."""
    config, tokenizer = wegen.config, wegen.tokenizer
    found: dict[tuple[int, str], Tensor] = {}
    for guidance, collection in dict.fromkeys((one.feature_guidance, one.collection) for one in asked):
        places = [
            (n, text)
            for n, one in enumerate(asked)
            if (one.feature_guidance, one.collection) == (guidance, collection)
            for text in dict.fromkeys(texts[n])
        ]
        if not places:
            continue
        prompts = [picture_prompt(config, tokenizer, *_asked(asked[n]), text).embeddings(wegen) for n, text in places]
        # The picture's features and its end follow the prompt.
        decoding = Decoding(wegen, prompts, config.tokens_per_picture + 1, guided=guidance != 1.0)
        features = decoding.write_picture(guidance, collection, on_feature, final=True).features.cpu()
        found |= dict(zip(places, features, strict=True))
    return found
