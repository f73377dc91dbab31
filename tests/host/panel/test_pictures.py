"""Pictures from elsewhere: references, and pictures to go on with."""

import io

import pytest
import requests
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect
from support import HANGS

from .actions import TRANSFER, drop, page_with, png


def test_a_reference_is_named_completed_and_used(panel):
    page = panel.page
    panel.say("a red car", count=1)
    page.locator(".wg-turn").get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name="Use as reference").click()
    page.locator(".wg-chip-ref").wait_for()
    page.get_by_role("button", name="Options of @picture").click()
    page.get_by_role("dialog").get_by_label("Name").fill("wagon")
    page.get_by_role("dialog").get_by_label("Name").press("Enter")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Begin a new picture").click()
    panel.text.fill("")
    panel.text.press_sequentially("draw @wa")
    assert page.get_by_role("option").inner_text() == "@wagon"
    panel.text.press("Enter")
    assert panel.text.input_value() == "draw @wagon "
    before = set(panel.ids())
    panel.text.press_sequentially("in the snow")
    page.fill(".wg-count", "1")
    panel.text.press("Enter")
    drawn = panel.new_turn(before)
    panel.wait(drawn)
    [reference] = panel.turn_of(drawn)["references"]
    assert reference["name"] == "wagon"
    assert drawn.locator(".wg-mention").inner_text() == "@wagon"


def test_a_picture_of_ones_own_is_changed(panel):
    page = panel.page
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Start with a picture").click()
    chooser.value.set_files(
        [{"name": "own.png", "mimeType": "image/png", "buffer": png(Image.new("RGB", (128, 128), (90, 140, 200)))}]
    )
    page.wait_for_selector(".wg-upload")
    # It has no words: nothing more like it can be asked for.
    page.locator(".wg-turn").get_by_role("button", name="More", exact=True).click()
    assert page.get_by_role("menuitem", name="More like this").count() == 0
    page.keyboard.press("Escape")
    changed = panel.say("make it night")
    assert panel.turn_of(changed)["base"]["picture"] == 0
    assert changed.locator(".wg-picture").count() == 1


def test_a_picture_of_the_panel_goes_on_with_its_chat(panel):
    first = panel.say("a boat", count=2)
    name = panel.saved()["name"]
    file = panel.turn_of(first)["pictures"][1]["file"]
    content = requests.get(f"{panel.url}/view", params=file, timeout=HANGS).content
    panel.new_chat()
    drop = """([name, bytes]) => {
        const transfer = new DataTransfer()
        transfer.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }))
        const zone = document.querySelector("[data-zone='continue']")
        zone.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }))
    }"""
    panel.page.evaluate(drop, [file["filename"], list(content)])
    panel.page.wait_for_selector(".wg-turn")
    assert panel.page.input_value(".wg-name") == name
    assert panel.turns.locator(".wg-own").get_attribute("data-picture") == "1"


def test_references_are_dropped_pasted_weighed_and_cut_out(panel):
    page = panel.page
    page.evaluate(TRANSFER, ["[data-zone='reference']", "drop", "cat.png", list(png(page_with("cat")))])
    page.get_by_role("button", name="Options of @cat").wait_for()
    page.evaluate(TRANSFER, [".wg-composer textarea", "paste", "hat.png", list(png(page_with("house")))])
    page.get_by_role("button", name="Options of @hat").wait_for()
    page.get_by_role("button", name="Options of @hat").click()
    weight = page.get_by_role("dialog").get_by_label("Weight")
    weight.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.get_by_role("dialog").get_by_role("button", name="Area").click()
    canvas = page.locator(".wg-stage canvas.paint")
    canvas.wait_for()
    canvas.focus()
    page.keyboard.press("Space")
    page.click(".wg-stage .wg-main")
    page.wait_for_selector(".wg-stage", state="hidden")
    turn = panel.say("put the cat of @cat and the house of @hat on a beach", count=1)
    drawn = panel.turn_of(turn)
    cat, hat = drawn["references"]
    assert (cat["name"], cat["weight"], cat["area"]) == ("cat", 1, None)
    assert (hat["name"], hat["weight"]) == ("hat", 0.5)
    area = panel.pixels(hat["area"], "L")
    assert 0 < (area > 0).mean() < 0.5
    # A picture of the page itself is dragged by its address, and not uploaded again.
    page.evaluate(
        """() => {
            const transfer = new DataTransfer()
            transfer.setData('text/uri-list', document.querySelector('.wg-turn .wg-picture img').src)
            const zone = document.querySelector("[data-zone='reference']")
            zone.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }))
        }"""
    )
    page.wait_for_function("() => document.querySelectorAll('.wg-chip-ref').length === 3")
    assert panel.saved()["document"]["references"][2]["file"] == drawn["pictures"][0]["file"]


def test_an_edited_copy_of_a_picture_is_a_picture_of_its_own(panel):
    turn = panel.say("a boat")
    file = panel.turn_of(turn)["pictures"][0]["file"]
    made = Image.open(io.BytesIO(requests.get(f"{panel.url}/view", params=file, timeout=HANGS).content))
    texts = PngInfo()
    for key, value in made.text.items():
        texts.add_text(key, value)
    edited = io.BytesIO()
    Image.new("RGB", made.size, "red").save(edited, "png", pnginfo=texts)
    panel.new_chat()
    drop(panel, "continue", "my red edit.png", edited.getvalue())
    panel.page.wait_for_selector(".wg-turn .wg-picture")
    [shown] = panel.saved()["document"]["turns"].values()
    assert shown["kind"] == "upload" and (panel.pixels(shown["pictures"][0]["file"]) == (255, 0, 0)).all()


@pytest.mark.parametrize("name", ["notes.txt", "broken.png"])
def test_files_that_show_nothing_are_not_taken(panel, name):
    with panel.page.expect_file_chooser() as chooser:
        panel.page.get_by_role("button", name="Start with a picture").click()
    types = {"notes.txt": "text/plain", "broken.png": "image/png"}
    chooser.value.set_files({"name": name, "mimeType": types[name], "buffer": b"not a picture"})
    panel.page.get_by_text("PNG, JPEG and WebP").first.wait_for()
    assert panel.turns.count() == 0


@pytest.mark.parametrize("kind", ["image/heic", "image/svg+xml"])
def test_pictures_that_nothing_here_can_read_are_not_taken(panel, kind):
    panel.page.evaluate(
        """(type) => {
            const transfer = new DataTransfer()
            transfer.items.add(new File(["not for us"], "photo", { type }))
            const zone = document.querySelector("[data-zone='continue']")
            zone.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }))
        }""",
        kind,
    )
    panel.page.get_by_text("PNG, JPEG and WebP").first.wait_for()
    assert panel.turns.count() == 0


def test_a_reference_is_used_by_its_name_in_the_message(panel):
    """Its chip writes the name and takes it out; a name that changes changes in the message too."""
    page = panel.page
    panel.text.fill("a house on a beach with")
    drop(panel, "reference", "cat.png", png(page_with("cat")))
    chip = page.locator(".wg-ref", has_text="@cat")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(panel.text).to_have_value("a house on a beach with @cat ")
    chip.click()
    expect(panel.text).to_have_value("a house on a beach with ")
    expect(chip).to_have_attribute("aria-pressed", "false")
    chip.click()
    page.get_by_role("button", name="Options of @cat").click()
    page.get_by_role("dialog").get_by_label("Name").fill("2cats")
    page.get_by_role("dialog").get_by_label("Name").press("Tab")
    page.get_by_text("A letter first").first.wait_for()
    page.get_by_role("dialog").get_by_label("Name").fill("tom")
    page.get_by_role("dialog").get_by_label("Name").press("Enter")
    page.keyboard.press("Escape")
    expect(panel.text).to_have_value("a house on a beach with @tom ")
    before = set(panel.ids())
    page.fill(".wg-count", "1")
    page.click(".wg-send")
    turn = panel.new_turn(before)
    assert page.evaluate("() => document.activeElement === document.querySelector('.wg-composer textarea')")
    panel.wait(turn)
    drawn = panel.turn_of(turn)
    assert [one["name"] for one in drawn["references"]] == ["tom"] and "not used" not in drawn["notes"]
    expect(page.locator(".wg-ref", has_text="@tom")).to_have_attribute("aria-pressed", "false")
    page.evaluate(
        """() => {
            const transfer = new DataTransfer()
            transfer.items.add(new File(["no picture"], "notes.txt", { type: "text/plain" }))
            const zone = document.querySelector("[data-zone='reference']")
            zone.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }))
        }"""
    )
    page.get_by_text("This is not a picture").first.wait_for()


def test_videos_are_not_offered_as_pictures(panel, teal):
    """ComfyUI's own nodes call them images too."""
    page = panel.page
    names = ["a.mp4", "b.png", "c.svg"]
    images = [{**teal, "type": "output", "filename": name} for name in names]
    history = {"run": {"outputs": {"1": {"images": images, "animated": [True]}}}}
    address = "**/history?max_items=*"
    page.route(address, lambda route: route.fulfill(json=history))
    page.route("**/wegen/view?*b.png*", lambda route: route.fulfill(body=png(Image.new("RGB", (8, 8)))))
    try:
        page.get_by_role("button", name="Add a reference").click()
        page.get_by_role("menuitem", name="From recent pictures").click()
        offered = page.locator(".wg-picker .wg-open")
        offered.first.wait_for()
        assert [one.get_attribute("title") for one in offered.all()] == ["b.png"]
        page.keyboard.press("Escape")
    finally:
        page.unroute(address)
        page.unroute("**/wegen/view?*b.png*")
