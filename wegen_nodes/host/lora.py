"""LoRA files in the host's folder, and on the language model by the host's own patches."""

from __future__ import annotations

from pathlib import Path

import comfy.lora
import folder_paths

from ...models.checkpoints.lora import ALPHA, DOWN, UP, Lora, LoraError, check_strength, layer_key
from ...models.errors import WeGenError

KEY = "loras"
PART = "language_model"


def list_loras() -> list[str]:
    """Names of all LoRA files that the host knows; which are WeGen's is only known when they are read."""
    return folder_paths.get_filename_list(KEY)


def lora_path(name: str) -> Path:
    """The file behind a name of `list_loras`.

    Raises:
        WeGenError: there is none (workflows come from strangers).
    """
    if name not in list_loras():
        places = ", ".join(folder_paths.get_folder_paths(KEY))
        raise WeGenError(f"There is no LoRA {name!r}. Put the file into {places}.")
    return Path(folder_paths.get_full_path_or_raise(KEY, name))


def add_lora(patcher, lora: Lora, strength: float):
    """A clone of the language model's patcher with a LoRA on it, over those that it has already.

    Raises:
        LoraError: it is of another part or another model.
        WeGenError: the strength is out of range.
    """
    check_strength(strength)
    if lora.part != PART:
        raise LoraError(
            f"{lora.file} is a LoRA of the UNet: load it with ComfyUI's Load LoRA (LoraLoaderModelOnly), on "
            "MODEL. This node takes those of the language model."
        )
    layers = lora.by_layer(patcher.model)
    tensors = {}
    for name, change in layers.items():
        key = layer_key(PART, name)
        tensors[key + DOWN], tensors[key + UP] = change.down, change.up
        tensors[key + ALPHA] = change.down.new_tensor(change.scale * len(change.down), dtype=change.down.float().dtype)
    patches = comfy.lora.load_lora(tensors, {layer_key(PART, name): f"{name}.weight" for name in layers})
    clone = patcher.clone()
    if len(clone.add_patches(patches, strength)) != len(layers):
        raise LoraError(
            f"{lora.file}: this ComfyUI does not take the LoRA on the language model. Update it, or remove the LoRA."
        )
    return clone
