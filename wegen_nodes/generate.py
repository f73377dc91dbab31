"""WeGen Generate: the first turn of a chat."""

from __future__ import annotations

from comfy_api.latest import io

from ..models.errors import AnsweredInWords
from ..models.values import Chat
from .host import png_metadata
from .host.messages import NO_PICTURES, NOTHING, answered_in_words
from .inputs import inputs, instruction, references, require_wired, wegen
from .sockets import CATEGORY, ChatType
from .taking_turns import (
    CHAT,
    FEATURES,
    HIDDEN,
    REPLY,
    SAMPLER,
    WORDS,
    Models,
    graph_turn,
    picked_input,
    shown,
)


class WeGenGenerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenGenerate",
            display_name="WeGen Generate",
            category=CATEGORY,
            description="The first turn of a chat: text and references in, pictures out.",
            search_aliases=["wegen text to image", "wegen text to picture", "copilot", "chat", "vlm", "llm"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                wegen(),
                io.Model.Input("model", tooltip="The decoder; LoRA and other patches work on it."),
                io.Vae.Input("vae", tooltip="From WeGen Load Model."),
                instruction("What to draw; vague is fine. @name means a reference."),
                *inputs(*WORDS, *SAMPLER, "width", "height", *FEATURES, "rewritten"),
                references(),
                picked_input(),
            ],
            hidden=HIDDEN,
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures."),
                ChatType.Output(display_name="chat", tooltip=CHAT),
                io.String.Output(display_name="reply", tooltip=REPLY),
            ],
        )

    @classmethod
    def execute(cls, wegen, model, vae, picked=0, **asked) -> io.NodeOutput:
        require_wired(wegen=wegen, model=model, vae=vae)
        try:
            result = graph_turn(cls, Models(wegen, model, vae), Chat(), picked, asked)
        except AnsweredInWords as answer:
            # None of the turns behind it takes the place of what those before it wrote down.
            png_metadata.write_down(cls.hidden.prompt, str(cls.hidden.unique_id), cls.hidden.extra_pnginfo, [])
            return answered_in_words(answer, NOTHING, NOTHING, str(answer), **NO_PICTURES, picked=(1,))
        return io.NodeOutput(result.pictures, result.chat, result.reply, ui=shown(cls, result))
