"""Generated inputs to the nodes' execute: each works, or says to users what is wrong; no other error, no hang.

A few run by default; `WEGEN_FUZZ=1000` sets how many.
"""

import json
import os
from pathlib import Path

from comfyui_wegen.models.bundled import BUNDLED
from support import HANGS, REPOSITORY
from tiny import write_packed

EXAMPLES = int(os.environ.get("WEGEN_FUZZ", "60"))
SCRIPT = Path(__file__).parent / "scripts" / "fuzz.py"
CHAT = REPOSITORY / "tests" / "files" / "v0.1" / "chat.safetensors"


def test_nodes_work_or_say_what_to_do(host_python, tmp_path):
    folder = write_packed(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    config["templates"]["rewrite_limit"] = 6  # random words never end by themselves
    (folder / "config.json").write_text(json.dumps(config))
    found = host_python(SCRIPT, folder, CHAT, 0, EXAMPLES, timeout=HANGS + 20 * EXAMPLES)
    print(found["counts"])
    assert not found["failures"], "\n\n".join("\n".join(map(str, failure)) for failure in found["failures"])
    if EXAMPLES >= 60:
        assert any(count.endswith("worked") for count in found["counts"])


def test_an_empty_batch_is_nothing_to_ask_about(host_python):
    """Without an answer the host would end in the node behind it, by an index out of range."""
    said = host_python(
        """
import json, sys, torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.wegen_nodes.ask import WeGenAsk
from comfyui_wegen.wegen_nodes.host.bundle import WeGenBundle
try:
    print(json.dumps(WeGenAsk.execute(WeGenBundle(sys.argv[1]), "what is there?", torch.zeros(0, 8, 8, 3)).result))
except WeGenError as error:
    print(json.dumps(str(error)))
""",
        BUNDLED,
    )
    assert said == "There is no picture to ask about: the batch is empty."
