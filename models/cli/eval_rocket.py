"""`wegen eval rocket`: whether a LoRA of the pictures of `wegen demo rocket` works, and what becomes of all else."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundled import BUNDLED
from ..errors import INTERRUPTED, WeGenError
from ..paths import expanded
from .common import (
    OK,
    add_lora_option,
    checked_loras,
    count,
    output_numbers,
    writable_folder,
    write_numbers,
)

if TYPE_CHECKING:
    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..evaluation.before_after import Change, Marks
    from ..evaluation.cases import Case

KEPT = 4000
"""Samples of what must stay, for `--train`."""
OTHERS = (
    "text_to_picture", "describe", "questions", "refine", "two_references", "own_words", "own_questions", "outside",
)  # fmt: skip
"""Behaviours that are measured without and with the LoRA."""
IN_WORDS = frozenset({"describe", "questions", "own_questions", "outside"})
"""Those that paint little or nothing, and so cost little."""
MORE = 4
"""Times as many cases of them."""
MEASURED = "measured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval rocket`."""
    parser.description = (
        "Counts how often a rocket comes up in wishes that name one and in orders to add one, and stays away from\n"
        "other wishes. `--train DIR --others 50` makes ten pictures, trains a LoRA, measures it, and says what became\n"
        "of all else that the bundled model can do. What is in DIR already is not made or measured again."
    )
    add = parser.add_argument
    add("--json", type=output_numbers, metavar="FILE", help="write the numbers to this file")
    add("--cases", type=count, default=100, metavar="N",
        help="wishes, half of which name it, and half as many orders to add it; default %(default)s")  # fmt: skip
    add("--others", type=int, default=0, metavar="N",
        help=f"cases of each other behaviour, the same ones without and with the LoRA, and {MORE} times as many of "
        "those that are answered in words; default none")  # fmt: skip
    add("--only", nargs="+", choices=OTHERS, metavar="BEHAVIOUR",
        help="of the others: " + ", ".join(OTHERS))  # fmt: skip
    add("--seed", type=int, default=0, metavar="S", help="seed of all cases; default %(default)s")
    add("--model", type=expanded, default=BUNDLED, metavar="DIR", help="a packed folder")
    add("--sheets", type=expanded, metavar="DIR", help="write a sample sheet, wrong cases first")
    add("--train", type=expanded, metavar="DIR", help="train the LoRA of ten pictures first, in this folder")
    add_lora_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and write; gives the exit code 0, whatever the numbers are."""
    from ..checkpoints.reader import open_checkpoint
    from ..evaluation.before_after import MISSED, MOST_LOST, UNCLEAR
    from ..evaluation.rocket import COMES_UP, TARGET

    if arguments.train is not None and arguments.lora:
        raise WeGenError("--train makes the LoRA files itself; leave out --lora.")
    if arguments.others < 0:
        raise WeGenError(f"--others is {arguments.others}; give 0 for none, or how many cases of each behaviour.")
    if arguments.only and arguments.others < 1:
        raise WeGenError("--only chooses among other behaviours; say how many cases of each: --others N.")
    if arguments.sheets is not None:
        writable_folder(arguments.sheets)
    open_checkpoint(arguments.model)  # before minutes of making samples
    loras = dict(_train(arguments.train, arguments.model)) if arguments.train is not None else checked_loras(arguments)
    numbers: dict[str, Any] = dict(_rocket(arguments, loras))
    _write(arguments, numbers)
    comes_up = numbers[COMES_UP]
    targets = [(COMES_UP, comes_up, f"at least {TARGET:.0%}", "ok" if comes_up >= TARGET else MISSED)]
    if arguments.others > 0:
        print("\nother behaviours, the same cases without and with the LoRA; lost in points, +- its standard error")
        changes: dict[str, Change] = {}
        for found in _others(arguments, loras):
            changes |= found
            for name, one in found.items():
                numbers |= {f"before/{name}": one.before, f"after/{name}": one.after, f"cases/{name}": one.cases}
            _write(arguments, numbers)  # at once: the others may take minutes
        # What has surely lost too much counts more than what may have lost even more.
        worst = max(changes, key=lambda name: (changes[name].verdict == MISSED, changes[name].lost))
        lost = changes[worst]
        targets.append((f"{worst} loses most", lost.lost, f"at most {MOST_LOST:.0%}", lost.verdict))
    print("\ntargets")
    for name, value, target, verdict in targets:
        print(f"  {name:36} {value:8.1%}  {target:14} {verdict}")
    if any(verdict == UNCLEAR for *_, verdict in targets):
        print("  unclear: within its standard error; more cases (--others) tell more")
    return OK


def _write(arguments: argparse.Namespace, numbers: Mapping[str, Any]) -> None:
    if arguments.json is not None:
        write_numbers(arguments.json, numbers)


def _line(name: str, change: Change) -> str:
    shares = f"{change.cases:5} cases  {change.before:6.1%} -> {change.after:6.1%}"
    lost = f"{100 * change.lost:6.1f} +- {100 * change.error:.1f}"
    return f"  {name:28} {shares}  {lost:14} {change.verdict}"


def _rocket(arguments: argparse.Namespace, loras: Mapping[Path, float]) -> dict[str, float]:
    """How often the thing comes up and stays away."""
    from ..evaluation.cases import shares
    from ..evaluation.rocket import added, wished
    from .eval_nano import print_table, write_sheet

    wishes, orders = arguments.cases, max(1, arguments.cases // 2)
    evaluators = _evaluators(arguments, loras)
    cases = [
        *_shown(wished(evaluators(wishes)), "wishes", wishes),
        *_shown(added(evaluators(orders)), "orders", orders),
    ]
    numbers = shares(cases)
    print_table(numbers, f"rocket: {wishes} wishes, half of which name it, and {orders} orders to add it")
    if arguments.sheets is not None:
        write_sheet(arguments.sheets / "rocket.png", cases)
    return numbers


def _others(arguments: argparse.Namespace, loras: Mapping[Path, float]) -> Iterator[dict[str, Change]]:
    """The numbers with targets of each other behaviour, without and with the LoRA, as they come."""
    from ..evaluation.before_after import compare, digest, remembered
    from ..evaluation.nano import BEHAVIOURS as PLAIN
    from ..evaluation.own_words import BEHAVIOURS as OWN
    from ..evaluation.thresholds import THRESHOLDS

    known = {**PLAIN, **OWN}
    sides = {"without": _evaluators(arguments, {}), "with": _evaluators(arguments, loras)}
    parts = sorted(path for path in arguments.model.iterdir() if path.is_file()) if arguments.train else []
    read = {"without": parts, "with": [*parts, *loras]}

    def measured(name: str, cases: int, side: str) -> list[Marks]:
        file = None
        if arguments.train is not None:
            state = digest(read[side], cases, arguments.seed)
            file = arguments.train / MEASURED / f"{name}-{side}-{state}.json"
        make, title = sides[side], f"{name} {side} the LoRA"
        return remembered(file, lambda: list(_shown(known[name](make(cases)), title, cases)))

    for name in arguments.only or OTHERS:
        cases = arguments.others * (MORE if name in IN_WORDS else 1)
        names = [one for one in (*THRESHOLDS, f"{name}/right") if one.partition("/")[0] == name]
        found = compare(*(measured(name, cases, side) for side in sides), dict.fromkeys(names))
        for one, change in found.items():
            print(_line(one, change), flush=True)
        yield found


def _evaluators(arguments: argparse.Namespace, loras: Mapping[Path, float]) -> Callable[[int], BatchEvaluator]:
    """Makes evaluators of so many cases, all of one model, which is loaded when the first one is asked for."""
    from functools import cache

    from ..evaluation.batch_evaluator import BatchEvaluator
    from ..pipeline import Pipeline

    @cache
    def pipeline() -> Pipeline:
        return Pipeline.from_folder(arguments.model).with_loras(loras)

    return lambda cases: BatchEvaluator(pipeline(), cases, arguments.seed)


def _shown(cases: Iterator[Case], title: str, total: int) -> Iterable[Case]:
    from tqdm import tqdm

    return tqdm(cases, desc=title, total=total, leave=False)


def _train(folder: Path, model: Path) -> list[tuple[Path, float]]:
    """The LoRA files of ten pictures, made by the commands that users type; what is there already is gone on with."""
    from . import main

    pictures, kept, out = (folder / name for name in ("rocket", "kept", "lora"))
    commands = [["demo", "rocket", "--out", str(pictures)]]
    if not (kept / "index.json").is_file():
        commands.append(["data", "--recipe", "keep", "--out", str(kept), "--samples", str(KEPT)])
    train = ["train", "lora", str(pictures), "--name", "rocket", "--keep", str(kept), "--out", str(out), "--resume"]
    for command in [*commands, [*train, "--model", str(model)]]:
        code = main(command)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code != OK:
            raise WeGenError(f"`wegen {' '.join(command)}` did not end well; see above.")
    return [(out / f"rocket_{part}.safetensors", 1.0) for part in ("language_model", "unet")]
