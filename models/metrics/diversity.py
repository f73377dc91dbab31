"""How different the pictures of a batch are: distances between any two, the Vendi score, and a picture of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import WeGenError
from ..media.images import from_pil, to_pil

MOST_PICTURES = 64
AT_ONCE = 2**24
"""Numbers that are compared at once."""
CELL, GAP, MARGIN = 72, 4, 12  # pixels of the matrix
INK, PAPER = "#2b2d42", "#fbf8f1"
_ALIKE, _APART = torch.tensor([0.93, 0.94, 0.97]), torch.tensor([0.84, 0.33, 0.24])


@dataclass(frozen=True)
class Diversity:
    """One measure of a batch of B pictures.

    Attributes:
        name: what was compared, such as "vision features".
        distances: `[B, B]`, symmetric, 0 on the diagonal: 1 minus the cosine similarity, from 0 to 2.
        vendi: the Vendi score of the similarities, from 1 (all alike) to B (nothing in common).
    """

    name: str
    distances: Tensor
    vendi: float

    @property
    def mean(self) -> float:
        """The mean distance between two different pictures; 0 for a single one."""
        count = len(self.distances)
        return float(self.distances.sum() / (count * (count - 1))) if count > 1 else 0.0

    @property
    def smallest(self) -> float:
        """The distance between the two pictures that are most alike; 0 for a single one."""
        count = len(self.distances)
        others = self.distances + torch.eye(count) * 9
        return float(others.min()) if count > 1 else 0.0


def vendi_score(similarities: Tensor) -> float:
    """The effective number of different items: exp of the entropy of the eigenvalues of similarities / B.

    Friedman and Dieng, "The Vendi Score" (2023), order 1.

    Args:
        similarities: `[B, B]`, positive semidefinite, 1 on the diagonal.
    """
    eigenvalues = torch.linalg.eigvalsh(similarities.double() / len(similarities))
    positive = eigenvalues[eigenvalues > 1e-12]  # rounding leaves some just below 0
    return float((-(positive * positive.log()).sum()).exp())


def require_count(pictures: int) -> None:
    """Raises WeGenError for no pictures, or more than can be shown."""
    if not 1 <= pictures <= MOST_PICTURES:
        raise WeGenError(f"Diversity is measured on 1 to {MOST_PICTURES} pictures; {pictures} were given.")


def compare(name: str, vectors: Tensor, offset: float = 0.0) -> Diversity:
    """Compare vectors `[B, ...]`, less `offset` in each number, by the cosine of the angle between them.

    Raises:
        WeGenError: no pictures, or more than can be shown.
    """
    require_count(len(vectors))
    products = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    for part in vectors.flatten(1).split(AT_ONCE // len(vectors), dim=1):  # all of them in 64 bits take much memory
        part = part.cpu().double() - offset  # on the CPU, as some devices have no float64
        products += part @ part.T
    lengths = products.diagonal().sqrt().clamp_min(1e-12)
    similarities = (products / torch.outer(lengths, lengths)).clamp(-1, 1)
    # A black picture has no direction; its similarity to itself is still 1.
    similarities.fill_diagonal_(1.0)
    return Diversity(name, (1 - similarities).float(), vendi_score(similarities))


def same_size(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures `[H, W, 1, 3 or 4]` in 0..1 as one batch `[B, H, W, 3]`, all in the size of the first."""
    if not pictures:
        raise WeGenError("There are no pictures to compare; give one or more.")
    shown = [to_pil(picture) for picture in pictures]
    size = shown[0].size
    fitted = [one if one.size == size else one.resize(size, Image.Resampling.LANCZOS) for one in shown]
    return torch.stack([from_pil(one) for one in fitted])


def compare_pixels(pictures: Tensor) -> Diversity:
    """Compare pictures `[B, H, W, 3]` in 0..1 pixel by pixel, as colours away from middle grey."""
    return compare("pixels", pictures, offset=0.5)


def compare_features(features: Tensor) -> Diversity:
    """Compare pooled vision features `[B, tokens_per_picture, D]`, cell by cell."""
    return compare("vision features", features)


def summary(measures: Sequence[Diversity]) -> str:
    """The numbers in words, one line for each measure."""
    count = len(measures[0].distances)
    lines = [f"{count} pictures"]
    for measure in measures:
        lines.append(
            f"{measure.name}: Vendi score {measure.vendi:.2f} of {count}, mean distance {measure.mean:.3f}, "
            f"most alike {measure.smallest:.3f}"
        )
    return "\n".join(lines)


def draw_matrix(pictures: Tensor, measures: Sequence[Diversity]) -> Tensor:
    """The distances as coloured squares between the pictures themselves, `[H, W, 3]` in 0..1.

    Args:
        pictures: `[B, H, W, 3]` in 0..1, shown along both edges with their numbers.
        measures: of the same pictures; one matrix for each, side by side.
    """
    count = len(pictures)
    side = (count + 1) * (CELL + GAP)
    title, font = ImageFont.load_default(18), ImageFont.load_default(13)
    width = len(measures) * (side + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, side + 40 + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    thumbnails = [_thumbnail(picture) for picture in pictures]
    for number, measure in enumerate(measures):
        left, top = MARGIN + number * (side + MARGIN), MARGIN + 40
        draw.text((left, MARGIN), f"{measure.name}: Vendi score {measure.vendi:.2f} of {count}", INK, title)
        largest = max(float(measure.distances.max()), 1e-9)
        for k, thumbnail in enumerate(thumbnails, start=1):
            for place in ((left + k * (CELL + GAP), top), (left, top + k * (CELL + GAP))):
                sheet.paste(thumbnail, place)
                draw.text((place[0] + 4, place[1] + 2), str(k), INK, font, stroke_width=2, stroke_fill=PAPER)
        for row in range(count):
            for column in range(count):
                distance = float(measure.distances[row, column])
                x, y = left + (column + 1) * (CELL + GAP), top + (row + 1) * (CELL + GAP)
                draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), _colour(distance / largest))
                if row != column:
                    draw.text((x + CELL / 2, y + CELL / 2), f"{distance:.2f}", INK, font, anchor="mm")
    return from_pil(sheet)


def _thumbnail(picture: Tensor) -> Image.Image:
    shown = to_pil(picture)
    shown.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (CELL, CELL), PAPER)
    cell.paste(shown, ((CELL - shown.width) // 2, (CELL - shown.height) // 2))
    return cell


def _colour(share: float) -> tuple[int, int, int]:
    """From pale for 0 to red for 1."""
    red, green, blue = ((_ALIKE + (_APART - _ALIKE) * share) * 255).round().int().tolist()
    return red, green, blue
