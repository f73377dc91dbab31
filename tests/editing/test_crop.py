"""Working at a checkpoint's own pixels: which part of a picture is painted, and how it comes back."""

import time

import pytest
import torch
from comfyui_wegen.models.editing.crop import LONGEST, plan_crop, put_back, take, take_mask
from comfyui_wegen.models.errors import WeGenError
from timing import measured

MEGAPIXEL = 1024 * 1024


def picture(height, width, seed=0):
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0].permute(1, 2, 0)
    return (smooth.clamp(0, 1) * 255).round() / 255


def mask(height, width, rows, columns):
    change = torch.zeros(height, width)
    change[slice(*rows), slice(*columns)] = 1
    return change


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 4000), (4000, 3), (90, 150), (128, 128), (500, 700), (301, 299), (2000, 3000)]
)
@pytest.mark.parametrize("multiple", [1, 8, 32])
def test_any_picture_is_painted_near_the_budget(height, width, multiple):
    crop = plan_crop(None, height, width, 128 * 128, multiple)
    assert (crop.height, crop.width) == (height, width)
    assert all(side % multiple == 0 for side in crop.padded)
    rows, columns = crop.padded
    assert 0.6 <= rows * columns / 128**2 <= 1.9
    assert max(rows / columns, columns / rows) <= LONGEST * 1.5
    back = put_back(torch.zeros(height, width, 3), take(picture(height, width), crop), crop, None)
    assert back.shape == (height, width, 3)


@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (1000, 1030), (1100, 950)])
def test_pictures_of_about_the_budget_are_not_resampled(height, width):
    before = picture(height, width)
    crop = plan_crop(mask(height, width, (5, 90), (20, 300)), height, width, MEGAPIXEL, 8)
    assert not crop.resized and (crop.height, crop.width) == (height, width)
    assert torch.equal(put_back(before * 0, take(before, crop), crop, None), before)


@pytest.mark.parametrize("rows", [(0, 30), (100, 900), (1480, 1500), (700, 701)])
@pytest.mark.parametrize("columns", [(0, 1), (40, 700), (1990, 2000), (0, 2000)])
def test_a_crop_holds_the_area_with_context_and_the_budget(rows, columns):
    change = mask(1500, 2000, rows, columns)
    crop = plan_crop(change, 1500, 2000, 400 * 400, 8)
    inside = torch.zeros_like(change)
    inside[crop.box] = 1
    assert (inside >= change).all()
    assert crop.height * crop.width >= min(400 * 400, 1500 * 2000) * 0.99
    assert crop.top >= 0 and crop.left >= 0 and crop.top + crop.height <= 1500 and crop.left + crop.width <= 2000
    reach = max(rows[1] - rows[0], columns[1] - columns[0]) // 4
    for start, stop, begin, length, side in (
        (*rows, crop.top, crop.height, 1500),
        (*columns, crop.left, crop.width, 2000),
    ):
        around = (start - begin) + (begin + length - stop)
        assert around >= min(2 * reach, side - (stop - start))
    assert 0.6 <= crop.padded[0] * crop.padded[1] / 400**2 <= 1.4


def test_kept_pixels_stay_to_the_bit_at_full_size_and_new_ones_come_back():
    before, new = picture(900, 1200), picture(900, 1200, seed=1)
    change = mask(900, 1200, (300, 500), (500, 800))
    crop = plan_crop(change, 900, 1200, 256 * 256, 8)
    assert crop.resized
    after = put_back(before, take(new, crop), crop, change, feather=6, tone=False)
    assert after.shape == before.shape and after.dtype == torch.float32
    assert torch.equal(after[change == 0], before[change == 0])
    middle = mask(900, 1200, (310, 490), (510, 790)) > 0
    assert (after - new)[middle].abs().mean() < 0.01
    assert torch.equal(before, picture(900, 1200))  # what came in is left alone
    toned = put_back(before, (take(new, crop) * 0.9), crop, change, tone=True)
    assert torch.equal(toned[change == 0], before[change == 0])


def test_a_small_picture_comes_back_at_its_own_size():
    before, change = picture(60, 40), mask(60, 40, (10, 30), (5, 20))
    crop = plan_crop(change, 60, 40, 256 * 256, 8)
    assert (crop.height, crop.width) == (60, 40) and crop.padded[0] * crop.padded[1] > 50_000
    after = put_back(before, 1 - take(before, crop), crop, change)
    assert after.shape == (60, 40, 3) and torch.equal(after[change == 0], before[change == 0])
    assert (after - (1 - before))[change > 0].abs().max() < 0.06


def test_thin_areas_do_not_vanish_from_the_mask_that_is_painted():
    change = torch.zeros(1000, 1000)
    change[500, 100:900] = 0.5
    crop = plan_crop(change, 1000, 1000, 128 * 128, 8)
    assert crop.resized and take_mask(change, crop).max() == 0.5
    small = plan_crop(change[490:510, 490:510], 20, 20, 128 * 128, 8)
    assert take_mask(change[490:510, 490:510], small).shape == small.padded


def test_opacity_goes_along():
    before = torch.cat([picture(300, 300), torch.rand(300, 300, 1)], dim=-1)
    change = mask(300, 300, (100, 150), (100, 150))
    crop = plan_crop(change, 300, 300, 128 * 128, 8)
    after = put_back(before, take(before, crop)[..., :3], crop, change)
    assert after.shape == (300, 300, 4) and torch.equal(after[change == 0], before[change == 0])


def test_a_grey_picture_has_colours_where_its_tone_is_matched():
    before, change = torch.rand(40, 40, 1), mask(40, 40, (10, 20), (10, 20))
    crop = plan_crop(change, 40, 40, 40 * 40, 8)
    after = put_back(before, take(before, crop) / 2, crop, change, tone=True)
    assert after.shape == (40, 40, 3) and torch.equal(after[change == 0], before.expand(-1, -1, 3)[change == 0])


def test_what_does_not_fit_is_refused():
    before, change = picture(300, 300), mask(300, 300, (100, 150), (100, 150))
    with pytest.raises(WeGenError, match="The mask has 300x300 pixels, the picture 40x30"):
        plan_crop(change, 30, 40, 128 * 128, 8)
    with pytest.raises(WeGenError, match="cannot be painted"):
        plan_crop(change, 300, 300, 0, 8)
    crop = plan_crop(change, 300, 300, 128 * 128, 8)
    with pytest.raises(WeGenError, match="without a mask"):
        put_back(before, take(before, crop), crop, None)


def test_a_photograph_of_twelve_megapixels_costs_little():
    """The work over the whole of it is a copy and the search for the mask's box."""
    before = torch.rand(3000, 4000, 3)
    change = mask(3000, 4000, (1000, 1770), (1500, 2280))  # 5 %
    after = []

    def seconds() -> float:
        began = time.process_time()
        crop = plan_crop(change, 3000, 4000, MEGAPIXEL, 8)
        after[:] = [put_back(before, take(before, crop), crop, change, feather=8, tone=True)]
        return time.process_time() - began

    times = measured(seconds, 2)
    print("12 megapixels:", ", ".join(f"{time:.2f} s" for time in times), "for the crop and the way back")
    assert torch.equal(after[0][change == 0], before[change == 0])
    assert times[-1] < 2
