"""Parts of a model whose weights are read when they are first used, and left when their memory is asked for.

A part's network is there from the start without any memory, so that LoRA, patches and the host's planning know its
names and sizes. The host's patcher reads the weights when it loads the part; when the host unloads it, or another part
needs the room, they are let go and read again with the next use. Where the host loads weights on demand itself
(DynamicVRAM), it has ways of its own for all that; here it is seen to that their files stay as they were.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import psutil
import torch
from torch import Tensor, nn

from ...models.checkpoints.quantise import less_memory
from ...models.checkpoints.reader import Part, StoredTensor, file_stamp
from ...models.container_memory import container_memory
from ...models.errors import WeGenError, is_out_of_memory
from .side_lora import with_side_lora

GIB = 2**30
SPARE = GIB
"""Bytes of memory that are left to everything else when a part is read."""
LOOKING = "looking at pictures"
"""What the vision encoder does, in `memory_errors`."""
PREFIXES = "wegen_prefixes"
"""The language model's patcher keeps under this name what was read before."""
_PLAIN = frozenset(vars(nn.Module())) - {"_parameters", "_buffers"}
_read_parts: weakref.WeakSet[Weights] = weakref.WeakSet()  # those that are in memory now


_load_call = 0
"""The number of the host's call to load models."""


class Files:
    """Files as they were when a model was loaded from them.

    Args:
        paths: of the files.
    """

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self._stamps = _stamps(paths)

    def check(self) -> None:
        """See that they are the same today.

        Raises:
            WeGenError: one is gone or was changed.
        """
        for path, then, now in zip(self.paths, self._stamps, _stamps(self.paths), strict=True):
            if now is None:
                raise WeGenError(f"{path} is no longer there. Put it back, and run this again.")
            if now != then:
                raise WeGenError(
                    f"{path} was changed since the model was loaded. Run this again: it is loaded anew then."
                )


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
        self.title = part.title
        self.formats = part.formats
        self.files = Files(part.files)
        self._open_names = open_names
        self._build = build
        self._empty = [_attributes(module) for module in network.modules()]
        self._shapes = {key: (value.dtype, value.shape) for key, value in network.state_dict().items()}
        self._owner: weakref.ref[nn.Module] | None = None
        self.patchers: weakref.WeakSet[Any] = weakref.WeakSet()
        """The host's patchers of the model, which share what they know of its weights."""
        self.bytes = comfy.model_management.module_size(network)
        self.last_used = 0.0
        self.load_call = -1
        """Which of the host's calls to load models asked for it last."""
        self.kept = False
        """Whether they stay for good, see `keep`."""

    @property
    def present(self) -> bool:
        """Whether they are in memory, the machine's or a card's."""
        return self.kept or self in _read_parts

    def keep(self, network: nn.Module) -> None:
        """Put the weights into the network for good: patchers of the host that hold it could not read them again.

        Raises:
            WeGenError: as `read` does.
        """
        self.read(network)
        _read_parts.discard(self)
        self.kept = True

    def owned_by(self, model: nn.Module) -> None:
        """Say which model the host's patchers hold."""
        self._owner = weakref.ref(model)

    def read(self, network: nn.Module) -> None:
        """Put the weights into the network.

        Args:
            network: the one that this was made for.

        Raises:
            WeGenError: files that are gone, were changed or cannot be read, or too little memory.
            OutOfMemoryError: PyTorch's; memory ran out all the same.
        """
        self.last_used = time.monotonic()
        if self.present:
            return
        self.files.check()
        make_room(self)
        logging.info(f"Reading the {self.title}: {self.bytes / 1e9:.2f} GB")
        with reading_errors(self.title, self.bytes, self.formats):
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
        # Where another model of a call could not be loaded, the host has forgotten what it had loaded before.
        for patcher in list(self.patchers):
            patcher.let_go()
        if model is not None:
            self.leave(network_of(model))

    def _state(self) -> dict[str, Tensor]:
        """Every tensor in memory of its own and in the type that the network has it in."""
        names = self._open_names()
        state = {}
        for key in each(list(names)):
            value = Part(self.title, {key: names[key]})[key]
            dtype, shape = self._shapes.get(key, (value.dtype, value.shape))
            # Some 1x1 convolutions of the host are linear layers in the file.
            state[key] = value.to(dtype).view(shape)
        return state


def each(names: Sequence[str]) -> Iterator[str]:
    """The names of what is read one after the other, with the host's progress.

    Raises:
        InterruptProcessingException: the host's, when the run is cancelled.
    """
    bar = comfy.utils.ProgressBar(len(names))
    for name in names:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield name
        bar.update(1)


def network_of(model: nn.Module) -> nn.Module:
    """The network with the weights: the `diffusion_model` in a model of the host's, else the model itself."""
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
    # Layers of the host that wait for their weights have None as a plain attribute, which would hide them.
    for name in (*vars(module)["_parameters"], *vars(module)["_buffers"]):
        vars(module).pop(name, None)


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps what it had cut into pieces, 2.9 GB of a published UNet."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def _available() -> int:
    """Bytes of memory that the machine has left, or the container that this runs in, if it allows less."""
    left, allowed = psutil.virtual_memory().available, container_memory()
    return left if allowed is None else min(left, allowed.available)


def _free_swap() -> int:
    left, allowed = psutil.swap_memory().free, container_memory()
    return left if allowed is None or allowed.swap is None else min(left, allowed.swap)


def make_room(wanted: Weights) -> None:
    """Let other parts go, those unused for longest first, until there is memory for this one and `SPARE`.

    Parts that the host loads in the same call stay: they are used together.

    Args:
        wanted: what is to be read; its `bytes` count.

    Raises:
        WeGenError: there would not be enough even then.
    """
    for other in sorted(_read_parts, key=lambda one: one.last_used):
        if _available() >= wanted.bytes + SPARE:
            return
        if other is not wanted and other.load_call != wanted.load_call and other.in_memory():
            other.drop()
    left = _available() + _free_swap()
    if left < wanted.bytes:
        raise WeGenError(
            f"The {wanted.title} takes {wanted.bytes / 1e9:.1f} GB of memory, and {left / 1e9:.1f} GB are left. Close "
            f"other programs{less_memory(wanted.formats)}"
        )


@contextmanager
def memory_errors(work: str, formats: Collection[str] = ()) -> Iterator[None]:
    """Tell of memory that ran out in words, as the error that makes the host unload everything.

    Args:
        work: what was done, for the message.
        formats: of the quantised layers of the checkpoint, for what the message advises.

    Raises:
        OutOfMemoryError: PyTorch's, in place of any error that says that memory ran out, on a card or on the CPU.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        raise torch.cuda.OutOfMemoryError(
            f"Memory ran out while {work}. Draw fewer or smaller pictures at once or close other "
            f"programs{less_memory(formats)}"
        ) from error


def reading_errors(title: str, size: int, formats: Collection[str]) -> AbstractContextManager[None]:
    """`memory_errors` while a part of `size` bytes is read."""
    return memory_errors(f"reading the {title} ({size / 1e9:.1f} GB)", formats)


@cache
def _part_patcher(base: type) -> type:
    """The host's patcher class with weights that are read and left."""

    class PartPatcher(base):
        """The host's patcher of a part."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.weights.patchers.add(self)

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
            try:
                self.read()
            finally:  # also where that failed or was cancelled
                _load_call += 1  # whatever is asked for from now on is asked for by another call
            return super().partially_load(*args, **kwargs)

        def get_key_patches(self, *args, **kwargs):
            self.read()  # merging takes the tensors themselves
            return super().get_key_patches(*args, **kwargs)

        def unpatch_model(self, device_to=None, unpatch_weights=True):
            return super().unpatch_model(device_to, unpatch_weights and self.weights.present)

        def detach(self, unpatch_all=True):
            if unpatch_all and self.weights.present and self._leaves():
                self.let_go()
            return super().detach(unpatch_all)

        def let_go(self) -> None:
            """Take patches out of the weights, and let these go."""
            # Not moved to where the host would keep them: there is no room, or they are there already.
            self.unpatch_model(None)
            self.weights.leave(network_of(self.model))
            self.model.device = self.offload_device

        def partially_unload(self, *args, **kwargs):
            if self.get_attachment(PREFIXES) is not None:
                self.get_attachment(PREFIXES).clear()
            return super().partially_unload(*args, **kwargs)

        def _leaves(self) -> bool:
            if self.weights.kept:
                return False
            if comfy.model_management.is_device_cpu(self.load_device):
                return True
            return _available() < self.weights.bytes + SPARE

    return PartPatcher


def part_patcher(model: nn.Module, weights: Weights, load_device, offload_device):
    """A patcher of the host for a model whose network has no weights yet.

    It never loads weights on demand, also where the host does (DynamicVRAM). What the host does with it raises what
    `Weights.read` raises.

    Args:
        model: the network, or a model of the host's around it; it gets the attribute `part_weights`.
        weights: of that network.
        load_device, offload_device: where it computes, and where the host keeps it meanwhile.
    """
    model.part_weights = weights
    weights.owned_by(model)
    return _part_patcher(with_side_lora(comfy.model_patcher.ModelPatcher))(
        model, load_device=load_device, offload_device=offload_device
    )


@cache
def _on_demand_patcher(base: type) -> type:
    """The host's patcher class for weights that it reads from their files while it computes."""

    class OnDemandPatcher(base):
        """The host's patcher of a part whose files must stay as they were."""

        def load(self, *args, **kwargs):
            # Deep copies of the host hold a model that was read at once, after its files were checked: it has none.
            if (files := getattr(self.model, "part_files", None)) is not None:
                files.check()
            return super().load(*args, **kwargs)

    return OnDemandPatcher


def on_demand_patcher(model: nn.Module, files: Files, load_device, offload_device):
    """A patcher of the host for a model whose weights the host itself reads when they are used.

    Loading raises a WeGenError when a file is gone or was changed.

    Args:
        model: the network, or a model of the host's around it; it gets the attribute `part_files`.
        files: those that its weights are in.
        load_device, offload_device: where it computes, and where the host keeps it meanwhile.
    """
    model.part_files = files
    # Looked up here and now: the host puts another class in its place when it starts with DynamicVRAM.
    return _on_demand_patcher(comfy.model_patcher.CoreModelPatcher)(
        model, load_device=load_device, offload_device=offload_device
    )


def loads_on_demand(load_device) -> bool:
    """Whether the host itself reads weights when they are used: it runs with DynamicVRAM, and the device is no CPU."""
    patcher = comfy.model_patcher.CoreModelPatcher
    return patcher is not comfy.model_patcher.ModelPatcher and not comfy.model_management.is_device_cpu(load_device)


def pieces(part: Part, names: Mapping[str, str]) -> Iterator[tuple[str, str, StoredTensor]]:
    """Every tensor of a part as it is stored, with the network's and the part's name of it.

    Args:
        part: of the checkpoint.
        names: the network's name of each weight, and the checkpoint's.
    """
    for ours, theirs in names.items():
        inside, outside = ours.removesuffix("weight"), theirs.removesuffix("weight")
        for key, stored in part.as_stored(theirs).items():
            yield ours if key == theirs else inside + key.removeprefix(outside), key, stored


def stored_names(part: Part, names: Mapping[str, str]) -> dict[str, StoredTensor]:
    """Every tensor of a part as it is stored, by the network's name of it; see `pieces`."""
    return {ours: stored for ours, _, stored in pieces(part, names)}


def placeholders(names: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Tensors of these shapes and types without memory (on the meta device).

    Those that say how a layer is quantised are really there: the host reads them when it builds the layer.
    """
    return {
        key: stored.read()
        if key.endswith("comfy_quant")
        else torch.empty(stored.shape, dtype=stored.dtype, device="meta")
        for key, stored in names.items()
    }


def _stamps(paths: list[Path]) -> list[tuple[int, int] | None]:
    """Of each file what changes when it does; None where it is gone."""
    return [file_stamp(path) if path.is_file() else None for path in paths]
