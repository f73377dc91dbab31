"""Small things of the chat panel: keys, focus, room, names."""

import pytest
from playwright.sync_api import expect

from .actions import NEW_CHAT, open_chat

DARK = "html.dark-theme, body.dark-theme"


@pytest.fixture
def low(page):
    """A window that is not high."""
    size = page.viewport_size
    page.set_viewport_size({"width": 1200, "height": 560})
    yield
    page.set_viewport_size(size)


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


def test_sides_on_offer_are_those_that_the_model_can_paint(panel, teal):
    bundled, sides = "wegen-nano (bundled)", "(select) => [...select.options].map((option) => Number(option.value))"
    width, model = (panel.page.locator(f".wg-drawer [data-setting={name}]") for name in ("width", "model"))
    open_chat(panel, teal, model="on another disk", width=1024)
    panel.page.click(".wg-settings-open")
    assert {0, 512, 1024} < set(width.evaluate(sides))
    model.select_option(bundled)
    assert {0, 96, 128, 1024} < set(width.evaluate(sides))
    assert 512 not in width.evaluate(sides)
    expect(width).to_have_value("1024")  # a choice stays until another is made
    width.select_option("160")
    assert panel.saved()["document"]["settings"]["width"] == 160  # and not "160"


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
    page.wait_for_function(f"(theme) => (document.querySelector('{DARK}') ? 'dark' : 'light') === theme", arg=theme)
    panel.drawn()
    found = {}
    panel.open_chats()
    page.get_by_role("button", name="Options of @thing0").click()
    for selector in (".wg-chat[aria-current] small", ".wg-count", ".wg-context span", ".wg-popover .wg-danger span"):
        found[selector] = page.locator(selector).first.evaluate(CONTRAST)
    page.keyboard.press("Escape")
    expect(page.locator(".wg-popover")).to_have_count(0)
    expect(page.locator(".wg-drawer.wg-library")).to_be_visible()
    page.keyboard.press("Escape")
    page.evaluate(palette, "dark")
    assert min(found.values()) >= 4.5, found
