"""Where a ComfyUI is, and the Python that runs it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..paths import expanded


@dataclass(frozen=True)
class HostInstall:
    """One ComfyUI checkout and its interpreter, both as absolute paths."""

    path: Path
    python: Path

    @classmethod
    def find(cls, path: Path | None = None, python: Path | None = None) -> HostInstall:
        """What is given, else what `COMFYUI_PATH` and `COMFYUI_PYTHON` say.

        Args:
            path: of the checkout; without it and the variable `~/ComfyUI`.
            python: the interpreter; without it and the variable that of the `.venv` in the checkout.
        """
        path = path or Path(os.environ.get("COMFYUI_PATH") or "~/ComfyUI")
        path = expanded(path).absolute()
        python = python or Path(os.environ.get("COMFYUI_PYTHON") or path / ".venv" / "bin" / "python")
        # Not resolved: an environment's interpreter is often a link, and finds its packages by its own place.
        return cls(path, expanded(python).absolute())

    @property
    def problem(self) -> str | None:
        """Why this install cannot be used, or None."""
        if not (self.path / "main.py").is_file():
            return f"no ComfyUI at {self.path} (set COMFYUI_PATH)"
        if not self.python.is_file():
            return f"no Python for ComfyUI at {self.python} (set COMFYUI_PYTHON)"
        return None
