"""The front end's plain functions, tested by Node's own runner."""

import json
import shutil
import subprocess

import pytest
from support import HANGS, NOT_RUN, REPOSITORY

# Older ones do not take a .js file for a module by what is in it.
OLDEST_NODE = (20, 19)


def find_node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip(f"{NOT_RUN}JavaScript tests, there is no node")
    version = json.loads(subprocess.check_output([node, "-p", "JSON.stringify(process.versions.node)"], timeout=HANGS))
    if tuple(map(int, version.split(".")[:2])) < OLDEST_NODE:
        pytest.skip(f"{NOT_RUN}JavaScript tests, node is {version} and must be {'.'.join(map(str, OLDEST_NODE))}")
    return node


def test_javascript():
    files = sorted((REPOSITORY / "tests" / "js").glob("*.test.js"))
    assert files
    command = [find_node(), "--test", *map(str, files)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=HANGS)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-5_000:]
