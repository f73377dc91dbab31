"""Feathers, tone and exact paste; what WeGen Keep makes of them; and the seams that they leave."""

from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models.editing.composite import match_tone, paste, resized
from comfyui_wegen.models.editing.crop import plan_crop
from comfyui_wegen.models.editing.keep import keep
from comfyui_wegen.models.editing.masks import change_mask, feathered, fit_mask, latent_mask
from comfyui_wegen.models.editing.refinement import Masks
from comfyui_wegen.models.editing.registration import Motion
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation.motion import moved_picture, natural_picture, worn
from comfyui_wegen.models.evaluation.seams import seam_steps
from comfyui_wegen.models.metrics.consistency import compare
from PIL import Image

HEIGHT, WIDTH = 61, 83


def eight_bits(picture):
    return (picture * 255).round().float() / 255


@pytest.fixture(scope="module")
def before():
    return eight_bits(natural_picture(Random("before"), HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def after():
    return natural_picture(Random("after"), HEIGHT, WIDTH).float()


@pytest.fixture
def change():
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[10:45, 20:70] = 1
    return mask


def test_what_is_nearly_black_is_kept(before, after, change):
    """The white of a grey PNG comes as 254 of 255, and turned round as 1: nothing there may change all the same."""
    turned = (1 - (1 - change) * 254.008 / 255).clamp(0, 1)
    assert 0 < turned.min() < 2 / 255
    assert torch.equal(fit_mask(turned, HEIGHT, WIDTH), change)
    assert torch.equal(change_mask(turned, None, HEIGHT, WIDTH), change)
    kept = keep(before, after, change_mask(turned, None, HEIGHT, WIDTH), 5, False, False)
    assert torch.equal(kept.picture[change == 0], before[change == 0])
    assert plan_crop(change_mask(turned, None, HEIGHT, WIDTH), HEIGHT, WIDTH, 1600, 4).width < WIDTH
    soft = torch.linspace(0, 1, 256).repeat(4, 1)
    assert torch.equal(fit_mask(soft, 4, 256)[:, 2:254], soft[:, 2:254]), "other soft values stay"


# --- feather ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feather", [0, 1, 5, 12.5, 400])
def test_feathers_lie_inside_and_reach_the_middle(change, feather):
    weight = feathered(change, feather)
    assert ((weight > 0) == (change > 0)).all()
    assert weight.max() == 1
    steepest = max((weight[1:] - weight[:-1]).abs().max(), (weight[:, 1:] - weight[:, :-1]).abs().max())
    assert steepest <= 1 / (min(feather, 17) + 1) + 1e-6


def test_each_area_is_feathered_as_wide_as_fits():
    change = torch.zeros(40, 60)
    change[5:35, 5:35] = 1
    change[20, 45:58] = 1
    weight = feathered(change, 8)
    assert weight[20, 45:58].eq(1).all()
    assert weight[20, 5] == pytest.approx(1 / 9) and weight[20, 20] == 1


def test_the_rim_of_the_picture_is_no_edge():
    change = torch.zeros(30, 40)
    change[:, 20:] = 1
    weight = feathered(change, 4)
    torch.testing.assert_close(weight[0], weight[15])
    assert weight[15, 39] == 1 and weight[15, 20] == pytest.approx(0.2)
    assert feathered(torch.ones(5, 5), 3).eq(1).all() and feathered(torch.zeros(5, 5), 3).eq(0).all()


def test_soft_masks_stay_as_soft_as_they_are():
    change = torch.linspace(0, 1, 41).expand(20, 41)
    torch.testing.assert_close(feathered(change, 3), change)
    assert feathered(change * 0.5, 3).max() == 0.5


def test_a_negative_feather_is_refused(change):
    with pytest.raises(WeGenError, match="-1 pixels; give 0 or more"):
        feathered(change, -1)


# --- paste ------------------------------------------------------------------------------------------------------------


def test_kept_pixels_stay_to_the_bit_and_changed_ones_are_new(before, after, change):
    weight = feathered(change, 6)
    picture = paste(before, after, weight)
    assert picture.dtype == torch.float32
    assert torch.equal(picture[weight == 0], before[weight == 0])
    assert torch.equal(picture[weight == 1], after[weight == 1])
    soft = (weight > 0) & (weight < 1)
    torch.testing.assert_close(picture[soft], torch.lerp(before, after, weight[..., None])[soft])


def test_batches_are_pasted_like_single_pictures(before, after, change):
    many = paste(torch.stack([before, after]), torch.stack([after, before]), torch.stack([change, 1 - change]))
    assert torch.equal(many[0], paste(before, after, change))
    assert torch.equal(many[1], many[0])


def test_what_is_transparent_stains_nothing():
    red = torch.tensor([1.0, 0, 0, 0]).expand(1, 3, 4)
    blue = torch.tensor([0.0, 0, 1, 1]).expand(1, 3, 4)
    picture = paste(red, blue, torch.tensor([[0.0, 0.5, 1.0]]))
    expected = [[1, 0, 0, 0], [0, 0, 1, 0.5], [0, 0, 1, 1]]
    torch.testing.assert_close(picture[0], torch.tensor(expected))


def test_a_picture_without_alpha_is_opaque(before, after, change):
    see_through = torch.cat([before, torch.rand(HEIGHT, WIDTH, 1)], dim=-1)
    picture = paste(see_through, after, change)
    assert torch.equal(picture[change == 0], see_through[change == 0])
    assert picture[change == 1][:, 3].eq(1).all()
    assert paste(before, see_through, change).shape == (HEIGHT, WIDTH, 4)


def test_pictures_of_two_sizes_are_refused(before, after, change):
    with pytest.raises(WeGenError, match="cannot be composited"):
        paste(before, after[1:], change)


def test_masks_of_a_batch_on_the_latent():
    change = torch.zeros(2, 20, 33)
    change[1, 19, 32] = 0.5
    cells = latent_mask(change, 8)
    assert cells.shape == (2, 1, 3, 5) and cells[0].max() == 0 and cells[1, 0, 2, 4] == 0.5


# --- tone -------------------------------------------------------------------------------------------------------------


def test_tone_meets_at_the_edge_even_when_it_slants(before, after, change):
    slant = torch.linspace(-0.05, 0.05, WIDTH)[None, :, None] * torch.tensor([1.0, 0.5, -1.0])
    wanted = 0.2 + 0.6 * torch.where(change[..., None] > 0, after, before)
    matched = match_tone(0.2 + 0.6 * before, wanted + slant + 0.04, change)
    assert (matched - wanted).abs()[change > 0].mean() < 0.01
    assert (slant + 0.04).expand_as(wanted).abs()[change > 0].mean() > 0.03


def test_tone_of_pictures_that_agree_is_left_alone(before, after, change):
    new = torch.where(change[..., None] > 0, after, before)
    torch.testing.assert_close(match_tone(before, new, change), new)
    nothing_kept = torch.ones_like(change)
    assert match_tone(before, after, nothing_kept) is after


def test_tone_of_grey_pictures(before, after, change):
    grey = after.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(match_tone(before, grey, change), match_tone(before, grey.expand(-1, -1, 3), change))


def test_tone_leaves_opacity_alone(before, after, change):
    opacity = torch.rand(HEIGHT, WIDTH, 1)
    matched = match_tone(before, torch.cat([after, opacity], dim=-1), change)
    assert torch.equal(matched[..., 3:], opacity)


# --- all of it --------------------------------------------------------------------------------------------------------


def edited(before, change, motion):
    """`before` after another model's edit: something new in the change area, all of it moved and worn."""
    new = natural_picture(Random("new"), *before.shape[:2])
    return worn(moved_picture(torch.where(change[..., None] > 0, new, before.double()), motion), Random("worn")).float()


@pytest.mark.slow
def test_keep_moves_back_and_keeps_to_the_bit(before, change):
    moved = edited(before, change, Motion(4, -3, 1.02))
    still = edited(before, change, Motion())
    kept = keep(before, moved, change, feather=4)
    assert compare(before, kept.picture, change).outside.largest == 0
    assert "Moved back by -4" in kept.report and "px, zoom 0.98" in kept.report
    as_it_was = keep(before, moved, change, feather=4, align=False)
    where = kept.weight == 1
    assert "Moved" not in as_it_was.report
    off, left = ((one.picture - still).abs()[where].mean() for one in (kept, as_it_was))
    assert off < 0.4 * left


@pytest.mark.slow
def test_keep_says_when_it_leaves_the_picture_where_it_is(before, after, change):
    kept = keep(before, after, change)
    assert "Not aligned" in kept.report
    assert torch.equal(kept.picture[kept.weight == 1], after[kept.weight == 1])


def test_keep_resizes_but_not_to_other_proportions(before, change):
    larger = edited(before, change, Motion()).permute(2, 0, 1)[None]
    larger = torch.nn.functional.interpolate(larger, size=(HEIGHT * 2, WIDTH * 2), mode="bicubic")[0].permute(1, 2, 0)
    kept = keep(before, larger, change, tone=True)
    assert kept.picture.shape == before.shape
    assert kept.report.startswith(f"Resized from {WIDTH * 2}x{HEIGHT * 2} to {WIDTH}x{HEIGHT}.")
    assert "Colours shifted by up to" in kept.report
    assert torch.equal(kept.picture[change == 0], before[change == 0])
    with pytest.raises(WeGenError, match=r"83x61 and 61x61 pixels.*at most 10% can be resized"):
        keep(before, larger[:HEIGHT, :HEIGHT], change)


@pytest.mark.parametrize("align", [True, False])
def test_what_vae_encode_has_cropped_is_laid_back_where_it_was(before, change, align):
    """The host takes the middle of a picture whose sides are no multiples of a cell."""
    new = edited(before, change, Motion())
    height, width = HEIGHT // 8 * 8, WIDTH // 8 * 8
    top, left = HEIGHT % 8 // 2, WIDTH % 8 // 2
    kept = keep(before, new[top : top + height, left : left + width], change, align=align)
    assert kept.report.startswith(f"Laid into the middle of {WIDTH}x{HEIGHT}: it was cropped to {width}x{height}.")
    seen = kept.weight == 1
    assert (kept.picture - new).abs()[seen].mean() < 0.5 / 255
    # Where nothing is kept, as in a turn without masks, the picture itself tells.
    all_of_it = keep(before, before[top : top + height, left : left + width], torch.ones(HEIGHT, WIDTH), 0, False)
    assert torch.equal(all_of_it.picture[10:45, 20:70], before[10:45, 20:70])


def test_a_picture_that_was_resized_by_a_few_pixels_is_resized_back(before, change):
    smaller = resized(edited(before, change, Motion()), HEIGHT // 8 * 8, WIDTH // 8 * 8)
    assert keep(before, smaller, change, align=False).report.startswith("Resized from 80x56 to 83x61.")


def test_eight_bits_of_kept_pixels_survive_the_file(before, change, tmp_path):
    kept = keep(before, edited(before, change, Motion(2, 1, 1.0)), change)
    saved = (kept.picture * 255).round().byte().numpy()
    Image.fromarray(saved).save(tmp_path / "kept.png")
    read = torch.from_numpy(np.array(Image.open(tmp_path / "kept.png")))
    assert torch.equal(read[change == 0], (before * 255).round().byte()[change == 0])


def test_masks_that_are_both_given(before):
    edit, keep_mask = torch.zeros(HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)
    edit[:, 40:] = 1
    keep_mask[:, 60:] = 1
    assert change_mask(edit, keep_mask, HEIGHT, WIDTH).sum() == HEIGHT * 20
    with pytest.raises(WeGenError, match="no pixel that may change"):
        change_mask(torch.zeros(8, 8), None, HEIGHT, WIDTH)
    assert not change_mask(torch.zeros(8, 8), None, HEIGHT, WIDTH, some=False).any()
    with pytest.raises(WeGenError, match=r"4 were given\. Set batch_size to 1"):
        change_mask(torch.ones(4, 8, 8), None, HEIGHT, WIDTH)


def test_thin_parts_of_what_is_kept_stay_when_a_mask_is_made_smaller():
    painted = torch.zeros(1024, 1024)
    painted[501:504], painted[:, 7:9] = 1, 1
    change = change_mask(None, painted, 128, 128)
    assert not change[62].any() and not change[:, 0].any() and not change[:, 1].any()
    assert (change == 0).sum() == 128 + 2 * 128 - 2
    assert torch.equal(Masks(keep=painted).fitted(128, 128).keep, 1 - change)
    assert fit_mask(torch.eye(3), 6, 9, thin=True).shape == (6, 9)
    for same in (torch.eye(3)[None, None], torch.eye(3)[None, :, :, None]):
        assert torch.equal(fit_mask(same, 6, 9), fit_mask(torch.eye(3), 6, 9))
    with pytest.raises(WeGenError, match="2 were given"):
        fit_mask(torch.eye(3).expand(2, 1, 3, 3), 6, 9)


@pytest.mark.parametrize("feather", [4, 8, 16])
def test_seams_are_fainter_than_of_a_hard_paste_and_of_a_blurred_mask(before, change, feather):
    toned = edited(before, change, Motion()) * 0.9 + 0.08
    steps = seam_steps(before, toned, change, feather)
    assert steps.ratio <= 1
    assert steps.feathered < 0.75 * steps.hard
    assert seam_steps(before, toned, change, feather, added=True).ratio < 0.75


def test_keep_refuses_a_mask_of_another_size():
    picture = torch.zeros(8, 6, 3)
    with pytest.raises(WeGenError, match=r"The mask is \(6, 8\), and the picture \(8, 6\)"):
        keep(picture, picture, torch.ones(6, 8), align=False)
