"""Defaults and limits that the host shows are those of the table of options, and so those of Python."""

from dataclasses import replace

import pytest
from comfyui_wegen.models.engine import TurnRequest
from comfyui_wegen.models.options import OPTIONS

#: nodes with inputs of the table, and how many turns come before theirs
NODES = {"WeGenGenerate": 0, "WeGenConditioning": 0, "WeGenRefine": 1, "WeGenConsistencyMask": 1}


def options_of(client, node):
    """What the host tells of the inputs of a node that are in the table: name -> default, limits and the like."""
    told = client.get(f"/object_info/{node}").json()[node]["input"]
    inputs = {**told["required"], **told.get("optional", {})}
    return {name: more[0] for name, (_, *more) in inputs.items() if name in OPTIONS}


@pytest.mark.parametrize(("node", "turns"), NODES.items())
def test_defaults_and_limits_are_those_of_the_table(client, node, turns):
    shown = options_of(client, node)
    for name, told in shown.items():
        option = OPTIONS[name]
        later = turns > 0 and option.refine_default is not None
        assert told["default"] == (option.refine_default if later else option.default), name
        assert (told.get("min"), told.get("max")) == (option.minimum, option.maximum), name
    asked = TurnRequest.from_options("x", {name: told["default"] for name, told in shown.items()})
    assert replace(asked, creativity=None) == TurnRequest("x")
    assert asked.sampling_of(turns) == TurnRequest("x").sampling_of(turns)


def test_the_nodes_have_all_of_the_table(client):
    assert {name for node in NODES for name in options_of(client, node)} == set(OPTIONS)
