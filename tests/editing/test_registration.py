"""Shift and zoom of a picture against what was kept of it, and the way back."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models import storybook
from comfyui_wegen.models.editing.registration import LEAST_KEPT, Motion, estimate, undo
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation.motion import moved_picture, natural_picture, worn

SIZE = 96


def page(number):
    scene = storybook.sample_scene(Random(f"registration/{number}"), 3)
    return torch.from_numpy(storybook.render(scene)).double() / 255


def change_of(picture, number=0):
    """A mask over a part of the picture, and the picture with something else in it."""
    height, width = picture.shape[:2]
    change = torch.zeros(height, width)
    change[height // 4 : height // 2, width // 3 : width // 3 * 2] = 1
    other = natural_picture(Random(f"other/{number}"), height, width)
    return change, torch.where(change[..., None] > 0, other, picture)


def assert_close(motion, dx, dy, zoom):
    assert motion.found, motion.reason
    assert abs(motion.dx - dx) <= 0.25 and abs(motion.dy - dy) <= 0.25, motion
    assert abs(motion.zoom - zoom) <= 0.002, motion


@pytest.mark.parametrize("dx, dy, zoom", [(12, -11.3, 1.05), (-12, 12, 0.95), (3.02, -1.5, 1.0), (0, 0, 1.02)])
@pytest.mark.parametrize("kind", ["page", "natural"])
def test_known_motions_are_found_in_worn_pictures(kind, dx, dy, zoom):
    picture = page(1) if kind == "page" else natural_picture(Random("known"), SIZE, SIZE + 30)
    change, changed = change_of(picture)
    after = worn(moved_picture(changed, Motion(dx, dy, zoom)), Random("worn"))
    assert_close(estimate(picture, after, change), dx, dy, zoom)


@pytest.mark.slow
def test_unmoved_pictures_have_no_motion_however_worn():
    for number in range(4):
        picture = page(number)
        change, changed = change_of(picture, number)
        motion = estimate(picture, worn(changed, Random(f"still/{number}")), change)
        assert (motion.found, motion.moved) == (True, False), motion
        assert undo(changed, motion) is changed


def test_what_is_the_same_in_the_kept_area_is_not_moved():
    picture = page(2).float()
    change, changed = change_of(picture.double())
    motion = estimate(picture, changed.float(), change)
    assert (motion.found, motion.moved, motion.confidence) == (True, False, 1.0)


@pytest.mark.slow
def test_undoing_brings_kept_pixels_back():
    picture = natural_picture(Random("back"), SIZE, SIZE)
    change, changed = change_of(picture)
    moved = moved_picture(changed, Motion(5.4, -3.3, 1.03)).float()
    back = undo(moved, estimate(picture, moved, change))
    assert back.dtype == torch.float32 and back.min() >= 0 and back.max() <= 1
    inner = slice(12, -12)
    kept = (change[inner, inner] == 0).numpy()
    off = (back - picture).abs()[inner, inner].mean(dim=-1).numpy()[kept]
    assert np.median(off) < 2 / 255
    as_it_was = (moved - picture).abs()[inner, inner].mean(dim=-1).numpy()[kept]
    assert off.mean() < 0.2 * as_it_was.mean()


@pytest.mark.slow
@pytest.mark.parametrize("bad", [float("inf"), 1e30, -float("inf")])
def test_one_endless_pixel_does_not_matter(bad):
    before = page(2)
    change, after = change_of(before)
    after = moved_picture(after, Motion(3, -2, 1.0))
    before[5, 6, 1] = bad
    motion = estimate(before, after, change)
    assert_close(motion, 3, -2, 1.0)


def test_transparent_colours_do_not_count():
    picture = natural_picture(Random("alpha"), SIZE, SIZE)
    alpha = torch.ones(SIZE, SIZE, 1)
    alpha[: SIZE // 2] = 0
    hidden = natural_picture(Random("hidden"), SIZE, SIZE)
    moved = moved_picture(torch.cat([picture, alpha], dim=-1), Motion(4, 2, 1.0))
    stained = torch.where(alpha > 0, picture, hidden)
    assert_close(estimate(torch.cat([stained, alpha], dim=-1), moved), 4, 2, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, words",
    [
        ("little", f"some {LEAST_KEPT} are needed"),
        ("flat", "too flat"),
        ("other", "confidence"),
        ("stripes", "several places"),
    ],
)
def test_what_cannot_be_told_is_left_alone_and_said(case, words):
    before = natural_picture(Random("before"), SIZE, SIZE)
    after, change = moved_picture(before, Motion(3, 0, 1.0)), torch.zeros(SIZE, SIZE)
    if case == "little":
        change[19:] = 1
        change[:, 20:] = 1
    elif case == "flat":
        before, after = (
            torch.full((SIZE, SIZE, 3), 0.4),
            worn(torch.full((SIZE, SIZE, 3), 0.4).double(), Random("flat")),
        )
    elif case == "other":
        after = natural_picture(Random("after"), SIZE, SIZE)
    else:
        before = torch.linspace(0, 20, SIZE).sin().mul(0.3).add(0.5)[:, None, None].expand(SIZE, SIZE, 3)
        after = torch.roll(before, 2, 0)
    motion = estimate(before, after, change)
    assert not motion.found and not motion.moved
    assert words in motion.reason
    assert undo(after, motion) is after


def test_a_thin_line_of_a_large_picture_is_too_little():
    change = torch.ones(40, 2500)
    change[1] = 0
    motion = estimate(torch.rand(40, 2500, 3), torch.rand(40, 2500, 3), change)
    assert "only 2500 pixels are kept, some 3600 are needed" in motion.reason


def test_pictures_of_two_sizes_are_refused():
    with pytest.raises(WeGenError, match="20x10 and 20x11"):
        estimate(torch.zeros(10, 20, 3), torch.zeros(11, 20, 3))


def test_motion_is_a_value():
    motion = Motion(1.0, 2.0, 1.01, 0.9, True, "Moved.")
    assert motion == Motion(1.0, 2.0, 1.01, 0.9, True, "Moved.") and motion.moved and not Motion().moved
    for name, value in vars(Motion()).items():
        assert motion != replace(motion, **{name: value}), name
