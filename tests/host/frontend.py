"""The real front end in a headless browser: turns what users open into what the server runs, and looks at it."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The page may ask for pictures and news elsewhere; tests see this server only.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

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


def find_browser() -> str | None:
    """Path of a Chromium: `CHROMIUM_PATH`, or the first one on the search path; None when there is none."""
    if path := os.environ.get("CHROMIUM_PATH"):
        return path
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class FrontEnd:
    """Context manager around one browser with one page that shows the server's start page.

    Attributes:
        page: the Playwright page, for tests that click and type.
        errors: what the page wrote to its console as errors, and exceptions nobody caught, without `HOST_NOISE`.
    """

    def __init__(self, url: str, browser: str, user_data: Path):
        self.url = url
        self.browser = browser
        self.user_data = user_data
        self.errors: list[str] = []
        self.page: Page

    def __enter__(self) -> "FrontEnd":
        requests.post(f"{self.url}/settings", json=SETTINGS, timeout=30).raise_for_status()
        self._playwright = sync_playwright().start()
        try:
            self._context = self._playwright.chromium.launch_persistent_context(
                str(self.user_data),
                executable_path=self.browser,
                args=FLAGS,
                viewport={"width": 1600, "height": 1000},
            )
            self.page = self._context.pages[0]
            self.page.on("console", self._note_console)
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.reload()
        except BaseException:
            self._playwright.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._context.close()
        self._playwright.stop()

    def reload(self) -> None:
        """Open the start page anew and wait until it can be used."""
        self.page.goto(self.url, wait_until="domcontentloaded", timeout=60_000)
        self.page.wait_for_function(READY, timeout=120_000)

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
