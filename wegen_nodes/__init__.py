"""ComfyUI's side of WeGen: the extension that hands the nodes to the host."""

from comfy_api.latest import ComfyExtension, io

from .host import folders, messages, png_metadata, routes
from .host.version import require_host


class WeGenExtension(ComfyExtension):
    """All WeGen nodes."""

    async def on_load(self) -> None:
        """Stop with a clear message in a host that is too old.

        Raises:
            RuntimeError: ComfyUI is older than this pack supports.
        """
        require_host()
        folders.register()
        png_metadata.register()
        routes.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes."""
        # Only now: in a host that is too old these could fail before the message about it.
        from ..models.errors import WeGenError
        from .ask import WeGenAsk
        from .chat import WeGenChat
        from .conditioning import WeGenConditioning
        from .consistency_mask import WeGenConsistencyMask
        from .consistency_report import WeGenConsistencyReport
        from .diversity import WeGenDiversity
        from .encode_reference import WeGenEncodeReference
        from .generate import WeGenGenerate
        from .keep import WeGenKeep
        from .load_lora import WeGenLoadLoRA
        from .load_model import WeGenLoadModel
        from .refine import WeGenRefine
        from .result import WeGenResult
        from .rewrite_prompt import WeGenRewritePrompt
        from .select import WeGenSelect
        from .turn import WeGenTurn

        messages.name_plainly(WeGenError)
        return [
            WeGenLoadModel,
            WeGenEncodeReference,
            WeGenRewritePrompt,
            WeGenGenerate,
            WeGenRefine,
            WeGenChat,
            WeGenConsistencyMask,
            WeGenSelect,
            WeGenKeep,
            WeGenConsistencyReport,
            WeGenConditioning,
            WeGenAsk,
            WeGenDiversity,
            WeGenTurn,
            WeGenResult,
            WeGenLoadLoRA,
        ]
