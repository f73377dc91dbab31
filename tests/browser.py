"""The headless browser that tests drive, and what it says of the work on a page's main thread."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

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
    # A page may ask for pictures and news elsewhere; tests see their own servers only.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 180_000
"""Milliseconds that anything may take: tests run beside others, on machines with two cores."""


def find_browser() -> str | None:
    """Path of a Chromium: `CHROMIUM_PATH`, or the first one on the search path; None when there is none."""
    if path := os.environ.get("CHROMIUM_PATH"):
        return path
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def running(executable: str) -> Iterator[Browser]:
    """A browser without a window. Only one at a time: Playwright runs once in a process."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


class MainThread:
    """Context manager that takes the times of all tasks on the main thread of a page.

    Attributes:
        tasks: milliseconds that each task computed, once it is left; on a busy machine it may have waited longer.
        scripts: the same of each piece of script by the address that it came from; what one calls counts for both.
    """

    def __init__(self, page: Page):
        self.page = page
        self.tasks: list[float] = []
        self.scripts: list[tuple[str, float]] = []

    def __enter__(self) -> "MainThread":
        self._browser.start_tracing(page=self.page, categories=["toplevel", "devtools.timeline"])
        return self

    def __exit__(self, *_) -> None:
        events = json.loads(self._browser.stop_tracing())["traceEvents"]
        main = {
            (event["pid"], event["tid"])
            for event in events
            if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
        }
        tasks = [event for event in events if event["name"].endswith("RunTask") and event["ph"] == "X"]
        own = [event for event in tasks if (event["pid"], event["tid"]) in main]
        self.tasks = [event.get("tdur", event["dur"]) / 1000 for event in own]
        for event in events:
            address = event.get("args", {}).get("data", {}).get("url") if event["ph"] == "X" else None
            if address and (event["pid"], event["tid"]) in main:
                self.scripts.append((address, event.get("tdur", event["dur"]) / 1000))

    @property
    def _browser(self) -> Browser:
        browser = self.page.context.browser
        assert browser is not None
        return browser
