"""Stage "tokenizer": SentencePiece pieces learned from the storybook's own texts, and the tokens of pictures."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from .. import storybook
from ..checkpoints.tokenizer import ADDED_FILE, MODEL_FILE, PICTURE_BEGIN, PICTURE_END, Tokenizer, picture_token
from ..data import Text, generate_samples

MARKERS = ("[INST]", "[/INST]")


@dataclass(frozen=True)
class TokenizerOptions:
    """How the pieces are learned.

    Attributes:
        pieces: most pieces of the SentencePiece vocabulary, its 256 bytes for strange letters included.
        samples: of the agent's tasks, whose texts are read.
        fold_case: whether capitals are read as small letters.
        coverage: share of all letters that get pieces of their own; rarer ones are spelled in bytes.
    """

    pieces: int = 544
    samples: int = 6_000
    seed: int = 1
    fold_case: bool = False
    coverage: float = 1.0


def texts(options: TokenizerOptions, task_mix: Mapping[str, float]) -> Iterator[str]:
    """Everything that is said in a number of samples, and every word that the storybook knows."""
    for _, sample in zip(range(options.samples), generate_samples(task_mix, options.seed), strict=False):
        yield from (part.text for part in sample.parts if isinstance(part, Text))
    for word in sorted(storybook.vocabulary()):
        yield from [word] * 20


def train_tokenizer(
    options: TokenizerOptions,
    task_mix: Mapping[str, float],
    folder: Path,
    tokens_per_picture: int,
    templates: Sequence[str] = (),
) -> Tokenizer:
    """Learn the pieces and write `tokenizer.model` and `added_tokens.json`; equal options give equal files."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=chain(texts(options, task_mix), templates * 4_000),
        model_writer=model,
        vocab_size=options.pieces,
        model_type="unigram",
        byte_fallback=True,
        character_coverage=options.coverage,
        normalization_rule_name="nmt_nfkc_cf" if options.fold_case else "nmt_nfkc",
        user_defined_symbols=list(MARKERS),
        hard_vocab_limit=False,  # few texts may not have that many pieces in them
        num_threads=1,
        minloglevel=1,
    )
    names = [PICTURE_BEGIN, PICTURE_END, *(picture_token(i) for i in range(tokens_per_picture))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(model.getvalue())
    first = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    added = {name: first + number for number, name in enumerate(names)}
    (folder / ADDED_FILE).write_text(json.dumps(added, indent=1) + "\n", encoding="utf-8")
    return Tokenizer.from_folder(folder, tokens_per_picture)
