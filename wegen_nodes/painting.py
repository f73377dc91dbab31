"""The decoder's side of a turn: the inner node that WeGen Generate and WeGen Refine end with."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..models.chat import Chat, References, Settings, Turn
from ..models.consistency import change_mask
from ..models.pipeline import finish
from .host.sampling import paint
from .types import (
    CATEGORY,
    ChatType,
    IdeasType,
    instruction,
    language_settings,
    references,
    sampler_settings,
    size,
    wegen,
)


class WeGenPaint(io.ComfyNode):
    """Stands in no graph of a user; see `WeGenThink`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenPaint",
            display_name="WeGen Paint (inside Generate and Refine)",
            category=CATEGORY,
            is_dev_only=True,
            inputs=[
                wegen(),
                io.Model.Input("model"),
                io.Vae.Input("vae"),
                IdeasType.Input("ideas"),
                instruction("See WeGen Generate."),
                *sampler_settings(),
                *language_settings(),
                size("width"),
                size("height"),
                references(),
                ChatType.Input("chat", optional=True),
                io.Mask.Input("edit_mask", optional=True),
                io.Mask.Input("keep_mask", optional=True),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat"),
                io.Mask.Output(display_name="mask"),
            ],
        )

    @classmethod
    def execute(
        cls,
        wegen,
        model,
        vae,
        ideas,
        instruction,
        steps,
        cfg,
        sampler_name,
        scheduler,
        feature_guidance=1.0,
        collection="aligned",
        width=0,
        height=0,
        references=None,
        chat=None,
        edit_mask=None,
        keep_mask=None,
    ) -> io.NodeOutput:
        config = wegen.config
        settings = Settings(steps, cfg or config.guidance_scale, feature_guidance, collection, sampler_name, scheduler)
        before = change = None
        if chat is None:
            width, height = width or config.size, height or config.size
        else:
            before = chat.last.answer.picture
            height, width = before.shape[:2]
            change = change_mask(edit_mask, keep_mask, height, width)
        features = torch.stack([idea.features for idea in ideas])
        seeds = [idea.seed for idea in ideas]
        pictures = paint(model, vae, config, features, seeds, settings, width, height, before, change)
        eyes = wegen.seeing(1) if change is not None else None
        answers = tuple(
            finish(eyes, idea, before, picture, change) for idea, picture in zip(ideas, pictures, strict=True)
        )
        turn = Turn(instruction.strip(), answers, references or References(), change, settings)
        mask = torch.ones(height, width) if change is None else change
        image = torch.stack([answer.picture for answer in answers])
        return io.NodeOutput(image, (chat or Chat()).add(turn), mask[None])
