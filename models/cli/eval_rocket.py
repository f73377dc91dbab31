"""`wegen eval rocket`: whether a LoRA of the pictures of `wegen demo rocket` works, and what becomes of all else."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundled import BUNDLED
from ..errors import WeGenError
from .common import OK, add_lora_option, count

if TYPE_CHECKING:
    from ..pipeline import Pipeline

KEPT = 600
"""Samples of what must stay, for `--train`."""
OTHERS = (
    "text_to_picture", "describe", "questions", "refine", "two_references", "own_words", "own_questions", "outside",
)  # fmt: skip
"""Behaviours that are measured without and with the LoRA."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval rocket`."""
    parser.description = (
        "Counts how often a rocket comes up in wishes that name one and in orders to add one, and stays away from\n"
        "other wishes. `--train DIR --others 50` makes ten pictures, trains a LoRA, measures it, and says what became\n"
        "of all else that the bundled model can do."
    )
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write the numbers to this file")
    add("--cases", type=count, default=100, metavar="N",
        help="wishes, half of which name it, and half as many orders to add it; default %(default)s")  # fmt: skip
    add("--others", type=int, default=0, metavar="N",
        help="cases of each other behaviour, without and with the LoRA; default none")  # fmt: skip
    add("--seed", type=int, default=0, metavar="S", help="of all cases")
    add("--model", type=Path, default=BUNDLED, metavar="DIR", help="a packed folder")
    add("--sheets", type=Path, metavar="DIR", help="write a sample sheet, wrong cases first")
    add("--train", type=Path, metavar="DIR", help="train the LoRA of ten pictures first, in this folder")
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

    if arguments.train is not None and arguments.lora:
        raise WeGenError("--train makes the LoRA files itself; leave out --lora.")
    loras = dict(_train(arguments.train, arguments.model)) if arguments.train is not None else dict(arguments.lora)
    pipeline = Pipeline.from_folder(arguments.model).with_loras(loras)
    exam = BatchEvaluator(pipeline, arguments.cases, arguments.seed)
    fewer = BatchEvaluator(pipeline, max(1, arguments.cases // 2), arguments.seed)
    cases = list(tqdm(newcomer(exam), total=exam.count, desc="wishes", leave=False))
    cases += tqdm(added(fewer), total=fewer.count, desc="orders", leave=False)
    numbers = shares(cases)
    print_table(numbers, f"rocket: {exam.count} wishes, {fewer.count} orders to add it")
    if arguments.sheets is not None:
        write_sheet(arguments.sheets / "rocket.png", cases)
    if arguments.others > 0:
        before = _others(Pipeline.from_folder(arguments.model), arguments, "without the LoRA")
        after = _others(pipeline, arguments, "with the LoRA")
        lost = {name: before[name] - after[name] for name in before}
        print(f"\nlost in points, of {arguments.others} cases each")
        for name, value in lost.items():
            print(f"  {name:32} {100 * value:8.1f}")
        numbers |= {f"before/{name}": value for name, value in before.items()}
        numbers |= {f"after/{name}": value for name, value in after.items()}
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return OK


def _train(folder: Path, model: Path) -> list[tuple[Path, float]]:
    """The LoRA files of ten pictures, made by the commands that users type; what is there already is gone on with."""
    from . import main

    pictures, kept, out = (folder / name for name in ("rocket", "kept", "lora"))
    commands = [["demo", "rocket", "--out", str(pictures)]]
    if not (kept / "index.json").is_file():
        commands.append(["data", "--recipe", "words", "--out", str(kept), "--samples", str(KEPT)])
    train = ["train", "lora", str(pictures), "--name", "rocket", "--keep", str(kept), "--out", str(out), "--resume"]
    for command in [*commands, [*train, "--model", str(model)]]:
        if main(command) != OK:
            raise WeGenError(f"`wegen {' '.join(command)}` did not end well; see above.")
    return [(out / f"rocket_{part}.safetensors", 1.0) for part in ("language_model", "unet")]


def _others(pipeline: Pipeline, arguments: argparse.Namespace, title: str) -> dict[str, float]:
    """The promised numbers of other behaviours."""
    from tqdm import tqdm

    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..evaluation.cases import shares
    from ..evaluation.nano import BEHAVIOURS as PLAIN
    from ..evaluation.own_words import BEHAVIOURS as OWN
    from .eval_nano import print_table, promised

    exam = BatchEvaluator(pipeline, arguments.others, arguments.seed)
    known = {**PLAIN, **OWN}
    numbers: dict[str, float] = {}
    for name in OTHERS:
        found = shares(list(tqdm(known[name](exam), desc=f"{name} {title}", total=exam.count, leave=False)))
        numbers |= promised(found) or {key: value for key, value in found.items() if key == f"{name}/right"}
    print_table(numbers, f"other behaviours {title}: {arguments.others} cases each")
    return numbers
