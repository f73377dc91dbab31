"""The pack's translations, as the host serves them: each names nodes, inputs and commands that there are."""

import json
import re

import pytest
from support import REPOSITORY

from .server import PACK_NAME

NODE_DEFS = sorted((REPOSITORY / "locales").glob("*/nodeDefs.json"))


def test_the_host_serves_them(client):
    served = client.get("/i18n").json()
    for path in (REPOSITORY / "locales").glob("*/*.json"):
        written = json.loads(path.read_text(encoding="utf-8"))
        told = served[path.parent.name]
        if path.stem != "main":
            told = told[path.stem]
        assert {name: told.get(name) for name in written} == written, (PACK_NAME, path)


@pytest.mark.parametrize("path", NODE_DEFS, ids=lambda path: path.parent.name)
def test_they_name_what_there_is(path, client):
    nodes = client.object_info()
    for name, told in json.loads(path.read_text(encoding="utf-8")).items():
        node = nodes[name]
        known = {*node["input"].get("required", {}), *node["input"].get("optional", {})}
        assert set(told["inputs"]) <= known
        assert all(int(number) < len(node["output"]) for number in told["outputs"])
        assert told["display_name"] and told["description"]
        explained = {
            name
            for part in node["input"].values()
            for name, spec in part.items()
            if isinstance(spec, list) and len(spec) > 1 and spec[1].get("tooltip")
        }
        assert explained == {name for name, texts in told["inputs"].items() if texts.get("tooltip")}
        explained = {str(number) for number, text in enumerate(node.get("output_tooltips") or ()) if text}
        assert explained == {number for number, texts in told["outputs"].items() if texts.get("tooltip")}


def test_chinese_has_its_own_punctuation():
    for path in (REPOSITORY / "locales" / "zh").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"[\u4e00-\u9fff] ?[,;:?!(].{0,8}|.{0,8}[,;:?!][\u4e00-\u9fff]", text), path


@pytest.mark.parametrize(
    "path", [path for path in (REPOSITORY / "locales").glob("*/*.json") if path.stem != "main"], ids=str
)
def test_no_text_has_signs_that_the_front_end_reads_otherwise(path):
    """Its texts may refer to others by an @ and have several forms beside a |. ComfyUI 0.25 does not start where one
    does so by mistake; `main.json` is the panel's own, which puts names for what is in braces."""

    def texts(value):
        if isinstance(value, str):
            yield value
        else:
            for one in value.values():
                yield from texts(one)

    found = list(texts(json.loads(path.read_text(encoding="utf-8"))))
    assert found and not [text for text in found if re.search(r"[@|{}]", text.replace("{'@'}", ""))]


def test_all_languages_have_the_same_commands():
    files = (REPOSITORY / "locales").glob("*/commands.json")
    commands = [set(json.loads(path.read_text(encoding="utf-8"))) for path in files]
    assert len(commands) > 1 and all(names == commands[0] for names in commands)


def test_all_languages_say_all_that_the_panel_says():
    files = (REPOSITORY / "locales").glob("*/main.json")
    languages = [json.loads(path.read_text(encoding="utf-8"))["wegen"] for path in files]
    assert len(languages) > 1
    for texts in languages:
        assert texts.keys() == languages[0].keys()
        assert all(texts.values())
        for key, text in texts.items():  # what is filled in
            assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", languages[0][key])), key
    scripts = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "js").rglob("*.*js"))
    said = set(re.findall(r"\b(?:t|say)\(\"([\w.]+)\"", scripts))
    said |= {
        f"mask.{name}"
        for name in re.findall(r"^  (\w+):", scripts.split("export const LABELS = {")[1].split("};")[0], re.M)
    }
    assert said and said <= languages[0].keys(), said - languages[0].keys()
