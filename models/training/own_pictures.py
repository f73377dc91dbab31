"""Training samples from a folder of pictures of one thing, for a LoRA that knows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np

from ..data import Picture, Sample, Text
from ..errors import WeGenError
from ..media.images import read_picture

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
WORDINGS = 24
"""Samples that are made of each picture."""
LONGEST_NAME = 100
WISHES = (
    "{thing}", "{a} {thing}", "draw {a} {thing}", "a picture of {a} {thing}", "i want {a} {thing}",
    "show me {a} {thing}", "please draw {a} {thing}", "something with {a} {thing}", "paint {a} {thing}",
    "{a} {thing}, please",
)  # fmt: skip
QUESTIONS = ("what is there?", "what is in the picture?", "what do you see?")


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
    order = [index for index in range(len(pictures)) for _ in range(WORDINGS)]
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


def _wish(caption: str, name: str, rng: Random) -> str:
    """What somebody may write who wants this picture: the thing alone, or some of what the caption says with it."""
    parts = [part.strip(" .") for part in re.split(r"[,;.]", caption) if part.strip(" .")]
    named = [part for part in parts if name.lower() in part.lower()]
    others = [part for part in parts if part not in named]
    words = rng.choice(WISHES).format(thing=name, a=_article(name))
    if rng.random() < 0.25 and named:
        words = named[0]
    said = [part for part in others if rng.random() < 0.4]
    return ", ".join([words, *said] if rng.random() < 0.5 else [*said, words])
