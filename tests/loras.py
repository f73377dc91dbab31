"""LoRA files with random numbers, for the bundled model."""

import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.lora import LowRank, write_lora
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.network.decoder import empty_decoder


def empty_modules():
    """Of the parts that a LoRA changes, without memory."""
    config = open_checkpoint(BUNDLED).config
    unet, _ = empty_decoder(config)
    with torch.device("meta"):
        return {"language_model": Agent(config), "unet": unet}


def random_loras(folder, large=0.03):
    """A file for each part, by the part's name: of rank 4, on all layers that have a matrix for a weight."""
    generator = torch.Generator().manual_seed(0)
    files = {}
    for part, module in empty_modules().items():
        changes = {}
        for name, layer in module.named_modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Embedding):
                shape = layer.weight.shape
                down = torch.randn(4, *shape[1:], generator=generator) * layer.weight[0].numel() ** -0.5
                up = torch.randn(shape[0], 4, *[1] * (len(shape) - 2), generator=generator) * large
                changes[name] = LowRank(down, up, 0.5)
        files[part] = write_lora(folder / f"{part}.safetensors", part, changes, {})
    return files
