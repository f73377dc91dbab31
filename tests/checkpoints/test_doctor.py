"""What models need, and checkpoints that are not whole."""

import pytest
import torch
from comfyui_wegen.models.checkpoints.doctor import examine, machine
from comfyui_wegen.models.checkpoints.needs import advice, command, how_it_runs, needs, table
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
    assert set(advice(published, 16, 64).values()) == {"bf16"}
    # The language model does not fit a card of 12 GB in 16 bits.
    middle = advice(published, 12, 64)
    assert middle["language_model"] == "int8" and middle["unet"] == "bf16"
    assert advice(published, 8, 16)["language_model"] == "w4a8"
    small = advice(published, 24, 16)
    assert sum(part.weights[small[part.part]] for part in published) <= 11 * 2**30
    assert how_it_runs(published, advice(published, 8, 32), 8, 32) == "part by part"
    assert how_it_runs(published, "bf16", 24, 24) == "part by part, read again"
    assert how_it_runs(published, "bf16", 8, 32) == "partly streamed"
    assert how_it_runs(published, "int8", 24, 32) == "all loaded"
    assert how_it_runs(published, "bf16", 1, 64) == "too small"
    assert how_it_runs(published, "bf16", 0, 16) == "too small"
    assert how_it_runs(published, "bf16", 0, 64) == "all loaded"
    assert how_it_runs(published, "int8", 24, 16) == "all loaded"
    assert table(published).count("\n") == 14


def test_the_command_is_what_was_advised():
    chosen = {"vision_encoder": "bf16", "language_model": "int8", "unet": "bf16", "vae": "w4a8"}
    assert command(chosen) == "--dtype bf16 --part language_model=int8"


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
