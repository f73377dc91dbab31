"""The drawn world's scenes made from reference pictures."""

from random import Random

import pytest
from comfyui_wegen.models import drawn_world as world


def test_compositions_keep_what_references_give():
    seen = set()
    for seed in range(60):
        made = world.sample_composition(Random(seed))
        assert made == world.sample_composition(Random(seed))
        assert 1 <= len(made.references) <= 3
        objects = [reference for reference in made.references if reference.role == "object"]
        assert objects
        assert [thing.look for thing in made.kept] == [reference.thing.look for reference in objects]
        assert set(made.kept) == set(made.target.things)
        assert world.acceptable(made.target)
        for reference in made.references:
            seen.add((reference.role, reference.cut_out))
            if reference.role == "style":
                assert made.target.style == reference.scene.style
            if reference.role == "background":
                assert (made.target.ground, made.target.sky) == (reference.scene.ground, reference.scene.sky)
    assert seen == {("object", False), ("object", True), ("style", False), ("background", False)}
    with pytest.raises(ValueError, match="1 to 3"):
        world.sample_composition(Random(0), 4)


def test_references_show_their_thing():
    cat, dog = world.Thing("cat", "black", "small", 30, 100), world.Thing("dog", "brown", "medium", 90, 100)
    scene = world.Scene("meadow", "day", (cat, dog))
    alone = world.Reference("object", scene, dog, cut_out=True)
    assert (alone.picture()[~alone.mask()] == 128).all()
    assert (alone.picture()[alone.mask()] == world.render(scene)[alone.mask()]).all()
    assert world.Reference("style", scene).mask().all()
    with pytest.raises(ValueError, match="names a thing"):
        world.Reference("style", scene, dog)
    with pytest.raises(ValueError, match="not in its scene"):
        world.Reference("object", world.Scene("meadow", "day"), dog)
    with pytest.raises(ValueError, match="Unknown role"):
        world.Reference("smell", scene)


def test_additions():
    for seed in range(10):
        scene, reference, edit = world.sample_addition(Random(seed))
        after = world.apply(scene, edit)
        assert edit.after.look == reference.thing.look
        assert set(after.things) == {*scene.things, edit.after}
        assert world.acceptable(after)
