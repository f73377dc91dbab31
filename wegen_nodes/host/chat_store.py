"""Where the chats of the panel are kept: one file each in a folder, written whole or not at all.

Plain Python, so that it runs and is tested without the host. What a chat is made of is the panel's affair: the store
keeps its document as it comes, and only reads from it how many turns there are and which picture stands for the chat.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

LARGEST_DOCUMENT = 8 * 2**20
"""Bytes of a document as JSON with all but ASCII escaped, which is how it is kept."""
LARGEST_BODY = LARGEST_DOCUMENT + 4096
"""Bytes of a request that brings one."""
LONGEST_NAME = 120
MOST_CHATS = 2000
"""Of one user."""
DEEPEST = 200
"""Levels of lists and objects in a document."""
EXPORT_KEY = "wegen_chat"
EXPORT_VERSION = 1

_ID = re.compile(r"[0-9a-f]{32}")
_USER = re.compile(r"[A-Za-z0-9_-]{1,200}")
_SUFFIX = ".json"
_UNFINISHED = ".unfinished"
_DIRECTION = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of writing, also of what stands around them."""
_locks: dict[Path, threading.RLock] = {}
"""Of this process, one for each folder that was ever used. Readers take it too: Windows replaces and deletes no file
that is open."""


class StoreError(Exception):
    """What a person asked of the store cannot be done; the message says why.

    Attributes:
        status: the HTTP status that says the same.
        details: more for the program that asked.
    """

    def __init__(self, message: str, status: int = 400, **details: Any):
        super().__init__(message)
        self.status = status
        self.details = details


@dataclass(frozen=True)
class ChatEntry:
    """What is known of a chat without its document.

    Attributes:
        revision: counts how often its document was written; a writer has to name the one it has seen.
        updated: when that was last, in milliseconds since 1970.
        turns: how many the document has.
        thumbnail: `{filename, subfolder, type}` of the picture that the chat is at; None while there is none.
    """

    id: str
    name: str
    revision: int
    updated: int
    turns: int = 0
    thumbnail: dict[str, str] | None = None


class ChatStore:
    """The chats of one user, in a folder that nothing else writes to.

    Every method may be called from any thread; those of one folder wait for each other.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder).absolute()
        self._lock = _locks.setdefault(self.folder, threading.RLock())

    @classmethod
    def of_user(cls, root: Path, user: str) -> ChatStore:
        """The store of one of the host's users, below `root`."""
        if not _USER.fullmatch(user):
            raise StoreError("The name of this user cannot be that of a folder.", 403)
        return cls(Path(root) / user)

    def entries(self) -> list[ChatEntry]:
        """All chats, the one that was written last first. Files that are no chats are left out."""
        found = [self._entry_in(path) for path in self.folder.glob(f"*{_SUFFIX}") if _ID.fullmatch(path.stem)]
        return sorted(filter(None, found), key=lambda entry: (-entry.updated, entry.id))

    def read(self, chat_id: str) -> tuple[ChatEntry, str]:
        """A chat and its document as JSON text, which is pure ASCII.

        Raises:
            StoreError: there is no such chat, or its file is damaged.
        """
        path = self._path(chat_id)
        try:
            with self._lock, path.open(encoding="ascii") as file:
                head, document = file.readline(), file.read().strip()
            return _parse_head(path.stem, head), document
        except FileNotFoundError:
            raise _missing() from None
        except (ValueError, KeyError, TypeError):
            raise StoreError("The file of this chat is damaged and cannot be read.", 422) from None

    def create(self, name: object, document: object = None) -> ChatEntry:
        """A new chat, with nothing in it unless a document is given."""
        text = _document_text({} if document is None else document)
        entry = ChatEntry(uuid.uuid4().hex, check_name(name), 1, _now(), *_summary(document))
        with self._writing():
            if sum(1 for _ in self.folder.glob(f"*{_SUFFIX}")) >= MOST_CHATS:
                raise StoreError(f"There are {MOST_CHATS} chats already, which is the most; delete some first.", 409)
            self._write(entry, text)
        return entry

    def write(self, chat_id: str, revision: object, document: object) -> ChatEntry:
        """Put another document in the place of the one that `revision` names.

        Raises:
            StoreError: with status 409 and the present `revision` when somebody else has written in between.
        """
        if type(revision) is not int:
            raise StoreError("A chat is written with its revision, a whole number.")
        text = _document_text(document)
        with self._writing():
            entry, _ = self.read(chat_id)
            if entry.revision != revision:
                raise StoreError(
                    "This chat was changed elsewhere since it was read.", status=409, revision=entry.revision
                )
            turns, thumbnail = _summary(document)
            entry = replace(entry, revision=revision + 1, updated=_now(), turns=turns, thumbnail=thumbnail)
            self._write(entry, text)
        return entry

    def rename(self, chat_id: str, name: object) -> ChatEntry:
        """Give a chat another name. Its revision stays, so that a tab that has it open can go on writing."""
        name = check_name(name)
        with self._writing():
            entry, document = self.read(chat_id)
            entry = replace(entry, name=name)
            self._write(entry, document)
        return entry

    def delete(self, chat_id: str) -> None:
        """Delete a chat; its files stay where the host keeps them."""
        path = self._path(chat_id)
        with self._writing():
            path.with_suffix(_UNFINISHED).unlink(missing_ok=True)
            try:
                path.unlink()
            except FileNotFoundError:
                raise _missing() from None

    def mentioned(self, text: str) -> bool:
        """Whether a text, such as the name of a folder, is in the document of any chat."""
        quoted = json.dumps(text)[1:-1]
        for path in self.folder.glob(f"*{_SUFFIX}"):
            try:
                with self._lock:
                    written = path.read_text("ascii", "replace")
                if quoted in written:
                    return True
            except FileNotFoundError:  # deleted meanwhile
                continue
        return False

    def export(self, chat_id: str) -> tuple[ChatEntry, str]:
        """A chat and the text of a file that `import_chat` reads."""
        entry, document = self.read(chat_id)
        head = f'{{"{EXPORT_KEY}": {EXPORT_VERSION}, "name": {json.dumps(entry.name)}, "document": '
        return entry, f"{head}{document}}}\n"

    def import_chat(self, exported: object) -> ChatEntry:
        """A new chat from what `export` gave, with an id of its own."""
        if not isinstance(exported, dict) or exported.get(EXPORT_KEY) != EXPORT_VERSION:
            raise StoreError("This is not an exported WeGen chat.")
        if "document" not in exported:
            raise StoreError("This exported chat has no document.")
        return self.create(exported.get("name"), exported["document"])

    def _path(self, chat_id: object) -> Path:
        # Nothing but such an id ever becomes a part of a path.
        if not isinstance(chat_id, str) or not _ID.fullmatch(chat_id):
            raise _missing()
        return self.folder / f"{chat_id}{_SUFFIX}"

    def _entry_in(self, path: Path) -> ChatEntry | None:
        """The head of a chat's file; None when somebody has just deleted it, or it is damaged."""
        try:
            with self._lock, path.open(encoding="ascii") as file:
                return _parse_head(path.stem, file.readline())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield

    def _write(self, entry: ChatEntry, document: str) -> None:
        """Write a file beside the old one and put it in its place, so that a crash leaves one or the other."""
        head = asdict(entry)
        path = self._path(head.pop("id"))
        # A name that no reader takes for a chat; what a crash leaves behind is written over by the next writer.
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            with unfinished.open("w", encoding="ascii", newline="\n") as file:
                file.write(f"{json.dumps(head)}\n{document}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)  # a disk that is full needs the room
            raise


def parse_json(body: bytes) -> Any:
    """JSON that can be kept and sent on: no numbers that are none, not too deep.

    Raises:
        StoreError: it is anything else.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise StoreError("This is not JSON that can be read.") from None


def check_name(name: object) -> str:
    """The name of a chat as it is kept: one line without spaces at its ends.

    Raises:
        StoreError: it is no text, empty, or too long.
    """
    if not isinstance(name, str):
        raise StoreError("The name of a chat is a text.")
    # Line breaks, control characters, and halves of characters.
    unwanted = ("Cc", "Cs", "Zl", "Zp")
    visible = "".join(" " if unicodedata.category(one) in unwanted or one in _DIRECTION else one for one in name)
    name = " ".join(visible.split())
    if not name:
        raise StoreError("A chat needs a name.")
    if len(name) > LONGEST_NAME:
        raise StoreError(f"The name of a chat has at most {LONGEST_NAME} characters; this one has {len(name)}.")
    return name


def _document_text(document: object) -> str:
    if not isinstance(document, dict):
        raise StoreError("The document of a chat is a JSON object.")
    _check_depth(document)
    try:
        # Numbers such as 1e999 are read as infinite, which JSON cannot say.
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise StoreError("The document has a number that is too large.") from None
    if len(text) > LARGEST_DOCUMENT:
        raise StoreError(f"A chat holds at most {LARGEST_DOCUMENT >> 20} MB of text; this one is larger.", 413)
    return text


def _check_depth(document: object) -> None:
    level: list[object] = [document]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for value in level:
            inner.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if not inner:
            return
        level = inner
    raise StoreError(f"The document is more than {DEEPEST} levels deep.")


def _summary(document: object) -> tuple[int, dict[str, str] | None]:
    """How many turns a document has, and the picture that it is at; a document may hold anything."""
    turns = document.get("turns") if isinstance(document, dict) else None
    if not isinstance(turns, dict):
        return 0, None
    turn, passed = document.get("head"), set()
    while isinstance(turn, str) and turn in turns and turn not in passed:
        passed.add(turn)
        entry = turns[turn] if isinstance(turns[turn], dict) else {}
        thumbnail = _thumbnail(entry)
        if thumbnail is not None:
            return len(turns), thumbnail
        turn = entry.get("parent")
    return len(turns), None


def _thumbnail(turn: dict[str, Any]) -> dict[str, str] | None:
    """The picked picture of a turn, or its first one."""
    pictures, picked = turn.get("pictures"), turn.get("picked")
    if not isinstance(pictures, list) or not pictures:
        return None
    picture = pictures[picked if type(picked) is int and 0 <= picked < len(pictures) else 0]
    file = picture.get("file") if isinstance(picture, dict) else None
    if not isinstance(file, dict):
        return None
    names = {key: file.get(key, "") for key in ("filename", "subfolder", "type")}
    if not names["filename"] or not all(isinstance(name, str) and len(name) <= 1000 for name in names.values()):
        return None
    return names


def _parse_head(chat_id: str, line: str) -> ChatEntry:
    head = json.loads(line)
    return ChatEntry(
        chat_id, str(head["name"]), int(head["revision"]), int(head["updated"]), int(head["turns"]), head["thumbnail"]
    )


def _missing() -> StoreError:
    return StoreError("There is no such chat.", 404)


def _now() -> int:
    return time.time_ns() // 1_000_000
