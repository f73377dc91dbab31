"""`wegen demo`: the whole story on the bundled model in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import OK, add_model_options, load_pipeline, writable_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen demo`."""
    parser.description = (
        "One vague wish and six different pictures, two references in one scene, a chat of four refinements, and a\n"
        "question, all by the bundled model. Writes the pictures, a contact sheet and the timings."
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write; default %(default)s")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from .demo_story import run_demo

    run_demo(load_pipeline(arguments), writable_folder(arguments.out))
    return OK
