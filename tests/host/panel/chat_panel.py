"""The chat panel in the front end, as a person uses it: by what it shows and what can be clicked."""

import io
from typing import Any

import numpy as np
import requests
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from support import HANGS

Strokes = list[tuple[tuple[float, float], tuple[float, float]]]

EMPTY_GRAPH = {"nodes": [], "links": [], "version": 0.4}
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class ChatPanel:
    """The panel on one page.

    Attributes:
        foreign: addresses elsewhere that the page asked for since the panel was opened.
    """

    def __init__(self, page: Page, url: str):
        self.page = page
        self.url = url
        self.foreign: list[str] = []

    def open(self) -> "ChatPanel":
        """Show the panel beside an empty canvas; the host's default workflow asks for models elsewhere."""
        self.page.evaluate("(graph) => window.app.loadGraphData(graph)", EMPTY_GRAPH)
        self.page.on("request", self._note_request)
        self.page.evaluate("() => window.app.extensionManager.command.execute('WeGen.ShowPanel')")
        self.page.wait_for_selector(".wg-panel")
        return self

    def _note_request(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(request.url)

    def new_chat(self) -> None:
        self.page.click(".wg-new")
        # The button has the focus until the chat is there. The welcome may still be that of the chat before.
        expect(self.text).to_be_focused()
        self.drawn()
        self.page.wait_for_selector(".wg-welcome", state="visible")

    def open_chats(self) -> None:
        """Show the list of chats as it is now: until that has come, the one of the last time stands there."""
        self.page.click(".wg-chats-open")
        self.page.wait_for_selector(".wg-chats[aria-busy='false']")

    def drawn(self) -> None:
        """Wait until the panel shows all that has changed by now."""
        self.page.evaluate(FRAMES)

    @property
    def text(self) -> Locator:
        return self.page.locator(".wg-composer textarea")

    @property
    def turns(self) -> Locator:
        return self.page.locator(".wg-turn")

    def say(self, text: str, count: int | None = None) -> Locator:
        """Send a message and wait until it is answered; gives its turn."""
        turn = self.begin(text, count)
        self.wait(turn)
        return turn

    def begin(self, text: str, count: int | None = None) -> Locator:
        """Send a message; gives its turn."""
        before = set(self.ids())
        self.text.fill(text)
        if count is not None:
            self.page.fill(".wg-count", str(count))
            self.page.press(".wg-count", "Tab")
        self.text.press("Enter")
        return self.new_turn(before)

    def new_turn(self, before: set[str]) -> Locator:
        """The turn that was not among `before`."""
        known = list(before)
        turns = "[...document.querySelectorAll('.wg-turn')].map((turn) => turn.dataset.turn)"
        self.page.wait_for_function(f"(known) => {turns}.some((id) => !known.includes(id))", arg=known)
        [new] = [turn for turn in self.ids() if turn not in before]
        return self.turn(new)

    def ids(self) -> list[str]:
        return self.page.eval_on_selector_all(".wg-turn", "(turns) => turns.map((turn) => turn.dataset.turn)")

    def turn(self, turn_id: str) -> Locator:
        return self.page.locator(f".wg-turn[data-turn='{turn_id}']")

    def expect_turns(self, count: int) -> None:
        """Wait until the conversation shows so many turns."""
        self.page.wait_for_function("(n) => document.querySelectorAll('.wg-turn').length === n", arg=count)

    def wait(self, turn: Locator, status: str = "done") -> None:
        """Wait for the end of a turn, which must be this one."""
        turn_id = turn.get_attribute("data-turn")
        ends = ", ".join(f"[data-turn='{turn_id}'].wg-is-{end}" for end in ("done", "failed", "cancelled"))
        # Waiting for a selector looks at every frame, and so has the page draw all of them.
        self.page.wait_for_function("(ends) => document.querySelector(ends) !== null", arg=ends, polling=100)
        assert f"wg-is-{status}" in turn.get_attribute("class"), (turn.get_attribute("class"), turn.inner_text())

    def use(self, turn: Locator, index: int) -> None:
        turn.locator(f"[data-picture='{index}'] .wg-choice button").first.click()

    def paint(self, strokes: Strokes, text: str = "") -> None:
        """Paint lines of the keep brush on the picture that the chat is at, and keep them."""
        self.begin_painting(strokes)
        if text:
            self.page.fill(".wg-stage textarea", text)
        self.page.click(".wg-done")
        self.page.wait_for_selector(".wg-stage", state="hidden")

    def open_painter(self) -> Locator:
        """Open the painter; gives what is painted on."""
        self.page.click(".wg-paint-open")
        canvas = self.page.locator(".wg-stage canvas.paint")
        canvas.wait_for()
        return canvas

    def begin_painting(self, strokes: Strokes) -> None:
        """Open the painter, and paint lines (from and to as shares of the picture)."""
        box = self.at_rest(self.open_painter())
        for (from_x, from_y), (to_x, to_y) in strokes:
            mouse = self.page.mouse
            mouse.move(box["x"] + from_x * box["width"], box["y"] + from_y * box["height"])
            mouse.down()
            mouse.move(box["x"] + to_x * box["width"], box["y"] + to_y * box["height"], steps=12)
            mouse.up()

    def at_rest(self, element: Locator) -> dict[str, float]:
        """The box of an element that does not move any more."""
        box: dict[str, float] = {}
        while box != (box := element.bounding_box() or {}) or not box:
            self.page.wait_for_timeout(150)
            self.drawn()  # a page that draws nothing meanwhile says nothing
        return box

    def saved(self) -> dict[str, Any]:
        """The chat that is open as the host keeps it."""
        return requests.get(self.address(), timeout=HANGS).json()

    def address(self) -> str:
        """Where the host gives the chat that is open, which is saved by then."""
        self.drawn()
        self.page.wait_for_selector(".wg-panel:not([data-unsaved])")
        # What another tab keeps in the local storage may be of another chat.
        chat = self.page.evaluate("() => JSON.parse(sessionStorage.getItem('wegen.panel')).chat")
        return f"{self.url}/wegen/chats/{chat}"

    def turn_of(self, turn: Locator) -> dict[str, Any]:
        return self.saved()["document"]["turns"][turn.get_attribute("data-turn")]

    def told(self, file: dict[str, str], key: str) -> str:
        """What a PNG file says under a key."""
        content = requests.get(f"{self.url}/view", params=file, timeout=HANGS).content
        return Image.open(io.BytesIO(content)).text[key]

    def pixels(self, file: dict[str, str], mode: str = "RGB") -> np.ndarray:
        """A file as the host serves it, `[H, W, 3]` or `[H, W]`."""
        content = requests.get(f"{self.url}/view", params=file, timeout=HANGS).content
        return np.asarray(Image.open(io.BytesIO(content)).convert(mode)).astype(int)
