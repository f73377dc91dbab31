"""The decoder's side of a turn: the inner node that WeGen Generate and WeGen Refine end with."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..models.editing.refinement import Masks, Plan, changes, finish, plan
from ..models.values import AutoMask, Chat, References, SamplerSettings, Turn
from .host.sampling import paint
from .inputs import (
    CATEGORY,
    ChatType,
    DraftsType,
    instruction,
    language_settings,
    references,
    refine_settings,
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
                DraftsType.Input("ideas"),
                instruction("See WeGen Generate."),
                *sampler_settings(),
                *language_settings(),
                size("width"),
                size("height"),
                *refine_settings(),
                references(),
                ChatType.Input("chat", optional=True),
                io.Mask.Input("edit_mask", optional=True),
                io.Mask.Input("keep_mask", optional=True),
                io.String.Input("reply", default="", optional=True),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat"),
                io.Mask.Output(display_name="mask"),
                io.String.Output(display_name="reply"),
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
        reply="",
        **refining,
    ) -> io.NodeOutput:
        config = wegen.config
        cfg = cfg or config.guidance_scale
        settings = SamplerSettings(steps, cfg, feature_guidance, collection, sampler_name, scheduler)
        before = None
        masks = Masks()
        if chat is None:
            width, height = width or config.size, height or config.size
            plans = [Plan(idea, None) for idea in ideas]
        else:
            before = chat.last.answer.picture
            height, width = before.shape[:2]
            settings, release = refined(settings, **refining)
            masks = Masks(edit_mask, keep_mask, release).fitted(height, width)
            plans = plan(wegen.read(chat), ideas, masks, settings)
        change = changes(plans, height, width)
        features = torch.stack([one.idea.features for one in plans])
        seeds = [one.idea.seed for one in plans]
        pictures = paint(model, vae, config, features, seeds, settings, width, height, before, change)
        vision = wegen.load_vision(1) if change is not None else None
        finished = [
            finish(vision, one, before, picture, settings) for one, picture in zip(plans, pictures, strict=True)
        ]
        answers = tuple(one.answer for one in finished)
        references = references or References()
        turn = Turn(instruction.strip(), answers, references, masks.edit, masks.keep, masks.release, settings)
        mask = torch.ones(1, height, width) if change is None else change
        image = torch.stack([answer.picture for answer in answers])
        notes = dict.fromkeys(one.note for one in finished)
        said = "\n".join(filter(None, [reply, *notes]))
        return io.NodeOutput(image, (chat or Chat()).add(turn), mask, said)


def refined(
    settings: SamplerSettings,
    strength: float = 1.0,
    auto_mask: bool = True,
    threshold: float = AutoMask.threshold,
    grow: int = AutoMask.grow,
    soften: int = AutoMask.soften,
    release: bool = False,
    align: bool = False,
) -> tuple[SamplerSettings, bool]:
    """Settings with what a refinement adds to them, and whether earlier keep masks are released."""
    own = AutoMask(threshold, grow, soften) if auto_mask else None
    return replace(settings, strength=strength, auto_mask=own, align=align), release
