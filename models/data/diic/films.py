"""Films of the drawn world as video files, whose truth is known: to try the pipeline, to measure it, and to learn it.

A film is cut from shots. In a shot the camera moves over a wide picture in which things stand, and some of them go
somewhere, before or behind the others. Beside `film.mp4` stands `film.truth.json`, from which `load_film` makes every
frame anew, with exact masks.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from ...drawn_world.backgrounds import background
from ...drawn_world.catalogue import GROUNDS
from ...drawn_world.kinds import KINDS
from ...drawn_world.palette import COLOURS
from ...drawn_world.sprites import sprite
from ...paths import put_in_place, replace_file
from .stage import StageError
from .video import pyav

SOLID = 128  # opacity from which on a pixel belongs to a thing
SCALE = 2  # pixels of a film along one of the drawn world
TILE = 128 * SCALE
TRUTH_SUFFIX = ".truth.json"
GENTLE_SKIES = ("day", "dusk", "fog", "rainbow")
STYLES = ("sticker", "wash")
_PALE = ("white", "grey", "black")


@dataclass(frozen=True)
class Actor:
    """One thing of a shot: how it looks, how near it is, and the way of its middle in the wide picture, in pixels.

    It stands at `start` until frame `leaves`, goes evenly, and stands at `end` from frame `arrives` on.
    """

    name: str
    kind: str
    colour: str
    size: str
    pose: str
    depth: int
    start: tuple[int, int]
    end: tuple[int, int]
    leaves: int = 0
    arrives: int = 1

    def place(self, frame: int) -> tuple[int, int]:
        """The middle in the wide picture then."""
        share = min(1.0, max(0.0, (frame - self.leaves) / (self.arrives - self.leaves)))
        return tuple(round(a + (b - a) * share) for a, b in zip(self.start, self.end, strict=True))


@dataclass(frozen=True)
class Shot:
    """What one camera sees without a cut: `camera` is the upper left corner of the view at the first and last frame."""

    frames: int
    ground: str
    sky: str
    style: str
    tiles: int
    camera: tuple[tuple[int, int], tuple[int, int]]
    actors: tuple[Actor, ...]

    def view(self, frame: int) -> tuple[int, int]:
        """Left and top of what is seen then; the camera begins and ends gently."""
        share = frame / max(1, self.frames - 1)
        share = share * share * (3 - 2 * share)
        return tuple(round(a + (b - a) * share) for a, b in zip(*self.camera, strict=True))


class TrueFilm(ABC):
    """A film whose truth is known, cut from shots that have `frames`: `Film`, or `rocket_films.RocketFilm`.

    `rate` is frames a second, `width` and `height` pixels. `times` are the seconds at which frames are shown, where
    they are not even.
    """

    shots: tuple[Any, ...]
    rate: int
    width: int
    height: int
    times: tuple[float, ...] | None

    def __len__(self) -> int:
        return sum(shot.frames for shot in self.shots)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(shot.frames for shot in self.shots))

    @property
    def cuts(self) -> tuple[int, ...]:
        """Numbers of the frames that begin a new shot, but for the first."""
        return tuple(self._ends[:-1])

    def shot_at(self, frame: int) -> tuple[int, int]:
        """Number of the shot that a frame is in, and the frame's number in it."""
        shot = bisect_right(self._ends, frame)
        return shot, frame - (self._ends[shot - 1] if shot else 0)

    def frame_at(self, seconds: float) -> int:
        """Number of the frame that is shown nearest to a time."""
        if self.times is None:
            return min(len(self) - 1, max(0, round(seconds * self.rate)))
        return int(np.abs(np.array(self.times) - seconds).argmin())

    @abstractmethod
    def render(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture, uint8 `[H, W, 3]`, and which actor is seen where, uint8 `[H, W]`: its number + 1, or 0."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Film(TrueFilm):
    """Shots of the drawn world, one after the other."""

    shots: tuple[Shot, ...]
    rate: int = 24
    width: int = 320
    height: int = 224
    times: tuple[float, ...] | None = None

    def render(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        number, inside = self.shot_at(frame)
        shot = self.shots[number]
        left, top = shot.view(inside)
        wide = _wide(shot.ground, shot.sky, shot.style, shot.tiles)
        picture = wide[top : top + self.height, left : left + self.width].copy()
        seen = np.zeros(picture.shape[:2], np.uint8)
        for index in sorted(range(len(shot.actors)), key=lambda one: shot.actors[one].depth):
            actor = shot.actors[index]
            pixels, opacity = _large(actor.kind, actor.colour, actor.size, actor.pose, shot.style)
            x, y = actor.place(inside)
            _lay(picture, seen, pixels, opacity, x - left, y - top, index + 1)
        return picture, seen

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Film:
        shots = []
        for shot in record["shots"]:
            actors = tuple(
                Actor(**(one | {"start": tuple(one["start"]), "end": tuple(one["end"])})) for one in shot["actors"]
            )
            shots.append(Shot(**(shot | {"actors": actors, "camera": tuple(map(tuple, shot["camera"]))})))
        times = record["times"] and tuple(record["times"])
        return cls(**(record | {"shots": tuple(shots), "times": times}))


def load_film(video: str | Path) -> Any:
    """The truth of a video that `write_film` wrote: a `TrueFilm`. Raises StageError where there is none beside it."""
    from .rocket_films import RocketFilm

    path = Path(video)
    path = truth_file(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return (RocketFilm if "rocket" in record else Film).from_json(record)
    except FileNotFoundError:
        raise StageError(
            f"There is no {path.name} beside {video}: only films of `wegen data films` and `wegen demo clips` have it."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StageError(f"{path} is damaged ({error!r}). Write the film again.") from error


@lru_cache(maxsize=8)
def _wide(ground: str, sky: str, style: str, tiles: int) -> np.ndarray:
    """A page and its mirror image by turns, so that no border is seen."""
    page = Image.fromarray(background(ground, sky, style)).resize((TILE, TILE), Image.Resampling.BICUBIC)
    tile = np.asarray(page)
    return np.concatenate([tile if number % 2 == 0 else tile[:, ::-1] for number in range(tiles)], axis=1)


@lru_cache(maxsize=512)
def _large(kind: str, colour: str, size: str, pose: str, style: str) -> tuple[np.ndarray, np.ndarray]:
    pixels, opacity = sprite(kind, colour, size, pose, style)
    both = Image.fromarray(np.dstack([pixels, opacity]), "RGBa")
    both = both.resize((both.width * SCALE, both.height * SCALE), Image.Resampling.BICUBIC)
    both = np.asarray(both)
    return both[..., :3], both[..., 3]


def _lay(picture, seen, pixels, opacity, x: int, y: int, number: int) -> None:
    height, width = opacity.shape
    left, top = x - width // 2, y - height // 2
    rows = slice(max(0, top), max(0, min(picture.shape[0], top + height)))
    columns = slice(max(0, left), max(0, min(picture.shape[1], left + width)))
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    cover = opacity[inner].astype(np.uint16)
    behind = picture[rows, columns].astype(np.uint16)
    picture[rows, columns] = np.minimum(pixels[inner] + (behind * (255 - cover[..., None]) + 127) // 255, 255)
    seen[rows, columns][cover >= SOLID] = number


def sample_film(
    seed: int, shots: int = 3, things: int = 5, seconds: float = 4.0, rate: int = 24, size: tuple[int, int] = (320, 224)
) -> Film:
    """A film by lot: `things` in each shot, up to 20, of which one to three go somewhere; the camera moves in most.

    Two shots after each other are on different grounds. Raises StageError for numbers out of their limits.
    """
    if not 1 <= things <= 20:
        raise StageError(f"A shot has 1 to 20 things, got {things}.")
    if not 0.5 <= seconds <= 60:
        raise StageError(f"A shot is 0.5 to 60 seconds long, got {seconds:g}.")
    rng = Random(f"rendered film {seed}")
    made: list[Shot] = []
    for _ in range(shots):
        grounds = [ground for ground in GROUNDS if not made or ground != made[-1].ground]
        frames = round(rate * seconds * rng.uniform(0.8, 1.25))
        made.append(_shot(rng, rng.choice(grounds), frames, things, size))
    return Film(tuple(made), rate, *size)


def _shot(rng: Random, ground: str, frames: int, things: int, size: tuple[int, int]) -> Shot:
    tiles = max(3, -(-(size[0] + 32 * things) // TILE))
    room = tiles * TILE - size[0], TILE - size[1]
    travel = rng.choice((0, 0.2, 0.35, 0.5)) * size[0] * rng.choice((-1, 1))
    left = round(rng.uniform(max(0, -travel), min(room[0], room[0] - travel)))
    down = rng.randint(0, room[1]), rng.randint(0, room[1])
    camera = ((left, down[0]), (round(left + travel), down[1]))
    looks = _looks(rng, things)
    moving = set(rng.sample(range(things), min(things, rng.randint(1, 3))))
    middle = round(left + travel / 2)
    span = (min(left, left + travel) + 30, max(left, left + travel) + size[0] - 30)
    actors = []
    for number, (kind, colour) in enumerate(looks):
        about = KINDS[kind]
        band = (50, 110) if about.home in ("sky", "air") else (120, 215)
        x = rng.randint(middle + 30, middle + size[0] - 30) if number in moving else round(rng.uniform(*span))
        start = (x, rng.randint(*band))
        end, leaves, arrives = start, 0, 1
        if number in moving:
            far = rng.choice((-1, 1)) * rng.uniform(0.3, 0.6) * size[0]
            far = -far if not span[0] <= x + far <= span[1] else far
            end = (round(x + far), min(band[1], max(band[0], start[1] + rng.randint(-30, 30))))
            leaves = rng.randint(0, frames // 3)
            arrives = rng.randint(2 * frames // 3, frames - 1)
        pose = rng.choice(about.poses)
        size_word = rng.choice(("small", "medium", "medium"))
        actors.append(Actor(f"{colour} {kind}", kind, colour, size_word, pose, number, start, end, leaves, arrives))
    return Shot(frames, ground, rng.choice(GENTLE_SKIES), rng.choice(STYLES), tiles, camera, tuple(actors))


def _looks(rng: Random, things: int) -> list[tuple[str, str]]:
    """Kinds and colours, no kind twice, in colours that are told apart."""
    kinds = rng.sample(sorted(KINDS), things)
    looks = []
    for kind in kinds:
        colours = [colour for colour in KINDS[kind].colours if colour not in _PALE and colour in COLOURS]
        looks.append((kind, rng.choice(colours or list(KINDS[kind].colours))))
    return looks


def truth_file(film: Path) -> Path:
    """Where the truth about a film stands."""
    return film.with_name(film.stem + TRUTH_SUFFIX)


def truth_bytes(film: TrueFilm) -> bytes:
    """What that file holds."""
    return json.dumps(film.to_json()).encode()


def write_film(
    film: TrueFilm,
    path: str | Path,
    turned: int = 0,
    frames: int | None = None,
) -> Path:
    """Write a film as H.264, and its truth beside it.

    Where that fails or is stopped, no new file is there.

    Args:
        turned: degrees clockwise by which players must turn the stored frames: 0, 90, 180 or 270, as phones do.
        frames: write the first of them only.
    """
    path = Path(path).resolve()
    truth, is_new = truth_file(path), not truth_file(path).exists()
    count = len(film) if frames is None else min(frames, len(film))
    base = Fraction(1, 12800)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        _encode(film, partial, turned, count, base)
        replace_file(truth, truth_bytes(film))
        put_in_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        if is_new:
            truth.unlink(missing_ok=True)
        raise
    return path


def _encode(film: TrueFilm, path: Path, turned: int, count: int, base: Fraction) -> None:
    av = pyav()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=film.rate, options={"crf": "16", "preset": "veryfast"})
        sideways = turned % 180 != 0
        stream.width, stream.height = (film.height, film.width) if sideways else (film.width, film.height)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        if turned:
            stream.set_display_rotation(-turned)
        for number in range(count):
            picture = np.rot90(film.render(number)[0], turned // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            seconds = number / film.rate if film.times is None else film.times[number]
            frame.pts, frame.time_base = round(seconds / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
