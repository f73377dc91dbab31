"""Random checkpoints: of the right shapes, streamed, and usable like any other."""

import dataclasses

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.loading import empty_parts, load_wegen
from comfyui_wegen.models.checkpoints.random_weights import BLOCK, CONFIGS, make_random, random_tensor, tokenizer_of
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.checkpoints.writer import Entry
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.prompting.decoding import Decoding


@pytest.mark.parametrize("size", ["tiny", "nano"])
def test_it_opens_fits_and_writes(tmp_path, size):
    folder = make_random(tmp_path / "made", size)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.config == dataclasses.replace(CONFIGS[size], name="made")
    for name, module in empty_parts(checkpoint.config).items():
        checkpoint.parts[name].check(module)
    assert checkpoint.language_model["llm.lm_head.weight"].dtype == torch.bfloat16
    wegen = load_wegen(checkpoint, "cpu", torch.float32)
    prompt = wegen.embed([*wegen.tokenizer.encode("a red cat"), wegen.tokenizer.picture_begin_id])
    decoding = Decoding(wegen, [prompt], room=100)
    features = decoding.write_picture().features
    assert features.isfinite().all() and 0.01 < features.std() < 100
    assert decoding.write_text(5)


def test_the_published_layout_holds_the_same(tmp_path):
    packed = open_checkpoint(make_random(tmp_path / "packed", "tiny"))
    published = open_checkpoint(make_random(tmp_path / "published", "tiny", published=True))
    assert published.config == dataclasses.replace(packed.config, name="published")
    assert published.tokenizer.encode("a red cat<img>") == packed.tokenizer.encode("a red cat<img>")
    for name, part in packed.parts.items():
        other = published.parts[name]
        assert {key: entry.dtype for key, entry in other.stored.items()} == {
            key: entry.dtype for key, entry in part.stored.items()
        }
        assert all(torch.equal(part[key], other[key]) for key in part), name
    whole = torch.load(tmp_path / "published" / "pytorch_model.bin", weights_only=True)  # checks every record's sum
    assert torch.equal(whole["llm.lm_head.weight"], packed.language_model["llm.lm_head.weight"])
    (tmp_path / "mine.partial").mkdir()
    (tmp_path / "mine.partial" / "thesis.txt").write_text("precious")
    with pytest.raises(WeGenError, match=r"mine\.partial is in the way"):
        make_random(tmp_path / "mine", "tiny", published=True)
    assert [file.name for file in (tmp_path / "mine.partial").iterdir()] == ["thesis.txt"]
    with pytest.raises(WeGenError, match="cannot hold this kind of VAE; leave out --published"):
        make_random(tmp_path / "nano", "nano", published=True)


def test_the_same_seed_makes_the_same_files(tmp_path):
    one, two, other = (make_random(tmp_path / f"{n}", "tiny", seed=seed) for n, seed in enumerate((1, 1, 2**64)))
    name = "unet.safetensors"
    assert (one / name).read_bytes() == (two / name).read_bytes() != (other / name).read_bytes()


@pytest.mark.parametrize("size", CONFIGS)
def test_the_tokenizer_is_as_long_as_the_embedding(size):
    tokenizer = tokenizer_of(CONFIGS[size])
    assert tokenizer.vocab_size == CONFIGS[size].language.vocab_size
    ids = tokenizer.encode("a red cat")
    assert ids == open_checkpoint(BUNDLED).tokenizer.encode("a red cat")
    assert tokenizer.encode("a red cat<img>") == [*ids, tokenizer.picture_begin_id]


def test_tensors_larger_than_the_block_and_norms():
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(BLOCK, generator=generator)
    large = random_tensor(Entry("x.weight", torch.bfloat16, (BLOCK // 1024 + 7, 2048)), block, generator)
    assert large.isfinite().all() and float(large[-1].float().std()) == pytest.approx(1 / 2048**0.5, rel=0.1)
    assert torch.equal(random_tensor(Entry("norm.weight", torch.float32, (3,)), block, generator), torch.ones(3))
    assert torch.equal(random_tensor(Entry("fc.bias", torch.float32, (3,)), block, generator), torch.zeros(3))


def test_sizes_are_those_of_a_configuration_or_a_checkpoint(tmp_path):
    tiny = CONFIGS["tiny"]
    language = dataclasses.replace(tiny.language, layers=3)
    (tmp_path / "config.json").write_text(dataclasses.replace(tiny, language=language).to_json())
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text(), "utf-8-sig")  # as Windows editors do
    made = make_random(tmp_path / "made", str(tmp_path / "config.json"))
    assert open_checkpoint(made).config == dataclasses.replace(tiny, language=language, name="made")
    again = make_random(tmp_path / "again", str(made), published=True)
    # The published layout has no config.json: its sizes are read from several files.
    third = make_random(tmp_path / "third", str(again))
    assert open_checkpoint(third).config.language == language
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeGenError, match=r"config\.json is not a WeGen configuration"):
        make_random(tmp_path / "no", str(tmp_path / "config.json"))
    with pytest.raises(WeGenError, match=r"unet\.safetensors is no text; give a config\.json"):
        make_random(tmp_path / "no", str(made / "unet.safetensors"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeGenError, match="holds no WeGen checkpoint"):
        make_random(tmp_path / "no", str(tmp_path / "empty"))
    assert not (tmp_path / "no").exists()


def test_what_is_not_known_is_refused(tmp_path):
    with pytest.raises(WeGenError, match=r"'huge'.*published.*config\.json"):
        make_random(tmp_path / "made", "huge")
    with pytest.raises(WeGenError, match="int9"):
        make_random(tmp_path / "made", "tiny", "int9")
    (tmp_path / "made").mkdir()
    with pytest.raises(WeGenError, match="exists"):
        make_random(tmp_path / "made", "tiny")
