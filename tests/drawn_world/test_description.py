"""The drawn world in words."""

from random import Random

import pytest
from comfyui_wegen.models import drawn_world as world
from comfyui_wegen.models.drawn_world import words
from comfyui_wegen.models.drawn_world.description import look_phrase
from comfyui_wegen.models.drawn_world.values import placed


@pytest.fixture(scope="module")
def sampled() -> list[world.Scene]:
    rng = Random(17)
    return [world.sample_scene(rng) for _ in range(400)]


def test_everything_has_words():
    poses = {pose for kind in world.KINDS.values() for pose in kind.poses} - {""}
    assert poses == set(words.POSES_BEFORE) | set(words.POSES_AFTER)
    assert not set(words.POSES_BEFORE) & set(words.POSES_AFTER)
    assert set(words.GROUND_PLACES) == set(world.GROUNDS)
    assert set(words.SKY_TIMES) == set(world.SKIES)
    assert set(words.STYLE_WORDS) == set(world.STYLES)
    assert set(words.SIZE_WORDS) == set(world.SIZES)
    assert {"plain", *words.PATTERN_WORDS} == set(world.PATTERNS)


def test_canonical_description_of_a_scene():
    bench = placed("bench", "brown", "big", (2, 3))
    child = world.Thing("child", "red", "small", 30, 50, "jumping", "striped")
    scene = world.Scene("lake", "rain", (bench, child), "wash")
    assert world.describe(scene) == (
        "in watercolour, at a lake in the rain, a small jumping child in striped red at the upper far left, "
        "a big brown bench at the bottom middle."
    )


def test_descriptions_tell_everything(sampled):
    """The canonical description can be read back whole: no two scenes that differ in what it tells can share it."""
    for scene in sampled:
        assert world.read_description(world.describe(scene)) == world.description_of(scene)


def test_two_scenes_never_share_a_description(sampled):
    rng = Random(3)
    told: dict[str, world.Description] = {}
    for scene in sampled:
        variants = [scene]
        for _ in range(3):
            edit = world.sample_edit(variants[-1], rng)
            variants.append(world.apply(variants[-1], edit))
        for variant in variants:
            text, truth = world.describe(variant), world.description_of(variant)
            assert told.setdefault(text, truth) == truth
    assert len(told) > 3 * len(sampled)


def test_edits_show_in_the_description(sampled):
    rng = Random(4)
    for scene in sampled[:200]:
        edit = world.sample_edit(scene, rng, ("resize", "recolour", "pattern", "pose", "add", "remove", "sky"))
        assert world.describe(world.apply(scene, edit)) != world.describe(scene)


def test_what_touches_is_told():
    house = world.Thing("house", "red", "big", 48, 80)
    dog = world.Thing("dog", "brown", "medium", 66, 98)
    scene = world.Scene("meadow", "day", (house, dog))
    assert world.describe(scene).count("in front of the house") == 1
    behind = world.Scene("meadow", "day", (house, dog.at(66, 98, depth=1)))
    assert "house in front of" not in world.describe(scene)
    assert "in front of the dog" in world.describe(behind)


def test_references_mean_one_thing():
    red = world.Thing("cat", "orange", "small", 30, 100)
    black = world.Thing("cat", "black", "small", 64, 100)
    dog = world.Thing("dog", "brown", "small", 100, 100)
    scene = world.Scene("meadow", "day", (red, black, dog))
    assert world.reference_to(dog, scene) == "the dog"
    assert world.reference_to(black, scene) == "the black cat"
    twin = world.Thing("cat", "black", "small", 90, 40)
    scene = world.Scene("meadow", "day", (black, twin))
    assert world.reference_to(twin, scene) == "the cat at the upper right"


def test_references_are_different_for_different_things(sampled):
    for scene in sampled[:300]:
        names = [world.reference_to(thing, scene) for thing in scene.things]
        assert len(set(names)) == len(names)


def test_paraphrases_vary_and_are_drawn_by_the_seed(sampled):
    scene = next(scene for scene in sampled if len(scene.things) == 3)
    texts = {world.paraphrase(scene, Random(seed)) for seed in range(30)}
    assert len(texts) > 25
    assert world.paraphrase(scene, Random(5)) == world.paraphrase(scene, Random(5))
    for thing in scene.things:
        assert all(any(word in text for word in words.KIND_WORDS[thing.kind]) for text in texts)


def test_paraphrases_count_what_looks_the_same():
    ducks = [world.placed("duck", "white", "small", (column, 3)) for column in (0, 2, 4)]
    scene = world.Scene("lake", "day", tuple(ducks))
    texts = {world.paraphrase(scene, Random(seed)) for seed in range(20)}
    assert any("three" in text and "ducks" in text and text.count("one ") >= 3 for text in texts)


def test_a_description_becomes_a_scene_again(sampled):
    for scene in sampled[:100]:
        again = world.read_description(world.describe(scene)).to_scene()
        assert sorted((t.look, t.place) for t in again.things) == sorted((t.look, t.place) for t in scene.things)


@pytest.mark.parametrize(
    "text", ["a red cat.", "as stickers, on a meadow by day", "as stickers, on a meadow by day, a big green cat."]
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="canonical"):
        world.read_description(text)


def test_plurals_and_articles():
    assert [words.plural(word) for word in ("cat", "person", "ice cream", "clock tower", "sheep")] == [
        "cats", "people", "ice creams", "clock towers", "sheep",
    ]  # fmt: skip
    assert words.with_article("open tent") == "an open tent"
    cat = world.Thing("cat", "black", "small", 30, 90)
    assert look_phrase(cat, frozenset()) == "cat"
