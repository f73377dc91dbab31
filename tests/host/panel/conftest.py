"""The panel in a real browser against a real ComfyUI, with the bundled model; one page for all tests of this folder."""

import uuid

import pytest
from PIL import Image
from playwright.sync_api import expect

from .actions import set_steps
from .chat_panel import EMPTY_GRAPH, ChatPanel

NO_MESSAGES = "() => window.app.extensionManager.toast.removeAll()"
STEPS = "() => JSON.parse(sessionStorage.getItem('wegen.panel') ?? '{}').settings?.steps"


@pytest.fixture(scope="package")
def page(frontend):
    return frontend.page


@pytest.fixture(scope="package")
def opened(page, frontend, server):
    frontend.reload()
    return ChatPanel(page, server.url).open()


@pytest.fixture
def panel(opened, frontend, client):
    """The panel with a new chat beside an empty canvas, the model's own steps, a host with nothing to do and no message
    of an earlier test; the test fails on errors in the console, and on requests to anything but the host."""
    client.end_all()
    opened.page.evaluate(NO_MESSAGES)
    expect(opened.page.locator(".p-toast-message")).to_have_count(0)
    errors = len(frontend.errors)
    opened.foreign.clear()
    opened.page.evaluate("(graph) => window.app.graph.nodes.length && window.app.loadGraphData(graph)", EMPTY_GRAPH)
    opened.new_chat()
    if opened.page.evaluate(STEPS):  # chats begin with the settings of the last one
        set_steps(opened, "")
    yield opened
    frontend.settle()
    assert frontend.errors[errors:] == []
    assert opened.foreign == []


@pytest.fixture(scope="package")
def teal(client):
    """A picture, as chats name it."""
    name = client.upload_image(Image.new("RGB", (64, 64), "teal"), f"{uuid.uuid4().hex}.png")
    return {"filename": name, "subfolder": "", "type": "input"}
