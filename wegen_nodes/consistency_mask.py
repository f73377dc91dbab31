"""WeGen Consistency Mask."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..models.editing.predicted_mask import heat_map, predict_edit_mask
from ..models.values import AutoMask
from .inputs import CATEGORY, ChatType, auto_mask_settings, rewritten, wegen
from .thinking import think_in_host, turn_inputs


class WeGenConsistencyMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        turn = [entry for entry in turn_inputs() if entry.id != "chat"]
        return io.Schema(
            node_id="WeGenConsistencyMask",
            display_name="WeGen Consistency Mask",
            category=CATEGORY,
            description="Where the model means to change the picture: its features before and after, cell by cell.",
            search_aliases=["wegen auto mask", "edit mask", "difference mask"],
            inputs=[
                wegen(),
                ChatType.Input("chat", tooltip="Its last picture is the one before."),
                *turn,
                *auto_mask_settings(),
                rewritten(),
            ],
            outputs=[
                io.Mask.Output(display_name="mask", tooltip="White may change; an edit mask for WeGen Refine."),
                io.Image.Output(display_name="heat_map"),
            ],
        )

    @classmethod
    def execute(
        cls,
        wegen,
        chat,
        threshold=AutoMask.threshold,
        grow=AutoMask.grow,
        soften=AutoMask.soften,
        **turn,
    ) -> io.NodeOutput:
        chat = wegen.read(chat)
        before = chat.last.answer
        height, width = before.picture.shape[:2]
        how = AutoMask(threshold, grow, soften)
        found = [
            predict_edit_mask(before.features, idea.features, height, width, how)
            for idea in think_in_host(wegen, chat=chat, **turn)
        ]
        maps = torch.stack([heat_map(before.picture, one.heat, one.mask) for one in found])
        masks = torch.stack([one.mask for one in found])
        return io.NodeOutput(masks, maps, ui=ui.PreviewImage(maps, cls=cls))
