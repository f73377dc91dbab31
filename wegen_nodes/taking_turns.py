"""What the nodes that take turns of a chat share: their inputs, the models of a chat, and the turn itself."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from comfy_api.latest import io, ui

from ..models.engine import TurnRequest, TurnResult, take_turn
from ..models.errors import WeGenError
from ..models.media.metadata import turns_of
from ..models.options import OPTIONS
from ..models.values import Chat, References
from .batches import one_mask
from .host import png_metadata
from .host.bundle import counted, language_progress, tell_phase
from .host.painter import HostPainter
from .host.parts import memory_errors
from .inputs import require_whole_numbers, text
from .sockets import WeGenType

WORDS = ("seed", "batch_size", "rewrite", "creativity")
SAMPLER = ("steps", "cfg", "sampler_name", "scheduler")
FEATURES = ("feature_guidance", "collection")
CHAT = "This turn with those before it, and the models that painted it; for WeGen Refine to go on with."
REPLY = "What was drawn, in words, after notes; or the model's answer where it draws nothing."
HIDDEN = [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo]


def request_of(
    instruction: str,
    references: References | None = None,
    edit_mask: torch.Tensor | None = None,
    keep_mask: torch.Tensor | None = None,
    **options: Any,
) -> TurnRequest:
    """What a node's inputs ask for."""
    text("instruction", instruction)
    return TurnRequest.from_options(instruction, options, references, one_mask(edit_mask), one_mask(keep_mask))


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
            f"Connect {', '.join(missing)} from WeGen Load Model: no WeGen model painted this chat in this graph, so "
            "it brings none along."
        )
    return Models(**found)


def painter_of(node: str, models: Models) -> HostPainter:
    """The host's sampler with these models; it tells its progress at a node."""
    on_begin, on_step = partial(tell_phase, node, "painting"), counted(node, "painting")
    return HostPainter(models.model, models.vae, models.wegen.config, on_begin, on_step, models.wegen.formats)


def graph_turn(cls: type[io.ComfyNode], models: Models, chat: Chat, picked: int, asked: dict[str, Any]) -> TurnResult:
    """A turn with the host's sampler, its words written into the pictures that are saved after it.

    A pick beyond the turn's pictures, as when fewer are painted than before, counts as the first.
    """
    require_whole_numbers(picked=picked)
    request = request_of(**asked)
    node = str(cls.hidden.unique_id)
    wegen = models.wegen

    def answer() -> TurnResult:
        return take_turn(request, chat, painter_of(node, models), wegen, language_progress(node))

    chat = replace(chat, painted_by=None)  # what is remembered is not to hold on to the models of earlier turns
    with memory_errors("making pictures", wegen.formats):
        result = wegen.recall_painted((request, chat), (models.model, models.vae), answer)
    last = result.chat.last
    before = Chat(result.chat.turns[:-1])
    templates = wegen.config.templates
    record = [turns_of(before, last.instruction, answer, templates) for answer in result.answers]
    png_metadata.write_down(cls.hidden.prompt, node, cls.hidden.extra_pnginfo, record)
    chat, count = result.chat, len(request.seeds)
    if picked > count:
        note = f"Picture {picked} was picked, but this turn has pictures 1 to {count}: the chat goes on with the first."
        result = result._replace(notes=(*result.notes, note))
    elif picked and not result.spoken:
        chat = chat.pick(picked - 1)
    return result._replace(chat=replace(chat, painted_by=models))


def shown(cls: type[io.ComfyNode], result: TurnResult) -> dict[str, Any]:
    """The finished pictures and the words, on the node."""
    pictures = ui.PreviewImage(result.pictures, cls=cls).as_dict()
    picked = 1 if result.spoken else result.chat.last.picked + 1
    return {**pictures, **ui.PreviewText(result.reply).as_dict(), "picked": (picked,)}


def picked_input() -> io.Input:
    """Which picture of the turn the chat goes on with."""
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


def brought_inputs() -> list[io.Input]:
    """The outputs of WeGen Load Model; a chat brings them along where it was painted in the same graph."""
    told = {
        "wegen": (WeGenType, "From WeGen Load Model."),
        "model": (io.Model, "The decoder; LoRA and other patches work on it."),
        "vae": (io.Vae, "From WeGen Load Model."),
    }
    return [
        kind.Input(name, optional=True, tooltip=f"{tooltip} Not needed where the chat was painted in this graph.")
        for name, (kind, tooltip) in told.items()
    ]
