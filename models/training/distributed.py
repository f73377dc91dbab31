"""Training on several devices: how accelerate shares a run among processes, and weights that are spread over them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeGenError, how_to_install
from . import cpu
from .recipe import Recipe, RecipeError
from .stage import Stage

GLOO_REST = 0.2
"""Seconds that gloo's threads get at the end of a run. They let go of the tensors of the last exchanges a moment after
these are done, and need Python's lock for it; a process that ended before would be aborted by them."""


def make_accelerator(stage: Stage, recipe: Recipe, folder: Path):
    """Accelerate's side of a run: its device, its processes and its tracker.

    Args:
        stage: what is trained; sharding goes by its blocks.
        recipe: how.
        folder: where trackers write.

    Raises:
        WeGenError: accelerate is missing.
        RecipeError: accelerate does not know the recipe's tracker, or lacks the package that it needs.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise WeGenError(f"Training needs the package accelerate: {how_to_install('train')}.") from error
    # What an earlier stage in this process was trained with would hold for all others too.
    AcceleratorState._reset_state()
    require_tracker(recipe)
    made = Accelerator(
        mixed_precision=cpu.precision(stage, recipe.precision),
        cpu=not torch.cuda.is_available(),
        fsdp_plugin=sharding(stage) if recipe.shard else None,
        log_with=recipe.tracker or None,
        project_dir=str(folder) if recipe.tracker else None,
    )
    if recipe.tracker:
        made.init_trackers(recipe.name or recipe.stage)
    return made


def require_tracker(recipe: Recipe) -> None:
    """Raises WeGenError where accelerate does not know the recipe's tracker, or lacks the package that it needs."""
    if not recipe.tracker:
        return
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    except ImportError as error:
        raise WeGenError(f"Training needs the package accelerate: {how_to_install('train')}.") from error
    if recipe.tracker not in LOGGER_TYPE_TO_CLASS:
        raise RecipeError(
            f"tracker is {recipe.tracker!r}; it must be one of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}."
        )
    if recipe.tracker not in map(str, get_available_trackers()):
        raise RecipeError(
            f"tracker is {recipe.tracker!r}, whose package is missing. Install it, or leave 'tracker' out."
        )


def sharding(stage: Stage):
    """How accelerate spreads a stage over devices: block by block, and gradients are summed in float32.

    Weights stay in the precision that they have, and so does what goes in: `accelerator.autocast` chooses for each
    operation, as it does on one device.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=True,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=[name for name in stage.blocks if _has(stage, name)],
        cpu_ram_efficient_loading=False,
        mixed_precision_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False),
    )


def _has(stage: Stage, name: str) -> bool:
    return any(type(module).__name__ == name for module in stage.modules())


def shard_on_cpus(stage: Stage) -> None:
    """Spread a stage over processes on CPUs, as accelerate does it on cards alone."""
    from torch.distributed import group
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    mesh = DeviceMesh.from_group(group.WORLD, "cpu")
    for module in [one for one in stage.modules() if type(one).__name__ in stage.blocks]:
        fully_shard(module, mesh=mesh)
    fully_shard(stage, mesh=mesh)


def process_count() -> int:
    """How many processes train together, as `accelerate launch` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_chief() -> bool:
    """Whether this process is the only one or the first of several: the one that writes results."""
    return int(os.environ.get("RANK", "0")) == 0


def agreed(accelerator, *wishes: bool) -> tuple[bool, ...]:
    """Each true for all processes where it is for any of them."""
    if accelerator.num_processes == 1:
        return wishes
    flags = torch.tensor([float(wish) for wish in wishes], device=accelerator.device)
    return tuple(bool(flag) for flag in accelerator.reduce(flags, "sum"))


def leave(accelerator) -> None:
    """End a run when all processes have come to its end; they no longer talk after that."""
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if accelerator.num_processes > 1 and accelerator.device.type == "cpu":
        time.sleep(GLOO_REST)


def gathered(value: Tensor, wanted: bool) -> Tensor | None:
    """A tensor of which each process has a part, put together on the CPU of a process where it is wanted, and None on
    others; what is not spread as it is. All processes must call this."""
    if not hasattr(value, "full_tensor"):
        return value
    whole = value.full_tensor()
    return whole.cpu() if wanted else None


def spread_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread over processes as another one is."""
    if not hasattr(like, "full_tensor") or hasattr(value, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def local_part(value: Tensor) -> Tensor:
    """What this process has of a tensor; all of one that is not spread."""
    return value.to_local() if hasattr(value, "to_local") else value


def as_number(value: Tensor) -> float:
    """A tensor of one number, which may be spread over processes, as a number."""
    return float(value.full_tensor() if hasattr(value, "full_tensor") else value)


@torch.no_grad()
def copy_weights(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    """Put weights by name, whole or spread, into those of the same names."""
    for name, value in target.items():
        value.copy_(spread_like(source[name], value))
