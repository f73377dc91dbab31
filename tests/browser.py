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
    """

    def __init__(self, page: Page):
        self.page = page
        self.tasks: list[float] = []

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

    @property
    def _browser(self) -> Browser:
        browser = self.page.context.browser
        assert browser is not None
        return browser


class ScriptTime:
    """Context manager that takes the time a page spends in some scripts, and in what they call.

    Args:
        page: to look at; it may be loaded anew meanwhile.
        part: of the scripts' addresses.

    Attributes:
        milliseconds: once it is left; on a busy machine they count waiting too.
    """

    def __init__(self, page: Page, part: str):
        self.part = part
        self.milliseconds = 0.0
        self._session = page.context.new_cdp_session(page)

    def __enter__(self) -> "ScriptTime":
        self._session.send("Profiler.enable")
        self._session.send("Profiler.setSamplingInterval", {"interval": 500})
        self._session.send("Profiler.start")
        return self

    def __exit__(self, *_) -> None:
        profile = self._session.send("Profiler.stop")["profile"]
        self._session.detach()
        own: dict[int, bool] = {}
        for node in profile["nodes"]:  # callers come before what they call
            inside = own.setdefault(node["id"], False) or self.part in node["callFrame"]["url"]
            own[node["id"]] = inside
            own.update(dict.fromkeys(node.get("children", ()), inside))
        times = zip(profile["samples"], profile["timeDeltas"], strict=True)
        self.milliseconds = sum(time for node, time in times if own[node]) / 1000
