"""The harness itself, on stock nodes: what it reports must be right before anything else is judged by it."""

import pytest

from .client import WAIT
from .process import ScriptFailed

PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 96, "height": 64, "batch_size": 1, "color": 0x336699}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "harness"}},
}

WORKFLOW = {
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [
        {
            "id": 1,
            "type": "EmptyImage",
            "pos": [50, 50],
            "size": [270, 130],
            "flags": {},
            "order": 0,
            "mode": 0,
            "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "properties": {},
            "widgets_values": [96, 64, 1, 0x336699],
        },
        {
            "id": 2,
            "type": "SaveImage",
            "pos": [400, 50],
            "size": [270, 270],
            "flags": {},
            "order": 1,
            "mode": 0,
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "outputs": [],
            "properties": {},
            "widgets_values": ["harness"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}


def recoloured(color: int) -> dict[str, dict]:
    """The prompt with another colour, so that the cache knows nothing of it."""
    return {**PROMPT, "1": {**PROMPT["1"], "inputs": {**PROMPT["1"]["inputs"], "color": color}}}


def test_pack_is_imported(server):
    assert "custom_nodes/ComfyUI-WeGen" in server.log
    assert not server.import_failed


def test_stock_graph_gives_a_picture(client):
    result = client.run(PROMPT)
    assert (result.status, result.errors) == ("success", [])
    assert result.executed_nodes == ["1", "2"]
    (image,) = client.images(result, "2")
    assert image.size == (96, 64)
    assert image.getpixel((0, 0)) == (0x33, 0x66, 0x99)


def test_second_run_is_answered_by_the_cache(client):
    client.run(recoloured(1))
    result = client.run(recoloured(1))
    assert result.status == "success"
    assert result.executed_nodes == []
    assert set(result.cached_nodes) == {"1", "2"}


def test_rejected_prompt_says_why(client):
    result = client.run({"1": {**PROMPT["1"], "inputs": {}}, "2": PROMPT["2"]})
    assert result.status == "rejected"
    assert {error.node_id for error in result.errors} == {"1"}
    assert any("width" in error.message for error in result.errors)


def test_exception_in_a_node_is_reported(client, server):
    (server.base_directory / "input" / "broken.png").write_bytes(b"not a picture")
    result = client.run({**PROMPT, "1": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}})
    assert result.status == "error"
    assert [error.node_id for error in result.errors] == ["1"]


def test_uploaded_image_comes_back(client):
    original = client.images(client.run(recoloured(0x123456)), "2")[0]
    name = client.upload_image(original, "uploaded.png")
    result = client.run({**PROMPT, "1": {"class_type": "LoadImage", "inputs": {"image": name}}})
    assert client.images(result, "2")[0].tobytes() == original.tobytes()


def test_interrupt_ends_the_run_and_the_next_one_works(client):
    result = client.run(WAIT, interrupt_when=lambda event: event.type == "executing")
    assert result.status == "interrupted"
    assert client.run(recoloured(3)).status == "success"
    assert client.queue() == {"queue_running": [], "queue_pending": []}


def test_workflow_converts_in_the_front_end_and_runs(client, frontend):
    prompt = frontend.api_prompt(WORKFLOW)
    assert {node_id: node["inputs"] for node_id, node in prompt.items()} == {
        node_id: node["inputs"] for node_id, node in PROMPT.items()
    }
    assert client.run(prompt).status == "success"


def test_unknown_node_in_a_workflow_is_named(frontend):
    nodes = [{**node, "type": "NoSuchNode"} if node["id"] == 1 else node for node in WORKFLOW["nodes"]]
    with pytest.raises(ValueError, match="NoSuchNode"):
        frontend.load({**WORKFLOW, "nodes": nodes})


def test_screenshot(frontend, tmp_path):
    errors = len(frontend.errors)
    assert frontend.screenshot(tmp_path / "page.png", WORKFLOW).stat().st_size > 10_000
    assert frontend.errors[errors:] == []


def test_script_runs_inside_the_host(host_python):
    script = """
import json, sys, comfy.model_management
print(json.dumps([str(comfy.model_management.get_torch_device()), sys.argv[1:]]))
"""
    assert host_python(script, "a", 1) == ["cpu", ["a", "1"]]


def test_failing_script_shows_its_traceback(host_python):
    with pytest.raises(ScriptFailed, match="ZeroDivisionError"):
        host_python("1 / 0")


def test_host_that_is_too_old_is_named(host_python):
    script = (
        "import asyncio, comfyui_version; comfyui_version.__version__ = '0.19.3'\n"
        "import comfyui_wegen\n"
        "asyncio.run(asyncio.run(comfyui_wegen.comfy_entrypoint()).on_load())"
    )
    with pytest.raises(ScriptFailed, match=r"needs ComfyUI 0\.20\.0 or newer, and this is 0\.19\.3"):
        host_python(script)
