"""WeGen Result: the end of a user's own workflow that paints the turns of a chat."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..models.editing.open_turn import answer
from ..models.media.metadata import turns_of
from .host import folders
from .host.bundle import progress
from .host.png_metadata import write_down
from .inputs import pasting, require_numbers, require_wired, text
from .sockets import CATEGORY, ChatType, OpenTurnType


class WeGenResult(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenResult",
            display_name="WeGen Result",
            category=CATEGORY,
            description="Makes pictures of any model the answer of a turn: brought to size, moved back into place, "
            "kept pixels pasted back bit for bit, written into the chat, and saved. Needs no WeGen model.",
            search_aliases=["wegen edit any model", "own workflow", "paste back", "save image", "chat with any model"],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="From any model. Another size is resized; its proportions may differ by up to 10 %.",
                ),
                OpenTurnType.Input("turn", tooltip="From WeGen Turn."),
                *pasting(),
                io.String.Input(
                    "filename_prefix",
                    default="wegen/turn",
                    tooltip="Where pictures are saved in the output folder. Empty only shows them.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat", tooltip="For WeGen Refine, WeGen Chat or another WeGen Turn."),
                io.String.Output(display_name="report", tooltip="What was done to each picture."),
            ],
        )

    @classmethod
    def execute(cls, image, turn, feather, align, match_tone, filename_prefix) -> io.NodeOutput:
        require_wired(image=image, turn=turn)
        prefix = folders.require_file_name(text("filename_prefix", filename_prefix))
        require_numbers(feather=feather)
        answered = answer(turn, image, feather, align, match_tone, progress())
        answers = answered.chat.last.answers
        pictures = torch.stack([one.picture for one in answers])
        record = [turns_of(turn.chat, turn.instruction, one) for one in answers]
        write_down(cls.hidden.prompt, str(cls.hidden.unique_id), cls.hidden.extra_pnginfo, record)
        if prefix:
            shown = ui.ImageSaveHelper.get_save_images_ui(pictures, prefix, cls=cls)
        else:
            shown = ui.PreviewImage(pictures, cls=cls)
        said = ui.PreviewText(answered.report)
        return io.NodeOutput(pictures, answered.chat, answered.report, ui={**shown.as_dict(), **said.as_dict()})
