"""Workflows, prompts and chats that version 0.1.0 saved, opened in a running ComfyUI; see `../files/v0.1/README.md`."""

import json
import shutil

import numpy as np
import pytest
from comfyui_wegen.models.media.chat_file import load_chat
from comfyui_wegen.models.media.images import to_pil
from support import REPOSITORY

from .graphs import node

FILES = REPOSITORY / "tests" / "files" / "v0.1"
WORKFLOWS = sorted((FILES / "workflows").glob("*.json"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def opened(frontend):
    """Call it with the path of a workflow: the prompt that the front end queues for it, from its values by position."""

    def open_workflow(path) -> dict[str, dict]:
        workflow = json.loads(path.read_text())
        for saved in workflow["nodes"]:
            # Only newer front ends write values with their names.
            saved.pop("widgets_values_named", None)
        return frontend.api_prompt(workflow)

    return open_workflow


@each_workflow
def test_values_are_in_their_widgets(path, opened):
    prompt = opened(path)
    for saved in json.loads(path.read_text())["nodes"]:
        if not saved["type"].startswith("WeGen"):
            continue
        inputs = prompt[str(saved["id"])]["inputs"]
        linked = {one["name"] for one in saved["inputs"] if one["link"] is not None}
        for name, value in saved.get("widgets_values_named", {}).items():
            if name != "control_after_generate" and name not in linked:
                assert inputs[name] == value, f"{saved['type']}.{name}"


@each_workflow
def test_workflow_runs(path, client, opened):
    result = client.run(opened(path))
    assert (result.status, result.errors) == ("success", [])


def test_prompt_with_every_input_runs(client):
    prompt = json.loads((FILES / "api.json").read_text())
    # Today's model says that it knows nothing about an even picture. This is about inputs, so words are given to it.
    [drawn] = [one["inputs"] for one in prompt.values() if one["class_type"] == "WeGenGenerate"]
    drawn["rewritten"] = "on a meadow by day, a big red house with the lights off at the bottom left."
    result = client.run(prompt)
    assert (result.status, result.errors) == ("success", [])


def test_chat_shows_its_last_picture(client, server):
    source = FILES / "chat.safetensors"
    folder = server.base_directory / "input"
    folder.mkdir(exist_ok=True)
    shutil.copy(source, folder / "v01.safetensors")
    try:
        files = client.object_info("WeGenChat")["WeGenChat"]["input"]["required"]["file"]
        options = files[1]["options"] if isinstance(files[0], str) else files[0]
        [name] = [name for name in options if "v01" in name]
        graph = {
            "chat": node("WeGenChat", turn=0, picture=0, file=name, save_as=""),
            "shown": node("SaveImage", images=["chat", 1], filename_prefix="v01"),
        }
        result = client.run(graph)
    finally:
        (folder / "v01.safetensors").unlink()
    assert (result.status, result.errors) == ("success", [])
    [picture] = client.images(result, "shown")
    saved = np.asarray(to_pil(load_chat(source).last.answer.picture)).astype(int)
    # The host cuts numbers off where this pack rounds them.
    assert np.abs(np.asarray(picture).astype(int) - saved).max() <= 1
