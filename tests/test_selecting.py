"""Things are found in a picture by what they are called; the bundled model does it alone."""

from dataclasses import replace
from random import Random

import pytest
import torch
from comfyui_wegen.models import storybook
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.editing.masks import fit_mask
from comfyui_wegen.models.engine import TurnRequest, drafting
from comfyui_wegen.models.errors import AnsweredInWords, WeGenError
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.storybook import Scene
from PIL import Image

KINDS = ("house", "cat")


@pytest.fixture(scope="module")
def pipeline():
    return Pipeline.from_folder(BUNDLED)


@pytest.fixture(scope="module")
def scene():
    """A page with two things that lie apart."""
    rng = Random(3)
    things = ()
    for kind, column in zip(KINDS, (0, 3), strict=True):
        things += (storybook.sample_thing(rng, things, kind=kind, size="big", column=column, row=2),)
    return Scene("meadow", "day", things)


@pytest.fixture(scope="module")
def chat(pipeline, scene):
    return pipeline.begin_with(Image.fromarray(storybook.render(scene)))


def mask_of(scene, number):
    return torch.from_numpy(storybook.render_with_masks(scene)[1][number]).float()


def overlap(one, other):
    return float((one * other).sum() / torch.maximum(one, other).sum())


def test_a_thing_that_is_kept_by_its_name_stays_to_the_pixel(pipeline, scene, chat):
    before = chat.last.answer.picture
    found = pipeline.select(chat, "the house")
    assert overlap(found.mask, mask_of(scene, 0)) > 0.85
    assert not (found.mask * mask_of(scene, 1)).any()
    assert found.without.shape == before.shape and len(chat.turns) == 1
    kept = pipeline.refine(chat, "make it night", keep_mask=found.mask)
    night = kept.last.answer.picture
    assert torch.equal(night[found.mask == 1], before[found.mask == 1])
    assert night[:32].mean() < before[:32].mean() - 0.2
    # What is kept is found as well as before.
    assert overlap(pipeline.select(kept, "the house").mask, mask_of(scene, 0)) > 0.8


def test_the_only_thing_of_a_picture_is_found_too(pipeline):
    """The bundled model can leave a picture empty, though it does not always."""
    chat = pipeline.generate("a red house on a meadow by day", seeds=[1])
    mask = pipeline.select(chat, "the house").mask
    rows, columns = (mask.any(dim=dim).nonzero() for dim in (1, 0))
    assert 0.5 * len(rows) * len(columns) < mask.sum() < 0.2 * mask.numel()


def test_larger_pictures_and_transparent_ones_are_looked_at_too(pipeline, scene):
    page = Image.fromarray(storybook.render(scene)).resize((384, 384), Image.Resampling.LANCZOS)
    page.putalpha(200)
    found = pipeline.select(pipeline.begin_with(page), "the cat")
    assert found.mask.shape == (384, 384) and found.without.shape == (384, 384, 3)
    assert overlap(found.mask, fit_mask(mask_of(scene, 1), 384, 384)) > 0.7


def test_what_is_not_there_is_said(pipeline, chat):
    with pytest.raises((AnsweredInWords, WeGenError)):
        pipeline.select(chat, "the train")
    with pytest.raises(WeGenError, match=r"Nothing is named\. Say what to select, such as: the red house"):
        pipeline.select(chat, "  ")
    with pytest.raises(WeGenError, match="no turn"):
        pipeline.select(replace(chat, turns=()), "the house")


def test_a_model_that_takes_nothing_away_found_nothing(pipeline, chat, monkeypatch):
    features = chat.last.answer.features
    monkeypatch.setattr(
        drafting, "draw_features", lambda _, requests, texts, *__: {(0, text): features for text in texts[0]}
    )
    with pytest.raises(WeGenError, match="'the house' was not found in the picture"):
        pipeline.select(chat, "the house")


def test_the_order_is_that_of_taking_things_away(pipeline, chat, monkeypatch):
    asked, written = [], drafting.rewrite_each

    def told(wegen, requests, *arguments, **options):
        asked.extend(request.instruction for request in requests)
        return written(wegen, requests, *arguments, **options)

    monkeypatch.setattr(drafting, "rewrite_each", told)
    pipeline.select(chat, " the cat ")
    assert asked == ["remove the cat"] and TurnRequest(asked[0]).instruction == asked[0]
