"""The templates: the very files that users get are opened in the real front end and run, and their pictures judged."""

import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from loras import random_loras
from support import REPOSITORY

from .client import Result
from .server import PACK_NAME

WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))
NANO_NAME = "wegen-nano (bundled)"

OWN_THING = "12 your own thing"
# How many pictures each template saves.
PICTURES = {
    "01 text to picture": 4,
    "03 reference to picture": 1,
    "05 refine with a keep mask": 2,
    "08 stock KSampler": 4,
    "02 one wish, nine pictures": 9,
    "06 chat of four turns": 4,
    "04 two references": 3,
    "09 keep mask with any model": 3,
    "07 fork and compare": 2,
    "10 chat with any workflow": 1,
    "11 chat with a checkpoint": 1,
    OWN_THING: 4,
    "13 draw from edges": 1,
    "14 restore a picture": 1,
    "15 eight turns": 1,
    "16 in the style of a picture": 1,
    "17 keep what you name": 2,
}
NO_WEGEN = {"10 chat with any workflow", "11 chat with a checkpoint"}  # need none of its models
CHECKPOINT = "11 chat with a checkpoint"  # needs one that no test machine has
SIZES = {"10 chat with any workflow": (512, 512)}
SIZE = (128, 128)  # of the pictures of all others
NO_ID = "00000000-0000-0000-0000-000000000000"
FLAT = 5.0  # standard deviation of 8-bit pixels below which a picture shows nothing

each_template = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
each_that_runs = pytest.mark.parametrize(
    "path", [path for path in WORKFLOWS if path.stem != CHECKPOINT], ids=lambda path: path.stem
)


@dataclass(frozen=True)
class Run:
    """One run of a template: its prompt, what happened, the files it saved, in the order of their nodes, and what the
    host said."""

    prompt: dict[str, dict]
    result: Result
    files: tuple[bytes, ...]
    log: str


@pytest.fixture(scope="module", autouse=True)
def loras(server):
    """What the template "12 your own thing" loads: files that users train, here with random numbers."""
    for part, file in random_loras(server.base_directory / "models" / "loras").items():
        file.rename(file.with_name(f"rocket_{part}.safetensors"))


@pytest.fixture(scope="module")
def opened(frontend):
    """Call it with the path of a template: the prompt that the front end queues for that file."""

    @cache
    def open_template(path) -> dict[str, dict]:
        workflow = json.loads(path.read_text())
        if path.stem == OWN_THING:
            for node in workflow["nodes"]:
                node["mode"] = 0  # as somebody does who has the LoRAs
        prompt = frontend.api_prompt(workflow)
        for node in prompt.values() if path.stem == OWN_THING else ():
            if node["class_type"] == "WeGenGenerate":
                # With random numbers in place of a trained LoRA the model says that it cannot draw a rocket.
                node["inputs"]["instruction"] = "a red house"
        return prompt

    return open_template


@pytest.fixture(scope="module")
def run(client, server, opened):
    """Call it with the path of a template to run it with nothing in the host's cache."""

    def run_template(path) -> Run:
        prompt = opened(path)
        client.free_memory()
        begin = len(server.log)
        result = client.run(prompt)
        assert (result.status, result.errors, result.cached_nodes) == ("success", [], [])
        files = [file for node in savers(prompt) for file in client.files(result, node)]
        return Run(prompt, result, tuple(files), server.log[begin:])

    return run_template


@pytest.fixture(scope="module")
def first_run(run):
    """The same, but a template runs once for all tests."""
    return cache(run)


def template(name: str):
    return REPOSITORY / "workflows" / f"{name}.json"


def nodes_of(prompt: dict[str, dict], class_type: str) -> list[str]:
    """Ids of the nodes of one type."""
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]


def savers(prompt: dict[str, dict]) -> list[str]:
    """Ids of the nodes that save pictures."""
    return nodes_of(prompt, "SaveImage") + nodes_of(prompt, "WeGenResult")


def reader(prompt: dict[str, dict], source: str, output: int, class_type: str) -> str:
    """Id of the one node of a type that an output is connected to."""
    (found,) = (
        node_id for node_id in nodes_of(prompt, class_type) if [source, output] in prompt[node_id]["inputs"].values()
    )
    return found


def what_leads_from(prompt: dict[str, dict], node_id: str) -> dict[str, dict]:
    """The part of a prompt that a run is about when only this node has changed: its output nodes read this node."""

    def inputs(reader: str) -> list[str]:
        return [value[0] for value in prompt[reader]["inputs"].values() if isinstance(value, list)]

    def above(reader: str) -> set[str]:
        return {reader}.union(*map(above, inputs(reader)))

    sources = {source for reader in prompt for source in inputs(reader)}
    kept = set().union(*(above(end) for end in prompt if end not in sources and node_id in above(end)))
    return {reader: node for reader, node in prompt.items() if reader in kept}


def pixels(client, result: Result, node_id: str) -> np.ndarray:
    """The one picture of a node, `[H, W, 3]`."""
    (image,) = client.images(result, node_id)
    return np.asarray(image.convert("RGB")).astype(int)


def test_templates_are_the_ones_known_here():
    assert {path.stem for path in WORKFLOWS} == set(PICTURES)


@pytest.mark.parametrize(
    "path", [*WORKFLOWS, *sorted((REPOSITORY / "subgraphs").glob("*.json"))], ids=lambda path: path.stem
)
def test_values_are_the_same_by_place_and_by_name(path):
    """Front ends take the one or the other."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    graphs = [saved, *(saved.get("definitions") or {}).get("subgraphs", [])]
    nodes = [node for graph in graphs for node in graph["nodes"]]
    for node in nodes:
        named = node.get("widgets_values_named")
        assert named is None or list(named.values()) == node["widgets_values"], node["type"]
        known = {one["widget"]["name"] for one in node.get("inputs", []) if "widget" in one}
        if named and node["type"].startswith("WeGen"):
            assert set(named) - known <= {"control_after_generate"}, node["type"]


def test_each_template_has_an_id_of_its_own():
    """The front end keeps values of widgets and results of nodes under it."""
    ids = [json.loads(path.read_text(encoding="utf-8"))["id"] for path in WORKFLOWS]
    assert len(set(ids)) == len(ids) and NO_ID not in ids


def test_templates_pass_the_check_of_the_front_end(frontend):
    """It alerts those who have switched on *Validate workflows*."""
    page = frontend.page
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.Validation.Workflows', on)"
    alerts = page.locator(".p-toast-message", has_text="schema")
    page.evaluate(switch, True)
    try:
        for path in WORKFLOWS:
            frontend.load(json.loads(path.read_text(encoding="utf-8")))
        without_ids = {"nodes": [], "links": [], "version": 0.4}
        frontend.load(without_ids)  # what alerts of the others would have come by then
        alerts.first.wait_for()
        assert alerts.count() == 1, alerts.all_text_contents()
    finally:
        page.evaluate(switch, False)
        page.evaluate("() => window.app.extensionManager.toast.removeAll()")


def test_templates_are_served(client):
    assert set(client.get("/workflow_templates").json()[PACK_NAME]) == set(PICTURES)
    for path in WORKFLOWS:
        served = client.get(f"/api/workflow_templates/{PACK_NAME}/{path.name}")
        assert served.json() == json.loads(path.read_text())


@each_template
def test_template_has_a_thumbnail(path):
    assert path.with_suffix(".jpg").is_file()


@each_template
def test_template_needs_nothing_else(path, client, frontend):
    errors = len(frontend.errors)
    prompt = frontend.api_prompt(json.loads(path.read_text()))
    assert frontend.errors[errors:] == []
    loaded = [prompt[loader]["inputs"]["model"] for loader in nodes_of(prompt, "WeGenLoadModel")]
    assert loaded == ([] if path.stem in NO_WEGEN else [NANO_NAME])
    assert len(nodes_of(prompt, "CheckpointLoaderSimple")) == (path.stem == CHECKPOINT)
    assert not nodes_of(prompt, "LoadImage")
    modules = {client.object_info(node["class_type"])[node["class_type"]]["python_module"] for node in prompt.values()}
    foreign = [name for name in modules if name.split(".")[0] not in ("nodes", "comfy_extras", "custom_nodes")]
    assert foreign == []
    assert {name for name in modules if name.startswith("custom_nodes")} == {f"custom_nodes.{PACK_NAME}"}


@each_that_runs
def test_template_gives_pictures(path, client, first_run):
    run = first_run(path)
    assert len(run.files) == PICTURES[path.stem]
    assert len(set(run.files)) == len(run.files), "Some pictures are the same."
    for node_id in savers(run.prompt):
        for image in client.images(run.result, node_id):
            assert (image.size, image.mode) == (SIZES.get(path.stem, SIZE), "RGB")
            assert np.asarray(image).std() > FLAT
    # What the host says where a picture holds numbers that are none.
    assert "invalid value encountered in cast" not in run.log
    for node_id in nodes_of(run.prompt, "PreviewAny"):
        assert all(text.strip() for text in run.result.outputs[node_id]["text"])


# One with each of the nodes that paint.
@pytest.mark.parametrize("name", ["02 one wish, nine pictures", "05 refine with a keep mask", "08 stock KSampler",
                                  "10 chat with any workflow", "12 your own thing"])  # fmt: skip
def test_same_seeds_give_the_same_files(name, first_run, run):
    path = template(name)
    assert first_run(path).files == run(path).files


def test_a_checkpoint_is_all_that_its_template_lacks(client, server, opened):
    prompt = opened(template(CHECKPOINT))
    (loader,) = nodes_of(prompt, "CheckpointLoaderSimple")
    folder = server.base_directory / "models" / "checkpoints"
    folder.mkdir(exist_ok=True)
    stand_in = folder / prompt[loader]["inputs"]["ckpt_name"]
    stand_in.write_bytes(b"")
    try:
        result = client.run(prompt)
    finally:
        stand_in.unlink()
    assert [error.node_id for error in result.errors] == [loader]


def test_what_any_workflow_may_not_change_is_unchanged(client, first_run):
    run = first_run(template("10 chat with any workflow"))
    (turn,), (result,) = nodes_of(run.prompt, "WeGenTurn"), nodes_of(run.prompt, "WeGenResult")
    looked = {
        **run.prompt,
        "before": {"class_type": "PreviewImage", "inputs": {"images": [turn, 1]}},
        "change": {"class_type": "MaskPreview", "inputs": {"mask": [turn, 2]}},
    }
    seen = client.run(looked)
    before, change, after = (pixels(client, seen, name) for name in ("before", "change", result))
    difference, change = np.abs(after - before).max(axis=-1), change[..., 0] > 0
    assert 0 < change.sum() < change.size
    assert difference[~change].max() == 0
    assert (difference[change] > 0).mean() > 0.9


def test_kept_pixels_are_unchanged(client, first_run):
    run = first_run(template("05 refine with a keep mask"))
    (generate,), (refine,) = nodes_of(run.prompt, "WeGenGenerate"), nodes_of(run.prompt, "WeGenRefine")
    before = pixels(client, run.result, reader(run.prompt, generate, 0, "SaveImage"))
    after = pixels(client, run.result, reader(run.prompt, refine, 0, "SaveImage"))
    change = pixels(client, run.result, reader(run.prompt, refine, 2, "MaskPreview"))[..., 0] > 0
    assert 0 < change.sum() < change.size
    difference = np.abs(after - before).max(axis=-1)
    assert difference[~change].max() == 0
    assert difference[change].max() > 0


@pytest.mark.parametrize(
    ("name", "painter"),
    [
        ("01 text to picture", "WeGenGenerate"),
        ("05 refine with a keep mask", "WeGenRefine"),
        ("08 stock KSampler", "KSampler"),
        ("02 one wish, nine pictures", "WeGenGenerate"),
    ],
)
def test_more_steps_do_not_ask_the_language_model_again(client, opened, name, painter):
    (node_id,) = nodes_of(opened(template(name)), painter)
    prompt = what_leads_from(opened(template(name)), node_id)
    node = prompt[node_id]
    first, again = (
        client.run({**prompt, node_id: {**node, "inputs": {**node["inputs"], "seed": 123, "steps": steps}}})
        for steps in (2, 3)
    )
    assert [(run.status, run.errors) for run in (first, again)] == [("success", [])] * 2
    assert node_id in again.executed_nodes
    for writer in ("WeGenLoadModel", "WeGenRewritePrompt", "WeGenConditioning"):
        assert not set(nodes_of(prompt, writer)) & set(again.executed_nodes)
    # The language model counts 64 features; a turn that remembers them only counts sampler steps.
    counted = [{event.data["max"] for event in run.events_of("progress", node_id)} for run in (first, again)]
    if painter.startswith("WeGen"):
        assert 64 in counted[0]
    assert 64 not in counted[1]


def test_without_its_loras_the_model_says_that_it_does_not_know_the_thing(client, frontend):
    prompt = frontend.api_prompt(json.loads(template(OWN_THING).read_text()))
    assert not nodes_of(prompt, "WeGenLoadLoRA")
    result = client.run(prompt)
    assert (result.status, result.errors) == ("success", [])
    [generate] = nodes_of(prompt, "WeGenGenerate")
    assert "i cannot draw that" in result.outputs[generate]["text"][0]
    assert not result.outputs[generate].get("images") and not {*savers(prompt)} & {*result.outputs}
