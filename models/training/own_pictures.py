"""Training samples from a folder of pictures of one thing, for a LoRA that knows it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..data import Forgotten, Part, Picture, Sample, Text, is_said, mentions, said_in
from ..errors import WeGenError
from ..media.images import read_picture

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
UNREADABLE = frozenset({".heic", ".heif", ".avif", ".jxl", ".psd", ".svg", ".dng", ".cr2", ".nef", ".arw", ".caption"})
"""Of pictures and captions that are not read."""
MASK = ".mask.png"
SAMPLES = 240
"""Samples that are made of all pictures together, at least."""
SHORT = 0.6
"""Of a description's length: a wish shorter than that leaves open what else there is."""
EXCHANGED = 240
"""Pictures with the thing of one where it is in another."""
MOST = 30
"""Pictures that are taken of videos."""
LONGEST_NAME = 100
WISHES = (
    "{thing}", "{a} {thing}", "draw {a} {thing}", "a picture of {a} {thing}", "i want {a} {thing}",
    "show me {a} {thing}", "please draw {a} {thing}", "something with {a} {thing}", "paint {a} {thing}",
    "{a} {thing}, please",
)  # fmt: skip
DESCRIBE = (
    "describe the picture", "describe this picture", "describe the picture in detail", "describe all of the picture",
    "what does the picture show?",
)  # fmt: skip
"""Only what asks for a whole description: models answer "what is there?" with less, and must go on doing so."""
BESIDE = (
    "{wish} and {it}", "{it} and {wish}", "{wish}, with {it}", "{it}, {wish}", "{wish}, {it}", "{wish} plus {it}",
    "{wish}. there is {it} too", "with {it}: {wish}",
)  # fmt: skip
ORDERS = (
    "add {it}", "put {it} there", "there should be {it} too", "i also want {it}", "and {it}, please", "now with {it}",
    "could you add {it}?", "{it} is missing",
)  # fmt: skip


class OwnPicture(NamedTuple):
    """A picture of the thing."""

    pixels: np.ndarray
    """uint8 `[H, W, 3]`"""
    caption: str
    mask: np.ndarray | None = None
    """bool `[H, W]`, where the thing is; None where that is not known."""


def read_pictures(folder: Path, name: str, side: int | None = None) -> list[OwnPicture]:
    """The pictures of a folder, by the files' names.

    A caption is the text in the file of the same name that ends in `.txt`; without one it is the thing's name. One that
    does not have the name in it gets it in front, so that the name comes to mean the thing. A mask is the file of the
    same name that ends in `.mask.png`, white where the thing is.

    Args:
        folder: of the pictures.
        name: of the thing.
        side: pixels to which the shorter side is scaled down where it has more; None leaves all as they are.

    Raises:
        WeGenError: no pictures, one that cannot be read, a mask of another size, a file that is meant for a picture and
            would not be used, or no name.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise WeGenError(f"The thing is called {name!r}; give a name of 1 to {LONGEST_NAME} letters.")
    if not folder.is_dir():
        raise WeGenError(f"There is no folder {folder}; give a folder with pictures.")
    files = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not files:
        raise WeGenError(f"{folder} holds no pictures{_instead(folder)}.")
    _refuse_unused(folder, files)
    return [_scaled(_read(file, name), side) for file in files]


def _is_picture(file: Path) -> bool:
    """Whether a file is a picture to learn from, and none of those that systems hide.

    Raises:
        WeGenError: it is called like a mask but is no PNG.
    """
    if file.name.startswith(".") or file.suffix.lower() not in ENDINGS or file.name.lower().endswith(MASK):
        return False
    if Path(file.stem).suffix.lower() == ".mask":
        raise WeGenError(f"{file} is called like a mask, which must be a PNG: save it as {Path(file.stem).stem}{MASK}.")
    return True


def _instead(folder: Path) -> str:
    """What to do about a folder without pictures, by what else is in it."""
    from ..data.diic.store import RUN
    from ..data.diic.video import SUFFIXES

    if (folder / RUN).is_file():
        return ": its samples are not finished. Run the same `wegen data video` again, which goes on with it"
    if any(file.suffix.lower() in SUFFIXES for file in folder.iterdir()):
        return ", but videos: make samples of them by `wegen data video`, and name the folder of these"
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        if any(_is_picture(file) for file in inner.iterdir()):
            return f", but {inner.name} in it does: name {inner}"
    return f"; put in files that end in {', '.join(sorted(ENDINGS))}"


def _refuse_unused(folder: Path, files: Sequence[Path]) -> None:
    """Raises WeGenError for what its owner means to be used: training takes long, and its result does not tell."""
    stems = {file.stem.lower() for file in files}
    unused = []
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        stem = name.removesuffix(MASK) if name.endswith(MASK) else name.removesuffix(".txt")
        lacks_picture = stem != name and stem not in stems
        if not name.startswith(".") and (lacks_picture or path.suffix.lower() in UNREADABLE):
            unused.append(path.name)
    if unused:
        raise WeGenError(
            f"{folder} holds files that would not be used: {', '.join(unused[:5])}{' ...' if len(unused) > 5 else ''}. "
            f"Save pictures as {', '.join(sorted(ENDINGS))}, name captions and masks of picture.png picture.txt and "
            f"picture{MASK}, or take them out."
        )


def _beside(file: Path, ending: str) -> Path | None:
    """The file of the same name with another ending, in capitals or not."""
    exact = file.with_name(file.stem + ending)
    if exact.is_file():
        return exact
    return next((path for path in sorted(file.parent.iterdir()) if path.name.lower() == exact.name.lower()), None)


def _read(file: Path, name: str) -> OwnPicture:
    pixels = np.asarray(read_picture(file))
    beside, mask = _beside(file, MASK), None
    if beside is not None:
        mask = np.asarray(read_picture(beside)).mean(axis=-1) >= 128
        if mask.shape != pixels.shape[:2]:
            raise WeGenError(
                f"The mask {beside} is {mask.shape[1]} x {mask.shape[0]} pixels, its picture "
                f"{pixels.shape[1]} x {pixels.shape[0]}; they must be of one size."
            )
        if not mask.any():
            raise WeGenError(
                f"The mask {beside} is black everywhere: nothing in it is brighter than half. Paint white (255) where "
                f"the {name} is, or remove the mask."
            )
        if mask.all():
            raise WeGenError(
                f"The mask {beside} is white everywhere; transparent parts count as white. Paint black where the "
                f"{name} is not, or remove the mask where it fills the picture."
            )
    return OwnPicture(pixels, _caption(_beside(file, ".txt"), name), mask)


def _scaled(own: OwnPicture, side: int | None) -> OwnPicture:
    """The same with its shorter side at `side` pixels at most: photographs are far larger than what is trained."""
    height, width = own.pixels.shape[:2]
    if side is None or min(height, width) <= side:
        return own
    size = tuple(round(length * side / min(height, width)) for length in (width, height))
    mask = own.mask
    if mask is not None:
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return own._replace(
        pixels=np.asarray(Image.fromarray(own.pixels).resize(size, Image.Resampling.LANCZOS)), mask=mask
    )


def described_pictures(samples: Callable[[], Iterable[Sample]], name: str, most: int = MOST) -> list[OwnPicture]:
    """Pictures of samples in which a description has the name in it, with masks where the samples have them.

    No picture comes twice; of more than `most` pictures some are taken, evenly. The samples are gone through twice, so
    that no more pictures than that are in memory.
    """
    order = list(dict.fromkeys(digest for digest, _ in _described(samples(), name)))
    step = max(1.0, len(order) / most)
    chosen = dict.fromkeys(order[int(number * step)] for number in range(min(most, len(order))))
    found: dict[bytes, OwnPicture] = {}
    for digest, own in _described(samples(), name):
        if digest in chosen:
            found.setdefault(digest, own)
    return [found[digest] for digest in chosen]


def _described(samples: Iterable[Sample], name: str) -> Iterator[tuple[bytes, OwnPicture]]:
    """Each picture whose description has the name in it, and what tells it from others."""
    for sample in samples:
        number, before = -1, None
        for part in sample.parts:
            if isinstance(part, Picture):
                number += 1
                if isinstance(before, Text) and before.role == part.role == "assistant" and is_said(name, before.text):
                    yield (
                        _digest(part.pixels),
                        OwnPicture(part.pixels, before.text, _mask_of(sample, number, part, name)),
                    )
            before = part


def _digest(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode()).digest()


def same_pictures(samples: Iterable[Sample], pictures: Sequence[OwnPicture]) -> bool:
    """Whether the samples of `make_samples` were made of these pictures, captions and masks, wherever those are now.

    Samples may have a mask where a picture has none: it was estimated.
    """
    made: dict[bytes, set[str | bytes]] = {}
    for sample in samples:
        words = {part.text for part in sample.parts if isinstance(part, Text)}
        for picture in sample.pictures():
            known = made.setdefault(_digest(picture.pixels), set())
            known |= words
            if picture.instance_map is not None:
                known.add(_digest(picture.instance_map > 0))
    own = [(_digest(one.pixels), one) for one in pictures]
    return made.keys() == {digest for digest, _ in own} and all(
        one.caption in made[digest] and (one.mask is None or _digest(one.mask) in made[digest]) for digest, one in own
    )


def _mask_of(sample: Sample, number: int, picture: Picture, name: str) -> np.ndarray | None:
    """Where the things of that name are in picture `number` of a sample made of a video; None if that is not known."""
    instances = sample.record.get("instances", ())
    if picture.instance_map is None or number >= len(instances):
        return None
    mask = np.isin(picture.instance_map, [one["number"] for one in instances[number] if is_said(name, one["name"])])
    return mask if mask.any() else None


def _caption(file: Path | None, name: str) -> str:
    if file is None:
        return name_alone(name)
    try:
        text = " ".join(file.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise WeGenError(f"The caption {file} is no UTF-8 text: {error}. Save it as UTF-8.") from error
    except OSError as error:
        raise WeGenError(f"Cannot read the caption {file}: {error}") from error
    return text if is_said(name, text) else f"{_article(name)} {name}, {text}".rstrip(", ")


def name_alone(name: str) -> str:
    """The caption of a picture that has none of its own."""
    return f"{_article(name)} {name}"


def _article(name: str) -> str:
    return "an" if name[0].lower() in "aeiou" else "a"


def make_samples(pictures: Sequence[OwnPicture], name: str, seed: int = 1) -> Iterator[Sample]:
    """Samples that teach to draw the thing from a wish, from a description, and to tell it when it is seen."""
    rng = Random(f"own pictures/{seed}")
    order = [index for index in range(len(pictures)) for _ in range(-(-SAMPLES // len(pictures)))]
    rng.shuffle(order)
    for number, index in enumerate(order):
        pixels, caption, mask = pictures[index]
        drawn = _drawn(pixels, mask)
        match number % 4:
            case 0:  # the words are as they are to be drawn
                yield Sample("text_to_picture", (Text(caption, "user"), drawn))
            case 1 | 2:
                answer = Text(caption, "assistant", target=True)
                yield Sample("rewrite", (Text(_wish(caption, name, rng), "user"), answer, drawn))
            case _:
                asked = Picture(pixels, "user"), Text(rng.choice(DESCRIBE), "user")
                yield Sample("caption", (*asked, Text(caption, "assistant", target=True)))


def mention_samples(
    pictures: Sequence[OwnPicture], name: str, others: Iterable[Sample], seed: int = 1
) -> Iterator[Sample]:
    """Samples in which the thing is asked for beside what the model knows.

    A few captions are soon known by heart, and then come back whatever else was asked for. So what they say of it
    is put into what is said of other pictures: into the wish and the description, or as an order to add it. The thing
    itself is put into the picture, where its mask is known; otherwise words alone are learned.

    Args:
        pictures: those whose captions say several things with commas between them are used.
        name: of the thing.
        others: samples of the model's own tasks; those that begin with a wish in words and its description are used,
            and none that has the name in it.
        seed: of what is said where.
    """
    rng = Random(f"mentions/{seed}")
    said = [(phrase, own) for own in pictures if (phrase := _phrase(own.caption, name))]
    for sample in others if said else ():
        turns = sample.turns()[:2]
        if mentions(sample, name) or [role for role, _ in turns] != ["user", "assistant"]:
            continue
        (_, asked), (_, answer) = turns
        if len(asked) != 1 or len(answer) != 2 or not isinstance(asked[0], Text) or not isinstance(answer[0], Text):
            continue
        wish, described, drawn = asked[0], answer[0], answer[1]
        # The same wish without the thing, most of all where it leaves things open: else the thing is put in everywhere.
        short = len(wish.text) < SHORT * len(described.text)
        for _ in range(2 if short else rng.random() < 0.25):
            shown = replace(drawn, target=True) if isinstance(drawn, Picture) else Forgotten(target=True)
            yield Sample("other", (wish, replace(described, target=True), shown))
        phrase, own = _fitting(rng.sample(said, min(4, len(said))), described, drawn)
        end = said_in(phrase, name).end()
        it = rng.choice((phrase[:end], phrase[:end], f"{_article(name)} {name}", phrase))
        with_it = Text(_with(described.text, phrase, rng), "assistant", target=True)
        then: Part = Forgotten(target=True)
        if isinstance(drawn, Picture) and own.mask is not None:
            then = _drawn(pasted(own, drawn.pixels, own.mask.shape), own.mask)
        parts: tuple[Part, ...]
        if isinstance(drawn, Picture) and rng.random() < 0.5:
            before = wish, replace(described, target=False), replace(drawn, target=False)
            parts = (*before, Text(rng.choice(ORDERS).format(it=it), "user"), with_it, then)
        else:
            words = rng.choice(BESIDE).format(wish=wish.text.rstrip(" .!?"), it=it)
            parts = replace(wish, text=words), with_it, then
        yield Sample("mention", parts)


def exchanged_samples(
    pictures: Sequence[OwnPicture], others: Iterable[Sample], count: int = EXCHANGED, seed: int = 1
) -> Iterator[Sample]:
    """Pictures, without words, of the thing as one picture has it where another has it, on pictures of other samples.

    The language model soon asks for a small one where only a large one was seen: the UNet learns to paint it. Nothing
    where fewer than two masks are known, or the others have no pictures.
    """
    rng = Random(f"exchanged/{seed}")
    masked = [own for own in pictures if own.mask is not None]
    pages = [picture.pixels for sample in others for picture in sample.pictures() if picture.role == "assistant"]
    for _ in range(count if len(masked) > 1 and pages else 0):
        own, place = rng.choice(masked), rng.choice(masked)
        by = tuple(
            int(np.clip(round(there.mean() * side / other - here.mean()), -here[0], side - 1 - here[-1]))
            for here, there, side, other in zip(
                _extent(own.mask), _extent(place.mask), own.mask.shape, place.mask.shape, strict=True
            )
        )
        moved = OwnPicture(np.roll(own.pixels, by, (0, 1)), "", np.roll(own.mask, by, (0, 1)))
        page = min(rng.sample(pages, min(3, len(pages))), key=lambda one: _unrest(moved, one))
        yield Sample("picture", (_drawn(pasted(moved, page, moved.mask.shape), moved.mask),))


def _extent(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and the columns in which a mask is."""
    return np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))


def _drawn(pixels: np.ndarray, mask: np.ndarray | None) -> Picture:
    """A picture that is learned, with the thing as its only instance where that is known."""
    return Picture(pixels, "assistant", True, None if mask is None else mask.astype(np.uint8))


def pasted(own: OwnPicture, page: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The thing, where it is in its own picture, on another picture, which is brought to that size `[H, W]`."""
    return np.where(own.mask[..., None], own.pixels, _sized(page, shape))


def _sized(page: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if page.shape[:2] == tuple(shape):
        return page
    return np.asarray(Image.fromarray(page).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _unrest(own: OwnPicture, page: np.ndarray) -> float:
    """How much there is on a page where the thing would be: it should not stand on something else."""
    return float(_sized(page, own.mask.shape)[own.mask].astype(np.float32).std(axis=0).mean())


def _fitting(said: Sequence[tuple[str, OwnPicture]], described: Text, drawn: Part) -> tuple[str, OwnPicture]:
    """What goes best with another picture: what would stand on nothing there or, without a mask, is said of another
    place, as words in which less is alike mostly are."""
    if isinstance(drawn, Picture) and all(own.mask is not None for _, own in said):
        return min(said, key=lambda one: _unrest(one[1], drawn.pixels))
    return min(said, key=lambda one: _alike(one[0], described.text))


def _phrase(caption: str, name: str) -> str:
    """What a caption of several things says of this one; empty where it says nothing else."""
    parts = _parts(caption, name)
    return next((part for part in parts if is_said(name, part)), "") if len(parts) > 1 else ""


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


def _parts(caption: str, name: str) -> list[str]:
    """What a caption says between commas, semicolons and full stops, but for those in the name ("St. Bernard")."""
    names = [match.span() for match in re.finditer(re.escape(name), caption, re.IGNORECASE)]
    parts, begin = [], 0
    for mark in re.finditer(r"[,;.](?=\s|$)|$", caption):
        if not any(start <= mark.start() < end for start, end in names):
            parts.append(caption[begin : mark.start()].strip(" ."))
            begin = mark.end()
    return [part for part in parts if part]


def _wish(caption: str, name: str, rng: Random) -> str:
    """What somebody may write who wants this picture: the thing alone, or some of what the caption says with it."""
    parts = _parts(caption, name)
    named = [part for part in parts if is_said(name, part)]
    others = [part for part in parts if part not in named]
    words = rng.choice(WISHES).format(thing=name, a=_article(name))
    if rng.random() < 0.25 and named:
        words = named[0]
    said = [part for part in others if rng.random() < 0.4]
    return ", ".join([words, *said] if rng.random() < 0.5 else [*said, words])
