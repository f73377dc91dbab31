"""The layers of a CPU compute what PyTorch's do, however the weights come in and change."""

import copy

import pytest
import torch
import torch.nn.functional as F
from comfyui_wegen.models.network import cpu_layers
from comfyui_wegen.models.network.configuration import LanguageConfig
from comfyui_wegen.models.network.language_model import LanguageModel
from torch import nn


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["oneDNN", "MKL", "MKL on AVX2", "neither"])
def products(request, monkeypatch):
    """By which library products are computed, small ones too."""
    monkeypatch.setattr(cpu_layers, "SMALL", 0)
    monkeypatch.setattr(cpu_layers, "_mkl_is_wide", lambda: request.param == "MKL on AVX2")
    if request.param == "MKL on AVX2":
        monkeypatch.setattr(cpu_layers, "LIGHT", 0)
    if "MKL" != request.param != "neither" and not cpu_layers._can_pack():
        pytest.skip("this PyTorch has no products of oneDNN")
    monkeypatch.setattr(cpu_layers, "_can_pack", lambda: request.param in ("oneDNN", "MKL on AVX2"))
    if request.param == "neither":
        monkeypatch.setattr(cpu_layers, "_has_mkl", lambda: False)
    return request.param


@pytest.mark.parametrize("width", [32, 600, 2816, 5000])
@pytest.mark.parametrize("height", [20, 500, 512])
@pytest.mark.parametrize("bias", [False, True])
def test_rows_are_multiplied_as_any(products, width, height, bias):
    layer = cpu_layers.Linear(width, height, bias=bias).requires_grad_(False)
    for rows in (1, 2, 5, 16, 70):
        x = seeded(rows, 1, width, seed=rows)
        found = layer(x)
        assert found.shape == (rows, 1, height)
        torch.testing.assert_close(found, F.linear(x, layer.weight, layer.bias))
        strided = seeded(width, rows, seed=rows).t()
        torch.testing.assert_close(layer(strided), F.linear(strided, layer.weight, layer.bias))


@pytest.mark.parametrize(("threads", "called"), [(1, "linear"), (2, "_in_pieces")])
def test_a_single_row_is_mkls_own_where_it_uses_all_of_the_cpu(threads, called, monkeypatch):
    layer = cpu_layers.Linear(512, 1024, bias=False).requires_grad_(False)
    calls = []

    def recorded(name, function):
        return lambda *arguments: calls.append(name) or function(*arguments)

    monkeypatch.setattr(cpu_layers, "_has_mkl", lambda: True)
    monkeypatch.setattr(cpu_layers, "_mkl_is_wide", lambda: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(cpu_layers, "_in_pieces", recorded("_in_pieces", cpu_layers._in_pieces))
    monkeypatch.setattr(F, "linear", recorded("linear", F.linear))
    x = seeded(1, 512)
    torch.testing.assert_close(layer(x), x @ layer.weight.t())
    assert calls == [called]
    assert layer._packed is None


def test_no_rows_give_none(products):
    assert cpu_layers.Linear(8, 40).requires_grad_(False)(torch.empty(0, 3, 8)).shape == (0, 3, 40)


def test_what_is_trained_has_gradients(products):
    layer = cpu_layers.Linear(8, 40).requires_grad_(False)
    x = seeded(3, 8).requires_grad_()
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 8))
    layer.requires_grad_(True)
    layer(x.detach()).sum().backward()
    assert layer.weight.grad is not None


def test_autocast_holds():
    layer = cpu_layers.Linear(8, 40).requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(seeded(3, 8)).dtype == torch.bfloat16


def test_changed_weights_count(products):
    layer = cpu_layers.Linear(64, 40).requires_grad_(False)
    x = seeded(3, 64)
    before = layer(x)
    layer.weight.mul_(2)
    layer.bias.mul_(2)
    torch.testing.assert_close(layer(x), 2 * before)
    layer.weight = nn.Parameter(-layer.weight, requires_grad=False)
    layer.bias.neg_()
    torch.testing.assert_close(layer(x), -2 * before)
    with torch.inference_mode():
        layer.weight.mul_(-1)
        layer.bias.mul_(-1)
        torch.testing.assert_close(layer(x), 2 * before)


def test_norms_are_computed_as_any():
    norm = cpu_layers.RMSNorm(48, eps=1e-5).requires_grad_(False)
    norm.weight.copy_(torch.linspace(-2, 2, 48))
    for x in (torch.randn(3, 5, 48), torch.zeros(1, 1, 48), torch.full((1, 48), 1e4)):
        torch.testing.assert_close(norm(x), F.rms_norm(x, (48,), norm.weight, 1e-5))


def joined():
    model = (
        LanguageModel(LanguageConfig(50, 32, 48, 2, 4, 2, context_length=64), cpu_layers).eval().requires_grad_(False)
    )
    whole = {key: value.clone() for key, value in model.state_dict().items()}
    return cpu_layers.prepare(model), whole


def test_layers_with_one_input_are_one_product_and_keep_their_weights(products):
    model, whole = joined()
    assert {key: value.shape for key, value in model.state_dict().items()} == {k: v.shape for k, v in whole.items()}
    assert all(torch.equal(value, whole[key]) for key, value in model.state_dict().items())
    plain = LanguageModel(model.config).requires_grad_(False)
    plain.load_state_dict(whole)
    for batch, tokens in ((1, 1), (2, 1), (2, 9)):
        x = seeded(batch, tokens, 32)
        torch.testing.assert_close(model(x), plain(x))


def test_what_is_put_into_joined_layers_counts(products):
    model, whole = joined()
    plain = LanguageModel(model.config).requires_grad_(False)
    changed = {key: value * 1.5 if "k_proj" in key or "up_proj" in key else value for key, value in whole.items()}
    plain.load_state_dict(changed)
    for x in (seeded(1, 1, 32), seeded(1, 4, 32)):
        model(x)
        for key, value in changed.items():  # in place, as a LoRA is added
            model.get_parameter(key).copy_(value)
        torch.testing.assert_close(model(x), plain(x))
    model.load_state_dict(whole, assign=True)  # and as others in their place
    plain.load_state_dict(whole)
    torch.testing.assert_close(model(x), plain(x))
    torch.testing.assert_close(copy.deepcopy(model)(x), plain(x))


def test_layers_of_any_model_are_prepared_on_the_same_memory(products):
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Sequential(nn.Linear(16, 4, bias=False))).requires_grad_(
        False
    )
    plain = copy.deepcopy(model)
    memory = {name: value.data_ptr() for name, value in model.named_parameters()}
    cpu_layers.prepare(model)
    assert {name: value.data_ptr() for name, value in model.named_parameters()} == memory
    assert all(isinstance(layer, cpu_layers.Linear) for layer in (model[0], model[2][0]))
    torch.testing.assert_close(model(seeded(5, 8)), plain(seeded(5, 8)))


def test_what_has_no_room_for_copies_is_not_copied(monkeypatch):
    monkeypatch.setattr(cpu_layers, "MOST_PACKED", 4 * 8 * 40 - 1)
    layer = cpu_layers.prepare(nn.Sequential(nn.Linear(8, 40)).requires_grad_(False))[0]
    monkeypatch.setattr(cpu_layers, "SMALL", 0)
    torch.testing.assert_close(layer(seeded(3, 8)), F.linear(seeded(3, 8), layer.weight, layer.bias))
    assert layer._packed is None
