"""Quantised checkpoints: how far off, what stays as it is, and that everything reads them."""

import dataclasses
import json
import math
import re
import shutil

import pytest
import torch
from comfyui_wegen.models import cli
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints import loading
from comfyui_wegen.models.checkpoints.convert import CHOICES, convert
from comfyui_wegen.models.checkpoints.loading import load_wegen
from comfyui_wegen.models.checkpoints.quantise import (
    CODEBOOK,
    GROUP_SCALES,
    HEADER_KEY,
    ROW_SCALES,
    SCALE,
    WEIGHT,
    dequantise,
    from_header,
    hadamard,
    layout,
    piece_names,
    quantise,
    quantised_format,
    rotate_groups,
    to_header,
)
from comfyui_wegen.models.checkpoints.random_weights import CONFIGS, make_random
from comfyui_wegen.models.checkpoints.reader import open_checkpoint, part_file
from comfyui_wegen.models.errors import CheckpointError, WeGenError
from comfyui_wegen.models.prompting.decoding import Decoding
from safetensors import safe_open
from safetensors.torch import load_file, save_file

LANGUAGE = "llm.model.layers.0.self_attn.q_proj.weight"
SCENE = "in the snow at night, a small red house with the lights on at the lower far right."


def outlier_weight():
    weight = torch.randn(512, 1024, generator=torch.Generator().manual_seed(0)) * 0.03
    weight[:, 17] *= 60
    return weight


@pytest.mark.parametrize(
    ("precision", "limit", "size"), [("int8", 0.015, 1.01), ("fp8", 0.04, 1.01), ("w4a8", 0.075, 0.58)]
)
def test_a_layer_with_an_outlier_is_close(precision, limit, size):
    weight = outlier_weight()
    layer = quantised_format(LANGUAGE, tuple(weight.shape), precision)
    pieces = quantise(weight, layer)
    assert {end: (piece.dtype, tuple(piece.shape)) for end, piece in pieces.items()} == layout(layer, (512, 1024))
    assert sum(piece.nbytes for piece in pieces.values()) < size * weight.numel()
    x = torch.randn(64, 1024, generator=torch.Generator().manual_seed(1))
    exact, found = x @ weight.T, x @ dequantise(pieces, layer).T
    assert float((exact - found).norm() / exact.norm()) < limit


@pytest.mark.parametrize("size", [4, 16, 256])
def test_rotating_twice_is_nothing(size):
    weight = torch.randn(3, 2 * size)
    torch.testing.assert_close(rotate_groups(rotate_groups(weight, size), size), weight)
    torch.testing.assert_close(hadamard(size) @ hadamard(size), torch.eye(size))


def test_only_layers_of_transformers_are_quantised():
    for key in ("llm.lm_head.weight", "llm.model.embed_tokens.weight", "input_resampler.proj.weight"):
        assert quantised_format(key, (256, 256), "int8") is None
    assert quantised_format("llm.model.layers.0.input_layernorm.weight", (256,), "int8") is None
    assert quantised_format("down_blocks.0.resnets.0.conv1.weight", (64, 64, 3, 3), "int8") is None
    assert quantised_format("down_blocks.0.resnets.0.time_emb_proj.weight", (64, 64), "int8") is None
    inside = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    assert quantised_format(inside, (64, 640), "int8")["convrot_groupsize"] == 64
    assert quantised_format(inside, (64, 30), "int8") is None


@pytest.fixture(scope="module", params=["int8", "fp8", "w4a8"])
def quantised(request, tmp_path_factory):
    return convert(BUNDLED, tmp_path_factory.mktemp("quantised") / request.param, request.param)


def test_the_bundled_model_is_smaller_and_nearly_the_same(quantised):
    size = {f: (f / part_file("language_model")).stat().st_size for f in (quantised, BUNDLED)}
    assert size[quantised] < 0.65 * size[BUNDLED]  # embeddings and the output layer stay as they are
    texts = {}
    for folder in (BUNDLED, quantised):
        wegen = load_wegen(open_checkpoint(folder), "cpu", torch.float32)
        text = wegen.config.templates.text_to_picture.format(pictures="", text=SCENE)
        decoding = Decoding(wegen, [wegen.embed(wegen.tokenizer.encode(text + "<img>"))], room=70)
        texts[folder] = decoding.write_picture().features.flatten()
    cosine = torch.nn.functional.cosine_similarity(texts[BUNDLED], texts[quantised], dim=0)
    assert float(cosine) > {"int8": 0.999, "fp8": 0.999, "w4a8": 0.99}[quantised.name], float(cosine)


def test_the_header_names_every_quantised_layer(quantised):
    file = quantised / part_file("language_model")
    with safe_open(file, framework="pt") as handle:
        layers = json.loads(handle.metadata()[HEADER_KEY])["layers"]
    stored = load_file(file)
    assert len(layers) == 7 * open_checkpoint(BUNDLED).config.language.layers
    for layer in layers:
        assert stored[f"{layer}.weight"].dtype.itemsize == 1
        assert {f"{layer}.{end}" for end in piece_names(layers[layer])} <= set(stored)
    assert stored["llm.lm_head.weight"].dtype == torch.bfloat16
    assert HEADER_KEY not in (safe_open(quantised / part_file("vae"), framework="pt").metadata() or {})


def test_a_quantised_folder_converts_back(quantised, tmp_path):
    again = open_checkpoint(convert(quantised, tmp_path / "fp32", "fp32")).language_model[LANGUAGE]
    exact = open_checkpoint(BUNDLED).language_model[LANGUAGE].float()
    assert float((again - exact).norm() / exact.norm()) < (0.08 if quantised.name == "w4a8" else 0.04)


def test_parts_can_have_precisions_of_their_own(tmp_path):
    folder = convert(BUNDLED, tmp_path / "out", "fp16", parts={"language_model": "int8"})
    assert load_file(folder / part_file("language_model"))[LANGUAGE].dtype == torch.int8
    assert {t.dtype for t in load_file(folder / part_file("unet")).values()} == {torch.float16}
    with pytest.raises(WeGenError, match="'decoder'"):
        convert(BUNDLED, tmp_path / "no", parts={"decoder": "int8"})


@pytest.mark.parametrize("dtype", [choice for choice in CHOICES if choice != "fp32"])
def test_the_vae_has_one_precision(tmp_path, dtype, capsys):
    assert cli.main(["convert", str(BUNDLED), str(tmp_path / "no"), "--part", f"vae={dtype}"]) == 2
    assert f"The VAE can be stored in fp32 only, not in {dtype}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    folder = convert(BUNDLED, tmp_path / "out", dtype, parts={"vae": "fp32"})
    assert {tensor.dtype for tensor in load_file(folder / part_file("vae")).values()} == {torch.float32}


def test_a_part_without_a_layer_for_a_precision_is_refused(tmp_path):
    # No number of inputs is a multiple of 16, so that nothing can be rotated.
    tiny = CONFIGS["tiny"]
    vision = dataclasses.replace(tiny.vision, image_size=56, patch_size=7, width=40, head_width=20, mlp_width=40)
    unet = dataclasses.replace(tiny.unet, cross_attention_dim=40, projection_class_embeddings_input_dim=40 + 6 * 256)
    (tmp_path / "config.json").write_text(dataclasses.replace(tiny, vision=vision, unet=unet).to_json())
    folder = make_random(tmp_path / "made", str(tmp_path / "config.json"))
    for dtype in ("int8", "w4a8"):
        with pytest.raises(WeGenError, match=f"No layer of the vision encoder can be stored in {dtype}.*of 16 inputs"):
            convert(folder, tmp_path / "no", parts={"vision_encoder": dtype})
    assert not (tmp_path / "no").exists()
    # fp8 rotates nothing.
    written = open_checkpoint(convert(folder, tmp_path / "out", parts={"vision_encoder": "fp8"}))
    assert written.vision_encoder.quantised


def test_damaged_or_foreign_quantisation_is_named(quantised, tmp_path):
    for change, message in (
        (lambda s, h: (s, {HEADER_KEY: "{"}), "damaged"),
        (lambda s, h: (s, {HEADER_KEY: re.sub("float8_e4m3fn|int8_tensorwise|asym_w4a8_int8", "nvfp4", h[HEADER_KEY])}),
         "'nvfp4'"),
        (lambda s, h: ({k: v for k, v in s.items() if "q_proj.weight_s" not in k}, h), "weight s.* is missing"),
    ):  # fmt: skip
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for file in quantised.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        file = folder / part_file("language_model")
        with safe_open(file, framework="pt") as handle:
            metadata = handle.metadata()
        state, metadata = change(load_file(file), metadata)
        save_file(state, file, metadata)
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(folder)


@pytest.mark.parametrize(("precision", "scales"), [("int8", SCALE), ("w4a8", ROW_SCALES), ("w4a8", GROUP_SCALES)])
def test_scales_that_do_not_fit_their_weight_are_refused(precision, scales):
    layer = quantised_format(LANGUAGE, (512, 256), precision)
    pieces = quantise(torch.randn(512, 256), layer)
    with pytest.raises(ValueError, match="scales"):
        dequantise({**pieces, scales: pieces[scales][:7]}, layer)


def test_a_quantised_layer_that_fits_nowhere_is_refused():
    layer = quantised_format(LANGUAGE, (512, 256), "fp8")
    pieces = quantise(torch.randn(512, 256), layer)
    with pytest.raises(ValueError, match="7 scales"):
        dequantise({**pieces, SCALE: torch.ones(7)}, layer)
    layer = quantised_format(LANGUAGE, (512, 80), "int8")
    pieces = quantise(torch.randn(512, 80), layer)
    with pytest.raises(ValueError, match="rows of 80 numbers are no groups of 64"):
        dequantise(pieces, {**layer, "convrot_groupsize": 64})


@pytest.mark.parametrize("fast", [True, False], ids=["int8", "turned back"])
def test_a_damaged_quantised_layer_is_named_with_its_file(quantised, tmp_path, monkeypatch, fast):
    """With and without a CPU that is fast in int8, which reads layers in another way."""
    monkeypatch.setattr(loading, "fast_on_cpu", lambda: fast)
    folder = shutil.copytree(quantised, tmp_path / "copy")
    file = folder / part_file("language_model")
    checkpoint = open_checkpoint(folder)
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"{re.escape(str(file))} is no longer there"):
        load_wegen(checkpoint, "cpu", torch.float32)
    with safe_open(tmp_path / "elsewhere", framework="pt") as handle:
        metadata = handle.metadata()
    scales = {"int8": SCALE, "fp8": SCALE, "w4a8": ROW_SCALES}[quantised.name]
    state = load_file(tmp_path / "elsewhere")
    save_file({**state, LANGUAGE.removesuffix("weight") + scales: torch.ones(3)}, file, metadata)
    with pytest.raises(CheckpointError) as error:
        load_wegen(open_checkpoint(folder), "cpu", torch.float32)
    for word in (str(file), repr(LANGUAGE), "scales"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        {"convrot_groupsize": None},
        {"convrot_groupsize": [256]},
        {"convrot_groupsize": -4},
        {"convrot_groupsize": math.inf},
        {"convrot_groupsize": True},
        {"group_size": 0},
        {"group_size": "16"},
    ],
)
def test_sizes_in_a_header_that_cannot_be_are_named(damage):
    [key] = damage
    header = to_header({"a.b": {"format": "asym_w4a8_int8", **damage}})
    with pytest.raises(CheckpointError, match=f"file: {key} of 'a.b' is .* must be a whole number"):
        from_header(header, "file")


@pytest.mark.parametrize("group", [1, 2, 8, 48, 128])
def test_groups_that_cannot_be_rotated_are_named(group):
    """Some CPUs would rotate groups of another size and say nothing."""
    header = to_header({"a.b": {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": group}})
    with pytest.raises(CheckpointError, match=f"file: convrot_groupsize of 'a.b' is {group} .* another power of 4"):
        from_header(header, "file")


@pytest.mark.parametrize("text", ["{", "[]", '{"layers": {"a": {}}}', "[" * 100_000])
def test_a_header_that_is_damaged_is_named(text):
    with pytest.raises(CheckpointError, match="file: what its header says about quantised layers is damaged"):
        from_header({HEADER_KEY: text}, "file")


def test_formats_of_several_types_are_unknown():
    with pytest.raises(CheckpointError, match="has weights in"):
        from_header(to_header({"a": {"format": None}, "b": {"format": "x"}}), "file")


@pytest.mark.parametrize("codebook", [torch.zeros(5), torch.zeros(16, 1), torch.zeros(0)])
def test_a_codebook_of_another_size_is_said(codebook):
    layer = quantised_format(LANGUAGE, (512, 256), "w4a8")
    pieces = quantise(torch.randn(512, 256), layer)
    with pytest.raises(ValueError, match=re.escape(f"codebook is of {list(codebook.shape)} numbers in place of 16")):
        dequantise({**pieces, CODEBOOK: codebook}, layer)


@pytest.mark.parametrize("precision", ["int8", "w4a8"])
def test_another_type_than_int8_is_said(precision):
    layer = quantised_format(LANGUAGE, (512, 256), precision)
    pieces = quantise(torch.randn(512, 256), layer)
    with pytest.raises(ValueError, match=r"torch.float16 in place of int8"):
        dequantise({**pieces, WEIGHT: pieces[WEIGHT].half()}, layer)


def test_groups_that_do_not_divide_a_row_are_said():
    layer = {"format": "asym_w4a8_int8", "group_size": 5, "convrot_groupsize": 0}
    with pytest.raises(ValueError, match="no groups of 5"):
        dequantise({"weight": torch.zeros(2, 8, dtype=torch.int8)}, layer)
