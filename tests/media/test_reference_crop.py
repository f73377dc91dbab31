"""What is shown of a reference with a mask: a crop with its surroundings, or the thing alone on its page."""

from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models import storybook
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.reference_crop import alone_on_page, crop_to_mask, outline
from photographs import photograph


def box_of(area, grow):
    """A mask like a user's rectangle around `area`."""
    rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
    box = torch.zeros(area.shape)
    box[max(0, rows[0] - grow) : rows[-1] + 1 + grow, max(0, columns[0] - grow) : columns[-1] + 1 + grow] = 1
    return box


@pytest.mark.parametrize("box", [(0, 40, 0, 40), (100, 300, 200, 260), (420, 427, 600, 640), (0, 427, 0, 640)])
def test_crops_hold_the_mask_and_a_margin(box):
    picture, mask = photograph("china"), torch.zeros(427, 640)
    mask[box[0] : box[1], box[2] : box[3]] = 1
    marked = torch.cat([picture, mask[..., None]], dim=-1)
    crop = crop_to_mask(marked, mask, margin=0.2)
    assert crop[..., 3].sum() == mask.sum()
    longest = max(box[1] - box[0], box[3] - box[2])
    side = longest + 2 * round(0.2 * longest)
    assert crop.shape[:2] == (min(side, 427), min(side, 640))


def test_rough_masks_are_tightened_to_the_thing():
    missed, added = [], []
    for number in range(30):
        scene = storybook.sample_scene(Random(f"outline/{number}"))
        picture = torch.from_numpy(storybook.render(scene)).float() / 255
        true = storybook.mask_of(scene.things[0]).astype(bool)
        for grow in (0, 5, 16):
            found = outline(picture, box_of(true, grow)).numpy()
            missed.append((true & ~found).sum() / true.sum())
            added.append((found & ~true).sum() / true.sum())
    print(f"missed {np.mean(missed):.1%}, largest {max(missed):.0%}; added {np.mean(added):.1%}")
    assert np.mean(missed) < 0.08 and np.mean(added) < 0.4


def test_exact_masks_stay_as_they_are():
    scene = storybook.sample_scene(Random("exact"))
    picture = torch.from_numpy(storybook.render(scene)).float() / 255
    true = torch.from_numpy(storybook.mask_of(scene.things[0]).astype(bool))
    found = outline(picture, true.float())
    assert not (found & ~true).any() and found.sum() > 0.85 * true.sum()
    alone = alone_on_page(picture, true.float())
    assert torch.equal(alone[found], picture[found])
    rows = alone.masked_fill(found[..., None], torch.nan)
    assert all(len(row[~row.isnan().any(dim=-1)].unique(dim=0)) <= 1 for row in rows)


def test_a_thing_that_looks_like_its_surroundings_is_taken_whole():
    mask = torch.zeros(50, 60)
    mask[10:30, 20:40] = 1
    assert torch.equal(outline(torch.full((50, 60, 3), 0.3), mask), mask > 0)
    assert outline(torch.rand(50, 60, 3), torch.ones(50, 60)).all()
    thin = torch.zeros(3000, 40)
    thin[7, 3] = 1
    assert torch.equal(outline(torch.rand(3000, 40, 3), thin), thin > 0)


def test_masks_that_show_nothing_or_do_not_fit_are_refused():
    for use in (crop_to_mask, alone_on_page, outline):
        with pytest.raises(WeGenError, match="shows nothing"):
            use(torch.rand(5, 6, 3), torch.zeros(5, 6))
        with pytest.raises(WeGenError, match="5x5 pixels, the picture 6x5"):
            use(torch.rand(5, 6, 3), torch.ones(5, 5))
