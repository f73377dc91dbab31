"""`wegen doctor`."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..errors import CheckpointError, WeGenError
from ..options import OPTIONS
from ..paths import expanded
from .common import FAILED, OK, count, progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen doctor`."""
    parser.description = (
        "Say what this machine can run and which precision to take, computed from the shapes of the model, not\n"
        "measured. With a folder, also read all of it and say whether it is whole."
    )
    parser.add_argument("folder", type=expanded, nargs="?", help="a checkpoint folder; default the published sizes")
    parser.add_argument(
        "--pictures", type=count, default=1, metavar="N", help="pictures drawn at once; default %(default)s"
    )
    parser.add_argument("--table", action="store_true", help="show what cards of 6 to 24 GB can run too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..checkpoints.doctor import examine, machine
    from ..checkpoints.memory_needs import advice, command, how_it_runs, needs, table, what_is_missing
    from ..checkpoints.reader import Checkpoint, checkpoint_kind, open_checkpoint
    from ..network.configuration import WeGenConfig

    most = OPTIONS["batch_size"].maximum
    if arguments.pictures > most:
        raise WeGenError(f"--pictures is {arguments.pictures}; at most {most} are drawn at once.")
    checkpoint: Checkpoint | None = None
    faults: list[str] = []
    if arguments.folder is not None:
        try:
            checkpoint = open_checkpoint(arguments.folder)
        except CheckpointError as error:
            if checkpoint_kind(arguments.folder) is None:
                raise
            faults.append(str(error))
    pictures = arguments.pictures
    parts = needs(WeGenConfig() if checkpoint is None else checkpoint.config, pictures)
    here = machine()
    card, memory = here.card, here.memory
    chosen = advice(parts, card, memory)
    print(f"This machine: {here}.")
    if faults:
        print("Sizes of a checkpoint that cannot be opened are not known; what follows is of the published ones.")
    missing = what_is_missing(parts, chosen, card, memory)
    if missing is None:
        total = sum(part.weights[chosen[part.part]] for part in parts) / 1e9
        how = how_it_runs(parts, chosen, card, memory)
        print(f"Take wegen convert {command(chosen)}: {total:.1f} GB, {how} (computed).")
    else:
        fewer = "" if pictures == 1 else f" Try fewer than {pictures} pictures at once."
        print(f"This machine is too small, whatever the precision: {missing} (computed).{fewer}")
    if checkpoint is not None:
        own = [replace(one, weights={"stored": checkpoint.parts[one.part].stored_bytes()}) for one in parts]
        stored = sum(one.weights["stored"] for one in own) / 1e9
        missing = what_is_missing(own, "stored", card, memory)
        how = how_it_runs(own, "stored", card, memory) if missing is None else f"too large: {missing}"
        print(f"{checkpoint.folder} as it is: {stored:.1f} GB, {how} (computed).")
    if arguments.table:
        print(f"Pictures drawn at once: {pictures}.")
        print(table(parts))
    if checkpoint is not None:
        with progress_bars() as bars:
            faults += examine(checkpoint, bars("reading", "B"))
    for fault in faults:
        print(fault)
    if checkpoint is not None and not faults:
        print(f"{checkpoint.folder} is whole: every tensor was read and is finite.")
    return FAILED if faults else OK
