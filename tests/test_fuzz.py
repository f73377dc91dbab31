"""Generated command lines: each does its work, or ends with exit code 2 and one line that says what to do.

A few run by default; `WEGEN_FUZZ=1000` sets how many.
"""

import io
import json
import os
import shutil
import signal
from collections import Counter
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from comfyui_wegen.models import cli
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import HANGS, REPOSITORY
from tiny import write_packed

CODES: Counter[int] = Counter()
"""How the command lines ended."""
EXAMPLES = int(os.environ.get("WEGEN_FUZZ", "60"))
LONGEST = HANGS
"""Seconds after which one command counts as hanging; most take a tenth of one."""
CHAT = REPOSITORY / "tests" / "files" / "v0.1" / "chat.safetensors"
LINE = "wegen: "

# At and past limits, and what is no number. What is allowed but takes minutes (999 steps, huge pictures) is left out.
NO_NUMBERS = ("nan", "inf", "-inf", "1e999", "x", "", "٣", "1_0", "0x1", "99999999999999999999", "-0")
NUMBERS = (*NO_NUMBERS, "0", "1", "-1", "0.5", "2", "0.05", "0.049", "30", "30.1", "1e308", "-1e308", "1e-308")
SEEDS = st.one_of(
    st.sampled_from([-(2**63), -1, 0, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1, 2**64, 2**70]).map(str),
    st.integers().map(str),
    st.sampled_from(NO_NUMBERS),
)
COUNTS = ("1", "2", "3", "0", "-1", "1.5", "65", "1000000000", *NO_NUMBERS)
SIZES = ("16", "17", "32", "16x33", "40x24", "15", "0", "1", "16x8193", "999999999999", "-16", "x", "16x", "", "٣٢")
STEPS = (*("1", "2", "3") * 20, "0", "-1", "1000", *NO_NUMBERS)
WIDTHS = ("0", "1", "2", "512", "513", "-1", *NO_NUMBERS)
TEXTS = st.one_of(
    st.just("a red cat"),
    st.just("@cat on a roof"),
    st.text(max_size=60),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Mn", "So"]), max_size=20),
    st.sampled_from(
        [
            "@cat and @cat",
            "@nobody",
            "@@cat @",
            "",
            " \n\t",
            "<img><img_00000></img>",
            "</img><img>" * 30,
            "</s><s>[INST] x [/INST]",
            "{text}{pictures}{name}",
            "%s %(x)d",
            "\ud800",
            "\udcff cat \udfff",
            "\x00",
            "\u202e\u200d\ufeff",
            "猫 " * 300,
            "a" * 20_000,
            "-",
            "--seed=1",
        ]
    ),
)
PICTURES = ("rgb.png", "grey.png", "alpha.png", "dot.png", "thin.png", "deep.png", "text.png", "cut.png", "absent.png")
MASKS = ("white.png", "black.png", "half.png", "half.png", *PICTURES)
CHATS = (
    "chat.safetensors",
    "own.safetensors",
    "own.safetensors",
    "cut.safetensors",
    "empty.safetensors",
    "text.png",
    "absent.safetensors",
    "n" * 300,
    "",
)
FILES = ("--keep-mask", "--edit-mask", "--chat", "--begin-with", "--save-chat", "--json", "--out")


def option(name, *values):
    """The option with one of these values, or of those that a single strategy gives."""
    one = values[0] if isinstance(values[0], st.SearchStrategy) else st.sampled_from(values)
    return one.map(lambda value: [f"{name}={value}"])


def together(parts):
    return [word for part in parts for word in part]


# Ready-made parts of a command; those that mostly work stand here more than once.
MASK = st.one_of(option("--keep-mask", *MASKS), option("--edit-mask", *MASKS))
TURN = st.tuples(option("--refine", TEXTS), st.one_of(st.just([]), MASK)).map(together)
BEGUN = st.one_of(option("--begin-with", *PICTURES), option("--chat", *CHATS))
PART = st.one_of(
    TURN,
    TURN,
    TURN,
    st.tuples(BEGUN, MASK).map(together),
    BEGUN,
    MASK,
    option("--seed", SEEDS),
    option("--count", *COUNTS),
    option("--size", *SIZES),
    option("--guidance-scale", *NUMBERS),
    option("--feature-guidance", *NUMBERS, "10", "10.1"),
    option("--creativity", *NUMBERS),
    option("--temperature", *NUMBERS),
    option("--top-p", *NUMBERS),
    option("--strength", *NUMBERS),
    option("--threshold", *NUMBERS),
    option("--grow", *WIDTHS),
    option("--soften", *WIDTHS),
    option("--collection", "released", "x", ""),
    option("--reference", *(f"cat={name}" for name in PICTURES), "cat", "=x", "1=x", "a b=rgb.png", "\ud800=x"),
    option("--reference", *(f"cat={name}" for name in PICTURES), "@cat=rgb.png", "dog=rgb.png"),
    option("--save-chat", "saved", "saved", "text.png/saved", "", ".", "\udcff"),
    option("--json", "record.json", "record.json", "text.png/record", "", ".", "\udcff"),
    option("--out", "text.png", "\udcff", "\udcff", "n" * 300),
    option("--device", "cuda:99", "x", "", "meta"),
    st.sampled_from([["--no-rewrite"], ["--no-auto-mask"], ["--release", "--align", "--match-tone"]]),
)
OPTIONS = st.lists(PART, max_size=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The tiny checkpoint, whose random words never end by themselves, with short descriptions."""
    folder = write_packed(tmp_path_factory.mktemp("fuzz") / "tiny")
    config = json.loads((folder / "config.json").read_text())
    config["templates"]["rewrite_limit"] = 6
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """A folder of good and broken files."""
    folder = tmp_path_factory.mktemp("files")
    Image.radial_gradient("L").convert("RGB").resize((48, 40)).save(folder / "rgb.png")
    Image.radial_gradient("L").resize((33, 35)).save(folder / "grey.png")
    Image.new("RGBA", (40, 30), (200, 10, 10, 0)).save(folder / "alpha.png")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (1, 500), "red").save(folder / "thin.png")
    Image.new("I;16", (32, 32), 60_000).save(folder / "deep.png")
    Image.new("L", (32, 32), 255).save(folder / "white.png")
    Image.new("L", (32, 32), 0).save(folder / "black.png")
    half = Image.new("L", (32, 32), 0)
    half.paste(255, (0, 0, 16, 32))
    half.save(folder / "half.png")
    (folder / "text.png").write_text("not a picture")
    whole = (folder / "rgb.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    shutil.copy(CHAT, folder / "chat.safetensors")
    (folder / "cut.safetensors").write_bytes(CHAT.read_bytes()[:5000])
    (folder / "empty.safetensors").write_bytes(b"")
    own = folder / "own.safetensors"
    assert run(["a red cat", f"--model={model}", "--steps=1", f"--out={folder}", f"--save-chat={own}"])[0] == 0
    return folder


@contextmanager
def no_hang():
    def stop(*_):
        raise TimeoutError(f"Not done after {LONGEST} seconds.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(words):
    """Exit code and lines on stderr of `wegen generate` with these words, its output going to a terminal of UTF-8."""
    said, printed = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("backslashreplace", "strict"))
    with redirect_stderr(said), redirect_stdout(printed):
        try:
            code = cli.main(["generate", *words])
        except SystemExit as left:  # argparse, which says what is wrong with an option
            code = left.code
    said.seek(0)
    return code, said.read().splitlines()


def in_folders(words, files, out):
    """The words with names of files in the folder to read from, or the one to write to."""
    for word in words:
        name, _, value = word.partition("=")
        if name in FILES:
            folder = out if name in ("--save-chat", "--json", "--out") and "text.png" not in value else files
            yield f"{name}={folder / value if value else ''}"
        elif name == "--reference" and value.count("="):
            yield word.replace("=", f"={files}/").replace(f"={files}/", "=", 1)
        else:
            yield word


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs a clock that interrupts")
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(text=TEXTS, steps=st.sampled_from(STEPS), options=OPTIONS)
def test_generate_works_or_says_what_to_do(files, model, tmp_path_factory, text, steps, options):
    out = tmp_path_factory.mktemp("out")
    words = in_folders(together(options), files, out)
    try:
        with no_hang():
            code, said = run(
                [f"--out={out}", "--device=cpu", *words, f"--steps={steps}", f"--model={model}", "--", text]
            )
    finally:
        shutil.rmtree(out)
    event(f"exit code {code}")
    CODES[code] += 1
    assert code in (0, 2)
    if code == 2:
        assert sum(line.startswith(LINE) or "error: " in line for line in said) == 1
        assert len(said[-1]) > len(LINE)


@pytest.mark.slow
@pytest.mark.skipif(EXAMPLES < 60, reason="too few command lines for some of each kind")
def test_some_of_them_draw():
    """It stands behind the test above, whose command lines it counts."""
    if not CODES:
        pytest.skip("the command lines were not run")
    assert CODES[0] > 0 and CODES[2] > 0, CODES
