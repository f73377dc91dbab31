"""How the camera moved from frame to frame: what most of the picture did, whatever the things in it did."""

from __future__ import annotations

import numpy as np

from .stage import StageError

SIDE = 384  # pixels of the longer side at which motion is measured
_POINTS = 400
_FEWEST = 12
_AGREEING = 0.35  # share of the points that must move as one
_OFF = 1.5  # pixels by which a point may miss the common motion, and its own place when it is followed back


def camera_motion(frames: np.ndarray) -> np.ndarray:
    """Where still points of each frame come from: float64 `[T, 2, 3]`, matrices from the frame before, in pixels.

    Turn, zoom and shift together. Not a number for the first frame, and where too few points can be followed.
    """
    cv2 = _opencv()
    scale = min(1.0, SIDE / max(frames.shape[1:3]))
    motion = np.full((len(frames), 2, 3), np.nan)
    last = None
    for number, frame in enumerate(frames):
        levels = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        levels = cv2.resize(levels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
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
    corners = cv2.goodFeaturesToTrack(before, _POINTS, 0.01, 5)
    if corners is None or len(corners) < _FEWEST:
        return None
    options = {"winSize": (21, 21), "maxLevel": 4}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    good = (found.ravel() == 1) & (returned.ravel() == 1)
    good &= np.abs(back - corners).max(axis=(1, 2)) < _OFF
    if good.sum() < _FEWEST:
        return None
    cv2.setRNGSeed(0)  # equal frames, equal motion
    matrix, inside = cv2.estimateAffinePartial2D(
        corners[good], there[good], method=cv2.RANSAC, ransacReprojThreshold=_OFF
    )
    if matrix is None or inside.mean() < _AGREEING:
        return None
    return matrix


def _opencv():
    try:
        import cv2
    except ImportError:
        raise StageError("Measuring motion needs OpenCV, which comes with: pip install 'wegen[video]'.") from None
    cv2.setNumThreads(1)
    return cv2
