"""Pictures that tell a part of a page: edges, areas, depth, a scribble."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np

from ..media import conditions as media
from ..media.conditions import CONDITIONS
from .backgrounds import HORIZON
from .catalogue import GROUNDS, KINDS, PICTURE_SIZE
from .drawing import render, render_with_masks
from .world import Scene


@cache
def segmentation_colours() -> dict[str, tuple[int, int, int]]:
    """A colour for each kind, each ground and the sky, well apart from each other."""
    return media.distinct_colours([*KINDS, *GROUNDS, "sky"])


def _instances(scene: Scene) -> np.ndarray:
    """int [128, 128]: the number of the thing at each pixel, -1 for none."""
    seen = np.full((PICTURE_SIZE, PICTURE_SIZE), -1)
    for number, mask in enumerate(render_with_masks(scene)[1]):
        seen[mask] = number
    return seen


def _edges(scene: Scene) -> np.ndarray:
    return media.edges(render(scene))


def _segmentation(scene: Scene) -> np.ndarray:
    colours = segmentation_colours()
    things = [colours[thing.kind] for thing in scene.things]
    return media.areas(_instances(scene), things, colours["sky"], colours[scene.ground], round(PICTURE_SIZE * HORIZON))


def _depth(scene: Scene) -> np.ndarray:
    """What stands lower on a page is nearer."""
    return media.depth_map(_instances(scene), [thing.box[3] / PICTURE_SIZE for thing in scene.things], HORIZON)


def _scribble(scene: Scene) -> np.ndarray:
    rng = Random(repr(scene.to_json()))
    return media.scribbled(_instances(scene), len(scene.things), PICTURE_SIZE * HORIZON, rng)


_CONDITIONS: dict[str, Callable[[Scene], np.ndarray]] = {
    "edges": _edges, "segmentation": _segmentation, "depth": _depth, "scribble": _scribble,
}  # fmt: skip


def condition(scene: Scene, name: str) -> np.ndarray:
    """What a page tells in this way, uint8 [128, 128, 3]. Raises ValueError for an unknown condition."""
    if name not in _CONDITIONS:
        raise ValueError(f"Unknown condition {name!r}. Expected one of: {', '.join(CONDITIONS)}.")
    return _CONDITIONS[name](scene)
