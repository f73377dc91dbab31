"""Checkpoints of any size with random weights: to try a machine, a graph or a benchmark before a download."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..bundled import BUNDLED
from ..errors import WeGenError
from ..network.configuration import LanguageConfig, UNetConfig, VAEConfig, VisionConfig, WeGenConfig
from ..paths import expanded
from .loading import empty_parts
from .published_writer import write_published
from .reader import CONFIG_FILE, PARTS, checkpoint_kind, open_checkpoint
from .tokenizer import PICTURE_BEGIN, PICTURE_END, Tokenizer, picture_token
from .writer import Entry, PartLayout, new_folder, write_folder

BLOCK = 2**24
"""Random numbers that all weights are cut from: drawing each of 14 billion anew would take minutes."""
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

_SMALL_UNET = UNetConfig(
    block_out_channels=(32, 64),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    transformer_layers_per_block=(1, 1),
    attention_head_dim=(1, 2),
    cross_attention_dim=64,
    projection_class_embeddings_input_dim=64 + 6 * 256,
    sample_size=16,
)
_SMALL_VISION = VisionConfig(image_size=64, patch_size=8, width=64, layers=2, head_width=16, mlp_width=128)
_SMALL_VAE = VAEConfig(block_out_channels=(32, 32), layers_per_block=1, sample_size=32)


def _with_language(language: LanguageConfig) -> WeGenConfig:
    return WeGenConfig(_SMALL_VISION, language, _SMALL_UNET, _SMALL_VAE, size=32)


CONFIGS: dict[str, WeGenConfig] = {
    "published": WeGenConfig(),
    "7b-lm": _with_language(LanguageConfig()),
    "1b-lm": _with_language(LanguageConfig(width=2048, mlp_width=5632, layers=22, heads=16, kv_heads=16)),
    "nano": WeGenConfig.from_json((BUNDLED / CONFIG_FILE).read_text(encoding="utf-8")),
    "tiny": _with_language(
        LanguageConfig(vocab_size=4096, width=64, mlp_width=128, layers=2, heads=4, kv_heads=4, context_length=1024)
    ),
}
"""What `make_random` knows by name; "7b-lm" and "1b-lm" have a language model of that size and little else."""


def make_random(
    destination: str | Path,
    size: str,
    dtype: str = "bf16",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
    published: bool = False,
) -> Path:
    """Write a checkpoint with random weights, tensor by tensor.

    Args:
        destination: a folder that does not exist yet.
        size: a key of `CONFIGS`, a `config.json`, or the folder of a checkpoint whose sizes are taken.
        dtype: a key of `TYPES`; the VAE is fp32 in any case.
        seed: the same seed makes the same files.
        on_progress: called with bytes written and bytes to write.
        published: whether it is a folder as the published one, with pickled weights, and not a packed one.

    Raises:
        WeGenError: an unknown size or type, sizes that cannot be read, `destination` exists, or the disk is too full.
    """
    if dtype not in TYPES:
        raise WeGenError(f"There is no {dtype!r} here; choose one of {', '.join(TYPES)}.")
    config = config_of(size)
    destination = new_folder(destination)
    config = dataclasses.replace(config, name=destination.name)
    modules = empty_parts(config)
    layouts = {}
    for name in PARTS:
        kind = torch.float32 if name == "vae" else TYPES[dtype]
        shapes = {key: tuple(value.shape) for key, value in modules[name].state_dict().items()}
        layouts[name] = PartLayout([Entry(key, kind, shapes[key]) for key in sorted(shapes)])
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(seed % 2**63))

    def tensors(part: str) -> Iterator[Tensor]:
        own = (seed * len(PARTS) + PARTS.index(part)) % 2**63  # the same in either layout
        generator = torch.Generator().manual_seed(own)
        for entry in layouts[part].entries:
            yield random_tensor(entry, block, generator)

    if published:
        return write_published(destination, config, tokenizer_of(config), layouts, tensors, on_progress)
    return write_folder(destination, config, tokenizer_of(config), layouts, tensors, on_progress)


def config_of(size: str) -> WeGenConfig:
    """The configuration that a name, a `config.json` or the folder of a checkpoint stands for.

    Raises:
        WeGenError: there is none.
    """
    if size in CONFIGS:
        return CONFIGS[size]
    path = expanded(size)
    file = path / CONFIG_FILE if path.is_dir() else path
    if path.is_dir() and (checkpoint_kind(path) == "published" or not file.is_file()):
        return open_checkpoint(path).config
    if not file.is_file():
        raise WeGenError(
            f"There is no size {size!r}; choose one of {', '.join(CONFIGS)}, a {CONFIG_FILE}, or a checkpoint's folder."
        )
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows editors put a mark before it
    except ValueError as error:
        raise WeGenError(f"{file} is no text; give a {CONFIG_FILE}.") from error
    return WeGenConfig.from_json(text, str(file))


def random_tensor(entry: Entry, block: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of a size that keeps what flows through the layer about as large as it came in."""
    if len(entry.shape) == 1:
        return torch.full(entry.shape, 0.0 if entry.key.endswith("bias") else 1.0, dtype=entry.dtype)
    scale = 1 / math.sqrt(math.prod(entry.shape[1:]))
    numbers = torch.empty(math.prod(entry.shape), dtype=entry.dtype)
    start = int(torch.randint(BLOCK, (1,), generator=generator))
    for begin in range(0, len(numbers), BLOCK):
        piece = numbers[begin : begin + BLOCK]
        head = min(len(piece), BLOCK - start)
        piece[:head].copy_(block[start : start + head] * scale)
        piece[head:].copy_(block[: len(piece) - head] * scale)
    return numbers.view(entry.shape)


def tokenizer_of(config: WeGenConfig) -> Tokenizer:
    """The bundled tokenizer, made as long as the language model's embedding with words that no text holds.

    Raises:
        WeGenError: the vocabulary is too small for it.
    """
    bundled = open_checkpoint(BUNDLED).tokenizer
    added = [PICTURE_BEGIN, PICTURE_END, *(picture_token(index) for index in range(config.tokens_per_picture))]
    pieces = config.language.vocab_size - len(added)
    own = bundled.pieces.get_piece_size()
    if pieces < own:
        raise WeGenError(f"A vocabulary of {config.language.vocab_size} is too small; {own + len(added)} is the least.")
    # A serialised model may be followed by further pieces: repeated fields of the format add up.
    more = b"".join(_field(1, _field(1, f"\u2581unused{n:05d}".encode()) + _score(-1e6)) for n in range(own, pieces))
    return Tokenizer(
        bundled.model_bytes + more,
        {token: pieces + index for index, token in enumerate(added)},
        config.tokens_per_picture,
    )


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def _score(value: float) -> bytes:
    return bytes([2 << 3 | 5]) + struct.pack("<f", value)
