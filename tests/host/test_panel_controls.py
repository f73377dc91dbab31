"""Small things of the chat panel: keys, focus, room, and what it says of a host that is away. Nothing is painted here."""

import uuid

import pytest
import requests
from PIL import Image
from playwright.sync_api import expect
from support import NOT_RUN, REPOSITORY

from .panel import ChatPanel

NANO = REPOSITORY / "models" / "nano"

# Pictures that are loaded wait until the number of one is given.
HOLD_PICTURES = """() => {
    const { decode } = HTMLImageElement.prototype
    window.waiting = []
    HTMLImageElement.prototype.decode = function () {
        return new Promise((done) => window.waiting.push(() => done(decode.call(this))))
    }
    window.freePictures = () => (HTMLImageElement.prototype.decode = decode)
}"""


@pytest.fixture(scope="module")
def page(frontend):
    if not (NANO / "config.json").is_file():
        pytest.skip(f"{NOT_RUN}the chat panel, there is no bundled model")
    return frontend.page


@pytest.fixture(scope="module")
def opened(page, frontend, server):
    frontend.reload()
    return ChatPanel(page, server.url).open()


@pytest.fixture
def panel(opened, frontend):
    """The panel; the test fails on errors in the console."""
    errors = len(frontend.errors)
    yield opened
    frontend.settle()
    assert frontend.errors[errors:] == []


@pytest.fixture(scope="module")
def teal(client):
    """A picture, as chats name it."""
    name = client.upload_image(Image.new("RGB", (64, 64), "teal"), f"{uuid.uuid4().hex}.png")
    return {"filename": name, "subfolder": "", "type": "input"}


def open_chat(panel, file, turns=1, references=0, **settings) -> None:
    """Open a chat that has these many turns and references, and these settings."""
    names = [f"t{number:04}" for number in range(turns)]
    made = {
        name: {
            "parent": names[number - 1] if number else None,
            "instruction": f"picture {number}",
            "status": "done",
            "prompt": str(uuid.uuid4()),
            "picked": 0,
            "pictures": [{"file": file, "words": "", "seed": 1}],
        }
        for number, name in enumerate(names)
    }
    named = [{"name": f"thing{number}", "file": file, "weight": 1} for number in range(references)]
    document = {"version": 1, "turns": made, "head": names[-1], "tip": names[-1], "references": named, "settings": settings}
    title = uuid.uuid4().hex
    chat = requests.post(f"{panel.url}/wegen/chats", json={"name": title}, timeout=30).json()
    body = {"revision": chat["revision"], "document": document}
    requests.put(f"{panel.url}/wegen/chats/{chat['id']}", json=body, timeout=30).raise_for_status()
    panel.page.click(".wg-chats-open")
    panel.page.locator(".wg-chat", has_text=title).click()
    panel.page.wait_for_selector(".wg-library", state="hidden")
    panel.expect_turns(turns)


def test_the_area_of_a_reference_is_painted_with_one_brush(panel, teal):
    page = panel.page
    open_chat(panel, teal, references=1)
    page.get_by_role("button", name="Options of @thing0").click()
    page.get_by_role("dialog").get_by_role("button", name="Area").click()
    page.locator(".wg-stage canvas.paint").wait_for()
    assert page.locator(".wegen-mask-tool").all_inner_texts() == ["Counts", "Erase"]
    # The keys paint at once, and that of the brush that is not there changes nothing.
    page.keyboard.press("k")
    page.keyboard.press("Space")
    page.locator(".wegen-mask-status", has_text="Painted: ").wait_for()
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    [reference] = panel.saved()["document"]["references"]
    assert panel.pixels(reference["area"], "L").max() == 255


def test_keys_paint_as_soon_as_the_painter_is_open(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    page.click(".wg-paint-open")
    page.locator(".wg-stage canvas.paint").wait_for()
    page.keyboard.press("c")
    page.keyboard.press("Space")
    page.locator(".wegen-mask-status", has_text="keep 0 %, change 1 %").wait_for()
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-change")).to_be_visible()


def test_what_is_painted_is_not_replaced_by_a_window_that_comes_late(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    page.evaluate(HOLD_PICTURES)
    for _ in range(2):
        page.click(".wg-paint-open")
    page.wait_for_function("() => window.waiting.length === 2")
    page.evaluate("() => window.waiting[1]()")
    page.locator(".wg-stage canvas.paint").wait_for()
    page.keyboard.press("Space")
    painted = page.locator(".wegen-mask-status", has_text="Painted: ")
    painted.wait_for()
    page.evaluate("() => (window.waiting[0](), window.freePictures())")
    page.wait_for_timeout(300)
    expect(painted).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    page.wait_for_selector(".wg-stage", state="hidden")


def test_a_host_that_is_away_is_said_in_words(panel, teal, frontend):
    page = panel.page
    open_chat(panel, teal)
    with frontend.expecting("ERR_FAILED"):
        page.route("**/wegen/chats", lambda route: route.abort())
        page.click(".wg-chats-open")
        page.get_by_text("ComfyUI does not answer. Is it still running?").first.wait_for()
        page.unroute("**/wegen/chats")
    page.keyboard.press("Escape")
