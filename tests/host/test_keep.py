"""WeGen Keep and WeGen Consistency Report in graphs, on pictures that no WeGen model made."""

import json
from io import BytesIO
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models.editing.registration import Motion
from comfyui_wegen.models.evaluation.motion import moved_picture, natural_picture
from PIL import Image

from .graphs import load, mask, node, refine

WIDTH, HEIGHT, LEFT = 131, 93, 70


def png(picture) -> Image.Image:
    return Image.fromarray((picture.numpy() * 255).round().astype(np.uint8))


@pytest.fixture(scope="module")
def pictures(client):
    """Names of uploaded pictures: as it was, edited, edited and moved, edited and larger."""
    before = natural_picture(Random("before"), HEIGHT, WIDTH)
    edited = before.clone()
    edited[:, LEFT:] = natural_picture(Random("edited"), HEIGHT, WIDTH)[:, LEFT:] * 0.9
    worn = (edited * 0.98 + 0.01).clamp(0, 1)
    made = {
        "before": png(before),
        "edited": png(worn),
        "moved": png(moved_picture(worn, Motion(3, -2, 1.01))),
        "larger": png(worn).resize((WIDTH * 2, HEIGHT * 2)),
        "square": png(worn).resize((64, 64)),
    }
    return {name: client.upload_image(picture, f"keep_{name}.png") for name, picture in made.items()}


def keeping(pictures, edited="moved", **inputs):
    """Keep the columns left of LEFT, save picture and mask, show the report; report on the result too."""
    values = {"before": ["before", 0], "after": ["after", 0], "feather": 5, "align": True, **inputs}
    if "keep_mask" not in values:
        values.setdefault("edit_mask", ["mask", 0])
    compared = {"before": ["before", 0], "after": ["keep", 0], "edit_mask": ["mask", 0], "amplify": 8.0}
    return {
        **mask(WIDTH, HEIGHT, LEFT),
        "before": node("LoadImage", image=pictures["before"]),
        "after": node("LoadImage", image=pictures[edited]),
        "keep": node("WeGenKeep", **{name: value for name, value in values.items() if value is not None}),
        "save": node("SaveImage", images=["keep", 0], filename_prefix="kept"),
        "mask picture": node("MaskToImage", mask=["keep", 1]),
        "save mask": node("SaveImage", images=["mask picture", 0], filename_prefix="kept_mask"),
        "words": node("PreviewAny", source=["keep", 2]),
        "report": node("WeGenConsistencyReport", **compared),
        "save plot": node("SaveImage", images=["report", 1], filename_prefix="plot"),
        "save difference": node("SaveImage", images=["report", 2], filename_prefix="difference"),
        "numbers": node("PreviewAny", source=["report", 0]),
        **{
            name: node("PreviewAny", source=["report", 3 + n])
            for n, name in enumerate(("psnr", "ssim", "max", "share"))
        },
    }


@pytest.fixture
def run(client):
    def run(graph):
        result = client.run(graph)
        assert (result.status, result.errors) == ("success", [])
        return result

    return run


@pytest.fixture
def before(client, pictures):
    view = {"filename": pictures["before"], "type": "input"}
    return np.array(Image.open(BytesIO(client.get("/view", params=view).content)))


def saved(client, result, name):
    return [np.array(image) for image in client.images(result, name)]


@pytest.mark.parametrize("match_tone", [False, True])
def test_kept_pixels_are_the_same_in_the_file(client, run, pictures, before, match_tone):
    result = run(keeping(pictures, match_tone=match_tone))
    (picture,), (weight,) = saved(client, result, "save"), saved(client, result, "save mask")
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert (picture[:, :LEFT] == before[:, :LEFT]).all()
    assert (picture[:, LEFT + 8 :] != before[:, LEFT + 8 :]).any()
    assert weight[:, :LEFT].max() == 0 and weight[:, LEFT].min() > 0 and weight[:, -1].min() == 255
    (words,) = result.outputs["words"]["text"]
    assert words.startswith("Moved back by -3.0") and ("Colours shifted" in words) == match_tone


def test_the_report_says_what_changed(client, run, pictures):
    result = run(keeping(pictures))
    text = {name: result.outputs[name]["text"][0] for name in ("numbers", "psnr", "ssim", "max", "share")}
    assert text["numbers"].startswith("Outside the change area: identical to the bit")
    assert "Inside the change area: PSNR" in text["numbers"]
    assert text["psnr"] == "inf" and float(text["max"]) == 0 and float(text["share"]) == 0
    assert float(text["ssim"]) == pytest.approx(1)
    (plot,), (difference,) = saved(client, result, "save plot"), saved(client, result, "save difference")
    assert plot.shape == (540, 960, 3) and difference.shape == (HEIGHT, WIDTH, 3)
    assert difference[:, :LEFT].max() == 0 and difference[:, LEFT + 8 :].max() > 0
    # The front end gets the answers as JSON, where an infinite number has no place.
    json.dumps(client.history(result.prompt_id)["outputs"], allow_nan=False)


def test_keep_mask_batches_and_sizes(client, run, pictures, before):
    graph = keeping(pictures, "larger", keep_mask=["mask", 0], after=["twice", 0])
    graph["twice"] = node("RepeatImageBatch", image=["after", 0], amount=2)
    result = run(graph)
    many = saved(client, result, "save")
    assert len(many) == 2
    for picture in many:
        assert (picture[:, LEFT:] == before[:, LEFT:]).all() and (picture[:, :LEFT] != before[:, :LEFT]).any()
    (words,) = result.outputs["words"]["text"]
    assert words.startswith(f"1. Resized from {WIDTH * 2}x{HEIGHT * 2} to {WIDTH}x{HEIGHT}.") and "\n2. " in words


def test_frames_of_a_batch_in_which_nothing_changes_stay(client, run, pictures, before):
    graph = keeping(pictures, "edited", edit_mask=["masks", 0])
    graph["none"] = node("SolidMask", value=0.0, width=WIDTH, height=HEIGHT)
    graph["masks a"] = node("MaskToImage", mask=["mask", 0])
    graph["masks b"] = node("MaskToImage", mask=["none", 0])
    graph["masks c"] = node("ImageBatch", image1=["masks a", 0], image2=["masks b", 0])
    graph["masks"] = node("ImageToMask", image=["masks c", 0], channel="red")
    changed, same = saved(client, run(graph), "save")
    assert (changed != before).any() and (same == before).all()


def test_grey_pictures_are_kept_and_shown(client, run, pictures):
    """Pictures of one channel, as some packs make them."""
    graph = keeping(pictures, "edited", before=["grey before", 0], after=["grey after", 0])
    for name in ("before", "after"):
        graph[f"{name} mask"] = node("ImageToMask", image=[name, 0], channel="green")
        graph[f"grey {name}"] = node("MaskToImage", mask=[f"{name} mask", 0])
    assert len(saved(client, run(graph), "save")) == 1


def test_alpha_stays(client, run, pictures, before):
    graph = keeping(pictures, "edited", before=["see through", 0])
    graph["see through"] = node("JoinImageWithAlpha", image=["before", 0], alpha=["mask", 0])
    (picture,) = saved(client, run(graph), "save")
    assert picture.shape == (HEIGHT, WIDTH, 4)
    assert (picture[:, :LEFT, :3] == before[:, :LEFT]).all()
    assert picture[:, :LEFT, 3].min() == 255  # JoinImageWithAlpha takes white for transparent
    assert picture[:, -1, 3].min() == 255  # the edited picture is opaque


def test_a_chat_without_drift(client, run):
    graph = {**refine(edit_mask=["mask", 0]), **mask(128, 128, 64), **load("wegen-nano (bundled)")}
    graph["report"] = node("WeGenConsistencyReport", chat=["refine", 1], amplify=8.0)
    graph["numbers"] = node("PreviewAny", source=["report", 0])
    graph["save plot"] = node("SaveImage", images=["report", 1], filename_prefix="drift")
    result = run(graph)
    (text,) = result.outputs["numbers"]["text"]
    assert text.startswith("50.0% of the picture was never inside a change area.")
    assert "Turn 2: identical to the bit." in text
    assert saved(client, result, "save plot")[0].shape == (540, 960, 3)


def test_what_is_wrong_is_said(client, pictures):
    def error_of(graph):
        result = client.run(graph)
        return " ".join(error.message for error in result.errors)

    assert "has no mask" in error_of(keeping(pictures, edit_mask=None))
    assert "131x93 and 64x64 pixels" in error_of(keeping(pictures, "square"))
    uneven = keeping(pictures, before=["three", 0], after=["two", 0])
    uneven["three"] = node("RepeatImageBatch", image=["before", 0], amount=3)
    uneven["two"] = node("RepeatImageBatch", image=["after", 0], amount=2)
    assert "after has 2 members and before has 3" in error_of(uneven)
    alone = {"report": node("WeGenConsistencyReport", before=["before", 0], amplify=8.0)}
    alone = {**{"before": node("LoadImage", image=pictures["before"])}, **alone}
    alone["words"] = node("PreviewAny", source=["report", 0])
    assert "Connect before and after, or a chat" in error_of(alone)
