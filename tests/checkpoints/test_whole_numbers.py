"""Products of 8-bit whole numbers: as near to the exact ones as rounding allows, in every form that weights come in."""

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints import loading
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.loading import load_wegen
from comfyui_wegen.models.checkpoints.quantise import quantise, quantised_format, rotate_groups, whole_numbers
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.checkpoints.whole_numbers import Linear, multiply, rotate_rows

KEY = "llm.model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize("group", [4, 16, 64, 256])
def test_two_small_products_rotate_as_one_large_one(group):
    x = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rotate_rows(x, group), rotate_groups(x, group))


@pytest.mark.parametrize(("precision", "limit"), [("int8", 0.015), ("w4a8", 0.075)])
@pytest.mark.parametrize("shape", [(1,), (2, 3), (40,)])
def test_products_are_close(precision, limit, shape):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 512, generator=generator) * 0.03
    weight[:, 17] *= 60
    bias = torch.randn(96, generator=generator)
    layer = quantised_format(KEY, tuple(weight.shape), precision)
    whole = whole_numbers(quantise(weight, layer), layer)
    x = torch.randn(*shape, 512, generator=generator)
    exact = torch.nn.functional.linear(x, weight, bias)
    found = Linear(whole, bias)(x)
    assert found.shape == exact.shape and found.dtype == x.dtype
    assert float((found - exact).norm() / exact.norm()) < limit
    assert multiply(x.bfloat16(), whole).dtype == torch.bfloat16


def test_nothing_times_a_weight_is_nothing():
    layer = quantised_format(KEY, (32, 256), "int8")
    whole = whole_numbers(quantise(torch.randn(32, 256), layer), layer)
    assert torch.equal(multiply(torch.zeros(2, 256), whole), torch.zeros(2, 32))


def test_a_cpu_without_such_instructions_turns_weights_back(tmp_path, monkeypatch):
    folder = convert(BUNDLED, tmp_path / "int8", "int8")
    for fast in (True, False):
        monkeypatch.setattr(loading, "fast_on_cpu", lambda fast=fast: fast)
        wegen = load_wegen(open_checkpoint(folder), "cpu", torch.float32)
        projection = wegen.agent.llm.model.layers[0].self_attn.q_proj
        assert isinstance(projection, Linear) is fast
        assert projection.weight.dtype == (torch.int8 if fast else torch.float32)
