"""WeGen Generate and WeGen Refine: one turn of a chat each; and WeGen Conditioning, the same for stock samplers."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..models.editing.refinement import Masks
from ..models.engine import TurnRequest, TurnResult, draft_pictures, take_turn
from ..models.errors import WeGenError
from ..models.media.metadata import turns_of
from ..models.options import OPTIONS
from ..models.values import AutoMask, Chat, References, SamplerSettings
from .host import png_metadata
from .host.bundle import language_progress, tell_phase
from .host.painter import HostPainter, conditioning
from .host.parts import memory_errors
from .inputs import inputs, instruction, references, wegen
from .sockets import CATEGORY, ChatType

_WORDS = ("seed", "batch_size", "rewrite", "creativity")
_SAMPLER = ("steps", "cfg", "sampler_name", "scheduler")
_FEATURES = ("feature_guidance", "collection")
_REFINE = ("strength", "auto_mask", "threshold", "grow", "soften", "release", "align")


def request_of(
    instruction: str,
    references: References | None = None,
    edit_mask: torch.Tensor | None = None,
    keep_mask: torch.Tensor | None = None,
    **given: Any,
) -> TurnRequest:
    """What a node's inputs ask for; inputs that are not given have their defaults.

    Raises:
        WeGenError: an empty instruction, or a number outside of its limits.
    """
    options = {name: given.get(name, option.default) for name, option in OPTIONS.items()}
    most = OPTIONS["batch_size"].maximum
    if not 1 <= options["batch_size"] <= most:
        raise WeGenError(f"The batch size is {options['batch_size']}; set 1 or more, at most {most}.")
    own = None
    if options["auto_mask"]:
        own = AutoMask(options["threshold"] or None, options["grow"], options["soften"])
    settings = SamplerSettings(
        steps=options["steps"],
        guidance_scale=options["cfg"],
        feature_guidance=options["feature_guidance"],
        collection=options["collection"],
        sampler=options["sampler_name"],
        scheduler=options["scheduler"],
        strength=options["strength"],
        auto_mask=own,
        align=options["align"],
        match_tone=options["match_tone"],
    )
    sides = options["width"], options["height"]
    if any(sides) and not all(sides):
        sides = (max(sides),) * 2
    return TurnRequest(
        instruction,
        tuple(options["seed"] + k for k in range(options["batch_size"])),
        references or References(),
        options["rewrite"],
        options["creativity"],
        prompt_override=options["rewritten"],
        size=sides if all(sides) else None,
        masks=Masks(edit_mask, keep_mask, options["release"]),
        settings=settings,
    )


def _take_turn(cls: type[io.ComfyNode], wegen, model, vae, chat: Chat, asked: dict[str, Any]) -> TurnResult:
    """A turn with the host's sampler, its words written into the pictures that are saved after it."""
    request = request_of(**asked)
    node = str(cls.hidden.unique_id)
    painter = HostPainter(model, vae, wegen.config, lambda: tell_phase(node, "painting"))
    with memory_errors("making pictures"):
        result = take_turn(request, chat, painter, wegen, language_progress(node))
    last = result.chat.last
    before = Chat(result.chat.turns[:-1])
    record = [turns_of(before, last.instruction, answer.rewrite, answer.seed) for answer in last.answers]
    png_metadata.write_down(cls.hidden.prompt, node, cls.hidden.extra_pnginfo, record)
    return result


def _shown(cls: type[io.ComfyNode], result: TurnResult) -> dict[str, Any]:
    """The finished pictures and the words, on the node."""
    pictures = ui.PreviewImage(result.pictures, cls=cls).as_dict()
    return {**pictures, **ui.PreviewText(result.reply).as_dict()}


_HIDDEN = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]


class WeGenGenerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenGenerate",
            display_name="WeGen Generate",
            category=CATEGORY,
            description="The first turn of a chat: text and references in, pictures out.",
            search_aliases=["wegen text to image", "wegen text to picture", "copilot", "vlm", "llm"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                wegen(),
                io.Model.Input("model", tooltip="The decoder; LoRA and other patches work on it."),
                io.Vae.Input("vae"),
                instruction("What to draw; vague is fine. @name means a reference."),
                *inputs(*_WORDS, *_SAMPLER, "width", "height", *_FEATURES, "rewritten"),
                references(),
            ],
            hidden=_HIDDEN,
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat"),
                io.String.Output(display_name="reply"),
            ],
        )

    @classmethod
    def execute(cls, wegen, model, vae, **asked) -> io.NodeOutput:
        result = _take_turn(cls, wegen, model, vae, Chat(), asked)
        return io.NodeOutput(result.pictures, result.chat, result.reply, ui=_shown(cls, result))


class WeGenRefine(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenRefine",
            display_name="WeGen Refine",
            category=CATEGORY,
            description="The next turn of a chat: changes what you say, and keeps masked pixels to the bit.",
            search_aliases=["wegen edit", "wegen inpaint", "edit", "chat", "copilot"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                wegen(),
                io.Model.Input("model", tooltip="The decoder; LoRA and other patches work on it."),
                io.Vae.Input("vae"),
                ChatType.Input("chat", tooltip="From WeGen Generate or another WeGen Refine."),
                instruction("What to change. @name means a reference."),
                *inputs(*_WORDS, *_SAMPLER, *_FEATURES, *_REFINE, "rewritten", "match_tone", refine=True),
                references(),
                io.Mask.Input("edit_mask", optional=True, tooltip="White may change."),
                io.Mask.Input("keep_mask", optional=True, tooltip="White stays as it is, to the bit."),
            ],
            hidden=_HIDDEN,
            outputs=[
                io.Image.Output(display_name="image"),
                ChatType.Output(display_name="chat"),
                io.Mask.Output(display_name="mask", tooltip="Where the picture was allowed to change."),
                io.String.Output(display_name="reply"),
            ],
        )

    @classmethod
    def execute(cls, wegen, model, vae, chat, **asked) -> io.NodeOutput:
        chat.last  # noqa: B018 - says what is wrong with an empty chat
        result = _take_turn(cls, wegen, model, vae, chat, asked)
        mask = result.change
        if mask is None:
            mask = torch.full(result.pictures.shape[:3], 0.0 if result.spoken else 1.0)
        return io.NodeOutput(result.pictures, result.chat, mask, result.reply, ui=_shown(cls, result))


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
                *inputs(*_WORDS, *_FEATURES),
                references(),
                ChatType.Input("chat", optional=True, tooltip="Earlier turns."),
                *inputs("width", "height", "rewritten"),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.String.Output(display_name="reply"),
            ],
        )

    @classmethod
    def execute(cls, wegen, chat=None, width=0, height=0, **asked) -> io.NodeOutput:
        request = request_of(**asked)
        with memory_errors("writing pictures"):
            drafts = draft_pictures(request, chat or Chat(), wegen, language_progress(cls.hidden.unique_id))
        features = torch.stack([draft.features for draft in drafts])
        own = wegen.config.size
        notes = (note for draft in drafts for note in draft.notes)
        reply = "\n".join(dict.fromkeys((*notes, *(draft.rewrite for draft in drafts))))
        return io.NodeOutput(*conditioning(features, width or own, height or own), reply)
