"""Takes the README's pictures of the chat panel and the thumbnails of the templates: `python -m host.take_pictures` in
`tests`.

A real ComfyUI runs a short chat with the bundled model in a headless browser, and each template; see `install.py` for
where it is found. Look at what came out before it is committed: models draw what they like.
"""

import io
import json
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import find_browser, running
from comfyui_wegen.models.evaluation.host_install import HostInstall
from PIL import Image
from playwright.sync_api import Page
from support import REPOSITORY

from .client import ComfyClient
from .frontend import FrontEnd
from .panel.chat_panel import ChatPanel
from .server import ComfyServer

PICTURES = REPOSITORY / "pictures"
LARGEST = 400_000  # bytes of a picture
WISH, ORDER, SEED, PICKED = "a house at the beach", "make it night", 14, 5
STROKE = ((0.26, 0.32), (0.38, 0.32), (0.26, 0.39), (0.38, 0.39), (0.26, 0.46), (0.38, 0.46))
"""Over the house in the picture that the chat goes on with, in shares of its sides."""
SIDEBAR = 58  # pixels of the host's own icons
FILM = {"width": 660, "height": 680}
COMMON, RARE = 108, 36  # colours of the film

TEMPLATES = REPOSITORY / "workflows"
OF_THE_STOCK = ("10 ", "12 ")
"""Templates that paint without a model, or with a LoRA of a user's own."""
AS_GRAPHS = ("11 ",)
"""Templates that paint with a model that is not here: their graph is shown."""
SHOWN = {
    "13 draw from edges": ("PreviewImage", "SaveImage"),
    "14 restore a picture": ("PreviewImage", "SaveImage"),
    "15 eight turns": ("WeGenGenerate", "WeGenRefine"),
    "16 in the style of a picture": ("PreviewImage", "SaveImage"),
}
"""Nodes whose pictures are in a thumbnail, where they are not those that it saves."""
THUMBNAIL = 512  # pixels of the longer side

PANEL_WIDTH = """
(width) => {
    const panel = document.querySelector('.wg-panel').closest('[class*=splitterpanel]')
    for (const name of ['flexBasis', 'minWidth', 'maxWidth']) panel.style[name] = width
}
"""


class Film:
    """Frames of one page, each shown for some time."""

    def __init__(self, page: Page):
        self.page = page
        self.frames: list[tuple[Image.Image, int]] = []

    def take(self, milliseconds: int) -> None:
        shot = self.page.screenshot()
        self.frames.append((Image.open(io.BytesIO(shot)).convert("RGB"), milliseconds))

    def save(self, path: Path) -> None:
        """As a GIF with one palette for all frames, so that what does not change between two takes no room."""
        images, times = zip(*self.frames, strict=True)
        sheet = Image.new("RGB", (images[0].width, images[0].height * len(images)))
        for number, image in enumerate(images):
            sheet.paste(image, (0, number * image.height))
        palette = Image.new("P", (1, 1))
        # Common colours alone would turn what is small grey; rare ones alone, all that is grey coloured.
        chosen = [(COMMON, Image.Quantize.MEDIANCUT), (RARE, Image.Quantize.MAXCOVERAGE)]
        palette.putpalette([v for n, how in chosen for v in (sheet.quantize(n, how).getpalette() or [])[: 3 * n]])
        small = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        small[0].save(path, save_all=True, append_images=small[1:], duration=list(times), loop=0, optimize=True)


def save_jpeg(page: Page, path: Path, width: int) -> None:
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS).save(path, quality=82)


def theme(page: Page, name: str) -> None:
    page.evaluate("(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)", name)
    page.wait_for_timeout(1000)


def lock_seed(panel: ChatPanel) -> None:
    page = panel.page
    page.click(".wg-settings-open")
    field = page.locator("[data-setting='seed']")
    field.fill(str(SEED))
    field.press("Tab")  # one that somebody chose stays
    page.keyboard.press("Escape")


def type_slowly(panel: ChatPanel, film: Film, text: str) -> None:
    for end in range(6, len(text) + 6, 6):
        panel.text.fill(text[:end])
        film.take(180)


def film_chat(panel: ChatPanel, path: Path) -> None:
    """One chat from a wish to a change that leaves what was painted over as it was."""
    page = panel.page
    page.set_viewport_size(FILM)
    page.evaluate(PANEL_WIDTH, f"{FILM['width'] - SIDEBAR}px")
    panel.new_chat()
    lock_seed(panel)
    film = Film(page)
    film.take(900)
    type_slowly(panel, film, WISH)
    turn = panel.begin(WISH, count=6)
    for length in (20, 60, 100):
        page.wait_for_function(f"() => !(document.querySelector('.wg-writing')?.textContent.length < {length})")
        film.take(350)
    turn.locator(".wg-preview, .wg-picture").first.wait_for()
    film.take(600)
    panel.wait(turn)
    page.wait_for_timeout(1500)
    film.take(2200)
    panel.use(turn, PICKED)
    page.wait_for_timeout(800)
    film.take(1000)
    page.click(".wg-paint-open")
    canvas = page.locator(".wg-stage canvas.paint")
    canvas.wait_for()
    box = panel.at_rest(canvas)
    page.fill(".wg-stage textarea", ORDER)
    film.take(700)
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in STROKE]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
        page.wait_for_timeout(300)
        film.take(300)
    page.mouse.up()
    film.take(700)
    page.click(".wg-done")
    page.wait_for_selector(".wg-stage", state="hidden")
    before = set(panel.ids())
    panel.text.press("Enter")
    changed = panel.new_turn(before)
    changed.locator(".wg-preview, .wg-picture").first.wait_for()
    film.take(700)
    panel.wait(changed)
    page.wait_for_timeout(1500)
    film.take(2200)
    changed.locator(".wg-compare-open").click()
    slider = page.locator(".wg-compare input")
    slider.wait_for()
    page.wait_for_timeout(800)
    for place in (50, 35, 20, 50, 80):
        slider.fill(str(place))
        page.wait_for_timeout(150)
        film.take(450)
    film.take(1500)
    page.keyboard.press("Escape")
    film.save(path)


def thumbnail(pictures: list[Image.Image]) -> Image.Image:
    """The pictures side by side: up to three in a row, four and nine as a square, eight in two rows."""
    columns = len(pictures) if len(pictures) < 4 else math.ceil(len(pictures) / math.isqrt(len(pictures)))
    side = THUMBNAIL // columns
    sheet = Image.new("RGB", (columns * side, math.ceil(len(pictures) / columns) * side))
    for number, picture in enumerate(pictures):
        small = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(small, (number % columns * side, number // columns * side))
    return sheet


def picture_of_graph(frontend: FrontEnd, workflow: dict) -> Image.Image:
    """The nodes of a workflow but its notes, as the front end shows them."""
    page = frontend.page
    nodes = [node for node in workflow["nodes"] if node["type"] != "MarkdownNote"]
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
    frontend.load(workflow | {"nodes": nodes, "groups": []})
    page.evaluate("() => window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(2000)
    # Not as large as fits: bars of the page lie over its edges. The missing checkpoint is marked in red.
    page.evaluate(
        """() => {
            const { canvas, graph } = window.app
            canvas.ds.changeScale(canvas.ds.scale * 0.8)
            for (const node of graph.nodes) Object.assign(node, { has_errors: false, strokeStyles: {} })
            canvas.setDirty(true, true)
        }"""
    )
    page.wait_for_timeout(1000)
    boxes = "() => window.app.graph.nodes.map((node) => [...window.app.canvasPosToClientPos(node.pos), ...node.size])"
    scale = page.evaluate("() => window.app.canvas.ds.scale")
    places = [(x, y - 30 * scale, x + wide * scale, y + high * scale) for x, y, wide, high in page.evaluate(boxes)]
    lefts, uppers, rights, lowers = zip(*places, strict=True)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    cut = shot.crop((round(min(lefts)) - 10, round(min(uppers)) - 10, round(max(rights)) + 10, round(max(lowers)) + 10))
    cut.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return cut


def take_thumbnails(frontend: FrontEnd, client: ComfyClient) -> None:
    for path in sorted(TEMPLATES.glob("*.json")):
        if path.name.startswith(OF_THE_STOCK):
            continue
        workflow = json.loads(path.read_text(encoding="utf-8"))
        if path.name.startswith(AS_GRAPHS):
            picture_of_graph(frontend, workflow).save(path.with_suffix(".jpg"), quality=88)
            continue
        prompt = frontend.api_prompt(workflow)
        shown = SHOWN.get(path.stem, ("SaveImage",))
        names = sorted((name for name, one in prompt.items() if one["class_type"] in shown), key=int)
        for name in names if "SaveImage" not in shown else ():
            prompt[f"{name}0000"] = {"class_type": "PreviewImage", "inputs": {"images": [name, 0]}}
        result = client.run(prompt)
        assert (result.status, result.errors) == ("success", []), path
        ends = names if "SaveImage" in shown else [f"{name}0000" for name in names]
        pictures = [image for end in ends for image in client.images(result, end)]
        thumbnail(pictures).save(path.with_suffix(".jpg"), quality=88)


def main() -> int:
    install, browser = HostInstall.find(), find_browser()
    if install.problem or not browser:
        print(install.problem or "There is no Chromium; set CHROMIUM_PATH.")
        return 1
    with (
        TemporaryDirectory() as folder,
        ComfyServer(install, Path(folder)) as server,
        running(browser) as chromium,
        FrontEnd(server.url, chromium) as frontend,
    ):
        page = frontend.page
        theme(page, "dark")
        panel = ChatPanel(page, server.url).open()
        film_chat(panel, PICTURES / "chat.gif")
        page.set_viewport_size({"width": 1600, "height": 1000})
        page.evaluate(PANEL_WIDTH, "560px")
        panel.turns.last.locator(".wg-workflow").click()
        page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'WeGenRefine')")
        page.wait_for_timeout(2000)
        save_jpeg(page, PICTURES / "chat-panel-dark.jpg", 1200)
        theme(page, "light")
        save_jpeg(page, PICTURES / "chat-panel-light.jpg", 1200)
        theme(page, "dark")
        page.click(".wg-paint-open")
        panel.at_rest(page.locator(".wg-stage canvas.paint"))
        save_jpeg(page, PICTURES / "mask-painter-dark.jpg", 1000)
        take_thumbnails(frontend, ComfyClient(server.url))
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
        assert path.stat().st_size <= LARGEST, f"{path.name} is too large for the README."
    return 0


if __name__ == "__main__":
    sys.exit(main())
