"""The training loop: accelerate, a progress bar, sample sheets, and checkpoints from which it goes on to the bit."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from ..errors import WeGenError
from .recipe import Recipe
from .stage import Stage

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
HELD_OUT = 2**40
"""Samples from this number on are never trained with; sheets and evaluations use them."""


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
    """Train to `recipe.steps` (or to `until`) and return the averaged weights by name.

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
    accelerator = _accelerator()(mixed_precision=recipe.precision, cpu=not torch.cuda.is_available())
    parameters = stage.to(accelerator.device).trained()
    optimizers = _optimizers(stage, parameters, recipe)
    average = {name: value.detach().clone() for name, value in parameters.items()}
    start = 0
    path = folder / CHECKPOINT
    if path.exists():
        if not resume:
            raise WeGenError(f"{path} exists already. Train on with --resume, or choose another --out.")
        start = _restore(path, parameters, average, optimizers, recipe)
    model, *optimizers = accelerator.prepare(stage, *optimizers)
    folder.mkdir(parents=True, exist_ok=True)
    end = recipe.steps if until is None else min(until, recipe.steps)
    chief = accelerator.is_main_process
    span = accelerator.num_processes * recipe.batch

    def make_batch(step: int) -> Any:
        return stage.batch(step * span + accelerator.process_index * recipe.batch, recipe.batch)

    def save(step: int) -> None:
        if chief:
            _save(path, step, parameters, average, optimizers)

    saved = drawn = time.monotonic()
    bar = tqdm(
        total=recipe.steps,
        initial=start,
        desc=recipe.stage,
        unit="step",
        mininterval=2.0,
        disable=not (progress and chief),
    )
    recent: dict[str, float] = {}
    with bar, ThreadPoolExecutor(1) as ahead, open(folder / LOG, "a") as log, _stop_signals() as stopped:
        coming = ahead.submit(make_batch, start) if start < end else None
        for step in range(start, end):
            batch = coming.result()
            if step + 1 < end:
                coming = ahead.submit(make_batch, step + 1)
            _seed(recipe.seed, step, accelerator.process_index)
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = recipe.rate(step)
            model.train()
            with _attention(accelerator.device):
                losses = model(_to(batch, accelerator.device))
            accelerator.backward(losses["total"])
            accelerator.clip_grad_norm_(parameters.values(), recipe.gradient_limit)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            _average(average, parameters, min(recipe.average, (step + 1) / (step + 10)))
            _smooth(recent, losses)
            bar.update()
            done = step + 1
            if chief and done % rhythm.log_steps == 0:
                _log(log, bar, done, recipe, recent)
            if stopped:
                save(done)
                raise KeyboardInterrupt
            now = time.monotonic()
            if now - saved >= rhythm.save_seconds and done < end:
                save(done)
                saved = now
            last = done == recipe.steps and math.isfinite(rhythm.sheet_seconds)
            if chief and (now - drawn >= rhythm.sheet_seconds or last):
                with averaged(parameters, average):
                    draw_sheet(stage, folder, done)
                    _write(log, {"step": done, "held_out": take_measures(stage)})
                drawn = time.monotonic()
        if end > start:
            save(end)
    accelerator.wait_for_everyone()
    return average


class _BlockAttention(TorchFunctionMode):
    """Causal attention in a few blocks of queries, each with the keys up to its own end, by plain matrix products.

    On a CPU with bfloat16 products that takes half the time of PyTorch's own kernel, most of all on the way back.
    Attention that is not causal is left to that kernel, in float32: its bfloat16 form takes several times as long.
    """

    BLOCK = 200

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        query, key, value = args
        halved = torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False):
            if not kwargs.get("is_causal") or kwargs.get("enable_gqa") or not torch.is_grad_enabled():
                return function(query.float(), key.float(), value.float(), **kwargs)
            if halved:
                query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
            return _causal_attention(query, key, value, self.BLOCK)


def _causal_attention(query: Tensor, key: Tensor, value: Tensor, block: int) -> Tensor:
    """Causal attention of `[B, H, T, D]` queries, keys and values of equal length."""
    length = query.shape[-2]
    blocks = max(1, round(length / block))
    later = torch.full((length, length), -math.inf, dtype=query.dtype, device=query.device).triu(1)
    out = []
    for number in range(blocks):
        begin, end = number * length // blocks, (number + 1) * length // blocks
        scores = (query[:, :, begin:end] * query.shape[-1] ** -0.5) @ key[:, :, :end].transpose(-1, -2)
        out.append((scores + later[begin:end, :end]).softmax(-1) @ value[:, :, :end])
    return torch.cat(out, dim=2)


def _attention(device: torch.device):
    return _BlockAttention() if device.type == "cpu" else nullcontext()


def _accelerator() -> type:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise WeGenError("Training needs the package accelerate: pip install 'wegen[train]'.") from error
    return Accelerator


def load_average(folder: Path) -> tuple[int, dict[str, Tensor]]:
    """Step and averaged weights of a checkpoint. Raises WeGenError where there is none."""
    path = folder / CHECKPOINT
    if not path.is_file():
        raise WeGenError(f"There is no checkpoint {path}: this stage has not been trained yet.")
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state["step"], state["average"]


@contextmanager
def averaged(parameters: Mapping[str, Tensor], average: Mapping[str, Tensor]):
    """Put the averaged weights in place of the trained ones for a while."""
    kept = {name: value.detach().clone() for name, value in parameters.items()}
    _copy(average, parameters)
    try:
        yield
    finally:
        _copy(kept, parameters)


def draw_sheet(stage: Stage, folder: Path, step: int) -> Path:
    """Write the stage's sample sheet."""
    path = folder / f"sheet-{step:07d}.png"
    with _looking(stage):
        stage.sheet().save(path)
    return path


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
        # Steps of the size that AdamW's have, so that one learning rate serves both.
        matrices = [parameters[name] for name in sorted(hidden)]
        optimizers.append(
            torch.optim.Muon(
                matrices, recipe.learning_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return optimizers


def _seed(seed: int, step: int, process: int) -> None:
    torch.manual_seed((seed * 1_000_003 + process) * 2**32 + step)


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, tuple):
        moved = [_to(item, device) for item in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    return batch


@torch.no_grad()
def _average(average: dict[str, Tensor], parameters: Mapping[str, Tensor], decay: float) -> None:
    torch._foreach_lerp_(list(average.values()), [value.detach() for value in parameters.values()], 1 - decay)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])


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


def _save(path: Path, step: int, parameters: Mapping[str, Tensor], average: Mapping[str, Tensor], optimizers) -> None:
    """Write beside the old checkpoint first, so that a stop at any moment leaves a whole one."""
    state = {
        "step": step,
        "model": {name: value.detach() for name, value in parameters.items()},
        "average": dict(average),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _restore(
    path: Path, parameters: Mapping[str, Tensor], average: dict[str, Tensor], optimizers, recipe: Recipe
) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
    expected = {name: tuple(value.shape) for name, value in parameters.items()}
    found = {name: tuple(value.shape) for name, value in state["model"].items()}
    if expected != found:
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise WeGenError(
            f"{path} is of another {recipe.stage} than the configuration describes ({different[0]!r} differs, for one)."
            " Choose another --out, or give back the old sizes."
        )
    _copy(state["model"], parameters)
    _copy(state["average"], average)
    if len(state["optimizers"]) != len(optimizers):
        raise WeGenError(f"{path} was written with another optimizer than {recipe.optimizer!r}. Choose another --out.")
    for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    return state["step"]
