"""The published numbers inside ComfyUI: its own UNet, VAE and patchers must give what the published code computes."""

from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"


def test_native_decoder_follows_the_published_one(host_python, reference_dir):
    errors = host_python(SCRIPTS / "native_decoder.py", reference_dir)
    assert errors["cfg7_steps8.latent"] <= 1e-3
    assert errors["cfg2_steps5.latent"] <= 1e-3
    assert errors["cfg7_steps8.image"] <= 1e-3
    assert errors["cfg2_steps5.image"] <= 1e-3
    assert errors["pooled_features"] <= 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_quarter_of_the_memory_gives_the_same(host_python, reference_dir, precision):
    parts = host_python(SCRIPTS / "partial_load.py", reference_dir, precision)
    assert set(parts) == {"vision encoder", "language model", "unet"}
    for name, part in parts.items():
        assert 0 < part["loaded"] < 0.5 * part["size"], name
        assert part["difference"] == 0, name
