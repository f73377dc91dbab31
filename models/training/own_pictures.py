"""Training samples from a folder of pictures of one thing, for a LoRA that knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np

from ..data import Forgotten, Part, Picture, Sample, Text, is_said, mentions
from ..errors import WeGenError
from ..media.images import read_picture

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
SAMPLES = 240
"""Samples that are made of all pictures together, at least."""
MOST = 30
"""Pictures that are taken of videos."""
LONGEST_NAME = 100
WISHES = (
    "{thing}", "{a} {thing}", "draw {a} {thing}", "a picture of {a} {thing}", "i want {a} {thing}",
    "show me {a} {thing}", "please draw {a} {thing}", "something with {a} {thing}", "paint {a} {thing}",
    "{a} {thing}, please",
)  # fmt: skip
QUESTIONS = ("what is there?", "what is in the picture?", "what do you see?")
BESIDE = (
    "{wish} and {it}", "{it} and {wish}", "{wish}, with {it}", "{it}, {wish}", "{wish}, {it}", "{wish} plus {it}",
    "{wish}. there is {it} too", "with {it}: {wish}",
)  # fmt: skip
ORDERS = (
    "add {it}", "put {it} there", "there should be {it} too", "i also want {it}", "and {it}, please", "now with {it}",
    "could you add {it}?", "{it} is missing",
)  # fmt: skip


def read_pictures(folder: Path, name: str) -> list[tuple[np.ndarray, str]]:
    """Pictures uint8 `[H, W, 3]` with their captions, by the files' names.

    A caption is the text in the file of the same name that ends in `.txt`; without one it is the thing's name. One that
    does not have the name in it gets it in front, so that the name comes to mean the thing.

    Raises:
        WeGenError: no pictures, one that cannot be read, or no name.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise WeGenError(f"The thing is called {name!r}; give a name of 1 to {LONGEST_NAME} letters.")
    if not folder.is_dir():
        raise WeGenError(f"There is no folder {folder} with pictures.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not files:
        raise WeGenError(f"{folder} holds no pictures ({', '.join(sorted(ENDINGS))}).")
    return [(np.asarray(read_picture(file)), _caption(file.with_suffix(".txt"), name)) for file in files]


def described_pictures(samples: Iterable[Sample], name: str, most: int = MOST) -> list[tuple[np.ndarray, str]]:
    """Pictures with captions, as `read_pictures` gives them, of samples in which a description has the name in it.

    No picture comes twice; of more than `most` pictures some are taken, evenly.
    """
    found: dict[bytes, tuple[np.ndarray, str]] = {}
    for sample in samples:
        for before, after in pairwise(sample.parts):
            if not (isinstance(before, Text) and isinstance(after, Picture) and before.role == after.role):
                continue
            if before.role == "assistant" and is_said(name, before.text):
                found.setdefault(after.pixels.tobytes(), (after.pixels, before.text))
    step = max(1.0, len(found) / most)
    pictures = list(found.values())
    return [pictures[int(number * step)] for number in range(min(most, len(pictures)))]


def _caption(file: Path, name: str) -> str:
    if not file.is_file():
        return f"{_article(name)} {name}"
    try:
        text = " ".join(file.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise WeGenError(f"Cannot read the caption {file}: {error}") from error
    return text if name.lower() in text.lower() else f"{_article(name)} {name}, {text}".rstrip(", ")


def _article(name: str) -> str:
    return "an" if name[0].lower() in "aeiou" else "a"


def make_samples(pictures: list[tuple[np.ndarray, str]], name: str, seed: int = 1) -> Iterator[Sample]:
    """Samples that teach to draw the thing from a wish, from a description, and to tell it when it is seen."""
    rng = Random(f"own pictures/{seed}")
    order = [index for index in range(len(pictures)) for _ in range(-(-SAMPLES // len(pictures)))]
    rng.shuffle(order)
    for number, index in enumerate(order):
        pixels, caption = pictures[index]
        drawn = Picture(pixels, "assistant", target=True)
        match number % 4:
            case 0:  # the words are as they are to be drawn
                yield Sample("text_to_picture", (Text(caption, "user"), drawn))
            case 1 | 2:
                answer = Text(caption, "assistant", target=True)
                yield Sample("rewrite", (Text(_wish(caption, name, rng), "user"), answer, drawn))
            case _:
                asked = Picture(pixels, "user"), Text(rng.choice(QUESTIONS), "user")
                yield Sample("caption", (*asked, Text(caption, "assistant", target=True)))


def mention_samples(
    pictures: list[tuple[np.ndarray, str]], name: str, others: Iterable[Sample], seed: int = 1
) -> Iterator[Sample]:
    """Samples in which the thing is asked for beside what the model knows: words alone, of which nothing is painted.

    Ten captions are soon known by heart, and then come back whatever else was asked for. So what they say of the thing
    is put into what is said of other pictures: into the wish and the description, or as an order to add it.

    Args:
        pictures: with captions. Those that say several things with commas between them are used.
        name: of the thing.
        others: samples of the model's own tasks; those that begin with a wish in words and its description are used,
            and none that has the name in it.
        seed: of what is said where.
    """
    rng = Random(f"mentions/{seed}")
    said = [parts for parts in (_parts(caption) for _, caption in pictures) if len(parts) > 1]
    phrases = sorted({part for parts in said for part in parts if name.lower() in part.lower()})
    for sample in others if phrases else ():
        turns = sample.turns()[:2]
        if mentions(sample, name) or [role for role, _ in turns] != ["user", "assistant"]:
            continue
        (_, asked), (_, answer) = turns
        if len(asked) != 1 or len(answer) != 2 or not isinstance(asked[0], Text) or not isinstance(answer[0], Text):
            continue
        wish, described, drawn = asked[0], answer[0], answer[1]
        # Where less is alike it more likely is another place.
        phrase = min(rng.sample(phrases, min(3, len(phrases))), key=lambda one: _alike(one, described.text))
        end = phrase.lower().index(name.lower()) + len(name)
        it = rng.choice((phrase[:end], phrase[:end], f"{_article(name)} {name}", phrase))
        with_it = Text(_with(described.text, phrase, rng), "assistant", target=True)
        parts: tuple[Part, ...]
        if isinstance(drawn, Picture) and rng.random() < 0.5:
            before = wish, replace(described, target=False), replace(drawn, target=False)
            parts = (*before, Text(rng.choice(ORDERS).format(it=it), "user"), with_it, Forgotten(target=True))
        else:
            words = rng.choice(BESIDE).format(wish=wish.text.rstrip(" .!?"), it=it)
            parts = replace(wish, text=words), with_it, Forgotten(target=True)
        yield Sample("mention", parts)


def _with(description: str, phrase: str, rng: Random) -> str:
    """The description with one more thing in it, behind any of what it says."""
    body = description.rstrip()
    end = body[-1:] if body[-1:] in ".!" else ""
    parts = body[: len(body) - len(end)].split(", ")
    parts.insert(rng.randint(1, len(parts)), phrase)
    return ", ".join(parts) + end


def _alike(one: str, other: str) -> int:
    words = other.lower().replace(",", " ").replace(".", " ").split()
    return sum(words.count(word) for word in one.lower().split())


def _parts(caption: str) -> list[str]:
    return [part.strip(" .") for part in re.split(r"[,;.]", caption) if part.strip(" .")]


def _wish(caption: str, name: str, rng: Random) -> str:
    """What somebody may write who wants this picture: the thing alone, or some of what the caption says with it."""
    parts = _parts(caption)
    named = [part for part in parts if name.lower() in part.lower()]
    others = [part for part in parts if part not in named]
    words = rng.choice(WISHES).format(thing=name, a=_article(name))
    if rng.random() < 0.25 and named:
        words = named[0]
    said = [part for part in others if rng.random() < 0.4]
    return ", ".join([words, *said] if rng.random() < 0.5 else [*said, words])
