"""What models need, and checkpoints that are not whole."""

import pytest
import torch
from comfyui_wegen.models.checkpoints.doctor import examine, machine
from comfyui_wegen.models.checkpoints.needs import advice, how_it_runs, needs, table
from comfyui_wegen.models.checkpoints.random_weights import make_random
from comfyui_wegen.models.checkpoints.reader import open_checkpoint, part_file
from comfyui_wegen.models.network.configuration import WeGenConfig
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def published():
    return needs(WeGenConfig())


def test_the_published_model_is_as_large_as_it_is(published):
    total = {p: sum(part.weights[p] for part in published) / 1e9 for p in ("bf16", "int8")}
    assert total["bf16"] == pytest.approx(27.6, abs=0.2)
    assert 14 < total["int8"] < 15


def test_bytes_are_those_of_the_files(tmp_path):
    checkpoint = open_checkpoint(make_random(tmp_path / "made", "tiny"))
    for part in needs(checkpoint.config):
        stored = load_file(tmp_path / "made" / part_file(part.part))
        assert part.weights["bf16"] == sum(tensor.nbytes for tensor in stored.values())


def test_advice_follows_the_card_and_the_memory(published):
    assert advice(published, 16, 64) == "bf16"
    assert advice(published, 12, 32) == "int8"
    assert advice(published, 6, 16) == "int8"
    assert how_it_runs(published, "bf16", 24, 16) == "read from disk"
    assert how_it_runs(published, "int8", 24, 32) == "all loaded"
    assert how_it_runs(published, "bf16", 1, 64) == "too small"
    assert table(published).count("\n") == 14


def test_this_machine_has_memory():
    card, memory = machine()
    assert card >= 0 and memory > 0.5


def test_a_checkpoint_that_is_not_whole_is_named(tmp_path):
    folder = make_random(tmp_path / "made", "tiny")
    assert examine(open_checkpoint(folder)) == []
    file = folder / part_file("language_model")
    state = load_file(file)
    state["llm.model.norm.weight"][3] = torch.nan
    save_file(state, file)
    [fault] = examine(open_checkpoint(folder))
    assert "llm.model.norm.weight" in fault and "finite" in fault
    del state["llm.model.norm.weight"]
    save_file(state, file)
    [fault] = examine(open_checkpoint(folder))
    assert "lacks 1" in fault
