"""What a person writes, in messages and in descriptions, is not lost and not disturbed."""

from playwright.sync_api import expect

from .actions import drop, open_stored, page_with, png, set_steps


def test_text_that_comes_with_a_picture_of_itself_is_pasted_as_text(panel):
    """As from a spreadsheet: the page leaves it to the browser."""
    left = panel.page.evaluate(
        """(bytes) => {
            const transfer = new DataTransfer()
            transfer.setData("text/plain", "a red house")
            transfer.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }))
            const options = { clipboardData: transfer, bubbles: true, cancelable: true }
            return document.querySelector(".wg-composer textarea").dispatchEvent(new ClipboardEvent("paste", options))
        }""",
        list(png(page_with("cat"))),
    )
    panel.page.wait_for_timeout(300)
    assert left and panel.page.locator(".wg-ref").count() == 0


def test_an_example_takes_the_place_of_what_was_written_as_if_typed(panel):
    panel.text.fill("a long wish of my own")
    panel.page.locator(".wg-welcome .wg-chip").first.click()
    assert panel.text.input_value() not in ("", "a long wish of my own")
    panel.text.press("Control+z")
    expect(panel.text).to_have_value("a long wish of my own")


def test_words_are_shown_while_they_are_written(panel):
    set_steps(panel, 999)
    turn = panel.begin("a house", count=1)
    turn.locator(".wg-preview").wait_for()  # from now on the model writes no words of its own
    prompt = panel.turn_of(turn)["prompt"]
    words = "a <b>red</b> house"
    # As the server sends it.
    send = "(detail) => import('/scripts/api.js').then(({ api }) => api.dispatchCustomEvent('wegen.text', detail))"
    panel.page.evaluate(send, {"prompt_id": prompt, "node": "turn", "text": words})
    turn.locator(".wg-writing", has_text=words).wait_for()
    # The phases of nodes of other packs come as plain text, in which not every front end names the run.
    said = "(detail) => import('/scripts/api.js').then(({ api }) => api.dispatchCustomEvent('progress_text', detail))"
    panel.page.evaluate(said, {"nodeId": "777", "text": "half way"})
    turn.locator(".wg-phase", has_text="half way").wait_for()
    turn.get_by_role("button", name="Cancel").click()
    panel.wait(turn, "cancelled")


def test_words_that_are_edited_are_there_when_the_chat_comes_back(panel):
    page = panel.page
    panel.say("a house", count=1)
    second = panel.say("make it night")
    second.get_by_role("button", name="Edit the words and draw again").click()
    second.locator(".wg-rewrite textarea").fill("my own words")
    page.get_by_role("button", name="Undo").first.click()
    panel.expect_turns(1)
    page.get_by_role("button", name="Redo").first.click()
    expect(second.locator(".wg-rewrite textarea")).to_have_value("my own words")
    page.fill(".wg-name", "words of my own")
    page.press(".wg-name", "Tab")
    panel.saved()
    panel.new_chat()
    open_stored(panel, "words of my own")
    expect(second.locator(".wg-rewrite textarea")).to_have_value("my own words")


def test_what_goes_on_around_words_that_are_edited_is_shown(panel):
    two = panel.say("a house at night", count=2)
    panel.use(two, 0)
    two.get_by_role("button", name="Edit the words and draw again").click()
    field = two.locator(".wg-rewrite textarea")
    field.fill("my own words")
    panel.use(two, 1)
    expect(two.locator(".wg-own")).to_have_attribute("data-picture", "1")
    expect(field).to_have_value("my own words")
    two.get_by_role("button", name="Edit the words and draw again").click()
    field.last.fill("other words")
    for index in (0, 1):
        panel.use(two, index)
        expect(two.locator(".wg-own")).to_have_attribute("data-picture", str(index))
    assert sorted(one.input_value() for one in field.all()) == ["my own words", "other words"]
    expect(two.get_by_role("button", name="Back", exact=True)).to_have_count(2)
    two.get_by_role("button", name="Back", exact=True).first.click()
    expect(two.locator(".wg-rewrite textarea")).to_have_count(1)
    two.get_by_role("button", name="Back", exact=True).click()
    expect(two.locator(".wg-rewrite")).to_have_count(1)
    two.get_by_role("button", name="Edit the words and draw again").click()
    field.press("Control+Home")
    panel.page.keyboard.type("so ")
    night = panel.begin("make it day")
    panel.wait(night)
    expect(two.get_by_role("button", name="Go on from here")).to_be_visible()
    assert field.input_value().startswith("so ")
    field.press("Escape")
    expect(field).to_have_count(0)


def test_who_is_writing_goes_on_where_they_are_when_a_picture_has_come(panel):
    panel.text.fill("a house at night")
    panel.text.press("Home")
    panel.text.press("ArrowRight")
    drop(panel, "reference", "cat.png", png(page_with("cat")))
    expect(panel.text).to_have_value("a house at night @cat ")
    assert panel.text.evaluate("(text) => text.selectionStart") == 1
    # An input method that is at work is not disturbed, and the name comes when it is done.
    composes = "(text, type) => text.dispatchEvent(new CompositionEvent(type, { bubbles: true }))"
    panel.text.fill("a tree")
    panel.text.evaluate(composes, "compositionstart")
    drop(panel, "reference", "dog.png", png(page_with("dog")))
    panel.page.locator(".wg-ref", has_text="@dog").wait_for()
    expect(panel.text).to_have_value("a tree")
    panel.text.evaluate(composes, "compositionend")
    expect(panel.text).to_have_value("a tree @dog ")


def test_a_click_does_not_stop_the_conversation_from_following(panel, client):
    talk = panel.page.locator(".wg-talk")
    from_end = "(talk) => talk.scrollHeight - talk.scrollTop - talk.clientHeight"
    panel.say("a house", count=2)
    with client.busy():
        turn = panel.begin("what is there?")
        talk.click(position={"x": 5, "y": 60})
    panel.wait(turn)
    panel.page.wait_for_function(f"() => ({from_end})(document.querySelector('.wg-talk')) < 5")
    # Who scrolls away stays there.
    longer = "(reply) => reply.append('x '.repeat(3000))"
    turn.locator(".wg-reply").evaluate(longer)
    panel.page.wait_for_function(f"() => ({from_end})(document.querySelector('.wg-talk')) < 5")
    talk.hover()
    panel.page.mouse.wheel(0, -600)
    panel.page.wait_for_function(f"() => ({from_end})(document.querySelector('.wg-talk')) > 100")
    turn.locator(".wg-reply").evaluate(longer)
    panel.page.wait_for_timeout(300)
    assert talk.evaluate(from_end) > 100


def test_what_is_being_written_and_painted_is_not_lost(panel, client):
    page = panel.page
    first = panel.say("a house", count=1)
    # Words that are edited stay while another turn begins and ends; so does the focus.
    first.get_by_role("button", name="Edit the words and draw again").click()
    words = first.locator(".wg-rewrite textarea")
    words.fill("my own words")
    with client.busy():
        question = panel.begin("what is there?")
        words.focus()
    panel.wait(question)
    expect(words).to_have_value("my own words")
    assert page.evaluate("() => document.activeElement === document.querySelector('.wg-rewrite textarea')")
    first.get_by_role("button", name="Back").click()
    # Escape closes the painting as "Done" does.
    panel.begin_painting([((0.2, 0.5), (0.8, 0.5))])
    page.fill(".wg-stage textarea", "make it night")
    page.keyboard.press("Escape")
    page.wait_for_selector(".wg-stage", state="hidden")
    expect(page.locator(".wg-context .wg-mask-keep")).to_be_visible()
    expect(panel.text).to_have_value("make it night")
    # A mask belongs to its picture: it is not there on another, and comes back with its own.
    second = panel.say("make it day", count=1)
    assert panel.turn_of(second)["keep"]
    panel.paint([((0.1, 0.9), (0.9, 0.9))])
    page.get_by_role("button", name="Undo").first.click()
    expect(page.locator(".wg-context .wg-mask-keep")).to_have_count(0)
    page.get_by_role("button", name="Redo").first.click()
    expect(page.locator(".wg-context .wg-mask-keep")).to_be_visible()
    # An order that would go on from the picture before waits.
    with client.busy():
        slow = panel.begin("make it night")
        panel.text.fill("add a moon")
        panel.text.press("Enter")
        page.get_by_text("is not finished yet").wait_for()
        expect(panel.text).to_have_value("add a moon")
    panel.wait(slow)
    panel.text.fill("")


def test_what_is_written_before_the_first_turn_is_there_after_a_reload(panel, frontend):
    panel.text.fill("a long wish that was not sent yet")
    frontend.reload()
    panel.open()
    expect(panel.text).to_have_value("a long wish that was not sent yet")
    panel.page.click(".wg-new")
    expect(panel.text).to_have_value("")


def test_what_is_typed_right_after_a_message_is_of_the_next_one(panel):
    """Also before a slow page has drawn that the first one is gone."""
    panel.text.fill("a house")
    panel.page.evaluate(
        """() => {
            const text = document.querySelector('.wg-composer textarea')
            text.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))
            document.execCommand('insertText', false, 'b')
        }"""
    )
    panel.expect_turns(1)
    expect(panel.text).to_have_value("b")
    panel.wait(panel.turns.first)
    panel.text.fill("")


def test_what_is_typed_while_the_panel_starts_is_there_when_it_has(panel, frontend):
    page = panel.page
    frontend.reload()
    page.evaluate(
        """async () => {
            const { api } = await import('/scripts/api.js')
            const real = api.fetchApi.bind(api)
            const open = new Promise((resolve) => { window.answer = resolve })
            api.fetchApi = async (route, ...rest) => {
                if (route.startsWith('/object_info/WeGen')) await open
                return real(route, ...rest)
            }
            window.app.extensionManager.command.execute('WeGen.ShowPanel')
        }"""
    )
    panel.text.fill("typed early")
    page.evaluate("() => window.answer()")
    page.wait_for_function("() => localStorage.getItem('wegen.panel')?.includes('typed early')")
    expect(panel.text).to_have_value("typed early")
    panel.text.fill("")


def test_a_browser_without_room_still_draws(panel):
    page = panel.page
    page.evaluate(
        """() => {
            Storage.prototype.kept = Storage.prototype.setItem
            Storage.prototype.setItem = () => { throw new Error('full') }
        }"""
    )
    try:
        panel.new_chat()
        panel.say("a house", count=1)
    finally:
        page.evaluate("() => { Storage.prototype.setItem = Storage.prototype.kept }")
