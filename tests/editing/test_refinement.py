"""Refinement: the model's own mask, what it may change, and chats whose kept pixels never move."""

from dataclasses import replace

import pytest
import torch
from comfyui_wegen.models.editing.predicted_mask import grow, heat_map, keep_features, predict_edit_mask, soften
from comfyui_wegen.models.editing.refinement import NOTHING_TO_CHANGE, Masks, finish, plan
from comfyui_wegen.models.engine import PictureDraft
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from comfyui_wegen.models.values import Answer, AutoMask, Chat, SamplerSettings, Turn

HARD = AutoMask(threshold=0.5, grow=0, soften=0)


def features(*changed):
    """Features of a 4x4 grid, those of some cells pointing elsewhere."""
    found = torch.ones(16, 8)
    for cell in changed:
        found[cell] = torch.tensor([1.0, -1.0] * 4)
    return found


def chat_with(picture, own=None, keep_mask=None):
    return Chat().add(Turn("x", (Answer("x", features() if own is None else own, picture, 0),), keep_mask=keep_mask))


PICTURE = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))


def test_the_own_mask_is_where_features_differ():
    found = predict_edit_mask(features(), features(5), 32, 32, HARD)
    expected = torch.zeros(32, 32)
    expected[8:16, 8:16] = 1
    assert torch.equal(found.mask, expected)
    assert found.heat[12, 12] > 0.85 and found.heat[28, 28] < 1e-6
    assert not found.empty and predict_edit_mask(features(), features(), 32, 32, HARD).empty


def test_the_own_mask_grows_and_softens():
    found = predict_edit_mask(features(), features(5), 32, 32, AutoMask(0.5, grow=3, soften=4)).mask
    row = found[12]
    assert row[5:19].eq(1).all()
    assert torch.allclose(row[1:5], torch.tensor([0.2, 0.4, 0.6, 0.8]))
    assert row[0] == 0 and row[19:23].flip(0).allclose(row[1:5]) and row[23:].eq(0).all()


def test_growing_and_softening_by_nothing_changes_nothing():
    mask = (PICTURE[..., 0] > 0.5).float()
    assert torch.equal(grow(mask, 0), mask) and torch.equal(soften(mask, 0), mask)


def test_masks_fit_any_picture_size():
    found = predict_edit_mask(features(), features(0, 15), 37, 21, AutoMask()).mask
    assert found.shape == (37, 21) and found[0, 0] == 1 and found[-1, -1] == 1 and found[0, -1] == 0


def test_where_most_changes_little_differences_count_too():
    """A cell that is only half different would show as a patch of the old picture."""
    near = torch.tensor([1.0, 1.0, 1.0, 0.1] * 2)  # a cosine distance of 0.1 from the features before

    def unchanged_cells(*changed):
        after = features(*changed)
        after[15] = near
        return int((predict_edit_mask(features(), after, 4, 4, AutoMask(0.15, 0, 0)).mask == 0).sum())

    assert unchanged_cells(*range(8)) == 8
    assert unchanged_cells(*range(9)) == 6


def test_features_of_other_shapes_are_refused():
    with pytest.raises(WeGenError, match="cannot be compared"):
        predict_edit_mask(torch.ones(16, 8), torch.ones(64, 8), 32, 32)


@pytest.mark.parametrize("values", [{"threshold": -0.1}, {"threshold": 2.1}, {"grow": -1}, {"soften": 513}])
def test_settings_of_the_own_mask_have_limits(values):
    with pytest.raises(WeGenError, match=r"must be from|give 0 to"):
        AutoMask(**values)


def test_kept_cells_keep_their_features():
    change = torch.zeros(30, 30)
    change[7, 7] = 0.1  # 30 pixels in 4 cells: this one lies on the border of four
    kept = keep_features(features(), features(*range(16)), change)
    changed = [cell for cell in range(16) if not torch.equal(kept[cell], features()[cell])]
    assert changed == [0, 1, 4, 5]


def test_plans_follow_the_masks():
    chat, idea = chat_with(PICTURE), PictureDraft("words", features(5), 0)
    own = replace(SamplerSettings(), auto_mask=HARD)
    white, corner = torch.ones(32, 32), torch.zeros(32, 32)
    corner[8:12, 8:12] = 1
    [free] = plan(chat, [idea], Masks(), SamplerSettings())
    assert free.change is None and torch.equal(free.idea.features, idea.features)
    [auto] = plan(chat, [idea], Masks(), own)
    assert auto.change.sum() == 64
    [edited] = plan(chat, [idea], Masks(edit=corner), own)
    assert torch.equal(edited.change, corner)
    [kept] = plan(chat, [idea], Masks(keep=corner), own)
    assert torch.equal(kept.change, auto.change * (1 - corner))
    with pytest.raises(WeGenError, match="no pixel that may change"):
        plan(chat, [idea], Masks(edit=corner, keep=white), own)


def test_a_batch_has_a_mask_for_each_idea():
    plans = plan(
        chat_with(PICTURE),
        [PictureDraft("", features(n), n) for n in (0, 15)],
        Masks(),
        SamplerSettings(auto_mask=HARD),
    )
    assert [bool(one.change[0, 0]) for one in plans] == [True, False]


def test_an_area_once_kept_stays_kept_until_it_is_released():
    keep = torch.zeros(32, 32)
    keep[:, :16] = 1
    chat, idea = chat_with(PICTURE, keep_mask=keep), PictureDraft("", features(0, 15), 0)
    [one] = plan(chat, [idea], Masks(), SamplerSettings())
    assert torch.equal(one.change, 1 - keep)
    [released] = plan(chat, [idea], Masks(release=True), SamplerSettings())
    assert released.change is None


def test_an_idea_that_changes_nothing_is_said_and_changes_nothing():
    [one] = plan(chat_with(PICTURE), [PictureDraft("", features(), 0)], Masks(), SamplerSettings(auto_mask=HARD))
    finished = finish(None, one, PICTURE, 1 - PICTURE, SamplerSettings())
    assert finished.note == NOTHING_TO_CHANGE and torch.equal(finished.answer.picture, PICTURE)


@pytest.mark.slow
def test_a_picture_that_slid_is_moved_back(tiny):
    wegen, _ = tiny
    ramp = torch.linspace(0, 12, 96)
    waves = 0.5 + 0.25 * torch.sin(ramp)[:, None] * torch.cos(1.7 * ramp)[None] + 0.2 * torch.sin(ramp * ramp / 6)[None]
    before = waves[..., None].expand(-1, -1, 3).clamp(0, 1)
    slid = before.roll((3, 2), (0, 1))
    edit = torch.zeros(96, 96)
    edit[40:60, 40:60] = 1
    [one] = plan(chat_with(before), [PictureDraft("", features(5), 0)], Masks(edit=edit), SamplerSettings())
    aligned = finish(wegen, one, before, slid, SamplerSettings(align=True))
    inside = edit > 0
    assert "moved" in aligned.note.lower()
    assert (aligned.answer.picture[inside] - before[inside]).abs().max() < 0.05
    plain = finish(wegen, one, before, slid, SamplerSettings()).answer
    assert (plain.picture[inside] - before[inside]).abs().max() > 0.1


def test_an_answer_keeps_its_change_mask(tiny):
    wegen, _ = tiny
    own = torch.randn(wegen.config.tokens_per_picture, wegen.config.vision.width)
    chat = chat_with(PICTURE, own)
    edit = torch.zeros(32, 32)
    edit[:10] = 1
    [one] = plan(chat, [PictureDraft("words", -own, 5)], Masks(edit=edit), SamplerSettings())
    answer = finish(wegen, one, PICTURE, torch.ones(32, 32, 3), SamplerSettings()).answer
    assert torch.equal(answer.picture[10:], PICTURE[10:]) and answer.picture[:10].eq(1).all()
    assert torch.equal(answer.change, edit) and answer.seed == 5 and answer.rewrite == "words"
    assert not torch.equal(answer.features, own)


def test_kept_pixels_stay_over_many_turns(tiny):
    pipeline = Pipeline(*tiny)
    settings = replace(pipeline.default_settings, steps=2)
    chat = pipeline.generate("a cat", [1], settings=settings, size=(45, 29))
    generator = torch.Generator().manual_seed(3)
    ever = torch.zeros(29, 45)
    for number in range(6):
        edit = (torch.rand(29, 45, generator=generator) > 0.9).float() * torch.rand(29, 45, generator=generator)
        ever = torch.maximum(ever, edit)
        chat = pipeline.refine(chat, "a moon", [number], edit_mask=edit, settings=settings)
    first, last = chat.turns[0].answer.picture, chat.last.answer.picture
    assert torch.equal(first[ever == 0], last[ever == 0])
    assert not torch.equal(first, last)
    assert torch.equal(chat.origins() == 0, ever == 0)


@pytest.mark.slow
def test_a_replay_and_a_fork_give_the_same_pictures(tiny):
    pipeline = Pipeline(*tiny)
    settings = replace(pipeline.default_settings, steps=2, auto_mask=AutoMask(0.02))
    sampling = TextSampling(temperature=1.0)
    chat = pipeline.generate("a cat", [1, 2], settings=settings, sampling=sampling, size=(45, 29)).pick(1)
    keep = torch.zeros(29, 45)
    keep[:9] = 1
    chat = pipeline.refine(chat, "a moon", [3], keep_mask=keep, settings=settings, sampling=sampling)
    chat = pipeline.refine(chat, "a boat", [4, 5], settings=replace(settings, strength=0.5), sampling=sampling)
    assert pipeline.replay(chat) == chat
    fork = pipeline.refine(chat.rewind(2), "a boat", [4, 5], settings=chat.last.settings, sampling=sampling)
    assert fork == chat
    brought = Chat().add(Turn("", (Answer("", chat.last.answer.features, PICTURE, 0),)))
    brought = pipeline.refine(brought, "a boat", [6], settings=settings)
    assert pipeline.replay(brought) == brought


def test_strength_keeps_more_of_what_was_there(tiny):
    _, decoder = tiny
    config = decoder.config
    latent = torch.full((1, 4, 4, 4), 5.0)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    idea = torch.randn(1, config.tokens_per_picture, config.vision.width)

    def distance(strength):
        painted = decoder.paint(idea, noise, 4, 1.0, (latent, torch.ones(1, 1, 4, 4)), strength)
        return float((painted - latent).abs().mean())

    assert distance(0.05) < 0.5 < distance(1.0)
    with pytest.raises(WeGenError, match="strength is 0"):
        SamplerSettings(strength=0)


def test_soft_masks_let_cells_go_later(tiny):
    _, decoder = tiny
    config = decoder.config
    mask = torch.tensor([0.0, 0.3, 0.6, 1.0]).expand(1, 1, 4, 4)
    latent = torch.full((1, 4, 4, 4), 5.0)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    idea = torch.randn(1, config.tokens_per_picture, config.vision.width)
    painted = decoder.paint(idea, noise, 10, 1.0, (latent, mask))
    moved = (painted - latent).abs().mean(dim=(0, 1, 2))
    assert moved[0] == 0 and moved[1] < moved[2] < moved[3]


def test_the_heat_map_shows_heat_and_edges():
    found = predict_edit_mask(features(), features(5), 32, 32, HARD)
    shown = heat_map(PICTURE, found.heat, found.mask)
    assert shown.shape == (32, 32, 3) and float(shown.min()) >= 0 and float(shown.max()) <= 1
    assert shown[7, 12].eq(1).all() and not shown[12, 12].eq(1).all()
    hot, cold = shown[12, 12], shown[28, 28]
    assert hot[0] - hot[2] > cold[0] - cold[2]
