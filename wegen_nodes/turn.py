"""WeGen Turn: the beginning of a user's own workflow that paints the turns of a chat."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..models.editing.open_turn import OpenTurn, begin_unseen, cut_out, side_by_side
from ..models.errors import WeGenError
from ..models.painting.painter import LARGEST_SIZE, SMALLEST_SIZE, require_size
from ..models.values import Chat, References
from .batches import SEVERAL_MASKS, one_mask
from .host import panel_turn
from .inputs import references, require_whole_numbers, seed, text
from .sockets import CATEGORY, ChatType, OpenTurnType

NAMED = 3
"""References that have outputs of their own."""
SOCKETS = ("image", "chat", "edit_mask", "keep_mask", "references")
"""What is wired into a turn without the panel."""


class WeGenTurn(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        named = range(1, NAMED + 1)
        return io.Schema(
            node_id="WeGenTurn",
            display_name="WeGen Turn",
            category=CATEGORY,
            description="The beginning of a workflow of your own that paints the turns of a chat: what is asked, the "
            "picture so far, masks and references. Ends in WeGen Result. Needs no WeGen model.",
            search_aliases=[
                "wegen edit any model",
                "own workflow",
                "chat with any model",
                "copilot",
                "qwen edit",
                "kontext",
                "llm",
            ],
            inputs=[
                io.String.Input("instruction", multiline=True, default="", tooltip="What to draw, or what to change."),
                seed(
                    "Handed on to your workflow, and written into the chat. The first picture counts as that of the "
                    "seed, the next one as that of seed + 1, and so on."
                ),
                *[
                    io.Int.Input(
                        side,
                        default=1024,
                        min=SMALLEST_SIZE,
                        max=LARGEST_SIZE,
                        step=8,
                        tooltip="Of a first picture, in pixels. Later ones have the size of the picture so far.",
                    )
                    for side in ("width", "height")
                ],
                io.Boolean.Input(
                    "release",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Let areas change again that keep masks of earlier turns protect.",
                ),
                *[
                    io.String.Input(
                        f"name_{number}",
                        default="",
                        optional=True,
                        advanced=True,
                        tooltip=f"Name of the reference at reference_{number}. Empty takes reference number {number}.",
                    )
                    for number in named
                ],
                io.String.Input(
                    "turn",
                    default="",
                    optional=True,
                    advanced=True,
                    socketless=True,
                    tooltip="Filled in by the WeGen panel; what is wired in is then ignored. Leave it empty.",
                ),
                io.Image.Input(
                    "image", optional=True, lazy=True, tooltip="The picture to begin with; none for a new one."
                ),
                ChatType.Input("chat", optional=True, lazy=True, tooltip="Earlier turns, in place of an image."),
                io.Mask.Input("edit_mask", optional=True, lazy=True, tooltip=f"White may change. {SEVERAL_MASKS}"),
                io.Mask.Input(
                    "keep_mask", optional=True, lazy=True, tooltip=f"White stays as it is, bit for bit. {SEVERAL_MASKS}"
                ),
                references("From WeGen Encode Reference. @name in the instruction means one.", lazy=True),
            ],
            outputs=[
                io.String.Output(display_name="instruction", tooltip="Without the @ before names."),
                io.Image.Output(display_name="image", tooltip="The picture so far; even grey when there is none."),
                io.Mask.Output(display_name="change_mask", tooltip="White may change."),
                io.Image.Output(
                    display_name="references",
                    tooltip="All references as one batch, of the size of the first. Nothing when there are none.",
                ),
                *[
                    io.Image.Output(
                        display_name=f"reference_{number}", tooltip="Nothing when there is no such reference."
                    )
                    for number in named
                ],
                io.Int.Output(display_name="seed"),
                io.Int.Output(display_name="width"),
                io.Int.Output(display_name="height"),
                OpenTurnType.Output(display_name="turn", tooltip="For WeGen Result."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, turn="", **inputs) -> list[str]:
        """With a turn of the panel, what is wired in is not even computed."""
        return [] if turn.strip() else [name for name in SOCKETS if name in inputs and inputs[name] is None]

    @classmethod
    def fingerprint_inputs(cls, turn="", **_) -> object:
        return panel_turn.files_of(turn) if turn else None

    @classmethod
    def execute(
        cls,
        instruction,
        seed,
        width,
        height,
        release=False,
        name_1="",
        name_2="",
        name_3="",
        turn="",
        image=None,
        chat=None,
        edit_mask=None,
        keep_mask=None,
        references=None,
    ) -> io.NodeOutput:
        text("instruction", instruction)
        require_whole_numbers(seed=seed, width=width, height=height)
        asked = {"instruction": instruction, "release": release, "seed": seed, "width": width, "height": height}
        require_size(width, height)
        record = panel_turn.parse(turn)
        if record:
            asked |= panel_turn.read(record)
        else:
            if image is not None and chat is not None:
                raise WeGenError("WeGen Turn got an image and a chat; connect one of them.")
            if image is not None:
                chat = begin_unseen(*image)
            asked |= {"chat": chat or Chat(), "references": references or References()}
            asked |= {"edit_mask": one_mask(edit_mask), "keep_mask": one_mask(keep_mask)}
        asked = OpenTurn(**asked)
        change = asked.change
        change = torch.ones(asked.height, asked.width) if change is None else change
        names = (name_1, name_2, name_3)
        shown = [cut_out(reference) for reference in asked.references]
        batch = side_by_side(shown) if shown else None
        named = [asked.reference(text(f"name_{number + 1}", name), number) for number, name in enumerate(names)]
        return io.NodeOutput(
            asked.words,
            # Copies: nodes that work in place would change what the chat keeps.
            asked.picture[None].clone(),
            change[None].clone(),
            batch,
            *(None if one is None else cut_out(one)[None] for one in named),
            asked.seed,
            asked.width,
            asked.height,
            asked,
        )
