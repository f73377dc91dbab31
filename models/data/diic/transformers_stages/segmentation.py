"""Masks and tracks with SAM 2 (video), or the tracker of SAM 3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..clip import Clip, Detection
from ..linking import Kept, box_iou, box_of, with_tracks
from .loading import PRECISIONS, ModelStage, load


class TrackInVideo(ModelStage):
    """Follows what the detector found, forwards and backwards from the frame in which it was seen.

    The first frame with detections is looked at, then one in every `every` frames: a box there that no track covers yet
    is a new thing, and is followed in its turn.

    Args:
        every: frames between those at which new things are taken up.
        covered: shared area, of both together, from which on a box belongs to a track.
        at_once: things followed side by side.
    """

    name = "track"

    def __init__(
        self,
        folder: str,
        device: str = "cpu",
        precision: str = "fp32",
        every: int = 8,
        covered: float = 0.5,
        at_once: int = 16,
        least_area: float = Kept.least_area,
        fewest_frames: int = Kept.fewest_frames,
    ):
        maker = "Sam3TrackerVideo" if _is_sam3(folder) else "Sam2Video"
        self._model, self._processor = load(f"{maker}Model", folder, device, precision, f"{maker}Processor")
        self._precision = precision
        self._every, self._covered, self._at_once = every, covered, at_once
        self._kept = Kept(least_area, fewest_frames)

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._track(clip) for clip in clips]

    def _track(self, clip: Clip) -> Clip:
        names: list[str] = []
        masks: list[list[np.ndarray | None]] = []
        scores: list[list[float]] = []
        for frame in self._looked_at(clip):
            known = [box for track in masks if track[frame] is not None and (box := box_of(track[frame]))]
            new = [one for one in clip.detections[frame] if all(box_iou(one.box, box) < self._covered for box in known)]
            for begin in range(0, len(new), self._at_once):
                group = new[begin : begin + self._at_once]
                for detection, track in zip(group, self._follow(clip, frame, group), strict=True):
                    names.append(detection.name)
                    masks.append([mask for mask, _ in track])
                    scores.append([detection.score * score for _, score in track])
        return with_tracks(clip, names, masks, scores, self.name, self._kept)

    def _looked_at(self, clip: Clip) -> list[int]:
        first = next(frame for frame, found in enumerate(clip.detections) if found)
        return list(range(first, len(clip.frames), self._every))

    def _follow(self, clip: Clip, frame: int, new: Sequence[Detection]) -> list[list[tuple[np.ndarray | None, float]]]:
        """For each detection its mask (bool `[H, W]`, None where it is not seen) and score in every frame."""
        import torch

        dtype = getattr(torch, PRECISIONS[self._precision])
        tracks: list[list[tuple[np.ndarray | None, float]]] = [[(None, 0.0)] * len(clip.frames) for _ in new]
        with torch.inference_mode():
            session = self._processor.init_video_session(
                video=clip.frames, inference_device=self._model.device, dtype=dtype
            )
            self._processor.add_inputs_to_inference_session(
                inference_session=session,
                frame_idx=frame,
                obj_ids=list(range(len(new))),
                input_boxes=[[list(one.box) for one in new]],
            )
            for seen in self._outputs(session, frame):
                height, width = clip.frames.shape[1:3]
                whole = self._processor.post_process_masks([seen.pred_masks.float()], [[height, width]])[0]
                chances = seen.object_score_logits.float().sigmoid().reshape(-1).cpu().numpy()
                for track, mask, chance in zip(tracks, whole[:, 0].cpu().numpy(), chances, strict=True):
                    there = chance >= 0.5 and mask.any()
                    track[seen.frame_idx] = (mask.astype(bool), float(chance)) if there else (None, 0.0)
        return tracks

    def _outputs(self, session, frame: int) -> Iterator:
        """What the model sees in each frame: in the one with the boxes first, then onwards, then backwards."""
        yield self._model(inference_session=session, frame_idx=frame)
        for backwards in (False, True):
            for seen in self._model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=backwards):
                if seen.frame_idx != frame:
                    yield seen


def _is_sam3(folder: str) -> bool:
    """By what the model says of itself. What is wrong with a folder is told by `load`."""
    try:
        return json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["model_type"].startswith("sam3")
    except (OSError, ValueError, KeyError):
        return False
