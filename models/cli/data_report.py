"""`wegen data report`: a page about what `wegen data video` made."""

from __future__ import annotations

import argparse

from ..paths import expanded
from .common import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen data report` understands."""
    parser.description = (
        "One HTML file with everything in it: which clips were used and why others were not, how long it took, and\n"
        "sheets of samples with their things outlined."
    )
    parser.add_argument("folder", type=expanded, metavar="DIR", help="the --out of `wegen data video`")
    parser.add_argument("--out", type=expanded, metavar="FILE", help="the page to write; default DIR/report.html")
    parser.add_argument(
        "--samples", type=count, default=24, metavar="N", help="samples shown at most; default %(default)s"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="S", help="seed of the choice of samples; default %(default)s"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; 0 when all went well.

    Raises:
        WeGenError: a folder that `wegen data video` did not finish.
    """
    from ..data.diic.report import write_report

    path = write_report(arguments.folder, arguments.out, arguments.samples, arguments.seed)
    print(f"report: {path}")
    return 0
