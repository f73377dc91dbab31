"""The environment of the ComfyUI under test; `HostInstall` says where it is.

Set `COMFYUI_PATH` (default `~/ComfyUI`) and `COMFYUI_PYTHON` (default: the `.venv` in that folder) to test against
another version.
"""

import os

import pytest
from comfyui_wegen.models.checkpoints.quantise import INT8, W4A8
from comfyui_wegen.models.evaluation.host_install import HostInstall
from support import NOT_RUN


def _does_not_know(*formats: str) -> bool:
    file = HostInstall.find().path / "comfy" / "quant_ops.py"
    return file.is_file() and not all(f'"{name}"' in file.read_text(encoding="utf-8") for name in formats)


needs_8_bits = pytest.mark.skipif(
    _does_not_know(INT8, W4A8), reason=f"{NOT_RUN}int8 and w4a8 in the host, this ComfyUI is too old for them"
)


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
