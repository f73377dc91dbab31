"""Plots: how much changed where, how that goes on over turns, and what was measured against its targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from ..metrics.consistency import BINS, Area, Comparison
from .contact_sheet import INK, PAPER, QUIET

SIZE = (960, 540)
IDENTICAL = "identical"
_FINE = 2  # drawn larger, then made smaller: that smooths the lines
_BLUE, _RED, _GRID = "#33658a", "#d1495b", "#e3ddd0"
_LEAST_PSNR, _MOST_PSNR = 10, 60  # dB, of the axis; above it there is only "identical"
_MOST_NUMBERS = 20  # at an axis


def bar_plot(comparison: Comparison) -> Image.Image:
    """Shares of pixels by how much they changed, outside and inside the change area."""
    canvas = _Canvas.blank("How much the pixels changed")
    panel = _Panel(canvas, 80, 110, 900, 450)
    panel.frame([(share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)], 0, 1)
    both = [("outside the change area", comparison.outside, _BLUE), ("inside", comparison.inside, _RED)]
    shown = [(name, area, colour) for name, area, colour in both if area is not None]
    step = (panel.right - panel.left) / len(BINS)
    width = step * 0.76 / len(shown)
    for number, label in enumerate(BINS):
        left = panel.left + step * (number + 0.12)
        for name_number, (_, area, colour) in enumerate(shown):
            share = area.shares[number]
            bar = (left + width * name_number, panel.y(share, 0, 1), left + width * (name_number + 1), panel.bottom)
            if share > 0:
                canvas.box(bar, colour)
            if share >= 0.0005:
                canvas.text(((bar[0] + bar[2]) / 2, bar[1] - 4), f"{share:.1%}", colour, 12, "mb")
        canvas.text((panel.left + step * (number + 0.5), panel.bottom + 8), label, QUIET, 14, "mt")
    canvas.text(((panel.left + panel.right) / 2, 490), "largest difference of a pixel, levels of 255", INK, 15, "mt")
    canvas.legend([(f"{name}: {_short(area)}", colour) for name, area, colour in shown])
    return canvas.finished()


def curve_plot(areas: Sequence[Area | None], first: int, title: str, axis: str) -> Image.Image:
    """PSNR and the largest difference over turns or pictures; None leaves a gap, and words tell of nothing but gaps.

    Args:
        areas: one for each turn.
        first: number of the first of them.
        title: of the plot.
        axis: what is counted.
    """
    canvas = _Canvas.blank(title)
    numbers = range(first, first + len(areas))
    upper, lower = _Panel(canvas, 110, 100, 920, 275), _Panel(canvas, 110, 330, 920, 475)
    ticks = [(psnr, f"{psnr} dB") for psnr in range(_LEAST_PSNR, _MOST_PSNR, 10)]
    upper.frame([*ticks, (_MOST_PSNR, IDENTICAL)], _LEAST_PSNR, _MOST_PSNR)
    # Beyond every measured value but "identical".
    top = _MOST_PSNR - 2
    psnr = [None if a is None else _MOST_PSNR if a.largest == 0 else min(max(a.psnr, _LEAST_PSNR), top) for a in areas]
    upper.curve(psnr, _LEAST_PSNR, _MOST_PSNR, _BLUE)
    most = _rounded_up(max((area.largest for area in areas if area is not None), default=0))
    lower.frame([(level, f"{level:g}") for level in (0, most / 2, most)], 0, most)
    lower.curve([None if area is None else area.largest for area in areas], 0, most, _RED)
    canvas.text((20, 66), "PSNR", _BLUE, 15, "lt")
    canvas.text((20, 296), "largest difference, levels of 255", _RED, 15, "lt")
    if areas and not any(areas):
        middle = (upper.left + upper.right) / 2, (upper.top + upper.bottom) / 2
        canvas.text(middle, "Nothing is left to compare: every pixel was free to change at some time.", INK, 18, "mm")
    every = math.ceil(len(areas) / _MOST_NUMBERS)
    for index in range(0, len(areas), every):
        canvas.text((lower.x(index, len(areas)), lower.bottom + 8), str(numbers[index]), QUIET, 14, "mt")
    canvas.text(((lower.left + lower.right) / 2, 506), axis, INK, 15, "mt")
    return canvas.finished()


def trade_off_plot(recall: Mapping[float, float], precision: Mapping[float, float]) -> Image.Image:
    """Recall and precision of masks, 0..1, over the threshold that makes them."""
    canvas = _Canvas.blank("The predicted edit mask: recall and precision")
    panel = _Panel(canvas, 80, 110, 920, 450)
    panel.frame([(share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)], 0, 1)
    panel.curve(list(recall.values()), 0, 1, _BLUE)
    panel.curve(list(precision.values()), 0, 1, _RED)
    for index, threshold in enumerate(recall):
        canvas.text((panel.x(index, len(recall)), panel.bottom + 8), f"{threshold:g}", QUIET, 14, "mt")
    canvas.text(((panel.left + panel.right) / 2, 490), "threshold, cosine distance of features", INK, 15, "mt")
    names = ("of the pixels that must change, in the mask", "of the mask, pixels that must change")
    canvas.legend(list(zip(names, (_BLUE, _RED), strict=True)))
    return canvas.finished()


def target_plot(title: str, rows: Sequence[tuple[str, float, float, bool]]) -> Image.Image:
    """How much of its target each number uses up; what reaches beyond the line misses it.

    Args:
        title: of the plot.
        rows: name, measured number and target, and whether more is better.
    """
    canvas = _Canvas.blank(title)
    left, right, top = 300, 810, 90
    middle = left + (right - left) * 2 / 3
    step = min(34.0, (SIZE[1] - top - 30) / max(1, len(rows)))
    for number, (name, value, target, more) in enumerate(rows):
        spent, allowed = (target, value) if more else (value, target)
        used = spent / allowed if allowed else math.inf
        edge = left + (middle - left) * min(max(used, 0), 1.5)
        upper = top + step * number
        canvas.box((left, upper + 3, edge, upper + step - 5), _BLUE if used <= 1 else _RED)
        canvas.text((left - 10, upper + step / 2), name, INK, 13, "rm")
        told = f"{value:.3g}, at {'least' if more else 'most'} {target:g}"
        canvas.text((max(edge, middle) + 8, upper + step / 2), told, QUIET, 12, "lm")
    canvas.line([(middle, top - 8), (middle, top + step * len(rows))], INK, 1)
    canvas.text((middle, top - 12), "target", INK, 13, "mb")
    return canvas.finished()


def loss_plot(title: str, steps: Sequence[int], losses: Mapping[str, Sequence[float]]) -> Image.Image:
    """How losses fell over the steps of a training, each on the same logarithmic axis.

    Args:
        title: of the plot.
        steps: at which the losses were taken, rising.
        losses: by name, one value for each step, all above 0; at most four.
    """
    canvas = _Canvas.blank(title)
    panel = _Panel(canvas, 90, 100, 920, 470)
    values = [math.log10(value) for some in losses.values() for value in some]
    least, most = math.floor(min(values)), math.ceil(max(values) + 1e-9)
    panel.frame([(power, f"{10.0**power:g}") for power in range(least, most + 1)], least, most)
    colours = (_BLUE, _RED, "#6a994e", "#e09f3e")
    for some, colour in zip(losses.values(), colours, strict=False):
        places = [panel.left + (panel.right - panel.left) * step / steps[-1] for step in steps]
        points = [(x, panel.y(math.log10(value), least, most)) for x, value in zip(places, some, strict=True)]
        canvas.line(points, colour, 2)
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = panel.left + (panel.right - panel.left) * share
        canvas.text((x, panel.bottom + 8), f"{steps[-1] * share:,.0f}", QUIET, 13, "mt")
    canvas.text(((panel.left + panel.right) / 2, panel.bottom + 34), "steps", INK, 15, "mt")
    for number, (name, colour) in enumerate(zip(losses, colours, strict=False)):
        left = 90 + 210 * number
        canvas.box((left, 60, left + 16, 76), colour)
        canvas.text((left + 24, 68), f"{name} {losses[name][-1]:.3g}", INK, 15, "lm")
    return canvas.finished()


def _short(area: Area) -> str:
    return IDENTICAL if area.largest == 0 else f"PSNR {area.psnr:.1f} dB, {area.changed:.1%} changed"


def _rounded_up(value: float) -> float:
    """The next of 4, 8, 16 ... 256."""
    return 2.0 ** max(2, math.ceil(math.log2(max(value, 1))))


@dataclass(frozen=True)
class _Canvas:
    """A picture that is drawn in its final coordinates but finer."""

    image: Image.Image
    draw: ImageDraw.ImageDraw

    @classmethod
    def blank(cls, title: str) -> _Canvas:
        image = Image.new("RGB", [side * _FINE for side in SIZE], PAPER)
        canvas = cls(image, ImageDraw.Draw(image))
        canvas.text((20, 18), title, INK, 22, "lt")
        return canvas

    def text(self, place: tuple[float, float], words: str, colour: str, size: int, anchor: str) -> None:
        font = ImageFont.load_default(size * _FINE)
        self.draw.text([value * _FINE for value in place], words, colour, font, anchor)

    def box(self, corners: tuple[float, float, float, float], colour: str) -> None:
        self.draw.rectangle([value * _FINE for value in corners], colour)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: int = 1) -> None:
        self.draw.line([value * _FINE for point in points for value in point], colour, width * _FINE, "curve")

    def dot(self, place: tuple[float, float], colour: str) -> None:
        self.draw.circle([value * _FINE for value in place], 4 * _FINE, colour)

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        for number, (words, colour) in enumerate(entries):
            left = 20 + 470 * number
            self.box((left, 60, left + 16, 76), colour)
            self.text((left + 24, 68), words, INK, 15, "lm")

    def finished(self) -> Image.Image:
        return self.image.resize(SIZE, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class _Panel:
    """The part of a canvas between two axes."""

    canvas: _Canvas
    left: float
    top: float
    right: float
    bottom: float

    def x(self, index: int, count: int) -> float:
        return self.left + (self.right - self.left) * (index + 0.5) / count

    def y(self, value: float, least: float, most: float) -> float:
        return self.bottom - (self.bottom - self.top) * (value - least) / (most - least)

    def frame(self, ticks: Sequence[tuple[float, str]], least: float, most: float) -> None:
        for value, words in ticks:
            height = self.y(value, least, most)
            self.canvas.line([(self.left, height), (self.right, height)], _GRID)
            self.canvas.text((self.left - 10, height), words, QUIET, 13, "rm")

    def curve(self, values: Sequence[float | None], least: float, most: float, colour: str) -> None:
        points = [
            None if value is None else (self.x(index, len(values)), self.y(value, least, most))
            for index, value in enumerate(values)
        ]
        for one, other in pairwise(points):
            if one is not None and other is not None:
                self.canvas.line([one, other], colour, 2)
        for point in points:
            if point is not None:
                self.canvas.dot(point, colour)
