"""`wegen eval rocket`: whether a LoRA of the pictures of `wegen demo rocket` works."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..bundled import BUNDLED
from .common import OK, add_lora_option, count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval rocket`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file")
    parser.add_argument(
        "--cases",
        type=count,
        default=100,
        metavar="N",
        help="wishes, half of which name it, and half as many orders to add it; %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all cases")
    parser.add_argument("--model", type=Path, default=BUNDLED, metavar="DIR", help="a packed folder")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write a sample sheet, wrong cases first")
    add_lora_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write; gives the exit code 0, whatever the numbers are."""
    from tqdm import tqdm

    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..evaluation.cases import shares
    from ..evaluation.newcomer import added, newcomer
    from ..pipeline import Pipeline
    from .eval_nano import print_table, write_sheet

    pipeline = Pipeline.from_folder(arguments.model).with_loras(dict(arguments.lora))
    exam = BatchEvaluator(pipeline, arguments.cases, arguments.seed)
    fewer = BatchEvaluator(pipeline, max(1, arguments.cases // 2), arguments.seed)
    cases = list(tqdm(newcomer(exam), total=exam.count, desc="wishes", leave=False))
    cases += tqdm(added(fewer), total=fewer.count, desc="orders", leave=False)
    numbers = shares(cases)
    print_table(numbers, f"rocket: {exam.count} wishes, {fewer.count} orders to add it")
    if arguments.sheets is not None:
        write_sheet(arguments.sheets / "rocket.png", cases)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return OK
