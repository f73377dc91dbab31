"""What is shown of a reference picture when a mask says which thing in it is meant."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from ..errors import WeGenError

MARGIN = 0.15
"""How much of the surroundings a crop shows on each side, as a share of the mask's longer side."""
_RING = 1 / 20  # width of the ring of surroundings that are looked at, of the picture's shorter side
_MOST_POINTS = 20_000  # of the ring
_LARGEST = 256  # pixels along the longer side of the part in which outlines are looked for
_SURE, _LIKELY = 0.12, 0.08  # distances of colours in 0..1 from the surroundings
_SPECK = 0.1  # parts of an outline that are smaller than this share of its largest part are none


def crop_to_mask(picture: Tensor, mask: Tensor, margin: float = MARGIN) -> Tensor:
    """The part of a picture that a mask shows, with some of its surroundings: `[h, w, C]`, as square as the picture is.

    For models that know things at any size. What surrounds the thing is left as it is: a rim of it costs nothing,
    and things that are cut out along a rough mask are known worse.

    Args:
        picture: `[H, W, C]` in 0..1.
        mask: `[H, W]`, above 0 where the thing is.
        margin: see MARGIN.

    Raises:
        WeGenError: the mask shows nothing, or is of another size.
    """
    area = _area(picture, mask)
    box = _box(area)
    longest = max(stop - start for start, stop in box)
    wanted = longest + 2 * round(margin * longest)
    spans = []
    for (start, stop), side in zip(box, area.shape, strict=True):
        size = min(wanted, side)
        begin = min(max((start + stop - size) // 2, 0), side - size)
        spans.append(slice(begin, begin + size))
    return picture[spans[0], spans[1]]


def alone_on_page(picture: Tensor, mask: Tensor) -> Tensor:
    """A picture with one thing of it at its place and size, and nothing else on it: `[H, W, C]`.

    For models that know a thing by its size on the page. The mask may be rough: what in it looks like its surroundings
    goes too, see `outline`. Around the thing each row has the colour that it has mostly, so that a rim which is left
    does not stand out.

    Args:
        picture: `[H, W, C]` in 0..1.
        mask: `[H, W]`, above 0 where the thing is.

    Raises:
        WeGenError: the mask shows nothing, or is of another size.
    """
    thing = outline(picture, mask)
    rows = picture.median(dim=1, keepdim=True).values
    return torch.where(thing[..., None], picture, rows)


def outline(picture: Tensor, mask: Tensor) -> Tensor:
    """The thing that a rough mask shows, bool `[H, W]`: what in it differs from the surroundings of the mask.

    Colours are compared with those of a ring around the mask, near rows counting most. Where all of it looks like the
    ring, or there is no ring, the whole mask is taken.

    Args:
        picture: `[H, W, C]` in 0..1.
        mask: `[H, W]`, above 0 where the thing is.

    Raises:
        WeGenError: the mask shows nothing, or is of another size.
    """
    area = _area(picture, mask)
    reach = max(3, round(min(area.shape) * _RING))
    # Only the mask and its surroundings are looked at, at a size at which outlines are still seen.
    near = tuple(slice(max(0, start - reach - 2), stop + reach + 2) for start, stop in _box(area))
    height, width = area[near].shape
    step = -(-max(height, width) // _LARGEST)
    small = area[near][::step, ::step]
    if not small.any():
        return torch.from_numpy(area)
    colours = ndimage.uniform_filter(picture[near][..., :3].float().numpy(), (step, step, 0))[::step, ::step]
    found = _unlike_surroundings(colours, small, max(3, reach // step))
    if step > 1:
        found = np.kron(found, np.ones((step, step), dtype=bool))[:height, :width]
    thing = np.zeros_like(area)
    thing[near] = found & area[near]
    return torch.from_numpy(thing if thing.any() else area)


def _unlike_surroundings(colours: np.ndarray, area: np.ndarray, reach: int) -> np.ndarray:
    """The part of `area` (bool `[H, W]`) whose colours `[H, W, C]` differ from those up to `reach` pixels around it."""
    square, height = np.ones((3, 3), dtype=bool), len(area)
    smooth = ndimage.gaussian_filter(colours, (0.7, 0.7, 0))
    # Pixels next to the mask are a mixture of both.
    near = ndimage.binary_dilation(area, square)
    ring = ndimage.binary_dilation(near, square, iterations=reach) & ~near
    if ring.sum() < 2:
        return area

    def points(where: np.ndarray) -> np.ndarray:
        rows = np.nonzero(where)[0][:, None] / height
        return np.concatenate([smooth[where], rows], axis=1)

    around = points(ring)
    around = around[:: -(-len(around) // _MOST_POINTS)]
    known = cKDTree(around)
    grain = 2 * np.quantile(known.query(around, k=2)[0][:, 1], 0.98)
    away = np.zeros(area.shape)
    away[area] = known.query(points(area))[0]
    likely = away > max(_LIKELY, grain * _LIKELY / _SURE)
    thing = ndimage.binary_propagation(away > max(_SURE, grain), mask=likely)
    thing = ndimage.binary_opening(thing, np.ones((2, 2), dtype=bool))
    parts, count = ndimage.label(thing, square)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    if count:
        thing = np.isin(parts, 1 + np.flatnonzero(sizes >= _SPECK * sizes.max()))
    thing |= ndimage.binary_closing(thing, square, iterations=2)
    return ndimage.binary_dilation(ndimage.binary_fill_holes(thing), square) & area


def _box(area: np.ndarray) -> list[tuple[int, int]]:
    """First row and column of an area, and those after its last ones: `(start, stop)` each."""
    lines = [np.flatnonzero(area.any(axis=axis)) for axis in (1, 0)]
    return [(int(line[0]), int(line[-1]) + 1) for line in lines]


def _area(picture: Tensor, mask: Tensor) -> np.ndarray:
    if tuple(mask.shape) != tuple(picture.shape[:2]):
        expected, got = ("x".join(map(str, shape[::-1])) for shape in (picture.shape[:2], mask.shape))
        raise WeGenError(f"The mask has {got} pixels, the picture {expected}; resize the mask.")
    area = (mask > 0).numpy()
    if not area.any():
        raise WeGenError("The reference's mask shows nothing: paint white what is meant.")
    return area
