"""The Python API: what it reads of a checkpoint, and when."""

import os
import shutil

import pytest
import torch
from comfyui_wegen.models import cli
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints import reader
from comfyui_wegen.models.checkpoints.lora import LowRank, write_lora
from comfyui_wegen.models.checkpoints.reader import PARTS, part_file
from comfyui_wegen.models.engine import Progress
from comfyui_wegen.models.errors import CheckpointError
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from PIL import Image
from safetensors.torch import load_file, save_file

READ_FIRST = {"vision_encoder", "language_model"}


@pytest.fixture
def read(monkeypatch):
    """Names of the parts of which tensors were read."""
    found, original = [], reader._File.read

    def noted(file, begin, count):
        found.append(file.path.stem)
        return original(file, begin, count)

    monkeypatch.setattr(reader._File, "read", noted)
    return found


def test_asking_and_writing_never_read_the_decoder(packed_dir, tmp_path, read, capsys):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    words = ["ask", "what is there?", "--reference", f"photo={tmp_path / 'red.png'}", "--model", str(packed_dir)]
    assert cli.main(words) == 0
    pipeline = Pipeline.from_folder(packed_dir)
    pipeline.rewrite("a cat", [1, 2], TextSampling())
    pipeline.begin_with(Image.new("RGB", (32, 32)))
    assert set(read) == READ_FIRST


def test_the_decoder_is_read_once_when_something_is_painted(packed_dir, read):
    pipeline = Pipeline.from_folder(packed_dir)
    first = pipeline.generate("a cat", [1])
    assert set(read) == set(PARTS)
    read.clear()
    assert torch.equal(pipeline.generate("a cat", [1]).last.answer.picture, first.last.answer.picture)
    assert read == [] and pipeline.decoder is pipeline.decoder


def test_a_turn_that_ends_before_it_paints_reads_no_decoder(packed_dir, read):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline.from_folder(packed_dir).generate("a cat", [1], progress=Progress(on_feature=stop))
    assert set(read) == READ_FIRST


def test_a_lora_of_the_language_model_reads_no_decoder(packed_dir, tmp_path, read):
    change = LowRank(torch.ones(1, 32), torch.ones(32, 1), 1.0)
    layer = "llm.model.layers.0.self_attn.q_proj"
    file = write_lora(tmp_path / "l.safetensors", "language_model", {layer: change}, {})
    pipeline = Pipeline.from_folder(packed_dir)
    changed = pipeline.with_loras({file: 1.0})
    assert set(read) == {*READ_FIRST, file.stem}
    assert changed.decoder is pipeline.decoder


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_decoder_of_another_model_is_named_before_anything_is_read(packed_dir, tmp_path, read, part):
    folder = shutil.copytree(packed_dir, tmp_path / "copy")
    state = load_file(folder / part_file(part))
    save_file({**state, next(iter(state)): torch.zeros(3)}, folder / part_file(part))
    with pytest.raises(CheckpointError, match=rf"{part}.*\[3\]"):
        Pipeline.from_folder(folder)
    os.truncate(folder / part_file(part), 5000)
    with pytest.raises(CheckpointError, match=rf"{part}.*damaged"):
        Pipeline.from_folder(folder)
    assert read == []


def test_a_decoder_that_was_changed_before_it_is_read_is_named(packed_dir, tmp_path):
    folder = shutil.copytree(packed_dir, tmp_path / "copy")
    pipeline = Pipeline.from_folder(folder)
    os.truncate(folder / part_file("unet"), 5000)
    with pytest.raises(CheckpointError, match=r"unet\.safetensors was changed while it was in use"):
        pipeline.generate("a cat", [1])


@pytest.mark.parametrize(("width", "height"), [(112, 112), (192, 128), (160, 144)])
def test_the_bundled_model_paints_sizes_beside_its_own(width, height):
    """The same place in other proportions: the sky stays at the top and the meadow at the bottom."""
    pipeline = Pipeline.from_folder(BUNDLED)
    words = "a cat on a meadow by day"

    def rows(size):
        picture = pipeline.generate(words, [3], size=size).last.answer.picture
        assert picture.shape[:2] == (size[1], size[0])
        return torch.stack([picture[: size[1] // 4].mean((0, 1)), picture[-size[1] // 4 :].mean((0, 1))])

    torch.testing.assert_close(rows((width, height)), rows((128, 128)), atol=0.08, rtol=0)
