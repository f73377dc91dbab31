"""What nodes show on themselves after a run, in both canvases of the real front end, with the bundled model."""

import uuid

import pytest

from .frontend import QUEUE, ended, run_canvas
from .graphs import node

MODEL = "wegen-nano (bundled)"
SIZES = {"WeGenGenerate": [360, 560], "WeGenChat": [360, 300], "WeGenAsk": [360, 260]}

# Lays nodes out beside each other; inputs that are a list are links, as in a prompt.
BUILD = """
async ([prompt, sizes]) => {
    const { app, LiteGraph } = window
    await app.loadGraphData({ nodes: [], links: [], version: 0.4 })
    const made = {}
    for (const [id, { class_type, inputs }] of Object.entries(prompt)) {
        const node = (made[id] = LiteGraph.createNode(class_type))
        app.graph.add(node)
        node.pos = [Object.keys(made).length * 420 - 700, 80]
        if (sizes[class_type]) node.setSize(sizes[class_type])
        for (const [name, value] of Object.entries(inputs)) {
            const widget = node.widgets?.find((widget) => widget.name === name)
            if (widget && !Array.isArray(value)) widget.value = value
        }
    }
    for (const [id, { inputs }] of Object.entries(prompt)) {
        for (const [name, value] of Object.entries(inputs)) {
            const slot = made[id].inputs.findIndex((one) => one.name === name)
            if (Array.isArray(value)) made[value[0]].connect(value[1], made[id], slot)
        }
    }
    await app.extensionManager.command.execute('Comfy.Canvas.FitView')
}
"""

LISTEN = """
async () => {
    const { api } = await import('/scripts/api.js')
    window.said = []
    api.addEventListener('progress_text', ({ detail }) => window.said.push(detail.text))
}
"""


# After an undo nodes show again what they gave, two frames and some time later, by the page's own clock.
PUT_BACK = """
() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 400))))
"""


@pytest.fixture(params=[False, True], ids=["canvas", "Nodes 2.0"])
def page(frontend, request):
    set_nodes_two(frontend.page, request.param)
    errors = len(frontend.errors)
    yield frontend.page
    set_nodes_two(frontend.page, False)
    frontend.settle()
    assert frontend.errors[errors:] == []


def set_nodes_two(page, on):
    page.evaluate("(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", on)


def graph(save_as: str, seed: int) -> dict[str, dict]:
    return {
        "load": node("WeGenLoadModel", model=MODEL),
        "draw": node(
            "WeGenGenerate", wegen=["load", 0], model=["load", 1], vae=["load", 2], instruction="a house", batch_size=3,
            seed=seed, steps=6,
        ),
        "chat": node("WeGenChat", chat=["draw", 1], save_as=save_as),
        "ask": node("WeGenAsk", wegen=["load", 0], question="what is in the picture?", chat=["draw", 1]),
    }  # fmt: skip


def widget(page, class_type: str, name: str):
    """Value and choices of a widget."""
    found = "window.app.graph.nodes.find((node) => node.type === type).widgets.find((one) => one.name === name)"
    read = f"([type, name]) => (({{ value, options }}) => ({{ value, values: options?.values }}))({found})"
    return page.evaluate(read, [class_type, name])


def test_words_pictures_and_a_click_that_picks(page, frontend, server, client):
    name = f"wegen/{uuid.uuid4().hex}"
    page.evaluate(BUILD, [graph(name, uuid.uuid4().int % 2**32), SIZES])
    page.evaluate(LISTEN)
    entry = run_canvas(page, server.url)
    results = page.locator(".wegen-result")
    results.nth(2).wait_for(state="attached")  # out of view it is hidden
    assert results.count() == 3  # of WeGen Generate, Chat and Ask
    outputs = entry["outputs"]
    words = ["\n".join(output["text"]).strip() for output in outputs.values() if "text" in output]
    shown = [text.strip() for text in results.locator("p").all_text_contents()]
    assert sorted(shown) == sorted(words) and all(shown)
    # What happens is said with numbers while it happens, and no longer when it is over.
    said = page.evaluate("() => window.said")
    assert "thinking" in said and "painting 6 of 6" in said
    names = "window.app.graph.nodes.flatMap((node) => node.widgets ?? []).map((one) => one.name)"
    assert "$$node-text-preview" not in page.evaluate(f"() => {names}")
    # The finished pictures stand there, not the sampler's last preview.
    finished = "window.app.graph.nodes.find((node) => node.type === 'WeGenGenerate').imgs?.map((one) => one.src)"
    if page.locator("[data-node-id]").count() == 0:
        page.wait_for_function(f"() => {finished}?.length === 3 && {finished}.every((src) => src.includes('/view?'))")
    else:
        page.wait_for_function("() => document.querySelectorAll('[data-node-id] img[src^=blob]').length === 0")
        page.wait_for_function("() => document.querySelectorAll('[data-node-id] img[src*=\"/view?\"]').length >= 6")
    # A saved chat is in the list at once.
    assert f"{name}_00001_.safetensors [output]" in widget(page, "WeGenChat", "file")["values"]
    # A click picks; the chat goes on with that picture, and nothing is painted anew.
    picks = results.locator(".wegen-picks button")
    assert picks.count() == 3
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")  # the nodes have grown
    page.wait_for_timeout(1000)
    picks.nth(2).click()
    assert widget(page, "WeGenGenerate", "picked")["value"] == 3
    assert picks.nth(2).get_attribute("aria-pressed") == "true"
    page.evaluate("() => (window.said.length = 0)")
    again = run_canvas(page, server.url)
    assert not [text for text in page.evaluate("() => window.said") if text.startswith("painting")]
    [picked] = [output["picked"] for output in again["outputs"].values() if "picked" in output]
    assert picked == [3]
    saved = page.evaluate(
        "() => window.app.graph.serialize().nodes.map((node) => [node.type, node.widgets_values.length])"
    )
    # What a run shows is no part of the workflow.
    assert dict(saved) == {"WeGenLoadModel": 2, "WeGenGenerate": 16, "WeGenChat": 6, "WeGenAsk": 1}


def set_widget(page, class_type: str, name: str, value) -> None:
    """As by hand: the value, and the callback of the widget."""
    found = "window.app.graph.nodes.find((node) => node.type === type).widgets.find((one) => one.name === name)"
    page.evaluate(
        f"([type, name, value]) => {{ const one = {found}; one.value = value; one.callback?.(value) }}",
        [class_type, name, value],
    )


def test_what_a_run_leaves_is_gone_with_the_next_one(page, server):
    prompt = graph("none", uuid.uuid4().int % 2**32)
    nodes = {name: prompt[name] for name in ("load", "draw")}
    features = {"wegen": ["load", 0], "instruction": "a tree", "seed": uuid.uuid4().int % 2**32}
    page.evaluate(BUILD, [{**nodes, "features": node("WeGenConditioning", **features)}, SIZES])
    run_canvas(page, server.url)
    picks = page.locator(".wegen-picks")
    buttons = picks.locator("button")
    page.wait_for_function("() => document.querySelectorAll('.wegen-picks button').length === 3")
    # The picture that is marked is the one that the chat goes on with.
    for value, marked in ((2, 1), (9, 0), (0, 0), (3, 2)):
        set_widget(page, "WeGenGenerate", "picked", value)
        pressed = [buttons.nth(number).get_attribute("aria-pressed") for number in range(3)]
        assert pressed == [str(number == marked).lower() for number in range(3)], value
    # No words of progress stay, also on nodes that show nothing else.
    names = "window.app.graph.nodes.flatMap((node) => node.widgets ?? []).map((one) => one.name)"
    page.wait_for_function(f"() => !{names}.includes('$$node-text-preview')")
    set_widget(page, "WeGenGenerate", "instruction", "a dinosaur")
    run_canvas(page, server.url)
    page.wait_for_function("() => document.querySelector('.wegen-result p')?.textContent.includes('cannot')")
    assert buttons.count() == 0 and picks.evaluate("(one) => getComputedStyle(one).display") == "none"
    page.wait_for_timeout(500)
    # Until the node has the size of its words, they are cut off.
    whole = "({ clientHeight, scrollHeight }) => clientHeight >= scrollHeight - 8"
    page.wait_for_function(f"() => ({whole})(document.querySelector('.wegen-result p'))")
    assert not page.evaluate("() => window.app.graph.nodes.find((node) => node.type === 'WeGenGenerate').imgs?.length")


def test_what_was_done_before_a_run_can_be_undone_step_by_step(page, server):
    """And done again: nodes that show a result are as an undo brings them back."""
    picture = node("EmptyImage", width=64, height=64, batch_size=1, color=uuid.uuid4().int % 2**24)
    asked = node("WeGenAsk", wegen=["load", 0], question="what is there?", image=["picture", 0])
    page.evaluate(BUILD, [{"load": node("WeGenLoadModel", model=MODEL), "picture": picture, "ask": asked}, {}])
    tracked = "app.extensionManager.workflow.activeWorkflow.changeTracker"
    page.wait_for_timeout(500)
    page.evaluate(f"() => {tracked}.captureCanvasState()")
    move = "app.graph.nodes.find((one) => one.type === 'EmptyImage').pos[0] -= 50"
    for _ in range(3):
        page.evaluate(f"() => {{ {move}; {tracked}.captureCanvasState() }}")
    run_canvas(page, server.url)
    page.locator(".wegen-result p").wait_for(state="attached")
    page.wait_for_timeout(1000)
    page.evaluate(f"() => {tracked}.captureCanvasState()")
    steps = []
    for _ in range(3):
        page.evaluate(f"() => {tracked}.undo()")
        page.evaluate(PUT_BACK)
        page.evaluate(f"() => {tracked}.captureCanvasState()")
        steps.append(page.evaluate(f"() => [{tracked}.undoQueue.length, {tracked}.redoQueue.length]"))
    undone, again = zip(*steps, strict=True)
    assert list(again) == [1, 2, 3] and list(undone) == [undone[0], undone[0] - 1, undone[0] - 2], steps


# Beside it in a tab of its own: nodes of other kinds with the same numbers, and the name of the tab that is left.
OPEN_ANOTHER = """
async () => {
    const { app, LiteGraph } = window
    const left = app.extensionManager.workflow.activeWorkflow.filename
    await app.loadGraphData({ nodes: [], links: [], version: 0.4 }, true, true, 'another')
    for (const type of ['WeGenAsk', 'WeGenChat', 'WeGenGenerate', 'WeGenAsk']) {
        const node = LiteGraph.createNode(type)
        app.graph.add(node)
        node.pos = [app.graph.nodes.length * 420 - 700, 80]
    }
    return left
}
"""

SHOWN = """
() => window.app.graph.nodes.map((node) => [
    node.type, node.widgets?.find((one) => one.name === 'wegen_result')?.element.textContent ?? null
])
"""


def test_what_a_workflow_gives_is_shown_on_its_own_nodes_alone(page, server, client):
    """Whatever workflow is open by the time that it has run."""
    page.evaluate(BUILD, [graph("none", uuid.uuid4().int % 2**32), SIZES])
    # It must not have ended before the other one is open.
    with client.busy(), page.expect_response("**/prompt") as answer:
        page.evaluate(QUEUE)
        left = page.evaluate(OPEN_ANOTHER)
    ended(page, server.url, answer.value.json()["prompt_id"])
    page.wait_for_timeout(1500)
    assert [words for _, words in page.evaluate(SHOWN)] == [None] * 4
    assert page.evaluate("() => Object.keys(window.app.nodeOutputs)") == []
    page.get_by_text(left, exact=True).first.click()
    page.wait_for_function("() => document.querySelectorAll('.wegen-result').length === 3")
    shown = dict(page.evaluate(SHOWN))
    assert shown.pop("WeGenLoadModel") is None
    assert len(shown) == 3 and all(shown.values())
