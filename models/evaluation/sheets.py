"""Contact sheets of cases: the wrong ones first, each with what was asked and what was read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .cases import Case
from .thresholds import THRESHOLDS

MOST_CASES = 40
_PICTURE = 128  # pixels
_MARGIN = 6
_LINE = 13
_LETTER = 5.8  # pixels, on average
_MOST_LINES = 5  # of one text
_GOOD, _FAIR, _BAD = (60, 150, 80), (214, 160, 40), (200, 50, 50)


def case_sheet(cases: Sequence[Case], columns: int = 5, most: int = MOST_CASES) -> Image.Image:
    """Up to `most` cases on one picture, in rows of `columns`.

    Those that miss a threshold come first, in red frames; then those that fail something else, in yellow ones.
    """
    chosen = sorted(cases, key=lambda case: (case.passed(THRESHOLDS), not case.wrong()))[:most]
    width = max(2, *(len(case.pictures) for case in chosen)) * (_PICTURE + _MARGIN) + _MARGIN
    cells = [_cell(case, width) for case in chosen]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (width * min(columns, len(cells)), sum(heights)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for number, cell in enumerate(row):
            sheet.paste(cell, (number * width, top))
        top += height
    return sheet


def _cell(case: Case, width: int) -> Image.Image:
    wrong = case.wrong()
    frame = _BAD if not case.passed(THRESHOLDS) else _FAIR if wrong else _GOOD
    texts = [(case.asked, "black"), (case.answered, (90, 90, 90)), (", ".join(wrong), frame)]
    letters = int((width - 2 * _MARGIN) / _LETTER)
    lines = [(line, colour) for text, colour in texts for line in textwrap.wrap(text, letters)[:_MOST_LINES]]
    text_top = _MARGIN + (_PICTURE + _MARGIN if case.pictures else 0)
    cell = Image.new("RGB", (width, text_top + _LINE * len(lines) + _MARGIN), "white")
    draw = ImageDraw.Draw(cell)
    for number, picture in enumerate(case.pictures):
        small = Image.fromarray(picture).resize((_PICTURE, _PICTURE), Image.Resampling.BOX)
        cell.paste(small, (_MARGIN + number * (_PICTURE + _MARGIN), _MARGIN))
    font = ImageFont.load_default()
    for number, (line, colour) in enumerate(lines):
        draw.text((_MARGIN, text_top + number * _LINE), line, fill=colour, font=font)
    draw.rectangle((1, 1, cell.width - 2, cell.height - 2), outline=frame, width=2)
    return cell
