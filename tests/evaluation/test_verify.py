"""`verify`: this implementation agrees with the published code, and would say so if it did not."""

import json
import shutil

import pytest
import torch
from comfyui_wegen.models import cli
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation import verify as verifying
from comfyui_wegen.models.evaluation.verify import compare, compare_exactly, compare_loss, find_checkpoint, verify
from safetensors.torch import load_file, save_file


@pytest.mark.slow
def test_every_published_value_is_reproduced(reference_dir):
    stages = verify(reference_dir)
    assert [str(stage) for stage in stages if not stage.passed] == []
    names = [stage.name for stage in stages]
    tensors = load_file(reference_dir / "expected.safetensors")
    inputs = ("train.", "unet.", "vae.pixels", "decode.features", "decode.start_noise")
    for key in tensors:
        assert key in names or key.startswith(inputs), key
    for name in ("unet.eps", "train.total_loss", "free: generated_ids", "t2i_guided: full_text"):
        assert name in names


SMALL = ("encode.", "unet.", "vae.")


@pytest.fixture
def small(reference_dir, tmp_path):
    """The quick stages of the reference data only, to be tampered with: what is not there is reported as missing."""
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "wegen_mllm_ckpt").symlink_to(reference_dir / "wegen_mllm_ckpt")
    for file in ("vision_config.json", "reference_0.png", "reference_1.png"):
        shutil.copy(reference_dir / file, folder / file)
    values = json.loads((reference_dir / "expected.json").read_text())
    tensors = load_file(reference_dir / "expected.safetensors")
    values = {key: value for key, value in values.items() if not (isinstance(value, dict) and "input_ids" in value)}
    tensors = {key: value for key, value in tensors.items() if key.startswith(SMALL)}

    def write():
        (folder / "expected.json").write_text(json.dumps(values))
        save_file(tensors, folder / "expected.safetensors")
        return folder

    return values, tensors, write


def test_what_differs_fails_and_nothing_else(small):
    values, tensors, write = small
    tensors["encode.pooled_mean"][0, 0] += 2e-4
    tensors["encode.pixels"][0, 0, 0, 0] = float("nan")
    tensors["encode.llm_embeddings"] = tensors["encode.llm_embeddings"][:1].clone()
    tensors["unet.eps"][1, 2, 3, 4] += 2e-5
    tensors["vae.decoded"][0, 0, 0, 0] -= 3e-4
    tensors["surprise"] = torch.zeros(1)
    values["image_token_ids"][5] += 1
    values["vocab_size"] += 1
    values["vision"]["postnorm"] = False
    values["vision"]["depth"] = 3
    del tensors["vae.latent_mode"], values["vision"]["layers"]
    first = next(iter(values["tokenize"]))
    values["tokenize"][first] = values["tokenize"][first][:-1]
    stages = verify(write())
    failed = {stage.name: stage for stage in stages if not stage.passed}
    missing = {name for name, stage in failed.items() if "missing" in stage.note}
    assert set(failed) - missing == {
        "encode.pooled_mean",
        "encode.pixels",
        "encode.llm_embeddings",
        "unet.eps",
        "surprise",
        "tokenize: image_token_ids",
        "tokenize: one picture",
        "sizes: vocab_size",
        "sizes: vision.postnorm",
        "expected.json:vision/depth",
        f"tokenize: {first[:32]!r}",
    }
    assert "not verified" in failed["surprise"].note and "not verified" in failed["expected.json:vision/depth"].note
    assert {"vae.latent_mode", "expected.json:vision/layers", "decode.features", "train.labels"} <= missing
    assert failed["encode.pooled_mean"].absolute == pytest.approx(2e-4, rel=0.1)
    assert failed["tokenize: one picture"].absolute == 1


def test_the_command_prints_each_stage_and_fails(small, capsys):
    *_, write = small
    folder = write()
    assert cli.main(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "absolute", "relative", "tolerance"]
    assert next(line for line in lines if line.startswith("unet.eps")).endswith("ok")
    assert any("train.labels" in line and "FAIL" in line for line in lines)
    assert "failed:" in lines[-1]


@pytest.mark.slow
def test_a_packed_copy_holds_the_same_values_and_a_coarser_one_does_not(small, tmp_path):
    *_, write = small
    folder = write()
    for dtype, passes in (("fp32", True), ("bf16", False)):
        stages = verify(folder, convert(folder, tmp_path / dtype, dtype))
        by_name = {stage.name: stage for stage in stages}
        assert by_name["encode.patch_features"].passed == passes
        assert by_name["unet.eps"].passed == passes
        assert by_name["vae.decoded"].passed  # the VAE stays exact


def test_the_tolerance_grows_with_the_scale():
    big, small = torch.tensor([100.0, 0.0]), torch.tensor([0.01, 0.0])
    assert compare("x", big + 0.0009, big, 1e-5).passed
    assert not compare("x", big + 0.0011, big, 1e-5).passed
    assert compare("x", small + 0.9e-5, small, 1e-5).passed
    assert not compare("x", small + 1.1e-5, small, 1e-5).passed
    assert compare("x", big + 1, big, 1e-5).relative == pytest.approx(0.01)


def test_nothing_odd_passes():
    x = torch.ones(3)
    assert not compare("x", torch.tensor([1.0, float("nan"), 1.0]), x, 1.0).passed
    assert not compare("x", x, torch.tensor([1.0, float("nan"), 1.0]), 1.0).passed
    assert not compare("x", x * float("inf"), x, 1.0).passed
    assert not compare("x", torch.ones(3, 1), x, 1.0).passed
    assert not compare_exactly("x", [1, 2], [1, 3]).passed
    assert not compare_exactly("x", [1], [1, 2]).passed
    assert not compare_exactly("x", True, False).passed
    assert not compare_loss("x", 1.00011, 1.0).passed
    assert not compare_loss("x", 0.010002, 0.01).passed
    assert not compare_loss("x", float("nan"), 1.0).passed
    assert compare_loss("x", 1.00009, 1.0).passed


def test_folders_without_reference_data(tmp_path, packed_dir):
    with pytest.raises(WeGenError, match="no folder"):
        verify(tmp_path / "nothing")
    with pytest.raises(WeGenError, match=r"no expected\.safetensors"):
        verify(tmp_path)
    with pytest.raises(WeGenError, match="0 checkpoints"):
        find_checkpoint(tmp_path)
    assert find_checkpoint(packed_dir) == packed_dir
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(packed_dir)
    with pytest.raises(WeGenError, match=r"2 checkpoints \(one, two\)"):
        find_checkpoint(tmp_path)


def test_what_was_fed_back_is_judged_by_the_spread_that_float64_shows(tiny):
    """An error of the size of rounding passes, one beyond it does not."""
    wegen = tiny[0]
    ids = wegen.tokenizer.encode("a cat<img>")
    prompt = wegen.embed(ids)
    precise = verifying._generate(verifying._in_float64(wegen), ids, prompt.double(), 1, 80, "aligned")[1]
    rounded = precise + 4e-5
    for factor, passed in ((1, True), (5, False)):
        found = rounded + factor * 4e-5
        stage = verifying.compare("t2i.aligned_features", found, rounded, 1e-7)
        assert not stage.passed
        judged = verifying._within_rounding(stage, rounded, precise)
        assert judged.passed is passed and "float64" in judged.note
