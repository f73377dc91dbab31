"""The predicted edit mask on features of any kind: with a large shared mean, noisy, calibrated or not."""

import time

import pytest
import torch
from comfyui_wegen.models.editing.feature_statistics import distances, picture_threshold, spread_of
from comfyui_wegen.models.editing.predicted_mask import NOT_CALIBRATED, grow, pixels_of_cells, predict_edit_mask, soften
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.configuration import FeatureStatistics
from comfyui_wegen.models.values import AutoMask
from timing import measured
from torch.nn import functional as F

AUTOMATIC = AutoMask(threshold=None, grow=0, soften=0)
CASES = 25


def simulated(ratio, noise, seed, changed=16, width=128):
    """Features before and after that share a mean of length 10 and spread by `ratio` of it; some cells are others.

    `noise` is how far unchanged cells move, in parts of the spread. Gives the changed cells too.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(count):
        return torch.randn(count, width, generator=generator) / width**0.5

    mean = 10 * F.normalize(draw(1), dim=-1)
    before = draw(64)
    after = before + noise * draw(64)
    cells = torch.randperm(64, generator=generator)[:changed]
    after[cells] = draw(changed)
    where = torch.zeros(64, dtype=torch.bool)
    where[cells] = True
    return mean + ratio * 10 * before, mean + ratio * 10 * after, where


def counts(ratio, noise, statistics, changed=16):
    """How many of the cases' masks are empty, full, and exactly right."""
    empty = full = right = 0
    for seed in range(CASES):
        before, after, where = simulated(ratio, noise, seed, changed)
        found = predict_edit_mask(before, after, 8, 8, AUTOMATIC, statistics).mask.flatten() > 0
        empty, full = empty + (not found.any()), full + bool(found.all())
        right += torch.equal(found, where)
    return empty, full, right


@pytest.mark.parametrize("ratio", [0.1, 0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("calibrated", [True, False], ids=["calibrated", "uncalibrated"])
def test_where_a_quarter_changed_the_mask_is_never_empty_or_full(ratio, noise, calibrated):
    level = noise**2 / 2
    statistics = FeatureStatistics(spread=ratio * 10, noise=level, threshold=(level + 1) / 2) if calibrated else None
    empty, full, right = counts(ratio, noise, statistics)
    print(f"spread/mean {ratio}, noise {noise}, {CASES} masks: {empty} empty, {full} full, {right} right to the cell")
    assert (empty, full) == (0, 0)
    assert right == CASES


@pytest.mark.parametrize("ratio", [0.1, 2.0])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_what_is_the_same_or_all_new_is_found_too(ratio, noise):
    assert counts(ratio, noise, None, changed=0)[0] == CASES
    assert counts(ratio, noise, None, changed=64)[1] == CASES


STATISTICS = FeatureStatistics(spread=1.0, noise=0.01, threshold=0.2)


def moved(everywhere, **cells):
    """Features before, and after with each cell at this distance; `far`, `near` and `alone` are lists of cells at .9,
    .15 and .15."""
    before = torch.zeros(64, 4)
    before[:, 0] = 1
    away = torch.full((64,), float(everywhere))
    for name, distance in (("far", 0.9), ("near", 0.15), ("alone", 0.15)):
        away[cells.get(name, [])] = distance
    after = before.clone()
    after[:, 1] = (2 * away).sqrt()
    torch.testing.assert_close(distances(before, after, STATISTICS), away)
    return before, after


def marked(before, after, how=AUTOMATIC):
    found = predict_edit_mask(before, after, 8, 8, how, STATISTICS).mask.flatten() > 0
    return found.nonzero().flatten().tolist()


def test_beside_what_changed_less_is_enough():
    """Cells in which a thing hides most of the new ground differ less than those that show nothing else."""
    change = {"far": [8, 9], "near": [10, 19], "alone": [60]}
    assert marked(*moved(0.03, **change)) == [8, 9, 10, 19]
    assert marked(*moved(0.03, **change), AutoMask(threshold=0.4, grow=0, soften=0)) == [8, 9]


def test_small_changes_count_where_the_rest_is_as_it_was():
    """As of a colour, with a model that repeats what stays nearly to the number."""
    assert marked(*moved(0.001, alone=[60])) == [60]
    assert marked(*moved(0.018, alone=[60])) == []


def test_a_change_of_the_style_is_one_of_everything():
    """No cell stands out, but all are others."""
    assert marked(*moved(0.06)) == list(range(64))
    assert marked(*moved(0.03)) == []
    assert marked(*moved(0.06), AutoMask(threshold=0.4, grow=0, soften=0)) == []


def test_a_threshold_found_from_the_picture_is_said():
    before, after, _ = simulated(0.2, 0.1, 0)
    found = predict_edit_mask(before, after, 8, 8, AUTOMATIC)
    assert found.note == NOT_CALIBRATED and 0 < found.threshold < 1
    statistics = FeatureStatistics(spread=2.0, noise=0.005, threshold=0.3)
    calibrated = predict_edit_mask(before, after, 8, 8, AUTOMATIC, statistics)
    assert calibrated.note == "" and calibrated.threshold == pytest.approx(0.075)
    given = predict_edit_mask(before, after, 8, 8, AutoMask(0.25), statistics)
    assert given.note == "" and given.threshold == 0.25


def test_a_given_threshold_is_a_cosine_distance_as_it_always_was():
    before, after, _ = simulated(2.0, 0.1, 0)
    wanted = (1 - F.cosine_similarity(before, after) > 0.1).reshape(8, 8).float()
    statistics = FeatureStatistics(spread=20.0, noise=0.005, threshold=0.3)
    for given in (None, statistics):
        assert torch.equal(predict_edit_mask(before, after, 8, 8, AutoMask(0.1, 0, 0), given).mask, wanted)


def test_unrelated_features_are_at_a_distance_of_one():
    before, after, _ = simulated(0.5, 0.0, 3, changed=64)
    assert distances(before, after).mean() == pytest.approx(1, abs=0.1)
    statistics = FeatureStatistics(spread_of(torch.stack([before, after])), 0.0, 0.5)
    assert distances(before, after, statistics).mean() == pytest.approx(1, abs=0.1)
    assert distances(before, before).eq(0).all() and distances(before * 0, before * 0).eq(0).all()
    assert 0 < picture_threshold(torch.zeros(1)) < 1


def test_statistics_that_make_no_sense_are_refused():
    assert not FeatureStatistics().measured
    with pytest.raises(WeGenError, match="noise is -1"):
        FeatureStatistics(noise=-1.0)
    with pytest.raises(WeGenError, match="no threshold"):
        FeatureStatistics(spread=1.0)


# --- growing and softening --------------------------------------------------------------------------------------------


def slow_grow(mask, pixels):
    return F.max_pool2d(mask[None, None], 2 * pixels + 1, 1, pixels)[0, 0]


@pytest.mark.parametrize("pixels", [1, 3, 8])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_growing_and_softening_by_their_definition(pixels, share):
    mask = (torch.rand(37, 53, generator=torch.Generator().manual_seed(1)) < share).float()
    assert torch.equal(grow(mask, pixels), slow_grow(mask, pixels))
    edge = mask
    for step in range(1, pixels + 1):
        edge = torch.maximum(edge, slow_grow(mask, step) * (1 - step / (pixels + 1)))
    torch.testing.assert_close(soften(mask, pixels), edge, rtol=0, atol=1e-6)


def test_softening_a_megapixel_takes_no_time():
    mask = torch.zeros(1024, 1024)
    mask[128:384, 256:640] = 1

    def milliseconds() -> float:
        began = time.process_time()
        soften(grow(mask, 16), 16)
        return 1000 * (time.process_time() - began)

    times = measured(milliseconds, 100)
    print(f"growing and softening by 16 pixels at 1024x1024: {times} ms")
    assert times[-1] < 100


def test_parts_of_a_cell_are_pixels():
    assert pixels_of_cells(0.125, 128, 128) == 2 and pixels_of_cells(0.125, 1024, 2048) == 16
