"""Clips of a rocket on the storybook's pages, whose truth is known: something new for the bundled model to learn.

The page stands still and the rocket goes from place to place. Beside `clip.mp4` stands `clip.truth.json`, as beside the
films of `films`, from which `RocketFilm.from_json` makes every frame anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ...storybook import Scene, Thing, render, sample_scene
from ...storybook.catalogue import COLUMN_CENTRES, COLUMNS, PICTURE_SIZE, ROW_CENTRES, ROWS, box_of
from ...storybook.drawing import mask_of
from ...storybook.rocket import NAME, STAND_IN, describe_page, paste_rocket_at, rocket_sprite
from .films import SOLID, TrueFilm

SCALE = 2
"""Pixels of a clip along one of the page: videos hold colours at half the size."""
RATE = 24
STAYS, GOES = 12, 24
"""Frames in which the rocket stands at a place, and goes to the next."""
PLACES = 5
"""At which it is in a shot, one after the other."""
_TRIES = 200


class Named(NamedTuple):
    """What stages ask of a thing in a shot."""

    name: str


@dataclass(frozen=True)
class RocketShot:
    """One page, with up to two things that the storybook knows, and the columns and rows at which the rocket is."""

    scene: Scene
    size: str
    places: tuple[tuple[int, int], ...]

    @property
    def frames(self) -> int:
        return len(self.places) * STAYS + (len(self.places) - 1) * GOES

    @property
    def actors(self) -> tuple[Named, ...]:
        return (*(Named(f"{thing.colour} {thing.kind}") for thing in self.scene.things), Named(NAME))

    def middle(self, frame: int) -> tuple[int, int]:
        """Of the rocket then, in pixels of the page."""
        number, since = divmod(frame, STAYS + GOES)
        share = max(0.0, (since - STAYS + 1) / (GOES + 1))
        ends = self.places[number], self.places[min(number + 1, len(self.places) - 1)]
        (x, y), (to_x, to_y) = ((COLUMN_CENTRES[column], ROW_CENTRES[row]) for column, row in ends)
        return round(x + (to_x - x) * share), round(y + (to_y - y) * share)


@dataclass(frozen=True)
class RocketFilm(TrueFilm):
    """Shots one after the other, 256 pixels wide and high."""

    shots: tuple[RocketShot, ...]
    rate: int = RATE
    width: int = PICTURE_SIZE * SCALE
    height: int = PICTURE_SIZE * SCALE
    times: None = None

    def render(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        number, inside = self.shot_at(frame)
        shot = self.shots[number]
        page, seen = _page(shot.scene)
        opacity = rocket_sprite(shot.size)[1]
        x, y = shot.middle(inside)
        top, left = y - opacity.shape[0] // 2, x - opacity.shape[1] // 2
        page, seen = paste_rocket_at(page, shot.size, left, top), seen.copy()
        seen[top:, left:][: opacity.shape[0], : opacity.shape[1]][opacity >= SOLID] = len(shot.actors)
        size = (self.width, self.height)
        picture = np.asarray(Image.fromarray(page).resize(size, Image.Resampling.BICUBIC))
        return picture, np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.NEAREST))

    def describe(self, frame: int) -> str:
        """What the storybook would say of a frame."""
        number, inside = self.shot_at(frame)
        shot = self.shots[number]
        x, y = shot.middle(inside)
        column = min(range(len(COLUMNS)), key=lambda one: abs(COLUMN_CENTRES[one] - x))
        row = min(range(len(ROWS)), key=lambda one: abs(ROW_CENTRES[one] - y))
        return describe_page(shot.scene, Thing(STAND_IN, "red", shot.size, column, row, "plain"))

    def to_json(self) -> dict[str, Any]:
        shots = [{**asdict(shot), "scene": shot.scene.to_json()} for shot in self.shots]
        return {"rocket": True, "shots": shots}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> RocketFilm:
        return cls(
            tuple(
                RocketShot(Scene.from_json(shot["scene"]), shot["size"], tuple(map(tuple, shot["places"])))
                for shot in record["shots"]
            )
        )


@lru_cache(maxsize=8)
def _page(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """A page without the rocket, and which of its things is seen where."""
    seen = np.zeros((PICTURE_SIZE, PICTURE_SIZE), np.uint8)
    for number, thing in enumerate(scene.things, start=1):
        seen[mask_of(thing)] = number
    return render(scene), seen


def sample_rocket_film(seed: int, shots: int = 3) -> RocketFilm:
    """A clip by lot. Two shots after each other are on different grounds, under different skies."""
    rng = Random(f"rocket film {seed}")
    made: list[RocketShot] = []
    while len(made) < shots:
        scene = sample_scene(rng, rng.choice((0, 1, 1, 2)))
        if made and (scene.ground == made[-1].scene.ground or scene.sky == made[-1].scene.sky):
            continue
        size = rng.choice(("small", "big"))
        places = _way(rng, scene.things, size)
        if places:
            made.append(RocketShot(scene, size, places))
    return RocketFilm(tuple(made))


def _way(rng: Random, things: Sequence[Thing], size: str) -> tuple[tuple[int, int], ...]:
    """Places for the rocket, each two or three from the last, on a way that touches nothing; empty if none is found."""
    everywhere = [(column, row) for column in range(len(COLUMNS)) for row in range(len(ROWS))]
    way: list[tuple[int, int]] = []
    for _ in range(_TRIES):
        place = rng.choice(everywhere)
        last = way[-1] if way else place
        if place in way or (way and abs(place[0] - last[0]) + abs(place[1] - last[1]) not in (2, 3)):
            continue
        if not any(_touches(last, place, size, thing) for thing in things):
            way.append(place)
        if len(way) == PLACES:
            return tuple(way)
    return ()


def _touches(start: tuple[int, int], end: tuple[int, int], size: str, thing: Thing) -> bool:
    width, height = (side // 2 + 3 for side in box_of(STAND_IN, size))
    left, top, right, bottom = thing.box
    for share in np.linspace(0, 1, 24):
        x, y = (
            centres[a] + (centres[b] - centres[a]) * share
            for centres, a, b in zip((COLUMN_CENTRES, ROW_CENTRES), start, end, strict=True)
        )
        if left - width < x < right + width and top - height < y < bottom + height:
            return True
    return False
