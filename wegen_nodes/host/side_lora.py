"""LoRA beside quantised layers: what it adds is computed from the input, and the weight stays as it is.

The host rounds a LoRA into the weight of a quantised layer that is loaded, which changes what it does by 7 % of its
effect in int8 and by half of it in 4 bits, and adds it to the turned back weight of one that is not. Beside the layer
it does the same in every precision and with any part of the model loaded, and costs next to nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from comfy.patcher_extension import PatcherInjection
from comfy.weight_adapter.lora import LoRAAdapter
from torch import Tensor, nn

INJECTION = "wegen_side_lora"


class _SidePath:
    """Adds LoRAs to what one layer gives, while it is injected.

    Args:
        layer: quantised.
        patches: of its weight, as the host keeps them.
    """

    def __init__(self, layer: nn.Module, patches: Sequence[tuple]):
        self.layer = layer
        self.patches = patches
        self._plain: Any = None
        self._there: dict[tuple, list[tuple[Tensor, Tensor]]] = {}

    def inject(self) -> None:
        self._plain = self.layer.forward
        self.layer.forward = self.forward

    def eject(self) -> None:
        self.layer.forward = self._plain
        self._there.clear()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = self._plain(x, *args, **kwargs)
        place = x.device, x.dtype
        if place not in self._there:
            self._there[place] = [_factors(*patch[:2], *place) for patch in self.patches]
        for down, up in self._there[place]:
            out = out + F.linear(F.linear(x, down), up).to(out.dtype)
        return out


def _factors(strength: float, adapter: LoRAAdapter, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    up, down, alpha = adapter.weights[:3]
    scale = strength if alpha is None else strength * alpha / len(down)
    return down.flatten(1).to(device, dtype), (up.flatten(1).float() * scale).to(device, dtype)


def _joined(first: dict[str, list[tuple]], second: dict[str, list[tuple]]) -> dict[str, list[tuple]]:
    return {key: [*first.get(key, []), *second.get(key, [])] for key in {**first, **second}}


def _goes_beside(layer: nn.Module | None, patch: Any) -> bool:
    """Whether a patch is low-rank and nothing else, and the layer a quantised one."""
    if layer is None or getattr(layer, "layout_type", None) is None or not isinstance(patch, LoRAAdapter):
        return False
    return all(extra is None for extra in patch.weights[3:])


@cache
def with_side_lora(base: type) -> type:
    """A patcher class of the host whose LoRAs on quantised layers stand beside the weights."""

    class SideLoraPatcher(base):
        """The host's patcher, with LoRAs beside quantised layers."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.side_patches: dict[str, list[tuple]] = {}
            self._inside: dict[str, list[tuple]] = {}  # those of them that are in the weights, for a file

        def clone(self, *args, **kwargs):
            other = super().clone(*args, **kwargs)
            if isinstance(other, SideLoraPatcher):
                other.is_injected = False  # its paths are new ones, which are in no layer yet
                other._inside = self._inside
                other._put_beside({key: list(patches) for key, patches in self.side_patches.items()})
            return other

        def add_patches(self, patches, strength_patch=1.0, strength_model=1.0):
            layers = dict(self.model.named_modules())
            beside = {
                key: patch
                for key, patch in patches.items()
                if strength_model == 1.0
                and isinstance(key, str)
                and key.endswith(".weight")
                and _goes_beside(layers.get(key.removesuffix(".weight")), patch)
            }
            added = super().add_patches(
                {key: patch for key, patch in patches.items() if key not in beside}, strength_patch, strength_model
            )
            if beside:
                with self.use_ejected():
                    found = {key: list(old) for key, old in self.side_patches.items()}
                    for key, patch in beside.items():
                        found.setdefault(key, []).append((strength_patch, patch, strength_model, None, None))
                    self._put_beside(found)
                self.patches_uuid = uuid.uuid4()
            return [*added, *beside]

        def get_key_patches(self, *args, **kwargs):
            found = super().get_key_patches(*args, **kwargs)
            return {key: [*entry, *self.side_patches.get(key, [])] for key, entry in found.items()}

        def load(self, *args, force_patch_weights=False, **kwargs):
            self._for_good(force_patch_weights)
            return super().load(*args, force_patch_weights=force_patch_weights, **kwargs)

        def partially_load(self, *args, force_patch_weights=False, **kwargs):
            self._for_good(force_patch_weights)
            try:
                return super().partially_load(*args, force_patch_weights=force_patch_weights, **kwargs)
            except BaseException:
                # The host puts its LoRAs beside the layers also where the load failed, and then forgets this patcher:
                # others of the same model would have them too.
                self.eject_model()
                raise

        def _for_good(self, wanted: bool) -> None:
            """Let the host put all into the weights, which it wants for a saved model, and back for the next use."""
            if not (self.side_patches if wanted else self._inside):
                return
            self.eject_model()
            if wanted:
                self.patches = _joined(self.patches, self.side_patches)
                self._inside = _joined(self._inside, self.side_patches)
                self._put_beside({})
            else:
                inside = {id(patch[1]) for patches in self._inside.values() for patch in patches}
                left = {key: [one for one in old if id(one[1]) not in inside] for key, old in self.patches.items()}
                self.patches = {key: patches for key, patches in left.items() if patches}
                beside, self._inside = _joined(self._inside, self.side_patches), {}
                self._put_beside(beside)
            self.patches_uuid = uuid.uuid4()

        def _put_beside(self, patches: dict[str, list[tuple]]) -> None:
            self.side_patches = patches
            self.remove_injections(INJECTION)
            paths = [_SidePath(self.model.get_submodule(k.removesuffix(".weight")), p) for k, p in patches.items()]
            if paths:
                self.set_injections(
                    INJECTION,
                    [PatcherInjection(lambda _, p=path: p.inject(), lambda _, p=path: p.eject()) for path in paths],
                )

    return SideLoraPatcher
