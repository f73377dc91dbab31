"""The help pages of the nodes, as the front end gets them."""

import pytest

from .server import PACK_NAME


@pytest.fixture(scope="module")
def nodes(client) -> dict[str, dict]:
    """Descriptions of the pack's nodes that users see."""
    return {
        node_id: node for node_id, node in client.object_info().items() if node["python_module"].endswith(PACK_NAME)
    }


def test_each_node_has_a_page_that_names_its_inputs_and_outputs(client, nodes):
    assert nodes
    for node_id, node in nodes.items():
        page = client.get(f"/extensions/{PACK_NAME}/docs/{node_id}.md").content.decode()
        assert page.startswith(f"# {node['display_name']}\n")
        names = [name for kind in ("required", "optional") for name in node["input"].get(kind, ())]
        for name in [*names, *node["output_name"]]:
            assert f"**{name}**" in page, f"{node_id}: {name}"


@pytest.mark.parametrize("word", ["edit", "vlm", "llm", "copilot", "chat"])
def test_the_search_finds_nodes_by_words_of_the_field(nodes, word):
    found = {node_id for node_id, node in nodes.items() if word in node.get("search_aliases", ())}
    assert found & {"WeGenGenerate", "WeGenRefine"}
