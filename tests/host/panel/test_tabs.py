"""One chat in several tabs."""

import numpy as np
import pytest
import requests
from playwright.sync_api import expect
from support import HANGS

from ..frontend import READY
from .chat_panel import ChatPanel


def test_a_turn_that_still_runs_is_followed_in_another_tab(panel, server, frontend, client):
    """The host tells of its progress and its end only to the tab that sent it."""
    other = panel.page.context.new_page()
    with frontend.expecting("409"):  # both tabs write down how it ended
        try:
            with client.busy():
                turn_id = panel.begin("a house", count=1).get_attribute("data-turn")
                panel.saved()
                other.goto(server.url, wait_until="domcontentloaded")
                other.wait_for_function(READY)
                second = ChatPanel(other, server.url).open()
                turn = second.turn(turn_id)
                turn.locator(".wg-phase", has_text="ahead in the queue").wait_for()
            second.wait(turn)
            assert turn.locator(".wg-picture").count() == 1
            second.saved()
            panel.wait(panel.turn(turn_id))
        finally:
            other.close()
        panel.saved()


def test_a_chat_that_is_renamed_keeps_what_another_tab_saved(panel, frontend):
    page = panel.page
    panel.say("a tree", count=1)
    chat = panel.saved()
    address = f"{panel.url}/wegen/chats/{chat['id']}"
    [turn] = chat["document"]["turns"].values()
    other = {**turn, "id": "zzz", "parent": turn["id"], "instruction": "from elsewhere"}
    document = {**chat["document"], "turns": {**chat["document"]["turns"], "zzz": other}}
    requests.put(address, json={"revision": chat["revision"], "document": document}, timeout=HANGS).raise_for_status()
    with frontend.expecting("409"):
        page.fill(".wg-head .wg-name", "renamed")
        page.press(".wg-head .wg-name", "Enter")
        panel.say("make it night")
        saved = panel.saved()
    assert saved["name"] == "renamed"
    orders = {one["instruction"] for one in saved["document"]["turns"].values()}
    assert orders == {"a tree", "from elsewhere", "make it night"}


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_turn_ends_though_its_chat_was_deleted_elsewhere(panel, frontend, client, reloaded):
    page = panel.page
    with frontend.expecting("404"):
        with client.busy():
            turn = panel.begin("a house", count=1)
            chat = panel.saved()["id"]
            requests.delete(f"{panel.url}/wegen/chats/{chat}", timeout=HANGS).raise_for_status()
            panel.text.fill("make it night")
            page.wait_for_function("(chat) => JSON.parse(localStorage.getItem('wegen.panel')).chat !== chat", arg=chat)
            if reloaded:
                panel.saved()
                frontend.reload()
                panel.open()
        panel.wait(turn)
    assert turn.locator(".wg-picture").count() == 1
    panel.say("make it night")
    assert len(panel.saved()["document"]["turns"]) == 2


def test_a_chat_that_was_deleted_elsewhere_goes_on_with_its_picture_and_what_is_kept(panel, frontend):
    first = panel.say("a house... on a meadow", count=1)  # pictures are called like this, and are shown
    panel.paint([((0.1, 0.8), (0.9, 0.8)), ((0.2, 0.9), (0.8, 0.9))])
    night = panel.say("make it night")
    [before] = panel.turn_of(night)["pictures"]
    assert before["words"] and ".." not in before["file"]["filename"]
    kept = panel.pixels(panel.turn_of(night)["keep"], "L") == 255
    assert 0.05 < kept.mean() < 0.9
    with frontend.expecting("404"):
        requests.delete(f"{panel.url}/wegen/chats/{panel.saved()['id']}", timeout=HANGS).raise_for_status()
        dusk = panel.say("make it dusk")
        assert "no longer what was said before" in dusk.inner_text()
        [after] = panel.turn_of(dusk)["pictures"]
    difference = np.abs(panel.pixels(after["file"]) - panel.pixels(before["file"])).max(axis=-1)
    assert difference[kept].max() == 0 and difference.max() > 0
    assert panel.page.locator(".wg-gone").count() == 0 and first.locator("img").count() == 1
    day = panel.say("make it day")  # whose chat has what was kept
    assert "no longer what was said before" not in day.inner_text()
    difference = np.abs(panel.pixels(panel.turn_of(day)["pictures"][0]["file"]) - panel.pixels(before["file"]))
    assert difference.max(axis=-1)[kept].max() == 0


def test_two_tabs_lose_nothing(panel, server, frontend):
    page = panel.page
    panel.say("a tree", count=1)
    chat = panel.saved()["id"]
    other = page.context.new_page()
    try:
        # Browsers note each answer of the kind "another tab was first".
        with frontend.expecting("409"):
            other.goto(server.url, wait_until="domcontentloaded")
            other.wait_for_function(READY)
            second = ChatPanel(other, server.url).open()
            other.wait_for_selector(".wg-turn")
            panel.say("make it night")
            second.say("make it snow")
            panel.say("make it day")
            second.saved()
            document = panel.saved()["document"]
        assert panel.saved()["id"] == chat
        orders = sorted(turn["instruction"] for turn in document["turns"].values())
        assert orders == ["a tree", "make it day", "make it night", "make it snow"]
        assert {turn["status"] for turn in document["turns"].values()} == {"done"}
    finally:
        other.close()


def test_what_two_tabs_begin_is_there_when_they_are_loaded_again(panel, server, frontend):
    """Also where the other one has sent its own meanwhile."""
    page = panel.page
    written = "(text) => sessionStorage.getItem('wegen.panel')?.includes(text)"
    panel.text.fill("a wish of the first")
    page.wait_for_function(written, arg="a wish of the first")
    other = page.context.new_page()
    try:
        other.goto(server.url, wait_until="domcontentloaded")
        other.wait_for_function(READY)
        second = ChatPanel(other, server.url).open()
        second.text.fill("a boat")
        other.wait_for_function(written, arg="a boat")
        second.say("a boat", count=1)
        for loaded, tab in ((page, panel), (other, second)):
            loaded.reload(wait_until="domcontentloaded")
            loaded.wait_for_function(READY)
            tab.open()
        expect(panel.text).to_have_value("a wish of the first")
        expect(second.turns).to_have_count(1)
        expect(second.text).to_have_value("")
    finally:
        other.close()
        panel.text.fill("")
