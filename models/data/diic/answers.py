"""What a vision-language model answers, read and checked: what is of no use has a reason, and none ends in a crash."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

from .languages import counts

MOST_WORDS = 400  # of a whole answer
MOST_NAMES = 20
MOST_NAME_WORDS = 5
INSTRUCTION_WORDS = (2, 60)
CAPTION_WORDS = (3, 120)
_MOST_BEGINS = 20  # places in an answer at which JSON is looked for
_LONG = 5  # words
_SHOWN = 80  # characters of an answer that a reason quotes


class AnswerError(ValueError):
    """An answer that is not of use; `reason` is a key of `reasons.REASONS`."""

    def __init__(self, reason: str, answer: str):
        self.reason = reason
        shown = "".join(letter if letter.isprintable() else " " for letter in answer)
        self.detail = " ".join(shown.split())[:_SHOWN]
        super().__init__(f"{reason}: {self.detail}")


def read_names(answer: str) -> tuple[str, ...]:
    """Names of things: of the object's "things", or of a list of texts. Lower case, without articles, each once.

    Raises AnswerError: "no_answer", "too_long", "wrong_language", "no_json", "wrong_form" or "no_names".
    """
    found = _json(answer)
    things = found.get("things") if isinstance(found, dict) else found
    if not isinstance(things, list) or not all(isinstance(one, str) for one in things):
        raise AnswerError("wrong_form", answer)
    names = [re.sub(r"^(an?|the) ", "", " ".join(one.lower().split())).strip(" .,") for one in things]
    names = [name for name in dict.fromkeys(names) if name]
    if not names:
        raise AnswerError("no_names", answer)
    if any(len(name.split()) > MOST_NAME_WORDS for name in names) or len(names) > MOST_NAMES:
        raise AnswerError("too_long", answer)
    if _are_foreign(names):
        raise AnswerError("wrong_language", answer)
    return tuple(names)


def read_instruction(answer: str, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The instruction that leads from one frame to the other, and the things that it changes, all of them in `names`.

    Raises AnswerError as `read_names` does, "no_change_told" where the instruction is empty, and "unknown_name".
    """
    found = _json(answer)
    if not isinstance(found, dict) or not isinstance(found.get("instruction"), str):
        raise AnswerError("wrong_form", answer)
    things = found.get("things", [])
    if not isinstance(things, list) or not all(isinstance(one, str) for one in things):
        raise AnswerError("wrong_form", answer)
    text = _sentence(found["instruction"])
    if not text:
        raise AnswerError("no_change_told", answer)
    _check_words(text, INSTRUCTION_WORDS, answer)
    known = {name.lower(): name for name in names}
    unknown = [one for one in things if one.strip().lower() not in known]
    if unknown:
        raise AnswerError("unknown_name", unknown[0])
    return text, tuple(dict.fromkeys(known[one.strip().lower()] for one in things))


def read_caption(answer: str) -> str:
    """The description of a frame: of the object's "caption". Raises AnswerError as `read_names` does."""
    found = _json(answer)
    if not isinstance(found, dict) or not isinstance(found.get("caption"), str):
        raise AnswerError("wrong_form", answer)
    text = _sentence(found["caption"])
    if not text:
        raise AnswerError("no_answer", answer)
    _check_words(text, CAPTION_WORDS, answer)
    return text


def _json(answer: str) -> Any:
    """The first object or list in an answer, whatever stands around it."""
    text = re.sub(r"<think>.*?</think>", " ", answer, flags=re.DOTALL).strip()
    if not text:
        raise AnswerError("no_answer", answer)
    if len(text.split()) > MOST_WORDS or len(text) > 12 * MOST_WORDS:
        raise AnswerError("too_long", answer)
    if not _is_latin(text):
        raise AnswerError("wrong_language", answer)
    for begin in islice(re.finditer(r"[\[{]", text), _MOST_BEGINS):
        try:
            return json.JSONDecoder().raw_decode(text, begin.start())[0]
        except (ValueError, RecursionError):
            continue
    raise AnswerError("no_json", answer)


def _sentence(text: str) -> str:
    return " ".join(text.split())


def _check_words(text: str, limits: tuple[int, int], answer: str) -> None:
    words, english, other = counts(text)
    if words > limits[1]:
        raise AnswerError("too_long", answer)
    if words < limits[0]:
        raise AnswerError("wrong_form", answer)
    # A text of some length without any common English word is of a language that has no list.
    if not _is_latin(text) or other > english or (words > _LONG and not english):
        raise AnswerError("wrong_language", answer)


def _are_foreign(names: Sequence[str]) -> bool:
    """Whether names are of another language, all together or one of them; a foreign word in an English name is not."""
    found = [counts(name) for name in names]
    together = sum(other for _, _, other in found) > sum(english for _, english, _ in found)
    return together or any(2 * other > words for words, _, other in found) or not all(map(_is_latin, names))


def _is_latin(text: str) -> bool:
    """Whether nearly all letters are those of English; one accent is no matter."""
    letters = [letter for letter in text if letter.isalpha()]
    others = sum(not letter.isascii() for letter in letters)
    return others <= 0.1 * len(letters) or (others == 1 and len(letters) > 4)
