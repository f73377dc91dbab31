"""The scenes that stand for descriptions."""

from random import Random

import pytest
from comfyui_wegen.models import drawn_world as world
from comfyui_wegen.models.drawn_world.catalogue import place_centre
from comfyui_wegen.models.drawn_world.edits import relate


@pytest.fixture(scope="module")
def sampled() -> list[world.Scene]:
    rng = Random(23)
    return [world.sample_scene(rng) for _ in range(250)]


def test_settled_scenes_say_the_same_and_stay(sampled):
    found = [(scene, world.settled(scene)) for scene in sampled]
    assert sum(settled is not None for _, settled in found) > 0.9 * len(found)
    for scene, settled in found:
        if settled is not None:
            assert world.describe(settled) == world.describe(scene)
            assert world.settled(settled) == settled
            assert world.acceptable(settled)


def test_scenes_with_the_same_description_settle_to_the_same(sampled):
    rng = Random(1)
    for scene in sampled[:100]:
        assert world.settled(world.jittered(rng, scene)) == world.settled(scene)


def test_a_thing_alone_settles_in_the_middle_of_its_place():
    scene = world.Scene("meadow", "day", (world.Thing("cat", "black", "small", 38, 99),))
    (cat,) = world.settled(scene).things
    assert (cat.x, cat.y) == place_centre(1, 3)
    dog = world.Thing("dog", "brown", "small", 90, 60)
    assert world.nearest_free(scene, dog, (1, 3)) is None
    free = world.nearest_free(scene, dog, (2, 3))
    assert free.place == (2, 3)
    assert len(world.contacts(scene.with_things((*scene.things, free)))) == 0


def test_relations_are_made_in_one_way_where_there_is_room():
    bench = world.Thing("bench", "brown", "big", 64, 100)
    cat = world.Thing("cat", "black", "small", 20, 60)
    scene = world.Scene("meadow", "day", (bench, cat))
    for relation in ("on", "left of", "right of", "above", "in front of"):
        ways = {relate(scene, cat, relation, bench, rng=Random(seed)) for seed in range(5)}
        assert len(ways) == 1
        (edit,) = ways
        assert world.holds(world.apply(scene, edit), relation, edit.after, bench)
