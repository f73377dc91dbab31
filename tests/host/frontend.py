"""The real front end in a headless browser: turns what users open into what the server runs, and looks at it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from browser import PATIENCE
from playwright.sync_api import Browser, ConsoleMessage, Page, Request
from support import HANGS

# The front end opens its welcome pages and its template browser for a user who has not been here before.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.0.0",
    "Comfy.Workflow.Persist": False,
}

# What an untouched front end writes as errors for a new user without a network: files that this user does not have yet,
# and its default workflow asking for a model elsewhere.
HOST_NOISE = re.compile(r"/(user\.css|userdata)|Content Security Policy|graph accessed before initialization")

READY = "() => window.app?.vueAppReady && window.app.extensionManager && !window.app.extensionManager.spinner"

LOAD = """
async (workflow) => {
    await window.app.loadGraphData(workflow)
    const known = window.LiteGraph.registered_node_types
    return window.app.graph.nodes.map((node) => node.type).filter((type) => !(type in known))
}
"""


QUEUE = "() => window.app.extensionManager.command.execute('Comfy.QueuePrompt')"


def run_canvas(page: Page, url: str) -> dict[str, Any]:
    """Run what is on the canvas as the Run button does, and give what the server's history says of it."""
    with page.expect_response(
        lambda answer: answer.request.method == "POST" and answer.url.split("?")[0].endswith("/prompt")
    ) as answer:
        page.evaluate(QUEUE)
    entry = ended(page, url, answer.value.json()["prompt_id"])
    assert entry["status"]["status_str"] == "success", entry["status"]
    return entry


def ended(page: Page, url: str, prompt_id: str) -> dict[str, Any]:
    """What the server's history says of a prompt, as soon as it has ended."""
    for _ in range(PATIENCE // 100):
        if entry := requests.get(f"{url}/history/{prompt_id}", timeout=HANGS).json().get(prompt_id):
            return entry
        page.wait_for_timeout(100)
    raise TimeoutError(f"The prompt {prompt_id} does not end.")


class FrontEnd:
    """Context manager around one page of the browser that shows the server's start page.

    Attributes:
        page: the Playwright page, for tests that click and type.
        errors: what the page wrote to its console as errors, and exceptions nobody caught, without `HOST_NOISE`.
    """

    def __init__(self, url: str, browser: Browser):
        self.url = url
        self.browser = browser
        self.errors: list[str] = []
        self.page: Page
        self._requests: set[Request] = set()

    def __enter__(self) -> "FrontEnd":
        requests.post(f"{self.url}/settings", json=SETTINGS, timeout=HANGS).raise_for_status()
        # Each picture of an animation is drawn by the CPU here, which turns need themselves.
        self._context = self.browser.new_context(viewport={"width": 1600, "height": 1000}, reduced_motion="reduce")
        self._context.set_default_timeout(PATIENCE)
        try:
            self.page = self._context.new_page()
            self.page.on("console", self._note_console)
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.page.on("request", lambda request: self._requests.add(request))
            self.page.on("requestfinished", lambda request: self._requests.discard(request))
            self.page.on("requestfailed", lambda request: self._requests.discard(request))
            self.reload()
        except BaseException:
            self._context.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._context.close()

    def reload(self) -> None:
        """Open the start page anew and wait until it can be used."""
        self._requests.clear()
        self.page.goto(self.url, wait_until="domcontentloaded")
        self.page.wait_for_function(READY)

    def settle(self) -> None:
        """Wait until every answer is there, so that no error of one test comes up in the next."""
        for _ in range(PATIENCE // 100):
            self.page.wait_for_timeout(100)
            if not self._requests:
                return

    @contextmanager
    def expecting(self, text: str) -> Iterator[None]:
        """Errors in which `text` stands are none as long as this lasts."""
        before = len(self.errors)
        yield
        self.settle()
        self.errors[before:] = [error for error in self.errors[before:] if text not in error]

    def load(self, workflow: dict[str, Any]) -> None:
        """Open a workflow (the JSON that users save and get) on the canvas.

        Raises:
            ValueError: it has nodes that the host does not know.
        """
        unknown = self.page.evaluate(LOAD, workflow)
        if unknown:
            raise ValueError(f"The host does not know these nodes of the workflow: {', '.join(sorted(set(unknown)))}")

    def api_prompt(self, workflow: dict[str, Any]) -> dict[str, dict]:
        """Convert a workflow to the prompt that the front end would queue for it."""
        self.load(workflow)
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    def screenshot(self, path: Path, workflow: dict[str, Any] | None = None) -> Path:
        """Save a picture of the page as PNG, of `workflow` fitted into the view when it is given."""
        if workflow is not None:
            self.load(workflow)
            self.page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
            # The view glides to its new place.
            self.page.wait_for_timeout(1000)
        self.page.screenshot(path=path)
        return path

    def _note_console(self, message: ConsoleMessage) -> None:
        text = f"{message.text} ({message.location.get('url', '')})"
        if message.type == "error" and not HOST_NOISE.search(text):
            self.errors.append(text)
