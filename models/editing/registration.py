"""Registration: shift and zoom of a new picture against the old one, estimated from the kept area, and undone.

Generators and image editors move what they were told to keep by a few pixels. The shift and zoom that lay the kept area
of the new picture onto the old one are searched on a coarse grid first, then fitted by robust least squares from coarse
to fine; SciPy does both. A change of brightness or contrast, even a slanted one, does not disturb the fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage, optimize
from torch import Tensor

from ..errors import WeGenError
from .masks import fit_mask

SMALLEST_SHIFT = 0.25
"""Pixels. A motion that moves no point of the picture further than this is none."""
LARGEST_SHIFT = 16.0
"""Pixels; in large pictures LARGEST_SHARE of the longer side."""
LARGEST_SHARE = 0.04
LARGEST_ZOOM = 0.06
"""How much larger or smaller than 1 a zoom can be."""
LEAST_KEPT = 400
"""Pixels that must be kept for an estimate; in pictures of over 1024 pixels a side accordingly more."""
LEAST_CONTRAST = 1.5 / 255
"""Standard deviation of the kept area's fine detail; below it no motion can be estimated."""
LEAST_CONFIDENCE = 0.7
LARGEST_DOUBT = 1.0
"""Pixels, at the picture's corners: the standard error above which an estimate is not used."""
LEAST_EXPLAINED = 0.1
"""Share of the kept area's squared difference that a motion must take away: what a VAE does to an unmoved picture looks
a little like a motion too."""

_COARSE_SIDE = 30  # pixels of the longer side where the search begins
_FINE_SIDE = 1024  # and where it ends; more would cost time and add nothing
_MOST_POINTS = 20000
_LEAST_POINTS = 100
_LEAST_SEEN = 0.2  # share of the points that must lie in the picture after a motion
_STARTS = 3  # how many of the grid's best motions are refined
_GAINS = (0.25, 4.0)  # by which the new picture's contrast may be multiplied to match the old one's
_FAINTEST = 1e-4  # slope added to all, so that flat areas can be solved for: brightness (0..1) a pixel
_TINY = 1e-12


@dataclass(frozen=True)
class Motion:
    """What happened to a picture: a point at `p`, from the picture's centre, went to `zoom * p + (dx, dy)`.

    Attributes:
        dx, dy: pixels to the right and down.
        zoom: above 1 the content became larger.
        confidence: 0..1, correlation of the kept area with its counterpart; 0 where none was looked for.
        found: whether the kept area was found again; False leaves `dx`, `dy`, `zoom` at no motion.
        reason: in words, what was found or why nothing was.
    """

    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0
    confidence: float = 0.0
    found: bool = False
    reason: str = ""

    @property
    def moved(self) -> bool:
        """Whether there is anything to undo."""
        return (self.dx, self.dy, self.zoom) != (0.0, 0.0, 1.0)


def estimate(before: Tensor, after: Tensor, change: Tensor | None = None) -> Motion:
    """Estimate how `after` has moved against `before`, from what lies outside the change area.

    Args:
        before, after: pictures `[H, W, 1, 3 or 4]` in 0..1, of one size.
        change: `[H, W]` in 0..1; only pixels where it is 0 are looked at. None looks at all of them.

    Returns:
        A motion; it is none when no point moved by more than SMALLEST_SHIFT, when too little was kept, when what was
        kept is flat, or when the match is not to be trusted.

    Raises:
        WeGenError: the pictures differ in size, or `change` is no mask, see `masks.fit_mask`.
    """
    if before.shape[:2] != after.shape[:2]:
        raise WeGenError(
            f"The pictures are {before.shape[1]}x{before.shape[0]} and {after.shape[1]}x{after.shape[0]} pixels; "
            "resize one to the size of the other first."
        )
    height, width = before.shape[:2]
    kept = np.ones((height, width), bool) if change is None else (fit_mask(change, height, width) <= 0).numpy()
    old, new = _colours(before), _colours(after)
    finest = _finest(kept)
    if kept[::finest, ::finest].sum() < LEAST_KEPT:
        needed = LEAST_KEPT * finest**2
        return Motion(reason=f"Not aligned: only {int(kept.sum())} pixels are kept, some {needed} are needed.")
    if np.array_equal(old[kept], new[kept]):
        return Motion(confidence=1.0, found=True, reason="Not moved: the kept area is the same.")
    detail = old - ndimage.gaussian_filter(old, (8, 8, 0))
    if detail[kept].std() < LEAST_CONTRAST:
        return Motion(reason="Not aligned: the kept area is too flat to see a motion in it.")
    return _judged(_search(old, new, kept), height, width)


def undo(picture: Tensor, motion: Motion) -> Tensor:
    """Move a picture `[H, W, C]` back, float32 in 0..1, by cubic splines.

    What the motion pushed out of the picture cannot come back: the nearest pixels at the border stand in for it. A
    picture that has not moved comes back to the bit.
    """
    if not motion.moved:
        return picture
    height, width = picture.shape[:2]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = centre + np.array([motion.dy, motion.dx]) - motion.zoom * centre
    moved = [
        ndimage.affine_transform(channel, np.full(2, motion.zoom), offset, order=3, mode="nearest")
        for channel in np.moveaxis(picture.detach().cpu().double().numpy(), -1, 0)
    ]
    return torch.from_numpy(np.stack(moved, axis=-1)).float().clamp(0, 1)


def _colours(picture: Tensor) -> np.ndarray:
    """`[H, W, 3]` float64; what is transparent lies on middle grey, so that hidden colours do not count."""
    picture = picture.detach().cpu().double().clamp(0, 1)  # some devices have no float64
    if picture.shape[-1] == 4:
        alpha = picture[..., 3:]
        picture = picture[..., :3] * alpha + 0.5 * (1 - alpha)
    return picture.expand(-1, -1, 3).numpy()


@dataclass(frozen=True, eq=False)
class _Fit:
    """A motion `(dx, dy, zoom - 1)` with how well it fits and how well it is determined."""

    motion: np.ndarray
    cost: float
    correlation: float
    doubt: float  # pixels: its standard error
    explained: float  # share of the squared difference between the pictures that it takes away


class _Level:
    """Both pictures at one fineness, and the kept points at which they are compared.

    Points are in pixels of the whole picture from its centre. Blurring mixes pixels of the change area into those
    around it, so these do not take part.

    Args:
        old, new: `[h, w, channels]`, every `factor`-th pixel of the blurred pictures.
        inside: `[h, w]`, distance to the nearest pixel that is not kept, in pixels of the whole picture.
        centre: `[2, 1]`, row and column of the whole picture's centre.
        factor: see `old`.
        blur: standard deviation of the blur, in pixels of the whole picture.
    """

    def __init__(
        self, old: np.ndarray, new: np.ndarray, inside: np.ndarray, centre: np.ndarray, factor: int, blur: float
    ):
        self.factor, self.centre = factor, centre
        # The new picture may be softer already.
        self.margin = np.minimum(3 * blur + 1, centre / 4)
        usable = inside > 3 * blur + 1
        if usable.sum() < _LEAST_POINTS:
            usable = inside > 0
        rows, columns = np.nonzero(usable)
        slopes = np.stack([ndimage.correlate1d(old, [-0.5 / factor, 0, 0.5 / factor], axis) for axis in (0, 1)])
        if len(rows) > _MOST_POINTS:
            chosen = _telling(np.hypot(*slopes.mean(axis=-1))[rows, columns])
            rows, columns = rows[chosen], columns[chosen]
        self.points = np.stack([rows, columns]) * float(factor) - centre
        self.wanted = old[rows, columns].T
        self.slopes = np.swapaxes(slopes[:, rows, columns], 1, 2)
        self.new = [ndimage.spline_filter(channel, 3, mode="mirror") for channel in np.moveaxis(new, -1, 0)]
        plane = np.concatenate([np.ones((1, len(rows))), self.points / centre.max()])
        curvature = np.stack([ndimage.laplace(channel)[rows, columns] for channel in np.moveaxis(old, -1, 0)])
        # What may differ without a motion: brightness, constant and slanted, and, to first order, sharpness.
        self.nuisance = np.stack([np.stack([*plane, of_channel], axis=1) for of_channel in curvature])

    def sample(
        self, motion: np.ndarray, order: int = 3, aside: tuple[float, float] = (0, 0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """The new picture where a motion `(dx, dy, zoom - 1)` has taken the points, and `aside` pixels from there.

        Returns:
            `[channels, points]`, and which points were not moved out of the picture or to its rim, which shows what
            came in from outside, bool `[points]`.
        """
        dx, dy, growth = motion
        where = (1 + growth) * self.points + np.array([[dy], [dx]]) + self.centre
        seen = ((where >= self.margin) & (where <= 2 * self.centre - self.margin)).all(axis=0)
        where = (where + np.array(aside)[:, None]) / self.factor
        found = [ndimage.map_coordinates(new, where, order=order, mode="mirror", prefilter=False) for new in self.new]
        return np.stack(found), seen

    def compare(self, motion: np.ndarray, order: int = 3) -> tuple[np.ndarray, float]:
        """What is left of the old picture when the new one explains all it can, and their correlation.

        Args:
            motion: dx, dy and zoom - 1.
            order: of the interpolation.

        Returns:
            `[points * channels]`, 0 where the new picture shows nothing of a point; and -1..1.
        """
        found, seen = self.sample(motion, order)
        if seen.mean() < _LEAST_SEEN:
            return (self.wanted - self.wanted.mean(axis=1, keepdims=True)).ravel(), 0.0
        nuisance = self.nuisance * seen[:, None]
        left = np.stack([self.wanted, found], axis=-1) * seen[:, None]
        normal = np.swapaxes(nuisance, 1, 2) @ nuisance + _TINY * np.eye(nuisance.shape[-1])
        left -= nuisance @ np.linalg.solve(normal, np.swapaxes(nuisance, 1, 2) @ left)
        wanted, found = left[..., 0], left[..., 1]
        power, shared = (found**2).sum(axis=1, keepdims=True) + _TINY, (wanted * found).sum(axis=1, keepdims=True)
        correlation = shared.sum() / math.sqrt(power.sum() * ((wanted**2).sum() + _TINY))
        # A motion must not win by moving points out of the picture: the error of the others is scaled up to all.
        scale = math.sqrt(len(seen) / int(seen.sum()))
        return ((wanted - np.clip(shared / power, *_GAINS) * found) * scale).ravel(), float(correlation)

    def fit(self, start: np.ndarray, limit: float) -> _Fit:
        """Refine a starting guess to the best motion nearby."""
        reach = math.hypot(*self.centre[:, 0])
        unit = np.array([1.0, 1.0, 1 / reach])  # so that one step moves pixels about as far in each parameter
        bounds = np.array([limit, limit, LARGEST_ZOOM * reach]) * 1.05
        begun = np.clip(start / unit, -bounds * 0.99, bounds * 0.99)
        spread = float(np.median(np.abs(self.compare(begun * unit)[0]))) * 1.5
        solved = optimize.least_squares(
            lambda values: self.compare(values * unit)[0],
            begun,
            bounds=(-bounds, bounds),
            loss="soft_l1",
            f_scale=max(spread, 1 / 255),
            diff_step=1e-3,
            x_scale=1.0,
            xtol=1e-5,
            ftol=1e-7,
            max_nfev=40,
        )
        motion = solved.x * unit
        residual, correlation = self.compare(motion)
        still, _ = self.compare(np.zeros(3))
        left = float(residual @ residual)
        explained = 1 - left / (float(still @ still) + _TINY)
        return _Fit(motion, float(solved.cost), correlation, self._doubt(motion, left / len(residual)), explained)

    def _doubt(self, motion: np.ndarray, variance: float) -> float:
        """The standard error of a motion at the picture's corners, in pixels.

        Only slopes that both pictures have in common tell where things are: those of noise do not.
        """
        _, seen = self.sample(motion)
        steps = ((0.5, 0.0), (0.0, 0.5))
        slopes = np.stack([self.sample(motion, 3, (y, x))[0] - self.sample(motion, 3, (-y, -x))[0] for y, x in steps])
        old, new = (self._steepness(of_one * seen) for of_one in (self.slopes, slopes))
        shared = np.linalg.inv(old.T @ new + _TINY * np.eye(3))
        # Neighbouring points of a blurred picture are not independent: those under one blur count about once.
        known = old.T @ old + _FAINTEST**2 * old.shape[0] * np.eye(3)
        covariance = shared @ known @ shared.T * variance * 4 * math.pi
        return math.sqrt(max(float(np.linalg.eigvalsh(covariance)[-1]), 0.0))

    def _steepness(self, slopes: np.ndarray) -> np.ndarray:
        """Derivatives of brightness by dx, dy and zoom at the corners, `[channels * points, 3]`."""
        down, right = slopes
        growing = (self.points[0] * down + self.points[1] * right) / np.hypot(*self.centre)
        return np.stack([right.ravel(), down.ravel(), growing.ravel()], axis=1)


def _levels(old: np.ndarray, new: np.ndarray, kept: np.ndarray) -> list[_Level]:
    """From coarse to fine."""
    centre = (np.array(kept.shape)[:, None] - 1) / 2
    factor = _finest(kept)
    inside = ndimage.distance_transform_edt(np.pad(kept, 1))[1:-1, 1:-1][::factor, ::factor]
    blur, levels = 0.0, []
    step = factor
    while True:
        sigma = max(1.0, step / 2)
        blur = math.hypot(blur, sigma * factor / step)
        old, new = (ndimage.gaussian_filter(p, (sigma, sigma, 0), truncate=3)[::step, ::step] for p in (old, new))
        levels.append(_Level(old, new, inside, centre, factor, blur))
        if max(inside.shape) / 2 < _COARSE_SIDE or (inside[::2, ::2] > 0).sum() < _LEAST_POINTS:
            return levels[::-1]
        inside, factor, step = inside[::2, ::2], factor * 2, 2


def _finest(kept: np.ndarray) -> int:
    """The sampling step of the finest level, in pixels."""
    return math.ceil(max(kept.shape) / _FINE_SIDE)


def _telling(slopes: np.ndarray) -> np.ndarray:
    """Choose among too many points: the steepest determine the motion, others, evenly spread, the tone."""
    order = np.argsort(-slopes, kind="stable")
    half = _MOST_POINTS // 2
    rest = order[half:]
    return np.concatenate([order[:half], rest[:: math.ceil(len(rest) / half)]])


def _search(old: np.ndarray, new: np.ndarray, kept: np.ndarray) -> _Fit:
    limit = _limit(*kept.shape)
    coarse, *finer = _levels(old, new, kept)
    shifts = np.linspace(-limit, limit, 2 * math.ceil(limit / coarse.factor) + 1)
    zooms = np.linspace(-LARGEST_ZOOM, LARGEST_ZOOM, 7)
    grid = [np.array([dx, dy, growth]) for growth in zooms for dy in shifts for dx in shifts]
    costs = [float(np.square(coarse.compare(motion, order=1)[0]).sum()) for motion in grid]
    starts = [np.zeros(3), *(grid[index] for index in np.argsort(costs, kind="stable")[:_STARTS])]
    fits = [coarse.fit(start, limit) for start in starts]
    for level in finer:
        fits = [min((level.fit(fit.motion, limit) for fit in fits), key=lambda fit: fit.cost)]
    return min(fits, key=lambda fit: fit.cost)


def _limit(height: int, width: int) -> float:
    """The longest shift to look for, in pixels."""
    return max(LARGEST_SHIFT, LARGEST_SHARE * max(height, width))


def _judged(fit: _Fit, height: int, width: int) -> Motion:
    dx, dy, growth = map(float, fit.motion)
    confidence = max(0.0, fit.correlation)
    if confidence < LEAST_CONFIDENCE:
        return Motion(
            confidence=confidence,
            reason=f"Not aligned: the best match of the kept area has a confidence of {confidence:.2f}, "
            f"at least {LEAST_CONFIDENCE} is needed.",
        )
    if fit.doubt > LARGEST_DOUBT:
        return Motion(
            confidence=confidence,
            reason="Not aligned: the kept area fits in several places; nothing in it says which is right.",
        )
    limit = _limit(height, width)
    if max(abs(dx), abs(dy)) > limit or abs(growth) > LARGEST_ZOOM:
        return Motion(
            confidence=confidence,
            reason=f"Not aligned: the kept area seems to have moved by more than {limit:.0f} pixels "
            f"or {LARGEST_ZOOM:.0%} of its size.",
        )
    furthest = max(
        math.hypot(growth * x + dx, growth * y + dy) for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)
    )
    if furthest <= SMALLEST_SHIFT or fit.explained < LEAST_EXPLAINED:
        return Motion(confidence=confidence, found=True, reason="Not moved.")
    return Motion(
        dx, dy, 1 + growth, confidence, True, f"Moved back by {-dx:.2f}, {-dy:.2f} px, zoom {1 / (1 + growth):.4f}."
    )
