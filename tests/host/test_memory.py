"""What of a checkpoint a graph reads, and that the host's own "free" lets go of it, in a running server."""

import re
import time

import pytest
from comfyui_wegen.models.checkpoints.random_weights import make_random

from .graphs import generate, load, node


@pytest.fixture(scope="module")
def model(server, tmp_path_factory):
    return server.link_model(make_random(tmp_path_factory.mktemp("made") / "memory-tiny", "tiny"))


def events(server, begin):
    """Which parts were read and left since the log had `begin` characters."""
    return re.findall(r"(?:Reading|Leaving) the [a-z ]+", server.log[begin:])


def wait_for(server, begin, wanted, seconds=120):
    deadline = time.monotonic() + seconds
    while not wanted <= set(events(server, begin)):
        assert time.monotonic() < deadline, events(server, begin)
        time.sleep(0.2)


def test_a_graph_reads_what_it_needs_and_free_lets_it_go(server, client, model):
    ask = {
        **load(model),
        "grey": node("EmptyImage", width=64, height=64, batch_size=1, color=0x808080),
        "ask": node("WeGenAsk", wegen=["load", 0], question="what is there?", image=["grey", 0]),
    }
    begin = len(server.log)
    assert client.run(ask, timeout=600).status == "success"
    assert events(server, begin) == ["Reading the vision encoder", "Reading the language model"]
    begin = len(server.log)
    graph = {**generate(), **load(model)}
    assert client.run(graph, timeout=600).status == "success"
    read = events(server, begin)
    assert set(read) == {"Reading the unet", "Reading the vae"}, read
    first = client.images(client.run(graph, timeout=600), "save")[0]
    begin = len(server.log)
    client.free_memory()
    wait_for(server, begin, {"Leaving the language model", "Leaving the unet", "Leaving the vae"})
    again = client.run(graph, timeout=600)
    assert again.status == "success" and client.images(again, "save")[0].tobytes() == first.tobytes()
