"""Parts that are only partly loaded, with a LoRA and quantised, compute what they compute when loaded in full."""

from pathlib import Path

from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.random_weights import make_random

from .install import needs_8_bits

SCRIPTS = Path(__file__).parent / "scripts"
PRECISIONS = {"bf16": (0, 0), "int8": (0.03, 0.15), "fp8": (0.05, 0.17), "w4a8": (0.1, 0.4)}
"""By how much a LoRA's change may be larger or smaller than in 16 bits, and another one, as parts of it."""


def loaded_more_and_more(budgets):
    loaded = [share for share, _ in budgets]
    return loaded == sorted(loaded) and loaded[0] < 0.3 and loaded[-1] == 1


@needs_8_bits
def test_every_budget_gives_the_same(host_python, tmp_path):
    first = make_random(tmp_path / "bf16", "tiny")
    others = [convert(first, tmp_path / dtype, dtype) for dtype in PRECISIONS if dtype != "bf16"]
    folders, vaes = host_python(SCRIPTS / "budgets.py", first, *others)
    for (dtype, (size, way)), parts in zip(PRECISIONS.items(), folders, strict=True):
        for name, part in parts.items():
            print(dtype, name, part)
            assert loaded_more_and_more(part["plain"]), (dtype, name, part)
            for _, difference in (*part["plain"], *part["lora"]):
                assert difference == 0, (dtype, name, part)
            assert part["effect"] > 0.02, (dtype, name, part)
            assert part["left behind"] == 0, (dtype, name, part)
            # Inputs are rounded too, so that the smallest differences decide here and there.
            assert part["two at half"] < 0.05 * part["effect"], (dtype, name, part)
            assert part["put in by force"] <= 1.3 * part["effect"], (dtype, name, part)
            if name != "decoding":  # random weights write other words after the smallest difference
                effect = folders[0][name]["effect"]
                assert abs(part["effect"] - effect) <= size * effect, (dtype, name, part)
                assert part["other change"] <= way, (dtype, name, part)
    assert len(vaes) == 2
    for budgets in vaes:
        assert loaded_more_and_more(budgets) and all(difference == 0 for _, difference in budgets), budgets
