"""Naming, describing and captioning with a vision-language model: Qwen3-VL, or any other for images and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ..answers import CAPTION_WORDS, MOST_NAMES, AnswerError, read_caption, read_instruction, read_names
from ..changes import changes_between, frames_to_describe, instruction_of, with_captions
from ..clip import Clip, Pair, Rejection
from ..pairing import without_pairs
from . import prompts
from .loading import ModelStage, load


class VisionLanguageModel:
    """Any `AutoModelForImageTextToText` whose processor has a chat template.

    Args:
        longest: tokens of an answer at most.
        at_once: questions answered side by side; only those about one clip are, so that no answer depends on which
            other clips there are.
        side: pixels of the longer side of a picture at most.
    """

    def __init__(
        self,
        folder: str,
        device: str = "cpu",
        precision: str = "fp32",
        longest: int = 400,
        at_once: int = 4,
        side: int = 640,
    ):
        self._model, self._processor = load("AutoModelForImageTextToText", folder, device, precision)
        self._processor.tokenizer.padding_side = "left"  # answers follow the questions
        self._longest, self._at_once, self._side = longest, at_once, side

    def ask(self, questions: Sequence[tuple[Sequence[np.ndarray], str]]) -> list[str]:
        """Answers to questions, each with pictures (uint8 `[H, W, 3]`) before its words; the likeliest words always."""
        answers: list[str] = []
        for begin in range(0, len(questions), self._at_once):
            answers += self._answer(questions[begin : begin + self._at_once])
        return answers

    def _answer(self, questions: Sequence[tuple[Sequence[np.ndarray], str]]) -> list[str]:
        import torch

        pictures = [[self._small(one) for one in shown] for shown, _ in questions]
        chats = [
            [{"role": "user", "content": [*({"type": "image"} for _ in shown), {"type": "text", "text": text}]}]
            for shown, text in questions
        ]
        texts = [
            self._processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats
        ]
        inputs = self._processor(text=texts, images=pictures, padding=True, return_tensors="pt")
        inputs = inputs.to(self._model.device, self._model.dtype)
        with torch.inference_mode():
            ids = self._model.generate(**inputs, max_new_tokens=self._longest, do_sample=False, num_beams=1)
        answered = ids[:, inputs["input_ids"].shape[1] :]
        return self._processor.batch_decode(answered, skip_special_tokens=True)

    def _small(self, pixels: np.ndarray) -> Image.Image:
        picture = Image.fromarray(pixels)
        picture.thumbnail((self._side, self._side), Image.Resampling.LANCZOS)
        return picture


class NameThings(ModelStage):
    """Asks which things a clip shows, over `shown` of its frames."""

    name = "name"

    def __init__(self, folder: str, device: str = "cpu", precision: str = "fp32", shown: int = 3, side: int = 640):
        self._model = VisionLanguageModel(folder, device, precision, side=side)
        self._shown = shown

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._name(clip) for clip in clips]

    def _name(self, clip: Clip) -> Clip:
        chosen = np.unique(np.linspace(0, len(clip.frames) - 1, self._shown).round().astype(int))
        question = (clip.frames[chosen], prompts.NAME.format(most=MOST_NAMES))
        try:
            return replace(clip, names=read_names(self._model.ask([question])[0]))
        except AnswerError as error:
            return clip.rejected(self.name, error.reason, error.detail)


class DescribeWithModel(ModelStage):
    """Asks what changes between the frames of each pair, and tells the model the things, their boxes and what was
    measured."""

    name = "describe"

    def __init__(self, folder: str, device: str = "cpu", precision: str = "fp32", at_once: int = 4, side: int = 640):
        self._model = VisionLanguageModel(folder, device, precision, at_once=at_once, side=side)

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._describe(clip) for clip in clips]

    def _describe(self, clip: Clip) -> Clip:
        facts = [changes_between(clip, pair.before, pair.after) or () for pair in clip.pairs]
        questions = [_question(clip, pair, instruction_of(one)) for pair, one in zip(clip.pairs, facts, strict=True)]
        described = []
        for pair, measured, answer in zip(clip.pairs, facts, self._model.ask(questions), strict=True):
            names = [track.name for track in clip.tracks if track.visible(pair.before) or track.visible(pair.after)]
            try:
                text, things = read_instruction(answer, names)
            except AnswerError as error:
                clip = clip.without_pair(pair, self.name, error.reason, error.detail)
            else:
                told = ({"change": "told", "things": list(things)},)
                described.append(replace(pair, text=text, facts=(*measured, *told)))
        clip = replace(clip, pairs=tuple(described))
        return clip if described else without_pairs(clip, self.name)


def _question(clip: Clip, pair: Pair, measured: str) -> tuple[Sequence[np.ndarray], str]:
    before, after = (_things(clip, frame) for frame in (pair.before, pair.after))
    facts = prompts.FACTS.format(facts=measured) if measured else ""
    text = prompts.DESCRIBE.format(before=before, after=after, facts=facts)
    return (clip.frames[pair.before], clip.frames[pair.after]), text


def _things(clip: Clip, frame: int) -> str:
    height, width = clip.frames.shape[1:3]
    lines = []
    for track in clip.tracks:
        if track.visible(frame):
            sides = np.array(track.boxes[frame]) * 1000 / (width, height, width, height)
            lines.append(f"- {track.name}: {sides.round().astype(int).tolist()}")
    return "\n".join(lines) or "- nothing that was followed"


class CaptionWithModel(ModelStage):
    """Asks for a description of each frame that a pair uses."""

    name = "caption"

    def __init__(self, folder: str, device: str = "cpu", precision: str = "fp32", at_once: int = 4, side: int = 640):
        self._model = VisionLanguageModel(folder, device, precision, at_once=at_once, side=side)

    def __call__(self, clips: Sequence[Clip]) -> list[Clip]:
        return [self._caption(clip) for clip in clips]

    def _caption(self, clip: Clip) -> Clip:
        frames = frames_to_describe(clip)
        questions = []
        for frame in frames:
            things = ", ".join(track.name for track in clip.tracks if track.visible(frame)) or "none"
            questions.append(([clip.frames[frame]], prompts.CAPTION.format(things=things, most=CAPTION_WORDS[1] - 20)))
        captions: dict[int, str] = {}
        dropped = list(clip.dropped)
        for frame, answer in zip(frames, self._model.ask(questions), strict=True):
            try:
                captions[frame] = read_caption(answer)
            except AnswerError as error:
                at = f"{clip.times[frame]:.2f} s: {error.detail}"
                dropped.append(Rejection(self.name, error.reason, at))
        return with_captions(replace(clip, dropped=tuple(dropped)), captions, self.name)
