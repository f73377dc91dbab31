"""What nodes say while they work reaches the tab that queued the run, and no other."""

import json
import struct

import pytest
from comfyui_wegen.models.checkpoints.random_weights import make_random

from .client import EMPTY_RUN
from .graphs import generate, load

TEXT = 3
"""Number of the host's binary message with a node's progress in words (its protocol.py)."""


@pytest.fixture(scope="module")
def model(server, tmp_path_factory):
    return server.link_model(make_random(tmp_path_factory.mktemp("made") / "progress-tiny", "tiny"))


def words_until_the_end(socket, prompt_id):
    """The words of nodes that come before the end of a run; a server sends in order."""
    found = []
    while True:
        message = socket.recv()
        if isinstance(message, bytes):
            kind, length = struct.unpack_from(">II", message)
            if kind == TEXT:
                found.append(message[8 + length :].decode())
        else:
            event = json.loads(message)
            if event["type"] == "executing" and event["data"] == {"node": None, "prompt_id": prompt_id}:
                return found


def test_words_reach_the_tab_that_queued_alone(client, model):
    mine, other = client._connect("mine"), client._connect("other")
    try:
        assert "drafting" in words_until_the_end(mine, client.begin({**generate(), **load(model)}, "mine"))
        client.begin({**generate(seed=2), **load(model)})  # a script that listens to nothing
        assert words_until_the_end(other, client.begin(EMPTY_RUN, "other")) == []
    finally:
        mine.close()
        other.close()
