"""Parts that are only partly loaded, with a LoRA and quantised, compute what they compute when loaded in full."""

from pathlib import Path

import pytest
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.random_weights import make_random

ROUNDING = {"int8": 0.15, "fp8": 0.3, "w4a8": 0.6}
"""What rounding may cost, as a share of what the LoRA changes."""
SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("dtype", ["bf16", "int8", "fp8", "w4a8"])
def test_every_budget_gives_the_same(host_python, tmp_path, dtype):
    folder = make_random(tmp_path / "made", "tiny")
    if dtype != "bf16":
        folder = convert(folder, tmp_path / dtype, dtype)
    for name, part in host_python(SCRIPTS / "budgets.py", folder, timeout=900).items():
        assert [loaded for loaded, _ in part["plain"]] == sorted(loaded for loaded, _ in part["plain"])
        assert part["plain"][0][0] < 0.3 and part["plain"][-1][0] == 1, (name, part)
        for _, difference in part["plain"]:
            assert difference == 0, (name, part)
        assert part["effect"] > 0.02, (name, part)
        # A quantised layer that is loaded has the LoRA rounded into its weight; one that is not gets it at each use.
        allowed = 0 if dtype == "bf16" else ROUNDING[dtype] * part["effect"]
        for _, difference in part["lora"]:
            assert difference <= allowed, (name, part)
