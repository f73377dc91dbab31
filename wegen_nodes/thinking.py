"""The language side of a turn: WeGen Conditioning, and the inner node that WeGen Generate and Refine begin with."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..models.editing.refinement import Masks, kept_area
from ..models.engine import PictureDraft, Wish, positions_needed, think
from ..models.errors import WeGenError
from ..models.media.metadata import turns_of
from ..models.prompting.rewriting import rows_needed
from ..models.prompting.text_sampling import TextSampling
from ..models.values import Chat, References
from .host.bundle import WeGenBundle, progress
from .host.png_metadata import write_down
from .host.sampling import conditioning
from .inputs import (
    CATEGORY,
    ChatType,
    DraftsType,
    batch_size,
    creativity,
    instruction,
    language_settings,
    references,
    rewrite,
    rewritten,
    seed,
    size,
    wegen,
)


def think_in_host(
    wegen: WeGenBundle,
    instruction: str,
    seed: int,
    batch_size: int,
    rewrite: bool,
    creativity: float,
    feature_guidance: float = 1.0,
    collection: str = "aligned",
    rewritten: str = "",
    references: References | None = None,
    chat: Chat | None = None,
    edit_mask: torch.Tensor | None = None,
    keep_mask: torch.Tensor | None = None,
    release: bool = False,
) -> tuple[PictureDraft, ...]:
    """Run the language side with the host's memory management, progress and cancel."""
    if batch_size < 1:
        raise WeGenError(f"The batch size is {batch_size}; set 1 or more.")
    sampling = TextSampling.from_creativity(creativity) if rewrite else None
    chat = wegen.read(chat)
    kept = kept_area(chat, Masks(edit_mask, keep_mask, release)) if len(chat) else None
    wish = Wish(instruction, references, sampling, feature_guidance, collection, rewritten, kept)
    seeds = tuple(seed + k for k in range(batch_size))

    def run() -> list[PictureDraft]:
        rows = batch_size * (1 if feature_guidance == 1 else 2)
        if sampling is not None and not wish.given:
            rows = max(rows, rows_needed(batch_size))
        model = wegen.load_language(rows, positions_needed(wegen.config, wegen.tokenizer, chat, wish))
        return think(model, chat, wish, seeds, progress(), progress())

    return wegen.recall((chat, wish, seeds), run)


def reply(ideas: tuple[PictureDraft, ...]) -> str:
    """What the model says in a turn: what it has to remark, then the words each picture was drawn from, one a line."""
    notes = (note for idea in ideas for note in idea.notes)
    return "\n".join(dict.fromkeys((*notes, *(idea.rewrite for idea in ideas))))


def turn_inputs() -> list[io.Input]:
    """What `think_in_host` takes beside the model."""
    return [
        instruction("What to draw, or what to change when a chat is connected."),
        seed(),
        batch_size(),
        rewrite(),
        creativity(),
        *language_settings(),
        references(),
        ChatType.Input("chat", optional=True, tooltip="Earlier turns."),
    ]


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
            inputs=[wegen(), *turn_inputs(), size("width"), size("height"), rewritten()],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.String.Output(display_name="reply"),
            ],
        )

    @classmethod
    def execute(cls, wegen, width=0, height=0, **turn) -> io.NodeOutput:
        ideas = think_in_host(wegen, **turn)
        features = torch.stack([idea.features for idea in ideas])
        own = wegen.config.size
        return io.NodeOutput(*conditioning(features, width or own, height or own), reply(ideas))


class WeGenThink(io.ComfyNode):
    """Stands in no graph of a user: WeGen Generate and WeGen Refine expand to it, so that the host keeps its result
    when only sampler settings change."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenThink",
            display_name="WeGen Think (inside Generate and Refine)",
            category=CATEGORY,
            is_dev_only=True,
            inputs=[
                wegen(),
                *turn_inputs(),
                rewritten(),
                io.Mask.Input("edit_mask", optional=True),
                io.Mask.Input("keep_mask", optional=True),
                io.Boolean.Input("release", default=False, optional=True),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            outputs=[DraftsType.Output(display_name="ideas"), io.String.Output(display_name="reply")],
        )

    @classmethod
    def execute(cls, wegen, **turn) -> io.NodeOutput:
        ideas = think_in_host(wegen, **turn)
        chat, asked = turn.get("chat") or Chat(), turn["instruction"].strip()
        record = [turns_of(chat, asked, idea.rewrite, idea.seed) for idea in ideas]
        write_down(cls.hidden.prompt, str(cls.hidden.unique_id), cls.hidden.extra_pnginfo, record)
        return io.NodeOutput(ideas, reply(ideas))
