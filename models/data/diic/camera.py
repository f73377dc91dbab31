"""How the camera moved from frame to frame: what most of the picture did, whatever the things in it did."""

from __future__ import annotations

import numpy as np

from ...errors import how_to_install
from .stage import StageError

SIDE = 384  # pixels of the longer side at which motion is measured
_POINTS = 400
_FEWEST = 10
_MOST_LARGER = 3.0  # small videos are made larger, so that they have as many corners
_MOST_GUESSES = 4
_PARTS = (24, 16)  # of the picture, across and down
_CLEAR = 0.4  # of 255: how much two motions must differ in a part for it to tell them apart
_OFF = 1.5  # pixels by which a point may miss the common motion, and its own place when it is followed back


def camera_motion(frames: np.ndarray) -> np.ndarray:
    """Where still points of each frame come from: float64 `[T, 2, 3]`, matrices from the frame before, in pixels.

    Turn, zoom and shift together. Not a number for the first frame, and where too few points can be followed.
    """
    cv2 = opencv()
    scale = min(_MOST_LARGER, SIDE / max(frames.shape[1:3]))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    motion = np.full((len(frames), 2, 3), np.nan)
    last = None
    for number, frame in enumerate(frames):
        levels = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        levels = cv2.resize(levels, None, fx=scale, fy=scale, interpolation=way)
        if last is not None:
            found = _between(cv2, last, levels)
            if found is not None:
                found[:, 2] /= scale
                motion[number] = found
        last = levels
    return motion


def motion_between(camera: np.ndarray, before: int, after: int) -> np.ndarray | None:
    """The motion from one frame to a later one, `[2, 3]`; None where it is not known."""
    whole = np.eye(3)
    for step in camera[before + 1 : after + 1]:
        if np.isnan(step).any():
            return None
        whole = np.vstack([step, (0, 0, 1)]) @ whole
    return whole[:2]


def _between(cv2, before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    corners = _corners(cv2, before)
    if len(corners) < _FEWEST:
        return None
    options = {"winSize": (21, 21), "maxLevel": 4}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    good = (found.ravel() == 1) & (returned.ravel() == 1)
    good &= np.abs(back - corners).max(axis=(1, 2)) < _OFF
    guesses = _guesses(cv2, corners[good], there[good])
    return guesses[_most_explained(cv2, before, after, guesses)] if guesses else None


def _corners(cv2, levels: np.ndarray) -> np.ndarray:
    """float32 `[N, 1, 2]`: the best corners of each part, so that plain ones have some too."""
    height, width = levels.shape
    found = []
    for rows in np.array_split(np.arange(height), 4):
        for columns in np.array_split(np.arange(width), 6):
            part = levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            corners = cv2.goodFeaturesToTrack(part, _POINTS // 24, 0.02, 5)
            if corners is not None:
                found.append(corners + np.float32([columns[0], rows[0]]))
    return np.concatenate(found) if found else np.zeros((0, 1, 2), np.float32)


def _guesses(cv2, old: np.ndarray, new: np.ndarray) -> list[np.ndarray]:
    """Motions that many points share, the commonest first: the camera's, and those of large things."""
    found = []
    while len(found) < _MOST_GUESSES and len(old) >= _FEWEST:
        cv2.setRNGSeed(0)  # equal frames, equal motion
        matrix, inside = cv2.estimateAffinePartial2D(old, new, method=cv2.RANSAC, ransacReprojThreshold=_OFF)
        if matrix is None or inside.sum() < _FEWEST:
            break
        found.append(matrix)
        old, new = old[inside.ravel() == 0], new[inside.ravel() == 0]
    return found


def _most_explained(cv2, before: np.ndarray, after: np.ndarray, guesses: list[np.ndarray]) -> int:
    """Which motion is the best one in most parts of the picture, be they as plain as they like.

    Things have more corners than what is behind them, so the number of points alone would take a large thing in front
    of a plain wall for the wall.
    """
    height, width = after.shape
    off = []
    for matrix in guesses:
        moved = cv2.warpAffine(before, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        difference = cv2.absdiff(after, moved).astype(np.float32)
        off.append(cv2.resize(difference, _PARTS, interpolation=cv2.INTER_AREA))
    off = np.stack(off)
    clear = np.ptp(off, axis=0) > _CLEAR
    votes = np.bincount(off.argmin(axis=0)[clear], minlength=len(guesses))
    return int(votes.argmax())


def opencv():
    """The package `cv2`. Raises StageError with the way to get it."""
    try:
        import cv2
    except ImportError:
        raise StageError(f"Measuring motion needs OpenCV, which comes with: {how_to_install('video')}.") from None
    cv2.setNumThreads(1)
    return cv2
