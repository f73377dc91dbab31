"""What several tests of the panel do and look up."""

import io
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from random import Random

import requests
from browser import PATIENCE
from comfyui_wegen.models import storybook
from PIL import Image
from support import HANGS

from ..frontend import ended, run_canvas

TRANSFER = """([selector, type, name, bytes]) => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }))
    const target = document.querySelector(selector)
    const options = { bubbles: true, cancelable: true }
    if (type === 'drop') target.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, ...options }))
    else target.dispatchEvent(new ClipboardEvent(type, { clipboardData: transfer, ...options }))
}"""
NEW_CHAT = "() => window.app.extensionManager.command.execute('WeGen.NewChat')"
# Pictures that are loaded wait in `waiting`, until `letGo` gives how many there were.
HOLD_PICTURES = """() => {
    const { decode } = HTMLImageElement.prototype
    window.waiting = []
    HTMLImageElement.prototype.decode = function () {
        return new Promise((done) => window.waiting.push(() => done(decode.call(this))))
    }
    window.letGo = () => {
        HTMLImageElement.prototype.decode = decode
        for (const go of window.waiting) go()
        return window.waiting.length
    }
}"""


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def page_with(kind: str) -> Image.Image:
    """A page that the bundled model knows, with one big thing near its middle."""
    rng = Random(kind)
    while True:
        [thing] = (scene := storybook.sample_scene(rng, 1)).things
        if (thing.kind, thing.size, thing.column, thing.row) == (kind, "big", 2, 2):
            return Image.fromarray(storybook.render(scene))


def store_chat(url, document, name="stored"):
    chat = requests.post(f"{url}/wegen/chats", json={"name": name}, timeout=HANGS).json()
    body = {"revision": chat["revision"], "document": document}
    requests.put(f"{url}/wegen/chats/{chat['id']}", json=body, timeout=HANGS).raise_for_status()
    return chat["id"]


def open_stored(panel, name):
    panel.open_chats()
    panel.page.locator(".wg-chat", has_text=name).first.click()
    panel.page.wait_for_selector(".wg-library", state="hidden")


def open_chat(panel, file, turns=1, references=0, pictures=1, **settings) -> None:
    """Open a chat that has these many turns, pictures in each, and references, and these settings."""
    names = [f"t{number:04}" for number in range(turns)]
    made = {
        name: {
            "parent": names[number - 1] if number else None,
            "instruction": f"picture {number}",
            "status": "done",
            "prompt": str(uuid.uuid4()),
            "picked": 0,
            "pictures": [{"file": file, "words": "", "seed": 1}] * pictures,
        }
        for number, name in enumerate(names)
    }
    named = [{"name": f"thing{number}", "file": file, "weight": 1} for number in range(references)]
    tip = {"head": names[-1], "tip": names[-1]}
    document = {"version": 1, "turns": made, **tip, "references": named, "settings": settings}
    title = uuid.uuid4().hex
    store_chat(panel.url, document, title)
    open_stored(panel, title)
    panel.expect_turns(turns)


def files_of_canvas(panel) -> list[dict]:
    """Run the workflow on the canvas; gives what it wrote into the output folder, of all nodes."""
    outputs = run_canvas(panel.page, panel.url)["outputs"]
    return [file for output in outputs.values() for file in output.get("images", []) if file["type"] == "output"]


@contextmanager
def held(page, address: str, method: str | None = None):
    """Requests to an address, or those of one kind, wait until the end of this; gives those that wait."""
    waiting = []

    def hold(route):
        if method in (None, route.request.method):
            waiting.append(route)
        else:
            route.continue_()

    page.route(address, hold)
    try:
        yield waiting
    finally:
        for route in waiting:
            route.continue_()
        page.unroute(address)


@contextmanager
def refused(page, address: str):
    """Requests to an address fail until the end of this; gives those that did."""
    failed = []

    def refuse(route):
        failed.append(route)
        route.abort()

    page.route(address, refuse)
    try:
        yield failed
    finally:
        page.unroute(address)


def drop(panel, zone: str, name: str, content: bytes) -> None:
    panel.page.evaluate(TRANSFER, [f"[data-zone='{zone}']", "drop", name, list(content)])


def wait_until(panel, reached: Callable[[], object]) -> None:
    """Wait for something that the page does not show; it goes on meanwhile."""
    for _ in range(PATIENCE // 50):
        if reached():
            return
        panel.page.wait_for_timeout(50)
    raise TimeoutError("It does not come.")


def wait_until_empty(panel, client, *queues: str) -> None:
    wait_until(panel, lambda: not any(client.queue()[name] for name in queues))


def was_interrupted(panel, prompt_id: str) -> bool:
    """Whether a prompt was stopped before its end; waits until it is over."""
    return "execution_interrupted" in dict(ended(panel.page, panel.url, prompt_id)["status"]["messages"])


def set_steps(panel, steps):
    panel.page.click(".wg-settings-open")
    field = panel.page.locator("[data-setting='steps']")
    field.fill(str(steps))
    field.press("Tab")
    panel.page.keyboard.press("Escape")
