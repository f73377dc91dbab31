"""What there are painters of: kinds of things, grounds, skies and drawing styles."""

import numpy as np
import pytest
from comfyui_wegen.models.drawn_world.backgrounds import background
from comfyui_wegen.models.drawn_world.catalogue import GROUNDS, SIZES, SKIES, STYLES, box_of
from comfyui_wegen.models.drawn_world.kinds import FACING, KINDS
from comfyui_wegen.models.drawn_world.palette import COLOURS
from comfyui_wegen.models.drawn_world.sprites import sprite


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_kinds_can_be_drawn(kind):
    assert len(kind.colours) >= 3
    assert set(kind.colours) <= set(COLOURS)
    assert max(kind.width, kind.height) == pytest.approx(1, abs=0.11)


@pytest.mark.parametrize("style", STYLES)
def test_looks_of_a_kind_differ(style):
    for name, kind in KINDS.items():
        looks = [(colour, kind.poses[0]) for colour in kind.colours]
        looks += [(kind.colours[0], pose) for pose in kind.poses[1:]]
        drawn = [sprite(name, colour, "medium", pose, style)[0] for colour, pose in looks]
        for number, one in enumerate(drawn):
            for other in drawn[:number]:
                changed = (np.abs(one.astype(int) - other) > 24).any(axis=-1).sum()
                assert changed >= 12, (name, looks[number])


def test_kinds_that_face_a_side_are_mirrored():
    for name, kind in KINDS.items():
        if set(FACING) <= set(kind.poses):
            left, right = (sprite(name, kind.colours[0], "big", pose, "sticker")[1] for pose in FACING)
            assert (left == right[:, ::-1]).mean() > 0.97


def test_sprites_stay_inside_their_boxes():
    for name, kind in KINDS.items():
        for size in SIZES:
            pixels, opacity = sprite(name, kind.colours[0], size, kind.poses[0], "sticker")
            assert pixels.shape == (*box_of(name, size)[::-1], 3)
            assert opacity.max() == 255
            assert (pixels <= opacity[..., None]).all()


@pytest.mark.parametrize("style", STYLES)
def test_backgrounds_differ(style):
    pages = [background(ground, sky, style).astype(int) for ground in GROUNDS for sky in SKIES]
    for number, page in enumerate(pages):
        assert min((np.abs(page - other).mean() for other in pages[:number]), default=99) > 1.5
