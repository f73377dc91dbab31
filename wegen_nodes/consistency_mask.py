"""WeGen Consistency Mask."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..models.editing.predicted_mask import heat_map
from ..models.engine import predict_masks
from ..models.errors import AnsweredInWords
from .host.bundle import language_progress
from .host.messages import NO_PICTURES, NOTHING, answered_in_words
from .host.parts import memory_errors
from .inputs import inputs, instruction, references, require_wired, wegen
from .sockets import CATEGORY, ChatType
from .taking_turns import models_of, request_of


class WeGenConsistencyMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenConsistencyMask",
            display_name="WeGen Consistency Mask",
            category=CATEGORY,
            description="Where the model means to change the picture: its features before and after, cell by cell. "
            "WeGen Refine with the same inputs uses the same mask.",
            search_aliases=["wegen auto mask", "edit mask", "difference mask"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                wegen("From WeGen Load Model. Not needed where the chat was painted in this graph.", optional=True),
                ChatType.Input("chat", tooltip="The picture that it goes on with is compared."),
                instruction("What to change. @name means a reference."),
                *inputs(
                    *("seed", "batch_size", "rewrite", "creativity", "feature_guidance", "collection"),
                    refine=True,
                    tooltips={
                        "seed": "Of the words, as in WeGen Refine. The first mask of a batch uses the seed, the next "
                        "one seed + 1, and so on; at a creativity of 0 all are the same."
                    },
                ),
                references(),
                *inputs("threshold", "grow", "soften", "rewritten"),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Mask.Output(display_name="mask", tooltip="White may change; an edit mask for WeGen Refine."),
                io.Image.Output(
                    display_name="heat_map",
                    tooltip="The picture in grey, with the differences in colour.",
                ),
            ],
        )

    @classmethod
    def execute(cls, chat, wegen=None, **asked) -> io.NodeOutput:
        require_wired(chat=chat)
        wegen = models_of(chat, wegen=wegen).wegen
        try:
            with memory_errors("writing what would change", wegen.formats):
                found = predict_masks(request_of(**asked), chat, wegen, language_progress(cls.hidden.unique_id))
        except AnsweredInWords as answer:
            return answered_in_words(answer, NOTHING, NOTHING, **NO_PICTURES)
        before = chat.last.answer.picture
        maps = torch.stack([heat_map(before, one.heat, one.mask) for one in found])
        masks = torch.stack([one.mask for one in found])
        notes = "\n".join(dict.fromkeys(one.note for one in found if one.note))
        # Of lists the host shows what the first run shows: words too where it has none.
        shown = {**ui.PreviewImage(maps, cls=cls).as_dict(), **ui.PreviewText(notes).as_dict()}
        return io.NodeOutput(masks, maps, ui=shown)
