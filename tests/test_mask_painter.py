"""The mask painter in a headless browser, on a page of its own."""

import base64
import io
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import MainThread
from PIL import Image
from support import REPOSITORY
from timing import measured

SIZE = 1024
LONGEST_TASK = 50  # milliseconds of computing; about 15 on a machine with nothing else to do

PAGE = """<!doctype html><meta charset="utf-8"><title>Mask painter</title><link rel="icon" href="data:,">
<style>body { margin: 8px; background: #202020; font-family: sans-serif } #room { width: 600px }</style>
<div id="room"></div>
"""

MOUNT = """
async (size) => {
    const { MaskPainter } = await import("/js/mask_painter.mjs");
    const canvas = new OffscreenCanvas(size, size);
    const context = canvas.getContext("2d");
    context.fillStyle = "#d8c9a8";
    context.fillRect(0, 0, size, size);
    context.fillStyle = "#7a4b2a";
    context.fillRect(size / 4, size / 4, size / 2, size / 2);
    const mask = (inside) => {
        const data = new Uint8Array(size * size);
        for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) if (inside(x, y)) data[y * size + x] = 255;
        return { width: size, height: size, data };
    };
    window.changes = [];
    window.painter = new MaskPainter({
        image: canvas.transferToImageBitmap(),
        width: size,
        height: size,
        kept: mask((x, y) => y < size / 8),
        suggestion: mask((x, y) => x > size / 2 && y > (3 * size) / 4),
        onChange: (change) => window.changes.push(change),
    });
    document.getElementById("room").append(window.painter.element);
}
"""

BLOBS = """
async () => {
    const text = async (blob) => blob && btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
    const { keep, change } = await window.painter.toMaskBlobs();
    return [await text(keep), await text(change)];
}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where a page with the painter's scripts is served."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(PAGE)
    (folder / "js").symlink_to(REPOSITORY / "js", target_is_directory=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser, address):
    """A fresh painter on a picture of 1024 x 1024, shown 600 pixels wide; errors of the page fail the test."""
    page = browser.new_page(viewport={"width": 900, "height": 900}, has_touch=True)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    try:
        page.goto(address)
        page.evaluate(MOUNT, SIZE)
        settle(page)
        yield page
        assert errors == []
    finally:
        page.close()


def settle(page) -> None:
    """Wait until what was done is shown."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def masks(page) -> dict[str, np.ndarray | None]:
    """What is painted, `[H, W]` in 0..255; None where nothing is."""
    pictures = []
    for text in page.evaluate(BLOBS):
        image = text and Image.open(io.BytesIO(base64.b64decode(text)))
        assert image is None or (image.mode, image.size) == ("RGB", (SIZE, SIZE))
        pictures.append(None if image is None else np.asarray(image.convert("L")).astype(int))
    return dict(zip(("keep", "change"), pictures, strict=True))


def place(page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the picture is on the page."""
    box = page.locator("canvas.paint").bounding_box()
    return box["x"] + x / SIZE * box["width"], box["y"] + y / SIZE * box["height"]


def drag(page, *points, steps=12) -> None:
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=steps)
    page.mouse.up()
    settle(page)


def test_a_stroke_is_painted_where_the_mouse_went(page):
    page.evaluate("() => { painter.setSize(100); painter.setEdge(0) }")
    drag(page, (200, 300), (800, 300))
    painted = masks(page)
    assert painted["change"] is None
    keep = painted["keep"]
    assert keep[300, 200:800].min() == 255
    assert keep[260:340, 500].min() == 255 and keep[:240].max() == 0 and keep[360:].max() == 0
    (change,) = page.evaluate("() => changes")
    assert change["keep"] == pytest.approx(keep.mean() / 255) and change["change"] == 0
    assert change["canUndo"] and not change["canRedo"]


def test_brushes_take_from_each_other_and_undo_brings_back(page):
    page.evaluate("() => { painter.setSize(120); painter.setTool('change') }")
    drag(page, (100, 500), (900, 500))
    before = masks(page)
    page.get_by_label("Keep", exact=True).check()
    drag(page, (500, 200), (500, 800))
    after = masks(page)
    assert after["keep"][500, 500] == 255 and after["change"][500, 500] == 0
    assert (after["keep"] + after["change"]).max() <= 255
    page.keyboard.press("Control+z")
    assert masks(page)["keep"] is None and (masks(page)["change"] == before["change"]).all()
    page.keyboard.press("Control+Shift+Z")
    assert (masks(page)["keep"] == after["keep"]).all()
    page.evaluate("() => { painter.setTool('erase'); painter.setEdge(0); painter.setSize(9999) }")
    drag(page, (500, 500), (510, 500))
    assert list(masks(page).values()) == [None, None]
    page.get_by_role("button", name="Undo").click()
    assert (masks(page)["keep"] == after["keep"]).all() and (masks(page)["change"] == after["change"]).all()


def test_keys_alone_paint(page):
    page.locator("canvas.paint").focus()
    for key in ("c", "[", "[", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    page.keyboard.down("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.up("Space")
    settle(page)
    change = masks(page)["change"]
    rows, columns = np.nonzero(change)
    size = page.evaluate("() => painter.size")
    assert size < 128
    # A quarter of the brush up, and along by six quarters of it.
    assert np.ptp(rows) + 1 == pytest.approx(size, abs=2) and np.ptp(columns) + 1 == pytest.approx(2.5 * size, abs=2)
    assert (rows.min() + rows.max()) / 2 < SIZE / 2
    page.keyboard.down("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    page.keyboard.up("Space")
    settle(page)
    assert (masks(page)["change"] == change).all()


def test_the_suggestion_is_taken_over_but_not_over_what_is_kept(page):
    drag(page, (800, 900), (900, 900))
    keep = masks(page)["keep"]
    page.get_by_role("button", name="Use the suggested mask").click()
    painted = masks(page)
    assert (painted["keep"] == keep).all()
    change = painted["change"]
    assert change[800, 600] == 255 and change[:768].max() == 0 and change[900, 850] == 0
    page.keyboard.press("Control+z")
    assert masks(page)["change"] is None
    page.evaluate("() => painter.setSuggestion(null)")
    assert page.get_by_role("button", name="Use the suggested mask").count() == 0


def test_a_pen_presses_and_a_second_finger_gives_up(page):
    def pointer(kind, x, y, **details):
        left, top = place(page, x, y)
        details = {"clientX": left, "clientY": top, "bubbles": True, "cancelable": True, "button": 0, **details}
        page.evaluate(
            """([kind, details]) => {
                const canvas = document.querySelector("canvas.paint");
                canvas.setPointerCapture = () => {};
                canvas.dispatchEvent(new PointerEvent(kind, details));
            }""",
            [kind, details],
        )

    page.evaluate("() => { painter.setSize(200); painter.setEdge(0) }")
    for x, pressure in ((200, 0.1), (700, 1.0)):
        pen = {"pointerType": "pen", "pointerId": 7, "pressure": pressure}
        pointer("pointerdown", x, 500, **pen)
        pointer("pointerup", x, 500, **pen)
    keep = masks(page)["keep"] > 127
    light, firm = (keep[:, part].any(axis=1).sum() for part in (slice(0, 450), slice(450, None)))
    assert firm == pytest.approx(200, abs=2) and light == pytest.approx(0.28 * 200, abs=2)
    pointer("pointerdown", 300, 200, pointerType="touch", pointerId=8)
    pointer("pointermove", 500, 200, pointerType="touch", pointerId=8)
    pointer("pointerdown", 600, 300, pointerType="touch", pointerId=9)
    settle(page)
    assert ((masks(page)["keep"] > 127) == keep).all()
    # A palm on the screen does not disturb a pen, and a pen takes over from a palm.
    pen, palm = {"pointerType": "pen", "pointerId": 7, "pressure": 1.0}, {"pointerType": "touch", "pointerId": 8}
    pointer("pointerdown", 200, 800, **pen)
    pointer("pointerdown", 900, 900, **palm)
    pointer("pointermove", 400, 800, **pen)
    pointer("pointercancel", 900, 900, **palm)
    pointer("pointerup", 400, 800, **pen)
    pointer("pointerdown", 900, 150, **palm)
    pointer("pointerdown", 500, 800, **pen)
    pointer("pointerup", 500, 800, **pen)
    settle(page)
    painted = masks(page)["keep"] > 127
    assert painted[800, 200:500].all() and not painted[900:, 850:].any() and not painted[100:200, 850:].any()


def shown(page) -> dict[str, float]:
    """Where the whole picture would be on the page, of which a part is shown."""
    settle(page)
    return page.locator("canvas.paint").bounding_box()


def test_the_wheel_zooms_around_the_pointer_and_strokes_land_where_they_are_seen(page):
    before = shown(page)
    at = [round(value) for value in place(page, 700, 300)]  # wheels tell of whole pixels
    x, y = (SIZE * (at[0] - before["x"]) / before["width"], SIZE * (at[1] - before["y"]) / before["height"])
    page.mouse.move(*at)
    page.keyboard.down("Control")
    for _ in range(8):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    near = shown(page)
    assert near["width"] > 8 * before["width"]
    assert place(page, x, y) == pytest.approx(at, abs=1)
    page.evaluate("() => { painter.setSize(4); painter.setEdge(0) }")
    drag(page, (690, 300), (710, 300))
    keep = masks(page)["keep"] > 127
    assert keep[300, 690:710].all() and keep.sum() < 30 * 6
    # Nothing beside the picture is ever shown.
    room = page.locator(".wegen-mask-stage").bounding_box()
    page.mouse.move(*at)
    page.mouse.down(button="middle")
    page.mouse.move(at[0] + 20_000, at[1] + 20_000, steps=4)
    page.mouse.up(button="middle")
    moved = shown(page)
    assert (moved["x"], moved["y"]) == pytest.approx((room["x"], room["y"]), abs=1)
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == pytest.approx(before, abs=1)
    assert page.get_by_role("button", name="Zoom out").is_disabled()
    assert (masks(page)["keep"] > 127).sum() == keep.sum(), "the middle button paints nothing"


def test_keys_zoom_and_the_brush_stays_in_sight(page):
    page.evaluate("() => { painter.setSize(40); painter.focus() }")
    for _ in range(4):
        page.keyboard.press("+")
    page.keyboard.press("k")
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    settle(page)
    room, brush = (page.locator(name).bounding_box() for name in (".wegen-mask-stage", ".wegen-mask-brush"))
    middle = brush["x"] + brush["width"] / 2
    assert room["x"] < middle <= room["x"] + room["width"] + 1
    page.keyboard.press("-")
    assert page.evaluate("() => painter.zoom") == pytest.approx(1.5**3)
    page.keyboard.press("0")
    assert page.evaluate("() => painter.zoom") == 1


def test_two_fingers_move_and_zoom(page):
    before = shown(page)
    fingers = page.context.new_cdp_session(page)
    left, top = before["x"], before["y"]

    def touch(kind, *points):
        points = [{"x": left + x, "y": top + y, "id": number} for number, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (200, 200))
    touch("touchStart", (200, 200), (400, 200))
    for step in range(1, 6):
        touch("touchMove", (200 - 20 * step, 200 + 20 * step), (400 + 20 * step, 200 + 20 * step))
    touch("touchEnd")
    near = shown(page)
    assert near["width"] == pytest.approx(2 * before["width"], rel=0.02)
    # What was between the fingers went along with them.
    assert near["x"] + 2 * 300 == pytest.approx(left + 300, abs=4)
    assert near["y"] + 2 * 200 == pytest.approx(top + 300, abs=4)
    assert masks(page) == {"keep": None, "change": None}


def test_shortcuts_work_on_other_layouts(page):
    def press(key, code, **held):
        page.evaluate(
            """([key, code, held]) => document.querySelector("canvas.paint").dispatchEvent(
                new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true, ...held }))""",
            [key, code, held],
        )

    page.locator("canvas.paint").focus()
    press("\u0441", "KeyC")  # Cyrillic
    page.keyboard.press("Space")
    settle(page)
    assert masks(page)["change"] is not None
    press("\u044f", "KeyZ", ctrlKey=True)
    settle(page)
    assert masks(page)["change"] is None
    size = page.evaluate("() => painter.size")
    press("[", "Digit5", altKey=True)
    press("[", "Digit8", altKey=True, ctrlKey=True)
    assert page.evaluate("() => painter.size") < size
    smaller = page.evaluate("() => painter.size")
    press("[", "BracketLeft", metaKey=True)  # the browser's own
    assert page.evaluate("() => painter.size") == smaller


def test_the_wheel_sizes_the_brush_by_how_far_it_turns(page):
    page.evaluate("() => painter.setSize(100)")
    page.mouse.move(*place(page, 500, 500))
    page.mouse.wheel(0, -120)  # the keys are not here yet
    assert page.evaluate("() => painter.size") == 100
    page.locator("canvas.paint").focus()
    page.mouse.wheel(0, -120)
    page.wait_for_function("() => painter.size > 100")
    assert page.evaluate("() => painter.size") == pytest.approx(115)
    for _ in range(10):  # a touchpad
        page.mouse.wheel(0, 5)
    page.wait_for_timeout(300)
    assert page.evaluate("() => painter.size") == pytest.approx(115 * 1.15**-0.5)


def test_names_for_everything_and_text_only(page):
    names = page.evaluate(
        """() => [...document.querySelectorAll(
            "input, canvas.paint, [role=group], [role=toolbar], [role=radiogroup]")].map((element) =>
            (element.getAttribute("aria-label") || element.labels?.[0]?.textContent
                || (element.type === "button" ? element.value : "")).trim())"""
    )
    assert names and all(names)
    hostile = "<img src=x onerror=alert(1)>"
    page.evaluate(
        """async (hostile) => {
            const { MaskPainter } = await import("/js/mask_painter.mjs");
            const other = new MaskPainter({ image: document.createElement("canvas"), width: 8, height: 8,
                labels: { keep: hostile, status: hostile, canvas: hostile } });
            document.body.append(other.element);
            window.injected = other.element.querySelectorAll("img").length;
            other.destroy();
            window.left = document.querySelectorAll(".wegen-mask").length;
        }""",
        hostile,
    )
    assert page.evaluate("() => [injected, left]") == [0, 1]


# A stroke along a picture of 4096 x 4096, of which the pointer tells 480 times, as pens do; all before the next frame.
DENSE_STROKE = """
async () => {
    const { MaskPainter } = await import("/js/mask_painter.mjs");
    const size = 4096;
    const image = document.createElement("canvas");
    const changes = [];
    const other = new MaskPainter({ image, width: size, height: size, onChange: (change) => changes.push(change) });
    document.getElementById("room").replaceChildren(other.element);
    other.setSize(1500);
    other.setEdge(0);
    const canvas = other.element.querySelector("canvas.paint");
    canvas.setPointerCapture = () => {};
    const box = canvas.getBoundingClientRect();
    const fire = (kind, from, to) => {
        const options = (x) => ({
            clientX: box.left + (x / size) * box.width, clientY: box.top + box.height / 2, button: 0, buttons: 1,
            pointerId: 7, pointerType: "mouse", bubbles: true, cancelable: true,
        });
        const event = new PointerEvent(kind, options(to));
        const parts = Array.from({ length: 8 }, (_, part) => from + ((part + 1) / 8) * (to - from));
        event.getCoalescedEvents = () => parts.map((x) => new PointerEvent(kind, options(x)));
        canvas.dispatchEvent(event);
    };
    fire("pointerdown", 1000, 1000);
    for (let move = 0; move < 60; move++) fire("pointermove", 1000 + 33 * move, 1033 + 33 * move);
    fire("pointerup", 2980, 2980);
    let frames = 0;
    for (; !changes.length; frames++) await new Promise((done) => requestAnimationFrame(done));
    const bitmap = await createImageBitmap((await other.toMaskBlobs()).keep);
    const line = new OffscreenCanvas(size, 1).getContext("2d");
    line.drawImage(bitmap, 0, -size / 2);
    const painted = [...line.getImageData(0, 0, size, 1).data].filter((_, index) => index % 4 === 0);
    other.destroy();
    return [frames, painted.indexOf(255), painted.lastIndexOf(255)];
}
"""


def test_a_pen_is_followed_however_often_it_tells_where_it_is(page):
    frames, first, last = page.evaluate(DENSE_STROKE)
    assert frames < 100
    # From the beginning of the stroke to its end, each half a brush further.
    assert (first, last) == pytest.approx((250, 3730), abs=2)


def test_painting_never_holds_the_page_up(page):
    page.evaluate("() => painter.setSize(300)")
    longest = measured(lambda: max(tasks_of_painting(page)), LONGEST_TASK)
    print(f"longest main-thread tasks while painting: {longest} ms")
    assert masks(page)["keep"] is not None
    assert longest[-1] <= LONGEST_TASK


def tasks_of_painting(page) -> list[float]:
    with MainThread(page) as thread:
        page.mouse.move(*place(page, 100, 100))
        page.mouse.down()
        for number in range(30):
            page.mouse.move(*place(page, 100 + 800 * (number % 2), 100 + 28 * number), steps=3)
        page.mouse.up()
        for _ in range(3):
            page.keyboard.press("Control+z")
            page.keyboard.press("Control+Shift+Z")
        page.wait_for_timeout(1000)
    assert len(thread.tasks) > 100
    return thread.tasks
