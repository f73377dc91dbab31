"""The first stage: the cuts of a video, found by PySceneDetect, and its clips between them."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...errors import how_to_install, is_out_of_memory
from .clip import Clip
from .stage import StageError, require, words_of
from .video import SHORT_OF_ITS_END, SLACK, Video, VideoError, fitted, pyav

UNEVEN = 0.2  # the rate varies where gaps between frames differ from their median by more than this share of it


def source_key(path: Path) -> str:
    """A name for a video that stays the same: of its file's name and of the bytes at its beginning and its end."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            content = file.read(1 << 16)
            file.seek(max(0, size - (1 << 16)))
            content += file.read()
    except OSError:  # what may not be read is rejected when it is cut
        content = os.fsencode(path.absolute())
    digest = hashlib.sha256(content + str(size).encode() + os.fsencode(path.name)).hexdigest()[:10]
    stem = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-")[:40]
    return f"{stem or 'video'}-{digest}"


@dataclass(frozen=True)
class CutScenes:
    """Cuts a video where its content changes at once.

    Attributes:
        threshold: how much more than in the frames around a frame must differ from the one before
            (PySceneDetect's `AdaptiveDetector`: a moving camera is no cut).
        least_difference: how much it must differ at least, 0..255 on average.
        shortest, longest: seconds. Scenes shorter than the first are rejected, those longer than the second divided.
        side: pixels of the longer side at which frames are compared.
    """

    threshold: float = 3.0
    least_difference: float = 15.0
    shortest: float = 0.5
    longest: float = 12.0
    side: int = 256

    def __post_init__(self):
        require(self, {"longest": 0}, {"threshold": 0, "least_difference": 0, "shortest": 0, "side": 2})

    def check(self) -> None:
        """Raise StageError where a package that videos need is missing."""
        pyav()
        _detector(self)

    def __call__(self, source: str, key: str) -> list[Clip]:
        whole = Clip(f"{key}-0000", source)
        try:
            with Video(source) as video:
                return self._clips(video, source, key)
        except VideoError as error:
            return [whole.rejected("cut", error.reason, error.detail)]
        except StageError:
            raise
        except Exception as error:
            reason = "out_of_memory" if is_out_of_memory(error) else "stage_failed"
            return [whole.rejected("cut", reason, words_of(error))]

    def _clips(self, video: Video, source: str, key: str) -> list[Clip]:
        detector, timecode = _detector(self)
        cuts, times, rotated, shown = [0], [], 0, 0.0
        size = None  # of the first frame for all: the detector compares them, and some videos change theirs on the way
        for frame in video.frames():
            size = size or fitted(frame.size, self.side)
            found = detector.process_frame(timecode(frame.number), frame.pixels(*size)[..., ::-1])
            cuts += [cut.frame_num for cut in found]
            times.append(frame.seconds)
            rotated, shown = frame.turned, frame.duration
        if not times:
            raise VideoError("empty", video.broken)
        stated = video.stated_seconds
        if len(times) == 1:
            if video.broken or (stated or 0) > SLACK:
                raise VideoError("truncated", f"1 frame of {stated or 0:.2f} s can be decoded. {video.broken}".strip())
            raise VideoError("one_frame")
        cuts += [cut.frame_num for cut in detector.post_process(timecode(len(times) - 1))]
        notes = _notes(np.array(times), rotated)
        scenes = list(pairwise([*sorted(set(cuts)), len(times)]))
        step = (times[-1] - times[0]) / (len(times) - 1)
        decoded = times[-1] + max(step, shown)
        short = stated is not None and decoded < min(stated * SHORT_OF_ITS_END, stated - SLACK)
        clips: list[Clip] = []
        for first, last in scenes:
            for begin, end in self._pieces(times, first, last):
                until = times[end] if end < len(times) else decoded
                name = f"{key}-{len(clips):04d}"
                clip = Clip(name, source, len(clips), begin, end, times[begin], until, video.offset, notes)
                if until - times[begin] < self.shortest:
                    clip = clip.rejected("cut", "too_short", f"{until - times[begin]:.2f} s of {self.shortest:g} s")
                clips.append(clip)
        if video.broken or short:
            detail = f"{decoded:.2f} s of {stated or 0:.2f} s can be decoded. {video.broken}".strip()
            clips[-1] = clips[-1].rejected("cut", "truncated", detail)
        return clips

    def _pieces(self, times: list[float], first: int, last: int) -> list[tuple[int, int]]:
        """A scene in equal pieces none of which is too long: first and last frame, the last exclusive."""
        length = times[last - 1] - times[first]
        count = min(max(1, int(np.ceil(length / self.longest - 1e-9))), last - first)
        edges = [first]
        for number in range(1, count):
            begin = times[first] + length * number / count
            edges.append(int(np.searchsorted(times[:last], begin)))
        return [(a, b) for a, b in pairwise([*edges, last]) if b > a]


def _detector(cutter: CutScenes):
    """PySceneDetect's detector, and a maker of its frame numbers."""
    try:
        from scenedetect import AdaptiveDetector, FrameTimecode
    except ImportError as error:
        raise StageError(f"Finding cuts needs the package {error.name}: {how_to_install('video')}.") from None
    # Scenes of any length: which are too short for use is said with a reason.
    detector = AdaptiveDetector(cutter.threshold, 1, min_content_val=cutter.least_difference)
    return detector, lambda number: FrameTimecode(number, 25.0)  # numbers alone matter, times are the frames' own


def _notes(times: np.ndarray, turned: int) -> tuple[str, ...]:
    notes = []
    if turned:
        notes.append(f"turned upright by {turned} degrees clockwise")
    gaps = np.diff(times)
    if len(gaps) > 2 and np.median(gaps) > 0 and (np.abs(gaps / np.median(gaps) - 1) > UNEVEN).mean() > 0.05:
        notes.append("variable frame rate")
    return tuple(notes)
