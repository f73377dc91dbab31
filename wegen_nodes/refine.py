"""WeGen Refine: the next turn of a chat."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from .batches import SEVERAL_MASKS
from .inputs import inputs, instruction, references, require_wired
from .sockets import CATEGORY, ChatType
from .taking_turns import (
    CHAT,
    FEATURES,
    HIDDEN,
    REPLY,
    SAMPLER,
    WORDS,
    brought_inputs,
    graph_turn,
    models_of,
    picked_input,
    shown,
)

_REFINE = ("strength", "auto_mask", "threshold", "grow", "soften", "release", "align")


class WeGenRefine(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenRefine",
            display_name="WeGen Refine",
            category=CATEGORY,
            description="The next turn of a chat: changes what you ask for, and leaves every pixel outside the change "
            "area bit-identical.",
            search_aliases=["wegen edit", "wegen inpaint", "edit", "chat", "copilot", "vlm", "llm"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                *brought_inputs(),
                ChatType.Input("chat", tooltip="From WeGen Generate or another WeGen Refine."),
                instruction("What to change. @name means a reference."),
                *inputs(*WORDS, *SAMPLER, *FEATURES, *_REFINE, "rewritten", "match_tone", refine=True),
                references(),
                io.Mask.Input("edit_mask", optional=True, tooltip=f"White may change. {SEVERAL_MASKS}"),
                io.Mask.Input(
                    "keep_mask", optional=True, tooltip=f"White stays as it is, bit for bit. {SEVERAL_MASKS}"
                ),
                picked_input(),
            ],
            hidden=HIDDEN,
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures; as it was where the model only answers."),
                ChatType.Output(display_name="chat", tooltip=CHAT),
                io.Mask.Output(display_name="mask", tooltip="Where the picture was allowed to change."),
                io.String.Output(display_name="reply", tooltip=REPLY),
            ],
        )

    @classmethod
    def execute(cls, chat, wegen=None, model=None, vae=None, picked=0, **asked) -> io.NodeOutput:
        require_wired(chat=chat)
        chat.require_turn()
        models = models_of(chat, wegen=wegen, model=model, vae=vae)
        result = graph_turn(cls, models, chat, picked, asked)
        mask = result.change
        if mask is None:
            mask = torch.full(result.pictures.shape[:3], 0.0 if result.spoken else 1.0)
        return io.NodeOutput(result.pictures, result.chat, mask, result.reply, ui=shown(cls, result))
