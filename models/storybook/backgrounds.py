"""The page behind the things: one fixed picture for each ground and sky, with nothing in it that words do not name.

Most are those of the drawn world.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from ..drawn_world import backgrounds, grounds
from ..drawn_world.backgrounds import Page
from .catalogue import STYLES

HORIZON = backgrounds.SKY_FADE  # of the picture's height


def _desert(page: Page):
    grounds.PAINTERS["desert"](page)
    for x, y in ((0.30, 0.64), (0.92, 0.62)):  # two cacti: a stem, and an arm on either side
        page.box(x - 0.010, y - 0.085, x + 0.010, y, (104, 140, 84))
        for side, elbow in ((-1, y - 0.022), (1, y - 0.037)):
            page.box(x, elbow - 0.014, x + side * 0.032, elbow, (104, 140, 84))
            page.box(x + side * 0.018, elbow - 0.042, x + side * 0.032, elbow, (104, 140, 84))


def _road(page: Page):
    page.hill(0.59, 0.012, 2.2, 0.7, (150, 178, 138))
    page.hill(0.655, 0.0, 1.0, 0.0, (196, 190, 180))
    page.hill(0.69, 0.0, 1.0, 0.0, (112, 114, 126))
    page.hill(0.955, 0.0, 1.0, 0.0, (196, 190, 180))
    for x in (0.02, 0.22, 0.42, 0.62, 0.82):
        page.shape([(x + 0.012, 0.815), (x + 0.132, 0.815), (x + 0.12, 0.838), (x, 0.838)], (250, 236, 180))


_PAINTERS: dict[str, Callable[[Page], None]] = {**grounds.PAINTERS, "desert": _desert, "road": _road}


@cache  # 240 pictures
def background(ground: str, sky: str, style: str = STYLES[0]) -> np.ndarray:
    """The empty page: uint8 [128, 128, 3], read-only, the same for the same ground, sky and style."""
    return backgrounds.painted(_PAINTERS[ground], sky, style)
