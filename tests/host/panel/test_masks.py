"""Masks are painted, suggested and kept."""

import re
from dataclasses import replace
from random import Random

import requests
from comfyui_wegen.models import storybook
from comfyui_wegen.models.storybook import Scene
from PIL import Image
from playwright.sync_api import expect
from support import HANGS

from .actions import HOLD_PICTURES, NEW_CHAT, drop, held, open_chat, page_with, png, wait_until


def test_a_mask_is_painted_on_the_picture_of_its_own_chat_alone(panel):
    """A picture may take long to come, and another chat be open by then."""
    panel.say("a red house", count=1)
    panel.page.evaluate(HOLD_PICTURES)
    panel.page.click(".wg-paint-open")
    panel.page.wait_for_function("() => window.waiting.length === 1")
    panel.new_chat()
    panel.text.fill("another wish")
    assert panel.page.evaluate("() => window.letGo()") == 1
    panel.page.wait_for_timeout(500)
    assert panel.page.locator(".wg-stage").is_hidden()
    expect(panel.text).to_have_value("another wish")


def test_a_painting_can_be_thrown_away(panel):
    page = panel.page
    panel.say("a house", count=1)
    panel.open_painter().focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Discard").click()
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-keep")).to_have_count(0)


def test_the_model_suggests_a_mask(panel):
    page = panel.page
    # A picture that is always the same: the model may find nothing to change in one that is drawn by chance.
    drop(panel, "continue", "car.png", png(page_with("car")))
    page.wait_for_selector(".wg-turn .wg-picture")
    panel.open_painter()
    page.fill(".wg-stage textarea", "remove the car")
    page.get_by_role("button", name="Suggest").click()
    take = page.locator(".wg-stage input[type=button][value='Use the suggested mask']:enabled")
    take.wait_for()
    take.click()
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(panel.text).to_have_value("remove the car")  # the words of the stage stand in the composer
    changed = panel.turn_of(panel.say("remove the car"))
    assert changed["instruction"] == "remove the car"
    assert panel.pixels(changed["change"], "L").max() == 255


def house_and_cat():
    """A page with both, and the masks of the two."""
    scene = Scene("meadow", "day", ())
    for kind, column in (("house", 0), ("cat", 3)):
        thing = storybook.sample_thing(Random(3), scene.things, kind=kind, size="big", column=column, row=2)
        scene = replace(scene, things=(*scene.things, thing))
    page, masks = storybook.render_with_masks(scene)
    return png(Image.fromarray(page)), *masks


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def test_what_is_named_is_painted_over(panel):
    page = panel.page
    picture, house, _ = house_and_cat()
    drop(panel, "continue", "two.png", picture)
    page.wait_for_selector(".wg-turn .wg-picture")
    panel.open_painter()
    field = page.get_by_label("Name things in the picture")
    field.press("Enter")  # without words it says what to do
    expect(page.locator(".wg-stage .wg-trouble")).to_contain_text("Name things in the picture")
    field.fill("the house")
    field.press("Enter")
    status = page.locator(".wegen-mask-status")
    expect(status).to_contain_text(re.compile(r"keep \d+ %, change 0 %"))
    page.get_by_label("Change", exact=True).check()
    field.fill("the cat")
    page.get_by_role("button", name="Select").click()
    expect(status).to_contain_text(re.compile(r"keep \d+ %, change [1-9]\d* %"))
    field.fill("the train")  # the picture shows none
    field.press("Enter")
    expect(page.locator(".wg-stage .wg-trouble")).to_contain_text(re.compile("not in the picture|not found"))
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    turn = panel.turn_of(panel.say("make it night"))
    assert overlap(panel.pixels(turn["keep"], "L") > 127, house) > 0.85


def test_the_area_of_a_reference_can_be_named(panel):
    page = panel.page
    picture, _, cat = house_and_cat()
    drop(panel, "reference", "two.png", picture)
    page.get_by_role("button", name="Options of @two").click()
    page.get_by_role("dialog").get_by_role("button", name="Area").click()
    page.get_by_label("Name things in the picture").fill("the cat")
    page.get_by_role("button", name="Select").click()
    page.locator(".wegen-mask-status", has_text="Painted: ").wait_for()
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    panel.say("the @two on a beach", count=1)  # what is said saves the chat
    [reference] = panel.saved()["document"]["references"]
    assert overlap(panel.pixels(reference["area"], "L") > 127, cat) > 0.85


def test_masks_wait_for_their_picture_and_are_not_replaced_unasked(panel, client):
    page = panel.page
    panel.say("a house", count=1)
    panel.paint([((0.1, 0.9), (0.9, 0.9))])
    # An order that is edited would take their place.
    panel.turns.first.hover()
    panel.turns.first.get_by_role("button", name="Edit and send again").click()
    page.get_by_text("Replace the message and the masks").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator(".wg-context .wg-mask-keep")).to_be_visible()
    page.get_by_role("button", name="Begin a new picture").click()
    panel.say("a tree", count=1)
    expect(page.locator(".wg-context .wg-mask-keep")).to_have_count(0)
    page.locator(".wg-stop").first.click()
    expect(page.locator(".wg-context .wg-mask-keep")).to_be_visible()
    assert panel.turn_of(panel.say("make it night"))["keep"]
    # While a turn runs, the picture that would be painted on is not the one that the next turn goes on with.
    with client.busy():
        slow = panel.begin("make it day")
        page.click(".wg-paint-open")
        page.get_by_text("is not finished yet").wait_for()
        assert page.locator(".wg-stage").is_hidden()
    panel.wait(slow)


def test_all_of_the_picture_changes_where_that_is_asked_for(panel):
    """As to restore it: what the model says that it changes is only a part of that."""
    page = panel.page

    def shown(turn):
        return panel.pixels(panel.turn_of(turn)["pictures"][0]["file"])

    def stays(before, after):
        return (before == after).all(axis=-1).mean()

    drawn = panel.say("a red car on a road by day", count=1)
    page.click(".wg-whole-open")
    expect(page.locator(".wg-context .wg-whole")).to_have_text("All may change")
    page.locator(".wg-context .wg-whole button").click()  # let the model say what changes
    part = panel.say("make the car blue")
    assert stays(shown(drawn), shown(part)) > 0.5
    page.click(".wg-whole-open")
    whole = panel.say("make the car red")
    assert stays(shown(part), shown(whole)) < 0.2
    expect(whole.locator(".wg-bubble .wg-whole")).to_be_visible()
    expect(page.locator(".wg-context .wg-whole")).to_have_count(0)  # it was meant for one turn

    def choose(turn, name):
        """From the menu of a turn's picture; gives the turn that follows."""
        turns = set(panel.ids())
        turn.locator(".wg-actions").get_by_role("button", name="More", exact=True).click()
        page.get_by_role("menuitem", name=name, exact=True).click()
        chosen = panel.new_turn(turns)
        panel.wait(chosen)
        return chosen

    # The same order once more means the same; and it may be found out afterwards that too little changed.
    assert stays(shown(part), shown(choose(whole, "Try again"))) < 0.2
    assert panel.turn_of(choose(part, "Try again, all may change"))["whole"]
    # What is painted to change is all that may.
    page.click(".wg-whole-open")
    panel.open_painter()
    page.keyboard.press("c")
    page.keyboard.press("Space")
    page.locator(".wegen-mask-status", has_text="Painted: ").wait_for()
    page.click(".wg-done")
    expect(page.locator(".wg-context .wg-mask-change")).to_be_visible()
    expect(page.locator(".wg-context .wg-whole, .wg-whole-open")).to_have_count(0)


def test_a_mask_that_is_being_suggested_stops_with_its_dialog(panel, client):
    page = panel.page
    panel.say("a red car on a road", count=1)
    with client.busy():
        panel.open_painter()
        page.fill(".wg-stage textarea", "make the car blue")
        page.get_by_role("button", name="Suggest").click()
        page.locator(".wg-stage [role='status']", has_text="ahead in the queue").wait_for()
        assert len(client.queue()["queue_pending"]) == 1
        page.get_by_role("button", name="Discard").click()
        page.wait_for_selector(".wg-stage", state="hidden")
        wait_until(panel, lambda: not client.queue()["queue_pending"])


def test_a_painting_stays_open_until_it_could_be_kept(panel, frontend):
    """Of two Escapes in a row, browsers let only the first be prevented."""
    page = panel.page
    panel.say("a house", count=1)
    panel.begin_painting([((0.2, 0.5), (0.8, 0.5))])
    page.locator(".wg-stage textarea").press_sequentially("make it night")
    page.locator(".wg-stage textarea").press("Enter")
    page.locator(".wg-stage textarea").press_sequentially("add a moon")
    with frontend.expecting("413"):  # Chromium tells of the two
        # The next key would not count before the one that was pressed has failed: each says so in its own words.
        said = ""
        page.route("**/upload/image", lambda route: route.fulfill(status=413, json={"error": said}))
        for said in ("too large", "still the same"):
            page.keyboard.press("Escape")
            page.locator(".wg-stage .wg-trouble", has_text=said).wait_for()
        page.unroute("**/upload/image")
    expect(page.locator(".wg-stage[open] canvas.paint")).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-keep")).to_be_visible()
    expect(panel.text).to_have_value("make it night\nadd a moon")
    panel.text.fill("")
    dragged = page.evaluate(
        """() => {
            const transfer = new DataTransfer()
            transfer.items.add(new File(['x'], 'x.png', { type: 'image/png' }))
            const zones = document.querySelector('.wg-zones')
            const send = (type) => {
                const event = new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true })
                zones.dispatchEvent(event)
                return event.defaultPrevented
            }
            send('dragenter')
            const shown = document.querySelector('.wg-dragging') !== null
            return [shown, send('drop'), document.querySelector('.wg-dragging') !== null]
        }"""
    )
    assert dragged == [True, True, False]


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
    panel.open_painter()
    page.keyboard.press("c")
    page.keyboard.press("Space")
    page.locator(".wegen-mask-status", has_text="keep 0 %, change 1 %").wait_for()
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-change")).to_be_visible()


def test_no_mask_is_painted_while_a_new_picture_is_begun(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    expect(page.locator(".wg-paint")).to_be_visible()
    page.get_by_role("button", name="Begin a new picture").click()
    expect(page.locator(".wg-paint")).to_have_count(0)
    page.get_by_role("button", name="Go on from here").click()
    expect(page.locator(".wg-paint")).to_be_visible()


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


def test_what_is_discarded_while_it_is_sent_is_not_kept(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    panel.open_painter()
    page.keyboard.press("Space")
    page.locator(".wegen-mask-status", has_text="Painted: ").wait_for()
    with held(page, "**/upload/image") as waiting:
        page.click(".wg-done")
        wait_until(panel, lambda: waiting)
        page.get_by_role("button", name="Discard").click()
        page.wait_for_selector(".wg-stage", state="hidden")
    page.wait_for_timeout(500)
    expect(page.locator(".wg-context .wg-mask-keep")).to_have_count(0)


def test_a_reference_that_comes_while_a_mask_is_painted_keeps_its_name(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    panel.text.fill("make it night")
    with held(page, "**/upload/image") as waiting:
        drop(panel, "reference", "cat.png", png(page_with("cat")))
        wait_until(panel, lambda: waiting)
        panel.open_painter()
        page.fill(".wg-stage textarea", "make it day")
    expect(page.locator(".wg-chip-ref")).to_have_count(1)
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(panel.text).to_have_value("make it day @cat ")


def test_nothing_is_painted_while_masks_are_being_sent(panel, teal, frontend):
    """It would be lost: what is sent are the masks as they were."""
    page = panel.page
    open_chat(panel, teal)
    panel.begin_painting([((0.2, 0.5), (0.8, 0.5))])
    status, notice = page.locator(".wegen-mask-status"), page.locator(".wg-stage > p")
    expect(status).to_contain_text("Painted: ")
    painted, box = status.inner_text(), panel.at_rest(page.locator(".wg-stage canvas.paint"))

    def paint(y: float) -> None:
        """With the mouse, and with the keys, where they paint."""
        for act, x in ((page.mouse.move, 0.2), (lambda *_: page.mouse.down(), 0), (page.mouse.move, 0.8)):
            act(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.up()
        page.keyboard.press("Space")
        panel.drawn()

    with held(page, "**/upload/image") as waiting:
        page.keyboard.press("Escape")
        wait_until(panel, lambda: waiting)
        expect(notice).to_have_text("Keeping what you painted…")
        expect(page.locator(".wg-stage-select")).to_have_attribute("inert", "")
        paint(0.9)
        page.keyboard.press("Escape")
        assert status.inner_text() == painted
        expect(page.locator(".wg-stage[open]")).to_be_visible()
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-keep")).to_be_visible()
    # Where it could not be kept, it goes on, and the keys paint as before.
    panel.begin_painting([((0.2, 0.2), (0.8, 0.2))])
    with frontend.expecting("413"):
        page.route("**/upload/image", lambda route: route.fulfill(status=413, json={"error": "too large"}))
        page.keyboard.press("Escape")
        expect(notice).to_have_text("too large")
        page.unroute("**/upload/image")
    painted = status.inner_text()
    paint(0.9)
    expect(status).not_to_have_text(painted)
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")


def test_masks_stay_with_their_chat_when_another_one_is_opened_meanwhile(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    chat = panel.address()
    panel.begin_painting([((0.2, 0.5), (0.8, 0.5))])
    page.evaluate(NEW_CHAT)
    expect(page.locator(".wg-welcome")).to_have_count(1)
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-keep")).to_have_count(0)
    draft = requests.get(chat, timeout=HANGS).json()["document"]["draft"]
    assert draft["keep"]["filename"].startswith("wegen-mask-") and draft["change"] is None
