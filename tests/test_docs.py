"""The README and the pages in `docs/` tell the truth: links lead somewhere, JSON is read, and commands are known.

Those of two pages run as they stand there, cheaply.
"""

import io
import json
import re
import shlex
import tarfile
from itertools import islice
from urllib.parse import unquote

import pytest
from comfyui_wegen.models.cli import _parser, main
from comfyui_wegen.models.cli.train import NANO_RECIPES
from comfyui_wegen.models.data import stream
from comfyui_wegen.models.data.diic.pipeline import truth_pipeline
from comfyui_wegen.models.data.shards import add_file
from comfyui_wegen.models.training.conversations import has_words
from comfyui_wegen.models.training.recipe import Recipe, build
from comfyui_wegen.models.training.sources import DataOptions
from PIL import Image
from support import NOT_RUN, REPOSITORY

TEACH, VIDEOS = (REPOSITORY / "docs" / name for name in ("teach-wegen-your-world.md", "videos.md"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
CHEAP = {
    "wegen data --recipe": ["--samples", "24"],
    "wegen data films": ["--films", "1", "--shots", "1", "--seconds", "2"],
    "wegen train": ["--until", "1", "--threads", "1"],
    "wegen generate": ["--steps", "2"],
    "wegen eval": ["--cases", "2"],
}
"""What is put behind a command that begins so, to make it fast; the last of several equal options counts."""


def blocks(page, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)


def commands(page):
    """The lines that begin with `wegen`, those that end with a backslash joined."""
    lines = (line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines())
    return [" ".join(line.split()) for line in lines if line.strip().startswith("wegen ")]


def run_all(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for command in commands(page):
        cheap = next((extra for begin, extra in CHEAP.items() if command.startswith(begin)), [])
        # Without a LoRA, or with one that was trained for a step, the model answers that it cannot draw that.
        right = (0, 3) if command.startswith("wegen generate") else (0,)
        assert main([*shlex.split(command, comments=True)[1:], *cheap]) in right, command


def anchors(page):
    """The names by which links find the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_and_links_lead_somewhere(path):
    page = path.read_text(encoding="utf-8")
    for command in commands(page):
        _parser().parse_args(shlex.split(command, comments=True)[1:])
    for link in re.findall(r"\]\(([^)\s]+)\)", page):
        if "://" in link:
            continue
        name, _, anchor = unquote(link).partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.slow
def test_the_way_from_three_clips_to_a_lora(tmp_path, monkeypatch, capsys):
    for package in ("av", "scenedetect", "peft", "accelerate"):
        pytest.importorskip(package, reason=f"{NOT_RUN}the page of LoRAs, the package {package} is not installed")
    page, rest = TEACH.read_text(encoding="utf-8").split("## The published weights")
    run_all(page, tmp_path, monkeypatch)
    # How many come of a video hangs on the versions of what decodes and cuts it.
    said = re.search(r"(\d+) samples of 9 clips, 0 clips rejected \(3 videos\)", capsys.readouterr().out)
    assert said and int(said[1]) >= 30
    for made in ("world/report.html", "sheets/rocket.png", "again/rocket_unet.safetensors"):
        assert (tmp_path / made).is_file(), made
    for folder in ("rocket-lora", "pictures-lora"):
        for part in ("unet", "language_model"):
            assert (tmp_path / folder / f"rocket_{part}.safetensors").is_file()
            assert f"{part}.json" in page
    recipe = build(Recipe, json.loads((tmp_path / "rocket-lora" / "language_model.json").read_text()), "recipe")
    assert [bool(entry.get("keep")) for entry in recipe.data] == [False, False, False, True]
    assert recipe.data[-1]["without"] == "rocket"
    for command in commands(rest):
        _parser().parse_args(shlex.split(command)[1:])


def test_the_way_from_films_to_samples(tmp_path, monkeypatch, capsys):
    for package in ("av", "scenedetect"):
        pytest.importorskip(package, reason=f"{NOT_RUN}the page of videos, the package {package} is not installed")
    first, *others = VIDEOS.read_text(encoding="utf-8").split("With models from your disk:")
    run_all(first, tmp_path, monkeypatch)
    assert (tmp_path / "shards" / "report.html").is_file()
    for command in commands("".join(others)):
        _parser().parse_args(shlex.split(command, comments=True)[1:])


def test_json_of_the_pages_is_read():
    teach, videos = (page.read_text(encoding="utf-8") for page in (TEACH, VIDEOS))
    texts = blocks(teach, "json")
    data, _, _, recipe = (json.loads(text if text.startswith("{") else f"{{{text}}}") for text in texts)
    assert all(build(DataOptions, entry, "page") for entry in [*data["data"], *recipe["data"], *recipe["held_out"]])
    assert build(Recipe, recipe, "page").steps
    assert recipe == json.loads((NANO_RECIPES.parent / "paper" / "stage_3.json").read_text())
    for text in blocks(videos, "json"):
        assert truth_pipeline().changed(json.loads(text))


def test_shards_that_are_written_as_the_page_says_are_read(tmp_path):
    _, index, document, _ = blocks(TEACH.read_text(encoding="utf-8"), "json")
    picture = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(picture, "PNG")
    [shard] = json.loads(index)["shards"]
    with tarfile.open(tmp_path / shard["name"], "w") as archive:
        for number in range(shard["samples"]):
            for name, content in (("json", document.encode()), ("0.png", picture.getvalue())):
                add_file(archive, f"{number:09d}.{name}", content)
    (tmp_path / "index.json").write_text(index)
    *_, sample = islice(stream(tmp_path, None), shard["samples"])
    assert [part.target for part in sample.parts] == [False, True, True]
    assert has_words(sample) and sample.pictures()[0].pixels.shape == (6, 8, 3)
