"""Wishes, orders and questions, said again and taken back."""

import json

import numpy as np
from playwright.sync_api import expect

from .actions import (
    drop,
    files_of_canvas,
    held,
    page_with,
    png,
    set_steps,
    wait_until,
    wait_until_empty,
    was_interrupted,
)
from .chat_panel import EMPTY_GRAPH

TRACKER = "window.app.extensionManager.workflow.activeWorkflow.changeTracker"
UNDO_STEPS = f"() => {TRACKER}.undoQueue.length"
CAPTURE = f"() => {TRACKER}.captureCanvasState()"


def test_the_whole_story(panel, frontend):
    page = panel.page
    first = panel.say("a house", count=6)
    assert first.locator(".wg-picture").count() == 6
    assert page.locator(".wg-context").is_hidden()

    panel.use(first, 2)
    panel.paint([((0.1, 0.8), (0.9, 0.8)), ((0.2, 0.9), (0.8, 0.9))])
    night = panel.say("make it night")
    [before], [after] = [panel.turn_of(first)["pictures"][2]], panel.turn_of(night)["pictures"]
    kept = panel.pixels(panel.turn_of(night)["keep"], "L") == 255
    assert 0.05 < kept.mean() < 0.9
    difference = np.abs(panel.pixels(after["file"]) - panel.pixels(before["file"])).max(axis=-1)
    assert difference[kept].max() == 0
    assert night.locator(".wg-kept").count() == 1

    # The picture carries the whole chat, which is made anew anywhere: no file of this chat is read.
    carried = json.loads(panel.told(after["file"], "workflow"))["nodes"]
    assert {"WeGenGenerate", "WeGenRefine"} <= {node["type"] for node in carried}
    chats = [node["widgets_values"] for node in carried if node["type"] == "WeGenChat"]
    assert len(chats) == 1 and "none" in chats[0] and 3 in chats[0]  # picks the third picture

    # What was kept once stays kept in later turns.
    day = panel.say("make it day")
    [later] = panel.turn_of(day)["pictures"]
    difference = np.abs(panel.pixels(later["file"]) - panel.pixels(before["file"])).max(axis=-1)
    assert difference[kept].max() == 0

    # Another picture of the first turn is a fork.
    panel.use(first, 4)
    panel.expect_turns(1)
    fork = panel.say("make it night")
    assert page.locator(".wg-forks").inner_text() == "2"
    assert panel.turn_of(fork)["base"]["picture"] == 4
    page.click(".wg-forks")
    page.get_by_role("menuitem", name="make it night").first.click()
    panel.expect_turns(3)
    page.get_by_role("button", name="Undo").first.click()
    panel.expect_turns(2)
    page.get_by_role("button", name="Redo").first.click()
    panel.expect_turns(3)

    # All is still there after a reload.
    shown, stored = panel.ids(), panel.saved()["document"]["turns"]
    frontend.reload()
    panel.open()
    page.wait_for_selector(".wg-turn")
    assert panel.ids() == shown
    assert panel.saved()["document"]["turns"] == stored
    assert panel.turn(shown[0]).locator(".wg-picture").count() == 6

    # The turn as a workflow gives the same picture, and so does the whole chat.
    for nodes_two in (False, True):
        page.evaluate("(graph) => window.app.loadGraphData(graph)", EMPTY_GRAPH)  # the one of before would do as well
        page.evaluate("(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", nodes_two)
        panel.turn(shown[1]).locator(".wg-workflow").click()
        page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'WeGenRefine')")
        [again] = files_of_canvas(panel)
        assert np.array_equal(panel.pixels(again), panel.pixels(after["file"]))
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")
    panel.turn(shown[2]).get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name="Open whole chat as workflow").click()
    refines = "window.app.graph.nodes.filter((node) => node.type === 'WeGenRefine').length"
    page.wait_for_function(f"() => {refines} === 2")
    files = files_of_canvas(panel)
    assert len(files) == 6 + 1 + 1
    # The host runs output nodes in an order of its own.
    assert any(np.array_equal(panel.pixels(file), panel.pixels(later["file"])) for file in files)


def test_a_question_is_answered_in_words(panel):
    panel.say("a red car", count=1)
    asked = panel.say("what is in the picture?")
    assert "wg-ask" in asked.get_attribute("class")
    assert asked.locator(".wg-reply").inner_text().strip()
    assert asked.locator(".wg-picture").count() == 0
    # The picture is still the one that is changed.
    assert "make it night" in panel.say("make it night").inner_text()


def test_a_wish_that_the_model_cannot_draw_is_answered_in_words(panel):
    refused = panel.say("a dragon", count=1)
    assert "cannot draw" in refused.inner_text()
    assert (panel.turn_of(refused)["status"], refused.locator(".wg-picture").count()) == ("done", 0)
    # On the strip it is something said, not something that is still on its way.
    assert "pi-comment" in panel.page.locator(".wg-stop i").get_attribute("class")
    # There is nothing yet that could be changed.
    assert panel.turn_of(panel.say("a red house", count=1))["kind"] == "draw"


def test_an_order_may_be_put_as_a_question(panel):
    first = panel.say("could you draw a red house?", count=1)  # and without a picture there is nothing to ask about
    assert panel.turn_of(first)["kind"] == "draw"
    night = panel.say("Could you make it night?")
    assert panel.turn_of(night)["kind"] == "refine" and night.locator(".wg-picture").count() == 1
    moon = panel.say("how about a moon?")
    assert panel.turn_of(moon)["kind"] == "refine"
    for text in ("can you see a cat?", "is it night?"):
        assert panel.turn_of(panel.say(text))["kind"] == "ask", text
    # What was taken for a question is drawn on demand, and what is being written stays.
    asked = panel.say("a blue house, perhaps?")
    assert panel.turn_of(asked)["kind"] == "ask"
    panel.text.fill("and then")
    before = set(panel.ids())
    asked.get_by_role("button", name="Draw this instead").click()
    drawn = panel.new_turn(before)
    panel.wait(drawn)
    turn = panel.turn_of(drawn)
    assert (turn["kind"], turn["instruction"]) == ("refine", "a blue house, perhaps?")
    assert turn["base"] == panel.turn_of(asked)["base"]
    assert turn["parent"] == asked.get_attribute("data-turn")
    expect(panel.text).to_have_value("and then")
    assert panel.page.locator(".wg-as-order").count() == 0  # it is no longer the last turn
    panel.text.fill("")


def test_what_is_a_question_is_said_for_one_chat_alone(panel):
    page = panel.page
    mode = page.get_by_role("button", name="Ask instead of drawing")
    house = panel.say("a house", count=1)
    mode.click()
    expect(mode).to_have_attribute("aria-pressed", "true")
    panel.new_chat()
    expect(mode).to_have_attribute("aria-pressed", "false")
    cat = panel.say("a cat", count=1)
    assert house and panel.turn_of(cat)["kind"] == "draw"
    cat.hover()
    cat.get_by_role("button", name="Edit and send again").click()
    expect(panel.text).to_have_value("a cat")
    panel.text.fill("what is it? @none")
    expect(mode).to_have_attribute("aria-pressed", "true")
    panel.text.fill("")


def test_a_question_before_one_of_several_is_chosen_shows_which_it_is_about(panel):
    two = panel.say("a house", count=2)
    hint = two.get_by_text("Use one to go on with it")
    hint.wait_for()
    asked = panel.say("what is in the picture?")
    asked.locator(".wg-bubble img[title='Picture 1']").wait_for()
    expect(hint).to_be_visible()  # there is still one to be chosen
    # What is done instead is done with the picture that was asked about.
    before = set(panel.ids())
    asked.get_by_role("button", name="Draw this instead").click()
    drawn = panel.new_turn(before)
    panel.wait(drawn)
    turn = panel.turn_of(drawn)
    assert (turn["kind"], turn["base"]) == ("refine", {"turn": two.get_attribute("data-turn"), "picture": 0})
    expect(two.locator(".wg-own")).to_have_attribute("data-picture", "0")
    expect(hint).to_have_count(0)


def test_words_are_edited_and_drawn_again(panel):
    first = panel.say("a house at night", count=1)
    words = first.locator(".wg-words").inner_text()
    first.get_by_role("button", name="Edit the words and draw again").click()
    box = first.locator("textarea")
    assert box.input_value() == words
    box.fill("a red house by day")
    before = set(panel.ids())
    box.press("Control+Enter")
    again = panel.new_turn(before)
    panel.wait(again)
    assert again.locator(".wg-words").inner_text() == "a red house by day"
    assert again.locator(".wg-branches").inner_text().strip() == "2/2"


def test_more_like_a_changed_picture_is_wished_for_without_the_change(panel):
    first = panel.say("a red house by day", count=1)
    changed = panel.say("make it night")
    changed.get_by_role("button", name="Edit the words and draw again").click()
    box = changed.locator("textarea")
    box.fill("drawn anew, a red house at night")
    before = set(panel.ids())
    box.press("Control+Enter")
    anew = panel.new_turn(before)
    panel.wait(anew)
    [picture] = panel.turn_of(anew)["pictures"]
    told = (picture["words"], picture["ofPicture"])
    assert told == ("drawn anew, a red house at night", "a red house at night")
    assert panel.turn_of(first)["pictures"][0]["ofPicture"] == ""
    anew.get_by_role("button", name="More", exact=True).click()
    before = set(panel.ids())
    panel.page.get_by_role("menuitem", name="More like this").click()
    like = panel.new_turn(before)
    panel.wait(like)
    assert panel.turn_of(like)["instruction"] == "a red house at night"


def test_trying_again_draws_another_though_the_seed_is_locked(panel):
    lock = panel.page.locator("[data-setting='lock']")
    panel.page.click(".wg-settings-open")
    lock.click()
    panel.page.keyboard.press("Escape")
    try:
        seeds = [panel.turn_of(panel.say(text))["seed"] for text in ("a house", "make it night")]
        before = set(panel.ids())
        panel.turns.last.get_by_role("button", name="More", exact=True).click()
        panel.page.get_by_role("menuitem", name="Try again", exact=True).click()
        again = panel.new_turn(before)
        panel.wait(again)
        assert seeds[0] == seeds[1] != panel.turn_of(again)["seed"]
    finally:
        panel.page.click(".wg-settings-open")
        lock.click()
        panel.page.keyboard.press("Escape")


def test_more_like_one_differs(panel):
    first = panel.say("a house", count=4)
    before = set(panel.ids())
    first.locator("[data-picture='1'] .wg-choice button").nth(1).click()
    more = panel.new_turn(before)
    panel.wait(more)
    pictures = [panel.pixels(picture["file"]) for picture in panel.turn_of(more)["pictures"]]
    assert len(pictures) == 4
    assert len({picture.tobytes() for picture in pictures}) > 1


def test_an_order_waits_for_the_picture_that_it_is_about(panel):
    page = panel.page
    with held(page, "**/upload/image") as waiting:
        drop(panel, "continue", "house.png", png(page_with("house")))
        wait_until(panel, lambda: waiting)
        panel.text.fill("make it night")
        panel.text.press("Enter")
        page.get_by_text("A picture is still on its way").first.wait_for()
        expect(panel.text).to_have_value("make it night")
        assert panel.turns.count() == 0
    page.wait_for_selector(".wg-turn .wg-picture")
    changed = panel.say("make it night")
    assert panel.turn_of(changed)["base"]["turn"] == panel.ids()[0]


def test_an_order_is_edited_and_sent_again(panel):
    page = panel.page
    first = panel.say("a house", count=1)
    question = panel.say("what is there?")
    question.hover()
    question.get_by_role("button", name="Edit and send again").click()
    panel.text.fill("the colour of the house")  # a question still, though nothing else says so
    expect(page.get_by_role("button", name="Ask instead of drawing")).to_have_attribute("aria-pressed", "true")
    asked = panel.say("the colour of the house")
    assert panel.turn_of(asked)["kind"] == "ask"
    second = panel.say("make it nihgt")
    page.fill(".wg-head .wg-name", "my chat")
    page.press(".wg-head .wg-name", "Enter")
    second.hover()
    second.get_by_role("button", name="Edit and send again").click()
    expect(panel.text).to_have_value("make it nihgt")
    third = panel.say("make it night")
    turns = panel.saved()["document"]["turns"]
    ids = [one.get_attribute("data-turn") for one in (first, asked, third)]
    assert panel.ids() == ids and turns[ids[2]]["parent"] == ids[1] and len(turns) == 5
    assert page.input_value(".wg-name") == "my chat"


def test_steps_are_the_models_own_until_they_are_set(panel):
    field = panel.page.locator("[data-setting='steps']")
    used = []
    for steps in (None, 12, ""):
        if steps is not None:
            set_steps(panel, steps)
        panel.page.click(".wg-settings-open")
        expect(field).to_have_value(str(steps or ""))
        expect(field).to_have_attribute("placeholder", "The model's own")
        panel.page.keyboard.press("Escape")
        used.append(panel.turn_of(panel.say("a cat"))["settings"]["steps"])
    assert used == [0, 12, 0]


def test_cancel(panel, client):
    set_steps(panel, 999)
    turn = panel.begin("a house", count=1)
    turn.locator(".wg-preview").wait_for()
    prompt = panel.turn_of(turn)["prompt"]
    turn.get_by_role("button", name="Cancel").click()
    panel.wait(turn, "cancelled")
    # The host tells of the end just before it takes the graph from its list.
    wait_until_empty(panel, client, "queue_running")
    assert was_interrupted(panel, prompt)
    # One that only waits can be cancelled too.
    with client.busy():
        waiting = panel.begin("a tree", count=1)
        waiting.locator(".wg-phase", has_text="ahead in the queue").wait_for()
        waiting.get_by_role("button", name="Cancel").click()
        panel.wait(waiting, "cancelled")
    # What was to be run can be looked at all the same.
    turn.locator(".wg-workflow").click()
    panel.page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'WeGenGenerate')")


def test_the_number_of_pictures_of_an_edited_order_can_be_changed(panel):
    first = panel.say("a house", count=3)
    assert first.locator(".wg-workflow").count() == 1, "none of its pictures is chosen yet"
    first.hover()
    first.get_by_role("button", name="Edit and send again").click()
    expect(panel.page.locator(".wg-count")).to_have_value("3")
    assert panel.say("a house", count=1).locator(".wg-picture").count() == 1


def test_undo_keys_take_back_a_step_of_the_chat_and_none_on_the_canvas(panel):
    page = panel.page
    panel.say("a house", count=1)
    night = panel.say("make it night")
    page.evaluate(CAPTURE)
    page.evaluate("() => window.app.graph.add(window.LiteGraph.createNode('EmptyImage'))")
    panel.drawn()  # which may give the node another size
    page.evaluate(CAPTURE)
    steps = page.evaluate(UNDO_STEPS)
    assert steps > 0

    def press(keys: str) -> None:
        page.keyboard.press(keys)
        page.wait_for_timeout(400)
        assert page.evaluate(UNDO_STEPS) == steps, keys
        assert page.evaluate("() => window.app.graph.nodes.length") == 1, keys

    night.locator(".wg-compare-open").focus()
    press("Control+z")
    panel.expect_turns(1)
    press("Control+Shift+z")
    panel.expect_turns(2)
    panel.text.fill("")
    panel.text.type("more")
    press("Control+z")
    assert panel.text.input_value() != "more"
    panel.expect_turns(2)
    panel.begin_painting([((0.2, 0.5), (0.8, 0.5))])
    press("Control+z")
    page.locator(".wg-stage-foot button").last.focus()
    press("Control+z")
    page.keyboard.press("Escape")
    page.wait_for_selector(".wg-stage", state="hidden")
    # Beside the controls of the panel too, and where a button cannot be pressed any more.
    page.locator(".wg-context span").first.click()
    press("Control+z")
    panel.expect_turns(1)
    page.locator(".wg-timeline").get_by_role("button", name="Undo").click()
    panel.expect_turns(0)
    press("Control+y")
    panel.expect_turns(1)
    # On the canvas they are the host's, as before.
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Control+z")
    page.wait_for_function("() => window.app.graph.nodes.length === 0")
