"""WeGen Diversity."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..models.checkpoints.wegen import LOOKED_AT_ONCE
from ..models.metrics.diversity import compare_features, compare_pixels, draw_matrix, require_count, same_size, summary
from .host.bundle import progress
from .host.parts import LOOKING, memory_errors
from .inputs import require_wired
from .sockets import CATEGORY, WeGenType


class WeGenDiversity(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenDiversity",
            display_name="WeGen Diversity",
            category=CATEGORY,
            description="How different the pictures of a batch are: distances between any two, and the Vendi score.",
            search_aliases=["vendi score", "batch diversity", "compare images", "similarity matrix"],
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="A batch, or a list: all pictures are compared with each other."),
                WeGenType.Input(
                    "wegen",
                    optional=True,
                    tooltip="Compares what is shown, by its vision encoder. Without it pixels alone are compared.",
                ),
            ],
            is_input_list=True,
            outputs=[
                io.Float.Output(display_name="vendi", tooltip="From 1, all alike, to the number of pictures."),
                io.Float.Output(display_name="distance", tooltip="Mean distance between two pictures, from 0 to 2."),
                io.String.Output(display_name="report"),
                io.Image.Output(display_name="matrix", tooltip="All distances between the pictures themselves."),
            ],
        )

    @classmethod
    def execute(cls, images, wegen=None) -> io.NodeOutput:
        for batch in images:
            require_wired(images=batch)
        require_count(sum(map(len, images)))
        with memory_errors("comparing pictures"):
            pictures = same_size([picture for batch in images for picture in batch])
            measures = [compare_pixels(pictures)]
        if wegen and wegen[0] is not None:
            with memory_errors(LOOKING, wegen[0].formats):
                vision, step, features = wegen[0].load_vision(len(pictures)), progress(), []
                for group in pictures.split(LOOKED_AT_ONCE):
                    features.append(vision.encode_pictures(list(group)))
                    step(sum(map(len, features)), len(pictures))
                measures.insert(0, compare_features(torch.cat(features)))
        matrix = draw_matrix(pictures, measures)[None]
        said = summary(measures)
        shown = {**ui.PreviewImage(matrix, cls=cls).as_dict(), **ui.PreviewText(said).as_dict()}
        return io.NodeOutput(measures[0].vendi, measures[0].mean, said, matrix, ui=shown)
