"""The routes through which the panel keeps its chats, each below `/wegen/chats`, and `/wegen/view` for small pictures.

The host is only needed to register them; `chat_routes` serves any folder, so that they are tested without it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from aiohttp import web
from PIL import ExifTags, Image, ImageOps

from ...models.media.images import UNREADABLE
from .chat_archive import LARGEST_ARCHIVE, PANEL, pack, picture_path, unpacked
from .chat_store import LARGEST_BODY, ChatStore, StoreError, parse_json

ZIP = b"PK\x03\x04"
"""How a ZIP begins."""
PART = 2**18
"""Bytes that are read and written at once."""
SHOWN = frozenset((".png", ".jpg", ".jpeg", ".webp"))
"""Files of which `/wegen/view` makes small copies."""
SMALL = 640
"""Pixels of a small copy's longer side, at most."""
DRAWN_AT_ONCE = 2
"""Small copies that are made at the same time: large pictures take memory."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def register() -> None:
    """Add the routes to the host's; before it starts to serve."""
    import folder_paths
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)  # hosts that only list their nodes have none
    if server is None:
        return

    def store_of(request: web.Request) -> ChatStore:
        try:
            user = server.user_manager.get_request_user_id(request)
        except KeyError:
            raise StoreError("ComfyUI does not know this user.", 403) from None
        return ChatStore.of_user(Path(folder_paths.get_system_user_directory("wegen"), "chats"), user)

    def folders() -> dict[str, Path]:
        return {kind: Path(folder_paths.get_directory_by_type(kind)) for kind in ("input", "output", "temp")}

    for route in chat_routes(store_of, folders):
        server.routes.route(route.method, route.path)(route.handler)
    server.app.on_response_prepare.append(_checked_modules)


async def _checked_modules(request: web.Request, response: web.StreamResponse) -> None:
    """Let browsers ask whether they have the newest of this pack's modules, as the host does for what ends in .js: else
    an update would be run together with old ones."""
    if request.path.startswith("/extensions/") and request.path.endswith(".mjs"):
        response.headers.setdefault("Cache-Control", "no-cache")


def chat_routes(
    store_of: Callable[[web.Request], ChatStore], folders: Callable[[], Mapping[str, Path]]
) -> list[web.RouteDef]:
    """All routes.

    Args:
        store_of: gives the chats of the user who asks.
        folders: gives the host's folders of pictures, "input", "output" and "temp".
    """
    answers = _Answers(store_of, folders)
    return [
        web.get("/wegen/chats", _plain_errors(answers.list_chats)),
        web.post("/wegen/chats", _plain_errors(answers.create)),
        web.post("/wegen/chats/import", _plain_errors(answers.import_chat)),
        web.get("/wegen/view", _plain_errors(answers.view)),
        web.get("/wegen/chats/{id}", _plain_errors(answers.read)),
        web.put("/wegen/chats/{id}", _plain_errors(answers.write)),
        web.patch("/wegen/chats/{id}", _plain_errors(answers.rename)),
        web.delete("/wegen/chats/{id}", _plain_errors(answers.delete)),
        web.get("/wegen/chats/{id}/export", _plain_errors(answers.export)),
    ]


class _Answers:
    """What is answered at each route; the arguments are those of `chat_routes`."""

    def __init__(self, store_of: Callable[[web.Request], ChatStore], folders: Callable[[], Mapping[str, Path]]):
        self._store_of, self._folders = store_of, folders
        self._drawing = asyncio.Semaphore(DRAWN_AT_ONCE)

    async def list_chats(self, request: web.Request) -> web.Response:
        store = self._store_of(request)

        def work():
            places = self._folders()
            return [_without_gone_picture(asdict(entry), places) for entry in store.entries()]

        return web.json_response({"chats": await asyncio.to_thread(work)})

    async def create(self, request: web.Request) -> web.Response:
        body, store = await _body(request), self._store_of(request)
        entry = await asyncio.to_thread(lambda: store.create(_fields(body, "name")["name"]))
        return web.json_response({"id": entry.id, "revision": entry.revision})

    async def import_chat(self, request: web.Request) -> web.Response:
        store = self._store_of(request)
        async with _received(request) as file:

            def work():
                if file.read(len(ZIP)) != ZIP:
                    file.seek(0)
                    return store.import_chat(parse_json(file.read()))
                with unpacked(file, self._folders()["output"]) as exported:
                    return store.import_chat(exported)

            entry = await asyncio.to_thread(work)
        return web.json_response({"id": entry.id, "revision": entry.revision, "name": entry.name})

    async def view(self, request: web.Request) -> web.StreamResponse:
        """A small copy of a picture, which is asked for as from the host's `/view`."""
        names = (request.query.get(name, "") for name in ("subfolder", "filename"))
        path = picture_path(self._folders(), request.query.get("type", "output"), *names)
        if path is None or path.suffix.lower() not in SHOWN:
            raise StoreError("There is no such picture.", 404)
        status = path.stat()
        # Of a name that was given to another picture since, browsers shall not show the old one.
        headers = {"Cache-Control": "no-cache", "ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        async with self._drawing:
            body = await asyncio.to_thread(_small_copy, path)
        return web.Response(body=body, content_type="image/webp", headers=headers)

    async def read(self, request: web.Request) -> web.Response:
        entry, document = await asyncio.to_thread(self._store_of(request).read, request.match_info["id"])
        # The document is JSON already.
        head = web.json_response({"id": entry.id, "name": entry.name, "revision": entry.revision}).text
        return _json_text(f'{head[:-1]}, "document": {document}}}')

    async def write(self, request: web.Request) -> web.Response:
        body, store, chat_id = await _body(request), self._store_of(request), request.match_info["id"]

        def work():
            fields = _fields(body, "revision", "document")
            return store.write(chat_id, fields["revision"], fields["document"])

        entry = await asyncio.to_thread(work)
        return web.json_response({"revision": entry.revision})

    async def rename(self, request: web.Request) -> web.Response:
        body, store, chat_id = await _body(request), self._store_of(request), request.match_info["id"]
        entry = await asyncio.to_thread(lambda: store.rename(chat_id, _fields(body, "name")["name"]))
        return web.json_response({"name": entry.name, "revision": entry.revision})

    async def delete(self, request: web.Request) -> web.Response:
        store, chat_id = self._store_of(request), request.match_info["id"]

        def work():
            store.delete(chat_id)
            # The chats after each turn, which nobody looks at without the panel; its pictures stay.
            turns = f"{PANEL}/{chat_id}"
            if not store.mentioned(turns):
                shutil.rmtree(self._folders()["output"] / turns, ignore_errors=True)

        await asyncio.to_thread(work)
        return web.json_response({})

    async def export(self, request: web.Request) -> web.StreamResponse:
        entry, text = await asyncio.to_thread(self._store_of(request).export, request.match_info["id"])
        with TemporaryFile() as file:
            await asyncio.to_thread(pack, text, self._folders(), file)
            response = web.StreamResponse()
            response.content_type, response.content_length = "application/zip", file.tell()
            filename = quote(f"{entry.name}.zip", safe="")
            response.headers["Content-Disposition"] = f"attachment; filename=\"chat.zip\"; filename*=UTF-8''{filename}"
            response.headers["X-Content-Type-Options"] = "nosniff"
            await response.prepare(request)
            file.seek(0)
            while request.method != "HEAD" and (part := await asyncio.to_thread(file.read, PART)):
                await response.write(part)
        return response


def _small_copy(path: Path) -> bytes:
    """A picture as WebP with sides of at most `SMALL` pixels, upright."""
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (SMALL, SMALL))  # a JPEG is read at a fraction of its size at once
            # Pillow writes EXIF data anew when it turns a picture, and fails on what cameras get wrong: only which side
            # is up is left to it.
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = picture.getexif().get(ExifTags.Base.Orientation, 1)
            picture.info["exif"] = exif.tobytes()
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
                upright = Image.fromarray((np.asarray(upright).clip(0, 65535) // 257).astype(np.uint8))
            upright.thumbnail((SMALL, SMALL))
            file = BytesIO()
            upright.convert("RGBA" if upright.has_transparency_data else "RGB").save(file, "webp", quality=82)
            return file.getvalue()
    except UNREADABLE as error:
        raise StoreError(f"The picture {path.name} cannot be read.", 422) from error


def _without_gone_picture(entry: dict[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    """An entry as it is listed: people delete pictures, and nobody shall ask for one that is not there."""
    picture = entry["thumbnail"]
    if picture and not picture_path(folders, picture["type"], picture["subfolder"], picture["filename"]):
        return {**entry, "thumbnail": None}
    return entry


def _plain_errors(handler: Handler) -> Handler:
    """Answer with the sentence that says what is wrong, as `{error: ...}`."""

    async def handled(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except StoreError as error:
            return web.json_response({"error": str(error), **error.details}, status=error.status)
        except ConnectionError:  # who asked is gone
            raise
        except OSError as error:
            logging.exception("WeGen could not reach its chats")
            return web.json_response({"error": f"The chats cannot be reached: {error.strerror}."}, status=500)

    return handled


async def _body(request: web.Request) -> bytes:
    """All that was sent, unless it is more than any chat can be."""
    return b"".join([part async for part in _parts(request, LARGEST_BODY)])


@asynccontextmanager
async def _received(request: web.Request) -> AsyncIterator[BinaryIO]:
    """All that was sent as a file, which may be large when it is an archive."""
    begin = b""
    with TemporaryFile() as file:
        async for part in _parts(request, LARGEST_ARCHIVE):
            begin = (begin + part[: len(ZIP)])[: len(ZIP)]
            await asyncio.to_thread(file.write, part)
            if begin != ZIP and file.tell() > LARGEST_BODY:
                raise _too_large(LARGEST_BODY)
        file.seek(0)
        yield file


async def _parts(request: web.Request, largest: int) -> AsyncIterator[bytes]:
    size = 0
    try:
        async for part in request.content.iter_chunked(PART):
            size += len(part)
            if size > largest:
                raise _too_large(largest)
            yield part
    except web.RequestPayloadError:
        raise StoreError("What was sent could not be unpacked.") from None


def _too_large(largest: int) -> StoreError:
    return StoreError(f"A request may have at most {largest >> 20} MB here; this one is larger.", 413)


def _fields(body: bytes, *names: str) -> dict[str, Any]:
    """The JSON object that was sent, with all of these names in it."""
    fields = parse_json(body)
    if not isinstance(fields, dict):
        raise StoreError("A JSON object is expected.")
    for name in names:
        if name not in fields:
            raise StoreError(f"The request lacks {name!r}.")
    return fields


def _json_text(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")
