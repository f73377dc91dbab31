"""LoRA files: written, read, merged, and refused when they do not fit."""

import json
import os
import shutil
import warnings

import pytest
import torch
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.lora import (
    ALPHA,
    BASE,
    DOWN,
    UP,
    LoraError,
    LowRank,
    base_of,
    layer_key,
    merge,
    read_lora,
    write_lora,
)
from comfyui_wegen.models.checkpoints.reader import SafetensorsFile, open_checkpoint, part_file
from comfyui_wegen.models.cli import main
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.painting.loading import load
from comfyui_wegen.models.pipeline import Pipeline
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny import tiny_config

LAYER = "llm.model.layers.1.mlp.gate_proj"


def change(outside=48, inside=32, rank=2, scale=0.5):
    return LowRank(torch.randn(rank, inside), torch.randn(outside, rank), scale)


def test_a_file_is_read_as_it_was_written(tmp_path):
    written = change()
    lora = read_lora(write_lora(tmp_path / "a.safetensors", "language_model", {LAYER: written}, {"made": "here"}))
    assert (lora.part, lora.about["made"]) == ("language_model", "here")
    read = lora.by_layer(Agent(tiny_config()))[LAYER]
    assert read.scale == written.scale
    torch.testing.assert_close(read.difference((48, 32)), written.difference((48, 32)), atol=2e-2, rtol=1e-2)
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_that_is_written_over_changes_nothing_that_was_read(tmp_path):
    file = write_lora(tmp_path / "a.safetensors", "language_model", {LAYER: change()}, {})
    lora = read_lora(file)
    before = lora.by_layer(Agent(tiny_config()))[LAYER].down.clone()
    with file.open("r+b") as other:
        other.seek(-2 * before.numel(), os.SEEK_END)
        other.write(bytes(2 * before.numel()))
    assert torch.equal(lora.by_layer(Agent(tiny_config()))[LAYER].down, before) and before.any()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        (tmp_path / "a.partial").write_bytes(b"half")
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr("comfyui_wegen.models.checkpoints.writer.save_file", full)
    with pytest.raises(WeGenError, match=r"a.safetensors cannot be written.*No space left.*Make room"):
        write_lora(tmp_path / "a.safetensors", "language_model", {LAYER: change()}, {})
    assert not list(tmp_path.iterdir())


def test_names_are_those_that_stock_loaders_know(tmp_path):
    assert layer_key("unet", "down_blocks.1.attentions.0.proj_in") == "lora_unet_down_blocks_1_attentions_0_proj_in"


def test_merging_adds_the_product_of_the_factors_of_every_kind_of_layer(tmp_path):
    module = torch.nn.ModuleDict({"line": torch.nn.Linear(6, 5), "conv": torch.nn.Conv2d(3, 4, 3)})
    before = {name: layer.weight.detach().clone() for name, layer in module.items()}
    changes = {
        "line": LowRank(torch.randn(2, 6), torch.randn(5, 2), 0.5),
        "conv": LowRank(torch.randn(2, 3, 3, 3), torch.randn(4, 2, 1, 1), 2.0),
    }
    merge(module, read_lora(write_lora(tmp_path / "a.safetensors", "unet", changes, {})), -0.5)
    for name, one in changes.items():
        down, up = one.down.half().float(), one.up.half().float()
        pattern = "or,rijk->oijk" if name == "conv" else "or,ri->oi"
        wanted = before[name] - 0.5 * one.scale * torch.einsum(pattern, up.flatten(1), down)
        torch.testing.assert_close(module[name].weight, wanted)


@pytest.mark.parametrize("strength", [float("nan"), 101.0, -float("inf")])
def test_a_strength_that_no_slider_gives_is_refused(tmp_path, strength):
    lora = read_lora(write_lora(tmp_path / "a.safetensors", "language_model", {LAYER: change()}, {}))
    with pytest.raises(WeGenError, match="strength"):
        merge(Agent(tiny_config()), lora, strength)


def test_files_that_are_no_lora_of_this_model_are_refused(tmp_path):
    agent = Agent(tiny_config())
    with pytest.raises(LoraError, match="no LoRA file"):
        read_lora(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text(json.dumps({"a": 1}))
    with pytest.raises(LoraError, match="not a readable"):
        read_lora(tmp_path / "text.safetensors")
    save_file({"lora_te1_x.lora_up.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(LoraError, match="lora_te1_x"):
        read_lora(tmp_path / "other.safetensors")
    save_file({f"{layer_key('unet', 'x')}.lora_up.weight": torch.zeros(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(LoraError, match="incomplete"):
        read_lora(tmp_path / "half.safetensors")
    wrong = write_lora(tmp_path / "wrong.safetensors", "language_model", {LAYER: change(inside=40)}, {})
    with pytest.raises(LoraError, match="48 x 40 numbers, the model's is 48 x 32"):
        read_lora(wrong).by_layer(agent)
    missing = write_lora(tmp_path / "missing.safetensors", "language_model", {"llm.model.layers.9.x": change()}, {})
    with pytest.raises(LoraError, match="no layer"):
        read_lora(missing).by_layer(agent)
    # A block has a name, but no weight that could be changed.
    block = write_lora(tmp_path / "block.safetensors", "language_model", {"llm.model.layers.0": change()}, {})
    with pytest.raises(LoraError, match="no layer"):
        read_lora(block).by_layer(agent)
    factors = {f"{layer_key('unet', 'x')}.lora_{way}.weight": torch.zeros(2, 2) for way in ("up", "down")}
    save_file(factors | {f"{layer_key('unet', 'x')}.alpha": torch.ones(3)}, tmp_path / "alpha.safetensors")
    with pytest.raises(LoraError, match="3 numbers"):
        read_lora(tmp_path / "alpha.safetensors")


def test_numbers_of_something_else_are_not_read(tmp_path, monkeypatch):
    """It may be a checkpoint that is larger than memory."""
    save_file({"model.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    monkeypatch.setattr(SafetensorsFile, "tensor", lambda *_: pytest.fail("numbers were read"))
    with pytest.raises(LoraError, match=r"it holds 'model\.weight'"):
        read_lora(tmp_path / "other.safetensors")


def test_a_pipeline_takes_files_of_both_parts_and_then_any_words(packed_dir, tmp_path):
    pipeline = Pipeline(*load(packed_dir))
    attention = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    files = {
        write_lora(tmp_path / "l.safetensors", "language_model", {LAYER: change()}, {}): 1.0,
        write_lora(tmp_path / "u.safetensors", "unet", {attention: change(64, 64)}, {}): 0.5,
    }
    language = pipeline.wegen.agent.get_submodule(LAYER).weight.clone()
    unet = pipeline.decoder.unet.get_submodule(attention).weight.clone()
    assert pipeline.wegen.prefixes is not None
    pipeline.generate("a red cat " * 40, seeds=[1])  # long enough to be remembered
    changed = pipeline.with_loras(files)
    assert pipeline.wegen.prefixes.bytes == 0  # what was read with other weights is forgotten
    assert not torch.equal(changed.wegen.agent.get_submodule(LAYER).weight, language)
    assert not torch.equal(changed.decoder.unet.get_submodule(attention).weight, unet)
    assert changed.wegen.config.world == ""


FACTORS = {DOWN: torch.ones(4, 8), UP: torch.ones(6, 4), ALPHA: torch.tensor(4.0)}


@pytest.mark.parametrize(
    ("end", "value", "said"),
    [
        (DOWN, torch.full((4, 8), torch.nan), "not finite"),
        (UP, torch.full((6, 4), torch.inf, dtype=torch.float16), "not finite"),
        (ALPHA, torch.tensor(torch.nan), "not finite"),
        (UP, torch.ones(6, 5), "ranks 4 (.lora_down.weight) and 5 (.lora_up.weight)"),
        (DOWN, torch.ones(4, 8, dtype=torch.int8), "holds torch.int8"),
        (ALPHA, torch.tensor(1j), "holds torch.complex64"),
    ],
)
def test_numbers_that_cannot_be_are_named(tmp_path, end, value, said):
    key, file = layer_key("unet", "x"), tmp_path / "a.safetensors"
    save_file({key + name: one for name, one in (FACTORS | {end: value}).items()}, file)
    with pytest.raises(LoraError) as found:
        read_lora(file)
    assert said in str(found.value) and str(file) in str(found.value) and key in str(found.value)


def test_a_whole_number_is_an_alpha_too(tmp_path):
    key, file = layer_key("unet", "x"), tmp_path / "a.safetensors"
    save_file({key + name: one for name, one in (FACTORS | {ALPHA: torch.tensor(2)}).items()}, file)
    assert read_lora(file).changes[key].scale == 0.5


def of_other_weights(folder, other, part, spread):
    """The checkpoint with a part whose small tensors are a little, or much, off."""
    shutil.copytree(folder, other)
    state = load_file(folder / part_file(part))
    generator = torch.Generator().manual_seed(0)
    for key, value in state.items():
        if value.ndim == 1:
            state[key] = value * (1 + spread * torch.randn(value.shape, generator=generator))
    save_file(state, other / part_file(part))
    return other


@pytest.mark.parametrize("part", ["language_model", "unet"])
def test_other_weights_of_the_same_shapes_are_told(packed_dir, tmp_path, part):
    folder = of_other_weights(packed_dir, tmp_path / "base", part, 0.3)
    base = open_checkpoint(folder).parts[part]
    about = {BASE: base_of(base), "wegen_model": "mine"}
    lora = read_lora(write_lora(tmp_path / "a.safetensors", part, {LAYER: change()}, about))
    assert lora.doubt(base) == ""
    for dtype in ("fp16", "bf16", "int8"):
        packed = convert(folder, tmp_path / dtype, dtype)
        assert lora.doubt(open_checkpoint(packed).parts[part]) == "", dtype
    trained = of_other_weights(folder, tmp_path / "trained", part, 0.003)
    assert lora.doubt(open_checkpoint(trained).parts[part]) == "", "it fits one that was trained on a little"
    said = lora.doubt(open_checkpoint(packed_dir).parts[part])
    assert said.startswith("a.safetensors was trained beside other weights") and "'mine'" in said
    old = read_lora(write_lora(tmp_path / "old.safetensors", part, {LAYER: change()}, {}))
    assert old.doubt(base) == "", "files of earlier versions record nothing"


@pytest.mark.parametrize("recorded", ["", "{", "[1]", '{"a": "b"}', '{"a": [NaN]}', "[" * 100_000])
def test_a_record_of_the_base_that_cannot_be_read_is_named(packed_dir, tmp_path, recorded):
    file = write_lora(tmp_path / "a.safetensors", "language_model", {LAYER: change()}, {BASE: recorded})
    with pytest.raises(LoraError, match=rf"{BASE}.* is no list of numbers"):
        read_lora(file).doubt(open_checkpoint(packed_dir).language_model)


def test_a_pipeline_warns_of_other_weights(packed_dir, tmp_path):
    other = of_other_weights(packed_dir, tmp_path / "other", "language_model", 0.3)
    about = {BASE: base_of(open_checkpoint(other).language_model)}
    file = write_lora(tmp_path / "a.safetensors", "language_model", {LAYER: change()}, about)
    with pytest.warns(UserWarning, match="trained beside other weights"):
        Pipeline.from_folder(packed_dir).with_loras({file: 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pipeline.from_folder(other).with_loras({file: 1.0})


def test_a_command_says_in_one_line_of_which_weights_a_lora_is(packed_dir, tmp_path, capsys):
    other = of_other_weights(packed_dir, tmp_path / "other", "language_model", 0.3)
    file = tmp_path / "a.safetensors"
    write_lora(file, "language_model", {LAYER: change()}, {BASE: base_of(open_checkpoint(other).language_model)})
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    asked = ["ask", "what is there?", "--reference", f"photo={tmp_path / 'red.png'}", "--model", str(packed_dir)]
    assert main([*asked, "--lora", str(file)]) == 0
    [said] = [line for line in capsys.readouterr().err.splitlines() if "other weights" in line]
    assert said.startswith("wegen: a.safetensors was trained beside other weights")
