"""The training loop: accelerate, a progress bar, sample sheets, and checkpoints from which it goes on to the bit."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import pickle
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from ..errors import WeGenError, how_to_install, is_out_of_memory
from ..media.plots import loss_plot
from ..paths import put_in_place, replace_file
from . import cpu
from .recipe import Recipe, RecipeError
from .stage import Stage

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
PLOT = "losses.png"
HELD_OUT = 2**40
"""Samples from this number on are never trained with; sheets and evaluations use them."""
GLOO_REST = 0.2
"""Seconds that gloo's threads get at the end of a run. They let go of the tensors of the last exchanges a moment after
these are done, and need Python's lock for it; a process that ended before would be aborted by them."""


@dataclass(frozen=True)
class Rhythm:
    """How often a run saves, draws and writes its log; `math.inf` is never, a finished stage is always saved."""

    save_seconds: float = 180.0
    sheet_seconds: float = 180.0
    log_steps: int = 50


def train(
    stage: Stage,
    recipe: Recipe,
    folder: Path,
    resume: bool = True,
    rhythm: Rhythm = Rhythm(),
    until: int | None = None,
    progress: bool = True,
) -> dict[str, Tensor]:
    """Train to `recipe.steps` (or to `until`) and return the averaged weights by name; of weights that are spread over
    processes only the first one gives any.

    Everything that a step does depends on the seed and on its number alone, so a run that was stopped goes on from its
    last checkpoint as if it had never been stopped. SIGINT and SIGTERM save at the end of the step and then raise
    KeyboardInterrupt.

    Args:
        stage: what is trained.
        recipe: how.
        folder: where checkpoint, log and sheets are written.
        resume: go on from the checkpoint in `folder`; without it an existing checkpoint is an error.
        rhythm: how often to save.
        until: stop (and save) after this many steps in all.
        progress: whether to show a progress bar.
    """
    accelerator = _make_accelerator(stage, recipe, folder)
    chief, processes = accelerator.is_main_process, accelerator.num_processes
    stage.processes, stage.accumulate = processes, recipe.accumulate
    if recipe.recompute:
        _recompute_blocks(stage, accelerator.device)
    if not recipe.shard:  # sharding brings block after block to its device, which need not hold all of them at once
        stage.to(accelerator.device)
    by_hand = recipe.shard and processes > 1 and accelerator.device.type == "cpu"
    if by_hand:
        _shard_on_cpus(stage)
    parameters = stage.trained()
    optimizers = _optimizers(stage, parameters, recipe)
    if by_hand:
        # Where it does not wrap the model, accelerate only sets its precision.
        model = accelerator.prepare_model(stage, device_placement=False, evaluation_mode=True)
        optimizers = [accelerator.prepare_optimizer(optimizer) for optimizer in optimizers]
    else:
        model, *optimizers = accelerator.prepare(stage, *optimizers)
    parameters = stage.trained()  # sharding puts others in their places
    average = parameters
    if recipe.average:
        average = {name: value.detach().clone() for name, value in parameters.items()}
    start = 0
    sources = {"seed": recipe.seed, **stage.sources(), **stage.built_on}
    path = folder / CHECKPOINT
    if path.exists():
        if not resume:
            raise WeGenError(f"{path} exists already. Train on with --resume, or choose another --out.")
        start = _restore(path, parameters, average, optimizers, recipe, processes, sources)
    folder.mkdir(parents=True, exist_ok=True)
    if chief:
        _forget_after(folder / LOG, start)
    end = recipe.steps if until is None else min(until, recipe.steps)
    span = processes * recipe.batch

    def make_batches(step: int) -> list[Any]:
        first = step * span * recipe.accumulate + accelerator.process_index * recipe.batch
        made = (stage.batch(first + number * span, recipe.batch) for number in range(recipe.accumulate))
        return [batch for batch in made if batch is not None]

    def save(step: int) -> None:
        _save(path, step, parameters, average, optimizers, recipe, processes, chief, sources)

    saved = drawn = time.monotonic()
    kept = start
    bar = tqdm(
        total=recipe.steps,
        initial=start,
        desc=recipe.stage,
        unit="step",
        mininterval=2.0,
        disable=not (progress and chief),
    )
    recent: dict[str, float] = {}
    with (
        bar,
        ThreadPoolExecutor(1) as ahead,
        open(folder / LOG if chief else os.devnull, "a") as log,
        _stop_signals() as stopped,
    ):
        coming = ahead.submit(make_batches, start) if start < end else None
        for step in range(start, end):
            batches = coming.result()
            if step + 1 < end:
                coming = ahead.submit(make_batches, step + 1)
            _seed(recipe.seed, step, accelerator.process_index)
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = recipe.rate(step)
            model.train()
            losses = _add_gradients(accelerator, model, stage, batches)
            norm = accelerator.clip_grad_norm_(parameters.values(), recipe.gradient_limit)
            if not (math.isfinite(_number(losses["total"])) and math.isfinite(_number(norm))):
                raise WeGenError(
                    f"At step {step + 1} of {recipe.stage} the loss or its gradients are no finite numbers: the "
                    f"learning rate of {recipe.learning_rate:g} is too high. Set a lower 'learning_rate' in the "
                    f"recipe; --resume goes on from step {kept}, the last that was saved."
                )
            for optimizer in optimizers:
                with cpu.optimizer_step(accelerator.device):
                    optimizer.step()
                optimizer.zero_grad()
            if recipe.average:
                _average(average, parameters, min(recipe.average, (step + 1) / (step + 10)))
            _smooth(recent, losses)
            bar.update()
            done = step + 1
            if chief and done % rhythm.log_steps == 0:
                _log(log, bar, done, recipe, recent)
                accelerator.log(recent, step=done)
            now = time.monotonic()
            last = done == recipe.steps and math.isfinite(rhythm.sheet_seconds)
            # What one process decides by its clock all must do together.
            stop, due, look = _agreed(
                accelerator,
                bool(stopped),
                now - saved >= rhythm.save_seconds and done < end,
                now - drawn >= rhythm.sheet_seconds or last,
            )
            if stop:
                save(done)
                raise KeyboardInterrupt
            if due or (look and done == end):  # what is looked at may fail
                save(done)
                # From its end on, or saving that takes long would follow on itself.
                kept, saved = done, time.monotonic()
            if look and (chief or recipe.shard):
                with averaged(parameters, average):
                    if not recipe.shard:  # drawing asks parts for themselves, which sharded ones cannot give
                        draw_sheet(stage, folder, done)
                    with accelerator.autocast() if recipe.shard else nullcontext():
                        measures = take_measures(stage)
                _write(log, {"step": done, "held_out": measures})
                accelerator.log({f"held_out/{name}": value for name, value in measures.items()}, step=done)
            if look:
                drawn = time.monotonic()
        if end > kept:
            save(end)
    if chief and end == recipe.steps:
        draw_losses(folder, recipe.stage)
    whole = {name: _whole(value, chief) for name, value in average.items()}  # while the processes still talk
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if processes > 1 and accelerator.device.type == "cpu":
        time.sleep(GLOO_REST)
    return {name: value for name, value in whole.items() if value is not None}


def _add_gradients(accelerator, model, stage: Stage, batches: Sequence[Any]) -> dict[str, Tensor]:
    """One step's gradients, from all its batches; gives the losses of all processes together."""
    counts = _global_counts(accelerator, stage, batches)
    sums: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        with nullcontext() if last else accelerator.no_sync(model), cpu.attention(accelerator.device):
            batch = _to(batch, accelerator.device)
            with accelerator.autocast():  # which accelerate sets by itself but for what it spreads
                losses = model(batch) if counts is None else model(batch, counts)
            total = losses["total"]
            accelerator.backward(total if counts is not None or (last and not number) else total / len(batches))
        share = 1 / len(batches) if counts is None else 1.0
        for name, value in losses.items():
            value = value.detach() * share
            sums[name] = sums[name] + value if name in sums else value
    if accelerator.num_processes > 1:
        sums = {name: accelerator.reduce(value, "mean") for name, value in sums.items()}
    return sums


def _global_counts(accelerator, stage: Stage, batches: Sequence[Any]) -> Tensor | None:
    """What the losses of a step are divided by on each process, so that the mean over the processes is right."""
    each = [stage.counts(batch) for batch in batches]
    if any(one is None for one in each):
        return None
    counts = torch.stack(each).sum(dim=0).float().to(accelerator.device)
    return counts if accelerator.num_processes == 1 else accelerator.reduce(counts, "sum") / accelerator.num_processes


def _agreed(accelerator, *wishes: bool) -> tuple[bool, ...]:
    """Each true for all processes where it is for any of them."""
    if accelerator.num_processes == 1:
        return wishes
    flags = torch.tensor([float(wish) for wish in wishes], device=accelerator.device)
    return tuple(bool(flag) for flag in accelerator.reduce(flags, "sum"))


def _shard_on_cpus(stage: Stage) -> None:
    """Spread a stage over processes on CPUs, as accelerate does it on cards alone."""
    from torch.distributed import group
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    mesh = DeviceMesh.from_group(group.WORLD, "cpu")
    for module in [one for one in stage.modules() if type(one).__name__ in stage.blocks]:
        fully_shard(module, mesh=mesh)
    fully_shard(stage, mesh=mesh)


def _recompute_blocks(stage: Stage, device: torch.device) -> None:
    """Let the stage's blocks forget what is inside them until the way back."""

    def contexts():
        # PyTorch takes away what stands in for its functions on the way back; blocks must compute there what they did.
        return nullcontext(), cpu.attention(device)

    for module in stage.modules():
        if type(module).__name__ in stage.blocks:
            # Of the instance: names of parameters, and the hooks that sharding puts around a call, stay as they are.
            module.forward = partial(checkpoint, module.forward, use_reentrant=False, context_fn=contexts)


def _whole(value: Tensor, wanted: bool) -> Tensor | None:
    """A tensor of which each process has a part, put together on the CPU of a process where it is wanted, and None on
    others; what is not spread as it is. All processes must call this."""
    if not hasattr(value, "full_tensor"):
        return value
    whole = value.full_tensor()
    return whole.cpu() if wanted else None


def _part(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread over processes as another one is."""
    if not hasattr(like, "full_tensor") or hasattr(value, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def _local(value: Tensor) -> Tensor:
    return value.to_local() if hasattr(value, "to_local") else value


def _make_accelerator(stage: Stage, recipe: Recipe, folder: Path):
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise WeGenError(f"Training needs the package accelerate: {how_to_install('train')}.") from error
    # What an earlier stage in this process was trained with would hold for all others too.
    AcceleratorState._reset_state()
    require_tracker(recipe)
    plugin = None
    if recipe.shard:
        plugin = sharding(stage)
    made = Accelerator(
        mixed_precision=cpu.precision(stage, recipe.precision),
        cpu=not torch.cuda.is_available(),
        fsdp_plugin=plugin,
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


def load_average(folder: Path) -> tuple[int, dict[str, Tensor]]:
    """Step and averaged weights of a checkpoint. Raises WeGenError where there is none."""
    state = _load(folder / CHECKPOINT)
    return state["step"], state["average"]


def require_built_on(folder: Path, built_on: Mapping[str, Any]) -> None:
    """Raise WeGenError where what was trained in a folder was built on something else than this (`Stage.built_on`)."""
    _require_same(folder / CHECKPOINT, _load(folder / CHECKPOINT).get("sources", {}), built_on)


def weights_id(weights: Mapping[str, Tensor]) -> str:
    """A few letters that tell weights from others of the same sizes."""
    found = hashlib.blake2b(digest_size=8)
    for name, value in sorted(weights.items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _load(path: Path) -> dict[str, Any]:
    """What `_save` wrote, mapped from its file: several processes on one machine do not each hold a copy of all.

    Raises:
        WeGenError: there is none, or it is damaged.
    """
    if not path.is_file():
        raise WeGenError(f"There is no checkpoint {path}: this stage has not been trained yet. Train it first.")
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if not is_out_of_memory(error) or os.name != "posix":
                raise
            # Linux promises nobody a private copy of more than memory and swap hold together. Nothing is written to it.
            with torch.serialization.set_default_mmap_options(mmap.MAP_SHARED):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if is_out_of_memory(error):
            raise
        raise WeGenError(
            f"{path} is damaged and cannot be read ({error}). Put a copy of it there, or remove it to begin this stage "
            "anew."
        ) from error


@contextmanager
def averaged(parameters: Mapping[str, Tensor], average: Mapping[str, Tensor]):
    """Put the averaged weights in place of the trained ones for a while."""
    if average is parameters:
        yield
        return
    kept = {name: value.detach().clone() for name, value in parameters.items()}
    _copy(average, parameters)
    try:
        yield
    finally:
        _copy(kept, parameters)


def is_chief() -> bool:
    """Whether this process is the only one or the first of several: the one that writes results."""
    return int(os.environ.get("RANK", "0")) == 0


def process_count() -> int:
    """How many processes train together, as `accelerate launch` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def draw_sheet(stage: Stage, folder: Path, step: int) -> Path | None:
    """Write the stage's sample sheet, if it has one."""
    path = folder / f"sheet-{step:07d}.png"
    with _looking(stage):
        sheet = stage.sheet()
    if sheet is None:
        return None
    sheet.save(path)
    return path


def draw_losses(folder: Path, name: str) -> None:
    """Plot the losses of a stage's log as `losses.png` beside it."""
    entries = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
    logged = [entry for entry in entries if "lr" in entry]
    terms = [term for term in (logged[-1] if logged else {}) if term not in ("step", "time", "lr", "total")][:4]
    curves = {term: [max(entry[term], 1e-6) for entry in logged if term in entry] for term in terms}
    if terms and all(len(curve) == len(logged) for curve in curves.values()):
        loss_plot(f"Losses of the stage {name}", [entry["step"] for entry in logged], curves).save(folder / PLOT)


def _forget_after(log: Path, step: int) -> None:
    """Take out of a log what a run that was killed had written since it saved last: it is taken again."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    if kept != lines:
        replace_file(log, "".join(f"{line}\n" for line in kept).encode())


def take_measures(stage: Stage) -> dict[str, float]:
    """The stage's numbers on held-out samples."""
    with _looking(stage):
        return {name: round(value, 4) for name, value in stage.measure().items()}


@contextmanager
def _looking(stage: Stage):
    """Evaluation mode with random numbers of its own, so that the run is not changed by it."""
    stage.eval()
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(0)
        yield
    stage.train()


@contextmanager
def _stop_signals():
    """Gives a list that is empty until somebody asks the process to stop (only the main thread can be asked)."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    kept = {number: signal.signal(number, lambda n, _: stopped.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _optimizers(stage: Stage, parameters: Mapping[str, Tensor], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for hidden matrices and AdamW for the rest. Vectors (biases, norms) are not decayed."""
    hidden = stage.hidden_matrices() if recipe.optimizer == "muon" else frozenset()
    rest = [value for name, value in parameters.items() if name not in hidden]
    groups = [
        {"params": [value for value in rest if value.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [value for value in rest if value.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True)
    ]
    if hidden:
        if not hasattr(torch.optim, "Muon"):
            raise RecipeError(
                f"The optimizer 'muon' needs torch 2.9 or newer; this is {torch.__version__}. Update it, or set "
                '"optimizer": "adamw" in the recipe.'
            )
        # Steps of the size that AdamW's have, so that one learning rate serves both.
        matrices = [parameters[name] for name in sorted(hidden)]
        optimizers.append(
            torch.optim.Muon(
                matrices, recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return optimizers


def _number(value: Tensor) -> float:
    """A tensor of one number, which may be spread over processes, as a number."""
    return float(value.full_tensor() if hasattr(value, "full_tensor") else value)


def _seed(seed: int, step: int, process: int) -> None:
    torch.manual_seed(((seed * 1_000_003 + process) * 2**32 + step) % 2**63)


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, tuple):
        moved = [_to(item, device) for item in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    return batch


@torch.no_grad()
def _average(average: dict[str, Tensor], parameters: Mapping[str, Tensor], decay: float) -> None:
    now = [_local(value.detach()) for value in parameters.values()]
    torch._foreach_lerp_([_local(value) for value in average.values()], now, 1 - decay)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(_part(source[name], value))


def _smooth(recent: dict[str, float], losses: Mapping[str, Tensor]) -> None:
    for name, value in losses.items():
        now = float(value.detach())
        recent[name] = recent[name] * 0.98 + now * 0.02 if name in recent else now


def _log(log, bar: tqdm, step: int, recipe: Recipe, recent: Mapping[str, float]) -> None:
    rate = bar.format_dict["rate"] or 0.0
    bar.set_postfix(
        {**{k: f"{v:.4f}" for k, v in recent.items()}, "per_s": f"{rate * recipe.batch:.1f}"}, refresh=False
    )
    _write(log, {"step": step, "time": round(time.time()), "lr": recipe.rate(step), **recent})


def _write(log, entry: Mapping[str, Any]) -> None:
    log.write(json.dumps(entry) + "\n")
    log.flush()


def _save(
    path: Path,
    step: int,
    parameters: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    optimizers,
    recipe: Recipe,
    processes: int,
    chief: bool,
    sources: Mapping[str, Any],
) -> None:
    """Write beside the old checkpoint first, so that a stop at any moment leaves a whole one.

    What is spread over processes is put together, so all of them must call this; the first one writes.
    """
    model = {name: _whole(value.detach(), chief) for name, value in parameters.items()}
    state = {
        "step": step,
        "model": model,
        "average": model if average is parameters else {name: _whole(value, chief) for name, value in average.items()},
        "optimizers": [_whole_state(optimizer.state_dict(), chief) for optimizer in optimizers],
        "samples": _samples(step, recipe, processes),
        "sources": dict(sources),
    }
    if not chief:
        return
    partial_path = path.with_suffix(".partial")
    try:
        torch.save(state, partial_path)
        put_in_place(partial_path, path)
    except (OSError, RuntimeError) as error:  # PyTorch raises the latter for a full disk
        partial_path.unlink(missing_ok=True)
        if is_out_of_memory(error):
            raise
        raise WeGenError(
            f"Step {step} could not be saved to {path}: {error}. Make room there; --resume goes on from what was saved "
            "before."
        ) from error


def _require_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """What earlier versions did not save yet is not compared."""
    for name in (name for name in now if name in before and before[name] != now[name]):
        raise WeGenError(
            f"{path}: {_difference(name, before[name], now[name])}, so the two would not fit together. Go on with what "
            "it was begun with, or choose another --out."
        )


def _difference(name: str, before: Any, now: Any) -> str:
    """What is different in an entry, in words; of lists the first place at which they are."""
    if isinstance(before, list) and isinstance(now, list):
        pairs = enumerate(zip_longest(before, now))
        number, (before, now) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
        name = f"{name}[{number}]"
    return f"{name} was {json.dumps(before)} when it was written, and is now {json.dumps(now)}"


def _samples(step: int, recipe: Recipe, processes: int) -> int:
    """How many samples the first `step` steps have taken."""
    return step * recipe.accumulate * recipe.batch * processes


def _whole_state(state: dict[str, Any], wanted: bool) -> dict[str, Any]:
    values = {
        index: {name: _whole(value, wanted) if isinstance(value, Tensor) else value for name, value in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": values}


def _spread_state(state: dict[str, Any], optimizer) -> dict[str, Any]:
    """A whole optimizer state, spread as the parameters are; none of it is left in the file that it was read from."""
    values = [value for group in optimizer.param_groups for value in group["params"]]
    spread = {
        index: {
            name: (_part(value, values[index]) if value.ndim else value).clone() if isinstance(value, Tensor) else value
            for name, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    # What the recipe says now holds, not what it said when the state was written.
    now = ({name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups)
    groups = [{**saved, **group} for saved, group in zip(state["param_groups"], now, strict=True)]
    return {**state, "state": spread, "param_groups": groups}


def _restore(
    path: Path,
    parameters: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    optimizers,
    recipe: Recipe,
    processes: int,
    sources: Mapping[str, Any],
) -> int:
    state = _load(path)  # and copied tensor by tensor
    expected = {name: tuple(value.shape) for name, value in parameters.items()}
    found = {name: tuple(value.shape) for name, value in state["model"].items()}
    if expected != found:
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise WeGenError(
            f"{path} is of another {recipe.stage} than the configuration describes ({different[0]!r} differs, for one)."
            " Choose another --out, or give back the old sizes."
        )
    samples = _samples(state["step"], recipe, processes)
    if state.get("samples", samples) != samples:
        raise WeGenError(
            f"{path} was written after {state['samples']} samples in {state['step']} steps; with {processes} devices, "
            f"batches of {recipe.batch} and {recipe.accumulate} of them a step it would be {samples}. Go on with as "
            "many samples a step as before, so that none comes twice, or choose another --out."
        )
    _require_same(path, state.get("sources", {}), sources)
    _copy(state["model"], parameters)
    if average is not parameters:
        _copy(state["average"], average)
    if len(state["optimizers"]) != len(optimizers):
        raise WeGenError(f"{path} was written with another optimizer than {recipe.optimizer!r}. Choose another --out.")
    for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(_spread_state(values, optimizer))
    return state["step"]
