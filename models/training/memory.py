"""What a LoRA takes of a device's memory, counted from sizes alone: weights, what is trained, and what is kept for the
way back when blocks are computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ..checkpoints.loading import empty_parts
from ..checkpoints.quantise import quantised_format, stored_bytes
from ..network.configuration import WeGenConfig
from .adapters import INT8, LoraOptions, adapted_layers
from .recipe import LANGUAGE_MODEL

TRAINED_BYTES = 16
"""Of a trained number: itself, its gradient and AdamW's two moments, all in 32 bits."""


@dataclass(frozen=True)
class Memory:
    """Bytes on a device.

    Attributes:
        frozen: weights of the part that is trained, of the vision encoder and, for the UNet, of the VAE.
        trained: adapters with gradients and optimizer.
        kept: activations between blocks, in 16 bits.
        widest: inside of the block that takes most, and for the language model what comes of the words' logits.
    """

    frozen: int
    trained: int
    kept: int
    widest: int

    @property
    def total(self) -> int:
        return self.frozen + self.trained + self.kept + self.widest


def lora_memory(config: WeGenConfig, stage: str, options: LoraOptions, tokens: int = 2048, size: int = 1024) -> Memory:
    """What one batch of one row takes.

    Args:
        config: of the checkpoint.
        stage: "language_model" or "unet".
        options: of the LoRA.
        tokens: of a row, for the language model.
        size: side of a picture in pixels, for the UNet.
    """
    parts = empty_parts(config)
    frozen = weight_bytes(parts["vision_encoder"], options) + weight_bytes(parts[stage], options)
    trained = TRAINED_BYTES * sum(_adapter_numbers(layer, options.rank) for _, layer in adapted(parts[stage], options))
    if stage == LANGUAGE_MODEL:
        language = config.language
        kept = 2 * tokens * language.width * language.layers
        inside = 2 * tokens * (8 * language.width + 4 * language.mlp_width)
        logits = 3 * 4 * tokens * language.vocab_size
        return Memory(frozen, trained, kept, inside + logits)
    frozen += 4 * sum(value.numel() for value in parts["vae"].parameters())
    unet, cells = config.unet, (size // config.vae.downscale) ** 2
    kept, widest = 0, 0
    for level, channels in enumerate(unet.block_out_channels):
        here = 2 * cells // 4**level * channels
        depth = unet.transformer_layers_per_block[level] if "CrossAttn" in unet.down_block_types[level] else 0
        blocks = 2 * unet.layers_per_block + 1
        kept += here * blocks * (2 + depth)
        # Of a transformer block the feed forward part, whose inside is eight times as wide; of others the convolutions.
        widest = max(widest, here * (8 + 12 if depth else 8))
    return Memory(frozen, trained, kept, widest)


def adapted(module: nn.Module, options: LoraOptions) -> Iterator[tuple[str, nn.Module]]:
    """The layers that get an adapter."""
    names = set(adapted_layers(module, options))
    return ((name, layer) for name, layer in module.named_modules() if name in names)


def weight_bytes(module: nn.Module, options: LoraOptions) -> int:
    """Of a frozen module, held as the options say."""
    total = 0
    for key, value in module.state_dict().items():
        shape = tuple(value.shape)
        kind = quantised_format(key, shape, INT8) if options.base == INT8 else None
        total += value.numel() * options.dtype.itemsize if kind is None else stored_bytes(kind, shape)
    return total


def _adapter_numbers(layer: nn.Module, rank: int) -> int:
    shape = layer.weight.shape
    inside = layer.weight[0].numel()
    return rank * (shape[0] + inside)
