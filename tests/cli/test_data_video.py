"""`wegen data films`, `video` and `report`, as they are typed."""

import argparse
import json
import os
from pathlib import Path

import pytest
from comfyui_wegen.models.cli import data, data_video, main
from comfyui_wegen.models.cli.train import NANO_RECIPES
from comfyui_wegen.models.errors import INTERRUPTED
from support import NOT_RUN

pytest.importorskip("av", reason=f"{NOT_RUN}annotation of videos, the package av is not installed")
pytest.importorskip("scenedetect", reason=f"{NOT_RUN}annotation of videos, the package scenedetect is not installed")

from comfyui_wegen.models.data.diic.films import truth_bytes


def test_from_films_to_a_report(tmp_path, capsys):
    films, out = str(tmp_path / "films"), str(tmp_path / "out")
    assert main(["data", "films", "--out", films, "--films", "1", "--shots", "1", "--seconds", "2"]) == 0
    before = (tmp_path / "films" / "film-1.mp4").read_bytes()
    assert main(["data", "films", "--out", films, "--films", "1", "--seed", "2"]) == 2
    assert "film-1.mp4 is there already" in capsys.readouterr().err
    assert (tmp_path / "films" / "film-1.mp4").read_bytes() == before
    run = ["data", "video", films, "--out", out, "--truth", "--pairs", "2", "--distances", "0.5,1"]
    assert main(run) == 0
    assert "samples of 1 clips, 0 clips rejected (1 videos)" in capsys.readouterr().out
    [record] = [json.loads(line) for line in (tmp_path / "out" / "clips.jsonl").read_text().splitlines()]
    assert record["pairs"] == 2 and all(one < 1.4 for one in record["distances"])
    assert main(["data", "report", out, "--samples", "2"]) == 0
    assert (tmp_path / "out" / "report.html").read_text().count("<article>") == 2
    assert main(run) == 2 and "already holds finished shards" in capsys.readouterr().err


def test_films_that_are_drawn_already_are_not_drawn_again(tmp_path, capsys, monkeypatch):
    folder, drawn = tmp_path / "films", []

    def draw(film, path):
        path.with_name(f"{path.stem}.truth.json").write_bytes(truth_bytes(film))
        if len(drawn) == 2:  # as where it is killed between its two files
            raise KeyboardInterrupt
        drawn.append(path.name)
        path.write_bytes(b"film")

    monkeypatch.setattr("comfyui_wegen.models.data.diic.films.write_film", draw)
    command = ["data", "films", "--out", str(folder), "--films", "4"]
    assert main(command) == INTERRUPTED and drawn == ["film-1.mp4", "film-2.mp4"]
    assert main([*command, "--seconds", "2"]) == 2
    assert "film-1.mp4 is there already, and not of a film with these numbers" in capsys.readouterr().err
    drawn[:] = ["others"]
    assert main(command) == INTERRUPTED and drawn == ["others", "film-3.mp4"]
    drawn.clear()
    assert main(command) == 0 and drawn == ["film-4.mp4"]
    assert main(command) == 0 and drawn == ["film-4.mp4"]
    (folder / "film-2.truth.json").unlink()
    assert main(command) == 2 and "film-2.mp4 is there already" in capsys.readouterr().err
    (folder / "film-2.mp4").unlink()
    (folder / "film-2.truth.json").write_text("mine")
    assert main(command) == 2 and "film-2.truth.json is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4", "--truth"], "There is no nowhere.mp4"),
        (["."], "Give a detector"),
        ([".", "--detector", "no folder"], "there is no config.json in it"),
        ([".", "--truth", "--names", "cat"], "leave out one or the other"),
        ([".", "--truth", "--distances", "far"], "seconds above 0"),
        ([".", "--truth", "--distances", "0,1"], "seconds above 0"),
        ([".", "--truth"], "No video in ."),
        ([".", "--truth", "--config", "no.json"], "Cannot read no.json"),
        ([".", "--truth", "--cpus", "2"], "for --engine ray"),
    ],
)
def test_what_users_can_put_right(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--cpus" in arguments:
        (tmp_path / "film.mp4").touch()
    assert main(["data", "video", *arguments, "--out", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_the_storybook_do_not_go_unheeded(capsys):
    for option in ("--seed", "--samples", "--shard-size", "--recipe", "--out"):
        assert main(["data", option, "5", "films", "--out", "somewhere"]) == 2
        assert f"{option} before films is about samples of the storybook" in capsys.readouterr().err


def test_a_name_that_is_no_text_is_a_name(tmp_path):
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4"))
    try:
        path.write_bytes(b"no video")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert main(["data", "video", str(tmp_path), "--truth", "--out", str(tmp_path / "out")]) == 0
    assert main(["data", "report", str(tmp_path / "out")]) == 0


def test_the_command_line_goes_before_the_file_of_settings(tmp_path):
    (tmp_path / "settings.json").write_text('{"decode": {"options": {"rate": 3.0, "side": 64}}}')
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    given = ["--config", str(tmp_path / "settings.json"), "--rate", "2"]
    pipeline = data_video.pipeline_of(parser.parse_args(["video", "films", "--truth", "--out", "o", *given]))
    [decode] = [stage for stage in pipeline.stages if stage.name == "decode"]
    assert (decode.options["rate"], decode.options["side"]) == (2, 64)


def test_a_mix_that_cannot_be_is_named_with_its_file(tmp_path, capsys):
    recipe = json.loads((NANO_RECIPES / "agent.json").read_text())
    recipe["options"]["tasks"] = {"captoin": 2}
    (tmp_path / "mine.json").write_text(json.dumps(recipe))
    assert main(["data", "--recipe", str(tmp_path / "mine.json"), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "mine.json" in message and "'captoin'" in message


def test_a_mix_that_is_no_mix_is_told(tmp_path, capsys):
    recipe = json.loads((NANO_RECIPES / "agent.json").read_text())
    recipe["options"]["tasks"] = ["caption"]
    (tmp_path / "mine.json").write_text(json.dumps(recipe))
    assert main(["data", "--recipe", str(tmp_path / "mine.json"), "--out", str(tmp_path / "out")]) == 2
    assert "mine.json: A task mix is an object" in capsys.readouterr().err


def test_the_storybook_needs_a_folder(capsys):
    assert main(["data"]) == 2 and "--out DIR" in capsys.readouterr().err
