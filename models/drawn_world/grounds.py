"""How each ground is drawn. The horizon lies at about 0.6 of the picture's height."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .palette import mix

if TYPE_CHECKING:
    from .backgrounds import Page

_GRASS = (
    (0.06, 0.78), (0.30, 0.74), (0.55, 0.79), (0.78, 0.75), (0.95, 0.80), (0.17, 0.93), (0.43, 0.95), (0.68, 0.92),
    (0.89, 0.95),
)  # fmt: skip


def _tufts(page: Page, colour):
    for x, y in _GRASS:
        for lean in (-0.012, 0.0, 0.012):
            page.shape([(x - 0.006, y), (x + 0.006, y), (x + lean, y - 0.025)], colour)


def _meadow(page: Page):
    page.hill(0.59, 0.035, 1.3, 0.4, (160, 204, 120))
    page.hill(0.66, 0.03, 1.0, 2.6, (128, 188, 96))
    page.hill(0.82, 0.02, 1.4, 0.9, (108, 172, 84))
    _tufts(page, (84, 148, 70))


def _forest(page: Page):
    page.hill(0.56, 0.015, 1.2, 1.0, (62, 112, 78))
    for row, (foot, size, colour) in enumerate(((0.62, 0.20, (54, 100, 76)), (0.67, 0.15, (44, 88, 62)))):
        for number in range(12):
            x = (number + 0.5 * row) / 11
            height = size * (0.8 + 0.2 * ((number * 7) % 5) / 4)
            for lift in (0.0, 0.35):
                top = foot - height * (0.62 + lift)
                half = 0.050 * (1 - lift)
                low = foot - height * lift
                page.shape([(x, top - 0.02), (x + half, low), (x - half, low)], colour)
    page.hill(0.665, 0.010, 2.0, 0.5, (104, 116, 62))
    page.hill(0.80, 0.015, 1.3, 2.0, (90, 98, 54))
    for x, y in _GRASS:
        page.oval(x, y, 0.016, 0.008, (150, 116, 66))


def _field(page: Page):
    page.hill(0.585, 0.015, 0.8, 0.4, (150, 182, 104))
    page.hill(0.62, 0.0, 1.0, 0.0, (232, 198, 96))
    for number in range(-9, 10):
        near, far = 0.5 + number * 0.16, 0.5 + number * 0.055
        page.shape([(far - 0.005, 0.62), (far + 0.005, 0.62), (near + 0.028, 1.0), (near - 0.028, 1.0)], (200, 158, 66))


def _beach(page: Page):
    page.hill(0.60, 0.0, 1.0, 0.0, (74, 160, 204))
    page.hill(0.66, 0.0, 1.0, 0.0, (96, 184, 214))
    page.hill(0.735, 0.012, 1.5, 0.3, (240, 250, 250))
    page.hill(0.755, 0.012, 1.5, 0.3, (238, 214, 160))
    page.hill(0.90, 0.014, 1.1, 2.0, (228, 200, 142))


def _sea(page: Page):
    for number, y in enumerate((0.60, 0.69, 0.78, 0.87, 0.955)):
        depth = number / 4
        page.hill(y, 0.008, 5.0, number * 1.7, mix((84, 168, 214), (26, 84, 152), depth))
        page.wave(y, 0.008, 5.0, number * 1.7, mix((184, 226, 244), (90, 152, 206), depth), 0.008)


def _lake(page: Page):
    page.hill(0.57, 0.03, 1.0, 3.4, (128, 176, 112))
    page.hill(0.64, 0.012, 1.2, 0.6, (148, 196, 108))
    page.oval(0.5, 0.82, 0.56, 0.145, (206, 222, 160))
    page.oval(0.5, 0.82, 0.54, 0.130, (92, 172, 210))
    page.oval(0.5, 0.835, 0.46, 0.092, (112, 188, 220))
    for x, y, half in ((0.30, 0.80, 0.07), (0.62, 0.84, 0.09), (0.42, 0.88, 0.06)):
        page.box(x - half, y - 0.004, x + half, y + 0.004, (196, 230, 240))


def _snow(page: Page):
    page.hill(0.58, 0.045, 1.2, 1.9, (206, 222, 238))
    page.hill(0.67, 0.03, 0.9, 0.2, (226, 236, 246))
    page.hill(0.83, 0.022, 1.3, 2.4, (244, 248, 252))


def _desert(page: Page):
    page.hill(0.58, 0.05, 0.8, 3.6, (226, 160, 100))
    page.hill(0.68, 0.04, 1.0, 0.6, (236, 176, 104))
    page.hill(0.84, 0.025, 0.9, 3.0, (222, 152, 84))


def _mountains(page: Page):
    for x, top, half, colour in ((0.20, 0.30, 0.34, (134, 142, 164)), (0.84, 0.34, 0.32, (142, 150, 170)),
                                 (0.52, 0.24, 0.36, (116, 124, 150))):  # fmt: skip
        slope = half / (0.70 - top)
        page.shape([(x, top), (x + half, 0.70), (x - half, 0.70)], colour)
        cap = top + 0.11
        page.shape([(x, top), (x + slope * 0.11, cap), (x + slope * 0.045, cap - 0.025), (x, cap + 0.02),
                    (x - slope * 0.045, cap - 0.025), (x - slope * 0.11, cap)], (238, 242, 248))  # fmt: skip
    page.hill(0.655, 0.016, 1.6, 1.2, (140, 160, 110))
    page.hill(0.80, 0.018, 1.2, 0.2, (122, 144, 96))
    for x, y in _GRASS:
        page.oval(x, y, 0.020, 0.011, (160, 160, 164))


def _city(page: Page):
    towers = ((0.00, 0.38, 0.11), (0.12, 0.46, 0.10), (0.23, 0.33, 0.09), (0.33, 0.43, 0.12), (0.46, 0.36, 0.09),
              (0.56, 0.47, 0.11), (0.68, 0.31, 0.10), (0.79, 0.41, 0.09), (0.89, 0.35, 0.11))  # fmt: skip
    for number, (left, top, width) in enumerate(towers):
        page.box(left, top, left + width, 0.66, ((150, 160, 182), (168, 170, 186), (140, 150, 174))[number % 3])
        for x in (left + 0.02, left + width - 0.04):
            for step in range(3):
                page.box(x, top + 0.03 + step * 0.06, x + 0.02, top + 0.06 + step * 0.06, (250, 232, 160))
    page.hill(0.645, 0.0, 1.0, 0.0, (198, 192, 184))
    page.hill(0.69, 0.0, 1.0, 0.0, (112, 114, 126))
    page.hill(0.955, 0.0, 1.0, 0.0, (198, 192, 184))
    for x in (0.02, 0.22, 0.42, 0.62, 0.82):
        page.shape([(x + 0.012, 0.815), (x + 0.132, 0.815), (x + 0.12, 0.838), (x, 0.838)], (250, 236, 180))


PAINTERS: dict[str, Callable[[Page], None]] = {
    "meadow": _meadow, "forest": _forest, "field": _field, "beach": _beach, "sea": _sea, "lake": _lake, "snow": _snow,
    "desert": _desert, "mountains": _mountains, "city": _city,
}  # fmt: skip
