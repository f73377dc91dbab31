"""WeGen Generate and WeGen Refine: one turn of a chat each; and WeGen Conditioning, the same for stock samplers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from comfy_api.latest import io, ui

from ..models.engine import TurnRequest, TurnResult, draft_pictures, take_turn
from ..models.errors import AnsweredInWords, WeGenError
from ..models.media.metadata import turns_of
from ..models.options import OPTIONS
from ..models.values import Chat, References
from .host import png_metadata
from .host.bundle import counted, language_progress, tell_phase
from .host.messages import NO_PICTURES, NOTHING, answered_in_words
from .host.painter import HostPainter, conditioning
from .host.parts import memory_errors
from .inputs import inputs, instruction, references, wegen
from .sockets import CATEGORY, ChatType, WeGenType

_WORDS = ("seed", "batch_size", "rewrite", "creativity")
_SAMPLER = ("steps", "cfg", "sampler_name", "scheduler")
_FEATURES = ("feature_guidance", "collection")
_REFINE = ("strength", "auto_mask", "threshold", "grow", "soften", "release", "align")


def request_of(
    instruction: str,
    references: References | None = None,
    edit_mask: torch.Tensor | None = None,
    keep_mask: torch.Tensor | None = None,
    **options: Any,
) -> TurnRequest:
    """What a node's inputs ask for."""
    return TurnRequest.from_options(instruction, options, references, edit_mask, keep_mask)


class Models(NamedTuple):
    """What a chat brings along for its next turn: the three outputs of WeGen Load Model."""

    wegen: Any
    model: Any
    vae: Any


def models_of(chat: Chat, **given: Any) -> Models:
    """The models that are wired in, and for the others those that painted the chat.

    Raises:
        WeGenError: one is neither wired in nor brought along.
    """
    brought = chat.painted_by if isinstance(chat.painted_by, Models) else Models(None, None, None)
    found = {name: getattr(brought, name) if given.get(name) is None else given[name] for name in Models._fields}
    missing = [name for name, value in found.items() if value is None and name in given]
    if missing:
        raise WeGenError(
            f"Connect {', '.join(missing)} from WeGen Load Model: no WeGen model painted this chat in this "
            "graph, so it brings none along."
        )
    return Models(**found)


def _take_turn(cls: type[io.ComfyNode], models: Models, chat: Chat, picked: int, asked: dict[str, Any]) -> TurnResult:
    """A turn with the host's sampler, its words written into the pictures that are saved after it.

    A pick beyond the turn's pictures, as when fewer are painted than before, counts as the first.
    """
    request = request_of(**asked)
    node = str(cls.hidden.unique_id)
    wegen = models.wegen

    def answer() -> TurnResult:
        on_begin = partial(tell_phase, node, "painting")
        painter = HostPainter(models.model, models.vae, wegen.config, on_begin, counted(node, "painting"))
        return take_turn(request, chat, painter, wegen, language_progress(node))

    chat = replace(chat, painted_by=None)  # what is remembered is not to hold on to the models of earlier turns
    with memory_errors("making pictures"):
        result = wegen.recall_painted((request, chat), (models.model, models.vae), answer)
    last = result.chat.last
    before = Chat(result.chat.turns[:-1])
    record = [turns_of(before, last.instruction, answer) for answer in result.answers]
    png_metadata.write_down(cls.hidden.prompt, node, cls.hidden.extra_pnginfo, record)
    chat, count = result.chat, len(request.seeds)
    if picked > count:
        note = f"Picture {picked} was picked, but this turn has pictures 1 to {count}: the chat goes on with the first."
        result = result._replace(notes=(*result.notes, note))
    elif picked and not result.spoken:
        chat = chat.pick(picked - 1)
    return result._replace(chat=replace(chat, painted_by=models))


def _shown(cls: type[io.ComfyNode], result: TurnResult) -> dict[str, Any]:
    """The finished pictures and the words, on the node."""
    pictures = ui.PreviewImage(result.pictures, cls=cls).as_dict()
    picked = 1 if result.spoken else result.chat.last.picked + 1
    return {**pictures, **ui.PreviewText(result.reply).as_dict(), "picked": (picked,)}


def _picked() -> io.Input:
    return io.Int.Input(
        "picked",
        default=0,
        min=0,
        max=OPTIONS["batch_size"].maximum,
        optional=True,
        advanced=True,
        tooltip="The picture that the chat goes on with, counted from 1; 0 is the first. A click on its number below "
        "picks it, and nothing is painted anew.",
    )


def _brought(kind: type[io.Input] | Any, name: str, tooltip: str) -> io.Input:
    return kind.Input(name, optional=True, tooltip=f"{tooltip} Not needed where the chat was painted in this graph.")


_CHAT = "This turn with those before it, and the models that painted it; for WeGen Refine to go on with."
_REPLY = "What was drawn, in words, after notes; or the model's answer where it draws nothing."
_HIDDEN = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]


class WeGenGenerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenGenerate",
            display_name="WeGen Generate",
            category=CATEGORY,
            description="The first turn of a chat: text and references in, pictures out.",
            search_aliases=["wegen text to image", "wegen text to picture", "copilot", "chat", "vlm", "llm"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                wegen(),
                io.Model.Input("model", tooltip="The decoder; LoRA and other patches work on it."),
                io.Vae.Input("vae", tooltip="From WeGen Load Model."),
                instruction("What to draw; vague is fine. @name means a reference."),
                *inputs(*_WORDS, *_SAMPLER, "width", "height", *_FEATURES, "rewritten"),
                references(),
                _picked(),
            ],
            hidden=_HIDDEN,
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures."),
                ChatType.Output(display_name="chat", tooltip=_CHAT),
                io.String.Output(display_name="reply", tooltip=_REPLY),
            ],
        )

    @classmethod
    def execute(cls, wegen, model, vae, picked=0, **asked) -> io.NodeOutput:
        try:
            result = _take_turn(cls, Models(wegen, model, vae), Chat(), picked, asked)
        except AnsweredInWords as answer:
            # None of the turns behind it takes the place of what those before it wrote down.
            png_metadata.write_down(cls.hidden.prompt, str(cls.hidden.unique_id), cls.hidden.extra_pnginfo, [])
            return answered_in_words(answer, NOTHING, NOTHING, str(answer), **NO_PICTURES, picked=(1,))
        return io.NodeOutput(result.pictures, result.chat, result.reply, ui=_shown(cls, result))


class WeGenRefine(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenRefine",
            display_name="WeGen Refine",
            category=CATEGORY,
            description="The next turn of a chat: changes what you ask for, and leaves every pixel outside the change "
            "area bit-identical.",
            search_aliases=["wegen edit", "wegen inpaint", "edit", "chat", "copilot", "vlm", "llm"],
            is_output_node=True,
            # Saved workflows hold widgets by their order: new ones go behind all others.
            inputs=[
                _brought(WeGenType, "wegen", "From WeGen Load Model."),
                _brought(io.Model, "model", "The decoder; LoRA and other patches work on it."),
                _brought(io.Vae, "vae", "From WeGen Load Model."),
                ChatType.Input("chat", tooltip="From WeGen Generate or another WeGen Refine."),
                instruction("What to change. @name means a reference."),
                *inputs(*_WORDS, *_SAMPLER, *_FEATURES, *_REFINE, "rewritten", "match_tone", refine=True),
                references(),
                io.Mask.Input("edit_mask", optional=True, tooltip="White may change."),
                io.Mask.Input("keep_mask", optional=True, tooltip="White stays as it is, bit for bit."),
                _picked(),
            ],
            hidden=_HIDDEN,
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures; as it was where the model only answers."),
                ChatType.Output(display_name="chat", tooltip=_CHAT),
                io.Mask.Output(display_name="mask", tooltip="Where the picture was allowed to change."),
                io.String.Output(display_name="reply", tooltip=_REPLY),
            ],
        )

    @classmethod
    def execute(cls, chat, wegen=None, model=None, vae=None, picked=0, **asked) -> io.NodeOutput:
        chat.require_turn()
        models = models_of(chat, wegen=wegen, model=model, vae=vae)
        result = _take_turn(cls, models, chat, picked, asked)
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
                io.Conditioning.Output(display_name="positive", tooltip="What to draw, for KSampler."),
                io.Conditioning.Output(display_name="negative", tooltip="The empty conditioning, for KSampler."),
                io.String.Output(display_name="reply", tooltip=_REPLY),
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
