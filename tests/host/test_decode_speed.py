"""What `wegen bench decode` measures inside ComfyUI."""

from comfyui_wegen.models.evaluation import memory_benchmarks

from .conftest import INSTALL

HAS_DIFFUSERS = "import importlib.util, json; print(json.dumps(importlib.util.find_spec('diffusers') is not None))"


def test_sampling_is_held_against_a_stock_model_and_diffusers(host_python):
    found = memory_benchmarks.decode(INSTALL, 1, 1)
    assert set(found) == {"decode/vs_stock", "decode/vs_diffusers"}
    if not host_python(HAS_DIFFUSERS):
        assert found.pop("decode/vs_diffusers") is None
    for name, (ratio, ours, theirs) in found.items():
        assert ratio == ours / theirs, name  # of one pair
        assert 0.2 < ratio < 5, name
