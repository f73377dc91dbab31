"""The command line `wegen`, one file a command.

What a command needs is imported when it runs, so that `wegen --help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import INTERRUPTED, WeGenError, WeGenWarning, how_to_install, is_out_of_memory
from . import ask, bench, calibrate, convert, data, demo, doctor, evaluate, generate, make_random, train, verify
from .common import PIPE_CLOSED, USER_ERROR, package_version

_CODES = (
    "exit codes: 0 done, 1 values out of tolerance (verify) or a checkpoint that is not whole (doctor), 2 something to "
    f"put right, 3 answered in words (generate), {INTERRUPTED} interrupted"
)
_NO_MEMORY = (
    "Memory ran out. Close other programs, ask for less at once (fewer or smaller pictures, smaller batches), compute "
    "in a smaller precision where there is --precision, or convert the checkpoint to a smaller one than it has: wegen "
    "convert SOURCE DESTINATION --dtype int8 (or w4a8, the smallest)."
)
_OF_FILES = (errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS)
_FORMAT = argparse.RawDescriptionHelpFormatter
_COMMANDS = {
    "demo": (demo, "draw, combine, change and ask with the bundled model, in one run"),
    "generate": (generate, "draw pictures, and refine them"),
    "ask": (ask, "ask about pictures"),
    "convert": (convert, "convert a checkpoint to safetensors files, in a precision of your choice"),
    "calibrate": (calibrate, "make the predicted edit mask of a checkpoint more reliable"),
    "make-random": (make_random, "write a checkpoint with random weights"),
    "verify": (verify, "recompute reference values, or compare two precisions of a model"),
    "doctor": (doctor, "what this machine can run, and whether a checkpoint is whole"),
    "bench": (bench, "measure speed and memory against other implementations"),
    "data": (data, "write training samples as shards"),
    "train": (train, "train a LoRA, any checkpoint, or the bundled model"),
    "eval": (evaluate, "measure a model"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code.

    0: done. 1: `verify` found a value out of tolerance, or `doctor` a checkpoint that is not whole. 2: something users
    can put right, said in one line on stderr. 3: `generate` was answered in words in a turn. 130: interrupted. 141:
    nobody reads what is printed. Whatever else goes wrong is a defect and shows its traceback.
    """
    # Not all terminals can show all words, and names of files can hold bytes that are no text.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    try:
        with _warnings_in_one_line():
            code = arguments.run(arguments)
        sys.stdout.flush()  # what cannot be written fails here, not when Python ends
        return code
    except WeGenError as error:
        print(f"wegen: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__name__.partition(".")[0]):
            raise
        print(f"wegen: The package {error.name} is missing: {how_to_install('standalone')}.", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("wegen: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python would write what is left when it ends, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (MemoryError, RuntimeError, OSError) as error:
        if is_out_of_memory(error):
            print(f"wegen: {_NO_MEMORY} {' '.join(str(error).split())}".rstrip(), file=sys.stderr)
            return USER_ERROR
        if not isinstance(error, OSError):
            raise
        if error.filename is None and error.errno not in _OF_FILES:
            raise
        print(f"wegen: {error.filename or 'A file'}: {error.strerror}.", file=sys.stderr)
        return USER_ERROR


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Warnings of this package are for users, and come like its errors: without the place in the code."""
    shown = warnings.showwarning

    def show(message, category, *place, **options) -> None:
        if issubclass(category, WeGenWarning):
            print(f"wegen: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            shown(message, category, *place, **options)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wegen", description="WeGen, the design copilot, without ComfyUI.", epilog=_CODES
    )
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
