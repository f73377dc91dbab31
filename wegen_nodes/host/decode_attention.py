"""The attention of single tokens that ComfyUI brings along for its own language models."""

from __future__ import annotations

import torch

from ...models.network.language_model import DecodeAttention

try:
    import comfy_kitchen
except ImportError:  # before ComfyUI 0.24
    comfy_kitchen = None

HEAD_WIDTH = 128
"""The only one that it can do; the published language model has it."""


def decode_attention(device: torch.device, dtype: torch.dtype, head_width: int) -> DecodeAttention | None:
    """ComfyUI's own function, on cards and in versions that have it, for bfloat16; None where PyTorch's is used."""
    available = getattr(comfy_kitchen, "flash_attention_decode_is_available", None)
    if available is None or device.type != "cuda" or dtype != torch.bfloat16 or head_width != HEAD_WIDTH:
        return None
    return comfy_kitchen.flash_attention_decode if available(device) else None
