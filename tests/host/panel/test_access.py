"""Keyboard, focus and language."""

import json

from playwright.sync_api import expect
from support import REPOSITORY

from .chat_panel import ChatPanel


def test_the_panel_speaks_chinese(panel, frontend, server):
    page = panel.page
    setting = "(locale) => window.app.extensionManager.setting.set('Comfy.Locale', locale)"
    page.evaluate(setting, "zh")
    try:
        frontend.reload()
        ChatPanel(page, server.url).open()
        texts = json.loads((REPOSITORY / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["wegen"]
        page.get_by_role("button", name=texts["newChat"], exact=True).wait_for()
        expect(page.locator(".wg-welcome h2")).to_have_text(texts["welcome"])
        # No key stands for its text.
        assert page.locator(".wg-panel").get_by_text("welcomeHow").count() == 0
    finally:
        page.evaluate(setting, "en")
        frontend.reload()
        panel.open()


def test_the_keyboard_is_enough(panel):
    page = panel.page
    page.focus(".wg-count")
    page.keyboard.type("3")
    panel.text.focus()
    page.keyboard.type("a house")
    before = set(panel.ids())
    page.keyboard.press("Enter")
    turn = panel.new_turn(before)
    panel.wait(turn)
    turn.locator("[data-picture='1'] .wg-choice button").first.focus()
    page.keyboard.press("Enter")
    turn.locator("[data-picture='1'].wg-own").wait_for()
    turn.locator("[data-picture='1'] .wg-open").focus()
    page.keyboard.press("Enter")
    page.locator(".wg-stage[open] .wg-full").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator(".wg-stage h2", has_text="Picture 3").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector(".wg-stage", state="hidden")
    # Each button says what it does.
    nameless = "[...document.querySelectorAll('.wg-panel button')].filter((one) => !one.title && !one.innerText.trim())"
    assert page.evaluate(f"() => {nameless}.filter((one) => !one.getAttribute('aria-label')).length") == 0


def test_controls_that_are_made_anew_keep_the_focus(panel):
    page = panel.page
    turn = panel.say("a house", count=3)
    use = turn.locator("[data-picture='1'] .wg-choice button").first
    use.focus()
    page.keyboard.press("Enter")
    turn.locator("[data-picture='1'].wg-own").wait_for()
    assert page.evaluate("() => document.activeElement.textContent") == "Use this one"
    panel.say("make it night")
    page.locator(".wg-stop").first.focus()
    page.keyboard.press("Enter")
    panel.expect_turns(1)
    assert page.evaluate("() => document.activeElement.className") == "wg-stop"
