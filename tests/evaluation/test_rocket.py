"""`wegen eval rocket`: wishes that no sample of training is worded like, and one command for all of it."""

from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import cli
from comfyui_wegen.models.cli.demo import write_rockets
from comfyui_wegen.models.evaluation import newcomer
from comfyui_wegen.models.storybook.newcomer import likeness, page_with_rocket
from comfyui_wegen.models.training import own_pictures
from PIL import Image


def test_wishes_are_worded_as_no_sample_of_training_is():
    taught = {frame.format(thing="rocket", a="a") for frame in own_pictures.WISHES}
    taught |= {frame.format(it="a rocket") for frame in own_pictures.ORDERS}
    named = [newcomer.prompt(Random(n), True) for n in range(300)]
    assert not taught & {*named, *newcomer.ORDERS}
    assert all("rocket" in wish for wish in named) and len(set(named)) > 100
    assert not any("rocket" in newcomer.prompt(Random(n), False) for n in range(300))


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
        assert likeness(hidden) < newcomer.ALIKE


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
        "data --recipe words --out ./kept --samples 600",
        "train lora ./rocket --name rocket --keep ./kept --out ./lora --resume",
    ]
    assert measured == [{"rocket_language_model.safetensors": 1.0, "rocket_unet.safetensors": 1.0}]
    assert run(["eval", "rocket", "--train", "x", "--lora", "y"]) == 2
    assert "leave out --lora" in capsys.readouterr().err
