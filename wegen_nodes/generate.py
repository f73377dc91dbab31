"""WeGen Generate and WeGen Refine: one turn of a chat each."""

from __future__ import annotations

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from .host.png_metadata import WORDS
from .inputs import (
    CATEGORY,
    ChatType,
    batch_size,
    creativity,
    instruction,
    language_settings,
    references,
    refine_settings,
    rewrite,
    rewritten,
    sampler_settings,
    seed,
    size,
    wegen,
)

#: inputs of the second inner node; those of the first are `WORDS`
_PAINT = (
    "wegen",
    "instruction",
    "references",
    "chat",
    "feature_guidance",
    "collection",
    "model",
    "vae",
    "steps",
    "cfg",
    "sampler_name",
    "scheduler",
    "width",
    "height",
    "edit_mask",
    "keep_mask",
    "strength",
    "auto_mask",
    "threshold",
    "grow",
    "soften",
    "release",
    "align",
)


def expand_turn(inputs: dict) -> tuple[GraphBuilder, object]:
    """The turn as two nodes, so that the host keeps what the language model wrote when only the sampler's settings
    change. Sockets come as raw links for that: a link can be compared with the last run's, a model cannot."""
    given = {name: value for name, value in inputs.items() if value is not None}
    graph = GraphBuilder()
    think = graph.node("WeGenThink", **{name: given[name] for name in WORDS if name in given})
    paint_inputs = {name: given[name] for name in _PAINT if name in given}
    paint = graph.node("WeGenPaint", ideas=think.out(0), reply=think.out(1), **paint_inputs)
    return graph, paint


class WeGenGenerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenGenerate",
            display_name="WeGen Generate",
            category=CATEGORY,
            description="The first turn of a chat: text and references in, pictures out.",
            search_aliases=["wegen text to image", "wegen text to picture"],
            enable_expand=True,
            inputs=[
                wegen(raw_link=True),
                io.Model.Input("model", raw_link=True, tooltip="The decoder; LoRA and other patches work on it."),
                io.Vae.Input("vae", raw_link=True),
                instruction("What to draw; vague is fine. @name means a reference."),
                seed(),
                batch_size(),
                rewrite(),
                creativity(),
                *sampler_settings(),
                size("width"),
                size("height"),
                *language_settings(),
                rewritten(),
                references(raw_link=True),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat"),
                io.String.Output(display_name="reply"),
            ],
        )

    @classmethod
    def execute(cls, **inputs) -> io.NodeOutput:
        graph, paint = expand_turn(inputs)
        return io.NodeOutput(paint.out(0), paint.out(1), paint.out(3), expand=graph.finalize())


class WeGenRefine(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenRefine",
            display_name="WeGen Refine",
            category=CATEGORY,
            description="The next turn of a chat: changes what you say, and keeps masked pixels to the bit.",
            search_aliases=["wegen edit", "wegen inpaint"],
            enable_expand=True,
            inputs=[
                wegen(raw_link=True),
                io.Model.Input("model", raw_link=True, tooltip="The decoder; LoRA and other patches work on it."),
                io.Vae.Input("vae", raw_link=True),
                ChatType.Input("chat", raw_link=True, tooltip="From WeGen Generate or another WeGen Refine."),
                instruction("What to change. @name means a reference."),
                seed(),
                batch_size(),
                rewrite(),
                creativity(default=0.0),
                *sampler_settings(),
                *language_settings(),
                *refine_settings(),
                rewritten(),
                references(raw_link=True),
                io.Mask.Input("edit_mask", optional=True, raw_link=True, tooltip="White may change."),
                io.Mask.Input("keep_mask", optional=True, raw_link=True, tooltip="White stays as it is, to the bit."),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat"),
                io.Mask.Output(display_name="mask", tooltip="Where the picture was allowed to change."),
                io.String.Output(display_name="reply"),
            ],
        )

    @classmethod
    def execute(cls, **inputs) -> io.NodeOutput:
        graph, paint = expand_turn(inputs)
        return io.NodeOutput(paint.out(0), paint.out(1), paint.out(2), paint.out(3), expand=graph.finalize())
