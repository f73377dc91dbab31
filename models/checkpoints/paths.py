"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path, with the user's own folder where it begins with `~/` or is `~`.

    `Path.expanduser` takes a folder called `~backup` for the home of another user, and raises where there is none.
    """
    path = os.fspath(path)
    return Path(os.path.expanduser(path) if Path(path).parts[:1] == ("~",) else path)
