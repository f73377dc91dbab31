"""Where the panel's chats are kept, and the routes to them, without the host."""

import io
import json
import os
import struct
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from chat_requests import COUNT, check_earlier, fill, fingerprint, new_session, race, storm
from PIL import Image
from support import in_a_loop_of_its_own, nodes_without_host
from timing import measured


@pytest.fixture(scope="module", autouse=True)
def host_folder():
    with nodes_without_host():
        yield


@pytest.fixture
def chat_store():
    from comfyui_wegen.wegen_nodes.host import chat_store

    return chat_store


@pytest.fixture
def store(chat_store, tmp_path):
    return chat_store.ChatStore(tmp_path / "chats")


@pytest.fixture
def refused(chat_store):
    def refused(action, *arguments):
        with pytest.raises(chat_store.StoreError) as caught:
            action(*arguments)
        return caught.value

    return refused


PICTURE = {"filename": "a.png", "subfolder": "wegen", "type": "output"}


def test_a_chat_is_written_and_read(store):
    made = store.create("  a\ncat ")
    assert (made.name, made.revision, made.turns, made.thumbnail) == ("a cat", 1, 0, None)
    document = {"turns": {"t": {"pictures": [{"file": PICTURE}]}}, "head": "t", "words": "猫 \ud83d \x00 <b>"}
    written = store.write(made.id, 1, document)
    assert (written.revision, written.turns, written.thumbnail) == (2, 1, PICTURE)
    entry, text = store.read(made.id)
    assert entry == written and json.loads(text) == document and text.isascii()
    assert store.entries() == [written]
    store.delete(made.id)
    assert store.entries() == [] and list(store.folder.iterdir()) == []


def test_chats_survive_a_restart_and_a_crash_while_writing(store, chat_store):
    entry = store.write(store.create("a").id, 1, {"n": 1})
    (store.folder / f"{entry.id}.unfinished").write_text('{"name": "half')
    (store.folder / f"{'a' * 32}.json").write_text("not a chat")
    (store.folder / "notes.json").write_text("{}")
    again = chat_store.ChatStore(store.folder)
    assert again.entries() == [entry]
    assert json.loads(again.read(entry.id)[1]) == {"n": 1}
    assert again.write(entry.id, 2, {"n": 2}).revision == 3


def test_a_failed_write_leaves_the_chat_as_it_was(store, chat_store, monkeypatch):
    entry = store.create("a")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chat_store.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(entry.id, 1, {"n": 1})
    with pytest.raises(OSError, match="No space"):
        store.create("b")
    assert [path.name for path in store.folder.iterdir()] == [f"{entry.id}.json"]
    monkeypatch.undo()
    assert store.read(entry.id) == (entry, "{}")
    assert store.write(entry.id, 1, {"n": 1}).revision == 2


def test_the_second_writer_is_told(store, refused):
    entry = store.create("a")
    store.write(entry.id, 1, {"n": 1})
    error = refused(store.write, entry.id, 1, {"n": 2})
    assert error.status == 409 and error.details == {"revision": 2}
    assert store.read(entry.id)[1] == '{"n":1}'


def test_many_writers_at_once(store, chat_store):
    entry = store.create("a")

    def write(number):
        try:
            return chat_store.ChatStore(store.folder).write(entry.id, 1, {"writer": number}).revision
        except chat_store.StoreError as error:
            return error.status

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(write, range(32)))
    assert sorted(answers) == [2] + [409] * 31
    assert json.loads(store.read(entry.id)[1]) == {"writer": answers.index(2)}


def test_renaming_keeps_revision_and_document(store, refused):
    entry = store.write(store.create("a").id, 1, {"n": 1})
    assert store.rename(entry.id, "b").name == "b"
    assert store.read(entry.id) == (store.entries()[0], '{"n":1}')
    assert store.entries()[0].revision == 2
    for name in ("", " \n", "a" * 121, None, 5, "\u202e"):
        assert refused(store.rename, entry.id, name).status == 400
    assert store.rename(entry.id, "\u202ename\x00 \ud83d" + "👩\u200d🚀").name == "name 👩\u200d🚀"


def test_exported_and_imported(store, refused):
    entry = store.write(store.create('a "chat"').id, 1, {"turns": {"t": {}}, "head": "t"})
    exported, text = store.export(entry.id)
    assert exported == entry
    copy = store.import_chat(json.loads(text))
    assert copy.id != entry.id and (copy.name, copy.revision, copy.turns) == ('a "chat"', 1, 1)
    assert store.read(copy.id)[1] == store.read(entry.id)[1]
    for wrong in (None, [], {}, {"wegen_chat": 2}, {"wegen_chat": 1, "name": "x"}, {"wegen_chat": 1, "document": {}}):
        assert refused(store.import_chat, wrong).status == 400


@pytest.fixture
def folders(tmp_path):
    """The host's folders, with a picture and a saved chat in each, and a secret beside them."""
    made = {kind: tmp_path / kind for kind in ("input", "output", "temp")}
    for kind, folder in made.items():
        (folder / "wegen").mkdir(parents=True)
        for name in ("a.png", "b.safetensors", "c.txt"):
            (folder / "wegen" / name).write_text(f"{kind} {name}")
    (tmp_path / "secret.png").write_text("secret")
    return made


def archive_of(export, folders) -> io.BytesIO:
    from comfyui_wegen.wegen_nodes.host.chat_archive import pack

    target = io.BytesIO()
    pack(json.dumps(export), folders, target)
    target.seek(0)
    return target


def exported(document) -> dict:
    return {"wegen_chat": 1, "name": "a chat", "document": document}


def test_files_from_before_1980_are_packed(folders):
    """Copies from some systems have no date; a ZIP has no earlier one than that."""
    os.utime(folders["output"] / "wegen" / "a.png", (0, 0))
    file = {"filename": "a.png", "subfolder": "wegen", "type": "output"}
    with zipfile.ZipFile(archive_of(exported({"file": file}), folders)) as archive:
        assert archive.read("files/00000.png") == b"output a.png"


def test_pictures_on_another_disk_are_there(folders, tmp_path):
    (folders["output"] / "wegen").rename(tmp_path / "disk")
    (folders["output"] / "wegen").symlink_to(tmp_path / "disk", target_is_directory=True)
    with zipfile.ZipFile(archive_of(exported({"file": PICTURE}), folders)) as archive:
        assert archive.read("files/00000.png") == b"output a.png"


def test_an_archive_takes_the_files_along(folders, tmp_path):
    from comfyui_wegen.wegen_nodes.host.chat_archive import unpacked

    picture = {"filename": "a.png", "subfolder": "wegen", "type": "output", "more": 1}
    document = {
        "turns": [{"pictures": [{"file": picture}, {"file": picture}], "chat": "wegen/b.safetensors [output]"}],
        "words": "wegen/missing.png [output]",
        "draft": {"keep": {**picture, "type": "input"}, "other": {**picture, "filename": "c.txt"}},
    }
    archive = archive_of(exported(document), folders)
    for path in (folders["output"] / "wegen").iterdir():
        path.unlink()
    with unpacked(archive, folders["output"]) as found:
        pass
    made = found["document"]
    first, second = (one["file"] for one in made["turns"][0]["pictures"])
    assert first == second and first["more"] == 1 and first["type"] == "output"
    assert (folders["output"] / first["subfolder"] / first["filename"]).read_text() == "output a.png"
    chat = made["turns"][0]["chat"]
    assert chat.endswith(".safetensors [output]")
    assert (folders["output"] / chat.removesuffix(" [output]")).read_text() == "output b.safetensors"
    keep = made["draft"]["keep"]
    assert (folders["output"] / keep["subfolder"] / keep["filename"]).read_text() == "input a.png"
    assert made["words"] == document["words"] and made["draft"]["other"] == document["draft"]["other"]


def test_what_goes_wrong_with_an_archive_that_is_fine_is_not_blamed_on_it(folders):
    from comfyui_wegen.wegen_nodes.host.chat_archive import unpacked

    archive = archive_of(exported({"file": {"filename": "a.png", "subfolder": "wegen", "type": "output"}}), folders)
    with pytest.raises(RuntimeError, match="of the caller"), unpacked(archive, folders["output"]):
        raise RuntimeError("of the caller")
    assert not any((folders["output"] / "wegen" / "imported").iterdir())


@pytest.mark.parametrize(
    "file",
    [
        {"filename": "../secret.png", "subfolder": "", "type": "output"},
        {"filename": "secret.png", "subfolder": "..", "type": "output"},
        {"filename": "SECRET", "subfolder": "/", "type": "output"},
        {"filename": "a.png\0", "subfolder": "wegen", "type": "output"},
        {"filename": "c.txt", "subfolder": "wegen", "type": "output"},
        {"filename": "secret.png", "subfolder": "", "type": "user"},
        {"filename": 5, "subfolder": [], "type": "output"},
        "../secret.png [output]",
    ],
)
def test_an_archive_takes_nothing_else_along(folders, tmp_path, file):
    if isinstance(file, dict) and file["filename"] == "SECRET":
        file = {**file, "filename": str(tmp_path / "secret.png")}
    with zipfile.ZipFile(archive_of(exported({"file": file}), folders)) as archive:
        assert archive.namelist() == ["chat.json", "files.json"]


def evil_archive(export, files, entries, compression=zipfile.ZIP_STORED) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.writestr("chat.json", json.dumps(export))
        archive.writestr("files.json", json.dumps(files))
        for name, content in entries.items():
            archive.writestr(name, content)
    target.seek(0)
    return target


def nested_archive() -> io.BytesIO:
    """Files that are stored one within the other: each holds the headers and contents of all after it."""
    names = [f"files/{number:05}.png" for number in range(50)]
    target = evil_archive(exported({}), {name: name for name in names}, {})
    with zipfile.ZipFile(target) as archive:
        small = {info.filename: (archive.read(info), info.header_offset) for info in archive.infolist()}
        begin = archive.start_dir
    content, offset, entries = bytes(5000), begin + 45 * len(names), dict(small)
    for name in reversed(names):
        offset -= 45  # of a header with its name
        entries[name] = content, offset
        content = record(b"PK\3\4", content, name) + content
    listed = b"".join(
        record(b"PK\1\2", content, name, bytes(10) + struct.pack("<L", offset))
        for name, (content, offset) in entries.items()
    )
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, len(entries), len(entries), len(listed), begin + len(content), 0)
    return io.BytesIO(target.getvalue()[:begin] + content + listed + end)


def record(mark, content, name, more=b"") -> bytes:
    """What an archive says of a file that is stored as it is: before it, or with `more` in the list at its end."""
    made = struct.pack("<H", 20) if more else b""
    numbers = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(name), 0)
    return mark + made + numbers + more + name.encode()


def damaged_archive() -> io.BytesIO:
    """Packed smaller, with bytes of its first file turned over."""
    content = bytearray(evil_archive(exported("b" * 5000), {}, {}, zipfile.ZIP_DEFLATED).getvalue())
    begin = 30 + len("chat.json")
    content[begin : begin + 4] = bytes(255 - byte for byte in content[begin : begin + 4])
    return io.BytesIO(bytes(content))


@pytest.mark.parametrize(
    "archive",
    [
        damaged_archive,
        nested_archive,
        lambda: io.BytesIO(b"PK\x03\x04" + bytes(500)),
        lambda: evil_archive([], {}, {}),
        lambda: evil_archive(exported({}), [], {}),
        lambda: evil_archive(exported({}), {"a": 5}, {}),
        lambda: evil_archive(exported({}), {"a": "../../secret.png"}, {"../../secret.png": "x"}),
        lambda: evil_archive(exported({}), {"a": "files/../../x.png"}, {"files/../../x.png": "x"}),
        lambda: evil_archive(exported({}), {"a": "files/00000.py"}, {"files/00000.py": "x"}),
        lambda: evil_archive(exported({}), {"a": "files/00000.png"}, {}),
        lambda: evil_archive(exported({}), {"a": "files/00000.png"}, {"files/00000.png": "x"}, zipfile.ZIP_DEFLATED),
        lambda: evil_archive(exported({}), {"a": "files/00000.png", "b": "files/00000.png"}, {"files/00000.png": "x"}),
        lambda: evil_archive({"document": {}}, {"a": "files/00000.png"}, {"files/00000.png": "x"}),
        lambda: evil_archive(exported("x"), {"a": "files/00000.png"}, {"files/00000.png": "x"}),
        lambda: io.BytesIO(evil_archive(exported({}), {}, {}).getvalue()[:-30]),
    ],
)
def test_archives_that_are_none_leave_nothing_behind(served, folders, tmp_path, archive):
    def unchanged(path):
        return (tmp_path / "chats") in path.parents

    before = fingerprint(tmp_path, unchanged)

    async def story(session, url):
        async with session.post(f"{url}/wegen/chats/import", data=archive()) as response:
            assert response.status == 400, await response.text()
            assert (await response.json())["error"]
        async with session.get(f"{url}/wegen/chats") as response:
            assert await response.json() == {"chats": []}

    served(story)
    assert fingerprint(tmp_path, unchanged) == before
    assert not list(folders["output"].glob("wegen/imported/*"))


@pytest.mark.parametrize("larger", [False, True], ids=["plain", "zip64"])
def test_an_archive_of_countless_files_is_not_listed(folders, refused, larger):
    """The list alone would take gigabytes of memory."""
    from comfyui_wegen.wegen_nodes.host import chat_archive

    listed = 3 * 2**20
    size = 1 if larger else listed
    end = b"PK\5\6" + bytes(4) + b"\xff" * 4 + size.to_bytes(4, "little") + bytes(6)
    if larger:
        end = b"PK\6\6" + bytes(36) + listed.to_bytes(8, "little") + bytes(8) + b"PK\6\7" + bytes(16) + end
    archive = io.BytesIO(bytes(listed) + end)
    error = refused(lambda: chat_archive.unpacked(archive, folders["output"]).__enter__())
    assert error.status == 413 and "lists more files" in str(error)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a" * 32 + "/..", "A" * 32, "é" * 32, None, 5, "a" * 33])
def test_ids_are_no_paths(store, refused, name):
    store.create("a")
    for action in (store.read, store.delete, store.export):
        assert refused(action, name).status == 404
    assert refused(store.write, name, 1, {}).status == 404


def test_limits(store, chat_store, refused, monkeypatch):
    entry = store.create("a")
    assert refused(store.write, entry.id, 1, {"a": "x" * chat_store.LARGEST_DOCUMENT}).status == 413
    deep = {}
    for _ in range(chat_store.DEEPEST):
        deep = {"a": deep}
    assert "levels" in str(refused(store.write, entry.id, 1, deep))
    assert "too large" in str(refused(store.write, entry.id, 1, {"a": float("inf")}))
    for revision in (True, 1.0, "1", None):
        assert refused(store.write, entry.id, revision, {}).status == 400
    monkeypatch.setattr(chat_store, "MOST_CHATS", 2)
    store.create("b")
    assert refused(store.create, "c").status == 409
    assert len(store.entries()) == 2


def test_users_have_their_own(chat_store, tmp_path, refused):
    one, other = (chat_store.ChatStore.of_user(tmp_path, user) for user in ("default", "anna_1-2"))
    entry = one.create("a")
    assert other.entries() == [] and refused(other.read, entry.id).status == 404
    for user in ("", "..", "a/b", "a.b", "ü"):
        assert refused(chat_store.ChatStore.of_user, tmp_path, user).status == 403


def test_a_chat_of_200_turns_is_listed_quickly(store, chat_store):
    turn = {"pictures": [{"file": PICTURE}] * 6, "instruction": "a cat " * 40, "parent": None}
    document = {"turns": {f"t{number}": turn for number in range(200)}, "head": "t199"}
    for _ in range(30):
        store.create("long", document)

    def seconds() -> float:
        before = time.process_time()
        assert len(store.entries()) == 30
        return time.process_time() - before

    assert measured(seconds, 0.5)[-1] < 0.5


@pytest.mark.parametrize("limit", ["MOST_FILES", "LARGEST_ARCHIVE"])
def test_what_could_not_be_imported_is_not_exported(folders, refused, monkeypatch, limit):
    from comfyui_wegen.wegen_nodes.host import chat_archive

    files = [{"filename": "a.png", "subfolder": "wegen", "type": kind} for kind in ("input", "output")]
    assert len(zipfile.ZipFile(archive_of(exported({"files": files}), folders)).namelist()) == 4
    monkeypatch.setattr(chat_archive, limit, 1)
    error = refused(archive_of, exported({"files": files}), folders)
    assert error.status == 413 and "more files than an archive may hold" in str(error)


def test_small_copies_of_pictures(served, tmp_path):
    folder = tmp_path / "output" / "wegen"
    folder.mkdir(parents=True)
    for name, picture in (
        ("large.png", Image.new("RGB", (1600, 900), "red")),
        ("clear.webp", Image.new("RGBA", (40, 30), (0, 0, 255, 0))),
        ("deep.png", Image.new("I;16", (30, 40))),
        ("few.png", Image.new("P", (30, 40))),
        ("depth.png", Image.fromarray(np.full((8, 8), 128 * 257, np.uint16))),
    ):
        picture.save(folder / name)
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    Image.new("RGB", (1600, 900), "red").save(folder / "turned.jpg", exif=exif)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    damaged = io.BytesIO()
    Image.new("RGB", (8, 8)).save(damaged, "dds")
    damaged.getbuffer()[80] = 128  # a kind of pixels that Pillow does not know
    (folder / "damaged.png").write_bytes(damaged.getvalue())
    (folder / "chat.safetensors").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes((folder / "few.png").read_bytes())

    async def story(session, url):
        async def get(name, subfolder="wegen", **headers):
            parameters = {"filename": name, "subfolder": subfolder, "type": "output", "preview": "webp"}
            async with session.get(f"{url}/wegen/view", params=parameters, headers=headers) as response:
                return response.status, await response.read(), response.headers

        sizes = {}
        for name in ("large.png", "clear.webp", "deep.png", "few.png", "turned.jpg"):
            status, content, headers = await get(name)
            picture = Image.open(io.BytesIO(content))
            assert (status, picture.format, headers["Cache-Control"]) == (200, "WEBP", "no-cache")
            sizes[name] = (picture.size, picture.mode)
        assert sizes == {
            "large.png": ((640, 360), "RGB"),
            "clear.webp": ((40, 30), "RGBA"),
            "deep.png": ((30, 40), "RGB"),
            "few.png": ((30, 40), "RGB"),
            "turned.jpg": ((360, 640), "RGB"),
        }
        content = (await get("depth.png"))[1]
        assert abs(Image.open(io.BytesIO(content)).getpixel((4, 4))[0] - 128) < 4
        etag = headers["ETag"]
        assert (await get("turned.jpg", **{"If-None-Match": etag}))[:2] == (304, b"")
        os.utime(folder / "turned.jpg", (1, 1))
        assert (await get("turned.jpg", **{"If-None-Match": etag}))[0] == 200
        assert [(await get(name))[0] for name in ("broken.png", "damaged.png")] == [422, 422]
        for name, subfolder in (("gone.png", "wegen"), ("secret.png", ".."), ("chat.safetensors", "wegen")):
            assert (await get(name, subfolder))[0] == 404

    served(story)


@pytest.fixture
def served(chat_store, tmp_path):
    """Call it with a coroutine function of a session and an address; the chats are in `tmp_path / "chats"`, and the
    host's folders of pictures beside it."""
    from comfyui_wegen.wegen_nodes.host.routes import chat_routes

    def serve(story):
        async def run():
            app = web.Application(client_max_size=2**30)
            folders = {kind: tmp_path / kind for kind in ("input", "output", "temp")}
            store = chat_store.ChatStore.of_user(tmp_path / "chats", "default")
            app.add_routes(chat_routes(lambda _: store, lambda: folders))
            async with TestServer(app) as server, new_session() as session:
                return await story(session, str(server.make_url("")).rstrip("/"))

        return in_a_loop_of_its_own(run())

    return serve


def test_the_routes_tell_a_whole_story(served, tmp_path):
    picture = tmp_path / "output" / "wegen" / "a.png"
    picture.parent.mkdir(parents=True)
    picture.touch()

    async def story(session, url):
        async def ask(method, path, status=200, **options):
            async with session.request(method, url + path, **options) as response:
                assert response.status == status, await response.text()
                assert response.content_type == "application/json"
                return response.headers, await response.json()

        _, made = await ask("POST", "/wegen/chats", json={"name": "猫"})
        assert set(made) == {"id", "revision"}
        chat = f"/wegen/chats/{made['id']}"
        document = {"turns": {"t": {"pictures": [{"file": PICTURE}]}}, "head": "t", "words": "\ud83d"}
        assert (await ask("PUT", chat, json={"revision": 1, "document": document}))[1] == {"revision": 2}
        _, conflict = await ask("PUT", chat, 409, json={"revision": 1, "document": {}})
        assert conflict["revision"] == 2 and "changed elsewhere" in conflict["error"]
        expected = {"id": made["id"], "name": "猫", "revision": 2, "document": document}
        assert (await ask("GET", chat))[1] == expected
        await ask("PATCH", chat, json={"name": "cats"})
        (listed,) = (await ask("GET", "/wegen/chats"))[1]["chats"]
        assert listed.pop("updated") > 1e12
        assert listed == {"id": made["id"], "name": "cats", "revision": 2, "turns": 1, "thumbnail": PICTURE}
        picture.unlink()  # as people do
        assert (await ask("GET", "/wegen/chats"))[1]["chats"][0]["thumbnail"] is None
        async with session.get(f"{url}{chat}/export") as response:
            assert response.content_type == "application/zip"
            assert response.headers["Content-Disposition"].startswith("attachment;")
            exported = await response.read()
        async with session.head(f"{url}{chat}/export") as response:
            assert response.headers["Content-Length"] == str(len(exported)) and not await response.read()
        _, copy = await ask("POST", "/wegen/chats/import", data=exported)
        assert copy["name"] == "cats" and copy["id"] != made["id"]
        await ask("DELETE", chat)
        for method, path in (("GET", chat), ("DELETE", chat), ("GET", f"{chat}/export")):
            assert (await ask(method, path, 404))[1] == {"error": "There is no such chat."}
        assert len((await ask("GET", "/wegen/chats"))[1]["chats"]) == 1

    served(story)


def test_a_thousand_requests_do_no_harm(served, tmp_path):
    (tmp_path / "secret.json").write_text('{"a": "secret"}')
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats" / "secret.json").write_text('{"a": "secret"}')

    def inside(path):
        return (tmp_path / "chats" / "default") in path.parents

    before = fingerprint(tmp_path, inside)

    async def story(session, url):
        earlier = await fill(session, url)
        statuses = await storm(session, url, 1, earlier)
        await check_earlier(session, url, earlier)
        await race(session, url)
        return statuses

    statuses = served(story)
    assert sum(statuses.values()) == COUNT
    assert {200, 400, 404, 409, 413} <= set(statuses), statuses
    assert fingerprint(tmp_path, inside) == before
    files = list((tmp_path / "chats" / "default").iterdir())
    assert files and all(path.suffix == ".json" and len(path.stem) == 32 for path in files)
