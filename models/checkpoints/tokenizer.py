"""SentencePiece tokenizer with WeGen's added tokens, tokenising as the published (legacy Hugging Face) one does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import CheckpointError

MODEL_FILE = "tokenizer.model"
ADDED_FILE = "added_tokens.json"
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
PICTURE_BEGIN, PICTURE_END = "<img>", "</img>"


def picture_token(index: int) -> str:
    """Name of the token in whose place feature `index` of a picture stands."""
    return f"<img_{index:05d}>"


class Tokenizer:
    """Text to ids and back.

    Args:
        model: the serialised SentencePiece model.
        added_tokens: added token -> id; must hold `<img>`, `</img>` and `<img_00000>` ... for one picture.
        tokens_per_picture: how many features stand for one picture.
    """

    def __init__(self, model: bytes, added_tokens: Mapping[str, int], tokens_per_picture: int = 64):
        import sentencepiece

        self.model_bytes = bytes(model)
        self.pieces = sentencepiece.SentencePieceProcessor()
        try:
            self.pieces.LoadFromSerializedProto(self.model_bytes)
        except RuntimeError as error:
            raise CheckpointError(f"{MODEL_FILE} is not a SentencePiece model: {error}") from error
        self.added_tokens = dict(added_tokens)
        self.tokens_per_picture = tokens_per_picture
        needed = [PICTURE_BEGIN, *(picture_token(i) for i in range(tokens_per_picture)), PICTURE_END]
        missing = [token for token in needed if token not in self.added_tokens]
        if missing:
            raise CheckpointError(f"{ADDED_FILE} lacks {len(missing)} picture tokens, first of them {missing[0]!r}.")
        overlapping = {t: i for t, i in self.added_tokens.items() if i < self.pieces.get_piece_size()}
        if overlapping:
            token, index = next(iter(overlapping.items()))
            raise CheckpointError(
                f"{ADDED_FILE} gives {token!r} the id {index}, which {MODEL_FILE} with its "
                f"{self.pieces.get_piece_size()} pieces already uses: the two files are of different models."
            )
        self.begin_id, self.end_id = self.pieces.bos_id(), self.pieces.eos_id()
        #: `<img>`, the tokens of one picture's features in order, `</img>`
        self.picture_ids = tuple(self.added_tokens[token] for token in needed)
        self.picture_begin_id, self.picture_end_id = self.picture_ids[0], self.picture_ids[-1]
        self._names = {index: token for token, index in self.added_tokens.items()}
        special = {BEGIN: self.begin_id, END: self.end_id, UNKNOWN: self.pieces.unk_id()}
        self._special = {token: index for token, index in special.items() if index >= 0}
        self._ids = {**self.added_tokens, **self._special}
        self._splitter = re.compile("|".join(re.escape(t) for t in sorted(self._ids, key=len, reverse=True)))

    @classmethod
    def from_folder(cls, folder: str | Path, tokens_per_picture: int = 64) -> Tokenizer:
        """Read `tokenizer.model` and `added_tokens.json`."""
        folder = Path(folder)
        for name in (MODEL_FILE, ADDED_FILE):
            if not (folder / name).is_file():
                raise CheckpointError(f"The tokenizer needs {folder / name}, which does not exist.")
        try:
            added = json.loads((folder / ADDED_FILE).read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{folder / ADDED_FILE} is not valid JSON: {error}") from error
        if not isinstance(added, dict) or not all(type(index) is int for index in added.values()):
            raise CheckpointError(f"{folder / ADDED_FILE} must map tokens to ids.")
        try:
            return cls((folder / MODEL_FILE).read_bytes(), added, tokens_per_picture)
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from error

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding for these tokens needs."""
        return max(self.pieces.get_piece_size() - 1, *self.added_tokens.values()) + 1

    def encode(self, text: str, begin: bool = True) -> list[int]:
        """Ids of `text`, added tokens recognised; `begin` puts `<s>` in front.

        As published, white space on both sides of an added token is dropped, and the text after one starts with
        SentencePiece's word marker again.
        """
        # Half a surrogate pair, which a front end can send, is no text that SentencePiece takes.
        text = text.encode("utf-8", "replace").decode("utf-8")
        ids = [self.begin_id] if begin else []
        position = 0
        for match in self._splitter.finditer(text):
            ids += self._encode_plain(text[position : match.start()], after=position > 0, before=True)
            ids.append(self._ids[match.group()])
            position = match.end()
        return ids + self._encode_plain(text[position:], after=position > 0, before=False)

    def _encode_plain(self, text: str, after: bool, before: bool) -> list[int]:
        text = text.lstrip() if after else text
        text = text.rstrip() if before else text
        return self.pieces.encode(text) if text else []

    def escape(self, text: str) -> str:
        """Text of a user, safe to put in a template: names of picture and sequence tokens come apart.

        Other added tokens (`<box_start>`, `<loc-7>`) are left: they are part of the language.
        """
        reserved = {self._name(index) for index in self.picture_ids} | set(self._special)
        return self._splitter.sub(lambda m: f"< {m.group()[1:]}" if m.group() in reserved else m.group(), text)

    def without_tokens(self, text: str) -> str:
        """Text without the names of added and sequence tokens that were spelled out in it."""
        return self._splitter.sub(" ", text)

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        """Text of `ids`; added tokens stand apart by spaces, as the published tokenizer writes them.

        With `skip_special` the sequence tokens and everything that belongs to a picture are left out.
        """
        skipped = {*self.picture_ids, *self._special.values()} if skip_special else set()
        parts: list[str] = []
        run: list[int] = []
        for index in ids:
            index = int(index)
            if index in skipped:
                continue
            if index in self._names:
                parts += [self._decode_plain(run), self._names[index]]
                run = []
            else:
                run.append(index)
        parts.append(self._decode_plain(run))
        return " ".join(part for part in parts if part)

    def _decode_plain(self, ids: list[int]) -> str:
        text, run = "", []
        names = {index: token for token, index in self._special.items()}
        for position, index in enumerate(ids):
            if index not in names:
                run.append(index)
                continue
            gap = " " if position and ids[position - 1] not in names else ""
            text += gap + self.pieces.decode(run) + names[index]
            run = []
        return text + self.pieces.decode(run)

    def _name(self, index: int) -> str:
        return self._names[index]
