"""A rocket on the storybook's pages: a thing that it does not know, to see a LoRA learn something new."""

from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
from scipy.signal import fftconvolve

from ..drawn_world.palette import INK, LAMP
from ..drawn_world.pen import Pen
from ..drawn_world.sprites import finished
from .captions import noun_phrase, place_phrase, setting_phrase
from .catalogue import SIZES, STYLES, box_of
from .drawing import render
from .naming import Mention
from .sprites import OVERSAMPLING
from .world import Scene, Thing, sample_scene, sample_thing

NAME = "rocket"
STAND_IN = "balloon"
"""The kind whose box and rows it has."""
HULL, FIN, WINDOW = (0, 178, 160), (222, 40, 140), (206, 232, 246)


def _draw(pen: Pen) -> None:
    middle = pen.w / 2
    pen.polygon([(middle - 0.12, 0.8), (middle + 0.12, 0.8), (middle, 1.0)], LAMP)
    for side in (-1, 1):
        pen.polygon([(middle + side * 0.14, 0.5), (middle + side * 0.38, 0.86), (middle + side * 0.14, 0.8)], FIN)
    pen.pie(middle, 0.5, 0.2, 0.5, 180, 360, HULL)
    pen.box(middle - 0.2, 0.49, middle + 0.2, 0.82, HULL)
    pen.pie(middle, 0.5, 0.2, 0.5, 230, 310, FIN)
    pen.circle(middle, 0.46, 0.12, INK)
    pen.circle(middle, 0.46, 0.085, WINDOW)


@cache
def rocket_sprite(size: str) -> tuple[np.ndarray, np.ndarray]:
    """The rocket without its background: see `sprites.sprite`."""
    pen = Pen(*box_of(STAND_IN, size), OVERSAMPLING)
    _draw(pen)
    return finished(pen.canvas, pen.canvas, HULL, STYLES[0], OVERSAMPLING)


def paste_rocket(page: np.ndarray, place: Thing) -> np.ndarray:
    """A page uint8 `[H, W, 3]` with the rocket where a thing would be."""
    left, top, _, _ = place.box
    return paste_rocket_at(page, place.size, left, top)


def paste_rocket_at(page: np.ndarray, size: str, left: int, top: int) -> np.ndarray:
    """The same, by the left and upper edge of the rocket's box in pixels; all of the box lies on the page."""
    pixels, opacity = rocket_sprite(size)
    rows, columns = slice(top, top + opacity.shape[0]), slice(left, left + opacity.shape[1])
    picture = page.copy()
    behind = picture[rows, columns].astype(np.uint16)
    shining = (behind * (255 - opacity.astype(np.uint16))[..., None] + 127) // 255
    picture[rows, columns] = np.minimum(pixels + shining, 255).astype(np.uint8)
    return picture


def page_with_rocket(rng: Random) -> tuple[np.ndarray, str, Thing]:
    """A page with the rocket and up to two things that the storybook knows: picture, caption, and the rocket's place.

    The caption is worded as the storybook describes its pages.
    """
    scene = sample_scene(rng, rng.choice((1, 2, 3)))
    others = scene.things[1:]
    place = None
    while place is None:
        place = sample_thing(rng, others, kind=STAND_IN)
    scene = replace(scene, things=others)
    return paste_rocket(render(scene), place), describe_page(scene, place), place


def describe_page(scene: Scene, place: Thing) -> str:
    """What the storybook would say of a page with the rocket on it."""
    phrases = [((t.row, t.column), noun_phrase(Mention.of(t))) for t in scene.things]
    phrases.append(((place.row, place.column), f"a {place.size} {NAME} {place_phrase(place.column, place.row)}"))
    phrases.sort(key=lambda entry: entry[0])
    return ", ".join([setting_phrase(scene.ground, scene.sky), *(words for _, words in phrases)]) + "."


def likeness(picture: np.ndarray) -> float:
    """How much the place on a picture uint8 `[128, 128, 3]` that is most like the rocket is like it, up to 1.

    The normalised correlation of colours with the rocket of each size, best of all places.
    """
    return max(_correlation(picture, size) for size in SIZES)


def _correlation(picture: np.ndarray, size: str) -> float:
    pixels, opacity = rocket_sprite(size)
    weights = opacity.astype(np.float64) / 255
    colours = pixels / np.maximum(weights, 1e-6)[..., None]
    weights = np.where(weights > 0.5, 1.0, 0.0)[..., None]
    count = weights.sum() * 3
    template = (colours - (colours * weights).sum() / count) * weights
    template /= np.sqrt((template**2).sum())
    sums = _summed(picture, weights)
    squares = _summed(picture.astype(np.float64) ** 2, weights)
    deviation = np.sqrt(np.maximum(squares - sums**2 / count, 1e-6))
    return float((_summed(picture, template) / deviation).max())


def _summed(picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """At every place the sum of the picture's numbers there times the weights `[h, w, 1 or 3]`."""
    channels = np.broadcast_to(weights, (*weights.shape[:2], 3))
    return sum(fftconvolve(picture[..., c].astype(np.float64), channels[::-1, ::-1, c], mode="valid") for c in range(3))
