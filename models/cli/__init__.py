"""The command line `wegen`, one file a command.

What a command needs is imported when it runs, so that `wegen --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from ..errors import WeGenError
from . import ask, bench, calibrate, convert, data, demo, doctor, evaluate, generate, make_random, train, verify
from .common import INTERRUPTED, USER_ERROR, package_version

_FORMAT = argparse.RawDescriptionHelpFormatter
_COMMANDS = {
    "demo": (demo, "the whole story on the bundled model"),
    "generate": (generate, "draw pictures, and refine them"),
    "ask": (ask, "ask about pictures"),
    "convert": (convert, "write the packed form of a checkpoint"),
    "calibrate": (calibrate, "calibrate the predicted edit mask of a checkpoint"),
    "make-random": (make_random, "write a checkpoint with random weights"),
    "verify": (verify, "recompute reference values"),
    "doctor": (doctor, "what this machine can run, and whether a checkpoint is whole"),
    "bench": (bench, "measure speed against other implementations"),
    "data": (data, "write training samples as shards"),
    "train": (train, "train a LoRA, any checkpoint, or the bundled model"),
    "eval": (evaluate, "measure a model"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code.

    0: done. 1: `verify` found a value out of tolerance. 2: something users can put right, said in one line on stderr.
    130: interrupted. Anything else that goes wrong is a defect and shows its traceback.
    """
    # Not all terminals can show all words, and names of files can hold bytes that are no text.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except WeGenError as error:
        print(f"wegen: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("wegen: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wegen", description="WeGen, the design copilot, without ComfyUI.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (command, help_text) in _COMMANDS.items():
        sub = commands.add_parser(name, help=help_text, formatter_class=_FORMAT)
        command.add_arguments(sub)
    return parser


class _Version(argparse.Action):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, nargs=0, default=argparse.SUPPRESS, help="print the version", **kwargs)

    def __call__(self, parser, namespace, values, option_string=None):
        print(f"wegen {package_version()}")
        parser.exit()
