"""Building headless models from an opened checkpoint; inside ComfyUI the host's side does this its own way."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from ..network import cpu_layers
from ..network.agent import Agent
from ..network.configuration import WeGenConfig
from ..network.decoder import empty_decoder
from ..network.prefix_cache import PrefixCache
from ..network.vision_encoder import VisionEncoder
from .int8_layers import Linear, fast_on_cpu
from .reader import Checkpoint, Part
from .wegen import WeGen


def load_wegen(
    checkpoint: Checkpoint,
    device: str | torch.device,
    dtype: torch.dtype,
    parts: Collection[str] = ("vision_encoder", "language_model"),
) -> WeGen:
    """The vision encoder and the language model, without the decoder.

    Args:
        checkpoint: an opened one.
        device: where they are put.
        dtype: their precision.
        parts: which of the two are read; the other stays without memory, and cannot be used.
    """
    config, device = checkpoint.config, torch.device(device)
    on_cpu = device.type == "cpu" and dtype == torch.float32
    with torch.device("meta"):
        vision_encoder, agent = VisionEncoder(config.vision), Agent(config, cpu_layers if on_cpu else nn)
    return WeGen(
        config=config,
        tokenizer=checkpoint.tokenizer,
        vision_encoder=(
            fill(vision_encoder, checkpoint.vision_encoder, device, dtype)
            if "vision_encoder" in parts
            else vision_encoder
        ),
        agent=fill(agent, checkpoint.language_model, device, dtype) if "language_model" in parts else agent,
        device=device,
        dtype=dtype,
        prefixes=PrefixCache(),
        vision_id=checkpoint.vision_id,
    )


def empty_parts(config: WeGenConfig) -> dict[str, nn.Module]:
    """Every part of the model without memory, for its names and shapes."""
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {"vision_encoder": VisionEncoder(config.vision), "language_model": Agent(config)}
    parts["unet"], parts["vae"] = empty_decoder(config)
    return parts


def fill(module: nn.Module, part: Part, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module with the weights of a part.

    Quantised layers are turned back, except on a CPU that is fast in int8: there they stay as they are.
    """
    part.check(module)
    if part.quantised and device.type == "cpu" and fast_on_cpu():
        _fill_quantised(module, part, dtype)
    else:
        _fill_exact(module, part, device, dtype)
    module.eval().requires_grad_(False)
    return cpu_layers.prepare(module) if device.type == "cpu" and dtype == torch.float32 else module


def _fill_exact(module: nn.Module, part: Part, device: torch.device, dtype: torch.dtype) -> None:
    # Assigned tensor by tensor: beside the finished module only one tensor of the file is in memory at a time.
    state = {key: part[key].to(device, dtype) for key in part}
    module.load_state_dict(state, assign=True)


def _fill_quantised(module: nn.Module, part: Part, dtype: torch.dtype) -> None:
    state = {}
    for key in part:
        name, whole = key.removesuffix(".weight"), part.int8_weight(key)
        if whole is None:
            state[key] = part[key].to(dtype)
            continue
        parent, _, child = name.rpartition(".")
        bias = f"{name}.bias"
        layer = Linear(whole, part[bias].to(dtype) if bias in part else None)
        setattr(module.get_submodule(parent), child, layer)
    left = module.state_dict()
    module.load_state_dict({key: value for key, value in state.items() if key in left}, assign=True)
