"""WeGen for ComfyUI: the door through which the host finds the nodes and the front-end scripts.

Nothing of the host is imported before it calls `comfy_entrypoint`, so that the same package serves plain Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .wegen_nodes import WeGenExtension

WEB_DIRECTORY = "./js"


async def comfy_entrypoint() -> WeGenExtension:
    """Give ComfyUI the extension that lists the nodes."""
    from .wegen_nodes import WeGenExtension

    return WeGenExtension()
