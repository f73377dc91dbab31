"""LoRA files inside ComfyUI: they give what the same change of the weights gives, and nodes say what is wrong."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.loading import fill
from comfyui_wegen.models.checkpoints.lora import merge, read_lora
from comfyui_wegen.models.checkpoints.reader import open_checkpoint, part_file
from loras import empty_modules, random_loras
from PIL import Image
from safetensors.torch import save_file

from .graphs import LANGUAGE, MODEL_SOCKETS, SAMPLER, load, node

SCRIPTS = Path(__file__).parent / "scripts"
NANO_NAME = "wegen-nano (bundled)"


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    """A LoRA file for each of two parts of the bundled model, by the part's name."""
    return random_loras(tmp_path_factory.mktemp("loras"))


def merged(folder, loras, *strengths):
    """The bundled model with the files in its weights."""
    checkpoint = open_checkpoint(BUNDLED)
    shutil.copytree(BUNDLED, folder)
    for part, module in empty_modules().items():
        fill(module, checkpoint.parts[part], torch.device("cpu"), torch.float32)
        for strength in strengths:
            merge(module, read_lora(loras[part]), strength)
        save_file(module.state_dict(), folder / part_file(part))
    return folder


def test_files_give_what_merged_weights_give(host_python, loras, tmp_path):
    """Two on top of each other, loaded whole and within a quarter of the memory, where the host may cast all layers."""
    strengths = (0.6, -0.25)
    target = merged(tmp_path / "merged", loras, *strengths)
    files = loras["language_model"], loras["unet"]
    found = host_python(SCRIPTS / "lora.py", BUNDLED, target, *files, *strengths, timeout=1500)
    for name, part in found.items():
        assert part["effect"] > 0.01, (name, part)
        assert part["full"] <= 1e-4, (name, part)
        assert part["quarter"] <= 1e-4, (name, part)
        assert part["loaded"] < 0.5, (name, part)
        assert part["left behind"] == 0, (name, part)


def test_clones_of_a_loaded_patcher_have_their_own_loras(host_python):
    """Beside quantised layers; a mask makes the host clone a model that is in use."""
    found = host_python(SCRIPTS / "side_lora_clones.py")
    assert found["effects"] == [1, 1, 2, 1, 0, 2, 2, 3]
    assert found["in weights"] and found["weights as before"]
    assert found["failed"] == "out of memory" and found["after"] == [0, 0, 1]


@pytest.fixture(scope="module")
def names(server, loras):
    """The files in the server's folder, by the part's name."""
    folder = server.base_directory / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    for part, file in loras.items():
        shutil.copy(file, folder / f"test_{part}.safetensors")
    return {part: f"test_{part}.safetensors" for part in loras}


def generate_with(client, lora_name, strength, model_lora=None):
    """Status, errors and the pictures of a run with LoRAs."""
    sockets = dict(MODEL_SOCKETS) | {"wegen": ["lora", 0]}
    values = {**LANGUAGE, **SAMPLER, "instruction": "a red house on a meadow"}
    graph = load(NANO_NAME)
    graph["lora"] = node("WeGenLoadLoRA", wegen=["load", 0], lora_name=lora_name, strength=strength)
    if model_lora:
        graph["unet"] = node("LoraLoaderModelOnly", model=["load", 1], lora_name=model_lora, strength_model=1.0)
        sockets["model"] = ["unet", 0]
    graph["generate"] = node("WeGenGenerate", **sockets, **values)
    graph["save"] = node("SaveImage", images=["generate", 0], filename_prefix="lora")
    result = client.run(graph, timeout=900)
    pictures = client.files(result, "save") if result.status == "success" else []
    return result, [np.asarray(Image.open(io.BytesIO(one))) for one in pictures]


def test_the_node_changes_what_is_drawn_and_strength_0_changes_nothing(client, names):
    without = generate_with(client, names["language_model"], 0.0)[1]
    result, changed = generate_with(client, names["language_model"], 1.0)
    assert (result.status, result.errors) == ("success", [])
    both = generate_with(client, names["language_model"], 1.0, names["unet"])[1]
    again = generate_with(client, names["language_model"], 0.0)[1]
    assert np.array_equal(without, again)
    assert not np.array_equal(without, changed) and not np.array_equal(changed, both)


def test_a_file_of_the_unet_is_sent_to_the_stock_node(client, names):
    result, _ = generate_with(client, names["unet"], 1.0)
    assert "LoraLoaderModelOnly" in result.errors[0].message


def linked(name, value):
    """An input that comes from another node, as a subgraph's input or a switch gives it."""
    return {
        f"{name} text": node("PrimitiveString", value=value),
        name: node("ComfySwitchNode", switch=True, on_true=[f"{name} text", 0], on_false=[f"{name} text", 0]),
    }


def ask_with(lora_name, **more):
    return {
        **more,
        "load": node("WeGenLoadModel", model=["model", 0] if "model" in more else NANO_NAME),
        "lora": node("WeGenLoadLoRA", wegen=["load", 0], lora_name=lora_name, strength=0.01),
        "grey": node("EmptyImage", width=64, height=64, batch_size=1, color=0x808080),
        "ask": node("WeGenAsk", wegen=["lora", 0], question="what is there?", image=["grey", 0]),
    }


def test_names_may_come_from_other_nodes(client, names):
    model, file = linked("model", NANO_NAME), linked("file", names["language_model"])
    result = client.run(ask_with(["file", 0], **model, **file))
    assert (result.status, result.errors) == ("success", [])
    result = client.run(ask_with(["file", 0], **model, **linked("file", "gone.safetensors")))
    assert "There is no LoRA" in result.errors[0].message


def test_a_file_that_was_trained_again_is_read_again(client, server, names):
    graph = ask_with(names["language_model"])
    client.run(graph)
    assert "lora" not in client.run(graph).executed_nodes
    file = server.base_directory / "models" / "loras" / names["language_model"]
    written = file.stat().st_mtime_ns
    os.utime(file, ns=(written, written + 10**9))
    assert {"lora", "ask"} <= set(client.run(graph).executed_nodes)
