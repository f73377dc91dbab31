"""The demo's plumbing on a tiny random model: what it writes and says, not how the pictures look."""

from pathlib import Path

import pytest
from comfyui_wegen.models.cli import demo, main
from comfyui_wegen.models.cli.demo_story import FILES, REFINEMENTS, run_demo
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.pipeline import Pipeline
from PIL import Image


@pytest.mark.slow
def test_demo_writes_its_pictures_and_says_what_was_kept(tiny, tmp_path):
    said = []
    seconds = run_demo(Pipeline(*tiny), tmp_path / "demo", said.append)
    assert list(seconds) == ["one wish, six pictures", "two references", "a chat of four refinements", "a question"]
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {*FILES} and len(FILES) == 14
    kept = [line for line in said if "of the picture kept" in line]
    assert len(kept) == sum(area != (0.0, 0.0, 1.0, 1.0) for _, area in REFINEMENTS) > 0
    assert all(line.endswith("largest difference there 0)") for line in kept)
    assert Image.open(tmp_path / "demo" / "contact_sheet.png").width > 1000


@pytest.mark.parametrize("name", ["wish_3.png", "timings.txt"])
def test_pictures_of_the_users_own_are_not_written_over(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "load_pipeline", lambda _: None)
    made = []
    monkeypatch.setattr("comfyui_wegen.models.cli.demo_story.run_demo", lambda _, out: made.append(str(out)))
    mine = tmp_path / "demo" / name
    mine.parent.mkdir()
    assert main(["demo"]) == 0
    mine.write_text("mine")
    assert main(["demo", "--out", "demo"]) == 2
    assert f"{Path('demo') / name} is there already. Choose another folder with --out" in capsys.readouterr().err
    assert main(["demo"]) == 0
    (tmp_path / "demo-2" / name).symlink_to("nowhere")
    assert main(["demo"]) == main(["demo", "--out", "pictures"]) == 0
    assert made == ["demo", "demo-2", "demo-3", "pictures"] and mine.read_text() == "mine"


def test_options_of_the_model_are_refused_where_none_is_used(tmp_path, capsys):
    out = tmp_path / "rocket"
    assert main(["demo", "rocket", "--out", str(out), "--model", str(tmp_path), "--device", "cpu"]) == 2
    assert "`wegen demo rocket` uses no model; leave out --model, --device." in capsys.readouterr().err
    assert not out.exists()
    assert main(["demo", "rocket", "--out", str(out)]) == 0 and len([*out.glob("*.txt")]) == 10


def test_captions_that_were_edited_are_left_alone(tmp_path):
    demo.write_rockets(tmp_path)
    demo.write_rockets(tmp_path)  # the same files
    edited = tmp_path / "rocket_7.txt"
    edited.write_text("my own words")
    (tmp_path / "rocket_0.png").unlink()
    with pytest.raises(WeGenError, match=r"rocket_7\.txt is there already"):
        demo.write_rockets(tmp_path)
    assert edited.read_text() == "my own words" and not (tmp_path / "rocket_0.png").exists()


def test_clips_of_others_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("comfyui_wegen.models.data.diic.films.write_film", lambda _, path: path.write_bytes(b"film"))
    assert demo.write_clips(tmp_path) == demo.write_clips(tmp_path) == 3
    (tmp_path / "rocket_2.mp4").write_bytes(b"mine")
    with pytest.raises(WeGenError, match=r"rocket_2\.mp4 is there already"):
        demo.write_clips(tmp_path)
    assert (tmp_path / "rocket_2.mp4").read_bytes() == b"mine"
