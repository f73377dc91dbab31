"""ComfyUI's side of WeGen: the extension that hands the nodes to the host."""

from comfy_api.latest import ComfyExtension, io

from .host.version import require_host


class WeGenExtension(ComfyExtension):
    """All WeGen nodes."""

    async def on_load(self) -> None:
        """Stop with a clear message in a host that is too old.

        Raises:
            RuntimeError: ComfyUI is older than this pack supports.
        """
        require_host()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes."""
        return []
