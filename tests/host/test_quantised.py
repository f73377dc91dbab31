"""Quantised checkpoints inside ComfyUI: its own operations run every part of them."""

from pathlib import Path

from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.convert import convert

SCRIPTS = Path(__file__).parent / "scripts"


def test_the_bundled_model_runs_quantised(host_python, tmp_path):
    folders = [convert(BUNDLED, tmp_path / dtype, dtype) for dtype in ("int8", "fp8", "w4a8")]
    int8, fp8, w4a8 = host_python(SCRIPTS / "quantised.py", BUNDLED, *folders)
    for name, least in (("seen", 0.99), ("features", 0.98), ("noise", 0.99)):
        assert int8[name] > least, (name, int8)
        assert fp8[name] > least - 0.04, (name, fp8)
        assert w4a8[name] > least - 0.15, (name, w4a8)
    assert max(int8["sizes"][:2]) < 0.7, int8
    assert max(w4a8["sizes"][:2]) < 0.5, w4a8
