"""A thousand requests to the routes of the chats, most of them wrong, and what must hold whatever they are."""

import asyncio
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from yarl import URL

COUNT = 1000
AT_ONCE = 8
LARGEST_DOCUMENT = 8 * 2**20
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW")
TRICKS = (
    "..", "../", "..%2f", "..%2F..%2Fsecret", "%2e%2e", "....//", "..\\..\\secret", "%00", "con", "a" * 5000, "import",
    "export", "secret", "secret.json", "%ff%fe", "%E4%BD%A0", "/etc/passwd", "%2Fetc%2Fpasswd", "C:%5Csecret", "~", "*",
    "?x=1", "{id}", "%", "0" * 32, "f" * 31, "f" * 33, "<b>", "'%20or%201=1", "\u202e",
)  # fmt: skip
NAMES = (
    "a cat",
    "x",
    "",
    " ",
    "a" * 120,
    "a" * 121,
    "\u202eevil",
    "line\nbreak",
    "\ud800",
    "\x00",
    "<img onerror=1>",
    "聊天",
)
ODD = (None, True, False, 0, 1, -1, 2, 1.0, 1.5, 10**30, "", "1", "x", [], [1], {}, {"a": 1}, [[]], "\ud83d", "é" * 50)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chat:
    """One that was there before."""

    id: str
    revision: int
    name: str
    document: dict[str, Any]


def documents(random: Random) -> dict[str, Any]:
    """What the panel might send."""
    turns = {}
    for number in range(random.randrange(4)):
        file = random.choice([{"filename": "a.png", "subfolder": "wegen", "type": "output"}, random.choice(ODD)])
        pictures = random.choice([[{"file": file}], [], random.choice(ODD)])
        turns[f"t{number}"] = random.choice(
            [{"pictures": pictures, "picked": random.choice(ODD), "parent": f"t{number - 1}"}, random.choice(ODD)]
        )
    return {"turns": random.choice([turns, turns, random.choice(ODD)]), "head": random.choice(["t0", "t2", *ODD])}


def nested(levels: int) -> bytes:
    return b'{"revision": 1, "name": "x", "document": {"a": ' + b"[" * levels + b"]" * levels + b"}}"


def bodies(random: Random) -> bytes | None:
    """JSON of the right form, of wrong forms, and what is no JSON."""
    kind = random.randrange(10)
    if kind == 0:
        return None
    if kind == 1:
        return random.randbytes(random.randrange(200))
    if kind == 2:
        texts = (
            "{",
            "[1,",
            "NaN",
            '{"name": NaN}',
            '{"revision": 1, "document": {"a": 1e999}}',
            "1" * 6000,
            '"',
            "\ufeff{}",
        )
        return random.choice(texts).encode()
    if kind == 3:
        return nested(random.choice([10, 199, 1000, 100_000]))
    if kind == 4:
        return json.dumps(random.choice(ODD)).encode()
    values = {
        "name": lambda: random.choice(NAMES + ODD),
        "revision": lambda: random.choice([1, 2, 3, random.choice(ODD)]),
        "document": lambda: random.choice([documents(random), random.choice(ODD)]),
        "wegen_chat": lambda: random.choice([1, 1, 2, "1", None]),
        "id": lambda: random.choice(TRICKS),
        "filename": lambda: "../secret.json",
    }
    names = random.sample(sorted(values), random.randrange(len(values) + 1))
    return json.dumps({name: values[name]() for name in names}).encode()


def huge(random: Random) -> bytes:
    """More than a chat may hold; some of it only when it is unpacked."""
    filling = b"x" * (LARGEST_DOCUMENT + random.randrange(2**22))
    return b'{"name": "x", "wegen_chat": 1, "revision": 1, "document": {"a": "' + filling + b'"}}'


def a_request(random: Random, number: int, earlier: list[str], own: list[str]) -> Request:
    """Any request at all to a chat of `own` or to none, and no right one that would change one of `earlier`."""
    known = random.choice(earlier + own)
    place = random.choice([known] * 6 + [f"{known}.json", known.upper(), f"x/../{known}", *random.sample(TRICKS, 2)])
    path, methods = random.choice(
        [
            ("/wegen/chats", ("GET", "POST")),
            ("/wegen/chats/import", ("POST",)),
            (f"/wegen/chats/{place}", ("GET", "PUT", "PUT", "PUT", "PATCH", "DELETE")),
            (f"/wegen/chats/{place}", ("GET", "PUT", "PUT", "PUT", "PATCH", "DELETE")),
            (f"/wegen/chats/{place}/export", ("GET",)),
        ]
    )
    method = random.choice(methods if random.random() < 0.9 else METHODS)
    body, headers = bodies(random), {}
    if number % 100 == 50:
        method, body = random.choice(["POST", "PUT"]), huge(random)
        if random.random() < 0.5:
            body, headers = gzip.compress(body, 1), {"Content-Encoding": "gzip"}
    elif random.random() < 0.05:
        headers = {"Content-Encoding": random.choice(["gzip", "deflate", "br", "x"])}
    if random.random() < 0.1:
        headers["Content-Type"] = random.choice(["text/html", "multipart/form-data; boundary=x", "x"])
    if random.random() < 0.1:
        headers["comfy-user"] = random.choice(["../x", "__system", "default", "nobody", ""])
    if any(chat in path for chat in earlier):
        method = "GET" if method == "DELETE" else method
        if method in ("PATCH", "PUT") and len(body or b"") < LARGEST_DOCUMENT // 1000:
            wrong = {
                "name": random.choice(["", " ", 5, None, "a" * 121]),
                "revision": random.choice([0, 3, -1, "1", 2.0, None, True, [1], 10**30]),
                "document": random.choice([documents(random), random.choice(ODD)]),
            }
            body, headers = json.dumps(wrong).encode(), {}
    return Request(method, path, body, headers)


def fingerprint(folder: Path, excluded: Callable[[Path], bool]) -> dict[str, str]:
    """Names and contents of all files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and not excluded(path))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def new_session() -> aiohttp.ClientSession:
    """One connection for each request: the host closes those on which it was sent too much."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def fill(session: aiohttp.ClientSession, url: str, count: int = 5) -> list[Chat]:
    """Some chats that are there before the others come."""
    chats = []
    for number in range(count):
        document = {"turns": {"t0": {"instruction": "a cat " * 100 * number}}, "head": "t0", "number": number}
        async with session.post(f"{url}/wegen/chats", json={"name": f"chat {number}"}) as response:
            made = await response.json()
        put = {"revision": made["revision"], "document": document}
        async with session.put(f"{url}/wegen/chats/{made['id']}", json=put) as response:
            revision = (await response.json())["revision"]
        chats.append(Chat(made["id"], revision, f"chat {number}", document))
    return chats


async def check_earlier(session: aiohttp.ClientSession, url: str, earlier: list[Chat]) -> None:
    for chat in earlier:
        async with session.get(f"{url}/wegen/chats/{chat.id}") as response:
            assert await response.json() == {
                "id": chat.id, "name": chat.name, "revision": chat.revision, "document": chat.document
            }  # fmt: skip


async def storm(session: aiohttp.ClientSession, url: str, seed: int, earlier: list[Chat]) -> dict[int, int]:
    """Send a thousand requests, several at a time; how often each status was answered."""
    random, statuses, own = Random(seed), Counter(), []

    async def send(request: Request) -> None:
        address = URL(url + request.path, encoded=True)
        try:
            async with session.request(
                request.method, address, data=request.body, headers=request.headers, allow_redirects=False
            ) as response:
                text = await response.read()
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            # The server hangs up on those who go on sending after its answer.
            assert "Content-Encoding" in request.headers or len(request.body or b"") > 2**16
            statuses[0] += 1
            return
        except aiohttp.ClientResponseError as error:
            # What is no HTTP the server's parser answers itself, not always as the client expects it.
            assert error.status < 500
            statuses[error.status] += 1
            return
        statuses[response.status] += 1
        assert response.status < 500, (request.method, request.path, (request.body or b"")[:200], text[:500])
        if response.content_type == "application/json" and text:
            answer = json.loads(text)
            assert response.status < 400 or isinstance(answer["error"], str)
            if request.method == "POST" and response.status == 200:
                own.append(answer["id"])

    for start in range(0, COUNT, AT_ONCE):
        numbers = range(start, min(COUNT, start + AT_ONCE))
        ids = [chat.id for chat in earlier]
        await asyncio.gather(*[send(a_request(random, number, ids, own[-5:])) for number in numbers])
    return statuses


async def race(session: aiohttp.ClientSession, url: str, rounds: int = 5, writers: int = 8) -> None:
    """Of several that write over one revision, one succeeds, and the others learn the revision of now."""
    async with session.post(f"{url}/wegen/chats", json={"name": "race"}) as response:
        made = await response.json()
    revision = made["revision"]
    for _ in range(rounds):

        async def write(number: int, revision: int = revision):
            json = {"revision": revision, "document": {"writer": number}}
            async with session.put(f"{url}/wegen/chats/{made['id']}", json=json) as response:
                return number, response.status, await response.json()

        answers = await asyncio.gather(*map(write, range(writers)))
        ((winner, _, answer),) = [answer for answer in answers if answer[1] == 200]
        assert answer == {"revision": revision + 1}
        for _, status, other in answers:
            assert status == 200 or (status == 409 and other["revision"] == revision + 1 and other["error"])
        async with session.get(f"{url}/wegen/chats/{made['id']}") as response:
            assert (await response.json())["document"] == {"writer": winner}
        revision += 1
