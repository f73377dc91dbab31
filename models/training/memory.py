"""What a LoRA takes of a device's memory, counted from sizes alone: weights, what is trained, and what is computed in
between when blocks are computed again on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from ..checkpoints.activations import peak_bytes
from ..checkpoints.loading import empty_parts
from ..checkpoints.quantise import quantised_format, stored_bytes
from ..network.configuration import WeGenConfig
from ..network.decoder import make_vae
from ..network.vision_encoder import VisionEncoder
from .adapters import INT8, LoraOptions, adapted_layers
from .recipe import LANGUAGE_MODEL

TRAINED_BYTES = 16
"""Of a trained number: itself, its gradient and AdamW's two moments, all in 32 bits."""
INSIDE = 21, 7
"""Of a layer of the language model with adapters: numbers of a token, in 16 bits, for each of its width and its MLP's
that are alive at once on the way back."""
LOGITS, KEPT_LOGITS = 3, 8
"""Numbers of a word to learn, in 32 bits, for each word of the vocabulary; and those of one that is only kept, which is
also predicted without the LoRA. They are alive when the way back begins."""


@dataclass(frozen=True)
class Memory:
    """Bytes on a device.

    Attributes:
        frozen: weights of the part that is trained, of the vision encoder and, for the UNet, of the VAE.
        trained: adapters with gradients and optimizer.
        encoded: what the vision encoder, or the VAE in 32 bits, takes at work; gone before the part that is trained
            begins.
        kept: activations between blocks, in 16 bits.
        widest: inside of the block that takes most or, where that is more, what comes of the words' logits.
    """

    frozen: int
    trained: int
    encoded: int
    kept: int
    widest: int

    @property
    def activations(self) -> int:
        return max(self.encoded, self.kept + self.widest)

    @property
    def total(self) -> int:
        return self.frozen + self.trained + self.activations


def lora_memory(
    config: WeGenConfig, stage: str, options: LoraOptions, tokens: int = 2048, size: int = 1024, keep: bool = False
) -> Memory:
    """What one batch of one row takes at most: one full of words, or of pictures.

    Args:
        config: of the checkpoint.
        stage: "language_model" or "unet".
        options: of the LoRA.
        tokens: of a row, for the language model: as the recipe says or, where that is more, of the longest sample.
        size: side of a picture in pixels, for the UNet.
        keep: whether samples are only kept. For the UNet that takes no more: the second pass is over before the way
            back begins, and keeps nothing for it.
    """
    parts = empty_parts(config)
    frozen = weight_bytes(parts["vision_encoder"], options) + weight_bytes(parts[stage], options)
    trained = TRAINED_BYTES * sum(_adapter_numbers(layer, options.rank) for _, layer in adapted(parts[stage], options))
    if stage == LANGUAGE_MODEL:
        language = config.language
        kept = 2 * tokens * language.width * language.layers
        inside = 2 * tokens * (INSIDE[0] * language.width + INSIDE[1] * language.mlp_width)
        if options.base == INT8:  # the largest weight in 16 bits again
            inside += 2 * language.width * language.mlp_width
        logits = 4 * tokens * language.vocab_size * (KEPT_LOGITS if keep else LOGITS)
        pictures = max(1, tokens // (config.tokens_per_picture + 2))
        return Memory(frozen, trained, _encoder_bytes(config, pictures, options), kept, max(inside, logits))
    frozen += 4 * sum(value.numel() for value in parts["vae"].parameters())
    encoded = max(_encoder_bytes(config, 1, options), _vae_bytes(config, size))
    unet, cells = config.unet, (size // config.vae.downscale) ** 2
    kept, widest = 0, 0
    for level, channels in enumerate(unet.block_out_channels):
        here = 2 * cells // 4**level * channels
        depth = unet.transformer_layers_per_block[level] if "CrossAttn" in unet.down_block_types[level] else 0
        blocks = 2 * unet.layers_per_block + 1
        kept += here * blocks * (2 + depth)
        # Of a transformer block the feed forward part, whose inside is eight times as wide; of others the convolutions.
        widest = max(widest, here * (8 + 12 if depth else 8))
    return Memory(frozen, trained, encoded, kept, widest)


def _encoder_bytes(config: WeGenConfig, pictures: int, options: LoraOptions) -> int:
    side = config.vision.image_size
    with torch.device("meta"):
        encoder = VisionEncoder(config.vision, dtype=options.dtype)
        pixels = torch.empty(pictures, 3, side, side, dtype=options.dtype)
    return peak_bytes(encoder, lambda: encoder(pixels))


def _vae_bytes(config: WeGenConfig, size: int) -> int:
    with torch.device("meta"):
        vae, pixels = make_vae(config.vae), torch.empty(1, 3, size, size)
    return peak_bytes(vae, lambda: vae.encode(pixels))


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
