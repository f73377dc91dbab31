"""WeGen Conditioning: a turn of a chat for stock samplers."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..models.engine import draft_pictures
from ..models.errors import AnsweredInWords
from ..models.values import Chat
from .host.bundle import language_progress
from .host.messages import NOTHING, answered_in_words
from .host.painter import conditioning
from .host.parts import memory_errors
from .inputs import inputs, instruction, references, wegen
from .sockets import CATEGORY, ChatType
from .taking_turns import (
    FEATURES,
    REPLY,
    WORDS,
    request_of,
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
                *inputs(*WORDS, *FEATURES),
                references(),
                ChatType.Input("chat", optional=True, tooltip="Earlier turns."),
                *inputs("width", "height", "rewritten"),
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
        request = request_of(**asked)
        try:
            with memory_errors("writing pictures"):
                drafts = draft_pictures(request, chat or Chat(), wegen, language_progress(cls.hidden.unique_id))
        except AnsweredInWords as answer:
            return answered_in_words(answer, NOTHING, NOTHING, str(answer))
        features = torch.stack([draft.features for draft in drafts])
        own = wegen.config.size
        notes = (note for draft in drafts for note in draft.notes)
        reply = "\n".join(dict.fromkeys((*notes, *(draft.rewrite for draft in drafts))))
        return io.NodeOutput(*conditioning(features, width or height or own, height or width or own), reply)
