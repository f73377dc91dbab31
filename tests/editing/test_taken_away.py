"""The mask of what a model painted a picture without."""

import torch
from comfyui_wegen.models.editing.taken_away import taken_away


def pictures(things, side=128):
    """A picture with things, how a model would paint it, and without them: `things` are boxes with a colour."""
    generator = torch.Generator().manual_seed(0)
    ground = torch.full((side, side, 3), 0.5) + 0.02 * torch.rand(side, side, 3, generator=generator)
    picture, painted = ground.clone(), ground.clone()
    for (top, left, bottom, right), colour in things:
        picture[top:bottom, left:right] = torch.tensor(colour)
        painted[top + 1 : bottom + 1, left:right] = torch.tensor(colour)  # models are not exact
    worn = 0.02 * torch.rand(side, side, 3, generator=generator)
    return picture, painted + worn, ground + worn


def mask_of(things, side=128):
    mask = torch.zeros(side, side)
    for (top, left, bottom, right), _ in things:
        mask[top:bottom, left:right] = 1
    return mask


def test_edges_are_those_of_the_picture():
    things = [((20, 30, 60, 70), (0.9, 0.2, 0.2))]
    assert torch.equal(taken_away(*pictures(things)), mask_of(things))


def test_a_small_thing_beside_a_large_one_counts_and_a_speck_does_not():
    large, small, speck = (
        ((10, 10, 60, 60), (0.0, 0.0, 0.9)),
        ((90, 90, 110, 110), (0.9, 0.9, 0.0)),
        ((120, 5, 124, 9), (1.0, 1.0, 1.0)),
    )
    assert torch.equal(taken_away(*pictures([large, small, speck])), mask_of([large, small]))


def test_what_looks_like_the_ground_inside_of_a_thing_belongs_to_it():
    things = [((20, 20, 70, 70), (0.1, 0.6, 0.1))]
    picture, painted, without = pictures(things)
    for one in (picture, painted):
        one[40:50, 40:50] = without[40:50, 40:50]
    assert torch.equal(taken_away(picture, painted, without), mask_of(things))


def test_nothing_is_found_where_nothing_was_taken_away():
    picture, painted, without = pictures([])
    assert not taken_away(picture, painted, without).any()
    assert not taken_away(picture, picture, picture).any()
    # What the model paints otherwise than it is, in both paintings, is no thing.
    picture[30:60, 30:60] = 0
    assert not taken_away(picture, painted, without).any()


def test_large_pictures_give_the_same_mask():
    things = [((20, 30, 60, 70), (0.9, 0.2, 0.2))]
    four = [one.repeat_interleave(4, 0).repeat_interleave(4, 1) for one in pictures(things)]
    assert torch.equal(taken_away(*four), mask_of(things).repeat_interleave(4, 0).repeat_interleave(4, 1))
