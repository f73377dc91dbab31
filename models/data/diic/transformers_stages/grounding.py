"""Boxes for names with Grounding DINO or MM-Grounding-DINO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ..clip import Clip, Detection
from ..linking import without_doubles
from ..stage import StageError
from .loading import ModelStage, load


class GroundNames(ModelStage):
    """Looks for a clip's names in all of its frames.

    Args:
        threshold: score of a box, 0..1, from which on it counts.
        at_once: frames looked at side by side.
        most: boxes of a frame at most, the best.
        largest: share of the frame that a box may cover: what is larger is the scene, not a thing.
    """

    name = "ground"

    def __init__(
        self,
        folder: str,
        device: str = "cpu",
        precision: str = "fp32",
        threshold: float = 0.3,
        at_once: int = 4,
        most: int = 40,
        largest: float = 0.9,
    ):
        self._model, self._processor = load("AutoModelForZeroShotObjectDetection", folder, device, precision)
        self._threshold, self._at_once, self._most, self._largest = threshold, at_once, most, largest
        self._longest = getattr(self._model.config, "max_text_len", 256)

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._ground(clip) for clip in clips]

    def _ground(self, clip: Clip) -> Clip:
        found: list[list[Detection]] = [[] for _ in clip.frames]
        for names in self._groups(clip.names):
            for begin in range(0, len(clip.frames), self._at_once):
                frames = clip.frames[begin : begin + self._at_once]
                for number, boxes in enumerate(self._boxes(frames, names), start=begin):
                    found[number] += boxes
        height, width = clip.frames.shape[1:3]
        things = [[one for one in boxes if _area(one) <= self._largest * width * height] for boxes in found]
        alone = [without_doubles(boxes) for boxes in things]
        best = [boxes[: self._most] for boxes in alone]
        for before, after, reason in (
            (found, things, "box_too_large"),
            (things, alone, "box_overlaps"),
            (alone, best, "too_many_boxes"),
        ):
            clip = clip.without_boxes((_names(before) - _names(after)).elements(), self.name, reason)
        if not any(best):
            return clip.rejected(self.name, "nothing_detected", f"of {', '.join(clip.names)}"[:200])
        return replace(clip, detections=tuple(map(tuple, best))).without_names_not_found(self.name)

    def _groups(self, names: Sequence[str]) -> list[list[str]]:
        """Names in groups whose text is short enough for the model."""
        groups: list[list[str]] = []
        for name in names:
            if groups and self._length([*groups[-1], name]) <= self._longest:
                groups[-1].append(name)
            elif self._length([name]) > self._longest:
                raise StageError(f"The name {name!r} is longer than the {self._longest} tokens of the detector's text.")
            else:
                groups.append([name])
        return groups

    def _length(self, names: Sequence[str]) -> int:
        return len(self._processor.tokenizer(_text(names)[0])["input_ids"])

    def _boxes(self, frames: np.ndarray, names: Sequence[str]) -> list[list[Detection]]:
        import torch

        text, spans = _text(names)
        inputs = self._processor(
            images=[Image.fromarray(frame) for frame in frames], text=[text] * len(frames), return_tensors="pt"
        )
        offsets = self._processor.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        # Which tokens stand for which name.
        tokens = [[n for n, (a, b) in enumerate(offsets) if a < end and b > begin] for begin, end in spans]
        with torch.inference_mode():
            out = self._model(**inputs.to(self._model.device, self._model.dtype))
        chances = out.logits.sigmoid().float().cpu().numpy()
        places = out.pred_boxes.float().cpu().numpy()
        height, width = frames.shape[1:3]
        return [self._read(chances[n], places[n], tokens, names, width, height) for n in range(len(frames))]

    def _read(self, chances, places, tokens, names, width: int, height: int) -> list[Detection]:
        """Detections of one frame: `chances` `[queries, tokens]`, `places` `[queries, 4]` (middle and size, 0..1)."""
        of_names = np.stack([chances[:, one].max(axis=1) if one else np.zeros(len(chances)) for one in tokens], axis=1)
        found = []
        for query in np.flatnonzero(of_names.max(axis=1) >= self._threshold):
            best = int(of_names[query].argmax())
            x, y, w, h = places[query]
            left, right = np.clip([x - w / 2, x + w / 2], 0, 1) * width
            top, bottom = np.clip([y - h / 2, y + h / 2], 0, 1) * height
            if right - left < 1 or bottom - top < 1:
                continue
            box = (float(left), float(top), float(right), float(bottom))
            found.append(Detection(names[best], box, float(of_names[query, best])))
        return found


def _area(detection: Detection) -> float:
    left, top, right, bottom = detection.box
    return (right - left) * (bottom - top)


def _names(frames: Iterable[Sequence[Detection]]) -> Counter[str]:
    """How many boxes each name has in all frames together."""
    return Counter(one.name for boxes in frames for one in boxes)


def _text(names: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Names as the detector reads them, and where each begins and ends in the text: "red car. cat."."""
    text, spans = "", []
    for name in names:
        plain = name.lower().replace(".", " ")
        begin = len(text) + (1 if text else 0)
        text += (" " if text else "") + plain + "."
        spans.append((begin, begin + len(plain)))
    return text, spans
