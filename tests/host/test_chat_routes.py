"""The routes of the panel's chats inside the host: a thousand requests, users, and what survives a restart."""

import asyncio
import json

import pytest
import requests
from chat_requests import COUNT, check_earlier, fill, fingerprint, new_session, race, storm

from .conftest import INSTALL
from .server import ComfyServer


def test_a_thousand_requests_do_no_harm(server):
    base = server.base_directory
    chats = base / "user" / "__wegen" / "chats"

    def excluded(path):
        # What the host itself writes all the time.
        return chats in path.parents or path.suffix in (".log", ".db", ".pyc") or "log" in path.name

    (base / "user" / "__wegen").mkdir(parents=True, exist_ok=True)
    (base / "user" / "__wegen" / "secret.json").write_text('{"a": "secret"}')
    before = fingerprint(base, excluded)

    async def story():
        async with new_session() as session:
            earlier = await fill(session, server.url)
            statuses = await storm(session, server.url, 1, earlier)
            await check_earlier(session, server.url, earlier)
            await race(session, server.url)
            await check_earlier(session, f"{server.url}/api", earlier)
            return statuses

    statuses = asyncio.run(story())
    assert sum(statuses.values()) == COUNT
    assert {200, 400, 404, 409, 413} <= set(statuses), statuses
    assert fingerprint(base, excluded) == before
    assert {folder.name for folder in chats.iterdir()} == {"default"}
    assert "WeGen could not reach its chats" not in server.log


@pytest.fixture(scope="module")
def restarted(tmp_path_factory):
    """Call it to start a host with several users anew, over the same folder."""
    folder = tmp_path_factory.mktemp("users")
    started = []

    def start():
        for server in started:
            server.stop()
        server = ComfyServer(INSTALL, folder, ("--multi-user",))
        for link in (folder / "custom_nodes").glob("*"):
            link.unlink()
        started.append(server.__enter__())
        return server.url

    yield start
    for server in started:
        server.stop()


def test_each_user_has_their_own_and_keeps_them_over_a_restart(restarted):
    url = restarted()
    anna, ben = (requests.post(f"{url}/users", json={"username": name}, timeout=30).json() for name in ("anna", "ben"))

    def ask(method, path, user, **options):
        headers = {} if user is None else {"comfy-user": user}
        return requests.request(method, f"{url}/api/wegen/chats{path}", headers=headers, timeout=30, **options)

    made = ask("POST", "", anna, json={"name": "a chat"}).json()
    document = {"turns": {}, "head": None, "words": "猫"}
    assert ask("PUT", f"/{made['id']}", anna, json={"revision": 1, "document": document}).json() == {"revision": 2}
    assert ask("GET", "", ben).json() == {"chats": []}
    assert ask("GET", f"/{made['id']}", ben).status_code == 404
    assert ask("DELETE", f"/{made['id']}", ben).status_code == 404
    for user in (None, "nobody", "__wegen", "../anna"):
        answer = ask("GET", "", user)
        assert (answer.status_code, json.loads(answer.text)) == (403, {"error": "The host does not know this user."})
    url = restarted()
    assert ask("GET", f"/{made['id']}", anna).json()["document"] == document
    assert [chat["name"] for chat in ask("GET", "", anna).json()["chats"]] == ["a chat"]
