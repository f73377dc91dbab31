"""Sample sheets: many small pictures on one, to be looked at by eye."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor


def grid_sheet(rows: Sequence[Tensor], scale: int = 1) -> Image.Image:
    """Rows of pictures, each `[B, 3, H, W]` in -1..1, below each other; shorter rows are filled with black."""
    columns = max(len(row) for row in rows)
    filled = [torch.cat([row, row.new_full((columns - len(row), *row.shape[1:]), -1)]) for row in rows]
    pixels = rearrange(torch.stack([row.float() for row in filled]), "r b c h w -> (r h) (b w) c")
    picture = Image.fromarray(((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy())
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def captioned(sheet: Image.Image, captions: Sequence[str], height: int = 150) -> Image.Image:
    """The sheet with words below each of its columns."""
    width = sheet.width // len(captions)
    picture = Image.new("RGB", (sheet.width, sheet.height + height), "white")
    picture.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(picture)
    for column, caption in enumerate(captions):
        lines = "\n".join(textwrap.wrap(caption, width // 6))
        draw.multiline_text((column * width + 3, sheet.height + 3), lines, fill="black", spacing=1)
    return picture
