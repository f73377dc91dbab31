"""The drawn world's values, places, relations and sampling."""

import json
import math
from collections import Counter
from random import Random

import pytest
from comfyui_wegen.models import drawn_world as world
from comfyui_wegen.models.drawn_world.catalogue import clearance, place_centre, place_of
from comfyui_wegen.models.drawn_world.spatial import OPPOSITES, surface_of


@pytest.fixture(scope="module")
def sampled() -> list[world.Scene]:
    rng = Random(7)
    return [world.sample_scene(rng) for _ in range(1200)]


def test_json_round_trip(sampled):
    for scene in sampled[:100]:
        again = world.Scene.from_json(json.loads(json.dumps(scene.to_json())))
        assert again == scene
        assert hash(again) == hash(scene)


def test_values_are_checked():
    with pytest.raises(ValueError, match="kind"):
        world.Thing("dragon", "red", "big", 64, 64)
    with pytest.raises(ValueError, match="colour of a cat"):
        world.Thing("cat", "green", "big", 64, 64)
    with pytest.raises(ValueError, match="leave the picture"):
        world.Thing("cat", "black", "big", 4, 64)
    with pytest.raises(ValueError, match="pattern of a sun"):
        world.Thing("sun", "red", "big", 64, 64, pattern="striped")
    with pytest.raises(ValueError, match="style"):
        world.Scene("meadow", "day", (), "oil")
    cat = world.Thing("cat", "black", "small", 64, 64)
    with pytest.raises(ValueError, match="same in everything"):
        world.Scene("meadow", "day", (cat, cat))
    with pytest.raises(ValueError, match="0 to 8"):
        world.sample_scene(Random(0), 9)
    with pytest.raises(ValueError, match="2 to 8"):
        world.sample_scene(Random(0), 1, asked=({"kind": "cat"}, {"kind": "dog"}))


def test_order_of_things_has_no_meaning():
    cat, dog = world.Thing("cat", "black", "small", 30, 90), world.Thing("dog", "brown", "small", 90, 100)
    assert world.Scene("meadow", "day", (cat, dog)) == world.Scene("meadow", "day", (dog, cat))


def test_every_place_can_be_reached_by_every_size():
    for column in range(5):
        for row in range(4):
            assert place_of(*place_centre(column, row)) == (column, row)
            for size in world.SIZES:
                assert world.placed("house", "red", size, (column, row)).place == (column, row)


def relation_names(scene, subject, other) -> set[str]:
    return {r.name for r in world.relations(scene) if r.subject == subject and r.objects == (other,)}


def test_relations_of_things_side_by_side():
    cat, dog = world.Thing("cat", "black", "medium", 40, 100), world.Thing("dog", "brown", "medium", 80, 101)
    scene = world.Scene("meadow", "day", (cat, dog))
    assert relation_names(scene, cat, dog) == {"left of", "beside"}
    assert relation_names(scene, dog, cat) == {"right of", "beside"}


def test_on_under_and_in_front():
    bench = world.Thing("bench", "brown", "big", 64, 100)
    height = round(surface_of(bench)[0])
    cat = world.Thing("cat", "black", "small", 64, height + 3 - 12, depth=bench.depth + 1)
    sun = world.Thing("sun", "yellow", "medium", 64, 30)
    scene = world.Scene("meadow", "day", (bench, cat, sun))
    assert "on" in relation_names(scene, cat, bench)
    assert "in front of" not in relation_names(scene, cat, bench)
    assert "under" in relation_names(scene, cat, sun)
    assert "above" in relation_names(scene, sun, cat)
    house = world.Thing("house", "red", "big", 50, 80)
    dog = world.Thing("dog", "brown", "medium", 70, 98)
    hidden = world.Scene("meadow", "day", (house, dog))
    assert relation_names(hidden, dog, house) >= {"in front of"}
    assert relation_names(hidden, house, dog) >= {"behind"}


def test_between():
    trees = [world.Thing("tree", colour, "medium", x, 90) for colour, x in (("green", 30), ("red", 100))]
    cat = world.Thing("cat", "black", "medium", 64, 92)
    scene = world.Scene("meadow", "day", (*trees, cat))
    assert world.holds(scene, "between", cat, *trees)
    assert world.holds(scene, "between", cat, *reversed(trees))
    assert world.holds(scene, "between", trees[0], cat, trees[1]) is False


def test_relations_come_with_their_opposites(sampled):
    for scene in sampled[:150]:
        found = {(r.name, r.subject, *r.objects) for r in world.relations(scene)}
        for name, subject, *others in found:
            if name in OPPOSITES:
                assert (OPPOSITES[name], others[0], subject) in found


def test_sampled_scenes_are_clear(sampled):
    for scene in sampled:
        assert world.is_clear(scene)
        assert all(clearance(thing.x, thing.y) >= 2 for thing in scene.things)
        assert len({(thing.look, thing.place) for thing in scene.things}) == len(scene.things)


def evenness(counts: Counter, of: int) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values()) / math.log(of)


def test_sampling_is_balanced(sampled):
    things = [thing for scene in sampled for thing in scene.things]
    kinds = Counter(thing.kind for thing in things)
    assert set(kinds) == set(world.KINDS)
    assert evenness(kinds, len(world.KINDS)) > 0.97
    assert evenness(Counter(scene.ground for scene in sampled), 10) > 0.97
    assert evenness(Counter(scene.sky for scene in sampled), 6) > 0.98
    assert evenness(Counter(scene.style for scene in sampled), 4) > 0.85
    assert evenness(Counter(thing.size for thing in things), 3) > 0.96
    assert evenness(Counter(thing.place[0] for thing in things), 5) > 0.93
    assert min(Counter(thing.place[1] for thing in things).values()) > 0.08 * len(things)
    assert {len(scene.things) for scene in sampled} == {1, 2, 3, 4, 5}
    groups = [max(Counter(thing.kind for thing in scene.things).values()) for scene in sampled]
    assert set(groups) == {1, 2, 3, 4, 5}


def test_sampling_is_plausible_but_not_always(sampled):
    boats = [scene.ground for scene in sampled for thing in scene.things if thing.kind == "boat"]
    wet = sum(ground in ("sea", "lake") for ground in boats) / len(boats)
    assert 0.4 < wet < 0.95
    suns = [thing.y for scene in sampled for thing in scene.things if thing.kind in ("sun", "moon", "cloud")]
    assert 0.6 < sum(y < 64 for y in suns) / len(suns) < 1


def test_every_relation_comes_up(sampled):
    found = Counter(relation.name for scene in sampled[:600] for relation in world.relations(scene))
    assert set(found) == set(world.RELATIONS)
    assert min(found.values()) > 30


def test_things_can_be_asked_for():
    rng, scene = Random(1), world.Scene("meadow", "day")
    thing = world.sample_thing(rng, scene, kind="cat", colour="black", column=1, row=3)
    assert (thing.kind, thing.colour, thing.place) == ("cat", "black", (1, 3))
    bench = world.Thing("bench", "brown", "big", 64, 100)
    scene = world.Scene("meadow", "day", (bench,))
    cat = world.sample_thing(rng, scene, relation=("on", bench), kind="cat", size="small")
    assert world.holds(scene.with_things((bench, cat)), "on", cat, bench)


def test_scenes_can_be_asked_for():
    rng = Random(9)
    for _ in range(10):
        asked = ({"kind": "boat"}, {"kind": "cat", "colour": "black", "pose": "sleeping"})
        scene = world.sample_scene(rng, asked=asked, sky="night")
        assert scene.sky == "night"
        for wanted in asked:
            assert any(all(getattr(thing, name) == value for name, value in wanted.items()) for thing in scene.things)
    ducks = world.sample_scene(rng, 5, asked=({"kind": "duck", "colour": "yellow"},) * 5)
    assert [thing.look[:2] for thing in ducks.things] == [("duck", "yellow")] * 5
    for relation in ("on", "under", "left of", "behind"):
        asked = ({"kind": "bench"}, {"kind": "cat"}, {"kind": "ball", "relation": (relation, 0)})
        scene = world.sample_scene(rng, 3, asked=asked)
        thing = {thing.kind: thing for thing in scene.things}
        assert world.holds(scene, relation, thing["ball"], thing["bench"])
    with pytest.raises(ValueError, match="No scene"):
        world.sample_scene(rng, asked=({"kind": "sun"}, {"kind": "cat", "relation": ("on", 0)}))
    grounds = [world.sample_scene(rng, asked=({"kind": "boat"},)).ground for _ in range(100)]
    assert 70 <= sum(ground in ("sea", "lake") for ground in grounds) < 95


def test_jittered_scenes_say_the_same(sampled):
    rng, moved = Random(2), 0
    for scene in sampled[:100]:
        other = world.jittered(rng, scene)
        moved += other != scene
        assert world.describe(other) == world.describe(scene)
    assert moved > 60


def test_place_names():
    assert world.place_name((0, 3)) == "bottom far left"
