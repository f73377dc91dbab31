"""Measuring feature statistics, and what becomes of them in packed folders."""

import errno
import json
import os
import tempfile
from dataclasses import replace

import pytest
import tiny
import torch
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.cli import main
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation.calibration import calibrate, write_statistics
from comfyui_wegen.models.media.images import to_pil
from comfyui_wegen.models.network.configuration import FeatureStatistics, WeGenConfig

CONFIG = tiny.tiny_config()
SIDE = CONFIG.feature_grid


def pictures(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, SIDE, SIDE, 3, generator=generator)
    return list(coarse.repeat_interleave(4, 1).repeat_interleave(4, 2))


def seeing(mean, spread):
    """An encoder whose cells see their own colour, as a feature of some spread around a mean."""
    matrix = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))

    def encode(picture):
        cells = picture.reshape(SIDE, 4, SIDE, 4, 3).mean(dim=(1, 3)).flatten(0, 1)
        return mean + spread * (cells - 0.5) @ matrix

    return encode


def worn(picture):
    generator = torch.Generator().manual_seed(int(picture.sum() * 1000))
    return (picture + 0.02 * torch.randn(picture.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0])
def test_a_calibration_finds_the_gap_between_wear_and_change(ratio):
    found = calibrate(CONFIG, seeing(10.0, 10 * ratio), worn, pictures(12))
    assert 0 < found.statistics.noise < found.statistics.threshold < 1
    assert found.recall > 0.97 and found.false_alarms < 0.01
    assert found.mean == pytest.approx(80, rel=0.2)
    same = calibrate(CONFIG, seeing(10.0, 10 * ratio), worn, pictures(12))
    assert same == found
    scaled = calibrate(CONFIG, seeing(0.0, 10 * ratio), worn, pictures(12))
    assert scaled.statistics.threshold == pytest.approx(found.statistics.threshold, rel=1e-2)


def test_too_few_or_equal_pictures_are_refused():
    with pytest.raises(WeGenError, match="3 pictures are too few"):
        calibrate(CONFIG, seeing(1.0, 1.0), worn, pictures(3))
    grey = [torch.full((SIDE * 4, SIDE * 4, 3), 0.5)] * 5
    with pytest.raises(WeGenError, match="features of all pictures are alike"):
        calibrate(CONFIG, seeing(1.0, 1.0), worn, grey)
    with pytest.raises(WeGenError, match="too much alike to measure a change"):
        calibrate(CONFIG, seeing(1.0, 1.0), worn, [pictures(1)[0]] * 5)


def test_the_command_writes_what_conversion_carries_along(tmp_path, capsys):
    folder, shown = tiny.write_packed(tmp_path / "packed"), tmp_path / "shown"
    shown.mkdir()
    for number, picture in enumerate(pictures(6)):
        to_pil(picture).save(shown / f"{number}.png")
    for number in range(60):
        (shown / f"._{number}.png").write_bytes(b"what macOS notes about a picture")
    assert main(["calibrate", str(folder), "--pictures", str(shown), "--most", "5"]) == 0
    said = capsys.readouterr().out
    statistics = open_checkpoint(folder).config.features
    assert statistics.measured and f"threshold    {statistics.threshold:.4g}" in said and "pictures     5" in said
    assert sorted(file.name for file in folder.iterdir() if "partial" in file.name) == []
    converted = convert(folder, tmp_path / "again", "fp32")
    assert open_checkpoint(converted).config == open_checkpoint(folder).config


def test_what_the_command_cannot_use_is_named(tmp_path, capsys):
    folder = tiny.write_packed(tmp_path / "packed")
    (tmp_path / "empty").mkdir()
    for options, message in (
        (["--pictures", str(tmp_path / "empty")], "There are no pictures"),
        (["--pictures", str(tmp_path / "missing")], "Cannot read"),
        (["--pictures", str(tmp_path / "empty"), "--device", "abacus"], "device 'abacus' cannot be used"),
        (["--pictures", str(tmp_path / "empty"), "--device", "meta"], "device 'meta' cannot be used"),
    ):
        assert main(["calibrate", str(folder), *options]) == 2
        assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_not_measured(tmp_path, monkeypatch, capsys):
    folder = tiny.write_packed(tmp_path / "packed")
    to_pil(pictures(1)[0]).save(tmp_path / "0.png")

    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr("comfyui_wegen.models.evaluation.calibration.MeasuredParts", None)
    assert main(["calibrate", str(folder), "--pictures", str(tmp_path)]) == 2
    assert f"Cannot write to {folder}: Read-only file system" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_keeps_its_configuration(tmp_path, monkeypatch):
    folder = tiny.write_packed(tmp_path / "packed")
    checkpoint, before = open_checkpoint(folder), (folder / "config.json").read_text()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WeGenError, match="Cannot write"):
        write_statistics(checkpoint, FeatureStatistics(1.0, 0.1, 0.5))
    assert (folder / "config.json").read_text() == before
    assert not list(folder.glob("*.partial"))


def test_configurations_from_before_statistics_still_read():
    values = json.loads(CONFIG.to_json())
    del values["features"]
    assert WeGenConfig.from_json(json.dumps(values)) == CONFIG
    measured = replace(CONFIG, features=FeatureStatistics(9.5, 0.02, 0.14))
    assert WeGenConfig.from_json(measured.to_json()) == measured
    values["features"] = {"spread": 1.0}
    with pytest.raises(WeGenError, match="no threshold"):
        WeGenConfig.from_json(json.dumps(values))
