"""What of a checkpoint a graph reads, and that the host's own "free" lets go of it, in a running server."""

import re
import time

import pytest
from comfyui_wegen.models.checkpoints.random_weights import make_random
from support import HANGS

from .graphs import generate, load, node


@pytest.fixture(scope="module")
def model(server, tmp_path_factory):
    return server.link_model(make_random(tmp_path_factory.mktemp("made") / "memory-tiny", "tiny"))


def parts(server, begin, what):
    """Which parts were read ("Reading") or left ("Leaving") since the log had `begin` characters."""
    return re.findall(rf"{what} the ([a-z ]+)", server.log[begin:])


def wait_until_left(server, begin, wanted):
    deadline = time.monotonic() + HANGS
    while not wanted <= set(parts(server, begin, "Leaving")):
        assert time.monotonic() < deadline, server.log[begin:]
        time.sleep(0.1)


def test_a_graph_reads_what_it_needs_and_free_lets_it_go(server, client, model):
    ask = {
        **load(model),
        "grey": node("EmptyImage", width=64, height=64, batch_size=1, color=0x808080),
        "ask": node("WeGenAsk", wegen=["load", 0], question="what is there?", image=["grey", 0]),
    }
    client.free_memory()  # so that there is room, whatever was loaded before
    begin = len(server.log)
    assert client.run(ask).status == "success"
    assert parts(server, begin, "Reading") == ["vision encoder", "language model"]
    begin = len(server.log)
    graph = {**generate(), **load(model)}
    assert client.run(graph).status == "success"
    assert sorted(parts(server, begin, "Reading")) == ["unet", "vae"]
    first = client.images(client.run(graph), "save")[0]
    begin = len(server.log)
    client.free_memory()
    wait_until_left(server, begin, {"language model", "unet", "vae"})
    again = client.run(graph)
    assert again.status == "success" and client.images(again, "save")[0].tobytes() == first.tobytes()
