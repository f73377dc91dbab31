"""A host that is away, or whose answers get lost."""

import requests
from playwright.sync_api import expect
from support import HANGS, REPOSITORY

from ..frontend import ended
from .actions import held, open_chat, open_stored, refused, wait_until

LOGIN_PAGE = {"content_type": "text/html", "body": "<!doctype html><title>Sign in</title>"}


def begin_and_leave(panel, client, count: int) -> tuple[str, str]:
    """A turn that ran while no page watched: its id and that of its prompt."""
    with client.busy():
        turn_id = panel.begin("a house", count=count).get_attribute("data-turn")
        prompt = panel.saved()["document"]["turns"][turn_id]["prompt"]
        panel.page.goto("about:blank")
    ended(panel.page, panel.url, prompt)
    return turn_id, prompt


def test_a_turn_of_which_the_host_knows_nothing_was_not_cancelled(panel, frontend, client):
    turn_id, prompt = begin_and_leave(panel, client, count=1)
    requests.post(f"{panel.url}/history", json={"delete": [prompt]}, timeout=HANGS).raise_for_status()
    frontend.reload()
    panel.open()
    panel.wait(panel.turn(turn_id), "failed")
    assert "output folder" in panel.turn(turn_id).inner_text()
    assert panel.turn(turn_id).get_by_role("button", name="Try again").count() == 1


def test_a_lost_connection_loses_no_turn(panel, client):
    with client.busy():
        turn = panel.begin("a house", count=2)
        panel.page.evaluate("() => import('/scripts/api.js').then(({ api }) => api.socket.close())")
    panel.wait(turn)
    assert turn.locator(".wg-picture").count() == 2


def test_a_turn_that_ran_while_the_page_was_closed(panel, frontend, client):
    turn_id, _ = begin_and_leave(panel, client, count=2)
    frontend.reload()
    panel.open()
    panel.wait(panel.turn(turn_id))
    assert panel.turn(turn_id).locator(".wg-picture").count() == 2


def test_pictures_stay_where_their_words_cannot_be_read(panel, frontend):
    def refuse(route):
        return route.abort() if route.request.resource_type == "fetch" else route.continue_()

    with frontend.expecting("ERR_FAILED"):
        panel.page.route("**/view?*", refuse)
        try:
            turn = panel.say("a house", count=1)
        finally:
            panel.page.unroute("**/view?*", refuse)
    [picture] = panel.turn_of(turn)["pictures"]
    assert picture["words"] == "" and panel.pixels(picture["file"]).std() > 0


def test_pictures_come_back_with_the_host(panel, frontend):
    page = panel.page
    panel.say("a house", count=2)
    chat = panel.saved()["name"]
    with frontend.expecting("ERR_FAILED"):
        page.route("**/view?*", lambda route: route.abort())
        try:
            panel.new_chat()
            open_stored(panel, chat)
            page.locator(".wg-turn .wg-gone").first.wait_for()
        finally:
            page.unroute("**/view?*")
    page.evaluate("() => import('/scripts/api.js').then(({ api }) => api.dispatchCustomEvent('reconnected'))")
    expect(page.locator(".wg-turn .wg-gone")).to_have_count(0)
    loaded = "() => [...document.querySelectorAll('.wg-turn .wg-picture img')].map((one) => one.naturalWidth)"
    page.wait_for_function(f"() => ({loaded})().every((width) => width > 0)")


def test_a_first_message_that_the_host_did_not_take_is_there_after_a_reload(panel, frontend):
    def refuse(route):
        return route.abort() if route.request.method == "POST" else route.continue_()

    with frontend.expecting("ERR_FAILED"):
        panel.page.route("**/wegen/chats", refuse)
        turn = panel.begin("a long wish that the host does not get", count=1)
        panel.wait(turn, "failed")
        panel.page.unroute("**/wegen/chats", refuse)
    frontend.reload()
    panel.open()
    expect(panel.text).to_have_value("a long wish that the host does not get")
    panel.page.click(".wg-new")


def take_turn_where_answers_get_lost(panel, lose, **queue) -> None:
    """Take a turn whose prompt the host has though `lose` takes its answer; once `queue` answers for the queue."""
    page, left = panel.page, {"queue": 1, "prompt": 1}

    def fail(route):
        name = "prompt" if route.request.method == "POST" else "queue"
        if not left[name]:
            return route.continue_()
        left[name] -= 1
        if name == "queue":
            return route.fulfill(**queue)
        route.fetch()  # the host has it
        return lose(route)

    page.route("**/api/queue", fail)
    page.route("**/api/prompt", fail)
    try:
        panel.wait(panel.begin("a house", count=2))
    finally:
        page.unroute("**/api/queue")
        page.unroute("**/api/prompt")
    assert left == {"queue": 0, "prompt": 0} and panel.turns.count() == 1


def test_a_proxy_that_fails_for_a_moment_ends_no_turn(panel, frontend):
    """A turn is followed again when the host is reached again, and one whose answer got lost is not queued twice."""
    with frontend.expecting("503"):
        take_turn_where_answers_get_lost(panel, lambda route: route.fulfill(status=503), status=503)


def test_a_turn_whose_answer_got_lost_on_the_way_is_found_again(panel, frontend):
    """The host has the prompt, but the connection breaks before it says so; then it is away for a moment."""
    with frontend.expecting("ERR_FAILED"), frontend.expecting("530"):
        take_turn_where_answers_get_lost(panel, lambda route: route.abort(), status=530)


def test_a_turn_is_found_again_when_a_login_page_stood_in_its_way(panel):
    take_turn_where_answers_get_lost(panel, lambda route: route.fulfill(**LOGIN_PAGE), **LOGIN_PAGE)


def test_files_are_asked_for_behind_a_proxy_that_has_api_in_its_own_path(panel):
    asked = panel.page.evaluate(
        """async () => {
            const { api } = await import('/scripts/api.js')
            const scripts = await api.getExtensions()
            const own = scripts.find((name) => name.endsWith('/wegen.js'))
            const { fetchView } = await import(own.replace('wegen.js', 'panel/host.mjs'))
            const real = [api.api_base, window.fetch]
            let address
            api.api_base = '/apis/comfy'
            window.fetch = async (asked) => ((address = String(asked)), new Response(''))
            try {
                await fetchView({ filename: 'a b.png', type: 'temp' })
            } finally {
                [api.api_base, window.fetch] = real
            }
            return address
        }"""
    )
    assert asked == "/apis/comfy/api/view?filename=a+b.png&subfolder=&type=temp"


def test_a_host_that_is_away_is_said_in_words(panel, teal, frontend):
    page = panel.page
    open_chat(panel, teal)
    with frontend.expecting("ERR_FAILED"), refused(page, "**/wegen/chats"):
        page.click(".wg-chats-open")
        page.get_by_text("ComfyUI does not answer. Is it still running?").first.wait_for()
    page.keyboard.press("Escape")


def test_a_login_page_in_place_of_the_host_is_said_in_words(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    page.route("**/wegen/chats", lambda route: route.fulfill(**LOGIN_PAGE))
    try:
        page.click(".wg-chats-open")
        message = "Something other than ComfyUI answered /wegen/chats, as a proxy or a login page does: “Sign in”."
        page.get_by_text(message).first.wait_for()
    finally:
        page.unroute("**/wegen/chats")
    page.keyboard.press("Escape")


def test_a_list_that_comes_late_takes_no_name_that_is_being_written(panel, teal):
    page = panel.page
    open_chat(panel, teal)
    panel.open_chats()
    page.keyboard.press("Escape")
    with held(page, "**/wegen/chats") as lists:
        page.click(".wg-chats-open")
        wait_until(panel, lambda: lists)
        page.locator(".wg-library").get_by_role("button", name="Options of ").first.click()
        page.get_by_role("menuitem", name="Rename").click()
        name = page.locator(".wg-library input")
        name.fill("half a na")
    page.wait_for_selector(".wg-chats[aria-busy='false']")
    name.press_sequentially("me")
    expect(name).to_have_value("half a name")
    name.press("Enter")
    page.locator(".wg-chat", has_text="half a name").wait_for()
    page.keyboard.press("Escape")


def test_a_list_of_painters_that_comes_late_takes_none_away(panel, frontend):
    page = panel.page
    [template] = (REPOSITORY / "workflows").glob("*chat with any workflow.json")
    address, name = f"{panel.url}/userdata/workflows%2Flate.json", page.locator("[data-setting='painter'] option")
    early = []

    def keep_back(route):
        if early:
            route.continue_()
        else:
            early.append(route)
            early.append(route.fetch())

    page.route("**/userdata?dir=workflows*", keep_back)
    try:
        page.click(".wg-settings-open")
        wait_until(panel, lambda: len(early) == 2)
        page.keyboard.press("Escape")
        requests.post(address, data=template.read_bytes(), timeout=HANGS).raise_for_status()
        page.click(".wg-settings-open")
        opened = page.locator("[data-setting='painter']").element_handle()
        expect(name.get_by_text("late", exact=True)).to_have_count(1)
        assert opened.evaluate("(one) => one.isConnected"), "who had it open would have to open it again"
        early[0].fulfill(response=early[1])
        frontend.settle()
        panel.drawn()
        assert name.get_by_text("late", exact=True).count() == 1
    finally:
        page.unroute("**/userdata?dir=workflows*")
        requests.delete(address, timeout=HANGS)
    page.keyboard.press("Escape")


def test_a_name_that_was_not_stored_can_be_given_again(panel, teal, frontend):
    page = panel.page
    open_chat(panel, teal)
    panel.open_chats()
    page.locator(".wg-library").get_by_role("button", name="Options of ").first.click()
    page.get_by_role("menuitem", name="Rename").click()
    name = page.locator(".wg-library input")
    name.fill("a name for later")
    with frontend.expecting("ERR_FAILED"), refused(page, "**/wegen/chats**") as failed:
        name.press("Enter")
        wait_until(panel, lambda: failed)
        page.get_by_text("ComfyUI does not answer").first.wait_for()
    name.press("Enter")
    page.locator(".wg-chat", has_text="a name for later").wait_for()
    page.keyboard.press("Escape")


def test_a_host_without_the_nodes_says_so(panel, frontend):
    """As one that is too old for them: it serves the scripts all the same."""
    page = panel.page
    frontend.reload()
    address = "**/object_info/WeGenGenerate"
    page.route(address, lambda route: route.fulfill(json={}))
    try:
        panel.open()
        message = "ComfyUI does not have these nodes: WeGenGenerate. Its log"
        expect(page.locator(".p-toast-message").first).to_contain_text(message)
    finally:
        page.unroute(address)
    # It has them once it was started anew.
    page.evaluate(
        "() => import('/scripts/api.js').then(({ api }) => api.dispatchEvent(new CustomEvent('reconnected')))"
    )
    panel.say("a tree", count=1)
