"""Pictures with words below them on one sheet of paper."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

from ..values import Chat
from .images import to_pil

MARGIN, PICTURE, TEXT = 24, 168, 62
INK, PAPER, QUIET = "#2b2d42", "#fbf8f1", "#6c6f85"
TURNS_IN_A_ROW = 6


@dataclass
class Sheet:
    """Rows of pictures with words below them, drawn when all are known."""

    rows: list[tuple[str, list[tuple[Image.Image, str]]]] = field(default_factory=list)

    def add(self, title: str, pictures: list[tuple[Image.Image, str]]) -> None:
        self.rows.append((title, pictures))

    def draw(self) -> Image.Image:
        columns = max(len(pictures) for _, pictures in self.rows)
        row_height = 34 + PICTURE + TEXT
        size = (2 * MARGIN + columns * (PICTURE + 12) - 12, 2 * MARGIN + len(self.rows) * row_height)
        sheet = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(sheet)
        title_font, font = ImageFont.load_default(18), ImageFont.load_default(11)
        for index, (title, pictures) in enumerate(self.rows):
            top = MARGIN + index * row_height
            draw.text((MARGIN, top), title, INK, title_font)
            for column, (picture, words) in enumerate(pictures):
                left = MARGIN + column * (PICTURE + 12)
                sheet.paste(_framed(picture), (left, top + 30))
                lines = textwrap.wrap(words, 30, max_lines=4, placeholder=" ...")
                draw.multiline_text((left, top + 34 + PICTURE), "\n".join(lines), QUIET, font, spacing=3)
        return sheet


def _framed(picture: Image.Image) -> Image.Image:
    """The whole picture in a square of paper."""
    square = Image.new("RGB", (PICTURE, PICTURE), PAPER)
    scale = PICTURE / max(picture.size)
    size = [max(1, round(side * scale)) for side in picture.size]
    place = ((PICTURE - size[0]) // 2, (PICTURE - size[1]) // 2)
    square.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), place)
    return square


def filmstrip(chat: Chat) -> Image.Image:
    """A chat on one sheet: every picture of every turn, what was asked for it, and which one the chat goes on with.

    Turns of one picture stand beside each other; a turn of several has rows of its own, with the pictures' numbers.
    """
    sheet = Sheet()
    row: list[tuple[int, tuple[Image.Image, str]]] = []

    def end_row() -> None:
        if row:
            first, last = row[0][0], row[-1][0]
            sheet.add(f"turn {first}" if last == first else f"turns {first} to {last}", [frame for _, frame in row])
            row.clear()

    for number, turn in enumerate(chat.turns, start=1):
        asked = turn.instruction or "your picture"
        if len(turn.answers) == 1:
            row.append((number, (to_pil(turn.answer.picture), f"{number}. {asked}")))
            if len(row) == TURNS_IN_A_ROW:
                end_row()
            continue
        end_row()
        frames = []
        for index, answer in enumerate(turn.answers):
            words = f"{index + 1}" + (" (goes on)" if index == turn.picked else "")
            frames.append((to_pil(answer.picture), words))
        for first in range(0, len(frames), TURNS_IN_A_ROW):
            title = f"turn {number}: {textwrap.shorten(asked, 60, placeholder=' ...')}" if first == 0 else ""
            sheet.add(title, frames[first : first + TURNS_IN_A_ROW])
    end_row()
    return sheet.draw()
