"""Pictures on their way in and out, and the published noise levels."""

import gc

import numpy as np
import pytest
import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media import images
from comfyui_wegen.models.media.images import CLIP_MEAN, CLIP_STD, clip_pixels, flatten_alpha, from_pil, to_pil
from comfyui_wegen.models.network.configuration import ScheduleConfig
from comfyui_wegen.models.painting.schedule import (
    published_sigmas,
    published_timesteps,
    require_steps,
)
from PIL import Image


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "I", "F"])
def test_grey_levels_of_any_kind_of_picture(mode):
    levels = np.array([[0, 5, 255], [17, 128, 200]], dtype=np.uint8)
    wide = {"I;16": np.uint16(257), "I": np.int32(257), "F": np.float32(1)}
    picture = Image.fromarray(levels * wide[mode]) if mode in wide else Image.fromarray(levels).convert(mode)
    assert picture.mode == mode and np.array_equal(images.grey_levels(picture), levels)


def test_eight_bits_survive_the_way_there_and_back():
    pixels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    assert np.array_equal(np.asarray(to_pil(from_pil(Image.fromarray(pixels)))), pixels)


def test_transparent_parts_are_white():
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    assert [flatten_alpha(picture).getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]
    indexed = Image.new("P", (1, 1), 3)
    indexed.info["transparency"] = 3
    assert flatten_alpha(indexed).getpixel((0, 0)) == (255, 255, 255)
    assert flatten_alpha(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_become_eight():
    picture = Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16))
    assert np.asarray(flatten_alpha(picture))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensors_with_any_channels(channels):
    assert to_pil(torch.zeros(5, 7, channels)).size == (7, 5)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 2), (1, 5, 7, 3), (0, 7, 3)])
def test_tensors_that_are_no_picture(shape):
    with pytest.raises(WeGenError, match="height, width"):
        to_pil(torch.zeros(shape))


def test_values_outside_the_range_are_cut():
    assert to_pil(torch.tensor([[[-1.0, 0.5, 2.0]]])).getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("size", [(1, 1), (8000, 30), (17, 900)])
def test_any_picture_becomes_a_normalised_square(size):
    pixels = clip_pixels(Image.new("RGB", size, (255, 128, 0)), 32)
    expected = (torch.tensor([1.0, 128 / 255, 0.0]) - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    torch.testing.assert_close(pixels, expected[:, None, None].expand(3, 32, 32))


@pytest.mark.parametrize("seed", range(24))
def test_tensors_become_the_same_square_as_their_bytes(seed):
    """Strips made narrow one by one are what Pillow makes of the whole, to the bit, rows first."""
    random = np.random.default_rng(seed)
    height, width = (int(length) for length in np.exp(random.uniform(0, np.log(1500), 2)))
    size = int(random.choice([1, 14, 112, 224, width]))
    picture = torch.from_numpy(random.normal(0.5, 0.4, (height, width, random.choice([1, 3, 4]))).astype(np.float32))
    whole, found = to_pil(picture), clip_pixels(picture, size)
    assert torch.equal(found, clip_pixels(whole, size))
    at_once = whole.resize((size, size), Image.Resampling.BILINEAR)
    in_two = whole.resize((size, height), Image.Resampling.BILINEAR).resize((size, size), Image.Resampling.BILINEAR)
    if height <= 100 * width:
        assert torch.equal(found, clip_pixels(in_two, size))
    if height <= width:
        assert torch.equal(found, clip_pixels(at_once, size))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 8, 20, 30, 50, 77, 100, 333, 500, 501, 998, 999])
def test_the_schedule_is_that_of_diffusers(steps):
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    scheduler.set_timesteps(steps)
    sigmas = published_sigmas(ScheduleConfig(), steps)
    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=1e-6, atol=0)
    assert published_timesteps(ScheduleConfig(), steps).tolist() == scheduler.timesteps.tolist()


@pytest.mark.parametrize("steps", [0, -1, 1000])
def test_steps_that_the_schedule_cannot_do(steps):
    with pytest.raises(WeGenError, match="give 1 to 999"):
        published_timesteps(ScheduleConfig(), steps)


@pytest.fixture
def large_ones(monkeypatch):
    """All pictures are taken for large ones, of which it is remembered what was read."""
    monkeypatch.setattr(images, "_LARGE", 0)


def read_anew(picture):
    return images.clip_pixels(picture.clone(), 16)


def changed_copy(before, rows):
    after = before.clone()
    after[rows] = torch.rand(after[rows].shape)
    return after


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 7), slice(30, 31), slice(90, 100), slice(0, 100)], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_stayed_is_not_read_again(large_ones, monkeypatch, rows, channels):
    before = torch.rand(100, 60, channels)
    images.clip_pixels(before, 16)
    read = []
    monkeypatch.setattr(images, "_strips", lambda part, strips=images._strips: read.append(len(part)) or strips(part))
    after = images.changed_in(changed_copy(before, rows), before, rows)
    found = images.clip_pixels(after, 16)
    assert read == [rows.stop - rows.start]
    assert torch.equal(found, read_anew(after))
    assert torch.equal(images.clip_pixels(after, 16), found)


def test_changes_of_pictures_that_nobody_read_in_between_add_up(large_ones):
    first = torch.rand(100, 60, 3)
    images.clip_pixels(first, 16)
    second = images.changed_in(changed_copy(first, slice(10, 20)), first, slice(10, 20))
    third = images.changed_in(changed_copy(second, slice(70, 75)), second, slice(70, 75))
    same = images.changed_in(third.clone(), third, slice(0, 0))
    assert torch.equal(images.clip_pixels(same, 16), read_anew(third))
    assert torch.equal(images.clip_pixels(third, 16), read_anew(third))
    assert torch.equal(images.clip_pixels(second, 16), read_anew(second))


def test_what_was_changed_in_place_is_read_again(large_ones):
    before = torch.rand(100, 60, 3)
    images.clip_pixels(before, 16)
    before[:50] = 0
    assert torch.equal(images.clip_pixels(before, 16), read_anew(before))
    after = images.changed_in(changed_copy(before, slice(0, 5)), before, slice(0, 5))
    after[40:] = 1
    assert torch.equal(images.clip_pixels(after, 16), read_anew(after))
    assert torch.equal(images.clip_pixels(before, 24), images.clip_pixels(before.clone(), 24))


def test_nothing_is_remembered_of_pictures_that_are_gone(large_ones):
    before = len(images._rows)
    picture = torch.rand(10, 10, 3)
    images.clip_pixels(picture, 16)
    assert len(images._rows) == before + 1
    del picture
    gc.collect()
    assert len(images._rows) == before
    with torch.inference_mode():  # which keeps no count of changes
        inference = torch.rand(10, 10, 3)
    images.clip_pixels(inference, 16)
    assert len(images._rows) == before


@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (999, 1.0), (1, 0.002), (499, 0.5), (30, 0.6)])
def test_steps_that_the_schedule_has(steps, strength):
    require_steps(ScheduleConfig(), steps, strength)


@pytest.mark.parametrize(
    ("steps", "strength", "said"),
    [
        (0, 1.0, "0 sampler steps: give 1 to 999"),
        (1000, 1.0, "1000 sampler steps: give 1 to 999"),
        (1000, 0.5, "2000 sampler steps: give 1 to 999"),
        (100, 0.1, "100 steps at a strength of 0.1 are the end of 1000, and there are at most 999"),
    ],
)
def test_steps_that_the_schedule_does_not_have(steps, strength, said):
    with pytest.raises(WeGenError, match=said):
        require_steps(ScheduleConfig(), steps, strength)
