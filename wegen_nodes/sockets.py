"""Socket types of the pack."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "WeGen"

WeGenType = io.Custom("WEGEN")
ReferencesType = io.Custom("WEGEN_REFERENCES")
ChatType = io.Custom("WEGEN_CHAT")
OpenTurnType = io.Custom("WEGEN_TURN")
