"""Numbers, difference pictures and plots of what changed and how chats drift."""

import math
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation.motion import natural_picture
from comfyui_wegen.models.media.plots import bar_plot, curve_plot, loss_plot
from comfyui_wegen.models.metrics.consistency import BINS, compare, difference, drift
from comfyui_wegen.models.values import Answer, Chat, Turn

HEIGHT, WIDTH = 30, 40


@pytest.fixture(scope="module")
def before():
    return (natural_picture(Random("report"), HEIGHT, WIDTH) * 255).round().float() / 255


@pytest.fixture
def change():
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[10:20, 10:30] = 1
    return mask


def chat_of(*answers):
    """A chat from pictures with their change areas."""
    features = torch.zeros(4, 2)
    return Chat(tuple(Turn("x", (Answer("x", features, picture, 0, change),)) for picture, change in answers))


def lighter(picture, levels):
    """A picture in which every channel of every pixel is off by that many levels."""
    return torch.where(picture > 0.5, picture - levels / 255, picture + levels / 255)


def test_what_changed_outside_and_inside(before, change):
    after = torch.where(change[..., None] > 0, lighter(before, 40), before)
    after[0, 0, 1] = before[0, 0, 1] + (-3 / 255 if before[0, 0, 1] > 0.5 else 3 / 255)
    found = compare(before, after, change)
    outside, inside = found.outside, found.inside
    assert (outside.pixels, outside.largest) == (HEIGHT * WIDTH - 200, 3)
    assert outside.changed == pytest.approx(1 / outside.pixels)
    assert outside.psnr == pytest.approx(10 * math.log10(255**2 * outside.pixels * 3 / 9))
    assert outside.mean == pytest.approx(3 / (3 * outside.pixels))
    assert outside.shares[BINS.index("2-3")] == outside.changed and sum(outside.shares) == pytest.approx(1)
    assert (inside.pixels, inside.largest, inside.mean, inside.changed) == (200, 40, 40, 1)
    assert inside.psnr == pytest.approx(20 * math.log10(255 / 40))
    assert inside.shares[BINS.index("32-63")] == 1
    assert 0.9 < outside.ssim < 1 and inside.ssim < 0.9
    assert "PSNR" in str(found) and "largest difference 40 of 255" in str(found)


def test_soft_edges_of_masks_are_named(before, change):
    assert compare(before, before, change).blended == 0 and "soft" not in str(compare(before, before, change))
    soft = change.clone()
    soft[10], soft[5, 5] = soft[10] * 0.5, 0.01
    after = torch.where(soft[..., None] > 0, lighter(before, 40), before)
    found = compare(before, after, soft)
    assert found.blended == 21 and found.outside.largest == 0 and found.outside.pixels == HEIGHT * WIDTH - 201
    assert str(found).endswith("\n21 pixels inside are soft edges of the masks: kept only in part.")


def test_similarity_outside_does_not_see_inside(before, change):
    found = compare(before, torch.where(change[..., None] > 0, 1 - before, before), change)
    assert found.outside.ssim == pytest.approx(1, abs=1e-5) and found.outside.psnr == math.inf
    assert str(found).startswith("Outside the change area: identical to the bit (1000 pixels)")


def test_similarity_is_that_of_the_field(before):
    after = (before + 0.1 * torch.randn(before.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    worse, better = (compare(before, torch.lerp(before, after, share)).outside for share in (1.0, 0.3))
    assert worse.ssim < better.ssim < 1
    assert worse.psnr < better.psnr
    flat = compare(torch.full((20, 20, 3), 0.4), torch.full((20, 20, 3), 0.6)).outside
    # Without structure only the luminance term is left.
    x, y, c = 102 / 255, 153 / 255, 0.01**2
    assert flat.ssim == pytest.approx((2 * x * y + c) / (x * x + y * y + c), abs=1e-3)


def test_less_than_a_level_is_no_change(before):
    assert compare(before, before + 0.4 / 255).outside.largest == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 300)])
def test_small_pictures(size):
    found = compare(torch.zeros(*size, 3), torch.ones(*size, 3))
    assert (found.outside.largest, found.inside) == (255, None)
    assert math.isfinite(found.outside.ssim)


def test_alpha_counts(before):
    opaque = torch.cat([before, torch.ones(HEIGHT, WIDTH, 1)], dim=-1)
    assert compare(before, opaque).outside.largest == 0
    faded = opaque.clone()
    faded[3, 4, 3] = 0
    assert compare(before, faded).outside.largest == 255
    assert difference(before, faded, 1)[3, 4].eq(1).all()


def test_difference_picture(before):
    shown = difference(before, lighter(before, 5), 10)
    assert shown.shape == (HEIGHT, WIDTH, 3) and shown.dtype == torch.float32
    torch.testing.assert_close(shown, torch.full_like(shown, 50 / 255))
    assert difference(before, before).max() == 0
    with pytest.raises(WeGenError, match="0 times"):
        difference(before, before, 0)


def test_two_sizes_are_refused(before):
    with pytest.raises(WeGenError, match="40x30 and 40x29"):
        compare(before, before[1:])


def test_drift_looks_where_no_turn_changed_anything(before, change):
    moved = torch.roll(change, 10, 1)
    second = torch.where(change[..., None] > 0, 1 - before, before)
    third = torch.where(moved[..., None] > 0, second.flip(0), second)
    found = drift(chat_of((before, None), (second, change), (third, moved)))
    assert [area.largest for area in found.turns] == [0, 0]
    assert found.untouched == pytest.approx(1 - 300 / (HEIGHT * WIDTH)) and found.unmasked == ()
    assert "Turn 3: identical to the bit." in str(found)


def test_drift_shows_what_turns_without_a_mask_lose(before, change):
    found = drift(chat_of((before, None), (before, change), (lighter(before, 6), None)))
    assert [area.largest for area in found.turns] == [0, 6]
    assert found.unmasked == (3,)
    assert "Turn 3, painted as a whole without a mask: PSNR" in str(found)


def test_drift_without_anything_to_compare(before):
    found = drift(chat_of((before, None), (before, torch.ones(HEIGHT, WIDTH))))
    assert found.turns == (None,) and "no pixels to compare" in str(found)
    with pytest.raises(WeGenError, match="1 turns; drift needs 2"):
        drift(chat_of((before, None)))


def ink(picture, colour):
    return (np.asarray(picture) == colour).all(axis=-1).sum()


def test_bars_are_as_long_as_shares(before, change):
    blue, red = (0x33, 0x65, 0x8A), (0xD1, 0x49, 0x5B)
    half = torch.where(torch.arange(WIDTH)[None, :, None] < WIDTH // 2, lighter(before, 40), before)
    whole = bar_plot(compare(before, lighter(before, 40)))
    part = bar_plot(compare(before, half))
    assert whole.size == part.size == (960, 540)
    assert ink(whole, red) == 0
    assert ink(part, blue) == pytest.approx(ink(whole, blue), rel=0.05)  # two half bars, one whole
    assert ink(bar_plot(compare(before, lighter(before, 40), change)), red) > 1000


def test_curves_have_a_dot_for_each_turn_and_gaps(before):
    areas = [compare(before, lighter(before, level)).outside for level in (0, 1, 30)]
    plot = curve_plot(areas, 2, "title", "turn")
    assert plot.size == (960, 540)
    assert (np.asarray(curve_plot([areas[0], None, areas[2]], 2, "title", "turn")) != np.asarray(plot)).any()
    assert curve_plot([None], 2, "title", "turn").size == curve_plot(areas * 40, 1, "title", "turn").size


def test_a_plot_of_nothing_says_so_in_words(before):
    same = compare(before, before).outside
    ours, other = (
        np.asarray(curve_plot(areas, 2, "title", "turn"))[150:230, 120:910].astype(int)
        for areas in ([None, None], [same, None])
    )
    dark = [(picture.sum(axis=-1) < 3 * 90).sum() for picture in (ours, other)]
    assert dark[0] > 300 and dark[1] == 0


def test_losses_fall_from_left_to_right():
    plot = np.asarray(
        loss_plot("falling", range(50, 1050, 50), {"text": [2.0 * 0.8**n for n in range(20)]}).convert("RGB")
    )
    blue = np.argwhere((np.abs(plot.astype(int) - (51, 101, 138)) < 40).all(axis=-1) & (np.arange(540)[:, None] > 95))
    left, right = blue[blue[:, 1] < 200][:, 0].mean(), blue[blue[:, 1] > 800][:, 0].mean()
    assert left < right
