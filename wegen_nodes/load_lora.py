"""WeGen Load LoRA."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..models.checkpoints.lora import LARGEST_STRENGTH, read_lora
from .host.bundle import WeGenBundle
from .host.lora import list_loras, lora_path
from .inputs import require_numbers, require_wired, wegen
from .sockets import CATEGORY, WeGenType


class WeGenLoadLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenLoadLoRA",
            display_name="WeGen Load LoRA",
            category=CATEGORY,
            description="Teaches the language model something new: words and what they look like. Chain several.",
            search_aliases=["wegen lora", "language model lora"],
            inputs=[
                wegen(),
                io.Combo.Input(
                    "lora_name",
                    options=list_loras(),
                    tooltip="Files in models/loras, made by 'wegen train lora'; those that end in language_model.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-LARGEST_STRENGTH,
                    max=LARGEST_STRENGTH,
                    step=0.01,
                    tooltip="How much of what was learned is added: 1 is as it was trained, 0 is nothing.",
                ),
            ],
            outputs=[WeGenType.Output(display_name="WEGEN")],
        )

    @classmethod
    def fingerprint_inputs(cls, wegen, lora_name: str | None, strength: float | None):
        # One that comes from another node is not known yet: it may be any of them.
        names = list_loras() if lora_name is None else [lora_name]
        stamps = ((name, lora_path(name).stat()) for name in names)
        return tuple((name, status.st_size, status.st_mtime_ns) for name, status in stamps)

    @classmethod
    def execute(cls, wegen: WeGenBundle, lora_name: str, strength: float) -> io.NodeOutput:
        require_wired(wegen=wegen)
        require_numbers(strength=strength)
        if strength == 0:
            return io.NodeOutput(wegen, ui=ui.PreviewText(""))
        lora = read_lora(lora_path(lora_name))
        changed = wegen.with_lora(lora, strength)  # refuses what is of another part or size
        # Empty where all is well, which takes away what was said of another file.
        return io.NodeOutput(changed, ui=ui.PreviewText(wegen.doubt(lora)))
