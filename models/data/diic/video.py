"""Reading videos with PyAV: frames with their own time stamps, the right side up, as far as a file can be decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import how_to_install
from .stage import StageError

if TYPE_CHECKING:
    import av

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".gif")
UNSPECIFIED = 2  # the number of a colour space that the file does not tell, as in ITU-T H.273
HD = 1280, 576  # pixels from which, and beyond which, colours that are not told are those of HD, as players take them
SHORT_OF_ITS_END = 0.9  # a video breaks off where less than this share of the stated duration can be decoded
EXACT = 1e-4  # seconds within which two times are the same
SLACK = 0.35  # seconds that durations stated by containers may be wrong by
BACK = (0, 1, 4, 16, 64)  # seconds before a place from which it is looked for: some formats are searched roughly


class VideoError(ValueError):
    """A video that cannot be used; `reason` is a key of `reasons.REASONS`."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def pyav():
    """The package `av`. Raises StageError with the way to get it."""
    try:
        import av
    except ImportError:
        raise StageError(f"Reading videos needs the package av: {how_to_install('video')}.") from None
    return av


@dataclass(frozen=True)
class Frame:
    """`number` counts from 0 in the order of display; `seconds` are from the first frame on; `turned` is clockwise;
    `aspect` is how many times as wide as high a pixel is shown, before it is turned."""

    number: int
    seconds: float
    raw: av.VideoFrame
    turned: int
    aspect: float = 1.0

    def pixels(self, width: int, height: int) -> np.ndarray:
        """uint8 `[H, W, 3]`, RGB, upright, scaled to the given size (of the upright picture)."""
        across, down = (height, width) if self.turned % 180 else (width, height)
        untold = self.raw.colorspace == UNSPECIFIED and (self.raw.width >= HD[0] or self.raw.height > HD[1])
        colours = {"src_colorspace": "ITU709"} if untold else {}
        shown = self.raw.to_ndarray(format="rgb24", width=across, height=down, **colours)
        return np.ascontiguousarray(np.rot90(shown, -self.turned // 90))

    @property
    def duration(self) -> float:
        """Seconds for which it is shown, as far as the file says; else 0."""
        base = self.raw.time_base
        return float(self.raw.duration * base) if self.raw.duration and base else 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as it is shown, upright."""
        width, height = round(self.raw.width * self.aspect), self.raw.height
        return (height, width) if self.turned % 180 else (width, height)


def fitted(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Width and height scaled down so that the longer side is `max_side` at most; both even, 2 or more."""
    width, height = size
    scale = min(1.0, max_side / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class Video:
    """An open video file, to be used with `with`.

    Raises VideoError where there is nothing in it that can be decoded: "unreadable", "no_video"; StageError where there
    is no such file.
    """

    def __init__(self, path: str | Path):
        self._path = path
        self._errors = (pyav().FFmpegError, ValueError, OSError)
        self.offset = 0.0
        """Seconds at which the container shows the first frame, known when `frames` has begun."""
        self.broken = ""
        """The words of the error at which decoding stopped, after `frames` has ended."""
        self._open()

    def _open(self) -> None:
        try:
            self._container = pyav().open(str(self._path), metadata_errors="replace")
        except FileNotFoundError as error:  # no fault of the video: it was there when the run began
            gone = f"{self._path} is no longer there. Put it back, and run the same command again."
            raise StageError(gone) from error
        except self._errors as error:
            raise VideoError("unreadable", f"{type(error).__name__}: {error}") from error
        streams = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not streams:
            kinds = sorted({stream.type for stream in self._container.streams})
            self._container.close()
            raise VideoError("no_video", f"it holds {', '.join(kinds) or 'nothing'}")
        self._stream = streams[0]
        self._stream.thread_type = "NONE"  # as many processes as there are cores read videos already
        self._aspect = float(self._stream.sample_aspect_ratio or 1)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_) -> None:
        self._container.close()

    @property
    def stated_seconds(self) -> float | None:
        """How long the container says that the video is; None where it says that of all of its streams together.
        Known when `frames` has begun."""
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        if tag := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self._stream.metadata.get("DURATION", "")):
            # That is the end of the stream, which may begin later than its container.
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - self.offset
        if self._container.duration is not None and len(self._container.streams) == 1:
            return self._container.duration / 1_000_000
        return None

    @property
    def stated_rate(self) -> float:
        """Frames a second on average."""
        return float(self._stream.average_rate or self._stream.guessed_rate or 25)

    def frames(self) -> Iterator[Frame]:
        """All frames from the beginning, in the order of display, until the end or the first that is damaged."""
        last = -1.0
        for frame in self._decoded():
            self.offset = frame.seconds if frame.number == 0 else self.offset
            last = max(frame.seconds - self.offset, last)
            yield replace(frame, seconds=last)

    def frames_from(self, seconds: float, offset: float) -> Iterator[Frame]:
        """Frames from about `seconds` on, some before it; all of them where the file cannot be searched.

        `offset` is what `frames` found. Numbers are those since the place that was found.
        """
        self.offset = offset
        for frame in self._found(seconds + offset):
            yield replace(frame, seconds=frame.seconds - offset)

    def _found(self, time: float) -> Iterator[Frame]:
        """Frames of which the first is not later than a time of the container, or all."""
        for back in BACK:
            try:
                self._container.seek(int((time - back) / self._stream.time_base), stream=self._stream, backward=True)
            except self._errors:
                break
            frames = self._decoded()
            first = next(frames, None)
            if first is not None and first.seconds <= time + EXACT:
                return chain([first], frames)
        self._container.close()
        self._open()
        return self._decoded()

    def _decoded(self) -> Iterator[Frame]:
        """Frames from where the file is read, with the seconds that the container gives them."""
        self.broken = ""
        try:
            for number, raw in enumerate(self._container.decode(self._stream)):
                time = raw.time if raw.time is not None else number / self.stated_rate
                yield Frame(number, time, raw, -round(raw.rotation / 90) * 90 % 360, self._aspect)
        except self._errors as error:
            self.broken = f"{type(error).__name__}: {error}"


def _is_cover(stream) -> bool:
    """The picture of an album beside its sound."""
    import av.stream

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def find_videos(paths: list[Path]) -> list[Path]:
    """Files as given, and those in folders (in their folders too) that are called as videos are and not hidden, each
    once, sorted.

    Raises StageError for a path that does not exist and where nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = (one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
            found += sorted(one for one in files if not one.name.startswith("."))
        elif path.exists():
            found.append(path)
        else:
            raise StageError(f"There is no {path}. Give video files, or folders of them.")
    if not found:
        raise StageError(f"No video in {', '.join(map(str, paths))}. Names of videos end in {', '.join(SUFFIXES)}.")
    return list(dict.fromkeys(found))
