"""Parts are read when they are used and left when the host asks; what goes wrong is said, and the next run works."""

import sys
from pathlib import Path

import pytest
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.random_weights import make_random

from .install import needs_8_bits

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("dtype", ["bf16", pytest.param("int8", marks=needs_8_bits)])
def test_parts_come_and_go(host_python, tmp_path, dtype):
    folder = make_random(tmp_path / "made", "tiny")
    if dtype != "bf16":
        folder = convert(folder, tmp_path / dtype, dtype)
    found = host_python(SCRIPTS / "lazy_parts.py", folder, timeout=900)
    assert found["opened"] == []
    assert found["written"] == ["language"]
    assert found["all"] == ["vision", "language", "unet", "vae"]
    for name, (planned, held) in found["sizes"].items():
        assert 0 < held <= planned <= held + 50_000, name  # the host adds the noise levels
    assert found["unloaded"] == [] and found["meta"]
    if dtype == "bf16":  # layers that may be quantised need memory of their own first
        assert all(0.9 < most < 1.7 for most in found["reading"].values()), found["reading"]
    assert found["painted"] == ["unet"]
    assert all(found["same"]), found["same"]
    assert found["patched"] > 0 and found["unpatched"]
    assert found["little room"] == ["unet"]
    assert found["listed"] == ["language"]
    assert found["both"] == found["both again"] == ["language", "unet"]
    assert found["neither"] == ["vision"]
    assert found["no room"][0] == "WeGenError" and "wegen convert" in found["no room"][1]
    assert found["no room in the container"] == found["no room"]
    assert found["room again"]
    assert found["cancelled"][0] == "InterruptProcessingException"
    assert found["after cancel"] == [[], True]
    assert found["out of memory"][0] == "OutOfMemoryError" and "reading the language model" in found["out of memory"][1]
    assert found["after out of memory"] == [[], True]
    for work, said in (
        ("writing", {"ask": "answering a question", "rewrite": "writing rewrites", "generate": "making pictures"}),
        ("looking", dict.fromkeys(found["out of memory in looking"], "looking at pictures")),
    ):
        for node, (kind, message) in found[f"out of memory in {work}"].items():
            assert kind == "OutOfMemoryError" and f"Memory ran out while {said[node]}" in message, (work, node)
    assert found["nodes after"] == [None, None]
    sampling = found["out of memory in sampling"]
    assert sampling[0] == "OutOfMemoryError" and "painting 1 x" in sampling[1] and found["sampled after"]
    for name, (kind, said) in zip(("MODEL", "VAE"), found["of another model"], strict=True):
        assert kind == "WeGenError" and said.startswith(f"The {name} is of another checkpoint than WEGEN")
    assert found["gone"][0] == "WeGenError" and "no longer there" in found["gone"][1]
    assert found["back"]
    assert found["changed"][0] == "WeGenError" and "was changed" in found["changed"][1]
    assert found["loaded anew"] and not found["mapped"]
    assert found["saved"]
    assert found["remembered"] == [10, 9]
    assert found["asked with"] == [6, 6]
    assert found["painters"] == ["b", "d"]
    # Nodes that save something would run for ever.
    assert found["wired names"] == [True, True, True, True, False, False, False]
    assert found["asked for"][0] == found["asked for"][1]
    assert found["prefixes"][0] and found["prefixes"][1] == 0
    assert found["beside weights on demand"] == "cpu"
    if sys.platform == "linux":
        assert found["given back"] > 300e6


def test_a_load_that_fails_says_why_and_the_next_one_works(host_python, tmp_path):
    found = host_python(SCRIPTS / "failed_loads.py", make_random(tmp_path / "made", "tiny"))
    for name, ((kind, said), after) in found["vae"].items():
        assert kind == "OutOfMemoryError" and "reading the vae" in said, name
        assert after is None, name
    assert found["patched"]["failed"] and not found["patched"]["present"]
    assert found["patched"]["added"] == pytest.approx([1, 1], abs=1e-4)


@needs_8_bits
def test_parts_hold_their_weights_as_it_was_asked_for(host_python, tmp_path):
    """Under DynamicVRAM, which is usual on cards, the host's layers have no weights before they are loaded."""
    published = make_random(tmp_path / "published", "tiny", published=True)
    packed = [make_random(tmp_path / "bf16", "tiny")]
    packed += [convert(packed[0], tmp_path / dtype, dtype) for dtype in ("int8", "w4a8")]
    found = host_python(SCRIPTS / "on_demand.py", published, *packed)
    assert found["types"] == {"fp32": ["torch.float32"], "fp16": ["torch.float16"], "bf16": ["torch.bfloat16"]}
    if "same" not in found:  # a host without DynamicVRAM
        return
    for number, parts in enumerate(found["same"]):
        assert parts.keys() == {"vision_encoder", "language_model", "unet"}
        for name, (whole_numbers, *same) in parts.items():
            assert (whole_numbers > 0) == (number > 1) and same == [True, True], (number, name)
    assert all(map(all, found["copies"])), found["copies"]
    of_published, of_packed = found["vae"]
    assert of_published == [False, True, True, True] and of_packed == [True, True, True, True]
    for part in ("language_model", "unet"):
        said = found[part]
        assert said["cancelled"][0] == "InterruptProcessingException"
        assert said["gone"][0] == "WeGenError" and "no longer there" in said["gone"][1]
        assert said["unchanged"] is None
        assert said["changed"][0] == "WeGenError" and "was changed" in said["changed"][1]
        assert said["memory"][0] == "OutOfMemoryError"
        assert f"reading the {part.replace('_', ' ')}" in said["memory"][1]
    # A published folder has nothing that the host could map: its parts are read one by one, where there is room.
    for name, (kind, said) in found["without room"].items():
        assert kind == "WeGenError" and "wegen convert" in said, name
    assert found["interrupted"] == ["InterruptProcessingException", "", 3]


def test_single_tokens_may_be_attended_to_by_the_hosts_own_function(host_python, tmp_path):
    """No machine here has a card: what it is asked is seen, and that it is asked only where it can be done."""
    found = host_python(SCRIPTS / "decode_attention.py", make_random(tmp_path / "made", "tiny"))
    assert found == {name: True for name in found}
    assert len(found) >= 4
