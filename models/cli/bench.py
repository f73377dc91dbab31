"""`wegen bench`."""

from __future__ import annotations

import argparse
import os

from ..paths import expanded
from .common import OK, count, output_numbers, output_picture, threads, write_numbers

NAMES = ("256x6", "1024x8", "2048x4", "sampling", "rewriting", "chat", "precisions", "load", "convert")
IN_HOST = "decode"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen bench`."""
    parser.description = (
        "Measure the language model against transformers' generate on the same weights, rewrites, turns of a chat,\n"
        "sampling, what quantising costs, the memory and time that loading and converting take, and sampling inside\n"
        "ComfyUI against a stock model and against diffusers. Times are ratios of pairs that run in turns, so that\n"
        "other work on the machine slows both alike. Memory (peak_...) and likeness (..._cosine) have no such pairs.\n"
        "256x6, 1024x8 and 2048x4 are language models of that width and number of layers."
    )
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {' '.join(NAMES)} {IN_HOST}; default all, {IN_HOST} where there is a ComfyUI",
    )
    add(
        "--repeats",
        type=count,
        default=5,
        help="pairs behind each median; default %(default)s, fewer are for trying out",
    )
    add("--threads", type=threads, default=1, help="threads of the CPU; default %(default)s")
    add("--comfyui", type=expanded, metavar="DIR", help=f"for {IN_HOST}; default COMFYUI_PATH, then ~/ComfyUI")
    add("--python", type=expanded, metavar="FILE", help="its Python; default COMFYUI_PYTHON, then DIR/.venv/bin/python")
    add("--json", type=output_numbers, metavar="FILE", help="write the numbers there too, after each one")
    add("--plot", type=output_picture, metavar="FILE", help="draw each number beside its target")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    import torch

    from ..evaluation import benchmarks
    from ..evaluation.host_install import HostInstall

    torch.set_num_threads(arguments.threads)
    host = HostInstall.find(arguments.comfyui, arguments.python)
    names = arguments.names or (*NAMES, IN_HOST)
    given = arguments.comfyui or arguments.python or os.environ.get("COMFYUI_PATH") or os.environ.get("COMFYUI_PYTHON")
    if not arguments.names and not given and host.problem:
        print(benchmarks.NotMeasured(IN_HOST, host.problem), flush=True)
        names = NAMES
    shown: list[benchmarks.Measured] = []
    try:
        for measured in benchmarks.run(names, arguments.repeats, host):
            print(measured, flush=True)
            if isinstance(measured, benchmarks.NotMeasured):
                continue
            shown.append(measured)
            if arguments.json is not None:
                write_numbers(arguments.json, {one.name: one.value for one in shown})
    finally:
        # What was measured before something went wrong is worth its picture too.
        if arguments.plot is not None and shown:
            arguments.plot.parent.mkdir(parents=True, exist_ok=True)
            benchmarks.plot(shown).save(arguments.plot)
    return OK
