"""Paths as users write them, and files that take the place of others."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LONGEST_FILE_NAME = 255
"""Bytes in the name of a file, on all common file systems."""


def expanded(path: str | Path) -> Path:
    """The path, with the user's own folder where it begins with `~/` or is `~`.

    `Path.expanduser` takes a folder called `~backup` for the home of another user, and raises where there is none.
    """
    path = os.fspath(path)
    return Path(os.path.expanduser(path) if Path(path).parts[:1] == ("~",) else path)


def put_in_place(partial: Path, path: Path) -> None:
    """Let a file take the name of another, once what it holds is on the disk: a power loss leaves one of them whole."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


@contextmanager
def taking_place_of(folder: Path) -> Iterator[Path]:
    """The path of a folder that is still to be made, beside one that stays until the new one is whole and takes its
    name.

    Where the path is a link, what it leads to is replaced.

    Raises:
        OSError: the new one cannot take the name; it is left beside the old one, under a hidden name.
    """
    folder = folder.resolve()
    token = secrets.token_hex(4)
    fresh, old = (folder.with_name(f".{folder.name}.{token}.{end}") for end in ("partial", "old"))
    try:
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)  # half of a folder is of no use
        raise
    if not folder.is_dir():
        fresh.rename(folder)
        return
    folder.rename(old)
    try:
        fresh.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def is_left_over(name: str) -> bool:
    """Whether a folder is called as those are that stand beside one which `taking_place_of` replaces.

    They stay only where that was killed, and may be whole: `.old` holds what was there before.
    """
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.(partial|old)", name, re.DOTALL) is not None


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where that can be done: POSIX systems can, though not on every network
    share. What the files hold is there all the same."""
    if os.name == "posix":
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file through one beside it that is on the disk before it takes the old one's name, and its permissions.

    Where the path is a link, what it leads to is replaced.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    path = path.resolve()
    name = os.fsencode(path.name)[:100].decode(errors="ignore")  # names have a limit of bytes
    partial = path.with_name(f".{name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            partial.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def is_stream(path: Path) -> bool:
    """Whether there is something else than a file or a folder, such as /dev/stdout."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_whole(path: Path, text: str) -> None:
    """Write a text file, and the folders around it; at any moment it is whole. Streams are written to as they are.

    Raises:
        OSError: it cannot be written.
    """
    if is_stream(path):
        path.write_text(text, encoding="utf-8")
        return
    path = path.resolve()  # the folders are those that a link leads to
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())
