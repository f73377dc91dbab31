"""`wegen eval rewriting`: measure what becomes of vague wishes, print a table, and write the numbers as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from itertools import pairwise

from ..bundled import BUNDLED
from ..errors import WeGenError
from ..evaluation.rewriting import SCALE, SEEDS, STEPS, THRESHOLDS
from ..paths import expanded
from .common import OK, output_numbers, write_numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval rewriting`."""
    parser.description = "Measure how different the pictures of vague wishes are, with and without rewriting."
    parser.add_argument("--json", type=output_numbers, metavar="FILE", help="write the numbers to this file")
    parser.add_argument(
        "--cases", type=int, default=50, metavar="N", help=f"vague wishes, each with {SEEDS} seeds; default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all wishes; default %(default)s")
    parser.add_argument("--model", type=expanded, default=BUNDLED, metavar="DIR", help="a packed folder")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write; gives the exit code 0, whatever the numbers are.

    Raises:
        WeGenError: there is no model, or no cases were asked for.
    """
    from tqdm import tqdm

    from ..evaluation.rewriting import measure, on_the_scale, vague_wishes
    from ..pipeline import Pipeline

    if arguments.cases < 1:
        raise WeGenError(f"{arguments.cases} wishes were asked for; give 1 or more.")
    pipeline = Pipeline.from_folder(arguments.model)
    wishes = vague_wishes(arguments.cases, arguments.seed)
    total = 2 * arguments.cases + len(STEPS) * on_the_scale(arguments.cases)
    with tqdm(total=total, desc="batches", leave=False) as bar:
        numbers = measure(pipeline, wishes, bar.update)
    print_table(numbers, arguments.cases)
    if arguments.json is not None:
        write_numbers(arguments.json, {name: value for name, value in numbers.items() if not name.startswith("drawn/")})
    return OK


def print_table(numbers: Mapping[str, float | list[float]], cases: int) -> None:
    """One line for each number; those with a target with it and whether it is met."""
    print(f"\nrewriting: {cases} vague wishes, {SEEDS} seeds each")
    for name, value in numbers.items():
        if name == SCALE:
            rises = all(before <= after for before, after in pairwise(value))
            text, target, good = " ".join(f"{step:.1f}" for step in value), "rising", rises and value[0] < value[-1]
        else:
            text = f"{value:.1%}" if name.startswith(("named/", "boats/")) else f"{value:.2f}"
            limit = THRESHOLDS.get(name)
            most = name.startswith("batch/")
            target = "" if limit is None else f"at {'most' if most else 'least'} {limit:g}"
            good = limit is None or (value <= limit if most else value >= limit)
        print(f"  {name:26} {text:>26}  {target:14} {('ok' if good else 'MISSED') if target else ''}".rstrip())
    sys.stdout.flush()
