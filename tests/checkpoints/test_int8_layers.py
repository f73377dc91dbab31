"""Products in int8: as near to the exact ones as rounding allows, in every form that weights come in."""

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints import loading
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.int8_layers import Linear, multiply, rotate_rows
from comfyui_wegen.models.checkpoints.loading import load_wegen
from comfyui_wegen.models.checkpoints.lora import merge, read_lora
from comfyui_wegen.models.checkpoints.quantise import int8_weight, quantise, quantised_format, rotate_groups
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from loras import random_loras

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
    whole = int8_weight(quantise(weight, layer), layer)
    x = torch.randn(*shape, 512, generator=generator)
    exact = torch.nn.functional.linear(x, weight, bias)
    found = Linear(whole, bias)(x)
    assert found.shape == exact.shape and found.dtype == x.dtype
    assert float((found - exact).norm() / exact.norm()) < limit
    assert multiply(x.bfloat16(), whole).dtype == torch.bfloat16


def test_nothing_times_a_weight_is_nothing():
    layer = quantised_format(KEY, (32, 256), "int8")
    whole = int8_weight(quantise(torch.randn(32, 256), layer), layer)
    assert torch.equal(multiply(torch.zeros(2, 256), whole), torch.zeros(2, 32))


def test_a_cpu_without_such_instructions_turns_weights_back(tmp_path, monkeypatch):
    folder = convert(BUNDLED, tmp_path / "int8", "int8")
    for fast in (True, False):
        monkeypatch.setattr(loading, "fast_on_cpu", lambda fast=fast: fast)
        wegen = load_wegen(open_checkpoint(folder), "cpu", torch.float32)
        projection = wegen.agent.llm.model.layers[0].self_attn.q_proj
        assert isinstance(projection, Linear) is fast
        assert projection.weight.dtype == (torch.int8 if fast else torch.float32)


def test_a_lora_is_not_rounded_into_them(tmp_path, monkeypatch):
    """It adds what it adds to the same weights in float32, also two on top of each other."""
    monkeypatch.setattr(loading, "fast_on_cpu", lambda: True)  # any CPU computes them, fast or not
    lora = read_lora(random_loras(tmp_path)["language_model"])
    whole = load_wegen(open_checkpoint(convert(BUNDLED, tmp_path / "int8", "int8")), "cpu", torch.float32).agent
    layers = {name: layer for name, layer in whole.named_modules() if isinstance(layer, Linear)}
    numbers = torch.Generator().manual_seed(0)
    x = {name: torch.randn(3, layer.weight.shape[1], generator=numbers) for name, layer in layers.items()}
    before = {name: layer(x[name]) for name, layer in layers.items()}
    merge(whole, lora, 0.75)
    merge(whole, lora, -0.25)
    changes = lora.by_layer(whole)
    assert len(layers) > 10
    for name, layer in layers.items():
        added = torch.nn.functional.linear(x[name], 0.5 * changes[name].difference(layer.weight.shape))
        assert added.abs().max() > 1e-3
        torch.testing.assert_close(layer(x[name]) - before[name], added, atol=1e-5, rtol=1e-4)
