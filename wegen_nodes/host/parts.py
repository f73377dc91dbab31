"""Parts of a model whose weights are read when they are first used, and left when their memory is asked for.

A part's network is there from the start without any memory, so that LoRA, patches and the host's planning know its
names and sizes. The host's patcher reads the weights when it loads the part; when the host unloads it, or another part
needs the room, they are let go and read again with the next use. Where the host loads weights on demand itself
(DynamicVRAM), this is not used.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import psutil
import torch
from torch import Tensor, nn

from ...models.checkpoints.reader import Part, StoredTensor, file_stamp
from ...models.errors import WeGenError
from .side_lora import with_side_lora

GIB = 2**30
SPARE = GIB
"""Bytes of memory that are left to everything else when a part is read."""
PREFIXES = "wegen_prefixes"
"""The language model's patcher keeps under this name what was read before."""
_PLAIN = frozenset(vars(nn.Module())) - {"_parameters", "_buffers"}
_read_parts: weakref.WeakSet[Weights] = weakref.WeakSet()  # those that are in memory now


_load_call = 0
"""The number of the host's call to load models."""


class Weights:
    """The weights of one part: where they come from, and whether they are in memory.

    Args:
        part: of the checkpoint.
        open_names: opens the files and gives every tensor as it is stored, by the network's names.
        network: the network, without memory (on the meta device). It keeps its identity when weights come and go.
        build: a network like it, ready to take weights.
    """

    def __init__(
        self,
        part: Part,
        open_names: Callable[[], Mapping[str, StoredTensor]],
        network: nn.Module,
        build: Callable[[], nn.Module],
    ):
        self.title = part.name.replace("_", " ")
        self.files = part.files
        self._stamp = _stamp(self.files)
        self._open_names = open_names
        self._build = build
        self._empty = [_attributes(module) for module in network.modules()]
        self._shapes = {key: (value.dtype, value.shape) for key, value in network.state_dict().items()}
        self._owner: weakref.ref[nn.Module] | None = None
        self.bytes = comfy.model_management.module_size(network)
        self.last_used = 0.0
        self.load_call = -1
        """Which of the host's calls to load models asked for it last."""

    @property
    def present(self) -> bool:
        return self in _read_parts

    def owned_by(self, model: nn.Module) -> None:
        """Say which model the host's patchers hold."""
        self._owner = weakref.ref(model)

    def read(self, network: nn.Module) -> None:
        """Put the weights into the network.

        Raises:
            WeGenError: files that are gone or were changed, or too little memory.
        """
        self.last_used = time.monotonic()
        if self.present:
            return
        self._check_files()
        make_room(self)
        logging.info(f"Reading the {self.title}: {self.bytes / 1e9:.2f} GB")
        with memory_errors(f"reading the {self.title} ({self.bytes / 1e9:.1f} GB)"):
            fresh = self._build()
            fresh.load_state_dict(self._state(), assign=True)
        for module, source in zip(network.modules(), fresh.modules(), strict=True):
            _take(module, _attributes(source))
        _read_parts.add(self)

    def leave(self, network: nn.Module) -> None:
        """Let the weights go. Nothing may compute with the network then."""
        if not self.present:
            return
        logging.info(f"Leaving the {self.title}: {self.bytes / 1e9:.2f} GB")
        for module, attributes in zip(network.modules(), self._empty, strict=True):
            _take(module, attributes)
        _read_parts.discard(self)
        give_back()

    def in_memory(self) -> int:
        """Bytes of the weights that are in the machine's memory, not on a card."""
        model = self._owner() if self._owner is not None else None
        weights = () if model is None or not self.present else network_of(model).parameters()
        return sum(value.nbytes for value in weights if value.device.type == "cpu")

    def drop(self) -> None:
        """Unload it as the host would, and let the weights go."""
        model = self._owner() if self._owner is not None else None
        loaded = comfy.model_management.current_loaded_models
        for entry in [one for one in loaded if one.model is not None and one.model.model is model]:
            loaded.remove(entry)
            entry.model_unload()
        if model is not None:
            self.leave(network_of(model))

    def _check_files(self) -> None:
        for file, then, now in zip(self.files, self._stamp, _stamp(self.files), strict=True):
            if now is None:
                raise WeGenError(f"{file} is no longer there. Put it back, and run this again.")
            if now != then:
                raise WeGenError(
                    f"{file} was changed since the model was loaded. Run this again: it is loaded anew then."
                )

    def _state(self) -> dict[str, Tensor]:
        """Every tensor in memory of its own and in the type that the network has it in."""
        names = self._open_names()
        bar = comfy.utils.ProgressBar(len(names))
        state = {}
        for key, stored in names.items():
            comfy.model_management.throw_exception_if_processing_interrupted()
            value = Part(self.title, {key: stored})[key]
            dtype, shape = self._shapes.get(key, (value.dtype, value.shape))
            # Some 1x1 convolutions of the host are linear layers in the file.
            state[key] = value.to(dtype).view(shape)
            bar.update(1)
        return state


def network_of(model: nn.Module) -> nn.Module:
    """The network with the weights: the host wraps a diffusion model in another module."""
    return getattr(model, "diffusion_model", model)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What loading weights sets in a module; its children, hooks and the like are not among it."""
    found = {name: value for name, value in vars(module).items() if name not in _PLAIN}
    return {name: dict(value) if name in ("_parameters", "_buffers") else value for name, value in found.items()}


def _take(module: nn.Module, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if name in ("_parameters", "_buffers"):
            vars(module)[name].clear()
            vars(module)[name].update(value)
        else:
            vars(module)[name] = value


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps what it had cut into pieces, 2.9 GB of a published UNet."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def make_room(wanted: Weights) -> None:
    """Let other parts go, those unused for longest first, until there is memory for this one.

    Parts that the host loads in the same call stay: they are used together.

    Raises:
        WeGenError: there would not be enough even then.
    """
    for other in sorted(_read_parts, key=lambda one: one.last_used):
        if psutil.virtual_memory().available >= wanted.bytes + SPARE:
            return
        if other is not wanted and other.load_call != wanted.load_call and other.in_memory():
            other.drop()
    left = psutil.virtual_memory().available + psutil.swap_memory().free
    if left < wanted.bytes:
        raise WeGenError(
            f"The {wanted.title} takes {wanted.bytes / 1e9:.1f} GB of memory, and {left / 1e9:.1f} GB are left. Close "
            "other programs, or convert the checkpoint to a smaller precision: wegen convert SOURCE DESTINATION "
            "--dtype int8 (or w4a8)."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a card or on the CPU."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(one in str(error).lower() for one in words)


@contextmanager
def memory_errors(work: str) -> Iterator[None]:
    """Tell of memory that ran out in words, as the error that makes the host unload everything.

    Args:
        work: what was done, for the message.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise torch.cuda.OutOfMemoryError(
            f"Memory ran out while {work}. Draw fewer or smaller pictures at once, close other programs, or convert "
            "the checkpoint to a smaller precision: wegen convert SOURCE DESTINATION --dtype int8 (or w4a8)."
        ) from error


@cache
def _part_patcher(base: type) -> type:
    """The host's patcher class with weights that are read and left."""

    class PartPatcher(base):
        """The host's patcher of a part."""

        @property
        def weights(self) -> Weights:
            return self.model.part_weights

        def read(self) -> None:
            """Make sure that the weights are in memory."""
            self.weights.read(network_of(self.model))

        def current_loaded_device(self):
            # The host asks this of all models of a call before it loads the first of them, and at no other time.
            self.weights.load_call = _load_call
            return super().current_loaded_device()

        def load(self, *args, **kwargs):
            self.read()
            return super().load(*args, **kwargs)

        def partially_load(self, *args, **kwargs):
            global _load_call
            self.read()
            _load_call += 1  # whatever is asked for from now on is asked for by another call
            return super().partially_load(*args, **kwargs)

        def get_key_patches(self, *args, **kwargs):
            self.read()  # merging takes the tensors themselves
            return super().get_key_patches(*args, **kwargs)

        def unpatch_model(self, device_to=None, unpatch_weights=True):
            return super().unpatch_model(device_to, unpatch_weights and self.weights.present)

        def detach(self, unpatch_all=True):
            if unpatch_all and self.weights.present and self._leaves():
                # Not moved to where the host would keep them: there is no room, or they are there already.
                self.unpatch_model(None)
                self.weights.leave(network_of(self.model))
                self.model.device = self.offload_device
            return super().detach(unpatch_all)

        def partially_unload(self, *args, **kwargs):
            if self.get_attachment(PREFIXES) is not None:
                self.get_attachment(PREFIXES).clear()
            return super().partially_unload(*args, **kwargs)

        def _leaves(self) -> bool:
            if comfy.model_management.is_device_cpu(self.load_device):
                return True
            return psutil.virtual_memory().available < self.weights.bytes + SPARE

    return PartPatcher


def part_patcher(model: nn.Module, weights: Weights, load_device, offload_device):
    """A patcher of the host for a model whose network has no weights yet."""
    model.part_weights = weights
    weights.owned_by(model)
    return _part_patcher(with_side_lora(comfy.model_patcher.ModelPatcher))(
        model, load_device=load_device, offload_device=offload_device
    )


def loads_on_demand(load_device) -> bool:
    """Whether the host itself reads weights when they are used."""
    patcher = comfy.model_patcher.CoreModelPatcher
    return patcher is not comfy.model_patcher.ModelPatcher and not comfy.model_management.is_device_cpu(load_device)


def stored_names(part: Part, names: Mapping[str, str]) -> dict[str, StoredTensor]:
    """Every tensor of a part as it is stored, by the network's names.

    Args:
        names: the network's name of each weight, and the checkpoint's.
    """
    found = {}
    for ours, theirs in names.items():
        inside, outside = ours.removesuffix("weight"), theirs.removesuffix("weight")
        for key, stored in part.as_stored(theirs).items():
            found[ours if key == theirs else inside + key.removeprefix(outside)] = stored
    return found


def placeholders(names: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Tensors without memory for all of these; what the host reads when it builds a layer is really there."""
    return {
        key: stored.read()
        if key.endswith("comfy_quant")
        else torch.empty(stored.shape, dtype=stored.dtype, device="meta")
        for key, stored in names.items()
    }


def _stamp(files: list[Path]) -> list[tuple[int, int] | None]:
    """Of each file what changes when it does; None where it is gone."""
    return [file_stamp(file) if file.is_file() else None for file in files]
