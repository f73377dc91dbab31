"""Rewriting inside the host: lists, reports, given words, words nobody knows, and what saved pictures tell."""

import json

import pytest

from .graphs import generate, load, node, refine

NANO = "wegen-nano (bundled)"


def nano(graph):
    """The same graph on the bundled model, with few steps."""
    graph = {**graph, **load(NANO)}
    for each in graph.values():
        if "steps" in each["inputs"]:
            each["inputs"]["steps"] = 2
    return graph


def wish(instruction, **inputs):
    return node("WeGenRewritePrompt", wegen=["load", 0], instruction=instruction, **{"seed": 1, **inputs})


def rewrites(client, **inputs):
    """The texts of WeGen Rewrite Prompt on the bundled model, and its report."""
    values = {"instruction": "surprise me", "seed": 3, "count": 3, "creativity": 0.8, **inputs}
    result = client.run(
        {
            **load(NANO),
            "rewrite": node("WeGenRewritePrompt", wegen=["load", 0], **values),
            "texts": node("PreviewAny", source=["rewrite", 0]),
            "report": node("PreviewAny", source=["rewrite", 1]),
        }
    )
    assert (result.status, result.errors) == ("success", [])
    return [text.strip() for text in result.outputs["texts"]["text"]], "".join(result.outputs["report"]["text"])


def test_rewrites_do_not_change_when_more_are_asked_for(client):
    three, _ = rewrites(client)
    five, _ = rewrites(client, count=5)
    assert len(three) == 3 and five[:3] == three
    cold, _ = rewrites(client, temperature=0.0)
    assert len(set(cold)) == 1


def test_the_model_says_in_its_own_words_what_it_cannot_draw(client):
    graph = nano(generate(instruction="a spaceship", rewrite=True, creativity=0.0))
    graph["reply"] = node("PreviewAny", source=["generate", 2])
    result = client.run(graph)
    assert (result.status, result.errors) == ("success", [])
    for shown in ("generate", "reply"):
        assert "i cannot draw that" in result.outputs[shown]["text"][0]
    assert "save" not in result.outputs  # there is no picture, and nothing behind one runs


@pytest.mark.parametrize("declined", [0, 1])
def test_of_a_list_of_wishes_those_are_drawn_that_can_be(client, declined):
    texts = client.run(
        nano({"rewrite": wish("a house", count=2, creativity=0.8), "texts": node("PreviewAny", source=["rewrite", 0])})
    )
    words = [text.strip() for text in texts.outputs["texts"]["text"]]
    graph = nano(generate(rewrite=True, creativity=0.0, seed=1))
    graph["rewrite"] = wish("a house", count=2, creativity=0.8)
    graph["list"] = node("StringReplace", string=["rewrite", 0], find=words[declined], replace="a spaceship")
    graph["generate"]["inputs"]["instruction"] = ["list", 0]
    for _ in range(2):
        result = client.run(graph, extra_data={"extra_pnginfo": {"workflow": {}}})
        assert (result.status, result.errors) == ("success", [])
        graph["save"]["inputs"]["filename_prefix"] = "again"
    [image] = client.images(result, "save")
    assert len(json.loads(image.text["wegen"])["generate"]) == 1
    graph["generate"]["inputs"]["seed"] = 2
    shown = client.run(graph).outputs["generate"]
    assert len(shown["images"]) == 1
    assert [("i cannot draw that" in text) for text in shown["text"]] == [declined == 0, declined == 1]


def test_references_that_a_wish_does_not_mention_change_no_words(client):
    graph = nano(
        {
            "rewrite": wish("a house at night", count=1, creativity=0.0),
            "texts": node("PreviewAny", source=["rewrite", 0]),
        }
    )
    graph["said"] = node("PreviewAny", source=["rewrite", 1])
    alone = client.run(graph).outputs["texts"]["text"]
    graph["red"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0xFF0000)
    graph["cat"] = node("WeGenEncodeReference", wegen=["load", 0], image=["red", 0], name="cat", weight=1.0)
    graph["rewrite"]["inputs"]["references"] = ["cat", 0]
    result = client.run(graph)
    assert result.outputs["texts"]["text"] == alone
    assert "Not mentioned, so not used: @cat." in "".join(result.outputs["said"]["text"])


def test_what_it_cannot_draw_is_no_description(client):
    graph = nano(
        {
            "rewrite": node(
                "WeGenRewritePrompt", wegen=["load", 0], instruction="a spaceship", seed=1, count=2, creativity=0.0
            ),
            "texts": node("PreviewAny", source=["rewrite", 0]),
        }
    )
    result = client.run(graph)
    assert (result.status, result.errors) == ("success", [])
    assert "i cannot draw that" in result.outputs["rewrite"]["text"][0]
    assert "texts" not in result.outputs


def test_where_the_model_answers_in_words_there_is_no_own_mask(client):
    turn = {"instruction": "add a spaceship", "seed": 50, "batch_size": 1, "rewrite": True, "creativity": 0.0}
    graph = {
        **generate(rewrite=False, seed=49),
        "own": node("WeGenConsistencyMask", chat=["generate", 1], **turn),
        "as image": node("MaskToImage", mask=["own", 0]),
        "save own": node("SaveImage", images=["as image", 0], filename_prefix="own mask"),
    }
    result = client.run(nano(graph))
    assert (result.status, result.errors) == ("success", [])
    assert "i cannot draw that" in result.outputs["own"]["text"][0]
    assert "save own" not in result.outputs and "images" in result.outputs["save"]


def test_each_member_of_a_list_is_saved_with_its_words(client):
    """WeGen Generate runs once for each description; the pictures that are saved after all of them tell of each."""
    graph = nano(generate(rewrite=False, seed=4))
    graph["rewrite"] = node(
        "WeGenRewritePrompt", wegen=["load", 0], instruction="a house", seed=1, count=3, creativity=1.0
    )
    graph["generate"]["inputs"]["instruction"] = ["rewrite", 0]
    result = client.run(graph, extra_data={"extra_pnginfo": {"workflow": {}}})
    assert (result.status, result.errors) == ("success", [])
    images = client.images(result, "save")
    assert len(images) == 3
    for image in images:
        told = json.loads(image.text["wegen"])["generate"]
        assert len(told) == 3 and len({turns[-1]["instruction"] for turns in told}) == 3
    again = client.run(graph, extra_data={"extra_pnginfo": {"workflow": {}}})
    assert again.status == "success"


def test_given_words_are_drawn_and_saved_with_the_picture(client):
    given = "on a beach at night, a small red house with the lights on at the bottom left."
    graph = nano(generate(instruction="a house", rewrite=True, rewritten=given, batch_size=2, seed=8))
    graph["said"] = node("PreviewAny", source=["generate", 2])
    result = client.run(graph, extra_data={"extra_pnginfo": {"workflow": {}}})
    assert (result.status, result.errors) == ("success", [])
    assert "".join(result.outputs["said"]["text"]).strip() == given
    for image in client.images(result, "save"):
        pictures = json.loads(image.text["wegen"])["generate"]
        assert pictures == [[{"instruction": "a house", "rewrite": given, "seed": seed}] for seed in (8, 9)]


def test_pictures_that_are_only_saved_again_still_say_how_they_came_to_be(client):
    """The host runs nothing but the saving node then; and a program need not send a workflow."""
    # Front ends write a whole number as such where the host makes a decimal one of it.
    graph = nano(generate(instruction="a red house", seed=21, cfg=2, creativity=0))
    first = client.run(graph)
    [image] = client.images(first, "save")
    said = image.text["wegen"]
    graph["save"]["inputs"]["filename_prefix"] = "again"
    again = client.run(graph)
    assert "generate" not in again.executed_nodes and client.images(again, "save")[0].text["wegen"] == said
    graph["generate"]["inputs"]["steps"] += 1
    more_steps = client.run(graph)
    assert client.images(more_steps, "save")[0].text["wegen"] == said
    graph["generate"]["inputs"]["seed"] = 22
    other = client.run(graph)
    assert json.loads(client.images(other, "save")[0].text["wegen"])["generate"][0][0]["seed"] == 22


def test_a_picture_is_told_of_the_turns_that_lead_to_it(client):
    """Whether those behind it ran before or after it was saved, or not at all."""
    graph = nano(refine(dict(instruction="a red house", seed=23), seed=24))
    for again in range(3):
        graph["save"]["inputs"]["filename_prefix"] = graph["save refined"]["inputs"]["filename_prefix"] = f"told{again}"
        result = client.run(graph)
        assert (result.status, "refine" in result.executed_nodes) == ("success", not again)
        told = [json.loads(client.images(result, name)[0].text["wegen"]) for name in ("save", "save refined")]
        assert [{*turns} for turns in told] == [{"generate"}, {"generate", "refine"}]
        if again == 1:
            graph["save refined"], graph["save"] = graph.pop("save refined"), graph.pop("save")  # another order


@pytest.mark.parametrize("with_model", [True, False])
def test_diversity_measures_a_batch(client, with_model):
    graph = nano(generate(instruction="surprise me", rewrite=True, batch_size=3))
    sockets = {"wegen": ["load", 0]} if with_model else {}
    graph["meter"] = node("WeGenDiversity", images=["generate", 0], **sockets)
    for number, name in enumerate(("vendi", "distance", "report")):
        graph[name] = node("PreviewAny", source=["meter", number])
    graph["matrix"] = node("SaveImage", images=["meter", 3], filename_prefix="matrix")
    result = client.run(graph)
    assert (result.status, result.errors) == ("success", [])
    said = {name: "".join(result.outputs[name]["text"]) for name in ("vendi", "distance", "report")}
    assert 1 < float(said["vendi"]) <= 3 and 0 < float(said["distance"]) <= 2
    assert ("vision features" in said["report"]) == with_model and "pixels" in said["report"]
    (matrix,) = client.images(result, "matrix")
    assert matrix.height > 4 * 72 and (matrix.width > 8 * 72) == with_model
