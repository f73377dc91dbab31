"""Nodes of the canvas go on as chats, and chats as workflows."""

import json

import requests
from support import HANGS

from .chat_panel import EMPTY_GRAPH


def test_a_node_of_the_canvas_goes_on_as_a_chat(panel):
    page = panel.page
    panel.page.evaluate(
        """async () => {
            const graph = { last_node_id: 1, last_link_id: 0, links: [], version: 0.4, nodes: [
                { id: 1, type: 'EmptyImage', title: 'a long title '.repeat(20),
                  pos: [0, 0], size: [300, 150], inputs: [],
                  outputs: [{ name: 'IMAGE', type: 'IMAGE', links: [] }], widgets_values: [64, 64, 1, 255] }] }
            await window.app.loadGraphData(graph)
            const [node] = window.app.graph.nodes
            const [item] = window.app.collectNodeMenuItems(node).filter((one) => /WeGen/.test(one.content))
            item.callback()
        }"""
    )
    page.wait_for_selector(".wg-turn .wg-picture")
    saved = panel.saved()
    [turn] = saved["document"]["turns"].values()
    assert panel.pixels(turn["pictures"][0]["file"]).shape == (64, 64, 3)
    assert saved["name"] == page.input_value(".wg-name").strip() == "a long title a long title a long title a long ti"


def test_a_chat_on_the_canvas_goes_on_in_the_panel(panel):
    page = panel.page
    page.evaluate(
        """async ([model, instruction]) => {
            const { app, LiteGraph } = window
            await app.loadGraphData({ nodes: [], links: [], version: 0.4 })
            const [load, draw] = ['WeGenLoadModel', 'WeGenGenerate'].map((type) => LiteGraph.createNode(type))
            for (const node of [load, draw]) app.graph.add(node)
            for (const slot of [0, 1, 2]) load.connect(slot, draw, slot)
            const set = (node, name, value) => (node.widgets.find((widget) => widget.name === name).value = value)
            set(load, 'model', model)
            set(draw, 'instruction', instruction)
            set(draw, 'steps', 4)
            const [item] = app.collectNodeMenuItems(draw).filter((one) => /WeGen/.test(one.content))
            item.callback()
        }""",
        ["wegen-nano (bundled)", "a red house on a meadow by day"],
    )
    page.wait_for_selector(".wg-turn .wg-picture")
    changed = panel.turn_of(panel.say("make it night"))
    assert changed["base"]["picture"] == 0
    # The chat itself goes on, with the words of its first turn.
    graph = json.dumps(page.evaluate("() => window.app.graph.serialize()"))
    assert "a red house on a meadow" in graph
    assert "night" in changed["pictures"][0]["words"] and "house" in changed["pictures"][0]["words"]


def test_a_workflow_does_not_take_the_place_of_a_saved_one(panel):
    page = panel.page
    turn = panel.say("a house", count=1)
    page.fill(".wg-name", "cats/dogs?")
    page.press(".wg-name", "Tab")
    path = "cats dogs.json"
    saved = requests.post(f"{panel.url}/userdata/workflows%2F{path}", data=json.dumps(EMPTY_GRAPH), timeout=HANGS)
    saved.raise_for_status()
    try:
        page.evaluate("() => window.app.extensionManager.workflow.syncWorkflows()")
        turn.locator(".wg-workflow").click()
        name = "window.app.extensionManager.workflow.activeWorkflow.filename"
        page.wait_for_function(f"() => {name} === 'cats dogs (2)'")
        kept = requests.get(f"{panel.url}/userdata/workflows%2F{path}", timeout=HANGS).json()
        assert kept == EMPTY_GRAPH
    finally:
        requests.delete(f"{panel.url}/userdata/workflows%2F{path}", timeout=HANGS)


def test_a_subgraph_of_the_canvas_goes_on_as_a_chat(panel):
    page = panel.page
    page.evaluate(
        """async () => {
            const graph = { last_node_id: 2, last_link_id: 1, version: 0.4, links: [[1, 1, 0, 2, 0, 'IMAGE']], nodes: [
                { id: 1, type: 'EmptyImage', pos: [0, 0], size: [300, 150], inputs: [],
                  outputs: [{ name: 'IMAGE', type: 'IMAGE', links: [1] }], widgets_values: [48, 64, 1, 255] },
                { id: 2, type: 'PreviewImage', pos: [400, 0], size: [300, 150],
                  inputs: [{ name: 'images', type: 'IMAGE', link: 1 }], outputs: [] }] }
            await window.app.loadGraphData(graph)
            const [node] = window.app.graph.nodes.filter((one) => one.type === 'EmptyImage')
            const { node: outer } = window.app.graph.convertToSubgraph(new Set([node]))
            const [item] = window.app.collectNodeMenuItems(outer).filter((one) => /WeGen/.test(one.content))
            item.callback()
        }"""
    )
    page.wait_for_selector(".wg-turn .wg-picture")
    [turn] = panel.saved()["document"]["turns"].values()
    assert panel.pixels(turn["pictures"][0]["file"]).shape == (64, 48, 3)
