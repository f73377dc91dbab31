"""The training loop: accelerate, a progress bar, sample sheets, and checkpoints from which it goes on to the bit."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from ..errors import WeGenError
from ..media.plots import loss_plot
from ..paths import replace_file
from . import cpu
from .distributed import agreed, as_number, copy_weights, leave, local_part, make_accelerator, shard_on_cpus
from .recipe import Recipe, RecipeError
from .run_state import CHECKPOINT, RunState, require_new
from .stage import Stage

LOCK = "lock"
"""Held as long as a process trains in the folder."""
LOG = "log.jsonl"
PLOT = "losses.png"
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
    """Train to `recipe.steps` (or to `until`) and return the averaged weights by name; of weights that are spread over
    processes only the first one gives any.

    Everything that a step does depends on the seed and on its number alone, so a run that was stopped goes on from its
    last checkpoint as if it had never been stopped. SIGINT, SIGTERM and SIGHUP (a terminal that closed) save at the end
    of the step and then raise KeyboardInterrupt.

    Args:
        stage: what is trained.
        recipe: how.
        folder: where checkpoint, log and sheets are written.
        resume: go on from the checkpoint in `folder`; without it an existing checkpoint is an error.
        rhythm: how often to save.
        until: stop (and save) after this many steps in all.
        progress: whether to show a progress bar.

    Raises:
        WeGenError: accelerate is missing; another process trains in this folder; there is a checkpoint and `resume` is
            off, or it is damaged, or of another stage, number of samples a step, source or optimizer; the loss or its
            gradients are no finite numbers; or the run cannot be saved.
        RecipeError: the recipe's tracker or optimizer is not there.
        KeyboardInterrupt: the process was asked to stop. The run is saved.
    """
    accelerator = make_accelerator(stage, recipe, folder)
    with _alone_in(folder) if accelerator.is_main_process else nullcontext():
        model, optimizers = _prepare(accelerator, stage, recipe)
        state = _make_state(accelerator, stage, recipe, folder, optimizers)
        start = _begin(state, resume)
        end = recipe.steps if until is None else min(until, recipe.steps)
        bar = tqdm(
            total=recipe.steps,
            initial=start,
            desc=recipe.stage,
            unit="step",
            mininterval=2.0,
            disable=not (progress and state.chief),
        )
        with (
            bar,
            ThreadPoolExecutor(1) as ahead,
            open(folder / LOG if state.chief else os.devnull, "a") as log,
            _stop_signals() as stopped,
        ):
            run = _Run(accelerator, stage, model, state, rhythm, range(start, end), bar, log)
            for batches in run.prefetch(ahead):
                run.step(batches)
                run.tell()
                stop, save, look = run.due(bool(stopped))
                if stop or save or (look and run.done == end):  # what is looked at may fail
                    run.save()
                if stop:
                    raise KeyboardInterrupt
                if look:
                    run.look()
            if end > run.saved_step:
                run.save()
            if agreed(accelerator, bool(stopped))[0]:  # while the last step was saved or looked at
                raise KeyboardInterrupt
        if state.chief and end == recipe.steps:
            draw_losses(folder, recipe.stage)
        average = state.gather_average()  # while the processes still talk
        leave(accelerator)
        return {name: value for name, value in average.items() if value is not None}


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder: two would write the same files.

    Raises:
        WeGenError: one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise WeGenError(
            f"Another process trains in {folder}, perhaps of a training that was killed. Wait for it or stop it, or "
            "choose another --out."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _prepare(accelerator, stage: Stage, recipe: Recipe) -> tuple[torch.nn.Module, list[Any]]:
    """The stage on its devices, as it is called to train it, and its optimizers."""
    stage.processes, stage.accumulate = accelerator.num_processes, recipe.accumulate
    if recipe.recompute:
        _recompute_blocks(stage, accelerator.device)
    if not recipe.shard:  # sharding brings block after block to its device, which need not hold all of them at once
        stage.to(accelerator.device)
    by_hand = recipe.shard and accelerator.num_processes > 1 and accelerator.device.type == "cpu"
    if by_hand:
        shard_on_cpus(stage)
    optimizers = _optimizers(stage, stage.trained(), recipe)
    if by_hand:
        # Where it does not wrap the model, accelerate only sets its precision.
        model = accelerator.prepare_model(stage, device_placement=False, evaluation_mode=True)
        return model, [accelerator.prepare_optimizer(optimizer) for optimizer in optimizers]
    model, *optimizers = accelerator.prepare(stage, *optimizers)
    return model, optimizers


def _make_state(accelerator, stage: Stage, recipe: Recipe, folder: Path, optimizers: Sequence[Any]) -> RunState:
    """The state of a run before its first step."""
    parameters = stage.trained()  # sharding has put others in their places
    average = parameters
    if recipe.average:
        average = {name: value.detach().clone() for name, value in parameters.items()}
    return RunState(
        path=folder / CHECKPOINT,
        recipe=recipe,
        parameters=parameters,
        average=average,
        optimizers=optimizers,
        sources={"seed": recipe.seed, **stage.sources(), **stage.built_on},
        processes=accelerator.num_processes,
        chief=accelerator.is_main_process,
    )


def _begin(state: RunState, resume: bool) -> int:
    """The first step to take: that after the checkpoint, if there is one. What the log has of later ones is removed.

    Raises:
        WeGenError: there is a checkpoint that is not to be resumed, or that does not fit.
    """
    start = 0
    if not resume:
        require_new(state.path.parent)
    elif state.path.exists():
        start = state.restore()
    if state.chief:
        _forget_after(state.path.parent / LOG, start)
    return start


class _Run:
    """A run between its first and its last step: how far it is, and when it was saved and looked at last.

    Args:
        accelerator: its device and processes.
        stage: what is trained.
        model: the stage as accelerate wants it called.
        state: what each step changes.
        rhythm: how often to save, look and log.
        steps: the numbers of the steps to take.
        bar: shows how far it is.
        log: the open log file.
    """

    def __init__(
        self,
        accelerator,
        stage: Stage,
        model: torch.nn.Module,
        state: RunState,
        rhythm: Rhythm,
        steps: range,
        bar: tqdm,
        log: TextIO,
    ):
        self.accelerator, self.stage, self.model = accelerator, stage, model
        self.state, self.recipe, self.rhythm = state, state.recipe, rhythm
        self.steps, self.bar, self.log = steps, bar, log
        self.done = self.saved_step = steps.start
        self.saved_at = self.looked_at = time.monotonic()
        self.recent: dict[str, float] = {}
        """Running means of the losses."""

    def prefetch(self, ahead: Executor) -> Iterator[list[Any]]:
        """The batches of each step, made while the step before it is taken."""
        coming = ahead.submit(self._batches, self.steps.start) if self.steps else None
        for step in self.steps:
            batches = coming.result()
            if step + 1 < self.steps.stop:
                coming = ahead.submit(self._batches, step + 1)
            yield batches

    def _batches(self, step: int) -> list[Any]:
        """What this process takes of a step."""
        span = self.accelerator.num_processes * self.recipe.batch
        first = step * span * self.recipe.accumulate + self.accelerator.process_index * self.recipe.batch
        made = (self.stage.batch(first + number * span, self.recipe.batch) for number in range(self.recipe.accumulate))
        return [batch for batch in made if batch is not None]

    def step(self, batches: Sequence[Any]) -> None:
        """Take the next step.

        Raises:
            WeGenError: the loss or its gradients are no finite numbers.
        """
        accelerator, recipe, state = self.accelerator, self.recipe, self.state
        _seed(recipe.seed, self.done, accelerator.process_index)
        for group in (group for optimizer in state.optimizers for group in optimizer.param_groups):
            group["lr"] = recipe.rate(self.done)
        self.model.train()
        losses = _add_gradients(accelerator, self.model, self.stage, batches)
        norm = accelerator.clip_grad_norm_(state.parameters.values(), recipe.gradient_limit)
        if not (math.isfinite(as_number(losses["total"])) and math.isfinite(as_number(norm))):
            raise WeGenError(
                f"At step {self.done + 1} of {recipe.stage} the loss or its gradients are no finite numbers: the "
                f"learning rate of {recipe.learning_rate:g} is too high. Set a lower 'learning_rate' in the "
                f"recipe; --resume goes on from step {self.saved_step}, the last that was saved."
            )
        for optimizer in state.optimizers:
            with cpu.optimizer_step(accelerator.device):
                optimizer.step()
            optimizer.zero_grad()
        self.done += 1
        if recipe.average:
            _average(state.average, state.parameters, min(recipe.average, self.done / (self.done + 9)))
        _smooth(self.recent, losses)
        self.bar.update()

    def tell(self) -> None:
        """Write the losses into the log and the tracker, where it is time for it."""
        if self.state.chief and self.done % self.rhythm.log_steps == 0:
            _log(self.log, self.bar, self.done, self.recipe, self.recent)
            self.accelerator.log(self.recent, step=self.done)

    def due(self, stopped: bool) -> tuple[bool, ...]:
        """Whether to stop, to save and to look now. What one process decides by its clock all must do together.

        Args:
            stopped: whether somebody has asked this process to stop.
        """
        now = time.monotonic()
        last = self.done == self.recipe.steps and math.isfinite(self.rhythm.sheet_seconds)
        return agreed(
            self.accelerator,
            stopped,
            now - self.saved_at >= self.rhythm.save_seconds and self.done < self.steps.stop,
            now - self.looked_at >= self.rhythm.sheet_seconds or last,
        )

    def save(self) -> None:
        """Write the checkpoint."""
        self.state.save(self.done)
        # From its end on, or saving that takes long would follow on itself.
        self.saved_step, self.saved_at = self.done, time.monotonic()

    def look(self) -> None:
        """Draw the sample sheet and measure on held-out samples, both with the averaged weights."""
        state, shard = self.state, self.recipe.shard
        if state.chief or shard:
            with averaged(state.parameters, state.average):
                if not shard:  # drawing asks parts for themselves, which sharded ones cannot give
                    draw_sheet(self.stage, state.path.parent, self.done)
                with self.accelerator.autocast() if shard else nullcontext():
                    measures = take_measures(self.stage)
            _write(self.log, {"step": self.done, "held_out": measures})
            self.accelerator.log({f"held_out/{name}": value for name, value in measures.items()}, step=self.done)
        self.looked_at = time.monotonic()


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


def _recompute_blocks(stage: Stage, device: torch.device) -> None:
    """Let the stage's blocks forget what is inside them until the way back."""

    def contexts():
        # PyTorch takes away what stands in for its functions on the way back; blocks must compute there what they did.
        return nullcontext(), cpu.attention(device)

    for module in stage.modules():
        if type(module).__name__ in stage.blocks:
            # Of the instance: names of parameters, and the hooks that sharding puts around a call, stay as they are.
            module.forward = partial(checkpoint, module.forward, use_reentrant=False, context_fn=contexts)


@contextmanager
def averaged(parameters: Mapping[str, Tensor], average: Mapping[str, Tensor]):
    """Put the averaged weights in place of the trained ones for a while."""
    if average is parameters:
        yield
        return
    kept = {name: value.detach().clone() for name, value in parameters.items()}
    copy_weights(average, parameters)
    try:
        yield
    finally:
        copy_weights(kept, parameters)


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
    asked = {signal.SIGINT, signal.SIGTERM}
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # as `nohup` sets it
        asked.add(hangup)
    kept = {number: signal.signal(number, lambda n, _: stopped.append(n)) for number in asked}
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
def _average(average: Mapping[str, Tensor], parameters: Mapping[str, Tensor], decay: float) -> None:
    now = [local_part(value.detach()) for value in parameters.values()]
    torch._foreach_lerp_([local_part(value) for value in average.values()], now, 1 - decay)


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
