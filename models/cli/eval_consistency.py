"""`wegen eval consistency`: measure how well kept pixels are kept, print a table, and write the numbers as JSON.

What measuring needs is imported when it runs, so that the command line's help answers at once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..bundled import BUNDLED
from ..errors import WeGenError
from ..paths import expanded
from .common import output_numbers, output_picture, write_numbers

MEASURED = ("kept", "auto_mask", "select", "kept_by_words", "registration", "seam", "stock", "references")
"""The groups of numbers, in the order in which they are measured."""


@dataclass(frozen=True)
class Target:
    """A bound that a number must keep."""

    bound: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}"


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "kept/max_difference": Target(0),
        "kept/turns": Target(50, at_least=True),
        "auto_mask/recall": Target(0.95, at_least=True),
        "auto_mask/precision": Target(0.6, at_least=True),
        "auto_mask/changed": Target(0.95, at_least=True),
        "auto_mask/unchanged": Target(0.99, at_least=True),
        "select/found": Target(0.9, at_least=True),
        "kept_by_words/named": Target(0.9, at_least=True),
        "kept_by_words/pixels": Target(0.9, at_least=True),
        "registration/pixels": Target(0.25),
        "registration/zoom_percent": Target(0.2),
        "registration/found": Target(0.95, at_least=True),
        "registration/false_motions": Target(0),
        "references/box_0": Target(0.95, at_least=True),
        "references/box_5": Target(0.95, at_least=True),
        "references/box_16": Target(0.95, at_least=True),
        "seam/ratio": Target(1),
        "seam/added_ratio": Target(1),
    }
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval consistency`."""
    parser.description = (
        "Measure what stays of a picture: kept pixels over many turns, shift and zoom that are found and undone,\n"
        "seams, and for comparison what a latent noise mask without a paste leaves (the stock way)."
    )
    parser.add_argument("--json", type=output_numbers, metavar="FILE", help="write the numbers to this file")
    parser.add_argument("--cases", type=int, default=200, metavar="N", help="how many of each; default %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all cases; default %(default)s")
    parser.add_argument("--model", type=expanded, default=BUNDLED, metavar="DIR", help="a packed folder")
    parser.add_argument(
        "--plot", type=output_picture, metavar="FILE", help="draw the predicted mask's recall and precision as PNG"
    )
    parser.add_argument("--only", nargs="+", choices=MEASURED, metavar="GROUP", help="; ".join(MEASURED))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write; gives the exit code 0, whatever the numbers are.

    Raises:
        WeGenError: there is no model, no cases were asked for, or a plot of what is not measured.
    """
    if arguments.plot is not None and "auto_mask" not in (arguments.only or MEASURED):
        raise WeGenError("A plot needs the group auto_mask; leave out --only, or name it there.")
    from ..evaluation.consistency import GROUPS, ConsistencyEvaluator
    from ..pipeline import Pipeline

    evaluator = ConsistencyEvaluator(Pipeline.from_folder(arguments.model), arguments.cases, arguments.seed)
    numbers: dict[str, float] = {}
    for name in arguments.only or MEASURED:
        began = time.perf_counter()
        found = GROUPS[name](evaluator)
        numbers.update(found)
        print_table(found, f"{name}: {time.perf_counter() - began:.0f} s")
        if arguments.json is not None:
            write_numbers(arguments.json, numbers)
    if arguments.plot is not None:
        draw_trade_off(numbers, arguments.plot)
    return 0


def draw_trade_off(numbers: Mapping[str, float], path: Path) -> None:
    """Draw recall and precision over the predicted mask's threshold."""
    from ..evaluation.own_masks import PRECISION_AT, RECALL_AT
    from ..media.plots import trade_off_plot

    curves = [
        {float(name.removeprefix(start)): value for name, value in numbers.items() if name.startswith(start)}
        for start in (RECALL_AT, PRECISION_AT)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    trade_off_plot(*curves).save(path)


def print_table(numbers: Mapping[str, float], title: str) -> None:
    """One line for each number; those with a target with it and whether it is met."""
    print(f"\n{title}")
    for name, value in numbers.items():
        target = TARGETS.get(name)
        verdict = "" if target is None else f"{target!s:14} {'ok' if target.met_by(value) else 'MISSED'}"
        print(f"  {name:32} {value:9.4g}  {verdict}".rstrip())
    sys.stdout.flush()
