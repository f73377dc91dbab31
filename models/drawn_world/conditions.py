"""Pictures that tell a part of a scene: edges, areas, depth, a scribble."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np

from ..media import conditions as media
from ..media.conditions import CONDITIONS
from .catalogue import GROUNDS, PICTURE_SIZE
from .drawing import instance_map, render
from .kinds import KINDS
from .values import Scene

_HORIZON = 0.62


@cache
def segmentation_colours() -> dict[str, tuple[int, int, int]]:
    """A colour for each kind, each ground and the sky, well apart from each other."""
    return media.distinct_colours([*KINDS, *GROUNDS, "sky"])


def edges(scene: Scene) -> np.ndarray:
    """White lines on black where the picture changes from one colour to another."""
    return media.edges(render(scene))


def segmentation(scene: Scene) -> np.ndarray:
    """One flat colour for each kind, the ground and the sky."""
    colours = segmentation_colours()
    things = [colours[thing.kind] for thing in scene.things]
    horizon = round(PICTURE_SIZE * _HORIZON)
    return media.areas(instance_map(scene), things, colours["sky"], colours[scene.ground], horizon)


def depth(scene: Scene) -> np.ndarray:
    """Near is bright: the sky black, the ground brighter towards the viewer, each thing flat."""
    nearness = [min(thing.depth, PICTURE_SIZE) / PICTURE_SIZE for thing in scene.things]
    return media.depth_map(instance_map(scene), nearness, _HORIZON)


def scribble(scene: Scene) -> np.ndarray:
    """Thick wobbly outlines of the things and the horizon, white on black, the same for the same scene."""
    rng = Random(repr(scene.to_json()))
    return media.scribbled(instance_map(scene), len(scene.things), PICTURE_SIZE * _HORIZON, rng)


_CONDITIONS: dict[str, Callable[[Scene], np.ndarray]] = {
    "edges": edges, "segmentation": segmentation, "depth": depth, "scribble": scribble,
}  # fmt: skip


def condition(scene: Scene, name: str) -> np.ndarray:
    """uint8 [128, 128, 3]. Raises ValueError for an unknown condition."""
    if name not in _CONDITIONS:
        raise ValueError(f"Unknown condition {name!r}. Expected one of: {', '.join(CONDITIONS)}.")
    return _CONDITIONS[name](scene)
