"""Workflows of other nodes paint turns."""

import io
import json

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import expect
from support import HANGS, REPOSITORY

from .actions import files_of_canvas, open_chat, open_stored, store_chat
from .chat_panel import EMPTY_GRAPH

# All nodes become one.
IN_ONE_SUBGRAPH = """
async (workflow) => {
    await window.app.loadGraphData(workflow)
    const { graph } = window.app
    graph.convertToSubgraph(new Set(graph.nodes))
    return window.app.graph.nodes.length
}
"""
# What stands between the turn and its result becomes a subgraph.
IN_A_SUBGRAPH = """
async (workflow) => {
    await window.app.loadGraphData(workflow)
    const { graph } = window.app
    graph.convertToSubgraph(new Set(graph.nodes.filter((node) => node.type === 'ImageInvert')))
    return window.app.graph.serialize()
}
"""
# Another result, which belongs to no turn and is found first.
LONELY_RESULT = """
() => {
    const { graph } = window.app
    graph.remove(graph.getNodeById(1))
    graph.add(Object.assign(window.LiteGraph.createNode('WeGenResult'), { id: 1 }))
}
"""
RESULTS = """
async () => Object.entries((await window.app.graphToPrompt()).output)
    .filter(([, node]) => node.class_type === 'WeGenResult').map(([id]) => id)
"""
APART = """
() => {
    for (const node of window.app.graph.nodes.filter(({ type }) => type === 'WeGenResult'))
        node.inputs.forEach((_, slot) => node.disconnectInput(slot))
}
"""


def open_made_with(panel, setting: str, value: str) -> None:
    """Open a chat whose settings have this value, as one from elsewhere may, and then its settings."""
    panel.say("a tree", count=1)
    document = panel.saved()["document"]
    document["settings"][setting] = value
    store_chat(panel.url, document, name=f"made with {value}")
    open_stored(panel, f"made with {value}")
    panel.page.click(".wg-settings-open")


def choose_painter(panel, name: str) -> None:
    """Choose what paints, by its name in the settings; waits for a name that is not listed yet."""
    panel.page.click(".wg-settings-open")
    panel.page.locator("[data-setting='painter']").select_option(label=name)
    panel.page.keyboard.press("Escape")


def test_a_workflow_of_stock_nodes_paints(panel, frontend):
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    address = f"{panel.url}/userdata/workflows%2Fmine.json"
    requests.post(address, data=template.read_bytes(), timeout=HANGS).raise_for_status()
    try:
        choose_painter(panel, template.stem)  # one of the pack's templates
        choose_painter(panel, "mine")  # what the user has saved
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Start with a picture").click()
        noise = np.random.default_rng(0).integers(0, 255, (192, 192, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format="PNG")
        chooser.value.set_files([{"name": "noise.png", "mimeType": "image/png", "buffer": buffer.getvalue()}])
        page.wait_for_selector(".wg-upload")
        panel.paint([((0.2, 0.3), (0.8, 0.3)), ((0.2, 0.6), (0.8, 0.6))])
        changed = panel.say("turn the colours around", count=2)
        saved = panel.turn_of(changed)
        kept = panel.pixels(saved["keep"], "L") == 255
        assert 0.05 < kept.mean() < 0.9
        told = [(picture["words"], picture["seed"]) for picture in saved["pictures"]]
        assert told == [("turn the colours around", saved["seed"]), ("turn the colours around", saved["seed"] + 1)]
        for picture in saved["pictures"]:
            difference = np.abs(panel.pixels(picture["file"]) - noise.astype(int)).max(axis=-1)
            assert difference[kept].max() == 0
            assert (difference[~kept] > 0).mean() > 0.5
        # The chat goes on with what was kept, and so does its workflow.
        panel.use(changed, 1)
        again = panel.say("once more")
        [picture] = panel.turn_of(again)["pictures"]
        after = panel.pixels(picture["file"])
        assert np.abs(after - noise.astype(int)).max(axis=-1)[kept].max() == 0
        again.locator(".wg-workflow").click()
        page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'WeGenResult')")
        [file] = files_of_canvas(panel)
        assert np.array_equal(panel.pixels(file), after)
    finally:
        choose_painter(panel, "WeGen")
        requests.delete(address, timeout=HANGS)


def test_the_workflow_of_a_turn_is_the_one_that_painted_it(panel):
    """Not the one that is open by now, which here paints nothing."""
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    page.evaluate("(graph) => window.app.loadGraphData(graph)", json.loads(template.read_text(encoding="utf-8")))
    choose_painter(panel, "The open workflow")
    try:
        turn = panel.say("a house", count=2)
        panel.use(turn, 1)
        page.evaluate("(graph) => window.app.loadGraphData(graph)", EMPTY_GRAPH)
        turn.locator(".wg-workflow").click()
        page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'WeGenResult')")
        assert "ImageInvert" in page.evaluate("() => window.app.graph.nodes.map((node) => node.type)")
        [file] = files_of_canvas(panel)
        first = panel.turn_of(turn)["pictures"][0]["file"]
        assert np.array_equal(panel.pixels(file), panel.pixels(first))
    finally:
        choose_painter(panel, "WeGen")


def test_a_workflow_with_a_subgraph_paints(panel, frontend):
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    workflow = page.evaluate(IN_A_SUBGRAPH, json.loads(template.read_text(encoding="utf-8")))
    [subgraph] = workflow["definitions"]["subgraphs"]
    assert [node["type"] for node in subgraph["nodes"]] == ["ImageInvert"]
    address = f"{panel.url}/userdata/workflows%2Fwith a subgraph.json"
    requests.post(address, json=workflow, timeout=HANGS).raise_for_status()
    frontend.reload()  # with a canvas that knows nothing of it
    panel.open()
    choose_painter(panel, "with a subgraph")
    try:
        panel.new_chat()
        turn = panel.say("anything", count=1)
        assert panel.pixels(panel.turn_of(turn)["pictures"][0]["file"]).size
        known = "(id) => id in window.LiteGraph.registered_node_types"
        assert not page.evaluate(known, subgraph["id"])
    finally:
        choose_painter(panel, "WeGen")
        requests.delete(address, timeout=HANGS)


def test_a_model_that_is_gone_stays_chosen(panel, frontend):
    """In its chat, which says what is missing; a new chat is begun with one that is there."""
    page = panel.page
    open_made_with(panel, "model", "on another disk")
    expect(page.locator("[data-setting='model'] option:checked")).to_have_text("on another disk")
    page.keyboard.press("Escape")
    with frontend.expecting("400"):
        turn = panel.begin("make it night")
        panel.wait(turn, "failed")
    assert panel.turn_of(turn)["settings"]["model"] == "on another disk"
    panel.new_chat()
    panel.say("a tree", count=1)


def test_a_painter_that_is_gone_can_be_changed(panel):
    page = panel.page
    open_made_with(panel, "painter", "gone/forever.json")
    painter = page.locator("[data-setting='painter']")
    expect(painter.locator("option:checked")).to_have_text("gone/forever")
    painter.select_option(label="WeGen")
    page.keyboard.press("Escape")
    panel.say("make it night")


def test_the_open_workflow_paints_from_within_a_subgraph(panel, teal):
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    assert page.evaluate(IN_ONE_SUBGRAPH, json.loads(template.read_text(encoding="utf-8"))) == 1
    open_chat(panel, teal)
    choose_painter(panel, "The open workflow")
    try:
        turn = panel.say("turn the colours around", count=1)
        [picture] = panel.turn_of(turn)["pictures"]
        assert panel.pixels(picture["file"])[0, 0].tolist() == pytest.approx([255, 127, 127], abs=1)  # of teal
    finally:
        choose_painter(panel, "WeGen")
        page.evaluate("(graph) => window.app.loadGraphData(graph)", EMPTY_GRAPH)


def test_a_workflow_in_which_turn_and_result_are_apart_says_what_to_connect(panel):
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    workflow = json.loads(template.read_text(encoding="utf-8"))
    page.evaluate("(graph) => window.app.loadGraphData(graph)", workflow)
    choose_painter(panel, "The open workflow")
    try:
        page.evaluate(LONELY_RESULT)
        assert page.evaluate(RESULTS)[0] == "1"
        panel.say("anything", count=1)
        page.evaluate(APART)
        turn = panel.begin("anything else", count=1)
        panel.wait(turn, "failed")
        expect(turn).to_contain_text("nothing leads from the WeGen Turn to the WeGen Result")
    finally:
        choose_painter(panel, "WeGen")
        page.evaluate("(graph) => window.app.loadGraphData(graph)", EMPTY_GRAPH)
