"""WeGen Conditioning: a turn of a chat for stock samplers."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..models.engine import draft_pictures
from ..models.errors import AnsweredInWords
from ..models.painting.painter import require_size
from ..models.values import Chat
from .host.bundle import language_progress
from .host.messages import NOTHING, answered_in_words
from .host.painter import conditioning
from .host.parts import memory_errors
from .inputs import inputs, instruction, references, require_wired, wegen
from .sockets import CATEGORY, ChatType
from .taking_turns import (
    FEATURES,
    REPLY,
    WORDS,
    request_of,
)

SIZE = (
    "Of the latent that KSampler gets, in pixels, 16 or more: the decoder is told it. 0 takes the length of the other "
    "side; 0 for both takes the checkpoint's own size."
)


class WeGenConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenConditioning",
            display_name="WeGen Conditioning",
            category=CATEGORY,
            description="The same turn as WeGen Generate without the sampler: features as conditioning for KSampler.",
            search_aliases=["wegen ksampler", "wegen features"],
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                wegen(),
                instruction("What to draw, or what to change when a chat is connected."),
                *inputs(
                    *WORDS,
                    *FEATURES,
                    tooltips={
                        "seed": "Of the words alone; KSampler has its own for the noise. The first of a batch uses the "
                        "seed, the next one seed + 1, and so on."
                    },
                ),
                references(),
                ChatType.Input("chat", optional=True, tooltip="Earlier turns."),
                *inputs("width", "height", "rewritten", tooltips=dict.fromkeys(("width", "height"), SIZE)),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="What to draw, for KSampler."),
                io.Conditioning.Output(display_name="negative", tooltip="The empty conditioning, for KSampler."),
                io.String.Output(display_name="reply", tooltip=REPLY),
            ],
        )

    @classmethod
    def execute(cls, wegen, chat=None, width=0, height=0, **asked) -> io.NodeOutput:
        require_wired(wegen=wegen)
        request = request_of(width=width, height=height, **asked)
        width, height = request.size or (wegen.config.size, wegen.config.size)
        require_size(width, height)
        try:
            with memory_errors("writing pictures", wegen.formats):
                drafts = draft_pictures(request, chat or Chat(), wegen, language_progress(cls.hidden.unique_id))
        except AnsweredInWords as answer:
            return answered_in_words(answer, NOTHING, NOTHING, str(answer))
        features = torch.stack([draft.features for draft in drafts])
        notes = (note for draft in drafts for note in draft.notes)
        reply = "\n".join(dict.fromkeys((*notes, *(draft.rewrite for draft in drafts))))
        return io.NodeOutput(*conditioning(wegen.config, features, width, height), reply)
