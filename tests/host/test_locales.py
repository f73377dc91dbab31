"""The pack's translations, as the host serves them: each names nodes, inputs and commands that there are."""

import json

import pytest
from support import REPOSITORY

from .server import PACK_NAME

NODE_DEFS = sorted((REPOSITORY / "locales").glob("*/nodeDefs.json"))


def test_the_host_serves_them(client):
    served = client.get("/i18n").json()
    for path in (REPOSITORY / "locales").glob("*/*.json"):
        written = json.loads(path.read_text(encoding="utf-8"))
        told = served[path.parent.name][path.stem]
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


def test_all_languages_have_the_same_commands():
    files = (REPOSITORY / "locales").glob("*/commands.json")
    commands = [set(json.loads(path.read_text(encoding="utf-8"))) for path in files]
    assert len(commands) > 1 and all(names == commands[0] for names in commands)
