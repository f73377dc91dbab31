"""The environment of the ComfyUI under test; `HostInstall` says where it is.

Set `COMFYUI_PATH` (default `~/ComfyUI`) and `COMFYUI_PYTHON` (default: the `.venv` in that folder) to test against
another version.
"""

import os


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
