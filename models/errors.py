"""Errors whose message users read, at the node or on the command line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "not enough gpu video memory",  # DirectML
    "out of memory",
    "out_of_device_memory",  # Intel
    "alloc_failed",
)
"""What PyTorch's errors say of it, and those of what computes for it."""
INTERRUPTED = 130
"""The exit code of a command that was interrupted, as shells give it: 128 and the number of the signal."""
PACK = Path(__file__).resolve().parents[1]
"""The folder of this pack."""


def how_to_install(extra: str) -> str:
    """The end of a message about a package that is missing: the command that brings it, which works in a clone.

    Args:
        extra: name of the group of packages in `pyproject.toml`.
    """
    where = f"in {PACK}" if (PACK / "pyproject.toml").is_file() else "in a clone of the pack"
    return f'pip install -e ".[{extra}]" ({where})'


class WeGenError(ValueError):
    """Something the user can put right; the message names the value, the limit and the way out."""


class WeGenWarning(UserWarning):
    """Something that works, but perhaps not as users mean it; the message says so in whole sentences."""


class AnsweredInWords(WeGenError):
    """The model answered a wish or an order in words and draws nothing; the message is what it said."""


class CheckpointError(WeGenError):
    """A checkpoint folder or file that cannot be used as it is; the message names the file and the key."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Says in errors of the system which file or folder was written, as a full disk does not say it by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a card or on the CPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    told = any(words in said for words in _NO_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and told)
