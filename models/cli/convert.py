"""`wegen convert`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import OK, PRECISIONS, progress_bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen convert`."""
    parser.description = (
        "Write the packed form of a published (or packed) checkpoint: config.json, the tokenizer, and one safetensors\n"
        "file a part. The VAE is always stored in fp32. An interrupted conversion leaves nothing that loads."
    )
    parser.add_argument("source", type=Path, help="the checkpoint folder to read")
    parser.add_argument("destination", type=Path, help="the folder to write; must not exist yet")
    parser.add_argument("--dtype", choices=PRECISIONS, default="fp16", help="precision to store; default %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..checkpoints.convert import convert

    with progress_bars() as bars:
        show = bars("writing", "B")
        written = convert(arguments.source, arguments.destination, arguments.dtype, show)
    print(written)
    return OK
