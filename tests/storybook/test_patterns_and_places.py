"""Patterns, three sizes, five things, and what lies between two others."""

import re
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import storybook
from comfyui_wegen.models.drawn_world.sprites import patterned
from comfyui_wegen.models.evaluation.own_words import happened
from comfyui_wegen.models.storybook import COLOURS, KINDS, PATTERNS, STYLES, Mention, Named, Scene, Thing, language
from comfyui_wegen.models.storybook.language import PARTS, Story
from comfyui_wegen.models.storybook.language.frames import sizes
from comfyui_wegen.models.storybook.language.orders import in_relation
from PIL import Image

CAT = Thing("cat", "orange", "big", 1, 2, "facing left")
STRIPED = [kind for kind in KINDS.values() if len(kind.patterns) > 1]


@pytest.mark.parametrize("style", STYLES)
def test_a_pattern_is_seen_on_small_things_too_and_changes_no_outline(style):
    for kind in STRIPED:
        plain = Thing(kind.name, kind.colours[0], "small", 2, 2, kind.poses[0])
        pages = [storybook.render(Scene("meadow", "day", (replace(plain, pattern=p),), style)) for p in PATTERNS]
        masks = [storybook.mask_of(replace(plain, pattern=p), style) for p in PATTERNS]
        for number, page in enumerate(pages):
            assert all(np.abs(page.astype(int) - other).sum() > 800 for other in pages[:number]), kind
            assert (masks[number] == masks[0]).all()


@pytest.mark.parametrize("style", STYLES)
def test_stripes_are_wide_enough_to_be_told_once_small(style):
    scale, wide = 8, 8.0 if style == "mosaic" else 5.5  # pixels of the finished picture
    ink = Image.new("RGBA", (40 * scale, 4), (*COLOURS["red"], 255))
    striped = np.asarray(patterned(ink, COLOURS["red"], "striped", style, 20 * scale, scale))[0]
    stripes = np.count_nonzero(np.any(striped[1:] != striped[:-1], axis=-1)) / 2
    assert stripes == pytest.approx(40 / wide, abs=1)


def test_patterns_are_written_and_read():
    for seed in range(300):
        scene = storybook.sample_scene(Random(seed))
        text = storybook.describe(scene)
        assert storybook.parse_caption(text).to_scene() == scene.canonical(), text
        assert ("with stripes" in text) == any(thing.pattern == "striped" for thing in scene.things)
        assert Scene.from_json(scene.to_json()) == scene
    with pytest.raises(ValueError, match="pattern of a sun"):
        Thing("sun", "yellow", "big", 2, 0, "smiling", pattern="striped")


def test_a_plain_thing_is_asked_for_only_where_it_is_named():
    striped = Mention.of(replace(CAT, pattern="striped"))
    assert Mention("cat").fits(striped) and not Mention("cat", pattern="plain").fits(striped)
    assert Mention("cat", pattern="plain").fits(Mention.of(CAT)) and not striped.fits(Mention.of(CAT))


@pytest.mark.parametrize("part", PARTS)
def test_an_order_changes_the_pattern_and_nothing_else(part):
    asked = Counter()
    for seed in range(80):
        rng = Random(seed)
        scene = Scene("meadow", "day", (replace(CAT, pattern=rng.choice(PATTERNS)),))
        order = language.sample_order(Story((scene,)), rng, part, "pattern")
        (thing,) = order.after.things
        assert replace(thing, pattern=scene.things[0].pattern) == scene.things[0] != thing
        assert happened(order, Named.of(order.after)) and not happened(order, Named.of(scene)), order.text
        asked[thing.pattern] += 1
    assert set(asked) == set(PATTERNS)


@pytest.mark.parametrize("part", PARTS)
def test_what_is_between_two_things_is_placed_there_and_judged(part):
    found = 0
    for seed in range(400):
        rng = Random(seed)
        scene = storybook.sample_scene(rng, 4)
        order = language.sample_order(
            Story((scene,)), rng, part, rng.choice(("relative", "add")) if seed % 2 else "add"
        )
        for thing, (relation, others) in order.related.items():
            if relation == "between" and sum(one.kind == thing.kind for one in order.after.things) == 1:
                found += 1
                assert in_relation(thing.place, relation, *(other.place for other in others))
                assert happened(order, Named.of(order.after))
                far = [place for place in ((0, 0), (4, 0), (0, 3), (4, 3)) if place != thing.place]
                wrong = [replace(Mention.of(thing), column=c, row=r) for c, r in far]
                rest = [Mention.of(other) for other in order.after.things if other != thing]
                assert not all(happened(order, replace(Named.of(scene), things=(*rest, one))) for one in wrong)
    assert found > 5


@pytest.mark.parametrize("part", PARTS)
def test_bigger_is_the_next_size_and_huge_the_last(part):
    small = Scene("meadow", "day", (replace(CAT, size="small"),))
    reached = Counter()
    for seed in range(150):
        order = language.sample_order(Story((small,)), Random(seed), part, "bigger")
        (thing,) = order.after.things
        reached[thing.size] += 1
        assert happened(order, Named.of(order.after)) and not happened(order, Named.of(small))
        big = replace(small, things=(replace(thing, size="big"),))
        # Bigger than asked for is bigger, unless a size was named.
        assert happened(order, Named.of(big)) == (thing in order.open or thing.size == "big"), order.text
        if "huge" in order.text:
            assert thing.size == "big"
    assert set(reached) == {"medium", "big"}
    medium = Scene("meadow", "day", (replace(CAT, size="medium"),))
    order = language.sample_order(Story((medium,)), Random(0), part, "smaller")
    assert order.after.things[0].size == "small" and not happened(order, Named.of(medium))
    assert set(sizes.BIGGER) > sizes.BIG and set(sizes.SMALLER) > sizes.SMALL


def test_whether_a_thing_is_between_others_is_asked_only_where_it_is_clear():
    answers = Counter()
    for seed in range(3000):
        rng = Random(seed)
        scene = storybook.sample_scene(rng, rng.choice((3, 4, 5)))
        item = language.sample_question(scene, rng, "relation")
        if " between " in item.text:
            answers[item.answer] += 1
    assert answers["yes"] > 100 and 0.3 < answers["yes"] / answers.total() < 0.7


def test_a_question_that_names_answers_names_the_right_one():
    for seed in range(1500):
        rng = Random(seed)
        scene = replace(storybook.sample_scene(rng, 3), sky=rng.choice(("rain", "rainbow", "day")))
        size, sky = (language.sample_question(scene, Random(seed), topic) for topic in ("size", "sky"))
        if size.answer == "medium":
            assert not re.search(
                r"\b(big|small|large|little|tiny|huge) or (rather )?(big|small|large|huge)", size.text
            ), size
        if scene.sky != "day":
            assert " or night" not in sky.text and "day or" not in sky.text, sky


def test_five_things_are_drawn_and_counted():
    counts = Counter(len(storybook.sample_scene(Random(seed)).things) for seed in range(400))
    assert counts[5] > 20
    wishes = [language.sample_wish(Random(seed), level="group") for seed in range(200)]
    assert any(len(wish.named.things) == 5 and "five" in wish.text for wish in wishes)
    full = storybook.sample_scene(Random(3), 5)
    said = language.sample_declined(full, Random(0), kind="full")
    assert "five things at most" in said.answer
    assert storybook.sample_question(full, Random(0), "count").answer == "five"


def test_a_thing_without_patterns_is_always_plain():
    page = Scene("meadow", "night", (Thing("moon", "yellow", "big", 1, 0, "full"),))
    said = language.sample_declined(page, Random(0), kind="pattern")
    assert said.answer == "a moon is always plain." and language.is_plain(said.answer)
    kinds = {language.sample_declined(replace(page, things=(CAT,)), Random(seed)).kind for seed in range(500)}
    assert "pattern" not in kinds
