"""WeGen Turn and WeGen Result around stock nodes that change every pixel, without the panel and as it drives them."""

import io
import json
import struct
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models.evaluation.motion import natural_picture
from PIL import Image

from .graphs import load, mask, node

WIDTH, HEIGHT, LEFT = 128, 96, 50
RESULT = {"feather": 4, "align": True, "match_tone": False, "filename_prefix": "wegen/own"}
TURN = {"instruction": "turn it around", "seed": 3, "width": 512, "height": 512}


@pytest.fixture(scope="module")
def pictures(client, server):
    """Uploaded pictures by name, `[H, W, 3]`."""
    made = {}
    for name, size in (("own_before", (HEIGHT, WIDTH)), ("own_cat", (64, 64)), ("own_hat", (40, 90))):
        made[f"{name}.png"] = (natural_picture(Random(name), *size).numpy() * 255).round().astype(np.uint8)
    for name, picture in made.items():
        client.upload_image(Image.fromarray(picture), name)
    damaged = io.BytesIO()
    Image.new("RGB", (8, 8)).save(damaged, "dds")
    damaged.getbuffer()[80] = 128  # a kind of pixels that Pillow does not know
    (server.base_directory / "input" / "own_damaged.png").write_bytes(damaged.getvalue())
    return made


@pytest.fixture
def run(client):
    def run(graph, **options):
        result = client.run(graph, **options)
        assert (result.status, result.errors) == ("success", [])
        return result

    return run


def own_turn(number: int = 1, result=None, **inputs) -> dict[str, dict]:
    """Turn `number` of a chat, painted by a node that changes every pixel."""
    return {
        f"turn {number}": node("WeGenTurn", **{**TURN, **inputs}),
        f"paint {number}": node("ImageInvert", image=[f"turn {number}", 1]),
        f"result {number}": node(
            "WeGenResult", image=[f"paint {number}", 0], turn=[f"turn {number}", 10], **{**RESULT, **(result or {})}
        ),
    }


def begun(**inputs) -> dict[str, dict]:
    return {"before": node("LoadImage", image="own_before.png"), **own_turn(image=["before", 0], **inputs)}


def inverted(picture: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures are each other's opposite; the host rounds down when it saves."""
    return bool((np.abs(255 - picture.astype(int) - other).max()) <= 1)


def picture_of(client, result, name: str) -> np.ndarray:
    (image,) = client.images(result, name)
    return np.array(image)


def test_kept_pixels_are_the_same_in_the_files_of_two_turns(client, run, pictures):
    graph = {**mask(WIDTH, HEIGHT, LEFT), **begun(edit_mask=["mask", 0])}
    graph |= own_turn(2, chat=["result 1", 1], keep_mask=["mask", 0], instruction="and again")
    graph["words"] = node("PreviewAny", source=["result 2", 2])
    result = run(graph)
    before, first, second = pictures["own_before.png"], *(picture_of(client, result, f"result {n}") for n in (1, 2))
    assert (first[:, :LEFT] == before[:, :LEFT]).all()
    assert inverted(first[:, LEFT + 8 :], before[:, LEFT + 8 :])
    assert (second[:, LEFT:] == first[:, LEFT:]).all()
    assert inverted(second[:, : LEFT - 8], first[:, : LEFT - 8])
    assert "pixels are those from before, to the bit" in result.outputs["words"]["text"][0]
    (file,) = result.outputs["result 1"]["images"]
    assert (file["type"], file["subfolder"]) == ("output", "wegen")
    saved = Image.open(io.BytesIO(client.files(result, "result 2")[0]))
    (record,) = json.loads(saved.info["wegen"])["result 2"]
    assert [turn["instruction"] for turn in record] == ["", "turn it around", "and again"]


def test_what_a_turn_gives(client, run, pictures):
    graph = {**mask(WIDTH, HEIGHT, LEFT), **begun(edit_mask=["mask", 0], instruction="a hat for @cat")}
    graph["change"] = node("MaskToImage", mask=["turn 1", 2])
    graph["save change"] = node("SaveImage", images=["change", 0], filename_prefix="own_change")
    for number, name in ((0, "instruction"), (7, "seed"), (8, "width"), (9, "height")):
        graph[name] = node("PreviewAny", source=["turn 1", number])
    result = run(graph)
    said = [result.outputs[name]["text"][0] for name in ("instruction", "seed", "width", "height")]
    assert said == ["a hat for cat", "3", str(WIDTH), str(HEIGHT)]
    change = picture_of(client, result, "save change")[..., 0]
    assert change[:, :LEFT].max() == 0 and change[:, LEFT:].min() == 255


def test_words_that_another_program_hands_on_do_not_stop_a_turn(client, run, pictures):
    texts = {"wegen": json.dumps({"1": []}), "prompt": "{}"}
    result = run(begun(instruction="for another program"), extra_data={"extra_pnginfo": texts})
    saved = Image.open(io.BytesIO(client.files(result, "result 1")[0]))
    assert json.loads(saved.info["wegen"])["result 1"][0][-1]["instruction"] == "for another program"


def test_a_first_picture(client, run):
    graph = own_turn(width=64, height=32)
    graph["paint 1"] = node("EmptyImage", width=80, height=80, batch_size=2, color=0x336699)
    result = run(graph)
    first, second = client.images(result, "result 1")
    assert first.size == second.size == (80, 80) and first.getpixel((0, 0)) == (0x33, 0x66, 0x99)


def panel_turn(**record) -> dict[str, dict]:
    return own_turn(turn=json.dumps(record), instruction="", result={"align": False})


def test_the_panel_drives_turn_after_turn(client, run, pictures):
    before = pictures["own_before.png"]
    keep = np.zeros((HEIGHT, WIDTH), np.uint8)
    keep[:, :LEFT] = 255
    client.upload_image(Image.fromarray(keep), "own_keep.png")
    area = np.zeros((40, 90), np.uint8)
    area[:, :50] = 255
    client.upload_image(Image.fromarray(area), "own_area.png")
    file = {"filename": "own_before.png", "subfolder": "", "type": "input"}
    references = [
        {"name": "cat", "file": {"filename": "own_cat.png", "type": "input"}, "weight": 0.5},
        {"name": "hat", "file": "own_hat.png", "area": "own_area.png"},
    ]
    record = {"instruction": "a @hat for @cat", "image": file, "keep": ["own_keep.png [input]"], "seed": 9}
    graph = panel_turn(**record, references=references)
    graph["turn 1"]["inputs"]["name_1"] = "hat"
    for name, output in (("batch", 3), ("by name", 4), ("by number", 5)):
        graph[name] = node("SaveImage", images=["turn 1", output], filename_prefix="own_reference")
    graph["keep chat"] = node("WeGenChat", turn=0, picture=0, file="none", save_as="wegen/own", chat=["result 1", 1])
    graph["seed"] = node("PreviewAny", source=["turn 1", 7])
    result = run(graph)
    first = picture_of(client, result, "result 1")
    assert (first[:, :LEFT] == before[:, :LEFT]).all() and inverted(first[:, LEFT + 8 :], before[:, LEFT + 8 :])
    assert result.outputs["seed"]["text"] == ["9"]
    assert [image.size for image in client.images(result, "batch")] == [(64, 64)] * 2
    for name in ("by name", "by number"):
        hat = picture_of(client, result, name)
        assert (hat[:, :50] == pictures["own_hat.png"][:, :50]).all() and (hat[:, 50:] == 127).all()
    saved = result.outputs["keep chat"]["text"][0].rpartition("Saved as ")[2].rstrip(".\n")
    assert saved.startswith("own_")
    # The file of the chat tells the next turn what is kept.
    again = run(
        panel_turn(
            instruction="and again",
            chat=f"wegen/{saved}.safetensors [output]".replace(".safetensors.safetensors", ".safetensors"),
            picture=1,
        )
    )
    second = picture_of(client, again, "result 1")
    assert (second[:, :LEFT] == before[:, :LEFT]).all() and inverted(second[:, LEFT + 8 :], first[:, LEFT + 8 :])


def test_a_photograph_is_the_right_way_up(client, run, server):
    """As LoadImage and the browser show it, and as masks were painted on it."""
    photograph = Image.new("RGB", (64, 32), "red")
    # To be turned by a quarter; and a unit as a fraction, as some cameras write it.
    tags = struct.pack("<H", 2) + struct.pack("<HHII", 0x112, 3, 1, 6) + struct.pack("<HHII", 0x128, 5, 1, 38)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + tags + bytes(4) + struct.pack("<II", 72, 1)
    photograph.save(server.base_directory / "input" / "own_photograph.jpg", exif=exif)
    result = run(panel_turn(instruction="x", image="own_photograph.jpg"))
    assert picture_of(client, result, "result 1").shape[:2] == (64, 32)


def test_a_turn_of_the_panel_counts_in_place_of_what_is_wired_in(client, run, pictures):
    record = {"instruction": "x", "image": "own_cat.png"}
    graph = {**mask(WIDTH, HEIGHT, LEFT), **begun(edit_mask=["mask", 0], turn=json.dumps(record))}
    result = run(graph)
    assert inverted(picture_of(client, result, "result 1"), pictures["own_cat.png"])
    assert not {"before", "mask", "black", "white"} & set(result.executed_nodes)


def test_wegen_refines_what_another_model_painted(client, run, pictures):
    graph = {**load("wegen-nano (bundled)"), **mask(WIDTH, HEIGHT, LEFT), **begun(keep_mask=["mask", 0])}
    graph["refine"] = node(
        "WeGenRefine", wegen=["load", 0], model=["load", 1], vae=["load", 2], chat=["result 1", 1], steps=2, seed=1,
        instruction="make it night", batch_size=1, rewrite=False, creativity=0.0, cfg=0.0, sampler_name="euler",
        scheduler="published",
    )  # fmt: skip
    graph["save refined"] = node("SaveImage", images=["refine", 0], filename_prefix="own_refined")
    result = run(graph)
    first, refined = (picture_of(client, result, name) for name in ("result 1", "save refined"))
    assert refined.shape == first.shape
    assert (refined[:, LEFT:] == first[:, LEFT:]).all()


def test_a_chat_that_another_model_painted_brings_no_models_along(client, pictures):
    graph = {**begun(), "refine": node(
        "WeGenRefine", chat=["result 1", 1], seed=1, instruction="make it night", batch_size=1, rewrite=False,
        creativity=0.0, steps=2, cfg=0.0, sampler_name="euler", scheduler="published",
    )}  # fmt: skip
    [error] = client.run(graph).errors
    assert "Connect wegen, model, vae" in error.message and "no WeGen model painted this chat" in error.message


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"instruction": ""}, "instruction is empty"),
        ({"instruction": 5}, "must be a text"),
        ({"instruction": "x", "image": "../../server.log"}, "outside"),
        ({"instruction": "x", "image": {"filename": "../../server.log", "type": "output"}}, "outside"),
        ({"instruction": "x", "image": {"filename": "/etc/passwd", "type": "input"}}, "outside"),
        ({"instruction": "x", "image": {"filename": "a", "type": "user"}}, "input, output or temp"),
        ({"instruction": "x", "image": "missing.png"}, "moved or deleted"),
        ({"instruction": "x", "image": 5}, "must name a file"),
        ({"instruction": "x", "image": "own_damaged.png"}, "Cannot read the picture"),
        ({"instruction": "x", "image": "own_before.png", "keep": "own_damaged.png"}, "no picture that can be read"),
        ({"instruction": "x", "chat": "own_before.png"}, "no chat"),
        ({"instruction": "x", "seed": "1"}, "whole number"),
        ({"instruction": "x", "width": 8193}, "whole number"),
        ({"instruction": "x", "references": [{"file": "own_cat.png"}]}, "needs a name"),
        ({"instruction": "x", "references": [{"name": "a b", "file": "own_cat.png"}]}, "cannot be called"),
        ({"instruction": "x", "references": [{"name": "a", "file": "own_cat.png", "weight": "1"}]}, "must be a number"),
        (
            {"instruction": "x", "references": [{"name": "a", "file": "own_cat.png", "weight": 10**400}]},
            "must be a number",
        ),
        (["x"], "JSON object"),
        ("{", "JSON"),
    ],
)
def test_what_is_wrong_in_a_turn_of_the_panel_is_said(client, pictures, record, said):
    text = record if isinstance(record, str) else json.dumps(record)
    result = client.run(own_turn(turn=text, instruction=""))
    assert result.status != "success"
    assert said in " ".join(error.message for error in result.errors)


def test_an_image_and_a_chat_are_too_much(client, pictures):
    graph = {**begun(), **own_turn(2, chat=["result 1", 1], image=["before", 0])}
    result = client.run(graph)
    assert "an image and a chat" in " ".join(error.message for error in result.errors)
