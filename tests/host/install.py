"""Where the ComfyUI under test is, and the Python that runs it."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HostInstall:
    """One ComfyUI checkout and its interpreter.

    Set `COMFYUI_PATH` (default `~/ComfyUI`) and `COMFYUI_PYTHON` (default: the `.venv` in that folder) to test
    against another version.
    """

    path: Path
    python: Path

    @classmethod
    def from_environment(cls) -> "HostInstall":
        path = Path(os.environ.get("COMFYUI_PATH", "~/ComfyUI")).expanduser()
        python = Path(os.environ.get("COMFYUI_PYTHON", path / ".venv" / "bin" / "python")).expanduser()
        return cls(path, python)

    @property
    def problem(self) -> str | None:
        """Why this install cannot be used, or None."""
        if not (self.path / "main.py").is_file():
            return f"no ComfyUI at {self.path} (set COMFYUI_PATH)"
        if not self.python.is_file():
            return f"no Python for ComfyUI at {self.python} (set COMFYUI_PYTHON)"
        return None


def offline_environment() -> dict[str, str]:
    """The environment of every host process: no downloads, and nothing written beside the pack's sources."""
    return {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        # Threads that wait by spinning take the core from the one they wait for, where something else runs beside.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
