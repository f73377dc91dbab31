"""The published numbers inside ComfyUI: its own UNet, VAE and patchers must give what the published code computes."""

from pathlib import Path

import tiny
import torch
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.reader import CONFIG_FILE
from comfyui_wegen.models.painting.loading import load
from safetensors.torch import load_file, save_file

SCRIPTS = Path(__file__).parent / "scripts"


def test_native_decoder_follows_the_published_one(host_python, reference_dir):
    errors = host_python(SCRIPTS / "native_decoder.py", reference_dir)
    assert errors["cfg7_steps8.latent"] <= 1e-3
    assert errors["cfg2_steps5.latent"] <= 1e-3
    assert errors["cfg7_steps8.image"] <= 1e-3
    assert errors["cfg2_steps5.image"] <= 1e-3
    assert errors["pooled_features"] <= 1e-5


def test_a_quarter_of_the_memory_gives_the_same(host_python, reference_dir):
    precisions = ("fp32", "bf16")
    found = host_python(SCRIPTS / "partial_load.py", reference_dir, *precisions)
    for precision, parts in zip(precisions, found, strict=True):
        assert set(parts) == {"vision encoder", "language model", "unet"}
        for name, part in parts.items():
            assert 0 < part["loaded"] < 0.5 * part["size"], (precision, name)
            assert part["difference"] == 0, (precision, name)


def test_packed_features_equal_the_published_ones_to_the_bit(host_python, reference_dir, tmp_path):
    packed = convert(reference_dir, tmp_path / "packed", "fp32")
    features = host_python(SCRIPTS / "features.py", reference_dir / "reference_0.png", reference_dir, packed)
    assert len(features) == 2 and features[0] == features[1]


def test_host_and_headless_decoders_agree(host_python, tmp_path):
    """Of the published layout, and with the small models' VAE; the latter tells the UNet one size for all pictures."""
    folders = [tmp_path / "published", tmp_path / "compact"]
    expected = [painted(folder, folder.name == "compact") for folder in folders]
    host_python(SCRIPTS / "packed_decoder.py", *folders)
    for folder, wanted in zip(folders, expected, strict=True):
        found = load_file(folder / "out.safetensors")
        for name, value in wanted.items():
            place = f"{folder.name}, {name}"
            torch.testing.assert_close(
                found[name], value, atol=1e-4, rtol=1e-4, msg=lambda text, place=place: f"{place}: {text}"
            )


def painted(folder, compact):
    """What the decoder of a new checkpoint makes of what is written beside it."""
    model = tiny.write_packed(folder / "model", compact)
    written = (model / CONFIG_FILE).read_text()
    assert '"told_size": "picture"' in written
    if compact:
        (model / CONFIG_FILE).write_text(written.replace('"told_size": "picture"', '"told_size": "model"'))
    _, decoder = load(model)
    generator = torch.Generator().manual_seed(0)
    channels = decoder.config.vae.latent_channels
    side = decoder.config.size // decoder.config.vae.downscale
    wide = side + 4
    given = {
        "features": torch.randn(2, 64, 32, generator=generator),
        "noise": torch.randn(2, channels, side, wide, generator=generator),
        "latent": torch.randn(1, channels, side, wide, generator=generator),
        "picture": torch.rand(1, 32, 40, 3, generator=generator),
        "mask": (torch.arange(wide) / (side // 2)).clamp(max=1).expand(side, wide).contiguous(),
    }
    save_file(given, folder / "given.safetensors")
    keep = (given["latent"], given["mask"][None, None])
    return {
        "half": decoder.paint(given["features"], given["noise"], 4, 3.0, keep=keep, strength=0.5),
        "nearly all": decoder.paint(given["features"], given["noise"], 4, 3.0, keep=keep, strength=0.95),
        "latent": decoder.paint(given["features"], given["noise"], steps=4, guidance_scale=3.0),
        "edited": decoder.paint(given["features"], given["noise"], 4, 3.0, keep=keep),
        "picture": decoder.decode(given["latent"]),
        "encoded": decoder.encode(given["picture"]),
    }
