"""Chats are named, listed, opened and deleted."""

import requests
from playwright.sync_api import expect
from support import HANGS

from .actions import held, open_stored, set_steps, store_chat, wait_until, wait_until_empty, was_interrupted

HOSTILE = [
    '<img src=x onerror="window.hacked=1">',
    "</textarea><script>window.hacked=1</script>",
    "${window.hacked=1} {{window.hacked=1}} javascript:window.hacked=1",
    "\u202eevil \u0000 \ud83d\ude00 @constructor @__proto__ %s %d \\ \" ' `",
]


def test_a_chat_that_was_named_keeps_its_name(panel):
    panel.page.fill(".wg-head .wg-name", "book cover")
    panel.page.press(".wg-head .wg-name", "Enter")
    panel.say("a boat", count=1)
    assert panel.saved()["name"] == "book cover"


def test_a_chat_is_not_left_and_not_saved_before_its_name_is(panel):
    """Also where what is in it was written before."""
    page = panel.page
    panel.say("a boat", count=1)
    chat = f"{panel.url}/wegen/chats/{panel.saved()['id']}"
    with held(page, "**/wegen/chats/*", "PATCH") as names:
        panel.text.fill("a wish that is written first")
        page.fill(".wg-name", "a slow name")
        page.press(".wg-name", "Tab")
        wait_until(panel, lambda: names)
        assert "written first" in requests.get(chat, timeout=HANGS).json()["document"]["draft"]["text"]
        panel.drawn()
        assert page.locator(".wg-panel[data-unsaved]").count() == 1
        page.click(".wg-new")
        panel.drawn()
        assert panel.turns.count() == 1
    page.wait_for_selector(".wg-welcome", state="visible")
    assert requests.get(chat, timeout=HANGS).json()["name"] == "a slow name"


def test_a_name_that_is_given_while_the_chat_is_stored_is_its_name(panel):
    page = panel.page
    with held(page, "**/wegen/chats", "POST") as stored:
        turn = panel.begin("a boat", count=1)
        wait_until(panel, lambda: stored)
        page.fill(".wg-name", "named early")
        page.press(".wg-name", "Tab")
    panel.wait(turn)
    assert panel.saved()["name"] == "named early"


def test_what_is_written_while_a_chat_is_left_is_in_it(panel):
    """Nobody is asked whether to leave what can be written."""
    page = panel.page
    panel.say("a boat", count=1)
    chat = f"{panel.url}/wegen/chats/{panel.saved()['id']}"
    with held(page, "**/wegen/chats/*", "PUT") as writes:
        panel.text.fill("a")
        page.click(".wg-new")
        wait_until(panel, lambda: writes)
        panel.text.fill("a last wish")
    page.wait_for_selector(".wg-welcome", state="visible")
    assert requests.get(chat, timeout=HANGS).json()["document"]["draft"]["text"] == "a last wish"


def test_a_chat_is_renamed_though_its_row_came_anew_behind_the_menu(panel):
    page = panel.page
    panel.say("a boat", count=1)
    panel.open_chats()
    page.keyboard.press("Escape")
    panel.text.fill("what makes another row of it")
    name = panel.saved()["name"]
    with held(page, "**/wegen/chats") as lists:
        page.click(".wg-chats-open")
        wait_until(panel, lambda: lists)
        page.locator(".wg-library").get_by_role("button", name=f"Options of {name}").first.click()
    page.wait_for_selector(".wg-chats[aria-busy='false']")
    page.get_by_role("menuitem", name="Rename").click()
    page.locator(".wg-library input").fill("renamed in the list")
    page.locator(".wg-library input").press("Enter")
    page.locator(".wg-chat", has_text="renamed in the list").wait_for()
    page.keyboard.press("Escape")


def test_a_wish_waits_while_another_chat_is_looked_at(panel):
    panel.say("a boat", count=1)
    name = panel.saved()["name"]
    panel.new_chat()
    panel.text.fill("a long wish that was not sent yet")
    open_stored(panel, name)
    panel.expect_turns(1)
    expect(panel.text).to_have_value("")
    panel.new_chat()
    expect(panel.text).to_have_value("a long wish that was not sent yet")


def test_a_turn_ends_in_its_chat_while_another_is_open(panel, client):
    with client.busy():
        turn_id = panel.begin("a house", count=1).get_attribute("data-turn")
        chat = panel.saved()["id"]
        panel.new_chat()

    def turn():
        return requests.get(f"{panel.url}/wegen/chats/{chat}", timeout=HANGS).json()["document"]["turns"][turn_id]

    wait_until(panel, lambda: turn()["status"] not in ("waiting", "running"))
    assert turn()["status"] == "done" and len(turn()["pictures"]) == 1


def test_names_that_begin_with_rare_characters_can_be_saved(panel):
    name = "x" * 39 + "\N{GRINNING FACE}" * 3
    panel.say("a tree", count=1)
    panel.page.fill(".wg-head .wg-name", name)
    panel.page.press(".wg-head .wg-name", "Enter")
    panel.say("make it night")


def test_hostile_strings_are_only_text(panel, server, frontend):
    page = panel.page
    for text in HOSTILE:
        turn = panel.begin(text.replace("\u0000", ""), count=1)
        turn.locator(".wg-bubble").wait_for()
        panel.page.wait_for_function(
            "(id) => /wg-is-(done|failed)/.test(document.querySelector(`[data-turn='${id}']`).className)",
            arg=turn.get_attribute("data-turn"),
        )
        if turn.locator(".wg-grid").count() == 0 and turn.locator(".wg-own").count():
            page.get_by_role("button", name="Begin a new picture").click()
    evil = HOSTILE[0]
    picture = {"file": {"filename": evil}, "words": evil}
    reference = {"name": evil, "file": {"filename": "../" * 9}}
    document = {
        "version": 1,
        "head": "c",
        "tip": "c",
        "turns": {
            "a": {"instruction": evil, "notes": evil, "kind": evil, "status": evil, "pictures": [picture]},
            "b": {"parent": "a", "instruction": {"x": 1}, "error": evil, "status": "failed", "pictures": "none"},
            "c": {"parent": "b", "references": [reference, None], "like": evil, "base": 7, "keep": evil},
            "d": None,
        },
        "references": [{"name": evil, "file": {"filename": evil}, "weight": evil}, None],
        "settings": {"model": evil, "steps": evil},
        "draft": {"text": evil},
    }
    chat = store_chat(server.url, document, name="hostile")
    harm = "() => [window.hacked, document.querySelectorAll('.wg-root script, .wg-root [onerror]').length]"
    with frontend.expecting("/view?"):  # its pictures are not there
        open_stored(panel, "hostile")
        page.click(".wg-settings-open")
        page.wait_for_timeout(500)
        page.keyboard.press("Escape")
        assert page.evaluate(harm) == [None, 0]
        page.locator(".wg-gone").first.wait_for()
        panel.new_chat()
        requests.delete(f"{server.url}/wegen/chats/{chat}", timeout=HANGS).raise_for_status()


def test_chats_are_listed_renamed_and_deleted(panel):
    page = panel.page
    panel.say("a star", count=1)
    page.fill(".wg-name", "night sky")
    page.press(".wg-name", "Tab")
    assert panel.saved()["name"] == "night sky"
    panel.open_chats()
    row = page.locator(".wg-chats li", has_text="night sky")
    row.wait_for()
    row.get_by_role("button", name="Options of night sky").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    row.wait_for(state="detached")
    names = [chat["name"] for chat in requests.get(f"{panel.url}/wegen/chats", timeout=HANGS).json()["chats"]]
    assert "night sky" not in names
    page.keyboard.press("Escape")


def test_a_new_name_is_taken_where_the_field_is_left(panel):
    page = panel.page
    panel.say("a star", count=1)
    panel.page.fill(".wg-name", "first name")
    panel.page.press(".wg-name", "Tab")
    panel.saved()
    panel.open_chats()
    page.get_by_role("button", name="Options of first name").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.keyboard.type("second name")
    page.locator(".wg-library h3").click()
    page.locator(".wg-chat", has_text="second name").wait_for()
    assert panel.saved()["name"] == "second name"
    # Who goes on writing elsewhere writes there.
    page.get_by_role("button", name="Options of second name").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.keyboard.type("third name")
    panel.text.click()
    page.keyboard.type("a red house")
    page.locator(".wg-chat", has_text="third name").wait_for()
    page.keyboard.type(" by day")
    expect(panel.text).to_have_value("a red house by day")
    panel.text.fill("")
    page.locator(".wg-name").fill("not this")
    page.locator(".wg-name").press("Escape")
    expect(page.locator(".wg-name")).to_have_value("third name")
    # A name of a chat without turns waits with it while another one is open.
    page.keyboard.press("Escape")
    panel.new_chat()
    page.fill(".wg-name", "not begun")
    page.press(".wg-name", "Tab")
    open_stored(panel, "third name")
    page.click(".wg-new")
    expect(page.locator(".wg-name")).to_have_value("not begun")


def test_deleting_a_chat_stops_its_turns(panel, client):
    page = panel.page
    set_steps(panel, 999)
    panel.begin("a house", count=1).locator(".wg-preview").wait_for()
    panel.begin("a tree", count=1)
    page.fill(".wg-name", "runs on")
    page.press(".wg-name", "Tab")
    turns = panel.saved()["document"]["turns"].values()
    running, waiting = (turn["prompt"] for turn in sorted(turns, key=lambda turn: turn["instruction"]))
    panel.open_chats()
    page.get_by_role("button", name="Options of runs on").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    wait_until_empty(panel, client, "queue_running", "queue_pending")
    assert was_interrupted(panel, running) and client.get(f"/history/{waiting}").json() == {}
    page.keyboard.press("Escape")


def test_of_two_chats_the_one_that_was_clicked_last_opens(panel):
    page = panel.page
    panel.say("a house", count=1)
    first = page.evaluate("() => JSON.parse(localStorage.getItem('wegen.panel')).chat")
    page.fill(".wg-name", "slow one")
    page.press(".wg-name", "Tab")
    panel.saved()
    panel.new_chat()
    panel.say("a boat", count=1)
    page.fill(".wg-name", "fast one")
    page.press(".wg-name", "Tab")
    panel.saved()
    panel.new_chat()
    panel.open_chats()
    held = []
    page.route(f"**/wegen/chats/{first}", lambda route: held.append(route))
    page.locator(".wg-chat", has_text="slow one").click()
    wait_until(panel, lambda: held)
    page.locator(".wg-chat", has_text="fast one").click()
    page.wait_for_function("() => document.querySelector('.wg-name').value === 'fast one'")
    for route in held:
        route.continue_()
    page.wait_for_timeout(500)
    page.unroute(f"**/wegen/chats/{first}")
    expect(page.locator(".wg-name")).to_have_value("fast one")
