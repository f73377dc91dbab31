"""The routes of the panel's chats inside the host: a thousand requests, users, and what survives a restart."""

import json

import pytest
import requests
from chat_requests import COUNT, check_earlier, fill, fingerprint, new_session, race, storm
from support import HANGS, in_a_loop_of_its_own

from .conftest import INSTALL
from .graphs import node
from .server import ComfyServer


def test_a_thousand_requests_do_no_harm(server):
    base = server.base_directory
    chats = base / "user" / "__wegen" / "chats"

    def excluded(path):
        # What the host itself writes all the time.
        return chats in path.parents or path.suffix in (".log", ".db", ".pyc") or "log" in path.name

    (base / "user" / "__wegen").mkdir(parents=True, exist_ok=True)
    (base / "user" / "__wegen" / "secret.json").write_text('{"a": "secret"}')
    before, begin = fingerprint(base, excluded), len(server.log)

    async def story():
        async with new_session() as session:
            earlier = await fill(session, server.url)
            statuses = await storm(session, server.url, 1, earlier)
            await check_earlier(session, server.url, earlier)
            await race(session, server.url)
            await check_earlier(session, f"{server.url}/api", earlier)
            return statuses

    statuses = in_a_loop_of_its_own(story())
    assert sum(statuses.values()) == COUNT
    assert {200, 400, 404, 409, 413} <= set(statuses), statuses
    assert fingerprint(base, excluded) == before
    assert {folder.name for folder in chats.iterdir()} == {"default"}
    assert "WeGen could not reach its chats" not in server.log[begin:]


def test_a_chat_moves_elsewhere_with_its_pictures(server, client):
    made = {"1": node("EmptyImage", width=24, height=16, batch_size=1, color=0x123456)}
    made["2"] = node("SaveImage", images=["1", 0], filename_prefix="wegen/moving")
    (file,) = client.run(made).outputs["2"]["images"]
    chat = requests.post(f"{server.url}/wegen/chats", json={"name": "moving"}, timeout=HANGS).json()
    document = {"turns": {"t": {"pictures": [{"file": file}]}}, "head": "t"}
    address = f"{server.url}/wegen/chats/{chat['id']}"
    requests.put(address, json={"revision": 1, "document": document}, timeout=HANGS).raise_for_status()
    archive = requests.get(f"{address}/export", timeout=HANGS).content
    picture = client.get("/view", params=file).content
    gone = server.base_directory / "output" / file["subfolder"] / file["filename"]
    gone.unlink()
    listed = {one["id"]: one for one in client.get("/wegen/chats").json()["chats"]}
    assert listed[chat["id"]]["thumbnail"] is None  # nobody shall ask for a picture that is gone
    copy = requests.post(f"{server.url}/wegen/chats/import", data=archive, timeout=HANGS).json()
    (listed,) = (one for one in client.get("/wegen/chats").json()["chats"] if one["id"] == copy["id"])
    assert listed["name"] == "moving" and listed["thumbnail"] != document["turns"]["t"]["pictures"][0]["file"]
    assert client.get("/view", params=listed["thumbnail"]).content == picture
    gone.write_bytes(picture)  # the front end shows it among the finished runs


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
    anna, ben = (
        requests.post(f"{url}/users", json={"username": name}, timeout=HANGS).json() for name in ("anna", "ben")
    )

    def ask(method, path, user, **options):
        headers = {} if user is None else {"comfy-user": user}
        return requests.request(method, f"{url}/api/wegen/chats{path}", headers=headers, timeout=HANGS, **options)

    made = ask("POST", "", anna, json={"name": "a chat"}).json()
    document = {"turns": {}, "head": None, "words": "猫"}
    assert ask("PUT", f"/{made['id']}", anna, json={"revision": 1, "document": document}).json() == {"revision": 2}
    assert ask("GET", "", ben).json() == {"chats": []}
    assert ask("GET", f"/{made['id']}", ben).status_code == 404
    assert ask("DELETE", f"/{made['id']}", ben).status_code == 404
    for user in (None, "nobody", "__wegen", "../anna"):
        answer = ask("GET", "", user)
        assert (answer.status_code, json.loads(answer.text)) == (403, {"error": "ComfyUI does not know this user."})
    url = restarted()
    assert ask("GET", f"/{made['id']}", anna).json()["document"] == document
    assert [chat["name"] for chat in ask("GET", "", anna).json()["chats"]] == ["a chat"]


def test_what_a_deleted_chat_kept_of_its_turns_goes_unless_another_chat_needs_it(server, client):
    def made():
        chat = requests.post(f"{server.url}/wegen/chats", json={"name": "short"}, timeout=HANGS).json()["id"]
        folder = server.base_directory / "output" / "wegen" / "panel" / chat
        folder.mkdir(parents=True)
        (folder / "turn_00001_.safetensors").write_bytes(b"x")
        return chat, folder

    (first, kept), (second, own) = made(), made()
    address = f"{server.url}/wegen/chats"
    document = {"turns": {"t": {"chat": f"wegen/panel/{first}/turn_00001_.safetensors [output]"}}}
    requests.put(f"{address}/{second}", json={"revision": 1, "document": document}, timeout=HANGS).raise_for_status()
    requests.delete(f"{address}/{first}", timeout=HANGS).raise_for_status()
    assert kept.is_dir()
    requests.delete(f"{address}/{second}", timeout=HANGS).raise_for_status()
    assert not own.exists()
    assert requests.delete(f"{address}/../../output", timeout=HANGS).status_code in (403, 404, 405)


def test_browsers_ask_for_the_newest_modules(server, client):
    pack = next(path for path in client.get("/extensions").json() if path.endswith("/wegen.js")).rsplit("/", 1)[0]
    answer = client.get(f"{pack}/panel/panel.mjs")
    assert answer.headers["Cache-Control"] == "no-cache" and "ETag" in answer.headers
