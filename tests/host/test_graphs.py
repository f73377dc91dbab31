"""Graphs in a running ComfyUI: what users build, what they get wrong, and how they stop it."""

import numpy as np
import pytest
from PIL import Image

from .graphs import generate, load, mask, node, refine


@pytest.fixture(scope="module", autouse=True)
def checkpoint(server, reference_dir):
    server.link_model(reference_dir, "reference")


@pytest.fixture
def pixels(client):
    """Runs a graph that must succeed and gives the pictures of its nodes as arrays."""

    def run(graph, *node_ids):
        result = client.run(graph)
        assert (result.status, result.errors) == ("success", [])
        return [np.array(image) for node_id in node_ids for image in client.images(result, node_id)]

    return run


def error_of(client, graph) -> str:
    result = client.run(graph)
    assert result.status in ("error", "rejected"), result.status
    # The host shows the type before the message.
    for event in result.events_of("execution_error"):
        assert event.data["exception_type"] == "WeGen"
    return result.errors[0].message


def upload(client, size, mode="RGB", name="picture.png"):
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return client.upload_image(Image.fromarray(noise, mode), name)


def with_reference(image, instruction="the @cat on a house", **encode):
    return {
        **generate(instruction=instruction, references=["encode", 0]),
        "image": node("LoadImage", image=image),
        "encode": node("WeGenEncodeReference", wegen=["load", 0], image=["image", 0], name="cat", weight=1.0, **encode),
    }


def test_nodes_are_known(client):
    info = client.object_info()
    shown = {name for name in info if name.startswith("WeGen")}
    assert shown == {
        "WeGenLoadModel",
        "WeGenLoadLoRA",
        "WeGenEncodeReference",
        "WeGenRewritePrompt",
        "WeGenGenerate",
        "WeGenRefine",
        "WeGenChat",
        "WeGenConsistencyMask",
        "WeGenSelect",
        "WeGenKeep",
        "WeGenConsistencyReport",
        "WeGenConditioning",
        "WeGenAsk",
        "WeGenDiversity",
        "WeGenTurn",
        "WeGenResult",
    }


def test_same_seed_same_picture_other_seed_another(client, pixels):
    first = pixels(generate(seed=5), "save")
    client.free_memory()
    result = client.run(generate(seed=5))
    assert "generate" in result.executed_nodes
    again = [np.array(image) for image in client.images(result, "save")]
    other = pixels(generate(seed=6), "save")
    assert (first[0] == again[0]).all()
    assert (first[0] != other[0]).any()


def test_member_of_a_batch_is_the_picture_of_its_own_seed(pixels):
    batch = pixels(generate(seed=7, batch_size=3, rewrite=True), "save")
    alone = pixels(generate(seed=9, batch_size=1, rewrite=True), "save")
    assert len(batch) == 3
    assert np.abs(batch[2].astype(int) - alone[0].astype(int)).max() <= 1


def test_any_size(pixels):
    (picture,) = pixels(generate(width=104, height=72, seed=11), "save")
    assert picture.shape == (72, 104, 3)


def test_previews_and_progress(client):
    result = client.run(generate(seed=12, rewrite=True, steps=6))
    assert result.status == "success"
    # Previews are those of the sampler's steps, shown at the node that the user sees.
    assert len(result.previews) == 6
    totals = {event.data["max"] for event in result.events_of("progress")}
    assert {64, 6} < totals  # features, sampler steps, and the rewrite's tokens


@pytest.mark.parametrize(
    "phase, total, settings",
    [
        # Batches, so that a fast machine is not done before the cancel has reached the server.
        ("text", 200, {"rewrite": True, "creativity": 1.0, "batch_size": 16}),
        ("features", 64, {"rewrite": True, "creativity": 1.0, "batch_size": 64}),
        ("sampling", 500, {"steps": 500}),
    ],
)
def test_cancel_stops_at_once_and_the_next_run_works(client, phase, total, settings):
    seen = []

    def now(event):
        if event.type == "progress" and event.data["max"] == total:
            seen.append(event.data["value"])
        return len(seen) == 2

    result = client.run(generate(seed=20, instruction=f"cancelled in {phase}", **settings), interrupt_when=now)
    assert (result.status, result.errors) == ("interrupted", [])
    assert result.outputs == {}
    assert 2 <= len(seen) <= total // 2
    assert client.run(generate(seed=21)).status == "success"


@pytest.mark.parametrize("mask_size", [(128, 128), (64, 32), (300, 200)])
def test_refine_keeps_kept_pixels_to_the_bit(pixels, mask_size):
    width, height = mask_size
    graph = {**refine(keep_mask=["mask", 0]), **mask(width, height, width // 2)}
    before, after = pixels(graph, "save", "save refined")
    assert (before[:, 64:] == after[:, 64:]).all()
    assert (before[:, :64] != after[:, :64]).any()


def test_refine_of_an_odd_size_keeps_kept_pixels(pixels):
    graph = {**refine({"width": 104, "height": 64, "seed": 30}, edit_mask=["mask", 0]), **mask(104, 64, 96)}
    before, after = pixels(graph, "save", "save refined")
    assert before.shape == after.shape == (64, 104, 3)
    assert (before[:, :96] == after[:, :96]).all()
    assert (before[:, 96:] != after[:, 96:]).any()


def test_refine_without_masks_and_twice(pixels):
    graph = refine(seed=31)
    graph["again"] = {**graph["refine"], "inputs": {**graph["refine"]["inputs"], "chat": ["refine", 1], "seed": 32}}
    graph["save again"] = node("SaveImage", images=["again", 0], filename_prefix="again")
    pictures = pixels(graph, "save", "save refined", "save again")
    assert all(picture.shape == (128, 128, 3) for picture in pictures)


def test_refined_batch(pixels):
    pictures = pixels(refine({"batch_size": 2, "seed": 33}, batch_size=2, seed=34), "save", "save refined")
    assert len(pictures) == 4


def test_sampler_settings_do_not_run_the_language_model_again(client):
    client.run(generate(seed=40))
    result = client.run(generate(seed=40, steps=5, sampler_name="dpmpp_2m", scheduler="karras", cfg=3.0))
    assert result.status == "success"
    assert result.executed_nodes == ["generate", "save"]
    assert not [event for event in result.events_of("progress") if event.data["max"] == 64]


def test_language_model_is_not_asked_again_where_the_host_forgot(client):
    def graph(steps):
        # Output nodes beside the turn: passing one makes the host's default cache drop results of expanded nodes.
        others = {f"a{n}": node("PreviewAny", source=f"unchanged {n}") for n in range(3)}
        return {**others, **refine({"seed": 41, "steps": steps}, seed=42, feature_guidance=1.5)}

    def features_written(result):
        return [event for event in result.events_of("progress") if event.data["max"] == 64]

    assert features_written(client.run(graph(3)))
    result = client.run(graph(4))
    assert result.status == "success"
    first = [event for event in features_written(result) if event.data["node"].startswith("generate")]
    assert first == []


def test_stock_sampler_settings_do_not_run_the_language_model_again(client):
    def graph(steps):
        return {
            **load(),
            "turn": node(
                "WeGenConditioning",
                wegen=["load", 0],
                instruction="a red cat",
                seed=1,
                batch_size=1,
                rewrite=False,
                creativity=0.5,
            ),
            "empty": node("EmptyLatentImage", width=128, height=128, batch_size=1),
            "sample": node(
                "KSampler",
                model=["load", 1],
                positive=["turn", 0],
                negative=["turn", 1],
                latent_image=["empty", 0],
                seed=1,
                steps=steps,
                cfg=7.0,
                sampler_name="euler",
                scheduler="normal",
                denoise=1.0,
            ),
            "decode": node("VAEDecode", samples=["sample", 0], vae=["load", 2]),
            "save": node("SaveImage", images=["decode", 0], filename_prefix="stock"),
        }

    assert client.run(graph(3)).status == "success"
    result = client.run(graph(4))
    assert result.status == "success"
    assert result.executed_nodes == ["sample", "decode", "save"]


def test_rewrites_are_a_list_that_stock_nodes_take(client):
    graph = {
        **load(),
        "rewrite": node(
            "WeGenRewritePrompt", wegen=["load", 0], instruction="a quiet night", seed=3, count=3, creativity=0.8
        ),
        "show": node("PreviewAny", source=["rewrite", 0]),
        "show report": node("PreviewAny", source=["rewrite", 1]),
    }
    result = client.run(graph)
    assert result.status == "success"
    (shown,) = result.outputs["rewrite"]["text"]
    texts, report = result.outputs["show"]["text"], result.outputs["show report"]["text"]
    assert len(texts) == 3
    assert shown.split("\n\n") == [*filter(None, report), *texts]  # what is missing is said first


def test_ask_answers_for_each_picture_and_for_a_chat(client):
    name = upload(client, (60, 60), name="asked.png")
    graph = {
        **generate(seed=60),
        "image": node("LoadImage", image=name),
        "twice": node("RepeatImageBatch", image=["image", 0], amount=2),
        "ask": node("WeGenAsk", wegen=["load", 0], question="what is there?", image=["twice", 0]),
        "show": node("PreviewAny", source=["ask", 0]),
        "ask chat": node("WeGenAsk", wegen=["load", 0], question="what is there?", chat=["generate", 1]),
        "show chat": node("PreviewAny", source=["ask chat", 0]),
    }
    result = client.run(graph)
    assert (result.status, result.errors) == ("success", [])
    assert len(result.outputs["show"]["text"]) == 2
    assert len(result.outputs["show chat"]["text"]) == 1


def test_ask_without_anything_to_look_at_says_what_to_connect(client):
    result = client.run({**load(), "ask": node("WeGenAsk", wegen=["load", 0], question="what is there?")})
    assert "nothing to ask about" in result.errors[0].message and "connect image" in result.errors[0].message


@pytest.mark.parametrize("size, mode", [((1, 1), "RGB"), ((800, 3), "RGB"), ((8000, 30), "RGB"), ((40, 50), "RGBA")])
def test_reference_pictures_of_any_kind(client, size, mode):
    name = upload(client, size, mode, f"{size[0]}x{size[1]}{mode}.png")
    result = client.run(with_reference(name))
    assert (result.status, result.errors) == ("success", [])


def test_reference_changes_the_picture(client, pixels):
    plain = pixels(generate(instruction="the cat on a house"), "save")[0]
    name = upload(client, (60, 60), name="reference.png")
    with_picture = pixels(with_reference(name, "the @cat on a house"), "save")[0]
    assert (plain != with_picture).any()


def test_mask_of_a_reference_counts(client, pixels):
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 40:] = (255, 255, 0)
    name = client.upload_image(Image.fromarray(halves), "halves.png")
    whole = pixels(with_reference(name), "save")[0]
    corner = {**mask(64, 64, 64), "white": node("SolidMask", value=1.0, width=16, height=16)}
    corner["mask"] = node("MaskComposite", destination=["black", 0], source=["white", 0], x=44, y=44, operation="add")
    part = pixels({**with_reference(name, mask=["mask", 0]), **corner}, "save")[0]
    assert (whole != part).any()


def test_what_is_wrong_is_said(client):
    name = upload(client, (60, 60), name="reference.png")
    assert "instruction is empty" in error_of(client, generate(instruction="  \n"))
    assert "the references are: @cat" in error_of(client, with_reference(name, "a @dog"))
    assert "context holds 2048" in error_of(client, generate(instruction="a red cat " * 3000))
    nothing = {**refine(edit_mask=["mask", 0]), **mask(64, 64, 64)}
    assert "no pixel that may change" in error_of(client, nothing)
    black = {**with_reference(name, mask=["mask", 0]), **mask(64, 64, 64)}
    assert "shows nothing" in error_of(client, black)
    assert "smaller than min" in error_of(client, generate(steps=-1))
    misnamed = with_reference(name)
    misnamed["encode"]["inputs"]["name"] = "my cat"
    assert "cannot be called 'my cat'" in error_of(client, misnamed)


def test_steps_from_a_link_are_checked_too(client):
    graph = {**generate(steps=["below", 0]), "below": node("PrimitiveInt", value=-1)}
    assert "-1 sampler steps: give 1 to" in error_of(client, graph)


def test_checkpoint_that_went_away_is_named(client):
    message = error_of(client, {**load("gone"), "save": generate()["save"], "generate": generate()["generate"]})
    assert "gone" in message and "28 GB" in message and "https://github.com/hzphzp/WeGen" in message


def test_a_prompt_without_a_checkpoint_says_what_is_missing(client):
    assert error_of(client, {**generate(), "load": node("WeGenLoadModel")}) == "Required input is missing: model"


def test_lora_and_other_patches_reach_the_decoder(pixels):
    graph = generate(seed=50)
    graph["patched"] = node("FreeU_V2", model=["load", 1], b1=1.4, b2=1.6, s1=0.5, s2=0.2)
    plain = pixels(graph, "save")[0]
    graph["generate"]["inputs"]["model"] = ["patched", 0]
    patched = pixels(graph, "save")[0]
    assert (plain != patched).any()
