"""`wegen doctor`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from .common import FAILED, OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen doctor`."""
    parser.description = (
        "Say what this machine can run and which precision to take, computed from the shapes of the model, not\n"
        "measured. With a folder, also read all of it and say whether it is whole."
    )
    parser.add_argument("folder", type=Path, nargs="?", help="a checkpoint; default the published sizes")
    parser.add_argument("--table", action="store_true", help="show other machines too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..checkpoints.doctor import examine, machine
    from ..checkpoints.needs import advice, command, how_it_runs, needs, table
    from ..checkpoints.reader import open_checkpoint
    from ..network.configuration import WeGenConfig

    checkpoint = None if arguments.folder is None else open_checkpoint(arguments.folder)
    parts = needs(WeGenConfig() if checkpoint is None else checkpoint.config)
    card, memory = machine()
    chosen = advice(parts, card, memory)
    place = f"a card of {card:.0f} GB" if card else "no card, so everything runs on the CPU"
    total = sum(part.weights[chosen[part.part]] for part in parts) / 1e9
    print(f"This machine: {place}; {memory:.0f} GB of memory.")
    print(
        f"Take wegen convert {command(chosen)}: {total:.1f} GB, {how_it_runs(parts, chosen, card, memory)} (computed)."
    )
    if checkpoint is not None:
        own = [replace(one, weights={"stored": checkpoint.parts[one.part].stored_bytes()}) for one in parts]
        stored = sum(one.weights["stored"] for one in own) / 1e9
        print(f"{checkpoint.folder} as it is: {stored:.1f} GB, {how_it_runs(own, 'stored', card, memory)} (computed).")
    if arguments.table:
        print(table(parts))
    faults = [] if checkpoint is None else examine(checkpoint)
    for fault in faults:
        print(fault)
    if checkpoint is not None and not faults:
        print(f"{checkpoint.folder} is whole: every tensor was read and is finite.")
    return FAILED if faults else OK
