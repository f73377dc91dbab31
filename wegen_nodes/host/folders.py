"""Where checkpoints are found: the host's folder key `wegen`, and the models that come with the pack."""

from __future__ import annotations

import math
import os
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import folder_paths

from ...models.bundled import BUNDLED as BUNDLED_FOLDER
from ...models.checkpoints.reader import checkpoint_kind
from ...models.errors import WeGenError
from ...models.media.chat_file import SUFFIX
from ...models.paths import is_left_over
from .chat_archive import IMPORTED, PANEL

KEY = "wegen"
LISTED_FOR = 2.0
"""Seconds."""
LONGEST_NAME, LONGEST_PATH = 200, 1000
"""Bytes of a name to save under, and of one with its folders; the host and this pack put numbers and endings behind."""
PUBLISHED = (
    "The page https://github.com/hzphzp/WeGen links the published one: 28 GB once 'wegen convert --dtype bf16' has "
    "packed it, about twice that as it is."
)
BUNDLED = {"wegen-nano (bundled)": BUNDLED_FOLDER}


def register() -> None:
    """Tell the host about `models/wegen`; folders that `extra_model_paths.yaml` already named stay and come first."""
    folder_paths.add_model_folder_path(KEY, str(Path(folder_paths.models_dir) / KEY))


def list_checkpoints() -> list[str]:
    """Names for the loader's list: bundled models, then each checkpoint folder below the folder key's paths."""
    names = [name for name, folder in BUNDLED.items() if checkpoint_kind(folder)]
    found = {
        entry.name
        for root in map(Path, folder_paths.get_folder_paths(KEY))
        for entry in _entries(root)
        # A conversion or a replacement that is still running, or was killed, stands beside its destination under such
        # a name.
        if not entry.name.endswith(".partial") and not is_left_over(entry.name) and checkpoint_kind(entry)
    }
    return names + sorted(found)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where it is none, or may not be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def checkpoint_folder(name: str) -> Path:
    """The folder behind a name of `list_checkpoints`.

    Raises:
        WeGenError: no such checkpoint, or a name that is not just a name (workflows come from strangers).
    """
    if name in BUNDLED:
        return BUNDLED[name]
    if name and Path(name).name == name and name not in (".", ".."):
        for root in map(Path, folder_paths.get_folder_paths(KEY)):
            if checkpoint_kind(root / name):
                return root / name
    places = ", ".join(folder_paths.get_folder_paths(KEY))
    raise WeGenError(
        f"There is no WeGen checkpoint {name!r}. Known are: {', '.join(list_checkpoints()) or 'none'}. "
        f"Checkpoint folders belong in {places}. {PUBLISHED}"
    )


def list_chats() -> list[str]:
    """Saved chats as the host writes names of files: `wegen/chat_00001_.safetensors [output]`.

    Those that WeGen Chat saved are below the output folder's `wegen`; those of others belong in the input folder.
    Those of the panel's turns are left out. The host asks several times a run, and folders may be large: what was found
    counts for a moment.
    """
    now = time.monotonic()
    if now - _listed.at > LISTED_FOR:
        _listed.names, _listed.at = _find_chats(), now
    return list(_listed.names)


def chats_stamp() -> tuple:
    """Changes when one of `list_chats` does."""
    files = (path for path in map(chat_path, list_chats()) if path.is_file())
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


@dataclass
class _Listed:
    at: float = -math.inf
    names: Sequence[str] = ()


_listed = _Listed()


def forget_listed() -> None:
    """Look again the next time: a chat was saved."""
    _listed.at = -math.inf


def _find_chats() -> list[str]:
    places = ((folder_paths.get_output_directory(), KEY, "output"), (folder_paths.get_input_directory(), "", "input"))
    return [
        f"{path.relative_to(root).as_posix()} [{kind}]"
        for root, below, kind in places
        for path in sorted(Path(root, below).glob(f"**/*{SUFFIX}"))
        if not any(path.is_relative_to(Path(root, turns)) for turns in (PANEL, IMPORTED))
    ]


def chat_path(name: str) -> Path:
    """The file behind a name of `list_chats`.

    Raises:
        ValueError: a name that leads out of the host's folders (workflows come from strangers).
    """
    return file_within(name)


def file_within(name: str) -> Path:
    """The file behind a name such as `a/b.png [output]`, which may not be there.

    Raises:
        ValueError: it lies outside of the host's folders. Before 0.27 the host itself does not look.
    """
    path = os.path.abspath(folder_paths.get_annotated_filepath(name))
    roots = (folder_paths.get_input_directory, folder_paths.get_output_directory, folder_paths.get_temp_directory)
    if not any(Path(path).is_relative_to(os.path.abspath(root())) for root in roots):
        raise ValueError(f"{name!r} lies outside of ComfyUI's folders.")
    return Path(path)


def require_chat(name: str) -> None:
    """Raise for a chat that is not there.

    Raises:
        WeGenError: says where it belongs.
    """
    try:
        found = chat_path(name).is_file()
    except ValueError as error:
        raise WeGenError(str(error)) from error
    if not found:
        raise WeGenError(
            f"There is no chat {name!r}. If the workflow is somebody else's, the file is on their machine: ask for it, "
            "or for the workflow of the whole chat. Chats that you got belong in ComfyUI's input folder."
        )


def kept_chat_path(name: str) -> Path:
    """Where WeGen Chat keeps the last chat of a name, in the output folder.

    Raises:
        WeGenError: no file can have this name, or it is one with folders.
    """
    if not name or Path(name).name != name or name in (".", "..") or "\\" in name:
        raise WeGenError(f"A chat cannot be kept under the name {name!r}: give a plain one, without folders.")
    return Path(folder_paths.get_output_directory(), KEY, f"{require_file_name(name)}{SUFFIX}")


def chat_name(path: Path) -> str | None:
    """A saved chat's name in `list_chats`; None where it is not below the output folder, and so has none."""
    # Links are not followed: the list names what is below the folder, wherever that is kept.
    try:
        below = os.path.relpath(path, folder_paths.get_output_directory())
    except ValueError:  # on another drive of Windows
        return None
    below = below.replace(os.path.sep, "/")
    return None if below.startswith("../") else f"{below} [output]"


def require_file_name(prefix: str) -> str:
    """The name to save under that a user gave; file systems take it.

    Raises:
        WeGenError: it is too long, ends as a folder, names a drive, or holds characters that names of files cannot
            have.
    """
    # Of "a/" the host would number files from 1 each time, and write over them; "a/." is "a" to it.
    if prefix.endswith(("/", "\\")) or prefix.replace("\\", "/").split("/")[-1] == ".":
        raise WeGenError(f"The name {prefix!r} to save under names a folder; put a name for the file behind it.")
    # On Windows "C:a" leads out of any folder, to the one that is current on that drive. Whether "C:/a" lies in the
    # output folder is looked at by the host.
    parts = prefix.replace("\\", "/").split("/")
    drives = [os.path.splitdrive(part)[0] for part in parts]
    is_absolute = len(parts) > 1 and drives[0] == parts[0]
    if drive := next(filter(None, drives[is_absolute:]), ""):
        raise WeGenError(f"The name {prefix!r} to save under names a drive; leave out {drive!r}.")
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in prefix):
        raise WeGenError(f"The name {prefix!r} to save under holds characters that names of files cannot have.")
    longest = max(len(part.encode()) for part in prefix.split("/"))
    if longest > LONGEST_NAME or len(prefix.encode()) > LONGEST_PATH:
        raise WeGenError(
            f"The name {prefix[:20]!r}... to save under is too long: {len(prefix.encode())} bytes, with parts of up to "
            f"{longest}; at most {LONGEST_PATH} are taken, and {LONGEST_NAME} for each part between slashes."
        )
    return prefix


def next_chat_path(prefix: str) -> Path:
    """Where the next chat called `prefix` is saved: in `wegen/` of the output folder, where chats are looked for.
    Nothing that is there is written over. In a folder, which ends with a slash, it is called "chat".

    Raises:
        WeGenError: no file can have this name, or it leads out of that folder.
    """
    if prefix.startswith(("/", "\\")) or ".." in prefix.replace("\\", "/").split("/"):
        raise WeGenError(
            f"The name {prefix!r} to save under leads out of the folder of chats; leave out '..' and '/' at its start."
        )
    prefix += "chat" if prefix.endswith(("/", "\\")) else ""
    prefix = require_file_name(prefix if prefix.startswith(f"{KEY}/") else f"{KEY}/{prefix}")
    folder, filename, counter, _, _ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    return Path(folder) / f"{filename}_{counter:05}_{SUFFIX}"
