"""WeGen Keep."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..models.editing.composite import with_channels
from ..models.editing.keep import keep
from ..models.editing.masks import change_mask
from ..models.errors import WeGenError
from .batches import batch_length, mask_batch, member
from .host.bundle import progress
from .inputs import pasting, require_numbers, require_wired
from .sockets import CATEGORY


class WeGenKeep(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenKeep",
            display_name="WeGen Keep",
            category=CATEGORY,
            description="Moves an edited picture back into place and pastes the kept pixels over it, bit for bit. "
            "For pictures of any model.",
            is_output_node=True,
            search_aliases=["paste back", "composite", "align", "inpaint stitch", "registration", "seam"],
            inputs=[
                # First, so that a bypassed node hands on the edited picture.
                io.Image.Input(
                    "after",
                    tooltip="The edited picture, from any model. Another size is resized; its proportions "
                    "may differ by up to 10 %.",
                ),
                io.Image.Input("before", tooltip="The picture as it was: one, or one for each picture after."),
                io.Mask.Input("edit_mask", optional=True, tooltip="White may change. One of the two masks is needed."),
                io.Mask.Input("keep_mask", optional=True, tooltip="White stays as it is, bit for bit."),
                *pasting(optional=True, advanced=True),
            ],
            outputs=[
                io.Image.Output(display_name="image"),
                io.Mask.Output(display_name="mask", tooltip="What changed: black is as before, bit for bit."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(cls, before, after, feather, align, edit_mask=None, keep_mask=None, match_tone=False) -> io.NodeOutput:
        require_wired(after=after, before=before)
        if edit_mask is None and keep_mask is None:
            raise WeGenError("WeGen Keep has no mask: connect an edit_mask (white may change) or a keep_mask.")
        require_numbers(feather=feather)
        height, width = before.shape[1:3]
        if not (height and width and len(before) and len(after)):
            raise WeGenError("WeGen Keep got no picture: before and after need one or more, of 1 pixel or more.")
        edit_mask, keep_mask = mask_batch(edit_mask), mask_batch(keep_mask)
        count = batch_length(before=before, after=after, edit_mask=edit_mask, keep_mask=keep_mask)
        results, step = [], progress()
        for index in range(count):
            masks = member(edit_mask, index), member(keep_mask, index)
            # In a batch there may be frames in which nothing changes.
            change = change_mask(*masks, height, width, some=count == 1)
            results.append(keep(member(before, index), member(after, index), change, feather, align, match_tone))
            step(index + 1, count)
        reports = [result.report for result in results]
        if count > 1:
            reports = [f"{number}. {report}" for number, report in enumerate(reports, start=1)]
        report = "\n".join(reports)
        # The host saves no pictures of one channel.
        image = torch.stack([with_channels(one.picture, max(3, one.picture.shape[-1])) for one in results])
        mask = torch.stack([result.weight for result in results])
        shown = {**ui.PreviewImage(image, cls=cls).as_dict(), **ui.PreviewText(report).as_dict()}
        return io.NodeOutput(image, mask, report, ui=shown)
