"""A chat on one sheet."""

import numpy as np
import torch
from comfyui_wegen.models.media.contact_sheet import MARGIN, PICTURE, filmstrip
from comfyui_wegen.models.values import Answer, Chat, Turn

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255), (99, 9, 9)]


def turn(words, *colours, picked=0):
    pictures = [torch.tensor(colour, dtype=torch.float32).expand(8, 8, 3) / 255 for colour in colours]
    return Turn(words, tuple(Answer(words, None, picture, 0) for picture in pictures), picked=picked)


def shown(sheet):
    """Colours of the pictures on a sheet, by row."""
    pixels = np.asarray(sheet)
    rows = [pixels[top + 30 + PICTURE // 2] for top in range(MARGIN, sheet.height - PICTURE, 34 + PICTURE + 62)]
    return [[tuple(row[x]) for x in range(MARGIN + PICTURE // 2, sheet.width, PICTURE + 12)] for row in rows]


def test_turns_of_one_picture_stand_beside_each_other():
    chat = Chat(tuple(turn(f"turn {n}", colour) for n, colour in enumerate(COLOURS)))
    first, second = shown(filmstrip(chat))
    assert first == COLOURS[:6]
    assert second[0] == COLOURS[6]


def test_every_picture_of_a_batch_is_shown_with_its_number():
    chat = Chat((turn("own", COLOURS[0]), turn("many", *COLOURS[1:5], picked=2), turn("more", COLOURS[5])))
    sheet = filmstrip(chat)
    rows = shown(sheet)
    assert [row[0] for row in rows] == [COLOURS[0], COLOURS[1], COLOURS[5]]
    assert rows[1] == COLOURS[1:5]
    # The picked one says so below it; the words of another choice are others.
    other = filmstrip(Chat((chat.turns[0], turn("many", *COLOURS[1:5], picked=0), chat.turns[2])))
    differs = (np.asarray(sheet) != np.asarray(other)).any(axis=(0, 2)).nonzero()[0]
    assert differs.min() >= MARGIN and differs.max() < MARGIN + 3 * (PICTURE + 12)
