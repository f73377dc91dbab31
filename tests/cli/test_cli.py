"""The command line: exit codes, errors in one line, and pictures that say what they were made from."""

import argparse
import errno
import importlib.metadata
import io
import json
import math
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from comfyui_wegen.models import cli
from comfyui_wegen.models.checkpoints.lora import LowRank, write_lora
from comfyui_wegen.models.cli import common, demo, generate
from comfyui_wegen.models.cli.common import write_numbers
from comfyui_wegen.models.cli.train import NANO_RECIPES
from comfyui_wegen.models.data.shards import read_about
from comfyui_wegen.models.editing.open_turn import begin_unseen
from comfyui_wegen.models.engine import TurnRequest, planning
from comfyui_wegen.models.errors import AnsweredInWords, WeGenError, is_out_of_memory, naming
from comfyui_wegen.models.media.chat_file import load_chat, save_chat
from comfyui_wegen.models.options import OPTIONS
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.asking import ask
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from comfyui_wegen.models.training.recipe import read_recipe
from comfyui_wegen.models.values import AutoMask, Chat, References
from PIL import Image
from support import REPOSITORY


@pytest.fixture
def files(tmp_path):
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "cat.png")
    keep = Image.new("L", (32, 32), 0)
    keep.paste(255, (0, 0, 16, 32))
    keep.save(tmp_path / "keep.png")
    return tmp_path


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def terminal(monkeypatch):
    """As if stderr were one, so that progress bars are shown."""
    monkeypatch.setattr(common, "is_terminal", lambda: True)


def refused(capsys, *arguments):
    """The one line on stderr that a command ends with."""
    assert run(*arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("wegen: ")
    return error[0]


def test_help_and_version_load_nothing_heavy():
    code = (
        "import sys\nfrom comfyui_wegen.models import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit as e: print('left', e.code)\n"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'numpy', 'PIL') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "generate" in done.stdout and "left 0" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_lora_may_have_a_strength(tmp_path):
    odd = tmp_path / "x=1.safetensors"
    odd.touch()
    assert common._lora("a=0.5") == (Path("a"), 0.5)
    assert common._lora("a") == (Path("a"), 1.0)
    assert common._lora(str(odd)) == (odd, 1.0)
    with pytest.raises(argparse.ArgumentTypeError, match="FILE=STRENGTH"):
        common._lora("a=x")


def test_version(capsys, monkeypatch, tmp_path):
    with pytest.raises(SystemExit) as left:
        run("--version")
    assert left.value.code == 0
    written = re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert capsys.readouterr().out == f"wegen {written[1]}\n"
    monkeypatch.setattr(common, "PACK", tmp_path)  # as where it was installed from a wheel
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"that of {name}")
    assert common.package_version() == "that of wegen"


def test_the_change_log_and_the_version_agree():
    log = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    begun, *released = re.findall(r"^## (.+)$", log, re.MULTILINE)
    dates = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", one) for one in released]
    assert all(dates) and dates == sorted(dates, key=lambda one: one[2], reverse=True)
    version = common.package_version()
    if begun == "[Unreleased]":
        assert version.endswith(".dev0")
    else:
        assert begun.startswith(f"[{version}] - ")
    number = [tuple(map(int, one.split("."))) for one in (version.removesuffix(".dev0"), dates[0][1])]
    assert number[0] > number[1]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["generate", "--model", "m"],
        ["generate", "--model", "m", "x", "--size", "3x"],
        ["generate", "--model", "m", "x", "--count", "0"],
        ["generate", "--model", "m", "x", "--steps", "-1"],
        ["generate", "--model", "m", "x", "--reference", "cat"],
        ["generate", "--model", "m", "x", "--reference", "=cat.png"],
        ["generate", "--model", "m", "x", "--keep-mask", "a.png", "--keep-mask", "b.png"],
        ["generate", "--model", "m", "x", "--steps", "1000"],
        ["generate", "--model", "m", "x", "--creativity", "1.1"],
        ["generate", "--model", "m", "x", "--seed", "some"],
        ["generate", "--model", "m", "x", "--refine", "y", "--keep-mask", "a.png", "--keep-mask", "b.png"],
        ["generate", "--model", "m", "x", "--collection", "both"],
        ["generate", "--model", "m", "x", "--guidance-scale", "inf"],
        ["generate", "--model", "m", "x", "--guidance-scale", "-1"],
        ["data", "--out", "d", "--samples", "0"],
        ["convert", "a", "b", "--dtype", "int3"],
        ["generate", "--model", "m", "x", "--size", "0"],
        ["generate", "--model", "m", "x", "--size", "10x99999"],
        ["train", "nano", "--threads", "-1"],
        ["train", "nano", "--threads", "9" * 30],
        ["bench", "--threads", "9" * 30],
        ["data", "video", "a", "--out", "d", "--truth", "--rate", "0"],
        ["data", "video", "a", "--out", "d", "--truth", "--rate", "nan"],
        ["bench", "--json", "."],
        ["bench", "--plot", "bench.jpeg"],
        ["eval", "nano", "--json", f"{__file__}/numbers.json"],
        ["eval", "consistency", "--plot", "plot"],
        ["eval", "rewriting", "--json", "."],
    ],
)
def test_commands_that_make_no_sense(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    assert "usage: wegen" in capsys.readouterr().err


def test_a_run_that_nothing_can_be_written_to_does_not_begin(tmp_path, capsys, monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.setattr("comfyui_wegen.models.cli.train.run_stage", lambda *_: pytest.fail("it began"))
    (tmp_path / "file").touch()
    assert run("train", "nano", "--out", tmp_path / "file") == 2
    assert f"Cannot write to {tmp_path / 'file'}: File exists" in capsys.readouterr().err


@pytest.mark.slow
def test_two_turns_with_everything(packed_dir, files, capsys, monkeypatch, terminal):
    # A model of random numbers follows no order; whatever it paints has to come through here.
    monkeypatch.setattr(planning, "outcome", lambda *_: "followed")
    out = files / "new" / "out"
    command = [
        *("generate", "a red @cat ü €", "--model", packed_dir, "--out", out),
        *("--reference", f"cat={files / 'cat.png'}", "--seed", 5, "--count", 2, "--steps", 2, "--size", 32),
        *("--rewrite", "--temperature", "1.5", "--guidance-scale", 3, "--feature-guidance", 1.5),
        *("--collection", "released"),
        *("--refine", "make it night", "--keep-mask", files / "keep.png", "--refine", "as @cat"),
    ]
    assert run(*command) == 0
    names = [f"turn{turn}_seed{seed}.png" for turn in (1, 2, 3) for seed in (5, 6)]
    assert sorted(path.name for path in out.iterdir()) == names
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines() if line.startswith(str(out))] == [
        str(out / name) for name in names
    ]
    assert "words:" in captured.err
    assert "features: 100%" in captured.err and "painting: 100%" in captured.err

    texts = [Image.open(out / name).text for name in names]
    assert [text["seed"] for text in texts] == ["5", "6"] * 3
    assert [text["turn"] for text in texts] == ["1", "1", "2", "2", "3", "3"]
    assert [text["references"] for text in texts] == ["cat", "cat", "", "", "cat", "cat"]
    assert texts[0]["instruction"] == "a red @cat ü €"
    assert texts[0]["rewrite"] != texts[1]["rewrite"]
    settings = json.loads(texts[0]["settings"])
    assert (settings["steps"], settings["guidance_scale"], settings["feature_guidance"]) == (2, 3.0, 1.5)
    assert settings["collection"] == "released"
    turns = json.loads(texts[3]["wegen"])  # the chat went on with the first picture of the first turn
    assert [(turn["instruction"], turn["seed"]) for turn in turns] == [("a red @cat ü €", 5), ("make it night", 6)]
    assert [turn["rewrite"] for turn in turns] == [texts[0]["rewrite"], texts[3]["rewrite"]]

    first, second = (np.asarray(Image.open(out / name)).astype(int) for name in (names[0], names[3]))
    assert first.shape == (32, 32, 3)
    assert abs(first - second)[:, :16].max() == 0
    assert abs(first - second)[:, 16:].max() > 0

    before = {name: (out / name).read_bytes() for name in names}
    assert run(*command) == 0
    # Nothing is overwritten, and the same command gives the same pictures.
    assert len(list(out.iterdir())) == 12
    for name, content in before.items():
        assert (out / name).read_bytes() == content
        assert (out / name.replace(".png", "_2.png")).read_bytes() == content


def test_a_chat_goes_on_where_it_was_saved(packed_dir, tmp_path, capsys):
    common = ["--model", str(packed_dir), "--out", str(tmp_path), "--steps", "2"]
    saved = tmp_path / "chat.safetensors"
    assert cli.main(["generate", "a cat", "--refine", "a moon", "--save-chat", str(saved), *common]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(saved)
    arguments = ["--chat", str(saved), "--save-chat", str(tmp_path / "more"), "--no-auto-mask"]
    assert cli.main(["generate", "a boat", *arguments, *common]) == 0
    before, after = load_chat(saved), load_chat(tmp_path / "more.safetensors")
    assert after.rewind(2) == before and after.last.instruction == "a boat"
    assert before.last.settings.auto_mask == AutoMask() and after.last.settings.auto_mask is None
    assert cli.main(["generate", "a boat", "--size", "64", *arguments, *common]) == 2
    assert "--size goes with new pictures only" in capsys.readouterr().err


def test_finished_turns_are_kept_whatever_happens_after_them(packed_dir, tmp_path, monkeypatch):
    turns = iter(range(5))
    take_turn = Pipeline.take_turn

    def interrupted(*arguments):
        if next(turns) == 2:
            raise KeyboardInterrupt
        return take_turn(*arguments)

    monkeypatch.setattr(Pipeline, "take_turn", interrupted)
    chat, report = tmp_path / "chat.safetensors", tmp_path / "report.json"
    command = ["generate", "a cat", "--refine", "a moon", "--refine", "a boat", "--count", 2, "--pick", 2]
    kept = ["--save-chat", chat, "--json", report, "--no-auto-mask"]
    assert run(*command, *kept, "--model", packed_dir, "--out", tmp_path / "out", "--steps", 1) == 130
    assert [turn.instruction for turn in load_chat(chat).turns] == ["a cat", "a moon"]
    assert load_chat(chat).last.picked == 0
    record = json.loads(report.read_text("utf-8"))
    assert record["chat"] == str(chat)
    files = [picture["file"] for turn in record["turns"] for picture in turn["pictures"]]
    assert len(files) == 4 and all(Image.open(file).size == (32, 32) for file in files)


def test_a_report_to_stdout_tells_of_finished_turns_whatever_happens_after_them(
    packed_dir, tmp_path, monkeypatch, capsys
):
    turns, take_turn = iter(range(5)), Pipeline.take_turn

    def failing(*arguments):
        if next(turns) == 1:
            raise WeGenError("no more")
        return take_turn(*arguments)

    monkeypatch.setattr(Pipeline, "take_turn", failing)
    command = ["generate", "a cat", "--refine", "a moon", "--json", "-", "--model", packed_dir, "--out", tmp_path]
    assert run(*command, "--steps", 1) == 2
    captured = capsys.readouterr()
    assert [turn["instruction"] for turn in json.loads(captured.out)["turns"]] == ["a cat"]
    assert "no more" in captured.err


def test_pictures_are_picked_and_turns_gone_back_to(packed_dir, tmp_path, capsys):
    chat = tmp_path / "story"
    common = ["--model", packed_dir, "--out", tmp_path, "--steps", 1, "--no-auto-mask", "--save-chat"]
    assert run("generate", "a cat", "--count", 3, "--pick", 2, "--refine", "a moon", "--pick", 3, *common, chat) == 0
    assert [turn.picked for turn in load_chat(chat).turns] == [1, 2]
    assert run("generate", "a boat", "--chat", chat, "--turn", 1, "--picture", 3, *common, tmp_path / "b") == 0
    assert [turn.picked for turn in load_chat(tmp_path / "b").turns] == [2, 0]
    draw = ["generate", "x", "--model", packed_dir, "--out", tmp_path]
    capsys.readouterr()
    assert "pictures 1 to 3" in refused(capsys, *draw, "--chat", chat, "--picture", 4)
    assert "give it with --chat" in refused(capsys, *draw, "--turn", 1)
    assert "--count gives pictures 1 to 2" in refused(capsys, *draw, "--count", 2, "--pick", 3)
    assert "There is no chat" in refused(capsys, *draw, "--chat", tmp_path / "none")
    assert "is a folder" in refused(capsys, *draw, "--chat", tmp_path)
    assert run("ask", "what is there?", "--chat", chat, "--model", packed_dir) == 0


def test_a_mask_of_labels_is_refused(packed_dir, files, capsys):
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(files / "labels.png")
    draw = ["generate", "x", "--model", packed_dir, "--out", files, "--begin-with", files / "cat.png"]
    assert "brightest value is 1, and white is 255" in refused(capsys, *draw, "--keep-mask", files / "labels.png")


def test_a_question_is_about_something(packed_dir, capsys):
    assert "--reference NAME=FILE" in refused(capsys, "ask", "what is there?", "--model", packed_dir)


@pytest.mark.parametrize("name", ["notes.txt", "list.json", "words.json", "true.json", "deep.json", "n" * 300])
def test_numbers_take_the_place_of_numbers_alone(tmp_path, capsys, name):
    contents = {
        "notes.txt": "mine",
        "list.json": "[1]",
        "words.json": '{"a": "b"}',
        "true.json": '{"a": true}',
        "deep.json": "[" * 100_000,
    }
    if name in contents:
        (tmp_path / name).write_text(contents[name])
    with pytest.raises(SystemExit) as ended:
        run("eval", "nano", "--json", tmp_path / name)
    assert ended.value.code == 2 and name in capsys.readouterr().err
    assert all((tmp_path / name).read_text() == contents[name] for name in contents if (tmp_path / name).exists())
    (tmp_path / "numbers.json").write_text('{"a": 1.5, "b": null}')
    assert common.output_numbers(str(tmp_path / "numbers.json")) == tmp_path / "numbers.json"


def test_a_plot_takes_the_place_of_a_png_alone(tmp_path):
    (tmp_path / "mine.png").write_text("no picture")
    with pytest.raises(argparse.ArgumentTypeError, match="no PNG"):
        common.output_picture(str(tmp_path / "mine.png"))
    Image.new("RGB", (1, 1)).save(tmp_path / "plot.png")
    assert common.output_picture(str(tmp_path / "plot.png")).name == "plot.png"


def test_other_files_are_not_written_over(packed_dir, files, capsys):
    draw = ["generate", "x", "--model", packed_dir, "--out", files]
    weights, text = packed_dir / "vae.safetensors", files / "notes.txt"
    text.write_text("mine")
    before = weights.read_bytes()
    assert "is no chat" in refused(capsys, *draw, "--save-chat", weights)
    story = files / "story"
    begun = ["generate", "x", "--refine", "y", "--no-auto-mask", "--model", packed_dir, "--out", files, "--steps", 1]
    assert run(*begun, "--save-chat", story) == 0
    whole = load_chat(story)
    assert "is a chat already" in refused(capsys, *draw, "--save-chat", story)
    # Nor would turns be lost that are gone back from.
    assert "is a chat already" in refused(capsys, *draw, "--chat", story, "--turn", 1, "--save-chat", story)
    assert load_chat(story) == whole
    assert "is no report" in refused(capsys, *draw, "--json", text)
    assert "names no file" in refused(capsys, *draw, "--json", files)
    assert "both name" in refused(capsys, *draw, "--save-chat", files / "s", "--json", files / "s.safetensors")
    assert (weights.read_bytes(), text.read_text()) == (before, "mine")


def test_a_chat_is_as_private_as_its_file_and_the_user_want(packed_dir, tmp_path):
    chat = tmp_path / "chat.safetensors"
    draw = ["generate", "x", "--model", packed_dir, "--out", tmp_path, "--steps", 1, "--save-chat", chat]
    before = os.umask(0o077)
    try:
        assert run(*draw) == 0 and chat.stat().st_mode & 0o777 == 0o600
        chat.chmod(0o640)
        assert run(*draw, "--chat", chat) == 0 and chat.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_report_goes_to_stdout(packed_dir, tmp_path, capsys):
    assert run("generate", "x", "--model", packed_dir, "--out", tmp_path, "--steps", 1, "--json", "-") == 0
    captured = capsys.readouterr()
    [picture] = json.loads(captured.out)["turns"][0]["pictures"]
    assert picture["file"] in captured.err
    assert run("generate", "café 🐱", "--model", packed_dir, "--out", tmp_path, "--steps", 1, "--json", "-") == 0
    written = capsys.readouterr().out
    assert written.isascii() and json.loads(written)["turns"][0]["instruction"] == "café 🐱"  # for any terminal


def test_an_answer_in_words_has_a_code_of_its_own(packed_dir, tmp_path, capsys, monkeypatch):
    def answer(*_):
        raise AnsweredInWords("i cannot draw that.")

    monkeypatch.setattr(Pipeline, "take_turn", answer)
    report = tmp_path / "report.json"
    command = ["generate", "a spaceship", "--model", packed_dir, "--out", tmp_path, "--json", report]
    assert run(*command, "--refine", "make it night") == 3
    assert capsys.readouterr().err == "i cannot draw that.\n"
    [turn] = json.loads(report.read_text())["turns"]
    assert (turn["instruction"], turn["answered_in_words"]) == ("a spaceship", "i cannot draw that.")
    chat = tmp_path / "chat.safetensors"
    assert run(*command[:-1], "-", "--save-chat", chat) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["chat"] is None and len(told["turns"]) == 1 and not chat.exists()


def test_what_cannot_be_written_is_said_in_one_line(packed_dir, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x.png"))

    monkeypatch.setattr(generate, "_write_new", full)
    error = refused(capsys, "generate", "x", "--model", packed_dir, "--out", tmp_path, "--steps", 1)
    assert "x.png: No space left on device" in error


def test_nobody_has_to_read_to_the_end(packed_dir, tmp_path):
    command = [
        sys.executable,
        "-c",
        "import sys\nfrom comfyui_wegen.models import cli\nsys.exit(cli.main(sys.argv[1:]))",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen(
        [*command, "doctor", "--table"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_mask_of_other_proportions_is_refused(packed_dir, files, capsys):
    Image.new("L", (40, 20), 255).save(files / "wide.png")
    draw = ["generate", "--model", packed_dir, "make it night", "--out", files]
    wide = ("--edit-mask", files / "wide.png")
    with Image.open(files / "cat.png") as cat:
        said = f"wide.png is 40 x 20 pixels, and the picture is {cat.width} x {cat.height}"
    assert said in refused(capsys, *draw, "--begin-with", files / "cat.png", *wide)
    assert "the picture is square" in refused(capsys, *draw, "--refine", "make it day", *wide)
    assert "the picture is 64 x 48" in refused(capsys, *draw, "--size", "64x48", "--refine", "make it day", *wide)


def test_a_mask_that_was_painted_on_nothing_is_refused(packed_dir, files, capsys):
    mask = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    mask.paste((255, 255, 255, 255), (8, 8, 16, 16))
    mask.save(files / "white.png")
    own = ["--begin-with", files / "cat.png", "--edit-mask", files / "white.png"]
    assert "white everywhere" in refused(capsys, "generate", "x", *own, "--model", packed_dir, "--out", files)


def test_one_number_of_sampling_leaves_the_others_at_the_defaults_of_the_turn(packed_dir):
    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)

    def sampling(first, *words):
        arguments = parser.parse_args(["x", "--model", str(packed_dir), *words])
        return generate._request(arguments, {"instruction": "x", **arguments.first}, first).sampling

    assert sampling(True, "--top-p", "0.5") == TextSampling.from_creativity(0.95, None, 0.5)
    assert sampling(False, "--top-p", "0.5") == TextSampling.from_creativity(0.0, None, 0.5)
    assert sampling(False, "--top-p", "0.5", "--creativity", "0.3") == TextSampling.from_creativity(0.3, None, 0.5)
    assert sampling(False, "--temperature", "0.3").top_p == TextSampling.from_creativity(0.0).top_p


def test_defaults_are_those_of_the_table(packed_dir):
    """What is not said comes to the same turn as in Python, and so as in the nodes."""
    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)
    arguments = parser.parse_args(["x", "--model", str(packed_dir)])
    request = generate._request(arguments, {"instruction": "x", **arguments.first}, first=True)
    assert request == TurnRequest("x")
    assert all(request.sampling_of(turns) == TurnRequest("x").sampling_of(turns) for turns in (0, 1))
    said = {name: getattr(arguments, name) for name in generate._OPTIONS}
    assert said == {name: OPTIONS[name].default for name in generate._OPTIONS} | {"creativity": None}
    assert (arguments.batch_size, arguments.cfg) == (OPTIONS["batch_size"].default, OPTIONS["cfg"].default)


def test_a_picture_of_ones_own_is_changed_and_every_turn_recorded(packed_dir, files, monkeypatch):
    monkeypatch.setattr(planning, "outcome", lambda *_: "followed")
    Image.effect_mandelbrot((45, 30), (-3, -2.5, 2, 2.5), 100).convert("RGB").save(files / "own.png")
    keep = Image.new("L", (45, 30), 0)
    keep.paste(255, (0, 0, 45, 10))
    keep.save(files / "top.png")
    command = [
        *("generate", "make it red", "--begin-with", files / "own.png", "--keep-mask", files / "top.png"),
        *(
            "--model",
            packed_dir,
            "--out",
            files / "out",
            "--steps",
            1,
            "--no-auto-mask",
            "--json",
            files / "new/a.json",
        ),
        *("--refine", "put a @cat on it", "--reference", f"cat={files / 'cat.png'}", "--count", 2),
    ]
    assert run(*command) == 0
    own, first, second = (
        np.asarray(Image.open(files / name).convert("RGB")).astype(int)
        for name in ("own.png", "out/turn2_seed0.png", "out/turn3_seed1.png")
    )
    for after in (first, second):
        assert after.shape == (30, 45, 3) and abs(after - own)[:10].max() == 0 < abs(after - own)[10:].max()
    turns = json.loads((files / "new/a.json").read_text("utf-8"))["turns"]
    assert [turn["instruction"] for turn in turns] == ["make it red", "put a @cat on it"]
    assert all(turn["seconds"] > 0 and turn["answered_in_words"] == "" for turn in turns)
    assert [[picture["seed"] for picture in turn["pictures"]] for turn in turns] == [[0, 1], [0, 1]]
    picture = turns[0]["pictures"][0]
    assert (picture["width"], picture["height"], picture["rewrite"]) == (45, 30, "make it red")
    assert picture["could_change"] == pytest.approx(2 / 3)
    assert picture["read_by_the_language_model"] == (
        "[INST] <img>...</img>make it red Everything else stays the same. [/INST]\n<img>"
    )
    assert "cat (picture 1)" in turns[1]["pictures"][0]["read_by_the_language_model"]
    assert picture["attempts"] == 0 and "read_for_the_rewrite" not in turns[0]


def test_a_record_tells_of_the_rewriting(packed_dir, tmp_path):
    """Without chance words are drawn once; else until something is written that was not written before."""
    for creativity, most in ((0, 1), (1, 4)):
        out = ("--creativity", creativity, "--count", 2, "--steps", 1, "--json", tmp_path / "a.json")
        assert run("generate", "a cat", "--model", packed_dir, "--out", tmp_path, *out) == 0
        [turn] = json.loads((tmp_path / "a.json").read_text("utf-8"))["turns"]
        assert turn["read_for_the_rewrite"].endswith("a cat [/INST]\n")
        assert all(1 <= picture["attempts"] <= most for picture in turn["pictures"])


def test_sizes(packed_dir, tmp_path):
    small = ["generate", "a cat", "--model", packed_dir, "--steps", 1]
    assert run(*small, "--out", tmp_path / "a", "--size", "48x20") == 0
    assert Image.open(tmp_path / "a" / "turn1_seed0.png").size == (48, 20)
    assert run(*small, "--out", tmp_path / "b", "--size", "24") == 0
    assert Image.open(tmp_path / "b" / "turn1_seed0.png").size == (24, 24)


def test_what_the_user_can_mend_is_said_in_one_line(packed_dir, files, capsys):
    draw = ["generate", "--model", packed_dir, "--out", files / "out"]
    cat = f"cat={files / 'cat.png'}"
    (files / "text.png").write_text("no picture")
    assert "no checkpoint folder" in refused(capsys, "generate", "x", "--model", files / "none", "--out", files)
    assert "empty" in refused(capsys, *draw, "")
    assert "none.png" in refused(capsys, *draw, "x", "--reference", f"cat={files / 'none.png'}")
    assert "text.png" in refused(capsys, *draw, "x", "--reference", f"cat={files / 'text.png'}")
    assert "top_p" in refused(capsys, *draw, "x", "--rewrite", "--top-p", "2")
    assert "@dog" in refused(capsys, *draw, "@dog", "--reference", cat)
    assert "'cat'" in refused(capsys, *draw, "@cat", "--reference", cat, "--reference", cat)
    assert "'7'" in refused(capsys, *draw, "x", "--reference", f"7={files / 'cat.png'}")
    assert "A mask needs a picture" in refused(capsys, *draw, "x", "--keep-mask", files / "keep.png")
    own = ["--begin-with", files / "cat.png"]
    assert "--size goes with new" in refused(capsys, *draw, "x", *own, "--size", 32)
    assert "nowhere" in refused(capsys, *draw, "x", "--device", "nowhere")
    assert "Cannot write" in refused(capsys, "generate", "x", "--model", packed_dir, "--out", files / "text.png")
    assert "no folder" in refused(capsys, "verify", files / "none")
    assert list((files / "out").iterdir()) == []


def test_a_question_is_answered(packed_dir, files, capsys):
    assert run("ask", "what is there?", "--reference", f"photo={files / 'cat.png'}", "--model", packed_dir) == 0
    photo = References((Pipeline.from_folder(packed_dir).encode_reference("photo", Image.open(files / "cat.png")),))
    assert capsys.readouterr().out == f"{ask(Pipeline.from_folder(packed_dir).wegen, 'what is there?', photo)}\n"


def test_a_question_about_a_picture_that_no_wegen_has_seen_yet(packed_dir, tmp_path, capsys):
    save_chat(begin_unseen(torch.rand(64, 64, 3)), tmp_path / "foreign")
    chat = tmp_path / "foreign.safetensors"
    assert run("ask", "what is there?", "--chat", chat, "--model", packed_dir) == 0


def test_convert(packed_dir, tmp_path, capsys, terminal):
    assert run("convert", packed_dir, tmp_path / "out", "--dtype", "bf16") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "out")
    assert "100%" in captured.err and "B/s" in captured.err
    assert "exists already" in refused(capsys, "convert", packed_dir, tmp_path / "out")


def test_an_interrupt_is_130(packed_dir, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("comfyui_wegen.models.checkpoints.convert.convert", interrupt)
    assert run("convert", packed_dir, tmp_path / "out") == 130
    assert capsys.readouterr().err == "wegen: interrupted\n"


def test_a_defect_shows_its_traceback(packed_dir, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr("comfyui_wegen.models.checkpoints.convert.convert", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        run("convert", packed_dir, tmp_path / "out")


@pytest.mark.parametrize("place", ["language_model.LanguageModel", "vision_encoder.VisionEncoder"])
def test_memory_that_runs_out_is_said_in_one_line(packed_dir, files, capsys, monkeypatch, place):
    def take_all(*_, **__):
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(f"comfyui_wegen.models.network.{place}.forward", take_all)
    said = refused(capsys, "ask", "what?", "--reference", f"photo={files / 'cat.png'}", "--model", packed_dir)
    assert said.startswith("wegen: Memory ran out.") and "wegen convert SOURCE DESTINATION" in said
    assert str(2**60) in said


def test_what_counts_as_memory_that_ran_out():
    found = [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),  # Intel's
        RuntimeError("Could not allocate tensor with 58982400 bytes. There is not enough GPU video memory available!"),
    ]
    assert all(map(is_out_of_memory, found))
    other = [RuntimeError("a defect"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left", "out of memory.png")]
    assert not any(map(is_out_of_memory, other))


def test_numbers_are_written_where_they_are_asked_for(tmp_path):
    path = tmp_path / "kept" / "numbers.json"
    write_numbers(path, {"a": 1, "b": math.nan, "c": [0.5, math.inf]})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"a": 1, "b": None, "c": [0.5, None]}
    link = tmp_path / "latest.json"
    try:
        link.symlink_to(path)
    except OSError:
        pytest.skip("no links here")
    write_numbers(link, {"a": 2})
    assert link.is_symlink() and json.loads(path.read_text()) == {"a": 2}
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_numbers(pipe, {"a": 3})
    assert json.loads(os.read(reader, 100)) == {"a": 3} and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OSError, match="No space") as found, naming(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert found.value.filename == str(tmp_path)
    with pytest.raises(OSError, match="first") as found, naming(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "first")
    assert found.value.filename == "first"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["train", "lroa"], "no recipe and no folder lroa. Say what to train: lora, nano, a folder"),
        (["train", "--config", "no.json"], "no recipe and no folder no.json"),
        (["train", "lora", "empty", "--name", "cat", "--out", "text"], "Cannot write to text: File exists"),
        (["train", "nano", "--data", "text"], "No index.json in text"),
        (["data", "--out", "text"], "Cannot write to text: File exists"),
        (
            ["data", "--out", "new", "--recipe", "stay"],
            "--recipe stay is no file of a recipe. Names of recipes are nano",
        ),
        (["data", "--out", "new", "--recipe", "empty"], "name a file in it, such as empty/agent.json"),
        (["data", "films", "--out", "new", "--things", "30"], "1 to 20 things, got 30"),
        (["data", "report", "text"], "There is no clips.jsonl in text"),
        (["verify", "empty"], "no expected.safetensors"),
        (["verify", "empty", "--against", "empty"], "no WeGen checkpoint"),
        (["eval", "rocket", "--others", "-5"], "--others is -5; give 0 for none"),
    ],
)
def test_what_is_mistyped_is_said_with_the_way_out(tmp_path, monkeypatch, capsys, command, said):
    if "films" in command or "report" in command:
        pytest.importorskip("av")
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    Path("text").touch()
    Path("empty").mkdir()
    assert run(*command) == 2
    shown = capsys.readouterr()
    assert said in shown.err.replace("\\", "/") and shown.out == ""
    assert sorted(os.listdir()) == ["empty", "text"]


def test_samples_are_not_written_among_other_files(tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(b"mine")
    (tmp_path / "wegen-000000.tar").write_bytes(b"mine")
    assert "it holds photo.png" in refused(capsys, "data", "--out", tmp_path, "--samples", 2)
    assert (tmp_path / "wegen-000000.tar").read_bytes() == b"mine"
    (tmp_path / "photo.png").unlink()
    (tmp_path / "wegen-000007.tar").write_bytes(b"of a longer run that was stopped")
    assert run("data", "--out", tmp_path, "--samples", 2) == 0
    # Without --recipe it is the mix that the bundled model learned last.
    assert (
        read_about(tmp_path)["task_mix"] == read_recipe(NANO_RECIPES.parent / "stays" / "agent.json").options["tasks"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "wegen-000000.tar"]


def test_a_report_goes_to_whom_it_is_for(tmp_path):
    generate._Outputs(None, Path(os.devnull))
    (tmp_path / "there").mkdir()
    link, file = tmp_path / "link.json", tmp_path / "there" / "report.json"
    link.symlink_to(file)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for report in (link, pipe):
        outputs = generate._Outputs(None, report)
        for number in range(2):
            outputs.keep(Chat(), {"instruction": number})
        outputs.finish()
    written = [file.read_text(), os.read(reader, 1000)]  # one report, not one a turn
    os.close(reader)
    assert all(json.loads(text)["turns"] == [{"instruction": 0}, {"instruction": 1}] for text in written)
    assert link.is_symlink() and [one.name for one in (tmp_path / "there").iterdir()] == [file.name]


@pytest.mark.parametrize("text", ['{"turns": 3, "chat": null}', '{"turns": []}', '["turns", "chat"]'])
def test_other_json_is_no_report(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(WeGenError, match="is no report"):
        generate._Outputs(None, tmp_path / "a.json")


@pytest.mark.parametrize("write", [lambda file: generate._Outputs(None, file).keep(Chat(), {}),
                                   lambda file: write_numbers(file, {})])  # fmt: skip
def test_what_stands_beside_a_report_stays(tmp_path, write):
    (tmp_path / "a.json.partial").write_text("mine")
    write(tmp_path / "a.json")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.json", "a.json.partial"]
    assert (tmp_path / "a.json.partial").read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["ask", " "], "question is empty"),
        (["ask", "what is @dog?"], "@dog"),
        (["generate", "x", "--lora", "none"], "no LoRA file none"),
        (["generate", "x", "--lora", "text"], "not a readable"),
        (["generate", "x", "--lora", "lora=101"], "strength is 101"),
        (["generate", "x", "--lora", "lora=0.5", "--lora", "./lora"], "--lora names lora twice"),
        (["eval", "nano", "--lora", "lora", "--lora", "lora"], "--lora names lora twice"),
        (["eval", "rocket", "--lora", "lora=-101"], "strength is -101"),
        (["demo", "--lora", "text"], "not a readable"),
        (["demo", "--out", "text"], "Cannot write to text: File exists"),
        (["convert", "a", "b", "--part", "unet=bf16", "--part", "unet=int8"], "--part names unet twice"),
    ],
)
def test_what_is_wrong_is_found_before_weights_are_read(tmp_path, monkeypatch, capsys, command, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Pipeline, "from_folder", lambda *_: pytest.fail("the checkpoint was read"))
    Path("text").write_text("no tensors")
    write_lora(Path("lora"), "unet", {"conv_in": LowRank(torch.ones(1, 2), torch.ones(2, 1), 1.0)}, {})
    assert said in refused(capsys, *command)


def test_a_full_disk_is_named_by_what_writes(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Full())
    monkeypatch.setattr(os, "fdopen", lambda descriptor, _: os.close(descriptor) or Full())
    for write in (generate._write_new, lambda folder, stem, content: demo.write_rockets(folder)):
        with pytest.raises(OSError, match="No space") as found:
            write(tmp_path, "rocket_0", b"")
        assert found.value.filename == str(tmp_path / "rocket_0.png")


def test_only_the_users_own_folder_has_a_short_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)
    options = ["--out=~/pics", "--json=~/r.json", "--save-chat=~", "--reference=cat=~/x.png", "--model=~root/x"]
    arguments = parser.parse_args(["x", *options, "--lora=~/l=0.5"])
    assert (arguments.out, arguments.json) == (tmp_path / "pics", tmp_path / "r.json")
    assert (arguments.save_chat, arguments.reference) == (tmp_path, [("cat", tmp_path / "x.png")])
    assert (arguments.model, arguments.lora) == (Path("~root/x"), [(tmp_path / "l", 0.5)])
    assert common.output_file("~nobody.json") == Path("~nobody.json")
    for command in (["doctor", "~nobody"], ["convert", "~nobody", "~none"], ["make-random", "~none", "--size", "~no"]):
        assert "There is no" in refused(capsys, *command)
