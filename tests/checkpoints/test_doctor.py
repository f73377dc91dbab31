"""What models need, and checkpoints that are not whole."""

from types import SimpleNamespace

import pytest
import torch
from comfyui_wegen.models import cli
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.doctor import Machine, examine, machine
from comfyui_wegen.models.checkpoints.memory_needs import (
    PRECISIONS,
    advice,
    command,
    how_it_runs,
    needs,
    table,
    what_is_missing,
)
from comfyui_wegen.models.checkpoints.random_weights import make_random
from comfyui_wegen.models.checkpoints.reader import open_checkpoint, part_file
from comfyui_wegen.models.cli import common
from comfyui_wegen.models.network.configuration import WeGenConfig
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def published():
    return needs(WeGenConfig())


def test_the_published_model_is_as_large_as_it_is(published):
    total = {p: sum(part.weights[p] for part in published) / 1e9 for p in ("bf16", "int8")}
    assert total["bf16"] == pytest.approx(27.6, abs=0.2)
    assert 14 < total["int8"] < 15


def test_bytes_are_those_of_the_files(tmp_path):
    checkpoint = open_checkpoint(make_random(tmp_path / "made", "tiny"))
    for part in needs(checkpoint.config):
        stored = load_file(tmp_path / "made" / part_file(part.part))
        assert part.weights["bf16"] == sum(tensor.nbytes for tensor in stored.values())


def test_advice_follows_the_card_and_the_memory(published):
    assert set(advice(published, 16, 64).values()) == {"bf16"}
    # The language model does not fit a card of 12 GB in 16 bits.
    middle = advice(published, 12, 64)
    assert middle["language_model"] == "int8" and middle["unet"] == "bf16"
    assert advice(published, 8, 16)["language_model"] == "w4a8"
    small = advice(published, 24, 16)
    assert sum(part.weights[small[part.part]] for part in published) <= 11 * 2**30
    assert how_it_runs(published, advice(published, 8, 32), 8, 32) == "part by part"
    assert how_it_runs(published, "bf16", 24, 24) == "part by part, read again"
    assert how_it_runs(published, "bf16", 8, 32) == "partly streamed"
    assert how_it_runs(published, "int8", 24, 32) == "all loaded"
    assert how_it_runs(published, "bf16", 1, 64) == "too small"
    assert how_it_runs(published, "bf16", 0, 16) == "too small"
    assert how_it_runs(published, "bf16", 0, 64) == "all loaded"
    assert how_it_runs(published, "int8", 24, 16) == "all loaded"
    assert table(published).count("\n") == 14


def test_pictures_at_once_take_memory_but_are_decoded_one_by_one(published):
    four = needs(WeGenConfig(), 4)
    one, more = ({part.part: part.working for part in parts} for parts in (published, four))
    assert one["vae"] == more["vae"]
    assert all(3.9 < more[part] / one[part] < 4.1 for part in one if part != "vae")
    assert how_it_runs(published, "w4a8", 6, 32) == "partly streamed"
    assert how_it_runs(four, "w4a8", 6, 32) == "too small"
    assert table(published).splitlines()[-5].startswith("| 6 GB | too small | partly streamed")
    assert table(four).splitlines()[-5].count("too small") == 9


def test_what_a_card_cannot_decode_whole_is_decoded_in_tiles(published):
    vae = published[-1]
    assert vae.part == "vae" and 3.5 < vae.working / vae.in_tiles < 4.5  # a quarter of the picture
    advised = advice(published, 4, 32)
    assert how_it_runs(published, advised, 4, 32) == "partly streamed, decoded in tiles"
    # A machine without a card does not fall back to tiles.
    memory = 5 + (vae.working + vae.weights["bf16"]) / 2**30
    assert what_is_missing([vae], "bf16", 0, memory + 0.01) is None
    assert "VAE takes 0.3 GB and computes in 3.2 GB" in what_is_missing([vae], "bf16", 0, memory - 0.01)


def test_advice_fits_wherever_anything_does(published):
    for pictures in (1, 4):
        parts = needs(WeGenConfig(), pictures)
        for card in (0, 2, 3, 4, 6, 8, 12, 24):
            for memory in (8, 10, 16, 32, 64):
                missing = what_is_missing(parts, advice(parts, card, memory), card, memory)
                fitting = [p for p in PRECISIONS if how_it_runs(parts, p, card, memory) != "too small"]
                assert missing is None or not fitting, (pictures, card, memory, missing)


def test_nothing_fits_is_said_plainly(monkeypatch, capsys):
    monkeypatch.setattr("comfyui_wegen.models.checkpoints.doctor.machine", lambda: Machine("cuda", 6.0, 16.0))
    assert cli.main(["doctor", "--pictures", "4"]) == 0
    said = capsys.readouterr().out
    assert "too small, whatever the precision: the language model computes in 5.5 GB" in said
    assert "Try fewer than 4 pictures" in said and "Take wegen convert" not in said
    assert cli.main(["doctor"]) == 0
    assert "Take wegen convert --dtype w4a8" in capsys.readouterr().out


def test_more_pictures_than_are_drawn_at_once_are_refused(capsys):
    assert cli.main(["doctor", "--pictures", "9" * 30]) == 2
    assert "at most 64 are drawn at once" in capsys.readouterr().err


def card_of(gib):
    """A backend of PyTorch with one card."""
    return SimpleNamespace(
        is_available=lambda: True, get_device_properties=lambda index: SimpleNamespace(total_memory=gib * 2**30)
    )


def test_cards_of_all_kinds_are_known(monkeypatch):
    absent = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setattr(torch, "cuda", absent)
    monkeypatch.setattr(torch, "xpu", absent, raising=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert machine()[:2] == ("cpu", 0) and "no card" in str(machine())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert machine()[:2] == ("mps", 0) and "a GPU that uses the machine's memory (mps)" in str(machine())
    monkeypatch.setattr(torch, "xpu", card_of(16), raising=False)
    assert machine()[:2] == ("xpu", 16) and "a card of 16 GB (xpu)" in str(machine())
    monkeypatch.setattr(torch, "cuda", card_of(24))
    assert machine()[:2] == ("cuda", 24)
    monkeypatch.setattr(torch, "cuda", absent)
    monkeypatch.delattr(torch, "xpu")  # a build of PyTorch without it
    assert machine().device == "mps"


def test_the_command_is_what_was_advised():
    chosen = {"vision_encoder": "bf16", "language_model": "int8", "unet": "bf16", "vae": "w4a8"}
    assert command(chosen) == "--dtype bf16 --part language_model=int8"


def test_this_machine_has_memory():
    here = machine()
    assert here.card >= 0 and here.memory > 0.5


def test_a_checkpoint_that_is_not_whole_is_named(tmp_path):
    folder = make_random(tmp_path / "made", "tiny")
    assert examine(open_checkpoint(folder)) == []
    file = folder / part_file("language_model")
    state = load_file(file)
    state["llm.model.norm.weight"][3] = torch.nan
    save_file(state, file)
    told = []
    [fault] = examine(open_checkpoint(folder), lambda *one: told.append(one))
    assert "llm.model.norm.weight" in fault and "finite" in fault
    # The bar goes on behind the fault, and begins anew where a number comes twice.
    done = [one for one, _ in told]
    total = sum(part.stored_bytes() for part in open_checkpoint(folder).parts.values())
    assert done == sorted(set(done)) and told[-1] == (total, total)
    del state["llm.model.norm.weight"]
    save_file(state, file)
    [fault] = examine(open_checkpoint(folder))
    assert "lacks 1" in fault


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_reading_shows_how_far_it_is(tmp_path, capsys, monkeypatch, dtype):
    folder = make_random(tmp_path / "made", "tiny")
    folder = convert(folder, tmp_path / "out", dtype, parts={"unet": "bf16", "vision_encoder": "bf16"})
    told = []
    assert examine(open_checkpoint(folder), lambda *one: told.append(one)) == []
    total = sum(part.stored_bytes() for part in open_checkpoint(folder).parts.values())
    assert told[0][0] < total and told[-1] == (total, total) and len({done for done, _ in told}) == len(told)
    monkeypatch.setattr(common, "is_terminal", lambda: True)
    assert cli.main(["doctor", str(folder)]) == 0
    assert "reading: 100%" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_opened_is_not_whole(tmp_path, capsys):
    file = make_random(tmp_path / "made", "tiny") / part_file("unet")
    content = file.read_bytes()
    for damage in (lambda: file.write_bytes(content[:-1]), file.unlink):
        damage()
        assert cli.main(["doctor", str(tmp_path / "made")]) == 1
        said = capsys.readouterr().out
        assert "This machine:" in said and "Take wegen convert" in said and str(file) in said.splitlines()[-1]
    assert cli.main(["doctor", str(tmp_path)]) == 2  # no checkpoint at all
