"""LoRA files: a small change of one part of a checkpoint, in the form that ComfyUI's own loader reads.

Layer X of a part has `<prefix>_<X with _ for .>.lora_down.weight` `[r, in, ...]`, `.lora_up.weight` `[out, r, ...]`
and `.alpha`, the number by which their product counts, times 1 / r. Prefixes tell the part: a file of the UNet is what
every LoRA loader of ComfyUI takes, one of the language model (with its two projectors) is for WeGen Load LoRA.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, WeGenError
from ..json_values import is_a
from ..paths import expanded
from . import int8_layers
from .reader import Part, SafetensorsFile, small_tensors
from .writer import write_safetensors

PREFIXES = {"unet": "lora_unet_", "language_model": "lora_language_model_"}
"""Of the layers of each part that a LoRA can change."""
DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
LARGEST_STRENGTH = 100.0
"""Either way, as of ComfyUI's own sliders."""

BASE = "wegen_base"
"""What some numbers of the weights that a LoRA was trained beside are called in a file's header, see `base_of`."""
OF_EACH = 8
"""Numbers of a tensor that are compared."""
NEAR, OTHERS = 0.02, 0.25
"""How far rounding to 16 bits and a little more training take a number, as a share of it; and which share of numbers
that are farther off makes the weights others."""


class LoraError(WeGenError):
    """A LoRA file that cannot be read or does not fit; the message names the file and the layer."""


@dataclass(frozen=True)
class LowRank:
    """The change of one weight: `scale * up @ down`."""

    down: Tensor
    up: Tensor
    scale: float

    def difference(self, shape: Sequence[int]) -> Tensor:
        """What is added to a weight of this shape, in float32."""
        return self.scale * (self.up.float().flatten(1) @ self.down.float().flatten(1)).reshape(tuple(shape))

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether it is the change of a weight of this shape."""
        inside = math.prod(shape[1:])
        return len(self.down) == self.up[0].numel() and len(self.up) == shape[0] and self.down[0].numel() == inside


@dataclass(frozen=True)
class Lora:
    """An opened LoRA file.

    Attributes:
        changes: of each layer, by the layer's name in the file, without endings.
        about: what the file says of itself.
    """

    file: Path
    part: str
    changes: Mapping[str, LowRank]
    about: Mapping[str, str] = field(default_factory=dict)

    def by_layer(self, module: nn.Module) -> dict[str, LowRank]:
        """The changes by the names of the layers of `module`, the part that this is a LoRA of.

        Raises:
            LoraError: it was made for another model.
        """
        # Names with dots in them cannot be told from names in the file, so it is the model's that are written out.
        names = {layer_key(self.part, name): name for name, _ in module.named_modules()}
        for key, change in self.changes.items():
            weight = None if key not in names else getattr(module.get_submodule(names[key]), "weight", None)
            if weight is None:
                raise LoraError(f"{self.file}: the model has no layer {key!r}. The LoRA is for another model.")
            if not change.fits(weight.shape):
                raise LoraError(
                    f"{self.file}: {key!r} changes a weight of {len(change.up)} x {change.down[0].numel()} numbers, "
                    f"the model's is {' x '.join(map(str, weight.shape))}. The LoRA is for another model."
                )
        return {names[key]: change for key, change in self.changes.items()}

    def doubt(self, weights: Mapping[str, Tensor]) -> str:
        """What to say where the LoRA was trained beside other weights, which may have the same shapes; else empty, also
        for files that do not record theirs.

        Args:
            weights: of the part that this is a LoRA of, by the model's own names; few of them are read.

        Raises:
            LoraError: what the file says of them is damaged.
        """
        try:
            recorded = json.loads(self.about.get(BASE, "{}"))
        except (ValueError, RecursionError):
            recorded = None
        if not is_a(recorded, Mapping[str, Sequence[float]]):
            raise LoraError(f"{self.file}: {BASE!r} in its header is no list of numbers. The file is damaged.")
        pairs = [
            (then, now)
            for key, values in recorded.items()
            if key in weights
            for then, now in zip(values, _some_numbers(weights[key]), strict=False)
        ]
        far = sum(not math.isclose(then, now, rel_tol=NEAR, abs_tol=1e-6) for then, now in pairs)
        if far <= OTHERS * len(pairs):
            return ""
        return (
            f"{self.file.name} was trained beside other weights than these, of a checkpoint called "
            f"{self.about.get('wegen_model', '')!r}: it may do little here, or harm. Load the checkpoint that it was "
            "trained for, or train it for this one with wegen train lora."
        )


def base_of(part: Part) -> str:
    """Some numbers of a part, for the header of a LoRA that is trained beside it: they tell it from others of the same
    sizes in every precision, as JSON."""
    return json.dumps({key: [float(f"{one:.4g}") for one in _some_numbers(part[key])] for key in small_tensors(part)})


def _some_numbers(weight: Tensor) -> list[float]:
    return weight.detach().flatten()[:OF_EACH].float().tolist()


def layer_key(part: str, name: str) -> str:
    """What layer `name` of a part is called in a LoRA file, without endings."""
    return PREFIXES[part] + name.replace(".", "_")


def read_lora(file: str | Path) -> Lora:
    """Open a LoRA file.

    Raises:
        LoraError: there is no such file, or it is not a LoRA of WeGen's UNet or language model.
    """
    file = expanded(file)
    if not file.is_file():
        raise LoraError(f"There is no LoRA file {file}.")
    try:
        opened = SafetensorsFile(file)
        part = _part_of(file, opened.places)  # before they are read: a file of something else may be larger than memory
        tensors = {key: opened.tensor(key) for key in opened.places}
    except LoraError:
        raise
    except CheckpointError as error:
        raise LoraError(str(error)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise LoraError(f"{file} is not a readable safetensors file: {error}") from error
    changes: dict[str, LowRank] = {}
    for key in sorted({key[: -len(end)] for key in tensors for end in (DOWN, UP, ALPHA) if key.endswith(end)}):
        down, up = tensors.get(key + DOWN), tensors.get(key + UP)
        if down is None or up is None:
            raise LoraError(f"{file}: {key!r} lacks {DOWN!r} or {UP!r}. The file is incomplete.")
        if min(down.ndim, up.ndim) < 2 or min(down.numel(), up.numel()) == 0:
            raise LoraError(
                f"{file}: {key!r} has factors of {list(up.shape)} and {list(down.shape)} numbers. The file is damaged."
            )
        if len(down) != up[0].numel():
            raise LoraError(
                f"{file}: {key!r} has factors of the ranks {len(down)} ({DOWN}) and {up[0].numel()} ({UP}), which must "
                "be equal. The file is damaged."
            )
        alpha = tensors.get(key + ALPHA)
        if alpha is not None and alpha.numel() != 1:
            raise LoraError(
                f"{file}: {key + ALPHA!r} has {alpha.numel()} numbers in place of one. The file is damaged."
            )
        for end, value in ((DOWN, down), (UP, up), (ALPHA, alpha)):
            if value is not None:
                _check_numbers(file, key + end, value)
        changes[key] = LowRank(down, up, 1.0 if alpha is None else float(alpha) / len(down))
    return Lora(file, part, changes, opened.about)


def _part_of(file: Path, names: Collection[str]) -> str:
    """The part that a file with these tensors is a LoRA of."""
    parts = {part for part, prefix in PREFIXES.items() for name in names if name.startswith(prefix)}
    strange = [
        name for name in names if not (name.startswith(tuple(PREFIXES.values())) and name.endswith((DOWN, UP, ALPHA)))
    ]
    if len(parts) != 1 or strange:
        raise LoraError(
            f"{file} is no LoRA of WeGen{f': it holds {strange[0]!r}' if strange else ''}. WeGen's own are made by "
            "`wegen train lora`; LoRAs of other models do not fit."
        )
    return parts.pop()


def _check_numbers(file: Path, key: str, value: Tensor) -> None:
    whole = key.endswith(ALPHA) and not value.is_complex()  # other tools write whole numbers there
    if not (value.is_floating_point() or whole):
        raise LoraError(f"{file}: {key!r} holds {value.dtype}, expected floating point numbers. It cannot be used.")
    if not value.float().isfinite().all():  # PyTorch cannot tell of 8 bits
        raise LoraError(f"{file}: {key!r} has values that are not finite: it is damaged or its training failed.")


def write_lora(file: Path, part: str, changes: Mapping[str, LowRank], about: Mapping[str, str]) -> Path:
    """Write the changes of layers (by the model's own names) in 16 bits.

    Args:
        file: written over where it exists; whole or not at all.
        part: "unet" or "language_model".
        changes: of each layer.
        about: strings for the file's header.

    Raises:
        WeGenError: it cannot be written, such as on a full disk.
    """
    tensors: dict[str, Tensor] = {}
    for name, change in changes.items():
        key = layer_key(part, name)
        tensors[key + DOWN] = change.down.to(torch.float16).contiguous()
        tensors[key + UP] = change.up.to(torch.float16).contiguous()
        tensors[key + ALPHA] = torch.tensor(change.scale * len(change.down))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, tensors, about)
    return file


def check_strength(strength: float) -> float:
    """The strength; raises WeGenError for one that no slider gives."""
    if not -LARGEST_STRENGTH <= strength <= LARGEST_STRENGTH:
        raise WeGenError(
            f"A LoRA's strength is {strength}; it must be from {-LARGEST_STRENGTH:g} to {LARGEST_STRENGTH:g}."
        )
    return strength


@torch.no_grad()
def merge(module: nn.Module, lora: Lora, strength: float = 1.0) -> None:
    """Add a LoRA to the weights of the part that it is of, or beside those of quantised layers, for good.

    Raises:
        LoraError: it was made for another model.
        WeGenError: the strength is out of range.
    """
    check_strength(strength)
    for name, change in lora.by_layer(module).items():
        layer = module.get_submodule(name)
        if isinstance(layer, int8_layers.Linear):
            layer.add(change.down.flatten(1), change.up.flatten(1).float() * (change.scale * strength))
            continue
        weight = layer.weight
        weight.copy_(weight.float() + strength * change.difference(weight.shape).to(weight.device))
