"""The diversity meter: distances, the Vendi score against its own package and by hand, and the picture of both."""

import math

import pytest
import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.metrics.diversity import (
    CELL,
    GAP,
    MOST_PICTURES,
    compare,
    compare_features,
    compare_pixels,
    draw_matrix,
    same_size,
    summary,
    vendi_score,
)


def similarities(count, seed=0):
    vectors = torch.nn.functional.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=1)
    return vectors @ vectors.T


def test_vendi_counts_what_is_different():
    assert vendi_score(torch.eye(5)) == pytest.approx(5)
    assert vendi_score(torch.ones(5, 5)) == pytest.approx(1)
    pairs = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2))
    assert vendi_score(pairs) == pytest.approx(2)
    # Eigenvalues 2/3 and 1/3.
    assert vendi_score(torch.block_diag(torch.ones(2, 2), torch.ones(1, 1))) == pytest.approx(
        math.exp(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))
    )


def test_vendi_is_that_of_its_authors():
    vendi = pytest.importorskip("vendi_score.vendi")
    for count in (2, 9, 16):
        matrix = similarities(count, count)
        assert vendi_score(matrix) == pytest.approx(float(vendi.score_K(matrix.double().numpy())), rel=1e-5)


def test_distances_are_those_of_directions():
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    found = compare("test", vectors)
    expected = torch.tensor([[0.0, 0, 1, 2], [0, 0, 1, 2], [1, 1, 0, 1], [2, 2, 1, 0]])
    torch.testing.assert_close(found.distances, expected)
    assert found.mean == pytest.approx(expected.sum().item() / 12) and found.smallest == 0
    alone = compare("test", vectors[:1])
    assert (alone.mean, alone.smallest, round(alone.vendi, 6)) == (0.0, 0.0, 1.0)


def test_pictures_that_differ_score_higher():
    one = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(1))
    others = torch.rand(4, 8, 8, 3, generator=torch.Generator().manual_seed(2))
    same, different = compare_pixels(one.expand(4, -1, -1, -1)), compare_pixels(others)
    assert same.vendi == pytest.approx(1) and same.distances.abs().max() < 1e-6
    assert different.vendi > 3.5 and different.smallest > 0.5
    grey = compare_pixels(torch.full((3, 4, 4, 3), 0.5))  # no direction at all
    assert torch.isfinite(grey.distances).all() and grey.distances.diagonal().abs().max() == 0
    assert compare_features(torch.randn(3, 64, 8)).name == "vision features"


class OnAppleCard(torch.Tensor):
    """Numbers on a device that knows no 64 bits, as PyTorch's "mps"."""

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_features_are_compared_on_cards_without_64_bits():
    features = torch.randn(3, 64, 8)
    found = compare_features(features.as_subclass(OnAppleCard))
    assert torch.equal(found.distances, compare_features(features).distances)


def test_lists_of_pictures_come_to_one_size():
    pictures = same_size([torch.rand(6, 8, 3), torch.rand(12, 5, 4), torch.rand(3, 3, 1)])
    assert pictures.shape == (3, 6, 8, 3) and 0 <= pictures.min() <= pictures.max() <= 1


@pytest.mark.parametrize("count", [0, MOST_PICTURES + 1])
def test_batches_that_cannot_be_shown_are_refused(count):
    with pytest.raises(WeGenError, match=f"{count} were given"):
        compare_pixels(torch.rand(count, 2, 2, 3))


def test_the_matrix_shows_pictures_and_distances():
    pictures = torch.stack([torch.full((8, 8, 3), 0.0), torch.full((8, 8, 3), 1.0), torch.rand(8, 8, 3)])
    measures = [compare_pixels(pictures), compare_pixels(pictures)]
    single, double = draw_matrix(pictures, measures[:1]), draw_matrix(pictures, measures)
    side = 4 * (CELL + GAP)
    assert single.shape[0] > side and single.shape[1] > side and double.shape[1] > 1.9 * single.shape[1]
    assert single.shape[0] == double.shape[0] and 0 <= single.min() <= single.max() <= 1
    # Black and white are as far apart as can be: that square is the reddest, the diagonal is pale.
    left, top = 12 + CELL + GAP, 52 + CELL + GAP
    far, alike = single[top + 5, left + CELL + GAP + 5], single[top + 5, left + 5]
    assert far[0] - far[2] > 0.4 and abs(alike[0] - alike[2]) < 0.1
    text = summary(measures)
    assert text.startswith("3 pictures\npixels: Vendi score ") and text.count("\n") == 2
