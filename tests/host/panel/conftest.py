"""The panel in a real browser against a real ComfyUI, with the bundled model; one page for all tests of this folder."""

import uuid

import pytest
from PIL import Image
from support import NOT_RUN, REPOSITORY

from .chat_panel import EMPTY_GRAPH, ChatPanel

NANO = REPOSITORY / "models" / "nano"


@pytest.fixture(scope="package")
def page(frontend):
    if not (NANO / "config.json").is_file():
        pytest.skip(f"{NOT_RUN}the chat panel, there is no bundled model")
    return frontend.page


@pytest.fixture(scope="package")
def opened(page, frontend, server):
    frontend.reload()
    return ChatPanel(page, server.url).open()


@pytest.fixture
def panel(opened, frontend):
    """The panel with a new chat beside an empty canvas; the test fails on errors in the console, and on requests to
    anything but the host."""
    errors = len(frontend.errors)
    opened.foreign.clear()
    opened.page.evaluate("(graph) => window.app.graph.nodes.length && window.app.loadGraphData(graph)", EMPTY_GRAPH)
    opened.new_chat()
    yield opened
    frontend.settle()
    assert frontend.errors[errors:] == []
    assert opened.foreign == []


@pytest.fixture(scope="package")
def teal(client):
    """A picture, as chats name it."""
    name = client.upload_image(Image.new("RGB", (64, 64), "teal"), f"{uuid.uuid4().hex}.png")
    return {"filename": name, "subfolder": "", "type": "input"}
