"""`wegen eval`: what can be measured, each in a file of its own."""

from __future__ import annotations

import argparse

from . import eval_consistency, eval_nano, eval_rewriting, eval_rocket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen eval`."""
    parser.description = "Measure a model of the storybook over held-out cases, judged by an independent recogniser."
    what = parser.add_subparsers(title="what to measure", metavar="WHAT", required=True)
    eval_nano.add_arguments(what.add_parser("nano", help="everything that the bundled model is meant to do"))
    eval_rewriting.add_arguments(what.add_parser("rewriting", help="how different the pictures of vague wishes are"))
    eval_rocket.add_arguments(what.add_parser("rocket", help="whether a LoRA of `wegen demo rocket` works"))
    eval_consistency.add_arguments(
        what.add_parser(
            "consistency",
            help="what stays of a picture over turns",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
