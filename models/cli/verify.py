"""`wegen verify`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..errors import WeGenError
from ..paths import expanded
from .common import FAILED, OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen verify`."""
    parser.description = (
        "Recompute every entry of a folder of reference values (expected.json, expected.safetensors, pictures and the\n"
        "checkpoint they came from) in float32 on the CPU. A stage is ok when its largest absolute error is at most\n"
        "tolerance * max(1, largest expected magnitude); losses are compared relatively, ids and texts must be equal."
    )
    parser.add_argument("folder", type=expanded, help="the reference values; with --against a checkpoint")
    parser.add_argument(
        "--against",
        type=expanded,
        metavar="CHECKPOINT",
        help="no reference values: show how far the checkpoint is from another precision of the same model, part by "
        "part in float32; one part of one of them is in memory at a time, at the published size 27 GB and about 1 GB "
        "to work with",
    )
    parser.add_argument(
        "--model", type=expanded, help="hold another checkpoint to these values; default the folder's own"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    if arguments.against is not None:
        if arguments.model is not None:
            raise WeGenError("--model is for reference values; with --against name the checkpoint itself as FOLDER.")
        from ..evaluation import precision_cost

        say = _table(precision_cost.HEADER)
        for cost in precision_cost.precision_cost(arguments.folder, arguments.against):
            say(cost)
        return OK
    from ..evaluation.verify import HEADER, verify

    stages = verify(arguments.folder, arguments.model, on_stage=_table(HEADER))
    failed = [stage.name for stage in stages if not stage.passed]
    print(
        f"{len(stages) - len(failed)} of {len(stages)} stages ok" + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return FAILED if failed else OK


def _table(header: str) -> Callable[[object], None]:
    """Prints lines below a header, which comes with the first of them: there may be none but an error."""
    above = [header]

    def say(line: object) -> None:
        while above:
            print(above.pop())
        print(line, flush=True)

    return say
