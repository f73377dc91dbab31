"""Memory is counted as it is taken, and the published sizes fit a card of 24 GB."""

import pytest
import torch
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.network.configuration import WeGenConfig
from comfyui_wegen.models.network.decoder import empty_decoder
from comfyui_wegen.models.training.adapters import LoraOptions, add_adapters, fill_frozen
from comfyui_wegen.models.training.memory import TRAINED_BYTES, lora_memory, weight_bytes


@pytest.mark.parametrize("base", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("part", ["language_model", "unet"])
def test_what_is_counted_is_what_is_there(packed_dir, base, part):
    checkpoint, options = open_checkpoint(packed_dir), LoraOptions(rank=3, base=base, words=True)
    with torch.device("meta"):
        module = Agent(checkpoint.config) if part == "language_model" else empty_decoder(checkpoint.config)[0]
    counted = weight_bytes(module, options)
    fill_frozen(module, checkpoint.parts[part], options)
    tensors = [*module.parameters(), *module.buffers()]
    assert counted == sum(value.nbytes for value in tensors)
    add_adapters(module, options)
    trained = sum(value.numel() for value in module.parameters() if value.requires_grad)
    assert lora_memory(checkpoint.config, part, options).trained == TRAINED_BYTES * trained


@pytest.mark.parametrize("part", ["language_model", "unet"])
def test_the_published_sizes_fit_24_gb(part):
    config = WeGenConfig()
    assert lora_memory(config, part, LoraOptions(base="int8")).total < 16e9
    assert lora_memory(config, part, LoraOptions(base="bf16")).total < 25e9
