"""WeGen Load Model."""

from __future__ import annotations

from comfy_api.latest import io

from ..models.checkpoints.reader import checkpoint_stamp
from ..models.errors import WeGenError
from .host.bundle import WeGenBundle
from .host.folders import checkpoint_folder, list_checkpoints
from .host.loading import PRECISIONS, load_unet, load_vae
from .sockets import CATEGORY, WeGenType


class WeGenLoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenLoadModel",
            display_name="WeGen Load Model",
            category=CATEGORY,
            description="Loads a WeGen checkpoint: the model that sees and writes, and the decoder that paints.",
            search_aliases=["wegen checkpoint", "wegen loader", "vlm", "llm", "copilot"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=list_checkpoints(),
                    tooltip="The bundled model, or a folder in models/wegen: converted with 'wegen convert', or as "
                    "published.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="default",
                    optional=True,
                    advanced=True,
                    tooltip="In memory, of the weights that are not quantised; int8, fp8 and w4a8 stay as they are. "
                    "'default' is best nearly always.",
                ),
            ],
            outputs=[
                WeGenType.Output(display_name="WEGEN", tooltip="What sees and writes; for all WeGen nodes."),
                io.Model.Output(display_name="MODEL", tooltip="The decoder; stock samplers and LoRA work on it."),
                io.Vae.Output(display_name="VAE", tooltip="Between latents and pixels."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None, precision: str | None = "default"):
        # One that comes from another node is not known yet: it may be any of them.
        names = list_checkpoints() if model is None else [model]
        return tuple(checkpoint_stamp(checkpoint_folder(name)) for name in names)

    @classmethod
    def validate_inputs(cls, model: str | None = None) -> bool | str:
        """Says where a checkpoint that is not there can be had, before anything runs."""
        if model is None:  # it comes from another node, or is missing, which the host says
            return True
        try:
            checkpoint_folder(model)
        except WeGenError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, model: str, precision: str = "default") -> io.NodeOutput:
        if precision not in PRECISIONS:
            raise WeGenError(f"There is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
        folder = str(checkpoint_folder(model))
        return io.NodeOutput(WeGenBundle(folder, precision), load_unet(folder, precision), load_vae(folder))
