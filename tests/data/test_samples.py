"""The data pipeline: samples that depend on (seed, index) alone, and shards that come back bit for bit."""

import json
import math
import re
from collections import Counter
from itertools import islice
from random import Random

import numpy as np
import pytest
from comfyui_wegen.models import storybook
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.data import (
    TASKS,
    Forgotten,
    Picture,
    Sample,
    ShardError,
    Text,
    generate_samples,
    read_shard,
    refine_video,
    sample_at,
    stream,
    write_samples,
)
from comfyui_wegen.models.data.annotator import Dynamics, dynamics
from comfyui_wegen.models.data.annotator import order as order_of
from comfyui_wegen.models.data.strange_pictures import strange_picture
from comfyui_wegen.models.data.tasks import ANEW, KEEPING, damaged
from comfyui_wegen.models.media.conditions import CONDITIONS, DEGRADATIONS, MISSING
from comfyui_wegen.models.network.configuration import Templates
from comfyui_wegen.models.storybook import Mention, Named, Scene, language
from comfyui_wegen.models.storybook.catalogue import GROUNDS
from comfyui_wegen.models.storybook.language import declining
from comfyui_wegen.models.storybook.language.words import KIND_WORDS

EVERYTHING = dict.fromkeys(TASKS, 1.0)

TEMPLATES = Templates(anew=ANEW, kept=KEEPING)


def texts_of(sample, role=None):
    return [part.text for part in sample.parts if isinstance(part, Text) and role in (None, part.role)]


@pytest.fixture
def shards(tmp_path):
    write_samples(tmp_path / "shards", generate_first(25), 10)
    return tmp_path / "shards"


def test_a_sample_depends_on_seed_and_index_alone():
    first = list(islice(generate_samples(EVERYTHING, seed=1), 30))
    assert first[20:] == list(islice(generate_samples(EVERYTHING, seed=1, start=20), 10))
    assert first[7] == sample_at(EVERYTHING, 1, 7) != sample_at(EVERYTHING, 2, 7)


def test_the_mix_is_checked_and_followed():
    with pytest.raises(ValueError, match=r"Unknown task 'paint'.*rewrite"):
        generate_samples({"paint": 1}, 0)
    with pytest.raises(ValueError, match="weights"):
        generate_samples({"caption": 0}, 0)
    for bad in (["caption"], "caption", {"caption": "1"}, {"caption": None}, {"caption": True}, {"caption": math.inf}):
        with pytest.raises(ValueError, match="object of finite numbers"):
            generate_samples(bad, 0)
    tasks = [sample.task for sample in islice(generate_samples({"caption": 3, "rewrite": 1}, 0), 200)]
    assert set(tasks) == {"caption", "rewrite"} and 120 < tasks.count("caption") < 180


@pytest.mark.parametrize("task", TASKS)
def test_only_the_assistant_is_learned(task):
    for sample in islice(generate_samples({task: 1}, 11), 40):
        assert sample.task == task
        assert not any(part.target for part in sample.parts if part.role == "user")
        learned = [all(part.target for part in parts) for role, parts in sample.turns() if role == "assistant"]
        assert all(learned) or task == "chat"  # in which some turns are answered wrong, to go on from there
        assert learned[0] and learned[-1]
        roles = [role for role, _ in sample.turns()]
        assert roles[0] == "user" and roles[-1] == "assistant"
        json.dumps(sample.record)
        if task != "outside":  # whatever words people use, answers are in the storybook's own
            for text in texts_of(sample, "assistant"):
                assert set(storybook.words_of(TEMPLATES.of_picture(text))) <= storybook.vocabulary(), text


def test_a_chat_goes_on_from_what_was_answered_wrong():
    wrong = 0
    for sample in islice(generate_samples({"chat": 1}, 3), 200):
        answers = [parts for role, parts in sample.turns() if role == "assistant"]
        drawn = [parts for parts in answers if any(isinstance(part, (Picture, Forgotten)) for part in parts)]
        assert len(drawn) == len(sample.record["scenes"])
        for parts, scene in zip(drawn, sample.record["scenes"], strict=True):  # what was said is what is there
            assert TEMPLATES.of_picture(parts[0].text) == storybook.full_caption(Scene.from_json(scene))
        unlearned = [not parts[0].target for parts in drawn]
        assert not any(unlearned[:1] + unlearned[-1:])
        wrong += sum(unlearned)
    assert 20 < wrong < 150


def test_boats_of_open_wishes_are_on_water():
    grounds = Counter()
    for sample in islice(generate_samples({"rewrite": 1}, 3), 3000):
        boat = any(thing["kind"] == "boat" for thing in sample.record["named"]["things"])
        if sample.record["named"]["ground"] is None:
            grounds[boat, sample.record["scene"]["ground"]] += 1
        elif boat:
            assert sample.record["scene"]["ground"] == sample.record["named"]["ground"]
    boats = {ground: count for (boat, ground), count in grounds.items() if boat}
    on_water = boats["sea"] + boats.get("lake", 0)
    assert on_water > 0.65 * sum(boats.values()) > 20  # others come with a house, which is named first
    others = {ground: count for (boat, ground), count in grounds.items() if not boat}
    assert len(others) == len(GROUNDS)  # all come up; few houses stand on the sea
    assert all(count > 0.24 / len(GROUNDS) * sum(others.values()) for count in others.values()), others
    assert others["sea"] < 0.25 * sum(others.values())


def test_descriptions_and_pictures_agree_with_the_record():
    for sample in islice(generate_samples({"text_to_picture": 1, "rewrite": 1, "compose": 1}, 12), 100):
        scene = Scene.from_json(sample.record["scene"])
        *_, words, picture = sample.parts
        assert storybook.parse_caption(words.text) == Named.of(scene)
        assert np.array_equal(picture.pixels, storybook.render(scene))
        if sample.task == "rewrite":
            named = Named.from_json(sample.record["named"])
            assert storybook.covers(storybook.parse_caption(words.text), named)
        plain = set(storybook.words_of(texts_of(sample)[0])) <= storybook.vocabulary()
        if sample.task == "text_to_picture" and plain:  # said in the same order
            assert storybook.parse_caption(sample.parts[0].text).things == storybook.parse_caption(words.text).things


def test_refinement_shows_one_frame_after_the_other():
    asked = 0
    for sample in islice(generate_samples({"refine": 1}, 13), 60):
        scenes = [Scene.from_json(record) for record in sample.record["scenes"]]
        assert 2 <= len(scenes) <= 4 and len(sample.record["edits"]) == len(scenes) - 1
        for scene, picture in zip(scenes, sample.pictures(), strict=True):
            assert np.array_equal(picture.pixels, storybook.render(scene))
        said = [storybook.parse_caption(TEMPLATES.of_picture(text)) for text in texts_of(sample, "assistant")]
        for scene, named in zip(scenes[-len(said) :], said, strict=True):
            assert named.same_as(Named.of(scene))
        asked += len(said) == len(scenes)
        silent = sample.without_rewrites()
        assert not texts_of(silent, "assistant") and silent.pictures() == sample.pictures()
    assert 15 < asked < 45


def test_orders_in_own_words_lead_from_picture_to_picture():
    asked = 0
    for sample in islice(generate_samples({"revise": 1}, 13), 60):
        scenes = [Scene.from_json(record) for record in sample.record["scenes"]]
        assert 2 <= len(scenes) <= 4 and len(sample.record["orders"]) == len(scenes) - 1
        for scene, picture in zip(scenes, sample.pictures(), strict=True):
            assert np.array_equal(picture.pixels, storybook.render(scene))
        said = [storybook.parse_caption(TEMPLATES.of_picture(text)) for text in texts_of(sample, "assistant")]
        for scene, named in zip(scenes[-len(said) :], said, strict=True):
            assert named.same_as(Named.of(scene))
        asked += len(said) == len(scenes)
    assert 15 < asked < 45


def test_the_words_for_an_order_begin_with_what_it_wants_kept():
    named = 0
    for sample in islice(generate_samples({"revise": 1}, 29), 200):
        scenes = [Scene.from_json(record) for record in sample.record["scenes"]]
        orders = [record["text"] for record in sample.record["orders"]]
        answers = texts_of(sample, "assistant")[-len(orders) :]
        for before, after, text in zip(scenes, scenes[1:], answers, strict=False):
            for mention in storybook.parse_caption(TEMPLATES.things_kept(text)).things:
                [thing] = [one for one in before.things if mention.fits(Mention.of(one))]
                assert thing in after.things
                named += 1
    assert named > 20


def test_what_lies_in_a_picture_that_is_brought_is_told_as_it_lies():
    """Nobody has named its things in another order."""
    brought = 0
    for sample in islice(generate_samples({"add_reference": 1}, 23), 60):
        if isinstance(sample.parts[0], Picture):
            *there, _ = Scene.from_json(sample.record["scene"]).things
            brought += len(there) > 1
            assert there == sorted(there, key=lambda thing: (thing.row, thing.column))
    assert brought > 8


@pytest.mark.parametrize("task", ["condition", "restore"])
def test_pictures_to_draw_after_are_answered_by_the_whole_page(task):
    given, changed = Counter(), 0
    for sample in islice(generate_samples({task: 1}, 17), 60):
        scene = Scene.from_json(sample.record["scene"])
        guide, asked, words, page, *later = sample.parts
        assert words.text.startswith(f"{ANEW}, ")
        changed += bool(later)
        for order, described, picture in [later] if later else []:
            assert order.role == "user" and ANEW not in described.text and picture.target
        assert isinstance(guide, Picture) and isinstance(asked, Text) and not guide.target
        assert guide.pixels.shape == page.pixels.shape and (guide.pixels != page.pixels).any()
        assert np.array_equal(page.pixels, storybook.render(scene))
        assert storybook.parse_caption(TEMPLATES.of_picture(words.text)).same_as(Named.of(scene))
        given[sample.record["condition" if task == "condition" else "degradation"]] += 1
    assert 10 < changed < 40
    assert set(given) == set(CONDITIONS if task == "condition" else DEGRADATIONS)


def test_a_style_is_taken_from_the_picture_that_shows_it():
    seen = Counter()
    for seed in range(80):
        sample = TASKS["style"](Random(seed))
        scene, like = (storybook.Scene.from_json(sample.record[name]) for name in ("scene", "like"))
        assert scene.style == like.style
        drawn = [part for part in sample.parts if isinstance(part, Picture) and part.target]
        given = [part for part in sample.parts if isinstance(part, Picture) and not part.target]
        assert any(np.array_equal(part.pixels, storybook.render(like)) for part in given)
        assert any(np.array_equal(part.pixels, storybook.render(scene)) for part in drawn)
        seen[len(given), len(drawn)] += 1
    assert len(seen) >= 4


def test_a_missing_square_leaves_something_of_every_thing():
    scene = storybook.sample_scene(Random(4), 4)
    page, masks = storybook.render_with_masks(scene)
    for seed in range(20):
        hidden = (damaged(scene, "missing square", Random(seed)) == MISSING).all(axis=-1)
        assert hidden.any() and all((hidden & mask).sum() <= 0.6 * mask.sum() for mask in masks)
        assert page.shape[:2] == hidden.shape


def test_what_is_outside_is_answered_in_words_alone():
    tasks, declined, followed = Counter(), Counter(), 0
    for sample in islice(generate_samples({"outside": 1}, 16), 120):
        *_, question, answer = sample.parts
        assert isinstance(answer, Text) and answer.target and language.is_plain(answer.text)
        tasks[question.task] += 1
        plain = [text for text in texts_of(sample, "assistant") if language.is_plain(text)]
        declined[len(plain)] += 1
        assert len(plain) == len(sample.record.get("kinds", [1]))
        turns = [parts for role, parts in sample.turns() if role == "assistant"]
        followed += any(isinstance(turn[-1], Forgotten) for turn in turns[1:])
    assert set(tasks) == {"rewrite", "edit_rewrite", "ask"}
    assert set(declined) == {1, 2, 3, 4} and followed > 10  # between them what can be done is done


def test_what_the_bundled_model_learns_to_say_fits_into_one_answer():
    checkpoint = open_checkpoint(BUNDLED)
    tokenizer, limit = checkpoint.tokenizer, checkpoint.config.templates.rewrite_limit
    # Cut before its end, an answer in words is taken for the description of a picture.
    samples = islice(generate_samples(EVERYTHING, 23), 600)
    said = {part.text for sample in samples for part in sample.parts if isinstance(part, Text) and part.target}
    assert declining.ALL_I_DRAW in said
    longest = max(said, key=lambda text: len(tokenizer.encode(text, begin=False)))
    assert len(tokenizer.encode(longest, begin=False)) + 1 <= limit, longest


def test_what_is_seen_is_what_was_described_last():
    compared = 0
    for sample in islice(generate_samples({"outside": 1}, 18), 400):
        described = None
        for text in texts_of(sample, "assistant"):
            if not language.is_plain(text):
                described = storybook.parse_caption(TEMPLATES.of_picture(text))
            elif described and "i see " in text:
                seen = storybook.parse_caption(text.partition("i see ")[2])
                looks = (Counter((one.kind, one.colour) for one in named.things) for named in (seen, described))
                compared += 1
                assert next(looks) == next(looks), (described, text)
    assert compared > 40


def test_strange_pictures_differ_and_repeat():
    pictures = [strange_picture(Random(seed)) for seed in range(12)]
    assert all(picture.shape == (128, 128, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 12
    assert np.array_equal(pictures[3], strange_picture(Random(3)))


def test_nothing_is_unclear_after_a_thing_was_spoken_of():
    """ "it" is asked about only in a first order."""
    firsts = Counter()
    for sample in islice(generate_samples({"outside": 1}, 21), 400):
        plain = [text for text in texts_of(sample, "assistant") if language.is_plain(text)]
        unclear = [text.startswith("i do not know which thing") for text in plain]
        firsts[unclear[0]] += 1
        assert not any(unclear[1:])
    assert firsts[True] > 5


def test_a_picture_to_be_changed_may_have_been_wished_for():
    whole = wished = 0
    for sample in islice(generate_samples({"chat": 1}, 22), 120):
        request = next(part.text for part in sample.parts if isinstance(part, Text))
        first = Scene.from_json(sample.record["scenes"][0])
        named = sum(any(word in request for word in KIND_WORDS[thing.kind]) for thing in first.things)
        whole, wished = whole + (named == len(first.things)), wished + (named < len(first.things))
    assert whole > 60 and wished > 15


def test_a_chat_forgets_its_pictures_and_keeps_its_words():
    seen = set()
    for sample in islice(generate_samples({"chat": 1}, 14), 60):
        scenes = [Scene.from_json(record) for record in sample.record["scenes"]]
        drawn = [turn for _, turn in sample.turns() if isinstance(turn[-1], Picture | Forgotten) and len(turn) == 2]
        assert 2 <= len(scenes) == len(drawn) <= 8
        for scene, (words, picture) in zip(scenes, drawn, strict=True):
            assert storybook.parse_caption(TEMPLATES.of_picture(words.text)).same_as(Named.of(scene))
            if isinstance(picture, Picture):
                assert np.array_equal(picture.pixels, storybook.render(scene))
        kept = [isinstance(picture, Picture) for _, picture in drawn]
        assert kept == sorted(kept)  # the oldest go first
        seen.add(sum(kept))
        answers = texts_of(sample, "assistant")[len(scenes) :]
        assert answers == [item["answer"] for item in sample.record["questions"]]
    assert seen == {0, 1, 2}


def test_a_picture_is_asked_about_often_and_never_twice_the_same():
    topics, counted = Counter(), Counter()
    for sample in islice(generate_samples({"question": 1}, 15), 100):
        texts = [item["text"] for item in sample.record["questions"]]
        assert len(set(texts)) == len(texts) >= 3
        topics.update(item["topic"] for item in sample.record["questions"])
        counted.update(item["answer"] for item in sample.record["questions"] if item["topic"] == "how_many")
    assert 0.15 < counted["two"] / counted.total() < 0.35
    assert set(topics) == {*storybook.TOPICS, "relation"} and topics["where"] > 1.5 * topics["ground"]


def test_a_frame_differs_in_nothing_from_itself():
    assert dynamics(storybook.sample_video(Random(1)), 2, 2, Random(0)) == Dynamics("", 0)


def test_what_comes_and_leaves_within_a_frame_is_no_instance():
    video = storybook.sample_video(Random(1958))
    assert all(any(track) for track in video.tracks)


def test_a_video_without_events_gives_no_sample():
    video = storybook.sample_video(Random(1), events=0)
    assert refine_video(video, Random(0)) is None


def test_parts_refuse_what_they_cannot_hold():
    with pytest.raises(ValueError, match=r"uint8.*float64.*\[2, 2, 3\]"):
        Picture(np.zeros((2, 2, 3)), "user")
    with pytest.raises(ValueError, match="Unknown role 'model'"):
        Text("hello", "model")


def test_shards_come_back_bit_for_bit(shards):
    written = list(islice(generate_samples(EVERYTHING, seed=3), 25))
    assert list(islice(stream(shards, seed=None), 25)) == written
    assert [path.name for path in sorted(shards.glob("*.tar"))] == [f"wegen-00000{n}.tar" for n in range(3)]


def test_equal_samples_give_equal_files(shards, tmp_path):
    again = write_samples(tmp_path / "again", generate_first(25), 10)
    for path in again:
        assert path.read_bytes() == (shards / path.name).read_bytes()


def test_stream_is_shuffled_deterministic_and_resumable(shards):
    first = list(islice(stream(shards, seed=5), 60))
    assert first == list(islice(stream(shards, seed=5), 60))
    for start in (1, 9, 10, 24, 25, 33):
        assert first[start : start + 12] == list(islice(stream(shards, seed=5, start=start), 12))
    one_pass, next_pass = first[:25], first[25:50]
    assert one_pass != next_pass and one_pass != list(islice(stream(shards, seed=6), 25))
    whole = {sample.parts for sample in generate_first(25)}
    assert {sample.parts for sample in one_pass} == {sample.parts for sample in next_pass} == whole


def generate_first(count):
    return islice(generate_samples(EVERYTHING, seed=3), count)


def test_webdataset_reads_the_shards(shards):
    webdataset = pytest.importorskip("webdataset")
    entries = list(webdataset.WebDataset(str(shards / "wegen-000000.tar"), shardshuffle=False))
    assert len(entries) == 10
    for entry, sample in zip(entries, generate_first(10), strict=True):
        assert json.loads(entry["json"])["task"] == sample.task
        assert sum(name.endswith(".png") for name in entry) == len(sample.pictures())


def test_damage_is_reported_with_file_and_key(shards, tmp_path):
    path = shards / "wegen-000001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardError, match=r"wegen-000001\.tar"):
        list(islice(stream(shards, seed=0), 25))
    at = whole.index(b"\x89PNG")
    path.write_bytes(whole[:at] + bytes(40) + whole[at + 40 :])
    with pytest.raises(ShardError, match=r"\d{9}\.0\.png of .*wegen-000001\.tar"):
        list(read_shard(path))
    path.unlink()
    with pytest.raises(ShardError, match=r"wegen-000001\.tar is missing"):
        list(islice(stream(shards, seed=0), 25))
    (shards / "index.json").write_text("{}")
    with pytest.raises(ShardError, match=r"index\.json is damaged"):
        stream(shards, seed=0)
    with pytest.raises(ShardError, match=r"No index\.json"):
        stream(tmp_path / "nowhere", seed=0)


@pytest.mark.parametrize("part", [Text(5, "user", False), Text("a cat", "user", "no")])
def test_a_text_of_the_wrong_kind_is_reported_with_file_and_key(tmp_path, part):
    [path] = write_samples(tmp_path, [Sample("caption", (part,))])
    with pytest.raises(ShardError, match=r"000000000\.json of .*wegen-000000\.tar.*text"):
        list(read_shard(path))


def test_shards_that_were_never_finished_leave_nothing_behind(tmp_path):
    (tmp_path / "wegen-000007.tar").write_bytes(b"half")
    (tmp_path / "notes.tar").write_bytes(b"mine")
    [path] = write_samples(tmp_path, generate_first(2))
    assert {one.name for one in tmp_path.iterdir()} == {path.name, "index.json", "notes.tar"}


def test_finished_shards_are_never_overwritten(shards):
    with pytest.raises(ShardError, match="already holds"):
        write_samples(shards, [Sample("caption", ())])


def test_pictures_keep_their_instance_maps(tmp_path):
    pixels, labels = np.full((6, 9, 3), 7, np.uint8), np.arange(54, dtype=np.uint8).reshape(6, 9)
    parts = (Picture(pixels, "user", False, labels), Text("a dot", "user"), Picture(pixels[:4, :3], "assistant", True))
    sample = Sample("refine", parts, {"times": [0.5, 1.0]})
    [path] = write_samples(tmp_path, [sample])
    [back] = read_shard(path, 1)
    assert back == sample and np.array_equal(back.pictures()[0].instance_map, labels)
    assert back.pictures()[1].instance_map is None and back.parts[0] != Picture(pixels, "user")
    with pytest.raises(ValueError, match=r"instance map .* \[6, 9\]"):
        Picture(pixels, "user", False, labels[1:])


def test_orders_of_the_grammar_leave_what_is_to_stay_to_those_whose_answers_name_it():
    for seed in range(300):
        rng = Random(seed)
        scene = storybook.sample_scene(rng, 3)
        text = order_of(scene, storybook.sample_edits(scene, rng, 1), rng)
        assert not re.search(r"\bkeep\b|as it is|nothing else", text), text
