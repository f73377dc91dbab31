"""LoRA on a frozen model: peft's adapters, a base in 32, 16 or 8 bits, and the way into a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.lora import LowRank
from ..checkpoints.quantise import QUANTISED, SCALE, WEIGHT, hadamard, quantise, quantised_format
from ..checkpoints.reader import Part
from ..errors import how_to_install
from .recipe import RecipeError, in_range

ADAPTER = "default"  # peft's own name for the first one
BASES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
INT8 = QUANTISED[0]


@dataclass(frozen=True)
class LoraOptions:
    """What is trained beside a frozen model.

    Attributes:
        rank: of each change.
        alpha: a change counts alpha / rank; None is the rank.
        base: how the frozen weights are held: "fp32", "bf16", "fp16", or "int8" (Linear layers of the transformers in
            8 bits, the rest in bf16).
        convolutions: whether those of the UNet are changed too, beside its Linear layers.
        words: whether embeddings and the output over the vocabulary are changed too: needed for words that the
            tokenizer spells in pieces which the model hardly ever saw.
    """

    rank: int = 16
    alpha: float | None = None
    base: str = "bf16"
    convolutions: bool = True
    words: bool = False

    def __post_init__(self):
        in_range(self, 1, None, "rank")
        if self.alpha is not None and not self.alpha > 0:
            raise RecipeError(f"The LoRA's alpha is {self.alpha}; it must be above 0.")
        if self.base not in (*BASES, INT8):
            raise RecipeError(f"The LoRA's base is {self.base!r}; it must be one of {', '.join((*BASES, INT8))}.")

    @property
    def dtype(self) -> torch.dtype:
        """Of what is not quantised."""
        return BASES.get(self.base, torch.bfloat16)


class _Int8Product(torch.autograd.Function):
    """`x @ weight.T` for a weight in 8 bits with a scale a row. The way back turns it to 16 bits again, so that nothing
    larger than the 8 bits is kept in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return F.linear(x, weight.to(x.dtype)) * scale.t().to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        weight, scale = ctx.saved_tensors
        return (gradient * scale.t().to(gradient.dtype)) @ weight.to(gradient.dtype), None, None


class Int8Linear(nn.Linear):
    """A frozen Linear whose weight stays in 8 bits, as `checkpoints.quantise` makes them."""

    def __init__(self, weight: Tensor, bias: Tensor | None, layer: Mapping[str, Any]):
        super().__init__(weight.shape[1], weight.shape[0], bias is not None, device="meta")
        pieces = quantise(weight, layer)
        self.group = int(layer["convrot_groupsize"])
        self.weight = nn.Parameter(pieces[WEIGHT], requires_grad=False)
        self.register_buffer("scale", pieces[SCALE])
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        rotated = (x.reshape(-1, self.group) @ hadamard(self.group).to(x)).reshape(x.shape)
        product = _Int8Product.apply(rotated, self.weight, self.scale)
        return product if self.bias is None else product + self.bias.to(product.dtype)


def fill_frozen(module: nn.Module, part: Part, options: LoraOptions) -> nn.Module:
    """Give a module on the meta device the weights of a part, as the options say they are held; all frozen."""
    part.check(module)
    for name, layer in list(module.named_modules()):
        own = {key: f"{name}.{key}" if name else key for key, _ in layer.named_parameters(recurse=False)}
        own |= {key: f"{name}.{key}" for key, _ in layer.named_buffers(recurse=False) if f"{name}.{key}" in part}
        kind = None
        if options.base == INT8 and isinstance(layer, nn.Linear):
            kind = quantised_format(own["weight"], tuple(layer.weight.shape), INT8)
        if kind is not None:
            bias = part[own["bias"]].to(options.dtype) if "bias" in own else None
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, Int8Linear(part[own["weight"]].float(), bias, kind))
        elif own:
            # On a CPU norms compute with bf16 beside weights in 32 bits, but not beside fp16.
            exact = options.base == "fp16" and isinstance(layer, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm))
            dtype = torch.float32 if exact else options.dtype
            state = {key: part[full].to(dtype) for key, full in own.items()}
            layer.load_state_dict(state, strict=False, assign=True)
    return module.eval().requires_grad_(False)


def add_adapters(module: nn.Module, options: LoraOptions) -> nn.Module:
    """Put trainable adapters on the layers of a module that the options name, in place.

    Raises:
        RecipeError: peft is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise RecipeError(f"LoRA training needs the package peft: {how_to_install('train')}.") from error
    names = adapted_layers(module, options)
    alpha = options.rank if options.alpha is None else options.alpha
    config = LoraConfig(r=options.rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0)
    inject_adapter_in_model(config, module, adapter_name=ADAPTER)
    for name, value in module.named_parameters():
        learned = ".lora_" in name  # of embeddings too: ".lora_embedding_A"
        if learned:
            value.data = value.data.float()  # peft takes the base's precision, too coarse for small steps
        value.requires_grad_(learned)
    return module


def adapted_layers(module: nn.Module, options: LoraOptions) -> list[str]:
    """Names of the layers that the options put adapters on."""
    kinds = (nn.Linear, *[nn.Conv2d] * options.convolutions, *[nn.Embedding] * options.words)
    layers = ((name, layer) for name, layer in module.named_modules() if isinstance(layer, kinds))
    return [name for name, _ in layers if options.words or not name.endswith("lm_head")]


def has_adapters(module: nn.Module) -> bool:
    return any(hasattr(layer, "lora_A") for layer in module.modules())


@contextmanager
def without_adapters(module: nn.Module) -> Iterator[None]:
    """The frozen model as it was, for a while."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in adapted:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in adapted:
            layer.enable_adapters(True)


def changes_of(module: nn.Module, values: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """What the adapters have learned, by the names of the layers.

    Args:
        module: with adapters.
        values: of the trained parameters, by their names in `module`.
    """
    found: dict[str, LowRank] = {}
    for name, layer in module.named_modules():
        if ADAPTER in getattr(layer, "lora_A", {}):
            down = values[f"{name}.lora_A.{ADAPTER}.weight"]
            up = values[f"{name}.lora_B.{ADAPTER}.weight"]
            found[name] = LowRank(down.detach().cpu(), up.detach().cpu(), float(layer.scaling[ADAPTER]))
        elif ADAPTER in getattr(layer, "lora_embedding_A", {}):
            # The table's rows are what a Linear's columns are.
            up = values[f"{name}.lora_embedding_A.{ADAPTER}"].t()
            down = values[f"{name}.lora_embedding_B.{ADAPTER}"].t()
            found[name] = LowRank(down.detach().cpu(), up.detach().cpu(), float(layer.scaling[ADAPTER]))
    return found
