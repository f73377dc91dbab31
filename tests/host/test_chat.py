"""Chats in a running ComfyUI: saved, loaded, forked and gone back in; predicted masks; kept pixels over turns."""

import numpy as np
import pytest
from comfyui_wegen.models.media.chat_file import load_chat

from .graphs import MODEL_SOCKETS, generate, mask, node, refine


@pytest.fixture(scope="module", autouse=True)
def checkpoint(server, reference_dir):
    server.link_model(reference_dir, "reference")


@pytest.fixture
def run(client):
    def run_graph(graph):
        result = client.run(graph)
        assert (result.status, result.errors) == ("success", [])
        return result

    return run_graph


def chat_node(**inputs):
    return node("WeGenChat", **{"turn": 0, "picture": 0, "file": "none", "save_as": "", **inputs})


def picture_of(name):
    return node("SaveImage", images=[name, 1], filename_prefix=name)


def text_of(result, node_id):
    return "\n".join(result.outputs[node_id]["text"])


def saved_chats(client):
    files = client.object_info("WeGenChat")["WeGenChat"]["input"]["required"]["file"]
    options = files[1]["options"] if isinstance(files[0], str) else files[0]
    return [name for name in options if name != "none"]


def test_a_chat_comes_back_from_its_file(client, run, server):
    graph = {
        **refine({"seed": 41, "batch_size": 2}, seed=42),
        "chat": chat_node(chat=["refine", 1], save_as="wegen/test chat"),
        "shown": picture_of("chat"),
    }
    result = run(graph)
    said = text_of(result, "chat")
    assert "1. a red cat on the house" in said and "2. make it night" in said
    assert "Saved as test chat_00001_.safetensors" in said
    [strip] = client.images(result, "chat")
    assert strip.width > 2 * 128 and strip.height > 128
    [name] = [name for name in saved_chats(client) if "test chat_00001_" in name]
    assert name == "wegen/test chat_00001_.safetensors [output]"
    chat = load_chat(server.base_directory / "output" / "wegen" / "test chat_00001_.safetensors")
    assert [len(turn.answers) for turn in chat.turns] == [2, 1]

    loaded = {"chat": chat_node(file=name, save_as="wegen/again"), "shown": picture_of("chat")}
    again = run(loaded)
    [before], [after] = client.images(result, "shown"), client.images(again, "shown")
    assert np.array_equal(before, after)
    assert load_chat(server.base_directory / "output" / "wegen" / "again_00001_.safetensors") == chat


def test_back_to_a_turn_another_picture_and_a_fork(client, run):
    graph = {
        **refine({"seed": 43, "batch_size": 2}, seed=44),
        "back": chat_node(chat=["refine", 1], turn=1, picture=2),
        "shown": picture_of("back"),
        "fork": node(
            "WeGenRefine",
            **{**refine()["refine"]["inputs"], **MODEL_SOCKETS, "chat": ["back", 0], "instruction": "make it day"},
        ),
        "both": chat_node(chat=["fork", 1]),
        "shown fork": picture_of("both"),
    }
    result = run(graph)
    first = client.images(result, "save")
    assert np.array_equal(client.images(result, "shown")[0], first[1])
    assert "2. make it day" in text_of(result, "both") and "night" not in text_of(result, "both")


def test_replay_gives_the_same_pictures(client, run):
    graph = {**refine({"seed": 45}, seed=46, rewrite=True, auto_mask=True)}
    first = run(graph)
    client.free_memory()
    again = run(graph)
    assert {"generate", "refine"} <= set(again.executed_nodes)
    assert client.files(first, "save refined") == client.files(again, "save refined")


def test_a_chat_begins_with_a_picture_of_the_users_own(client, run):
    picture = {"image": node("EmptyImage", width=70, height=50, batch_size=1, color=0x336699)}
    settings = {**refine()["refine"]["inputs"], "chat": ["begin", 0], "keep_mask": ["mask", 0], "seed": 47}
    graph = {
        **{"load": refine()["load"]},
        **picture,
        **mask(70, 50, 30),
        "begin": chat_node(image=["image", 0], wegen=["load", 0]),
        "refine": node("WeGenRefine", **settings),
        "save": node("SaveImage", images=["refine", 0], filename_prefix="own"),
    }
    [refined] = client.images(run(graph), "save")
    pixels = np.array(refined)
    assert pixels.shape == (50, 70, 3)
    # Whether the rest changes is chance: a random model may be found to have changed nothing that it meant to.
    assert (pixels[:, 30:] == (0x33, 0x66, 0x99)).all()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "no chat"),
        ({"chat": ["generate", 1], "image": ["generate", 0]}, "only one of them"),
        ({"name": "nobody"}, "No chat is kept under the name 'nobody'"),
        ({"name": "../outside", "chat": ["generate", 1]}, "plain one, without folders"),
        ({"image": ["generate", 0]}, "connect wegen too"),
        ({"chat": ["generate", 1], "turn": 5}, "cannot go back to turn 5"),
        ({"chat": ["generate", 1], "picture": 3}, "pictures 1 to 1"),
        ({"chat": ["generate", 1], "save_as": "../../outside"}, "outside"),
        ({"chat": ["generate", 1], "save_as": "../beside"}, "leads out of the folder of chats"),
        ({"chat": ["generate", 1], "save_as": "/at/the/root"}, "leads out of the folder of chats"),
        ({"chat": ["generate", 1], "save_as": "."}, "names a folder"),
    ],
)
def test_what_a_chat_cannot_do(client, inputs, words):
    result = client.run({**generate(seed=48), "chat": chat_node(**inputs)})
    assert result.status in ("error", "rejected")
    assert any(words in error.message for error in result.errors), result.errors


def test_a_folder_to_save_in_writes_over_nothing(client, run):
    for seed in (52, 53):
        run({**generate(seed=seed), "chat": chat_node(chat=["generate", 1], save_as="my chats/")})
    names = [name for name in saved_chats(client) if name.startswith("wegen/my chats/")]
    assert sorted(names) == [f"wegen/my chats/chat_0000{number}_.safetensors [output]" for number in (1, 2)]


def test_a_chat_goes_on_over_runs_under_its_name(client, run):
    kept = {"kept": chat_node(chat=["refine", 1], name="story")}
    run({**refine({"seed": 49, "batch_size": 2}, seed=50), **kept})
    assert "wegen/story.safetensors [output]" in saved_chats(client)
    # Each run of one graph goes on with what the one before has kept.
    again = {
        **{"load": refine()["load"]},
        "so far": chat_node(name="story"),
        "refine": node("WeGenRefine", **{**refine()["refine"]["inputs"], "chat": ["so far", 0], "seed": 51}),
        **kept,
    }
    for turns in (3, 4, 5):
        numbers = [line[0] for line in text_of(run(again), "kept").splitlines() if line[0].isdigit()]
        assert numbers == [str(number) for number in range(1, turns + 1)]


def test_a_file_counts_with_a_chat_wired_in_too(client, run):
    run({**generate(seed=52, instruction="a boat"), "chat": chat_node(chat=["generate", 1], save_as="wegen/chosen")})
    [name] = [name for name in saved_chats(client) if "chosen_00001_" in name]
    graph = {**generate(seed=53), "chat": chat_node(chat=["generate", 1], file=name)}
    result = run(graph)
    assert result.outputs["chat"]["chats"] == []
    said = text_of(result, "chat")
    assert "1. a boat" in said and "cat" not in said


def test_a_picked_picture_is_gone_on_with_and_nothing_is_painted_anew(client, run):
    first = refine({"seed": 54, "batch_size": 3}, seed=55)
    run(first)
    first["generate"]["inputs"]["picked"] = 3
    first["shown"], first["chat"] = picture_of("chat"), chat_node(chat=["generate", 1])
    result = run(first)
    assert "generate" in result.executed_nodes
    # The language model counts 64 features and the sampler its steps; a turn that is remembered counts nothing.
    assert result.events_of("progress", "generate") == []
    assert result.outputs["generate"]["picked"] == [3]
    pictures = client.images(result, "save")
    assert np.array_equal(client.images(result, "shown")[0], pictures[2])
    first["generate"]["inputs"]["picked"] = 4  # of more pictures than there are now
    result = run(first)
    assert "pictures 1 to 3: the chat goes on with the first" in text_of(result, "generate")
    assert result.outputs["generate"]["picked"] == [1]


def test_a_chat_brings_its_models_along(client, run):
    wired = refine({"seed": 56}, seed=57)
    brought = {name: dict(one, inputs=dict(one["inputs"])) for name, one in wired.items()}
    for socket in MODEL_SOCKETS:
        del brought["refine"]["inputs"][socket]
    [before] = client.images(run(wired), "save refined")
    client.free_memory()
    result = run(brought)
    assert {"generate", "refine"} <= set(result.executed_nodes)
    assert np.array_equal(client.images(result, "save refined")[0], before)
    # A chat from a file has none to bring.
    run({**generate(seed=56), "chat": chat_node(chat=["generate", 1], save_as="wegen/alone")})
    [name] = [name for name in saved_chats(client) if "alone_00001_" in name]
    brought["from file"] = chat_node(file=name)
    brought["refine"]["inputs"]["chat"] = ["from file", 0]
    failed = client.run(brought)
    assert any("Connect wegen, model, vae" in error.message for error in failed.errors), failed.errors


def test_adding_a_turn_does_not_paint_the_ones_before(client, run):
    run(generate(seed=58))
    assert not {"load", "generate"} & set(run(refine({"seed": 58}, seed=59)).executed_nodes)


def test_a_stranger_cannot_read_other_files(client):
    result = client.run({"chat": chat_node(file="../../secrets.safetensors [output]")})
    assert result.status == "rejected"


def test_the_own_mask_is_shown_and_used(client, run):
    turn = {"instruction": "make it night", "seed": 50, "batch_size": 1, "rewrite": False, "creativity": 0.5}
    own = {"threshold": 0.2, "grow": 2, "soften": 2}
    graph = {
        **refine({"seed": 49}, seed=50, auto_mask=True, **own),
        "own": node("WeGenConsistencyMask", wegen=["load", 0], chat=["generate", 1], **turn, **own),
        "as image": node("MaskToImage", mask=["own", 0]),
        "save own": node("SaveImage", images=["as image", 0], filename_prefix="own mask"),
        "used": node("MaskToImage", mask=["refine", 2]),
        "save used": node("SaveImage", images=["used", 0], filename_prefix="used mask"),
    }
    result = run(graph)
    [proposed], [used] = client.images(result, "save own"), client.images(result, "save used")
    assert np.array_equal(proposed, used)
    [heat] = client.images(result, "own")
    assert heat.size == (128, 128)
    kept = np.array(used)[..., 0] == 0
    [before], [after] = client.images(result, "save"), client.images(result, "save refined")
    assert np.array_equal(np.array(before)[kept], np.array(after)[kept])


def test_kept_pixels_stay_to_the_bit_over_turns_and_a_loaded_chat(client, run):
    """Random areas change in four turns of an odd size; what was never among them is the same in the 8-bit files."""
    size = (101, 67)
    graph = generate(seed=60, width=size[0], height=size[1])
    rng, ever, last = np.random.default_rng(1), np.zeros((size[1], size[0]), bool), ["generate", 1]
    for turn in range(4):
        x, y = int(rng.integers(0, 70)), int(rng.integers(0, 40))
        ever[y : y + 20, x : x + 30] = True
        area = {
            f"black {turn}": node("SolidMask", value=0.0, width=size[0], height=size[1]),
            f"white {turn}": node("SolidMask", value=1.0, width=30, height=20),
            f"area {turn}": node(
                "MaskComposite",
                destination=[f"black {turn}", 0],
                source=[f"white {turn}", 0],
                x=x,
                y=y,
                operation="add",
            ),
        }
        values = {**refine()["refine"]["inputs"], "chat": last, "edit_mask": [f"area {turn}", 0], "seed": 61 + turn}
        graph |= {**area, f"turn {turn}": node("WeGenRefine", **values)}
        last = [f"turn {turn}", 1]
    graph["end"] = node("SaveImage", images=["turn 3", 0], filename_prefix="end")
    result = run(graph)
    [before], [after] = client.images(result, "save"), client.images(result, "end")
    before, after = np.array(before), np.array(after)
    assert np.array_equal(before[~ever], after[~ever])
    assert (before[ever] != after[ever]).any()
