"""`wegen eval nano`: measure a model of the storybook, print a table, and write the numbers as JSON.

What measuring needs is imported when it runs, so that the command line's help answers at once.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundled import BUNDLED
from ..evaluation.thresholds import JUDGE, MEASURED, SECONDS, THRESHOLDS, TURN
from .common import add_lora_option, output_file, write_numbers

if TYPE_CHECKING:
    from ..evaluation.cases import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval nano`."""
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write the numbers to this file")
    parser.add_argument(
        "--cases", type=int, default=200, metavar="N", help="how many of each behaviour; default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all cases")
    parser.add_argument("--model", type=Path, default=BUNDLED, metavar="DIR", help="a packed folder")
    add_lora_option(parser)
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write sample sheets, wrong cases first")
    parser.add_argument("--only", nargs="+", choices=MEASURED, metavar="BEHAVIOUR", help="; ".join(MEASURED))
    parser.add_argument(
        "--rewriting",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the model say in full what it will draw before it draws",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write; gives the exit code 0, whatever the numbers are.

    Raises:
        WeGenError: there is no model, or no cases were asked for.
    """
    import torch
    from tqdm import tqdm

    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..evaluation.cases import shares
    from ..evaluation.guided import BEHAVIOURS as GUIDED
    from ..evaluation.nano import BEHAVIOURS as PLAIN
    from ..evaluation.nano import turn_seconds
    from ..evaluation.own_words import BEHAVIOURS as OWN
    from ..evaluation.styles import BEHAVIOURS as STYLED
    from ..pipeline import Pipeline
    from ..values import SamplerSettings

    pipeline = Pipeline.from_folder(arguments.model).with_loras(dict(arguments.lora))
    evaluator = BatchEvaluator(pipeline, arguments.cases, arguments.seed, arguments.rewriting)
    wanted = {JUDGE, *(arguments.only or MEASURED)}  # no number without the judge's own
    numbers: dict[str, float] = {}
    for name, behaviour in {**PLAIN, **OWN, **GUIDED, **STYLED}.items():
        if name not in wanted:
            continue
        began = time.perf_counter()
        cases = list(tqdm(behaviour(evaluator), desc=name, total=evaluator.count, leave=False))
        found = shares(cases)
        numbers.update(found)
        print_table(found, f"{name}: {len(cases)} cases in {time.perf_counter() - began:.0f} s")
        if arguments.sheets is not None:
            write_sheet(arguments.sheets / f"{name}.png", cases)
    if TURN in wanted:
        numbers[SECONDS] = turn_seconds(pipeline)
        steps = SamplerSettings().steps
        where = f"{torch.get_num_threads()} threads, {steps} steps, {platform.machine()}"
        print_table({SECONDS: numbers[SECONDS]}, f"{TURN}: {where}")
    print_table(promised(numbers), "all together")
    if arguments.json is not None:
        write_numbers(arguments.json, promised(numbers))
    return 0


def promised(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers that are promised, in their order."""
    return {name: numbers[name] for name in THRESHOLDS if name in numbers}


def print_table(numbers: Mapping[str, float], title: str) -> None:
    """One line for each number; promised ones with the promise and whether it is kept."""
    print(f"\n{title}")
    for name, value in numbers.items():
        if name == SECONDS:
            text, kept, promise = f"{value:7.2f} s", value <= THRESHOLDS[name], f"at most {THRESHOLDS[name]:g} s"
        else:
            text, kept = f"{value:8.1%}", value >= THRESHOLDS.get(name, 0)
            promise = f"at least {THRESHOLDS[name]:.0%}" if name in THRESHOLDS else ""
        print(f"  {name:32} {text}  {promise:14} {('ok' if kept else 'MISSED') if promise else ''}".rstrip())
    sys.stdout.flush()


def write_sheet(path: Path, cases: Sequence[Case]) -> None:
    """Write the sample sheet of a behaviour as PNG."""
    from ..evaluation.sheets import case_sheet

    path.parent.mkdir(parents=True, exist_ok=True)
    case_sheet(cases).save(path)
