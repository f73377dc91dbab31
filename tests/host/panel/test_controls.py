"""Small things of the chat panel: keys, focus, room, and what it says of a host that is away."""

import json
import uuid

import pytest
from PIL import Image
from playwright.sync_api import expect
from support import REPOSITORY

from .actions import HOLD_PICTURES, open_stored, store_chat
from .chat_panel import EMPTY_GRAPH

NEW_CHAT = "() => window.app.extensionManager.command.execute('WeGen.NewChat')"


@pytest.fixture(scope="module")
def teal(client):
    """A picture, as chats name it."""
    name = client.upload_image(Image.new("RGB", (64, 64), "teal"), f"{uuid.uuid4().hex}.png")
    return {"filename": name, "subfolder": "", "type": "input"}


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


@pytest.fixture
def low(page):
    """A window that is not high."""
    size = page.viewport_size
    page.set_viewport_size({"width": 1200, "height": 560})
    yield
    page.set_viewport_size(size)


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
    page.evaluate("() => window.letGo()")
    page.wait_for_timeout(300)
    expect(painted).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    page.wait_for_selector(".wg-stage", state="hidden")


def test_many_references_leave_room_for_the_conversation(panel, teal, low):
    page = panel.page
    open_chat(panel, teal, references=30)
    page.locator(".wg-chip-ref").nth(29).wait_for(state="attached")
    frame = page.locator(".wg-panel").bounding_box()
    send = page.locator(".wg-send").bounding_box()
    assert send["y"] + send["height"] <= frame["y"] + frame["height"]
    assert page.locator(".wg-talk").bounding_box()["height"] > 120
    # One that comes is seen.
    page.evaluate(
        """() => {
            const transfer = new DataTransfer()
            transfer.setData('text/uri-list', document.querySelector('.wg-picture img').src)
            const zone = document.querySelector("[data-zone='reference']")
            zone.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }))
        }"""
    )
    expect(page.locator(".wg-chip-ref").nth(30)).to_be_in_viewport()


def test_names_are_offered_where_they_are_written(panel, teal):
    page = panel.page
    open_chat(panel, teal, references=12)
    panel.text.fill("")
    panel.text.press_sequentially("@thing")
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    chosen, names = page.locator(".wg-names [aria-selected='true']"), page.locator(".wg-names")
    expect(chosen).to_have_text("@thing9")
    inner, outer = chosen.bounding_box(), names.bounding_box()
    assert outer["y"] <= inner["y"] and inner["y"] + inner["height"] <= outer["y"] + outer["height"]
    page.keyboard.press("Enter")
    expect(panel.text).to_have_value("@thing9 ")
    # Elsewhere in the text no name is begun: Enter is what it is otherwise.
    panel.text.press_sequentially("and @t")
    expect(names).to_be_visible()
    page.keyboard.press("Home")
    expect(names).to_be_hidden()
    page.keyboard.press("Shift+Enter")
    expect(panel.text).to_have_value("\n@thing9 and @t")


def test_no_drawer_covers_what_comes_of_a_message(panel, teal, frontend):
    page = panel.page
    for drawer in (".wg-settings-open", ".wg-chats-open"):
        open_chat(panel, teal, model="on another disk")  # where no turn takes long
        page.click(drawer)
        page.wait_for_selector(".wg-drawer:visible")
        with frontend.expecting("400"):
            panel.text.fill("what is there?")
            panel.text.press("Enter")
            panel.expect_turns(2)
            assert page.locator(".wg-drawer:visible").count() == 0
            panel.wait(panel.turns.nth(1), "failed")
    for begin in (panel.new_chat, lambda: page.evaluate(NEW_CHAT)):
        open_chat(panel, teal)
        page.click(".wg-settings-open")
        begin()
        expect(page.locator(".wg-welcome")).to_be_in_viewport()
        assert page.locator(".wg-drawer:visible").count() == 0


def test_a_wheel_goes_along_the_strip_of_turns(panel, teal):
    page = panel.page
    open_chat(panel, teal, turns=60)
    strip = page.locator(".wg-strip")
    box = panel.at_rest(strip)
    place = "(strip) => strip.scrollLeft"
    end = strip.evaluate(place)
    assert end > 500
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"(end) => ({place})(document.querySelector('.wg-strip')) < end - 100", arg=end)


def test_a_menu_is_whole_in_a_low_window(panel, teal, low):
    page = panel.page
    open_chat(panel, teal)
    page.set_viewport_size({"width": 1200, "height": 330})
    page.locator(".wg-actions button[aria-haspopup]").click()
    menu, frame = page.locator(".wg-menu").bounding_box(), page.locator(".wg-panel").bounding_box()
    assert frame["y"] <= menu["y"] and menu["y"] + menu["height"] <= frame["y"] + frame["height"]
    page.keyboard.press("Escape")


def test_a_host_that_is_away_is_said_in_words(panel, teal, frontend):
    page = panel.page
    open_chat(panel, teal)
    with frontend.expecting("ERR_FAILED"):
        page.route("**/wegen/chats", lambda route: route.abort())
        page.click(".wg-chats-open")
        page.get_by_text("ComfyUI does not answer. Is it still running?").first.wait_for()
        page.unroute("**/wegen/chats")
    page.keyboard.press("Escape")


def test_each_picture_of_a_turn_is_called_by_its_number(panel, teal):
    open_chat(panel, teal, pictures=3)
    second = panel.page.get_by_role("figure", name="Picture 2")
    second.get_by_role("button", name="Use this one").click()
    expect(panel.page.locator(".wg-picture.wg-own")).to_have_attribute("data-picture", "1")


# Contrast of a text with what is behind it, as WCAG 2 counts it.
CONTRAST = """
(element) => {
    const context = new OffscreenCanvas(1, 1).getContext('2d')
    const luminance = (colours) => {
        for (const colour of colours) {
            context.fillStyle = colour
            context.fillRect(0, 0, 1, 1)
        }
        const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data].map((value) => {
            const part = value / 255
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const behind = []
    for (let one = element; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor)
    const seen = [luminance(behind), luminance([...behind, getComputedStyle(element).color])]
    const [low, high] = seen.sort((a, b) => a - b)
    return (high + 0.05) / (low + 0.05)
}
"""


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_small_texts_stand_out(panel, teal, theme):
    page = panel.page
    palette = "(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)"
    open_chat(panel, teal, references=1)
    page.evaluate(palette, theme)
    page.wait_for_timeout(500)
    found = {}
    page.click(".wg-chats-open")
    page.locator(".wg-chat[aria-current] small").wait_for()
    page.get_by_role("button", name="Options of @thing0").click()
    for selector in (".wg-chat[aria-current] small", ".wg-count", ".wg-context span", ".wg-popover .wg-danger span"):
        found[selector] = page.locator(selector).first.evaluate(CONTRAST)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.evaluate(palette, "dark")
    assert min(found.values()) >= 4.5, found


IN_ONE_SUBGRAPH = """
async (workflow) => {
    await window.app.loadGraphData(workflow)
    const { graph } = window.app
    graph.convertToSubgraph(new Set(graph.nodes))
    return window.app.graph.nodes.length
}
"""


def test_the_open_workflow_paints_from_within_a_subgraph(panel, teal):
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    assert page.evaluate(IN_ONE_SUBGRAPH, json.loads(template.read_text(encoding="utf-8"))) == 1
    open_chat(panel, teal)
    painter = page.locator("[data-setting='painter']")
    page.click(".wg-settings-open")
    page.wait_for_function("() => document.querySelector(\"[data-setting='painter']\").options.length > 1")
    painter.select_option(label="The open workflow")
    try:
        turn = panel.say("turn the colours around", count=1)
        [picture] = panel.turn_of(turn)["pictures"]
        assert panel.pixels(picture["file"])[0, 0].tolist() == pytest.approx([255, 127, 127], abs=1)  # of teal
    finally:
        page.click(".wg-settings-open")
        painter.select_option(label="WeGen")
        page.keyboard.press("Escape")
        page.evaluate("(graph) => window.app.loadGraphData(graph)", EMPTY_GRAPH)
