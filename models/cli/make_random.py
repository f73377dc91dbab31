"""`wegen make-random`."""

from __future__ import annotations

import argparse

from ..paths import expanded
from .common import OK, PRECISIONS, progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen make-random`."""
    parser.description = (
        "Write a checkpoint with random weights, to try a machine at a size before a download. It paints noise."
    )
    parser.add_argument("destination", type=expanded, help="the folder to write; must not exist yet")
    parser.add_argument(
        "--size",
        default="published",
        help="published (28 GB in bf16); 7b-lm or 1b-lm: a language model of 7 or 1 billion parameters, all else tiny; "
        "nano; tiny; or the sizes of a config.json or a checkpoint's folder: its path",
    )
    parser.add_argument("--dtype", choices=PRECISIONS, default="bf16", help="precision to store; default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights; default %(default)s")
    parser.add_argument("--published", action="store_true", help="the layout of the published folder, with pickles")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..checkpoints.random_weights import make_random

    with progress_bars() as bars:
        show = bars("writing", "B")
        written = make_random(
            arguments.destination, arguments.size, arguments.dtype, arguments.seed, show, arguments.published
        )
    print(written)
    return OK
