"""What a run has learned so far: saved as a checkpoint, and restored from it to the bit."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.reader import CONFIG_FILE, PARTS, part_file
from ..checkpoints.tokenizer import ADDED_FILE, MODEL_FILE
from ..errors import WeGenError, is_out_of_memory
from ..paths import put_in_place
from .distributed import copy_weights, gathered, spread_like
from .recipe import Recipe

CHECKPOINT = "checkpoint.pt"
PACKED_FILES = frozenset({CONFIG_FILE, MODEL_FILE, ADDED_FILE, *map(part_file, PARTS)})
OF_SYSTEMS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers put into folders that are looked at."""


@dataclass(frozen=True)
class RunState:
    """What a run changes from step to step, and what it must have in common with its checkpoint to go on from it.

    Attributes:
        path: the checkpoint.
        recipe: how the run trains.
        parameters: the trained weights by name, whole or spread over processes.
        average: their averages; `parameters` itself where none are kept.
        optimizers: of the parameters.
        sources: what decides which samples there are, and what the stage is built on, as JSON.
        processes: how many there are.
        chief: whether this one writes.
    """

    path: Path
    recipe: Recipe
    parameters: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizers: Sequence[Any]
    sources: Mapping[str, Any]
    processes: int
    chief: bool

    def save(self, step: int) -> None:
        """Write beside the old checkpoint first, so that a stop at any moment leaves a whole one.

        What is spread over processes is put together, so all of them must call this; the first one writes.

        Raises:
            WeGenError: it cannot be written, as on a full disk. The old checkpoint is still there.
        """
        model = {name: gathered(value.detach(), self.chief) for name, value in self.parameters.items()}
        state = {
            "step": step,
            "model": model,
            "average": model if self.average is self.parameters else self.gather_average(),
            "optimizers": [_gathered_state(optimizer.state_dict(), self.chief) for optimizer in self.optimizers],
            "samples": self._samples(step),
            "sources": dict(self.sources),
        }
        if not self.chief:
            return
        partial_path = self.path.with_suffix(".partial")
        try:
            torch.save(state, partial_path)
            put_in_place(partial_path, self.path)
        except (OSError, RuntimeError) as error:  # PyTorch raises the latter for a full disk
            partial_path.unlink(missing_ok=True)
            if is_out_of_memory(error):
                raise
            raise WeGenError(
                f"Step {step} could not be saved to {self.path}: {error}. Make room there; --resume goes on from what "
                "was saved before."
            ) from error

    def restore(self) -> int:
        """Take all from the checkpoint; gives the step after which it was saved.

        Raises:
            WeGenError: there is none, it is damaged, or it is of another stage, number of samples a step, source or
                optimizer.
        """
        state = _load(self.path)  # and copied tensor by tensor
        self._require_sizes(state["model"])
        self._require_samples(state)
        _require_same(self.path, state.get("sources", {}), self.sources)
        copy_weights(state["model"], self.parameters)
        if self.average is not self.parameters:
            copy_weights(state["average"], self.average)
        if len(state["optimizers"]) != len(self.optimizers):
            raise WeGenError(
                f"{self.path} was written with another optimizer than {self.recipe.optimizer!r}. Choose another --out."
            )
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(_spread_state(values, optimizer))
        return state["step"]

    def gather_average(self) -> dict[str, Tensor | None]:
        """The averaged weights put together, on the first process; all of them must call this."""
        return {name: gathered(value, self.chief) for name, value in self.average.items()}

    def _require_sizes(self, model: Mapping[str, Tensor]) -> None:
        expected = {name: tuple(value.shape) for name, value in self.parameters.items()}
        found = {name: tuple(value.shape) for name, value in model.items()}
        if expected != found:
            different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise WeGenError(
                f"{self.path} is of another {self.recipe.stage} than the configuration describes ({different[0]!r} "
                "differs, for one). Choose another --out, or give back the old sizes."
            )

    def _require_samples(self, state: Mapping[str, Any]) -> None:
        samples, recipe = self._samples(state["step"]), self.recipe
        if state.get("samples", samples) != samples:
            raise WeGenError(
                f"{self.path} was written after {state['samples']} samples in {state['step']} steps; with "
                f"{self.processes} devices, batches of {recipe.batch} and {recipe.accumulate} of them a step it would "
                f"be {samples}. Go on with as many samples a step as before, so that none comes twice, or choose "
                "another --out."
            )

    def _samples(self, step: int) -> int:
        """How many samples the first `step` steps have taken."""
        return step * self.recipe.accumulate * self.recipe.batch * self.processes


def require_new(folder: Path) -> None:
    """Raise WeGenError where a run was begun in a folder already."""
    if (folder / CHECKPOINT).exists():
        raise WeGenError(f"{folder / CHECKPOINT} exists already. Train on with --resume, or choose another --out.")


def require_own_result(folder: Path, begun: bool) -> None:
    """See that a packed folder that a run is going to replace is what an earlier one of it wrote, as far as can be
    told: it holds files of a packed checkpoint alone, and training was begun beside it.

    Args:
        folder: where the result goes.
        begun: whether a training was begun in the folder of the run.

    Raises:
        WeGenError: it is somebody's own.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    way_out = "Move it, or choose another --out."
    if not folder.is_dir():
        raise WeGenError(f"The result would be written to {folder}, where something else is. {way_out}")
    there = sorted(path.name for path in folder.iterdir())
    if other := next((name for name in there if name not in PACKED_FILES and name not in OF_SYSTEMS), None):
        raise WeGenError(
            f"The result would replace {folder}, which holds {other}: no training has written that. {way_out}"
        )
    if there and not begun:
        raise WeGenError(
            f"The result would replace {folder}, and no training was begun in {folder.parent}, so the checkpoint there "
            f"is none of its own. {way_out}"
        )


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
    """What a run saved, mapped from its file: several processes on one machine do not each hold a copy of all.

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


def _gathered_state(state: dict[str, Any], wanted: bool) -> dict[str, Any]:
    values = {
        index: {name: gathered(value, wanted) if isinstance(value, Tensor) else value for name, value in entry.items()}
        for index, entry in state["state"].items()
    }
    return {**state, "state": values}


def _spread_state(state: dict[str, Any], optimizer) -> dict[str, Any]:
    """A whole optimizer state, spread as the parameters are; none of it is left in the file that it was read from."""
    values = [value for group in optimizer.param_groups for value in group["params"]]
    spread = {
        index: {
            name: (spread_like(value, values[index]) if value.ndim else value).clone()
            if isinstance(value, Tensor)
            else value
            for name, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    # What the recipe says now holds, not what it said when the state was written.
    now = ({name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups)
    groups = [{**saved, **group} for saved, group in zip(state["param_groups"], now, strict=True)]
    return {**state, "state": spread, "param_groups": groups}
