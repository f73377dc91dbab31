"""Generated inputs to the nodes' execute: each works, or says to users what is wrong; no other error, no hang.

A few run by default; `WEGEN_FUZZ=1000` sets how many.
"""

import json
import os
from pathlib import Path

import pytest
from support import HANGS, REPOSITORY
from tiny import write_packed

EXAMPLES = int(os.environ.get("WEGEN_FUZZ", "60"))
SCRIPT = Path(__file__).parent / "scripts" / "fuzz.py"
CHAT = REPOSITORY / "tests" / "files" / "v0.1" / "chat.safetensors"


@pytest.fixture(scope="module")
def found(host_processes, tmp_path_factory):
    """What the script found, in one process for all tests here."""
    base = tmp_path_factory.mktemp("fuzz")
    folder = write_packed(base / "tiny")
    config = json.loads((folder / "config.json").read_text())
    config["templates"]["rewrite_limit"] = 6  # random words never end by themselves
    (folder / "config.json").write_text(json.dumps(config))
    return host_processes.run(base, SCRIPT, folder, CHAT, 0, EXAMPLES, timeout=HANGS + 20 * EXAMPLES)


def test_nodes_work_or_say_what_to_do(found):
    print(found["counts"])
    assert not found["failures"], "\n\n".join("\n".join(map(str, failure)) for failure in found["failures"])
    if EXAMPLES >= 60:
        assert any(count.endswith("worked") for count in found["counts"])


def test_an_empty_batch_is_nothing_to_ask_about(found):
    assert found["empty batch"] == "There is no picture to ask about: the batch is empty."


def test_inputs_that_are_none_are_named(found):
    said, vendi = found["none"]
    assert len(said) == 21
    for name, message in said:
        assert message.startswith(f"The {name} is None; it must be ") and "wired in there" in message, (name, message)
    assert vendi == 1, "an optional model that is None is none"


def test_masks_of_other_packs_have_other_axes(found):
    assert found["masks"] == [[1, 5, 7], [2, 5, 7], [2, 5, 7], [2, 5, 7], [3, 7, 1]]
