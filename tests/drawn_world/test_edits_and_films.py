"""The drawn world's edits and films, and what they may change."""

import json
from random import Random

import pytest
from comfyui_wegen.models import drawn_world as world
from comfyui_wegen.models.drawn_world import edits
from comfyui_wegen.models.drawn_world.edit_sampling import CHANGES, carries

ACTIONS = [action for action in world.ACTIONS if action != "undo"]


def scene_and_edit(seed: int, action: str) -> tuple[world.Scene, world.Edit]:
    rng = Random(f"{seed} {action}")
    while True:
        scene = world.sample_scene(rng, rng.choice((2, 3, 4)))
        edit = world.sample_edit(scene, rng, (action,))
        if edit is not None:
            return scene, edit


@pytest.mark.parametrize("action", ACTIONS)
def test_edits_change_only_what_they_say(action):
    for seed in range(12):
        scene, edit = scene_and_edit(seed, action)
        after = world.apply(scene, edit)
        allowed, changed = world.may_change(scene, edit), world.change_mask(scene, after)
        assert edit.action == action
        assert changed.any()
        assert not (changed & ~allowed).any()
        kept = [thing for thing in scene.things if all(thing != before for before, _ in edit.changes)]
        assert set(kept) <= set(after.things)
        assert world.Edit.from_json(json.loads(json.dumps(edit.to_json()))) == edit
        if edit.setting is None:
            assert (after.ground, after.sky, after.style) == (scene.ground, scene.sky, scene.style)


@pytest.mark.parametrize("action", ACTIONS)
def test_undo_leads_back(action):
    scene, edit = scene_and_edit(1, action)
    after = world.apply(scene, edit)
    back = world.undo(edit)
    assert back.action == "undo"
    assert world.apply(after, back) == scene
    assert world.apply(scene, edit, back) == scene
    assert world.sample_edit(after, Random(0), ("undo",), (edit,)) == back


def test_each_edit_does_what_its_name_says():
    for action, part in (("recolour", "colour"), ("resize", "size"), ("pattern", "pattern"), ("pose", "pose")):
        for seed in range(8):
            _, edit = scene_and_edit(seed, action)
            for name in ("kind", "colour", "size", "pattern", "pose"):
                assert (getattr(edit.before, name) != getattr(edit.after, name)) == (name == part)
    for seed in range(8):
        scene, edit = scene_and_edit(seed, "relate")
        after = world.apply(scene, edit)
        assert world.holds(after, edit.relation, edit.after, *edit.anchors)
        assert not world.holds(scene, edit.relation, edit.before, *edit.anchors)
        _, edit = scene_and_edit(seed, "move")
        assert edit.before.look == edit.after.look
        assert edit.before.place != edit.after.place
        scene, edit = scene_and_edit(seed, "swap")
        (one, first), (other, second) = edit.changes
        assert abs(first.x - other.x) <= 12
        assert abs(second.x - one.x) <= 12


def test_things_of_the_ground_grow_on_their_feet():
    cat = world.Thing("cat", "black", "small", 64, 90)
    grown = edits.resize(cat, "big").after
    assert grown.box[3] == cat.box[3]
    sun = world.Thing("sun", "red", "small", 64, 40)
    assert (edits.resize(sun, "big").after.x, edits.resize(sun, "big").after.y) == (64, 40)


def test_moves_end_at_the_edge_of_the_picture():
    cat = world.Thing("cat", "black", "small", 64, 90)
    assert (edits.shift(cat, -20, 4).after.x, edits.shift(cat, -20, 4).after.y) == (44, 94)
    assert edits.shift(cat, 200, 0).after.box[2] == 128
    assert edits.move(cat, (0, 0)).after.place == (0, 0)


def test_edits_that_do_not_fit():
    scene = world.Scene("meadow", "day")
    cat = world.Thing("cat", "black", "small", 64, 90)
    with pytest.raises(ValueError, match="not in the scene"):
        world.apply(scene, edits.remove(cat))
    with pytest.raises(ValueError, match="it is meadow"):
        world.apply(scene, world.Edit("ground", setting=("ground", "sea", "lake")))
    with pytest.raises(ValueError, match="Unknown action"):
        world.Edit("paint")
    with pytest.raises(ValueError, match="Unknown setting"):
        edits.change_setting(scene, "weather", "rain")


def test_several_edits_of_one_order_touch_different_things():
    for seed in range(20):
        rng = Random(seed)
        scene = world.sample_scene(rng, 3)
        orders = world.sample_edits(scene, rng, 3)
        befores = [before for edit in orders for before, _ in edit.changes if before]
        assert len(set(befores)) == len(befores)
        assert set(befores) <= set(scene.things)
        everything = world.undo(*orders) if sum(edit.setting is not None for edit in orders) < 2 else None
        if everything:
            assert world.apply(world.apply(scene, *orders), everything) == scene


def test_what_carries_others_stays():
    rng, seen = Random(5), 0
    while seen < 5:
        scene = world.sample_scene(rng, 3)
        carrying = [thing for thing in scene.things if carries(scene, thing)]
        if not carrying:
            continue
        seen += 1
        for action in ("move", "resize", "remove", "swap", "replace"):
            edit = world.sample_edit(scene, rng, (action,))
            assert edit is None or all(before not in carrying for before, _ in edit.changes)


def test_all_actions_come_up():
    rng = Random(3)
    drawn = {world.sample_edit(world.sample_scene(rng, 3), rng).action for _ in range(150)}
    assert drawn == set(CHANGES)


def test_films():
    kinds_of_events = set()
    for seed in range(40):
        film = world.sample_video(seed)
        assert film.scenes == world.sample_video(seed).scenes
        assert len(film) == 8
        kinds_of_events |= {edit.action for frame in film.events for edit in frame}
        for frame, scene in enumerate(film.scenes):
            assert {track[frame] for track in film.tracks if track[frame]} == set(scene.things)
        for before, after in ((0, 7), (2, 5), (5, 2)):
            between = film.edits_between(before, after)
            assert world.apply(film.scenes[before], *between) == film.scenes[after]
            for edit in between:
                if edit.before and edit.after and edit.before.kind == edit.after.kind:
                    parts = ("colour", "pattern", "pose", "size")
                    changed = [part for part in parts if getattr(edit.before, part) != getattr(edit.after, part)]
                    assert len(changed) == (edit.action != "move")
    assert len(kinds_of_events) >= 10
    assert film.masks(0).shape == (8, 128, 128)
    assert film.picture(0).shape == (128, 128, 3)
    with pytest.raises(ValueError, match="2 frames"):
        world.sample_video(0, frames=1)
