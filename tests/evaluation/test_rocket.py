"""`wegen eval rocket`: wishes that no sample of training is worded like, and one command for all of it."""

import argparse
import json
from itertools import islice
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import cli, storybook
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.cli import eval_rocket
from comfyui_wegen.models.cli.demo import write_rockets
from comfyui_wegen.models.data import Text, stream
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation import rocket
from comfyui_wegen.models.evaluation.before_after import Change, compare, digest, remembered
from comfyui_wegen.models.evaluation.cases import Case
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.asking import ask
from comfyui_wegen.models.storybook.rocket import likeness, page_with_rocket
from comfyui_wegen.models.training import own_pictures
from comfyui_wegen.models.training.lora_recipes import KEPT_TASKS
from comfyui_wegen.models.values import References
from PIL import Image


def test_wishes_are_worded_as_no_sample_of_training_is():
    taught = {frame.format(thing="rocket", a="a") for frame in own_pictures.WISHES}
    taught |= {frame.format(it="a rocket") for frame in own_pictures.ORDERS}
    named = [rocket.prompt(Random(n), True) for n in range(300)]
    assert not taught & {*named, *rocket.ORDERS}
    assert all("rocket" in wish for wish in named) and len(set(named)) > 100
    assert not any("rocket" in rocket.prompt(Random(n), False) for n in range(300))


def test_the_judge_tells_pages_with_a_rocket(tmp_path):
    assert write_rockets(tmp_path) == 10
    for number in range(10):
        picture = np.asarray(Image.open(tmp_path / f"rocket_{number}.png"))
        assert likeness(picture) >= 0.9 and "rocket" in (tmp_path / f"rocket_{number}.txt").read_text()
    without = [page_with_rocket(Random(n)) for n in range(6)]
    for page, _, place in without:
        left, top, right, bottom = place.box
        hidden = page.copy()
        hidden[top:bottom, left:right] = page[0, 0]
        assert likeness(hidden) < rocket.ALIKE


def test_one_command_trains_and_measures(tmp_path, monkeypatch, capsys):
    typed, measured = [], []
    run = cli.main

    def main(command):
        if command[0] == "eval":
            return run(command)
        typed.append(" ".join(command).replace(str(tmp_path), "."))
        return 0

    def with_loras(pipeline, files):
        measured.append({path.name: strength for path, strength in files.items()})
        raise SystemExit(0)

    monkeypatch.setattr(cli, "main", main)
    monkeypatch.setattr("comfyui_wegen.models.pipeline.Pipeline.with_loras", with_loras)
    with pytest.raises(SystemExit):
        run(["eval", "rocket", "--train", str(tmp_path)])
    assert [line.partition(" --model")[0] for line in typed] == [
        "demo rocket --out ./rocket",
        "data --recipe keep --out ./kept --samples 4000",
        "train lora ./rocket --name rocket --keep ./kept --out ./lora --resume",
    ]
    assert measured == [{"rocket_language_model.safetensors": 1.0, "rocket_unet.safetensors": 1.0}]
    assert run(["eval", "rocket", "--train", "x", "--lora", "y"]) == 2
    assert "leave out --lora" in capsys.readouterr().err


def made_up(right, name="questions", count=4):
    return [Case((), "asked", "answered", {f"{name}/right": [number < right]}) for number in range(count)]


def test_the_same_cases_are_compared_one_by_one():
    before = [
        {"a/right": [True]},
        {"a/right": [True, True]},
        {"a/right": [False]},
        {"a/right": []},
        {"b/right": [True]},
    ]
    after = [{"a/right": [True]}, {"a/right": [True, False]}, {"a/right": [True]}, {"a/right": [True]}, {"c": [True]}]
    change = compare(before, after, ("a/right", "b/right", "c"))
    assert list(change) == ["a/right"]
    [change] = change.values()
    assert (change.cases, change.before, change.after) == (3, pytest.approx(2 / 3), pytest.approx(2.5 / 3))
    assert change.lost == pytest.approx(-0.5 / 3) and change.verdict == "ok"
    # The differences are 0, 0.5 and -1: their standard deviation by the root of 3.
    assert change.error == pytest.approx(np.std([0, 0.5, -1], ddof=1) / 3**0.5)
    half = [{"a/right": [number % 2 == 0]} for number in range(100)]
    worse = [{"a/right": [number % 2 == 0 and number > 4]} for number in range(100)]
    assert compare(half, half, ["a/right"])["a/right"][1:] == (0.5, 0.5, 0.0)
    [change] = compare(half, worse, ["a/right"]).values()
    assert change.lost == pytest.approx(0.03) and change.verdict == "unclear"  # +- 1.7 points
    assert change._replace(after=0.46).verdict == "MISSED"
    [change] = compare(
        half, [{"a/right": [number % 2 == 0 and number > 2]} for number in range(100)], ["a/right"]
    ).values()
    assert change.lost == pytest.approx(0.02) and change.verdict == "ok"  # at most 2 points


def test_what_was_measured_is_not_measured_again(tmp_path):
    asked = []

    def measure():
        asked.append(1)
        return made_up(3)

    file = tmp_path / "measured" / "questions.json"
    first = remembered(file, measure)
    assert remembered(file, measure) == first and len(asked) == 1
    assert first == [{"questions/right": [True]}] * 3 + [{"questions/right": [False]}]
    assert [one.name for one in file.parent.iterdir()] == ["questions.json"]
    assert remembered(None, measure) == first and len(asked) == 2
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    names = {digest(files, *about) for files in ([one], [other], [one, other]) for about in ((8, 0), (8, 1), (9, 0))}
    assert len(names) == 9 and digest([one], 8, 0) in names


def test_targets_are_printed(tmp_path, monkeypatch, capsys):
    """Four times as many cases where words are the answer, the same ones without and with the LoRA."""
    seen = []

    def behaviour(name, lost):
        def cases(evaluator):
            seen.append((name, evaluator.count, evaluator.seed, evaluator.pipeline))
            return made_up(evaluator.count - (lost if evaluator.pipeline else 0), name, evaluator.count)

        return cases

    known = {name: behaviour(name, 1) for name in eval_rocket.OTHERS}
    monkeypatch.setattr("comfyui_wegen.models.evaluation.nano.BEHAVIOURS", known)
    monkeypatch.setattr("comfyui_wegen.models.evaluation.own_words.BEHAVIOURS", {})
    monkeypatch.setattr(eval_rocket, "_train", lambda folder, model: [(lora, 1.0)])
    monkeypatch.setattr(eval_rocket, "_rocket", lambda arguments, loras: {rocket.COMES_UP: 0.75})
    monkeypatch.setattr(
        "comfyui_wegen.models.pipeline.Pipeline.from_folder", lambda folder: argparse.Namespace(with_loras=len)
    )
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(b"")
    only = ["--only", "questions", "own_questions"]
    options = ["eval", "rocket", "--train", str(tmp_path), "--others", "5", "--seed", "3", *only]
    for _ in range(2):
        assert cli.main([*options, "--json", str(tmp_path / "numbers.json")]) == 0
        assert seen == [(name, 20, 3, loras) for name in only[1:] for loras in (0, 1)]
        printed = capsys.readouterr().out
        assert "questions/right                 20 cases  100.0% ->  95.0%     5.0 +- 5.0  unclear" in printed
        targets = printed.partition("\ntargets\n")[2].splitlines()[:2]
        assert "more cases (--others) tell more" in printed
        assert [line.split()[-1] for line in targets] == ["MISSED", "unclear"]
        assert "75.0%  at least 80%" in targets[0] and "5.0%  at most 2%" in targets[1]
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["before/own_questions/right"] == 1 and numbers["after/own_questions/right"] == 0.95
    assert cli.main(["eval", "rocket", "--lora", str(lora), *only]) == 2
    assert "--only chooses among other behaviours" in capsys.readouterr().err
    lora.write_bytes(b"another")
    assert cli.main(options) == 0
    assert seen[4:] == [(name, 20, 3, 1) for name in only[1:]]  # the model is the same


def test_what_stops_one_of_its_commands_stops_all(tmp_path, monkeypatch, capsys):
    assert cli.main(["eval", "rocket", "--train", str(tmp_path / "run"), "--model", str(tmp_path / "none")]) == 2
    assert "There is no" in capsys.readouterr().err and not (tmp_path / "run").exists()
    code = cli.INTERRUPTED
    monkeypatch.setattr(cli, "main", lambda command: code)
    with pytest.raises(KeyboardInterrupt):
        eval_rocket._train(tmp_path, BUNDLED)
    code = cli.USER_ERROR
    with pytest.raises(WeGenError, match=r"`wegen demo rocket --out .* did not end well"):
        eval_rocket._train(tmp_path, BUNDLED)


def test_numbers_are_written_as_they_come(tmp_path, monkeypatch):
    def others(arguments, loras):
        yield {"questions/right": Change(10, 0.9, 0.8, 0.1)}
        raise KeyboardInterrupt

    file = tmp_path / "numbers.json"
    monkeypatch.setattr(eval_rocket, "_rocket", lambda arguments, loras: {rocket.COMES_UP: 0.75})
    monkeypatch.setattr(eval_rocket, "_others", others)
    assert cli.main(["eval", "rocket", "--others", "9", "--json", str(file)]) == cli.INTERRUPTED
    assert json.loads(file.read_text())["after/questions/right"] == 0.8


def test_own_pictures_are_described_where_the_model_describes():
    """What is answered by a list of things must go on being so: a LoRA once turned those lists into descriptions."""
    wegen = Pipeline.from_folder(BUNDLED)
    page, _, _ = page_with_rocket(Random(3))
    asked = References((wegen.encode_reference("one", Image.fromarray(page)),))
    for question in own_pictures.DESCRIBE:
        answer = ask(wegen.wegen, question, asked)
        assert storybook.parse_caption(answer).ground, (question, answer)


def test_what_is_kept_has_questions_in_it(tmp_path):
    """A LoRA is held to what is said in these samples, word by word: long chats must not drown short answers."""
    assert cli.main(["data", "--recipe", "keep", "--out", str(tmp_path / "kept"), "--samples", "150"]) == 0
    kept = list(islice(stream(tmp_path / "kept", None), 150))
    assert {sample.task for sample in kept} == set(KEPT_TASKS)
    said = {
        task: sum(len(part.text.split()) for sample in kept if sample.task == task for part in answers(sample))
        for task in KEPT_TASKS
    }
    assert said["question"] > sum(said.values()) / 12
    answered = [part.text for sample in kept if sample.task == "question" for part in answers(sample)]
    assert len(answered) > 150 and max(len(text.split()) for text in answered) < 20


def answers(sample):
    return [part for part in sample.parts if isinstance(part, Text) and part.target]
