"""The subgraph blueprints of the pack: what the host lists is laid on the canvas, run, and its pictures judged."""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import storybook
from PIL import Image
from support import REPOSITORY

from .graphs import node
from .server import PACK_NAME

BLUEPRINTS = {path.stem: path for path in sorted((REPOSITORY / "subgraphs").glob("*.json"))}
NINE, MASKED = "Wish to Nine Pictures (WeGen)", "Refine with a Mask (WeGen)"
SIZE, LEFT = 128, 50


@pytest.fixture(scope="module")
def opened(frontend):
    """Call it with the name of a blueprint: its inner nodes as the front end would queue them, and the outer inputs."""

    def open_blueprint(name: str) -> dict[str, dict]:
        return frontend.api_prompt(json.loads(BLUEPRINTS[name].read_text()))

    return open_blueprint


def inner(prompt: dict[str, dict], class_type: str) -> str:
    [found] = [node_id for node_id, one in prompt.items() if one["class_type"] == class_type]
    return found


def test_the_host_lists_them(client):
    listed = client.get("/global_subgraphs").json()
    own = {one["name"] for one in listed.values() if one["info"]["node_pack"] == f"custom_nodes.{PACK_NAME}"}
    assert own == set(BLUEPRINTS) == {NINE, MASKED}


def test_each_is_one_node_with_words_to_type(frontend):
    for name, path in BLUEPRINTS.items():
        frontend.load(json.loads(path.read_text()))
        nodes = "window.app.graph.nodes.map((node) => [node.title, node.widgets.map((widget) => widget.name)])"
        [[title, widgets]] = frontend.page.evaluate(f"() => {nodes}")
        assert title == name
        assert widgets[:2] == ["instruction", "seed"]


@pytest.mark.parametrize("path", BLUEPRINTS.values(), ids=BLUEPRINTS)
def test_inside_what_comes_in_is_left_of_all_and_what_goes_out_right(path):
    for graph in json.loads(path.read_text())["definitions"]["subgraphs"]:
        left, right = (graph[name]["bounding"] for name in ("inputNode", "outputNode"))
        places = [(one["pos"][0], one["pos"][0] + one["size"][0]) for one in graph["nodes"]]
        assert left[0] + left[2] < min(begin for begin, _ in places)
        assert right[0] > max(end for _, end in places)


def test_what_the_model_says_inside_is_told_outside(frontend):
    frontend.load(json.loads(BLUEPRINTS[NINE].read_text()))
    page = frontend.page
    widget = "window.app.graph.nodes[0].widgets.find((one) => one.name === 'instruction')"
    page.evaluate(f"() => {{ const one = {widget}; one.value = 'a dinosaur'; one.callback?.('a dinosaur') }}")
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')")
    page.locator(".p-toast", has_text="cannot").wait_for()


def test_a_wish_gives_nine_pictures(client, opened):
    prompt = opened(NINE)
    result = client.run(prompt)
    assert (result.status, result.errors) == ("success", [])
    pictures = client.images(result, inner(prompt, "WeGenGenerate"))
    assert len(pictures) == 9
    assert len({picture.tobytes() for picture in pictures}) > 1


def test_what_the_mask_leaves_out_is_unchanged(client, opened):
    prompt = opened(MASKED)
    refine, begin = inner(prompt, "WeGenRefine"), inner(prompt, "WeGenChat")
    before = storybook.render(replace(storybook.sample_scene(Random(0)), sky="day"))
    change = np.full((SIZE, SIZE), 255, np.uint8)
    change[:, :LEFT] = 0
    client.upload_image(Image.fromarray(before), "blueprint_before.png")
    client.upload_image(Image.fromarray(change), "blueprint_change.png")
    prompt["before"] = node("LoadImage", image="blueprint_before.png")
    prompt["change"] = node("LoadImageMask", image="blueprint_change.png", channel="red")
    prompt[begin]["inputs"]["image"] = ["before", 0]
    prompt[refine]["inputs"]["edit_mask"] = ["change", 0]
    prompt["after"] = node("SaveImage", images=[refine, 0], filename_prefix="blueprint")
    result = client.run(prompt)
    assert (result.status, result.errors) == ("success", [])
    [after] = client.images(result, "after")
    after = np.asarray(after.convert("RGB"))
    assert (after[:, :LEFT] == before[:, :LEFT]).all()
    assert (after[:, LEFT:] != before[:, LEFT:]).any()
