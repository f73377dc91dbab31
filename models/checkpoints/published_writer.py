"""Writing the layout of the published folder, which `reader` reads; for checkpoints with random weights."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import Tensor

from ..errors import WeGenError
from ..network.configuration import WeGenConfig
from .reader import (
    AGENT_FILE,
    LLAMA_CONFIG_FILE,
    SCHEDULER_FILE,
    TOKENIZER_FOLDER,
    UNET_FOLDER,
    VAE_FOLDER,
    VISION_CONFIG_FILE,
    VISION_FILE,
)
from .tokenizer import ADDED_FILE, MODEL_FILE, Tokenizer
from .torch_file import torch_file_bytes, write_torch_file
from .writer import Entry, PartLayout, check_space, partial_folder, remove_left_over, writing_to

UNET_PREFIX, VAE_PREFIX = "adapter.unet.", "adapter.vae."


def write_published(
    destination: Path,
    config: WeGenConfig,
    tokenizer: Tokenizer,
    layouts: Mapping[str, PartLayout],
    tensors: Callable[[str], Iterator[Tensor]],
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a folder as the published one: the agent's file brings the language model and the whole decoder.

    Args:
        destination: from `new_folder`.
        config, tokenizer: of the model; its VAE must be one that the published layout can describe.
        layouts, tensors: of each part, as for `write_folder`.
        on_progress: called with bytes written and bytes to write, of tensors.

    Raises:
        WeGenError: the disk is too full, or the VAE is the small models' own.
    """
    if config.vae.patch > 1:
        raise WeGenError("The published layout cannot hold this kind of VAE; leave out --published.")
    prefixes = {"language_model": "", "unet": UNET_PREFIX, "vae": VAE_PREFIX}
    agent = [
        entry._replace(key=prefix + entry.key) for part, prefix in prefixes.items() for entry in layouts[part].entries
    ]
    files: list[tuple[Path, list[Entry], tuple[str, ...]]] = [
        (Path(AGENT_FILE), agent, tuple(prefixes)),
        (VISION_FILE, list(layouts["vision_encoder"].entries), ("vision_encoder",)),
    ]
    partial = partial_folder(destination)
    small = _small_files(config, tokenizer)
    *first, _ = (path.as_posix() for path in (*(path for path, *_ in files), *small))
    remove_left_over(partial, set(first))
    destination.parent.mkdir(parents=True, exist_ok=True)
    check_space(destination.parent, sum(torch_file_bytes(entries) for _, entries, _ in files))
    done, total = 0, sum(layout.tensor_bytes for layout in layouts.values())
    with writing_to(partial):
        for path, entries, parts in files:
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            values = (value for part in parts for value in tensors(part))
            for count in write_torch_file(partial / path, entries, values):
                done += count
                if on_progress is not None:
                    on_progress(done, total)
        for path, content in small.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(content)
        os.rename(partial, destination)
    return destination


def _small_files(config: WeGenConfig, tokenizer: Tokenizer) -> dict[Path, bytes]:
    language, vision = config.language, config.vision
    values = {
        LLAMA_CONFIG_FILE: {
            "num_attention_heads": language.heads,
            "rms_norm_eps": language.norm_eps,
            "rope_theta": language.rope_theta,
            "max_position_embeddings": language.context_length,
        },
        UNET_FOLDER / "config.json": {**config.unet.to_diffusers(), "_class_name": "UNet2DConditionModel"},
        VAE_FOLDER / "config.json": {**config.vae.to_diffusers(), "_class_name": "AutoencoderKL"},
        SCHEDULER_FILE: {**dataclasses.asdict(config.schedule), "timestep_spacing": "leading"},
        Path(VISION_CONFIG_FILE): {"head_width": vision.head_width, "layer_norm_eps": vision.layer_norm_eps},
    }
    return {
        **{path: json.dumps(content).encode() for path, content in values.items()},
        TOKENIZER_FOLDER / MODEL_FILE: tokenizer.model_bytes,
        TOKENIZER_FOLDER / ADDED_FILE: json.dumps(tokenizer.added_tokens, ensure_ascii=False).encode(),
    }
