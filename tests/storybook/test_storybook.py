"""The storybook world: what is drawn, what is said, and that both say the same."""

import json
from dataclasses import replace
from itertools import combinations, pairwise, product
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import storybook
from comfyui_wegen.models.storybook import Edit, Mention, Named, Scene, Thing
from comfyui_wegen.models.storybook.catalogue import COLUMNS, KINDS, ROWS, SIZES, STYLES
from comfyui_wegen.models.storybook.sprites import sprite
from comfyui_wegen.models.storybook.world import collide

CAT = Thing("cat", "black", "big", 0, 3, "facing left")
HOUSE = Thing("house", "red", "small", 3, 2, "lit", (1, -1))


def scenes(count, seed=0):
    rng = Random(seed)
    return [storybook.sample_scene(rng) for _ in range(count)]


def test_equal_seeds_give_equal_bytes():
    one, other = scenes(20, seed=4), scenes(20, seed=4)
    assert one == other and hash(one[3]) == hash(other[3])
    assert one != scenes(20, seed=5)
    for a, b in zip(one, other, strict=True):
        assert storybook.render(a).tobytes() == storybook.render(b).tobytes()
    assert storybook.render(one[0]).shape == (128, 128, 3) and storybook.render(one[0]).dtype == np.uint8


def test_scene_survives_json():
    for scene in scenes(50):
        assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"kind": "dragon"}, "dragon.*house"),
        ({"colour": "pink"}, "pink.*orange"),
        ({"pose": "lit"}, "lit.*facing left"),
        ({"column": 5}, "column 5"),
        ({"jitter": (0, 2)}, "at most 1 pixel"),
    ],
)
def test_unknown_values_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Thing(**{**vars(CAT), **fields})


def test_a_page_in_another_style_shows_the_same_things_in_the_same_places():
    for scene in scenes(40, seed=8):
        pages = [storybook.render_with_masks(replace(scene, style=style)) for style in storybook.STYLES]
        for one, other in combinations(pages, 2):
            assert (one[0] != other[0]).any(axis=-1).mean() > 0.5
            for mask, same in zip(one[1], other[1], strict=True):
                assert (mask & same).sum() / (mask | same).sum() > 0.5
        described = storybook.describe(replace(scene, style="wash"))
        assert described == f"in watercolour, {storybook.describe(scene)}"
        assert storybook.parse_caption(described).style == "wash"
    with pytest.raises(ValueError, match=r"crayon.*mosaic"):
        replace(scene, style="crayon")
    record = scene.to_json()
    del record["style"]  # as written before there were styles
    assert Scene.from_json(record) == scene


def test_captions_tell_the_style_in_any_wording():
    rng = Random(2)
    for scene in scenes(120, seed=9):
        scene = replace(scene, style=rng.choice(storybook.STYLES))
        for text in (storybook.full_caption(scene), storybook.full_caption(scene, rng)):
            assert storybook.parse_caption(text).same_as(Named.of(scene)), text
        assert Named.of(scene).to_scene() == replace(scene, things=tuple(thing.still() for thing in scene.things))


def test_things_that_touch_are_refused():
    with pytest.raises(ValueError, match="would touch"):
        Scene("meadow", "day", (CAT, Thing("tree", "green", "big", 1, 3, "round")))


def test_masks_are_exactly_what_a_thing_covers():
    shown = 0
    for scene in scenes(150, seed=1):
        picture, masks = storybook.render_with_masks(scene)
        assert (masks.sum(0) <= 1).all()
        for number, mask in enumerate(masks):
            rest = tuple(thing for other, thing in enumerate(scene.things) if other != number)
            differs = (picture != storybook.render(Scene(scene.ground, scene.sky, rest))).any(-1)
            assert not (differs & ~mask).any()
            # a pixel may have the very colour of the page behind it, but that is rare
            assert differs.sum() >= 0.96 * mask.sum()
            shown += 1
    assert shown > 300


def test_sprites_stay_in_their_boxes_and_differ():
    looks = [
        (kind.name, colour, size, pose, STYLES[0], pattern)
        for kind in KINDS.values()
        for colour, size, pose, pattern in product(kind.colours, SIZES, kind.poses, kind.patterns)
    ]
    seen = set()
    for key in looks:
        pixels, opacity = sprite(*key)
        border = np.concatenate([opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]])
        assert border.max() < 255, key  # only the soft edge of the rim may lie there: nothing is cut off
        assert (pixels <= opacity[..., None]).all(), key  # premultiplied
        seen.add(pixels.tobytes())
    assert len(seen) == len(looks) > 200


def test_poses_and_sizes_are_clearly_visible():
    for kind in KINDS.values():
        for colour in kind.colours:
            for size in SIZES:
                first, second = (sprite(kind.name, colour, size, pose)[0].astype(int) for pose in kind.poses)
                changed = (np.abs(first - second).max(-1) > 60).sum()
                assert changed >= {"small": 8, "medium": 14, "big": 25}[size], (kind.name, colour, size, changed)
            small, big = ((sprite(kind.name, colour, size, kind.poses[0])[1] > 0).sum() for size in ("small", "big"))
            assert big > 1.8 * small


def test_things_mostly_stand_where_one_expects_them():
    things = [thing for scene in scenes(1000) for thing in scene.things]
    natural = sum(thing.row in KINDS[thing.kind].rows for thing in things) / len(things)
    assert 0.7 < natural < 0.95
    assert {thing.place for thing in things} == {(c, r) for c in range(len(COLUMNS)) for r in range(len(ROWS))}
    doubles = sum(len({t.kind for t in scene.things}) < len(scene.things) for scene in scenes(1000))
    assert 50 < doubles < 300


@pytest.mark.slow
def test_captions_can_be_read_back_exactly():
    rng = Random(2)
    for scene in scenes(2000, seed=2):
        for text in (storybook.full_caption(scene, rng), storybook.full_caption(scene), storybook.describe(scene)):
            assert storybook.parse_caption(text).same_as(Named.of(scene)), text
        assert storybook.parse_caption(storybook.describe(scene)).to_scene() == scene.canonical()


def test_captions_have_few_words_and_many_wordings():
    rng = Random(3)
    known = storybook.vocabulary()
    assert len(known) < 350
    for scene in scenes(500, seed=3):
        words = storybook.words_of(storybook.full_caption(scene, rng))
        assert len(words) <= 14 + 18 * len(scene.things) and set(words) <= known
    scene = scenes(1)[0]
    assert len({storybook.full_caption(scene, rng) for _ in range(50)}) > 40


def test_canonical_caption_keeps_the_order_of_things():
    scene = Scene("beach", "night", (HOUSE, CAT))
    assert storybook.full_caption(scene) == (
        "on a beach at night, a small red house with the lights on at the lower right, "
        "a big black cat facing left at the bottom far left."
    )


def test_wishes_name_what_their_record_says():
    rng = Random(5)
    for number in range(1500):
        level = storybook.LEVELS[number % len(storybook.LEVELS)]
        wish, scene = storybook.sample_wish(rng, level)
        assert storybook.satisfies(scene, wish.named), wish
        assert storybook.parse_caption(wish.text).same_as(wish.named), wish
        assert set(storybook.words_of(wish.text)) <= storybook.vocabulary()
        assert Named.from_json(json.loads(json.dumps(wish.named.to_json()))) == wish.named
    with pytest.raises(ValueError, match="Unknown level"):
        storybook.partial_caption(scene, rng, "little")


def test_one_wish_has_many_scenes():
    named = storybook.parse_caption("two red things on the sea at night")
    assert named == Named((Mention(colour="red"), Mention(colour="red")), "sea", "night")
    found = {storybook.sample_scene_for(named, Random(seed)) for seed in range(50)}
    assert len(found) == 50 and all(storybook.satisfies(scene, named) for scene in found)
    impossible = Named((Mention("cat"),) * 3, most=2)
    with pytest.raises(ValueError, match="needs 3 things"):
        storybook.sample_scene_for(impossible, Random(0))


def test_what_is_named_needs_a_thing_of_its_own():
    scene = Scene("beach", "night", (HOUSE, CAT))
    assert storybook.satisfies(scene, Named((Mention(colour="black"), Mention("house")), "beach"))
    assert not storybook.satisfies(scene, Named((Mention("cat"), Mention("cat"))))
    assert not storybook.satisfies(scene, Named((Mention("cat", colour="white"),)))
    assert not storybook.satisfies(scene, Named(sky="day"))
    assert not storybook.satisfies(scene, Named(fewest=3))


@pytest.mark.slow
def test_edits_change_only_what_they_state():
    rng = Random(6)
    actions = set()
    for scene in scenes(600, seed=6):
        edits = storybook.sample_edits(scene, rng, rng.randint(1, 2))
        after = storybook.apply(scene, edits)
        changed = storybook.change_mask(scene, after)
        assert edits and changed.any()
        actions.update(edit.action for edit in edits)
        kept = storybook.untouched(scene, edits)
        assert set(kept) <= set(after.things)
        if {edit.action for edit in edits} & {"ground", "sky"}:
            for thing in kept:  # the inside of a kept thing never changes, only the page shining through its edge
                pixels = sprite(thing.kind, thing.colour, thing.size, thing.pose)[1] == 255
                left, top, right, bottom = thing.box
                assert not (changed[top:bottom, left:right] & pixels).any()
        else:
            touched = [t for edit in edits for t in (edit.before, edit.after) if t is not None]
            allowed = np.any([storybook.mask_of(thing) for thing in touched], axis=0)
            assert not (changed & ~allowed).any()
        assert [Edit.from_json(json.loads(json.dumps(edit.to_json()))) for edit in edits] == list(edits)
        text = storybook.instruction(scene, edits, rng)
        assert set(storybook.words_of(text)) <= storybook.vocabulary(), text
    assert actions == set(storybook.ACTIONS)


def test_instructions_name_things_without_doubt():
    other = Thing("cat", "white", "big", 4, 3, "facing left")
    scene = Scene("meadow", "day", (CAT, other, HOUSE))
    assert storybook.reference_to(HOUSE, scene) == "the house"
    assert storybook.reference_to(CAT, scene) == "the black cat"
    night = (Edit("sky", value="night"),)
    texts = {storybook.instruction(scene, night, Random(seed), keep=True) for seed in range(80)}
    assert len(texts) > 20 and all("keep" in text or "leave" in text or "nothing else" in text for text in texts)
    gone = (Edit("leave", before=CAT), *night)
    assert storybook.statement(scene, gone) == "the black cat is gone and now it is night"
    with pytest.raises(ValueError, match="there is no"):
        storybook.apply(Scene("meadow", "day"), gone)


@pytest.mark.slow
def test_questions_are_answered_by_the_scene():
    rng = Random(7)
    topics = set()
    for scene in scenes(1000, seed=7):
        item = storybook.sample_question(scene, rng)
        topics.add(item.topic)
        assert item.is_right(item.answer) and not item.is_right("a green dragon")
        assert set(storybook.words_of(item.text + " " + item.answer)) <= storybook.vocabulary()
    assert topics == set(storybook.TOPICS)
    scene = Scene("beach", "night", (CAT, HOUSE))
    what = storybook.sample_question(scene, rng, "what")
    assert what.answer == "a red house, a black cat"
    assert what.is_right("A black cat, a red house.") and not what.is_right("a black cat")
    assert storybook.sample_question(scene, rng, "count").answer == "two"
    assert storybook.sample_question(Scene("beach", "day", (CAT,)), rng, "where").answer == "at the bottom far left"


def test_compositions_keep_the_chosen_things():
    rng = Random(8)
    for _ in range(300):
        plan = storybook.sample_composition(rng)
        assert {piece for piece in plan.instruction if isinstance(piece, int)} == set(range(len(plan.references)))
        for source, thing, kept in zip(plan.references, plan.chosen, plan.kept, strict=True):
            assert thing in source.things and kept in plan.target.things
            same = ("kind", "colour", "size", "pose")
            assert [getattr(thing, name) for name in same] == [getattr(kept, name) for name in same]
        words = " ".join(piece for piece in plan.instruction if isinstance(piece, str))
        assert set(storybook.words_of(words)) <= storybook.vocabulary()
        named = storybook.parse_caption(words)
        assert named.ground in (None, plan.target.ground) and named.sky in (None, plan.target.sky)
    with pytest.raises(ValueError, match="1 to 3 reference"):
        storybook.sample_composition(rng, 4)


def test_videos_are_legal_and_their_edits_lead_from_frame_to_frame():
    rng = Random(9)
    changes = 0
    for _ in range(200):
        video = storybook.sample_video(rng)
        before, after = sorted(rng.sample(range(len(video)), 2))
        edits = storybook.edits_between(video, before, after)
        changes += len(edits)
        outcome = storybook.apply(video.scene(before), edits)
        assert (outcome.ground, outcome.sky) == (video.grounds[after], video.skies[after])
        assert sorted(outcome.things) == sorted(video.scene(after).things)
        for track in video.tracks:
            for one, other in pairwise(track):
                if one and other:  # nothing jumps: one place a frame
                    assert max(abs(one.column - other.column), abs(one.row - other.row)) <= 2
    assert changes > 100
    masks = video.masks(0)
    assert masks.shape == (8, 128, 128)
    assert (masks[0] == storybook.mask_of(video.tracks[0][0])).all()
    with pytest.raises(ValueError, match="2 frames"):
        storybook.sample_video(rng, frames=1)


def test_collision_does_not_depend_on_jitter():
    left, right = (Thing("cat", "black", "small", c, 3, "facing left", j) for c, j in ((0, (1, 0)), (1, (-1, 0))))
    assert collide(left, right) == collide(left.still(), right.still())
