"""WeGen Consistency Report."""

from __future__ import annotations

import math

import torch
from comfy_api.latest import io, ui

from ..models.editing.masks import change_mask
from ..models.errors import WeGenError
from ..models.media.images import from_pil
from ..models.media.plots import bar_plot, curve_plot
from ..models.metrics.consistency import Area, compare, difference, drift
from .batches import batch_length, mask_batch, member
from .host.bundle import progress
from .inputs import require_numbers
from .sockets import CATEGORY, ChatType


class WeGenConsistencyReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenConsistencyReport",
            display_name="WeGen Consistency Report",
            category=CATEGORY,
            description="What an edit changed outside and inside its mask, or how a chat drifts from turn to turn. "
            "For pictures of any model.",
            is_output_node=True,
            search_aliases=["psnr", "ssim", "compare images", "difference", "drift"],
            inputs=[
                io.Image.Input("before", optional=True, tooltip="The picture as it was: one, or one for each after."),
                io.Image.Input("after", optional=True, tooltip="The edited picture, of the same size."),
                io.Mask.Input("edit_mask", optional=True, tooltip="White was allowed to change."),
                io.Mask.Input("keep_mask", optional=True, tooltip="White was to stay."),
                ChatType.Input("chat", optional=True, tooltip="Instead of pictures: all its turns against the first."),
                io.Float.Input(
                    "amplify",
                    default=8.0,
                    min=1.0,
                    max=255.0,
                    step=1.0,
                    tooltip="How many times stronger the difference picture shows what changed.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report"),
                io.Image.Output(display_name="plot"),
                io.Image.Output(display_name="difference"),
                io.Float.Output(display_name="psnr", tooltip="Outside the change area, dB; infinite when identical."),
                io.Float.Output(display_name="ssim", tooltip="Outside the change area."),
                io.Float.Output(display_name="max_difference", tooltip="Outside the change area, levels of 255."),
                io.Float.Output(display_name="changed", tooltip="Share of the pixels outside the change area, 0 to 1."),
            ],
        )

    @classmethod
    def execute(cls, amplify, before=None, after=None, edit_mask=None, keep_mask=None, chat=None) -> io.NodeOutput:
        require_numbers(amplify=amplify)
        pictures = before is not None and after is not None
        if pictures == (chat is not None) or (before is None) != (after is None):
            raise WeGenError("Connect before and after, or a chat, and not both.")
        if chat is not None:
            found = drift(chat)
            report, outside = str(found), found.turns
            plot = curve_plot(outside, 2, "Drift from turn 1, where nothing was to change", "turn")
            first, last = chat.turns[0].answer.picture, chat.last.answer.picture
            differences = difference(first, last, amplify)[None]
        else:
            edit_mask, keep_mask = mask_batch(edit_mask), mask_batch(keep_mask)
            if not len(before) or not len(after):
                raise WeGenError("There is no picture to compare: before or after is an empty batch.")
            count = batch_length(before=before, after=after, edit_mask=edit_mask, keep_mask=keep_mask)
            height, width = before.shape[1:3]
            compared, step = [], progress()
            for index in range(count):
                masks = member(edit_mask, index), member(keep_mask, index)
                change = change_mask(*masks, height, width, some=False)  # that all had to stay is a good question too
                compared.append(compare(member(before, index), member(after, index), change))
                step(index + 1, count)
            outside = tuple(comparison.outside for comparison in compared)
            if count == 1:
                report, plot = str(compared[0]), bar_plot(compared[0])
            else:
                report = "\n".join(f"Picture {number}\n{each}" for number, each in enumerate(compared, start=1))
                plot = curve_plot(outside, 1, "Outside the change area", "picture")
            differences = torch.stack(
                [difference(member(before, index), member(after, index), amplify) for index in range(count)]
            )
        image = from_pil(plot)[None]
        shown = {**ui.PreviewImage(image, cls=cls).as_dict(), **ui.PreviewText(report).as_dict()}
        return io.NodeOutput(report, image, differences, *worst(outside), ui=shown)


def worst(areas: tuple[Area | None, ...]) -> tuple[float, float, float, float]:
    """PSNR, SSIM, largest difference and share of changed pixels where they are worst; nan where nothing was kept."""
    areas = [area for area in areas if area is not None]
    if not areas:
        return (math.nan,) * 4
    return (
        min(area.psnr for area in areas),
        min(area.ssim for area in areas),
        float(max(area.largest for area in areas)),
        max(area.changed for area in areas),
    )
