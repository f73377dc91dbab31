"""Memory is counted as it is taken, and the published sizes fit a card of 24 GB."""

import argparse
import dataclasses
import re
from functools import partial

import pytest
import torch
from comfyui_wegen.models.checkpoints import doctor
from comfyui_wegen.models.checkpoints.activations import _LiveBytes
from comfyui_wegen.models.checkpoints.memory_needs import GIB
from comfyui_wegen.models.checkpoints.quantise import quantised_format
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.cli import train
from comfyui_wegen.models.data import Sample, Text, write_samples
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.network.configuration import WeGenConfig
from comfyui_wegen.models.network.decoder import empty_decoder
from comfyui_wegen.models.network.language_model import Layer, Step, rotary_angles
from comfyui_wegen.models.training.adapters import INT8, Int8Linear, LoraOptions, add_adapters, fill_frozen
from comfyui_wegen.models.training.checkpoint_run import CheckpointRun
from comfyui_wegen.models.training.losses import IGNORED
from comfyui_wegen.models.training.memory import (
    INSIDE,
    KEPT_LOGITS,
    LOGITS,
    TRAINED_BYTES,
    lora_memory,
    weight_bytes,
)
from comfyui_wegen.models.training.sources import Drawn
from support import REPOSITORY
from torch import nn
from torch.utils.checkpoint import checkpoint
from training_samples import recipe_file


@pytest.mark.parametrize("base", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("part", ["language_model", "unet"])
def test_what_is_counted_is_what_is_there(packed_dir, base, part):
    checkpoint, options = open_checkpoint(packed_dir), LoraOptions(rank=3, base=base, words=True)
    with torch.device("meta"):
        module = Agent(checkpoint.config) if part == "language_model" else empty_decoder(checkpoint.config)[0]
    counted = weight_bytes(module, options)
    fill_frozen(module, checkpoint.parts[part], options)
    tensors = [*module.parameters(), *module.buffers()]
    assert counted == sum(value.nbytes for value in tensors)
    add_adapters(module, options)
    trained = sum(value.numel() for value in module.parameters() if value.requires_grad)
    assert lora_memory(checkpoint.config, part, options).trained == TRAINED_BYTES * trained


def test_the_published_sizes_fit_24_gb_as_the_page_says():
    page = (REPOSITORY / "docs" / "teach-wegen-your-world.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+?((?: \| \**\d+\.\d\**){5}) \|$", page, re.MULTILINE)
    found = [[float(number) for number in re.findall(r"\d+\.\d", row)] for row in rows]
    asked = [("language_model", {"tokens": tokens, "keep": keep}) for tokens in (2048, 4096) for keep in (False, True)]
    counted = []
    for part, given in [*asked, ("unet", {})]:
        small, half = (lora_memory(WeGenConfig(), part, LoraOptions(base=base), **given) for base in ("int8", "bf16"))
        counted.append([small.frozen, small.trained, small.activations, small.total, half.total])
    assert found == [[round(number / 1e9, 1) for number in row] for row in counted]
    assert max(row[3] for row in found) < 20


@pytest.mark.parametrize("part", ["language_model", "unet"])
def test_what_does_not_fit_is_said_before_weights_are_read(packed_dir, tmp_path, part, monkeypatch, capsys):
    data = [{"shards": "kept", "keep": True}]
    write_samples(tmp_path / "kept", [Sample("words", (Text("hello", "user"), Text("hello", "assistant", True)))])
    file = recipe_file(
        tmp_path, tmp_path, packed_dir, part, precision="bf16", recompute=True, batch=1, lora={"rank": 3}, data=data
    )
    trained = CheckpointRun(file, tmp_path)
    config, options = open_checkpoint(packed_dir).config, LoraOptions(rank=3)
    given = {"tokens": 2048, "keep": True} if part == "language_model" else {"size": config.size}
    counted = trained.memory()
    assert counted == lora_memory(config, part, options, **given).total

    class Begun(Exception):
        pass

    def stage(self):
        raise Begun

    monkeypatch.setattr(CheckpointRun, "stage", stage)
    for card, said in ((1.01, ""), (0.99, f"{part}: {counted / GIB:.1f} GB of memory are counted")):
        there = doctor.Machine("cuda", card * counted / GIB, 64.0)
        monkeypatch.setattr(doctor, "machine", lambda there=there: there)
        with pytest.raises(Begun):
            train.run(train_arguments(file, tmp_path))
        found = capsys.readouterr().err
        assert (f"'{'size' if part == 'unet' else 'tokens'}' in 'options' of {file}" in found) == bool(said)
        assert found.startswith(said)


def train_arguments(file, out):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args(["--config", str(file), "--out", str(out)])


def test_memory_is_counted_for_loras_that_compute_again(packed_dir, tmp_path):
    for name, entries in {"whole": {"recompute": True}, "kept": {"lora": {"rank": 2}}}.items():
        file = recipe_file(tmp_path, tmp_path, packed_dir, "unet", name, **entries)
        assert CheckpointRun(file, tmp_path).memory() is None
    four = recipe_file(tmp_path, tmp_path, packed_dir, "unet", "four", recompute=True, lora={"rank": 2})
    one = recipe_file(tmp_path, tmp_path, packed_dir, "unet", "one", recompute=True, lora={"rank": 2}, batch=1)
    more = CheckpointRun(four, tmp_path).memory() - CheckpointRun(one, tmp_path).memory()
    config = open_checkpoint(packed_dir).config
    assert more == 3 * lora_memory(config, "unet", LoraOptions(rank=2), size=config.size).activations


def live_bytes(module, run):
    with _LiveBytes(module) as live:
        run()
    return live.peak


@pytest.mark.parametrize("base", ["bf16", INT8])
@pytest.mark.parametrize("mlp_width", [512, 1024])
def test_a_layer_takes_what_is_counted_on_the_way_back(base, mlp_width):
    config = dataclasses.replace(WeGenConfig().language, width=256, mlp_width=mlp_width, heads=2, kv_heads=2)
    tokens, layer = 2048, Layer(config, nn).bfloat16().requires_grad_(False)
    for owner in (layer.self_attn, layer.mlp) if base == INT8 else ():
        for name, linear in list(owner.named_children()):
            kind = quantised_format(f"llm.model.layers.0.mlp.{name}.weight", tuple(linear.weight.shape), INT8)
            setattr(owner, name, Int8Linear(linear.weight.float(), None, kind))
    add_adapters(layer, LoraOptions(rank=2, base=base))
    x = torch.randn(1, tokens, config.width, dtype=torch.bfloat16, requires_grad=True)
    angles = rotary_angles(torch.arange(tokens)[None], config.head_width, config.rope_theta)
    step = Step(None, tokens, None, *(one.bfloat16() for one in angles))

    def there_and_back():
        with torch.autocast("cpu", torch.bfloat16):
            made = checkpoint(partial(layer, step=step, cache=None, layer=0), x, use_reentrant=False)
            made.backward(torch.ones_like(made))

    counted = 2 * tokens * (INSIDE[0] * config.width + INSIDE[1] * mlp_width)
    counted += 2 * config.width * mlp_width if base == INT8 else 0
    assert live_bytes(layer, there_and_back) == pytest.approx(counted, rel=0.06)


@pytest.mark.parametrize("keep", [False, True])
def test_words_take_what_is_counted(packed_dir, tmp_path, keep):
    """A row of words alone, of a model with so many of them that nothing else counts."""
    words = Sample("caption", (Text("a", "user"), Text("a red cat on the roof " * 30, "assistant", True)))
    write_samples(tmp_path / "learn", [words] * 4)
    data = [{"shards": str(tmp_path / "learn")}, {"shards": str(tmp_path / "learn"), "keep": True}]
    file = recipe_file(
        tmp_path, tmp_path, packed_dir, "language_model", precision="bf16", lora={"rank": 2}, data=data[: 1 + keep]
    )
    stage = CheckpointRun(file, tmp_path).stage()
    language = dataclasses.replace(stage.config.language, vocab_size=40_000)
    stage.agent = Agent(dataclasses.replace(stage.config, language=language)).bfloat16().requires_grad_(False)
    add_adapters(stage.agent, LoraOptions(rank=2))
    batch = stage._collate(stage._written([Drawn(words, 0, keep)]))
    learned = int((batch.labels != IGNORED).sum())

    def there_and_back():
        with torch.autocast("cpu", torch.bfloat16):
            total = stage(batch)["total"]
        total.backward()

    taken = live_bytes(stage, there_and_back)
    assert taken == pytest.approx(4 * learned * 40_000 * (KEPT_LOGITS if keep else LOGITS), rel=0.1)
