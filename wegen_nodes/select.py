"""WeGen Select: a mask of what is named."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io, ui

from ..models.editing.predicted_mask import heat_map
from ..models.engine import select
from ..models.errors import AnsweredInWords
from .host.bundle import language_progress
from .host.messages import NO_PICTURES, NOTHING, answered_in_words
from .host.parts import memory_errors
from .inputs import require_wired, seed, text
from .sockets import CATEGORY, ChatType
from .taking_turns import brought_inputs, models_of, painter_of


class WeGenSelect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenSelect",
            display_name="WeGen Select",
            category=CATEGORY,
            description="A mask of the things that you name in a picture. The model paints the picture without them; "
            "the mask is where that differs.",
            search_aliases=["wegen mask", "mask by words", "text to mask", "segment", "grounding", "keep mask"],
            is_output_node=True,
            inputs=[
                *brought_inputs(),
                ChatType.Input("chat", tooltip="The picture that it goes on with is looked at."),
                io.String.Input("things", default="", tooltip="What to select, such as: the red house."),
                seed(
                    "Of the noise from which the picture is painted, with the things and without. Another one may find "
                    "an edge better."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Mask.Output(display_name="mask", tooltip="White where the things are; a keep or edit mask."),
                io.Image.Output(display_name="without", tooltip="The picture without them."),
            ],
        )

    @classmethod
    def execute(cls, chat, things, seed, wegen=None, model=None, vae=None) -> io.NodeOutput:
        require_wired(chat=chat)
        text("things", things)
        chat.require_turn()
        models, node = models_of(chat, wegen=wegen, model=model, vae=vae), str(cls.hidden.unique_id)
        chat = replace(chat, painted_by=None)  # what is remembered is not to hold on to the models of earlier turns
        try:
            with memory_errors("looking for what you named", models.wegen.formats):
                found = select(things, chat, painter_of(node, models), models.wegen, seed, language_progress(node))
        except AnsweredInWords as answer:
            return answered_in_words(answer, NOTHING, NOTHING, **NO_PICTURES)
        view = heat_map(chat.last.answer.picture, found.mask, found.mask)
        return io.NodeOutput(found.mask[None], found.without[None], ui=ui.PreviewImage(view[None], cls=cls))
