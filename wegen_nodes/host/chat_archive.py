"""A chat as one file to take elsewhere: a ZIP of its export and of the pictures and chat files that its document names.

Plain Python, like the store. What comes in is not trusted: files only ever get names made here, in a new folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .chat_store import LARGEST_BODY, StoreError, parse_json

LARGEST_ARCHIVE = 2**32
"""Bytes."""
MOST_FILES = 5000
LARGEST_LIST = 2**21
"""Bytes of an archive's own list of its files, which is read as a whole and takes eight times as much in memory."""
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".safetensors"))
HEAD = "chat.json"
LIST = "files.json"
PANEL = "wegen/panel"
"""Where the chats of the panel's turns are, in the output folder: a folder each, called by the id of its chat."""
IMPORTED = "wegen/imported"
"""Where in the output folder the files of chats from elsewhere are."""

_ENTRY = re.compile(r"files/[0-9]{5}(\.[a-z]+)")
_ANNOTATED = re.compile(r"(.+) \[(input|output|temp)\]", re.DOTALL)


def pack(export: str, folders: Mapping[str, Path], target: BinaryIO) -> int:
    """Write an archive of what `ChatStore.export` gave; how many files of the document are in it.

    Args:
        export: as text.
        folders: of the host by their type, "input", "output" and "temp"; no file outside of them is read.
        target: where the ZIP goes, not compressed: pictures are already.

    Raises:
        StoreError: with status 413 where it would be more than `unpacked` takes.
    """
    packed: dict[str, str] = {}
    size = len(export)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        archive.writestr(HEAD, export)
        for _, _, name in _mentions(json.loads(export)["document"]):
            path = picture_path(folders, *json.loads(name))
            if name in packed or path is None:
                continue
            size += path.stat().st_size
            if size > LARGEST_ARCHIVE or len(packed) >= MOST_FILES:
                raise StoreError(
                    f"This chat has more files than an archive may hold: {MOST_FILES}, or {LARGEST_ARCHIVE / 1e9:.1f} "
                    "GB. Copy ComfyUI's output folder instead.",
                    413,
                )
            packed[name] = f"files/{len(packed):05}{path.suffix.lower()}"
            archive.write(path, packed[name])
        archive.writestr(LIST, json.dumps(packed))
    return len(packed)


@contextmanager
def unpacked(source: BinaryIO, output: Path) -> Iterator[dict[str, Any]]:
    """What `ChatStore.import_chat` takes, with its files in a new folder below the host's output folder.

    The folder goes again when an error is raised, here or by what is done with the chat; errors of the latter are
    raised as they are.

    Args:
        source: an archive.
        output: the host's output folder.

    Raises:
        StoreError: it is no archive of a chat.
    """
    subfolder = f"{IMPORTED}/{uuid.uuid4().hex}"
    folder = output / subfolder
    try:
        try:
            size = _checked_size(source)
            with zipfile.ZipFile(source) as archive:
                exported = _unpack(archive, size, folder, subfolder)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, EOFError, RuntimeError) as error:
            raise StoreError("This archive is damaged or not one of WeGen's.") from error
        yield exported
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _checked_size(source: BinaryIO) -> int:
    """Bytes of an archive; raises for one whose own list is longer than that of any chat."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(0, size - 2**16 - 100))
    tail = source.read()
    end = tail.rfind(b"PK\5\6")
    listed = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    larger = end - 76  # of archives of more than 2 GB, with numbers of their own
    if larger >= 0 and tail[larger:].startswith(b"PK\6\6"):
        listed = max(listed, int.from_bytes(tail[larger + 40 : larger + 48], "little"))
    if listed > LARGEST_LIST:
        raise StoreError("This archive lists more files than any chat has.", 413)
    return size


def _unpack(archive: zipfile.ZipFile, size: int, folder: Path, subfolder: str) -> dict[str, Any]:
    export, entries = parse_json(_small(archive, HEAD)), parse_json(_small(archive, LIST))
    if not isinstance(export, dict) or not isinstance(entries, dict) or len(entries) > MOST_FILES:
        raise StoreError("This archive holds no WeGen chat.")
    for entry in entries.values():
        fits = isinstance(entry, str) and _ENTRY.fullmatch(entry)
        if not fits or fits[1] not in SUFFIXES:
            raise StoreError("This archive holds files that belong to no chat.")
    if len(set(entries.values())) != len(entries):
        raise StoreError("This archive names a file twice.")
    # Nothing is packed smaller: files that come to more lie one within the other, which not every Python notices.
    if sum(archive.getinfo(entry).file_size for entry in entries.values()) > size:
        raise StoreError("This archive holds files that are larger than itself.")
    moved = {name: _extract(archive, entry, folder) for name, entry in entries.items()}
    for holder, key, name in list(_mentions(export.get("document"))):
        if name in moved:
            _rename(holder, key, moved[name], subfolder)
    return export


def _mentions(value: Any) -> Iterator[tuple[Any, Any, str]]:
    """Each place of a document that names a file: what holds it, its key there, and the file as a JSON list of
    type, subfolder and filename."""
    places: list[tuple[Any, Any]] = [([value], 0)]
    while places:
        holder, key = places.pop()
        value = holder[key]
        if isinstance(value, dict):
            names = [value.get("type"), value.get("subfolder") or "", value.get("filename")]
            if names[0] in ("input", "output", "temp") and all(isinstance(name, str) for name in names):
                yield holder, key, json.dumps(names)
            places += [(value, inner) for inner in value]
        elif isinstance(value, list):
            places += [(value, inner) for inner in range(len(value))]
        elif isinstance(value, str):
            annotated = _ANNOTATED.fullmatch(value)
            if annotated:
                subfolder, _, filename = annotated[1].rpartition("/")
                yield holder, key, json.dumps([annotated[2], subfolder, filename])


def _rename(holder: Any, key: Any, filename: str, subfolder: str) -> None:
    if isinstance(holder[key], str):
        holder[key] = f"{subfolder}/{filename} [output]"
    else:
        holder[key] = {**holder[key], "filename": filename, "subfolder": subfolder, "type": "output"}


def picture_path(folders: Mapping[str, Path], kind: str, subfolder: str, filename: str) -> Path | None:
    """The file that a document names; None when there is none, or none that may be given away."""
    if kind not in folders or "\0" in subfolder + filename:
        return None
    # Links are followed, as the host's own `/view` does: people put folders of pictures on another disk.
    folder = os.path.abspath(folders[kind])
    path = Path(os.path.abspath(os.path.join(folder, subfolder, filename)))
    try:
        inside = path.is_relative_to(folder) and path.suffix.lower() in SUFFIXES
        return path if inside and path.is_file() else None
    except (OSError, ValueError):  # no name that a file can have
        return None


def _small(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST_BODY:
        raise StoreError("The chat in this archive is too large.", 413)
    with archive.open(name) as file:
        return file.read(LARGEST_BODY)


def _extract(archive: zipfile.ZipFile, entry: str, folder: Path) -> str:
    """Write one file of an archive; its name in `folder`."""
    if archive.getinfo(entry).compress_type != zipfile.ZIP_STORED:
        raise StoreError("This archive is packed in a way that a chat's is not.")
    folder.mkdir(parents=True, exist_ok=True)
    name = entry.rpartition("/")[2]
    with archive.open(entry) as source, (folder / name).open("xb") as target:
        shutil.copyfileobj(source, target)
    return name
