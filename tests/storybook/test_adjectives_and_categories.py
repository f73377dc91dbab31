"""Adjectives that change nothing, words for more than one kind, and what is put together to be declined."""

from random import Random

import pytest
from comfyui_wegen.models import storybook
from comfyui_wegen.models.storybook import Mention, Named, language
from comfyui_wegen.models.storybook.captions import POSES_BEFORE
from comfyui_wegen.models.storybook.catalogue import CATEGORIES, COLOURS, KINDS
from comfyui_wegen.models.storybook.language import HELD_OUT, TRAINED, adjectives
from comfyui_wegen.models.storybook.language.deeds import sample_deed
from comfyui_wegen.models.storybook.language.frames import outside
from comfyui_wegen.models.storybook.language.held_out import part_of
from comfyui_wegen.models.storybook.language.words import (
    CATEGORY_WORDS,
    COLOUR_WORDS,
    KIND_WORDS,
    PATTERNS_BEFORE,
    SIZE_WORDS,
    in_general,
    setting,
    several,
)


def test_a_category_fits_its_kinds_and_no_others():
    cat, red_car = Mention("cat", colour="black"), Mention("car", colour="red")
    assert Mention("animal").fits(cat) and Mention("animal", colour="black").fits(cat)
    assert not Mention("animal").fits(red_car) and not Mention("animal", colour="white").fits(cat)
    assert Mention("vehicle", colour="red").fits(red_car) and not Mention("cat").fits(Mention("animal"))


@pytest.mark.parametrize("category", CATEGORIES)
def test_each_category_has_kinds_that_can_be_drawn_and_words_of_its_own(category):
    assert CATEGORIES[category] and {*CATEGORIES[category]} <= {*KINDS} and category not in KINDS
    kinds_words = {word for words in KIND_WORDS.values() for word in words}
    assert CATEGORY_WORDS[category] and not {*CATEGORY_WORDS[category]} & (kinds_words | {*outside.THINGS})
    for colour in (None, *COLOURS):
        if colour is None or any(colour in KINDS[kind].colours for kind in CATEGORIES[category]):
            named = Named((Mention(category, colour=colour),) * 2, "road")
            scene = storybook.sample_scene_for(named, Random(category))
            assert storybook.satisfies(scene, named)
            assert {thing.kind for thing in scene.things[:2]} <= {*CATEGORIES[category]}


def test_no_scene_is_made_for_a_colour_that_no_kind_of_a_category_has():
    with pytest.raises(ValueError, match="No reptile can be pink"):
        storybook.sample_scene_for(Named((Mention("reptile", colour="pink"),)), Random(0))


@pytest.mark.parametrize("part", [TRAINED, HELD_OUT])
def test_wishes_name_categories_and_their_pictures_show_one(part):
    rng, wishes = Random(3), []
    while len(wishes) < 60:
        wish = language.sample_wish(rng, part)
        wishes += [wish] if any(mention.kind in CATEGORIES for mention in wish.named.things) else []
    for wish in wishes:
        assert storybook.satisfies(wish.scene, wish.named), wish
        assert not wish.absent or wish.absent[0] not in {thing.kind for thing in wish.scene.things}
    assert len({mention.kind for wish in wishes for mention in wish.named.things if mention.kind in CATEGORIES}) > 8


def test_what_is_added_or_put_in_place_is_named_by_its_category_now_and_then():
    rng, named = Random(4), set()
    for intent in ("add", "replace"):
        while not any((intent, category) in named for category in CATEGORIES):
            order = language.sample_order(language.Story((storybook.sample_scene(rng, 3),)), rng, intent=intent)
            named |= {(intent, mention.kind) for mention in order.open.values()}
    assert in_general(Mention("mushroom"), rng) == Mention("mushroom")  # it belongs to none


def test_adjectives_mean_nothing_that_could_be_drawn():
    drawn = {
        word for table in (SIZE_WORDS, COLOUR_WORDS, PATTERNS_BEFORE) for words in table.values() for word in words
    }
    for category, words in {"": adjectives.FOR_ALL, **adjectives.BY_CATEGORY}.items():
        kinds = CATEGORIES.get(category, tuple(KINDS) if category in ("", "other") else ())
        poses = {word for kind in kinds for pose in KINDS[kind].poses for word in POSES_BEFORE.get(pose, ())}
        assert not {*words} & (drawn | poses), category


def test_adjectives_of_the_two_parts_differ_and_come_up():
    said = {
        part: {adjectives.described(kind, rng, part) for kind in (*KINDS, *CATEGORIES) for _ in range(40)}
        for part, rng in ((TRAINED, Random(0)), (HELD_OUT, Random(0)))
    }
    assert not said[TRAINED] & said[HELD_OUT] and min(map(len, said.values())) > 30
    every = {*adjectives.FOR_ALL, *(word for words in adjectives.BY_CATEGORY.values() for word in words)}
    assert said[TRAINED] - every, "some of training are no words"
    assert "cosy" in said[TRAINED] and "happy" in said[HELD_OUT]


def test_what_things_do_has_words_of_both_parts_for_all_and_is_no_pose():
    rng = Random(7)
    for kind in (*KINDS, *CATEGORIES):
        said = {part: {adjectives.doing(kind, rng, part) for _ in range(40)} for part in (TRAINED, HELD_OUT)}
        assert all(said.values()) and not said[TRAINED] & said[HELD_OUT], kind
        poses = {pose for one in CATEGORIES.get(kind, (kind,)) for pose in KINDS[one].poses}
        drawn = {word for pose in poses for word in (pose, *POSES_BEFORE.get(pose, ()))}
        assert not (said[TRAINED] | said[HELD_OUT]) & drawn, kind


def test_a_wish_says_what_its_thing_does_where_it_is():
    rng, found = Random(8), 0
    said = [f" {doing} {where} " for doing in adjectives.DOING["vehicle"] for where in ("on", "in", "at")]
    while found < 5:
        wish = language.sample_wish(rng, level="kinds")
        found += any(words in wish.text for words in said)
        assert storybook.satisfies(wish.scene, wish.named)


def test_what_is_lonely_has_nothing_else_with_it():
    rng, found = Random(5), 0
    while found < 5:
        wish = language.sample_wish(rng, level="kinds")
        if " lonely " in wish.text:
            found += 1
            assert wish.named.most == len(wish.named.things) == len(wish.scene.things), wish


def test_how_many_some_are():
    said = {count: {several(Mention("cat"), count, Random(seed)) for seed in range(150)} for count in (2, 3, 4)}
    assert {"cats", "some cats", "two cats"} <= said[2] and {"a few cats", "several cats"} <= said[3]
    assert {"many cats", "lots of cats"} <= said[4] and "some cats" not in said[3] | said[4]


def test_a_ground_may_have_an_adjective_too():
    rng = Random(0)
    said = {setting("beach", None, rng) for _ in range(800)}
    assert "on a beach" in said and "on a quiet beach" in said
    assert all(words.endswith(("beach", "sand", "shore", "seaside")) for words in said), said


def test_deeds_and_places_that_are_put_together_are_none_that_are_held_out():
    rng, deeds, places = Random(6), set(), set()
    for _ in range(1500):
        scene = storybook.sample_scene(rng)
        deeds.add(language.sample_declined(scene, rng, kind="deed").text)
        places.add(language.sample_declined(scene, rng, kind="ground").text)
    assert len(deeds - {*outside.DEEDS}) > 500
    assert not deeds & {*part_of(outside.DEEDS, HELD_OUT)}
    assert not any(text.endswith(place) for text in places for place in part_of(outside.PLACES, HELD_OUT))
    assert sample_deed("it", "its", "owl", Random(1)) == sample_deed("it", "its", "owl", Random(1))
