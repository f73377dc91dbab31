"""`wegen eval nano`: measure a model of the storybook, print a table, and write the numbers as JSON.

What measuring needs is imported when it runs, so that the command line's help answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundled import BUNDLED
from ..errors import WeGenError
from ..evaluation.thresholds import JUDGE, MEASURED, SECONDS, THRESHOLDS, TURN
from ..paths import expanded
from .common import add_lora_option, checked_loras, count, is_terminal, output_numbers, writable_folder, write_numbers

if TYPE_CHECKING:
    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..evaluation.cases import Case

LONGEST = ("chat8", "own_words", "rewriting")
"""The behaviours that take longest to measure."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval nano`."""
    parser.description = (
        "Measure what a model of the storybook can do, on cases that it was never trained with. --only chooses among\n"
        "the behaviours, such as refine (a change in plain phrases), own_words (the same in everyday words), outside\n"
        "(says what it cannot draw) or chat8 (eight turns). judge is the recogniser that judges the others, and is\n"
        "always measured; turn is the time of one turn."
    )
    parser.add_argument("--json", type=output_numbers, metavar="FILE", help="write the numbers to this file")
    parser.add_argument(
        "--cases", type=int, default=200, metavar="N", help="how many of each behaviour; default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all cases; default %(default)s")
    parser.add_argument("--model", type=expanded, default=BUNDLED, metavar="DIR", help="a packed folder")
    add_lora_option(parser)
    parser.add_argument("--sheets", type=expanded, metavar="DIR", help="write sample sheets, wrong cases first")
    parser.add_argument("--only", nargs="+", choices=MEASURED, metavar="BEHAVIOUR", help="; ".join(MEASURED))
    parser.add_argument(
        "--rewriting",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the model say in full what it will draw before it draws; default on",
    )
    parser.add_argument("--processes", type=count, metavar="N",
        help="how many behaviours are measured side by side; default: one for each core")  # fmt: skip
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class Measured:
    """The numbers of one behaviour, and how long it took."""

    name: str
    numbers: Mapping[str, float]
    cases: int
    seconds: float

    def print(self) -> None:
        print_table(self.numbers, f"{self.name}: {self.cases} cases in {self.seconds:.0f} s")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write; gives the exit code 0, whatever the numbers are.

    Raises:
        WeGenError: there is no model, or no cases were asked for.
    """
    import torch

    from ..evaluation.nano import turn_seconds

    if arguments.sheets is not None:
        writable_folder(arguments.sheets)
    evaluator = _evaluator(arguments)  # here too, so that what is wrong is said once and at once
    wanted = {JUDGE, *(arguments.only or MEASURED)}  # no number without the judge's own
    names = [name for name in MEASURED if name in wanted and name != TURN]
    processes = min(arguments.processes or _cores(), len(names))
    numbers: dict[str, float] = {}
    with contextlib.closing(_measure(arguments, evaluator, names, processes)) as measured:
        for one in measured:
            numbers.update(one.numbers)
            one.print()
            _write(arguments, numbers)  # at once: the others may take minutes
    if TURN in wanted:
        numbers[SECONDS] = turn_seconds(evaluator.pipeline)
        steps = evaluator.pipeline.config.sampler_steps
        where = f"{torch.get_num_threads()} threads, {steps} steps, {platform.machine()}"
        print_table({SECONDS: numbers[SECONDS]}, f"{TURN}: {where}")
    print_table(with_targets(numbers), "all together")
    _write(arguments, numbers)
    return 0


def _write(arguments: argparse.Namespace, numbers: Mapping[str, float]) -> None:
    if arguments.json is not None:
        write_numbers(arguments.json, {**with_targets(numbers), **numbers})


def _cores() -> int:
    """How many this process may use, which can be fewer than there are, as in a container."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _evaluator(arguments: argparse.Namespace) -> BatchEvaluator:
    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..pipeline import Pipeline

    loras = checked_loras(arguments)
    pipeline = Pipeline.from_folder(arguments.model).with_loras(loras)
    return BatchEvaluator(pipeline, arguments.cases, arguments.seed, arguments.rewriting)


def _measure(
    arguments: argparse.Namespace, evaluator: BatchEvaluator, names: Sequence[str], processes: int
) -> Iterator[Measured]:
    """The numbers of these behaviours, as they come: one after the other, or side by side in so many processes."""
    if processes == 1:
        yield from (_behaviour(evaluator, name, arguments.sheets, is_terminal()) for name in names)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin_process, (arguments,))
    try:
        # The longest ones first, so that no process waits long for the last.
        ordered = sorted(names, key=lambda name: name not in LONGEST)
        coming = [pool.submit(_behaviour_here, name) for name in ordered]
        yield from (one.result() for one in as_completed(coming))
    except BaseException as error:
        for process in active_children():  # what they are at is of no more use
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise WeGenError(
                f"One of the {processes} processes that measured was ended from outside, as systems do when memory "
                "runs out. --processes 1 needs the least."
            ) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _behaviour(evaluator: BatchEvaluator, name: str, sheets: Path | None, bar: bool) -> Measured:
    from tqdm import tqdm

    from ..evaluation.cases import shares
    from ..evaluation.guided import BEHAVIOURS as GUIDED
    from ..evaluation.nano import BEHAVIOURS as PLAIN
    from ..evaluation.own_words import BEHAVIOURS as OWN
    from ..evaluation.styles import BEHAVIOURS as STYLED

    began = time.perf_counter()
    behaviour = {**PLAIN, **OWN, **GUIDED, **STYLED}[name]
    cases = list(tqdm(behaviour(evaluator), desc=name, total=evaluator.count, leave=False, disable=not bar))
    if sheets is not None:
        write_sheet(sheets / f"{name}.png", cases)
    return Measured(name, shares(cases), len(cases), time.perf_counter() - began)


_here: tuple[BatchEvaluator, Path | None] | None = None
"""What a process of its own measures with, loaded once, and where its sheets go."""


def _begin_process(arguments: argparse.Namespace) -> None:
    """Of several processes each has one thread: small models gain little from more."""
    import torch

    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it, and ends the others
    torch.set_num_threads(1)
    _here = _evaluator(arguments), arguments.sheets


def _behaviour_here(name: str) -> Measured:
    evaluator, sheets = _here
    return _behaviour(evaluator, name, sheets, False)


def with_targets(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers that have targets, in their order."""
    return {name: numbers[name] for name in THRESHOLDS if name in numbers}


def print_table(numbers: Mapping[str, float], title: str) -> None:
    """One line for each number; those with a target with it and whether it is met."""
    print(f"\n{title}")
    for name, value in numbers.items():
        if name == SECONDS:
            text, met, target = f"{value:7.2f} s", value <= THRESHOLDS[name], f"at most {THRESHOLDS[name]:g} s"
        else:
            text, met = f"{value:8.1%}", value >= THRESHOLDS.get(name, 0)
            target = f"at least {THRESHOLDS[name]:.0%}" if name in THRESHOLDS else ""
        print(f"  {name:32} {text}  {target:14} {('ok' if met else 'MISSED') if target else ''}".rstrip())
    sys.stdout.flush()


def write_sheet(path: Path, cases: Sequence[Case]) -> None:
    """Write the sample sheet of a behaviour as PNG."""
    from ..evaluation.sheets import case_sheet

    path.parent.mkdir(parents=True, exist_ok=True)
    case_sheet(cases).save(path)
