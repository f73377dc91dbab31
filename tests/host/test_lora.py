"""LoRA files inside ComfyUI: they give what the same change of the weights gives, and nodes say what is wrong."""

import shutil
from pathlib import Path

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.loading import fill
from comfyui_wegen.models.checkpoints.lora import LowRank, merge, read_lora, write_lora
from comfyui_wegen.models.checkpoints.reader import open_checkpoint, part_file
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.network.decoder import empty_decoder
from safetensors.torch import save_file

SCRIPTS = Path(__file__).parent / "scripts"


def random_lora(module, part, file, seed=0, large=0.03):
    """A LoRA of rank 4 on all Linear layers and convolutions but the output over words."""
    generator = torch.Generator().manual_seed(seed)
    changes = {}
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and not name.endswith("lm_head"):
            shape = layer.weight.shape
            down = torch.randn(4, *shape[1:], generator=generator) * layer.weight[0].numel() ** -0.5
            up = torch.randn(shape[0], 4, *[1] * (len(shape) - 2), generator=generator) * large
            changes[name] = LowRank(down, up, 0.5)
    return write_lora(file, part, changes, {})


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    """A LoRA file for each of two parts of the bundled model, by the part's name."""
    folder, config = tmp_path_factory.mktemp("loras"), open_checkpoint(BUNDLED).config
    unet, _ = empty_decoder(config)
    with torch.device("meta"):
        modules = {"language_model": Agent(config), "unet": unet}
    return {part: random_lora(module, part, folder / f"{part}.safetensors") for part, module in modules.items()}


def merged(folder, loras, *strengths):
    """The bundled model with the files in its weights."""
    checkpoint = open_checkpoint(BUNDLED)
    shutil.copytree(BUNDLED, folder)
    unet, _ = empty_decoder(checkpoint.config)
    with torch.device("meta"):
        modules = {"language_model": Agent(checkpoint.config), "unet": unet}
    for part, module in modules.items():
        fill(module, checkpoint.parts[part], torch.device("cpu"), torch.float32)
        for strength in strengths:
            merge(module, read_lora(loras[part]), strength)
        save_file(module.state_dict(), folder / part_file(part))
    return folder


def test_files_give_what_merged_weights_give(host_python, loras, tmp_path):
    """Two on top of each other, loaded whole and by a quarter."""
    strengths = (0.6, -0.25)
    target = merged(tmp_path / "merged", loras, *strengths)
    found = host_python(SCRIPTS / "lora.py", BUNDLED, target, loras["language_model"], loras["unet"], *strengths)
    for name, part in found.items():
        assert part["effect"] > 0.05, (name, part)
        assert part["full"] <= 1e-4, (name, part)
        assert part["quarter"] <= 1e-4, (name, part)
        assert 0 < part["loaded"] < 0.5, (name, part)
        assert part["left behind"] == 0, (name, part)
