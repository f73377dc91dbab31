"""Parts that are only partly loaded, with a LoRA and quantised, compute what they compute when loaded in full."""

from pathlib import Path

import pytest
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.random_weights import make_random

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("dtype", ["bf16", "int8", "fp8", "w4a8"])
def test_every_budget_gives_the_same(host_python, tmp_path, dtype):
    folder = make_random(tmp_path / "made", "tiny")
    if dtype != "bf16":
        folder = convert(folder, tmp_path / dtype, dtype)
    found = host_python(SCRIPTS / "budgets.py", folder, timeout=900)
    print({name: part["effect"] for name, part in found.items()})
    for name, part in found.items():
        assert [loaded for loaded, _ in part["plain"]] == sorted(loaded for loaded, _ in part["plain"])
        assert part["plain"][0][0] < 0.3 and part["plain"][-1][0] == 1, (name, part)
        for _, difference in part["plain"]:
            assert difference == 0, (name, part)
        assert part["effect"] > 0.02, (name, part)
        for _, difference in part["lora"]:
            assert difference == 0, (name, part)
        assert part["left behind"] == 0, (name, part)
        # Inputs are rounded too, so that the smallest differences decide here and there.
        assert part["two at half"] < 0.05 * part["effect"], (name, part)
        assert part["put in by force"] <= 1.3 * part["effect"], (name, part)
