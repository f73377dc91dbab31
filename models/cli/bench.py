"""`wegen bench`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import OK, count, output_file, output_picture, write_numbers

NAMES = ("256x6", "1024x8", "sampling", "rewriting", "chat", "precisions", "load", "convert")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen bench`."""
    parser.description = (
        "Measure the language model against transformers' generate on the same weights, rewrites, turns of a chat,\n"
        "sampling, what quantising costs, and the memory and time that loading and converting take. Each number is a\n"
        "ratio of pairs that run in turns; other work on the machine hardly changes it."
    )
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"also 2048x4, and decode inside ComfyUI; default {' '.join(NAMES)}",
    )
    add("--repeats", type=count, default=5, help="pairs behind each median; default %(default)s")
    add("--threads", type=count, default=1, help="of the CPU; default %(default)s")
    add("--comfyui", type=Path, default=Path("~/ComfyUI"), help="its folder, for decode; default %(default)s")
    add("--json", type=output_file, metavar="FILE", help="write the numbers there too")
    add("--plot", type=output_picture, metavar="FILE", help="draw each number beside its target")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    import torch

    from ..evaluation import benchmarks

    torch.set_num_threads(arguments.threads)
    found, shown = {}, []
    for measured in benchmarks.run(arguments.names or NAMES, arguments.repeats, arguments.comfyui):
        print(measured, flush=True)
        found[measured.name] = measured.value
        shown.append(measured)
    if arguments.json is not None:
        write_numbers(arguments.json, found)
    if arguments.plot is not None:
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        benchmarks.plot(shown).save(arguments.plot)
    return OK
