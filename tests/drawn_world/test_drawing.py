"""The drawn world's pictures and masks."""

import time
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import drawn_world as world
from comfyui_wegen.models.drawn_world.catalogue import box_of
from comfyui_wegen.models.drawn_world.kinds import FACING
from comfyui_wegen.models.drawn_world.sprites import sprite
from timing import measured


def scenes(count: int, seed: int = 0, **fixed) -> list[world.Scene]:
    rng = Random(seed)
    return [world.sample_scene(rng, **fixed) for _ in range(count)]


def test_catalogue_is_as_large_as_promised():
    assert len(world.KINDS) >= 48
    assert (len(world.GROUNDS), len(world.SKIES), len(world.STYLES), len(world.SIZES)) == (10, 6, 4, 3)
    for kind in world.KINDS.values():
        assert len(kind.colours) >= 3
        assert set(kind.colours) <= set(world.COLOURS)
        assert set(kind.grounds) <= set(world.GROUNDS)
        assert max(kind.width, kind.height) == pytest.approx(1, abs=0.11)
    varied = [kind for kind in world.KINDS.values() if len(kind.poses) > 1]
    assert len(varied) >= 55


@pytest.mark.parametrize("style", world.STYLES)
def test_looks_of_a_kind_differ(style):
    for name, kind in world.KINDS.items():
        looks = [(colour, kind.poses[0], "plain") for colour in kind.colours]
        looks += [(kind.colours[0], pose, "plain") for pose in kind.poses[1:]]
        looks += [(kind.colours[0], kind.poses[0], pattern) for pattern in kind.patterns[1:]]
        drawn = [sprite(name, colour, "medium", pose, pattern, style)[0] for colour, pose, pattern in looks]
        for number, one in enumerate(drawn):
            for other in drawn[:number]:
                changed = (np.abs(one.astype(int) - other) > 24).any(axis=-1).sum()
                assert changed >= 12, (name, looks[number])


def test_kinds_that_face_a_side_are_mirrored():
    for name, kind in world.KINDS.items():
        if set(FACING) <= set(kind.poses):
            left, right = (sprite(name, kind.colours[0], "big", pose, "plain", "sticker")[1] for pose in FACING)
            assert (left == right[:, ::-1]).mean() > 0.97


def test_sprites_stay_inside_their_boxes():
    for name, kind in world.KINDS.items():
        for size in world.SIZES:
            pixels, opacity = sprite(name, kind.colours[0], size, kind.poses[0], "plain", "sticker")
            assert pixels.shape == (*box_of(name, size)[::-1], 3)
            assert opacity.max() == 255
            assert (pixels <= opacity[..., None]).all()


def test_same_scene_same_bytes():
    for one, other in zip(scenes(30, 4), scenes(30, 4), strict=True):
        assert one == other
        assert hash(one) == hash(other)
        assert (world.render(one) == world.render(other)).all()


def test_all_styles_draw_the_same_scene_differently():
    for scene in scenes(5, 2):
        pictures = [world.render(world.Scene(scene.ground, scene.sky, scene.things, style)) for style in world.STYLES]
        for number, picture in enumerate(pictures):
            assert picture.shape == (128, 128, 3)
            assert picture.dtype == np.uint8
            for other in pictures[:number]:
                assert np.abs(picture.astype(int) - other).mean() > 4


def test_backgrounds_differ():
    from comfyui_wegen.models.drawn_world.backgrounds import background

    for style in world.STYLES:
        pages = [background(ground, sky, style).astype(int) for ground in world.GROUNDS for sky in world.SKIES]
        for number, page in enumerate(pages):
            assert min((np.abs(page - other).mean() for other in pages[:number]), default=99) > 1.5


def test_masks_are_the_visible_parts():
    for scene in scenes(60, 5):
        picture, masks = world.render_with_masks(scene)
        assert (picture == world.render(scene)).all()
        assert masks.sum(axis=0).max(initial=0) <= 1
        assert (masks.any(axis=0) == (world.instance_map(scene) >= 0)).all()
        for number, thing in enumerate(scene.things):
            left, top, right, bottom = thing.box
            outside = masks[number].copy()
            outside[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = False
            assert not outside.any()
            without = scene.with_things([other for other in scene.things if other != thing])
            changed = world.change_mask(scene, without)
            assert not (changed & masks[number]).sum() < 0.6 * masks[number].sum()
        assert min(world.visible_shares(scene), default=1) >= 0.5


def test_nearer_things_cover_farther_ones():
    house = world.Thing("house", "red", "big", 64, 70)
    cat = world.Thing("cat", "black", "medium", 70, 90)
    scene = world.Scene("meadow", "day", (cat, house))
    assert scene.things == (house, cat)
    masks = world.render_with_masks(scene)[1]
    alone = world.render_with_masks(world.Scene("meadow", "day", (cat,)))[1]
    assert (masks[1] == alone[0]).all()
    assert world.visible_shares(scene)[0] < 1


def test_cutout_keeps_the_masked_part_only():
    (scene,) = scenes(1, 9, n_things=2)
    picture, masks = world.render_with_masks(scene)
    cut = world.cutout(picture, masks[0])
    assert (cut[masks[0]] == picture[masks[0]]).all()
    assert (cut[~masks[0]] == 128).all()


@pytest.mark.parametrize("name", world.CONDITIONS)
def test_conditions(name):
    empty = world.Scene("meadow", "day")
    seen = set()
    for scene in scenes(6, 3, n_things=3):
        told = world.condition(scene, name)
        assert told.shape == (128, 128, 3)
        assert told.dtype == np.uint8
        assert (told == world.condition(scene, name)).all()
        assert (told != world.condition(empty, name)).any()
        seen.add(told.tobytes())
    assert len(seen) == 6


def test_segmentation_tells_kinds_exactly():
    from comfyui_wegen.models.drawn_world.conditions import segmentation_colours

    colours = segmentation_colours()
    assert len(set(colours.values())) == len(colours)
    for scene in scenes(10, 6):
        told, seen = world.condition(scene, "segmentation"), world.instance_map(scene)
        for number, thing in enumerate(scene.things):
            assert (told[seen == number] == colours[thing.kind]).all()


@pytest.mark.parametrize("name", world.DEGRADATIONS)
def test_degradations(name):
    (scene,) = scenes(1, 8, n_things=3)
    picture = world.render(scene)
    worn = world.degrade(picture, name, seed=3)
    assert worn.shape == picture.shape
    assert worn.dtype == np.uint8
    assert (worn == world.degrade(picture, name, seed=3)).all()
    assert (worn != picture).any()


def test_unknown_condition_and_degradation():
    scene = world.Scene("meadow", "day")
    with pytest.raises(ValueError, match="edges"):
        world.condition(scene, "smell")
    with pytest.raises(ValueError, match="blur"):
        world.degrade(world.render(scene), "rust", 0)


def test_drawing_is_fast():
    drawn = scenes(60, 11)

    def seconds() -> float:
        began = time.process_time()
        for scene in drawn:
            world.render(scene)
        return time.process_time() - began

    assert measured(seconds, 1)[-1] < 1  # 60 pictures a second


def test_contact_sheet(tmp_path):
    from PIL import Image

    world.contact_sheet(tmp_path / "sheet.png")
    assert min(Image.open(tmp_path / "sheet.png").size) > 800
