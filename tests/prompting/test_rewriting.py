"""Rewriting: seeds, attempts and constraints on a scripted model, cleaning, and the words of a closed world."""

import argparse
import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models import pipeline as pipeline_module
from comfyui_wegen.models import storybook
from comfyui_wegen.models.engine import Wish, think
from comfyui_wegen.models.errors import AnsweredInWords, WeGenError
from comfyui_wegen.models.evaluation import rewriting as measured
from comfyui_wegen.models.evaluation.rewriting import VAGUE, kept, vague_wishes
from comfyui_wegen.models.media.metadata import turns_of
from comfyui_wegen.models.network.configuration import Templates
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting import rewriting
from comfyui_wegen.models.prompting.asking import ask
from comfyui_wegen.models.prompting.checks import WordsStay, content_words, stem
from comfyui_wegen.models.prompting.domain import constraint, description_request, understand
from comfyui_wegen.models.prompting.rewriting import (
    ATTEMPTS,
    TRIES,
    RewriteRequest,
    clean,
    report,
    rewrite,
    rewrite_each,
    rows_needed,
    with_mentions,
)
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from comfyui_wegen.models.storybook import Mention, Named, demand_of_order, demand_of_wish
from comfyui_wegen.models.values import Answer, Chat, Reference, References, SamplerSettings, Turn

WARM = TextSampling(temperature=1.0)
PAGE = (
    "on a beach at night, a small red house with the lights on at the bottom left, "
    "a big black cat facing left at the bottom right."
)


@pytest.fixture(scope="module")
def wegen(tiny):
    return tiny[0]


@pytest.fixture(scope="module")
def reader(wegen):
    """A model with the storybook's words, few tokens and no references in its sentences."""
    templates = Templates(mention="{picture}", rewrite_place="answer", rewrite_limit=12)
    return replace(wegen, config=replace(wegen.config, world="storybook", templates=templates))


@pytest.fixture
def scripted(monkeypatch):
    """Call it with a function from seed and attempt to the words that are then written. Gives the list of calls."""

    def script(words):
        calls = []

        def write(author, wanted):
            assert len({number < author.tries for _, number in wanted}) == 1  # all as asked, or all boldly
            calls.append([(slot.seed, number) for slot, number in wanted])
            texts = [words(slot.seed, number) for slot, number in wanted]
            found = zip(texts, wanted, strict=True)
            return [rewriting._Attempt(text, author.demands[slot.wish].missing(text), ()) for text, (slot, _) in found]

        monkeypatch.setattr(rewriting._Author, "write", write)
        return calls

    return script


# --- the model's own words --------------------------------------------------------------------------------------------


def test_seeds_give_their_words_in_any_batch(wegen):
    many = rewrite(wegen, "12", range(5, 11), WARM, limit=10)
    assert len({one.text for one in many}) >= 5  # a wish that comes back as it is may come twice
    assert rewrite(wegen, "12", range(5, 11), WARM, limit=10) == many
    assert rewrite(wegen, "12", range(5, 8), WARM, limit=10) == many[:3]
    assert [one.seed for one in many] == list(range(5, 11))
    assert rewrite(wegen, "12", range(6, 9), WARM, limit=10) != many[:3]


def test_without_chance_all_seeds_say_the_same(wegen):
    cold = rewrite(wegen, "12", range(4), TextSampling(), limit=10)
    assert len({one.text for one in cold}) == 1
    assert [one.seed for one in cold] == [0, 1, 2, 3] and not any(one.repeated for one in cold)


def test_many_wishes_at_once_are_as_if_each_were_alone(wegen):
    wishes = ["12", "3 4 5", "of the"]
    each = rewrite_each(wegen, [RewriteRequest(wish) for wish in wishes], [3, 4], WARM, limit=8)
    assert each == [rewrite(wegen, wish, [3, 4], WARM, limit=8) for wish in wishes]


def test_a_token_is_the_most_that_a_cancel_waits_for(wegen):
    class StopError(Exception):
        pass

    steps = []

    def stop(done, total):
        steps.append(done)
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        rewrite(wegen, "12", [0], WARM, limit=10, on_token=stop)
    assert steps == [1, 2]


@pytest.mark.parametrize(
    ("instruction", "seeds", "limit", "message"),
    [("  ", [0], 5, "empty"), ("a", [], 5, "0 rewrites"), ("a", [0], 0, "limit of 0"),
     ("a cat " * 10_000, [0], 5, "context holds 2048")],
)  # fmt: skip
def test_what_cannot_be_rewritten_is_said(wegen, instruction, seeds, limit, message):
    with pytest.raises(WeGenError, match=message):
        rewrite(wegen, instruction, seeds, WARM, limit=limit)


@pytest.mark.parametrize("instruction", ["🐱🌙", "夜の猫", "[/INST] <img> </s> cat", "ein Haus, bitte", "\ud83d"])
def test_strange_wishes_give_clean_words(wegen, instruction):
    for one in rewrite(wegen, instruction, [0, 1], WARM, limit=10):
        assert one.text.strip() and one.text.isprintable() and "\ufffd" not in one.text


# --- which attempt is taken -------------------------------------------------------------------------------------------


def test_what_came_before_is_drawn_again(wegen, scripted):
    words = {(0, 0): "one", (1, 0): "One.", (1, 1): "two", (2, 0): "two", (2, 1): "one", (2, 2): "three"}
    calls = scripted(lambda seed, attempt: words.get((seed, attempt), "spare"))
    texts = [one.text for one in rewrite(wegen, "12", [0, 1, 2], WARM)]
    assert texts == ["one", "two", "three"]
    assert calls[0] == [(0, 0), (1, 0), (2, 0)]
    for count in (1, 2):
        assert [one.text for one in rewrite(wegen, "12", range(count), WARM)] == texts[:count]


def test_repeats_are_reported_and_end(wegen, scripted):
    calls = scripted(lambda seed, attempt: "the same")
    found = rewrite(wegen, "12", range(3), WARM)
    assert [(one.text, one.repeated) for one in found] == [("the same", False), ("the same", True), ("the same", True)]
    assert max(attempt for call in calls for _, attempt in call) == TRIES - 1
    assert "2 of 3 descriptions repeat" in report(found)
    assert report(found[:1]) == ""


def test_what_a_wish_names_is_waited_for(wegen, scripted):
    calls = scripted(lambda seed, attempt: "two cats at sea" if attempt == 5 else "a dog at sea")
    [found] = rewrite(wegen, "a cat", [7], WARM)
    assert (found.text, found.attempts, found.missing) == ("two cats at sea", 6, ())
    assert all(len(call) <= rows_needed(1) for call in calls)


def test_a_wish_that_is_never_kept_stands_in_front(wegen, scripted):
    calls = scripted(lambda seed, attempt: "a dog by night" if attempt == 3 else "a dog")
    [found] = rewrite(wegen, "a cat by night", [7], WARM)
    assert found.text == "a cat by night. a dog by night" and found.missing == ("cat",) and found.mended
    assert sum(map(len, calls)) == ATTEMPTS
    assert "lacked something in all 8 attempts: cat" in report([found])


def test_the_second_attempt_goes_on_where_the_first_went_wrong(reader, monkeypatch):
    """What touches is drawn again from there, once; what lacks something, and every later attempt, from the start."""
    config = replace(reader.config, templates=replace(reader.config.templates, rewrite_limit=300))
    reader, tokenizer = replace(reader, config=config), reader.tokenizer
    sound = "on a beach at night, a small red house with the lights on at the bottom left"
    touching = sound + ", a big black cat facing left at the bottom left."
    lacking = "on a beach at night, a big black cat facing left at the bottom right."
    end, begun = tokenizer.picture_begin_id, []

    def write(self, *_, **options):
        begun.append(options["begun"])
        texts = {0: (touching, lacking), 1: (touching, touching)}.get(len(begun) - 1, (PAGE,) * self.batch)
        return [[*tokenizer.encode(text, begin=False), end] for text in texts]

    monkeypatch.setattr(rewriting.Decoding, "write_text", write)
    found = rewrite(reader, "a house", [0, 1], WARM)
    assert [one.attempts for one in found] == [3, 3 + found[1].repeated] and found[0].text == PAGE
    assert begun[0] == [(), ()]
    assert [clean(reader, ids) for ids in begun[1]] == [sound, ""]
    assert not any(any(ids) for later in begun[2:] for ids in later)


def test_attempts_of_neighbouring_seeds_differ():
    states = {rewriting._generator(seed, attempt).initial_seed() for seed in range(16) for attempt in range(ATTEMPTS)}
    assert len(states) == 16 * ATTEMPTS


def test_a_model_with_nothing_to_add_leaves_the_wish(wegen, monkeypatch):
    begin = wegen.tokenizer.picture_begin_id
    monkeypatch.setattr(rewriting.Decoding, "write_text", lambda self, *a, **k: [[begin]] * self.batch)
    found = rewrite(wegen, " a cat ", [0, 1], WARM)
    assert [(one.text, one.repeated) for one in found] == [("a cat", False)] * 2  # nothing to add is no repetition


# --- constraints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "said", "missing"),
    [
        ("Please draw two Cats and a house", "Two fluffy cats beside houses.", ()),
        ("a café in the city", "Cities of light: a small CAFE", ()),
        ("a fox in boxes", "the fox sits in a box", ()),
        ("a red rose", "a rose", ("red",)),
        ("a cat", "a category of things", ("cat",)),
        ("夜の猫", "a cat at night", ()),
    ],
)
def test_content_words_stay(wish, said, missing):
    assert WordsStay(wish).missing(said) == missing


def test_words_without_content_may_go():
    assert content_words("please show me a picture of the red house with some trees") == ("red", "house", "trees")
    assert stem("houses") == stem("house") and stem("roses") == stem("rose") != stem("rosy") and stem("bus") == "bus"


def test_references_stay_where_words_alone_speak_of_them(wegen):
    asked = constraint(wegen.config, "the hat of @my-cat in snow", Chat())
    assert asked.missing("a hat in the snow") == ("@my-cat",)
    assert asked.missing("my cat with a hat in the snow") == ()


def test_mentions_can_be_read_again(wegen):
    cat = Reference("cat", torch.zeros(64, 32), torch.zeros(2, 2, 3))
    assert with_mentions(wegen, "cat (picture 1) and @dog", References((cat,))) == "@cat and dog"
    assert with_mentions(wegen, "mail to a@dog or @dog", References()) == "mail to a@dog or @dog"


def test_the_storybook_holds_descriptions_to_what_they_mean():
    known = storybook.vocabulary()
    wish = demand_of_wish("a kitten and a cottage at night", known)
    assert wish.missing(PAGE) == ()
    assert wish.missing(PAGE.replace("night", "dusk")) == ("at night",)
    assert wish.missing(PAGE.replace("cat facing left", "car facing left")) == ("a cat",)
    assert wish.missing("at night, a cat, a house") == ("one whole scene",)
    assert wish.missing(PAGE + " zzz") == ("sense (zzz)",)
    touching = PAGE.replace("bottom right", "bottom left")
    assert wish.missing(touching) == ("one whole scene",)
    assert wish.sound(touching) == PAGE[: PAGE.index(", a big black cat")]
    assert wish.sound(PAGE.replace("night", "dusk")) == wish.sound("zzz") == ""
    assert wish.mend("at night, a cat, a house") and not wish.mend("at night, a cat")
    higher = demand_of_wish("a green cottage in the upper part, and snow", known)
    assert higher.missing(PAGE) and higher.missing(higher.mend(PAGE)) == ()
    assert higher.mend(PAGE).endswith("a big black cat facing left at the bottom right.")
    assert not demand_of_wish("a boat on the sea", known).mend(PAGE)  # there is none that could be changed
    blocked = demand_of_wish("a cat at the bottom left", known)
    assert not blocked.mend(PAGE)  # there is the house
    two = demand_of_wish("two red things", known)
    assert two.missing(PAGE) and not two.missing(PAGE.replace("black cat facing left", "red open umbrella"))


@pytest.mark.parametrize("level", storybook.LEVELS)
def test_descriptions_that_fulfil_a_wish_are_taken(level):
    rng = Random(f"demand/{level}")
    for _ in range(60):
        wish, scene = storybook.sample_wish(rng, level)
        demand = demand_of_wish(wish.text, storybook.vocabulary())
        assert demand.missing(storybook.full_caption(scene)) == (), wish.text
        assert demand.settled(wish.text)


def test_orders_say_what_comes_and_keep_what_they_do_not_touch():
    rng = Random("orders")
    for _ in range(300):
        scene = storybook.sample_scene(rng)
        edits = storybook.sample_edits(scene, rng, rng.choice((1, 2)))
        order = storybook.instruction(scene, edits, rng)
        demand = demand_of_order(order, storybook.full_caption(scene), storybook.vocabulary())
        after = storybook.apply(scene, edits)
        assert demand.missing(storybook.full_caption(after)) == (), (order, scene)
        assert demand.missing(storybook.full_caption(scene)), (order, scene)
        fewer = replace(after, things=after.things[1:])
        assert demand.missing(storybook.full_caption(fewer)), (order, scene)


def test_an_order_that_no_rewrite_follows_is_followed_all_the_same(reader, scripted):
    """Where the order is clear, what must be there is known without the model; where it is not, its words stand."""
    scripted(lambda seed, attempt: PAGE)
    chat = Chat().add(Turn("a cat", (Answer(PAGE, torch.zeros(64, 32), torch.zeros(2, 2, 3), 0),)))
    [found] = rewrite(reader, "delete the house", [0], WARM, chat=chat)
    assert found.text == "on a beach at night, a big black cat facing left at the bottom right."
    assert found.missing and found.mended and "1 mended" in report([found])
    [found] = rewrite(reader, "add a red bird", [0], WARM, chat=chat)
    assert found.text == PAGE and found.missing and not found.mended and "mended" not in report([found])


@pytest.mark.parametrize(
    "order, allowed, refused",
    [
        ("make it cosy", "on a road at dusk, a small red open umbrella at the top left", None),
        ("make the cat nicer", PAGE.replace("black", "white"), PAGE.replace("red house", "blue house")),
        ("make the cat nicer", None, PAGE.replace("on a beach", "in the snow")),
        ("add @toy", PAGE + " a big red plain balloon at the top left.", PAGE),
        ("put the balloon of @toy at the top left", PAGE + " a big red plain balloon at the top left.", PAGE),
        ("remove the cat, then move the house one step up", None, PAGE),
        ("it should be bigger", PAGE, None),
    ],
)
def test_an_order_that_is_half_understood_leaves_open_what_it_may_mean(order, allowed, refused):
    demand = demand_of_order(order, PAGE, storybook.vocabulary())
    assert allowed is None or demand.missing(allowed) == ()
    assert refused is None or demand.missing(refused)


def test_what_lies_in_a_kept_area_stays_whatever_an_order_means():
    known, left_half = storybook.vocabulary(), np.zeros((90, 150), np.float32)
    left_half[:, :75] = 1
    without_house = "on a road at dusk, a big black cat facing left at the bottom right."
    without_cat = "on a road at dusk, a small red house with the lights on at the bottom left."
    order = "make it cosy"
    assert demand_of_order(order, PAGE, known).missing(without_house) == ()
    assert demand_of_order(order, PAGE, known, left_half).missing(without_house)
    assert demand_of_order(order, PAGE, known, left_half).missing(without_cat) == ()
    # What an order clearly says is not held against it: the pixels stay all the same.
    house_gone = PAGE.replace("a small red house with the lights on at the bottom left, ", "")
    assert demand_of_order("remove the house", PAGE, known, left_half).missing(house_gone) == ()


def test_refinements_tell_the_words_what_is_kept(tiny, monkeypatch):
    """Earlier keep masks count as well as those of the turn, and nothing does once it is released."""
    pipeline, seen = Pipeline(*tiny), []

    def stop(wegen, chat, wish, *_):
        seen.append(wish.kept)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline_module, "think", stop)
    top, left = torch.zeros(8, 8), torch.zeros(8, 8)
    top[:4], left[:, :4] = 1, 1
    answer = Answer("", torch.zeros(64, 32), torch.zeros(8, 8, 3), 0)
    chat = Chat().add(Turn("", (answer,), keep_mask=top))
    asked = ({}, {"keep_mask": left}, {"edit_mask": left}, {"release": True}, {"keep_mask": left, "release": True})
    for masks in asked:
        with pytest.raises(KeyboardInterrupt):
            pipeline.refine(chat, "make it cosy", **masks)
    expected = (top, torch.maximum(top, left), torch.maximum(top, 1 - left), None, left)
    for found, wanted in zip(seen, expected, strict=True):
        assert (found is None and wanted is None) or torch.equal(found, wanted)


def test_a_brought_picture_is_read_before_it_is_changed(reader):
    """Without words of its own, the model is asked what the picture shows, and holds its rewrite to that."""
    config = reader.config
    drawn = Chat().add(Turn("a cat", (Answer(PAGE, torch.zeros(64, 32), torch.zeros(2, 2, 3), 0),)))
    brought = Chat().add(Turn("", drawn.last.answers))
    assert description_request(config, brought) in storybook.DESCRIBE
    assert not description_request(config, drawn) and not description_request(config, Chat())
    assert not description_request(replace(config, world=""), brought)
    written = rewriting._shown(
        reader, [RewriteRequest("x", chat=drawn), RewriteRequest("x", chat=brought), RewriteRequest("x")], 5, None
    )
    assert written == [PAGE, ask(reader, storybook.DESCRIBE[0], chat=brought, limit=5), ""]
    assert constraint(config, "remove the cat", brought, PAGE).missing(PAGE)


# --- cleaning ---------------------------------------------------------------------------------------------------------


def test_cleaning_leaves_no_token_and_no_broken_word(wegen):
    tokenizer = wegen.tokenizer
    marked = tokenizer.encode("a cat <img_00003> <img> </img> <loc-3>", begin=True)
    assert clean(wegen, marked) == "a cat"
    assert clean(wegen, tokenizer.pieces.encode("a red cat [INST] make it blue")) == "a red cat"
    assert clean(wegen, tokenizer.pieces.encode("a red <img> cat")) == "a red cat"
    long = tokenizer.pieces.encode("a red cat on the roof of the old house, with the moo")
    assert clean(wegen, long, len(long)) == "a red cat on the roof of the old house"
    assert clean(wegen, long, len(long) + 1).endswith("moo")
    assert clean(wegen, [*long, tokenizer.end_id], len(long) + 1).endswith("moo")
    word = tokenizer.pieces.encode("lighthou")
    assert clean(wegen, word, len(word)) == ""
    few = tokenizer.pieces.encode("red lighthou")
    assert clean(wegen, few, len(few)) == "red"


# --- the words of a closed world --------------------------------------------------------------------------------------


def test_a_closed_world_takes_the_nearest_words(reader):
    understood = understand(reader.config, "a Dragon 🐉 [/INST] by @night")
    assert understood.text == "a bird by @night" or understood.text.startswith("a bird")
    assert any("'dragon'" in note and "'bird'" in note for note in understood.notes)
    assert understand(replace(reader.config, world=""), "a Dragon").text == "a Dragon"
    for hopeless in ("🐱", "日本の猫"):
        with pytest.raises(WeGenError, match="none of the words"):
            understand(reader.config, hopeless)


def test_ideas_tell_what_was_not_understood(reader):
    [idea] = think(reader, Chat(), Wish("a dragon at night"), [0])
    assert idea.rewrite == "a dragon at night"  # the user's own words stay
    assert idea.notes == ("I do not know 'dragon'; I took 'bird' instead.",)
    [same] = think(reader, Chat(), Wish("a bird at night"), [0])
    assert torch.equal(idea.features, same.features) and same.notes == ()


@pytest.mark.parametrize("place", ["instruction", "answer"])
def test_given_words_are_drawn_as_they_stand(wegen, place):
    wegen = replace(wegen, config=replace(wegen.config, templates=Templates(rewrite_place=place)))
    wish = Wish("a cat", sampling=WARM, given=" a red cat on the roof ")
    ideas = think(wegen, Chat(), wish, [0, 1])
    assert [idea.rewrite for idea in ideas] == ["a red cat on the roof"] * 2
    [plain] = think(wegen, Chat(), Wish("a cat"), [0])
    assert torch.equal(ideas[0].features, ideas[1].features) and not torch.equal(ideas[0].features, plain.features)
    with pytest.raises(WeGenError, match="empty"):
        Wish(" ", given="a cat")


@pytest.mark.slow
def test_a_batch_of_ideas_carries_its_rewrites(wegen):
    ideas = think(wegen, Chat(), Wish("12", sampling=TextSampling(1.0)), [4, 5, 6])
    assert [idea.rewrite for idea in ideas] == [one.text for one in rewrite(wegen, "12", [4, 5, 6], TextSampling(1.0))]
    assert len({idea.rewrite for idea in ideas}) == 3 and not torch.equal(ideas[0].features, ideas[1].features)


def test_saved_pictures_tell_their_turns():
    first = Turn("a cat", (Answer("a red cat", torch.zeros(1), torch.zeros(2, 2, 3), 3),))
    assert turns_of(Chat((first,)), "make it night", "a red cat at night", 4) == [
        {"instruction": "a cat", "rewrite": "a red cat", "seed": 3},
        {"instruction": "make it night", "rewrite": "a red cat at night", "seed": 4},
    ]


# --- creativity, and what the evaluation counts -----------------------------------------------------------------------


def test_creativity_rises_on_one_scale():
    steps = [TextSampling.from_creativity(c) for c in (0, 0.25, 0.5, 0.75, 1)]
    assert steps[0].temperature == 0
    assert [s.temperature for s in steps] == sorted(s.temperature for s in steps)
    assert [s.top_p for s in steps] == sorted({s.top_p for s in steps})
    assert (steps[-1].temperature, steps[-1].top_p) == (1, pytest.approx(1))
    assert TextSampling.from_creativity(0.5, 1.3, 0.2) == TextSampling(1.3, 0.2)
    with pytest.raises(WeGenError, match=r"Creativity is 1\.2"):
        TextSampling.from_creativity(1.2)


def test_evaluation_counts_objects_and_attributes_that_stayed():
    wanted = Named((Mention("cat", "red"), Mention("house"), Mention("house")), "snow", None, fewest=3)
    found = Named((Mention("cat", "blue"), Mention("house"), Mention("car", "red")), "snow", "day")
    # a cat, a red one; two houses; the ground; three things
    assert list(kept(wanted, found)) == [True, False, True, False, True, True]
    assert all(kept(wanted, Named((Mention("cat", "red"), Mention("house"), Mention("house")), "snow")))


def test_vague_wishes_leave_something_open_and_do_not_change():
    wishes = vague_wishes(8, 0)
    assert vague_wishes(4, 0) == wishes[:4] != vague_wishes(4, 1)
    assert len({wish.text for wish in wishes}) > 5 and len(VAGUE) == 4


def test_every_description_of_a_fulfilled_wish_counts_in_full():
    rng = Random("counted")
    for _ in range(100):
        wish, scene = storybook.sample_wish(rng, rng.choice(VAGUE))
        assert all(kept(wish.named, Named.of(scene))), wish


@pytest.mark.slow
def test_evaluation_writes_all_its_numbers(tiny, reader, tmp_path, monkeypatch, capsys):
    class Hasty(Pipeline):
        default_settings = SamplerSettings(steps=2, guidance_scale=2.0)

    monkeypatch.setattr(measured, "SEEDS", 3)
    monkeypatch.setattr(Pipeline, "from_folder", lambda folder: Hasty(reader, replace(tiny[1], config=reader.config)))
    parser = argparse.ArgumentParser()
    measured.add_arguments(parser)
    file = tmp_path / "numbers.json"
    assert measured.run(parser.parse_args(["--json", str(file), "--cases", "2"])) == 0
    numbers = json.loads(file.read_text())
    assert list(numbers) == [
        "distinct/with", "distinct/without", "vendi/with", "vendi/without", "named/rewrite", "named/picture",
        "creativity/distinct", "batch/ratio_16",
    ]  # fmt: skip
    assert len(numbers["creativity/distinct"]) == 5
    assert all(1 <= numbers[name] <= 3 for name in ("distinct/with", "vendi/with", "vendi/without"))
    assert numbers["batch/ratio_16"] > 0 and "rising" in capsys.readouterr().out
    with pytest.raises(WeGenError, match="0 wishes"):
        measured.run(parser.parse_args(["--cases", "0"]))


def test_an_answer_in_words_alone_is_told_and_nothing_is_drawn(wegen, monkeypatch):
    def write(author, wanted):
        said = {0: "i cannot draw that.", 1: "a red cat", 2: "i cannot draw that."}
        return [rewriting._Attempt(said[slot.seed], (), (), slot.seed != 1) for slot, _ in wanted]

    monkeypatch.setattr(rewriting._Author, "write", write)
    written = rewrite(wegen, "12", [0, 1, 2], WARM)
    assert [one.spoken for one in written] == [True, False, True] and not any(one.repeated for one in written)
    with pytest.raises(AnsweredInWords, match="cannot draw that"):
        think(wegen, Chat(), Wish("12", sampling=WARM), [0, 1, 2])
    assert [idea.rewrite for idea in think(wegen, Chat(), Wish("12", sampling=WARM), [1, 1, 0])] == ["a red cat"] * 3


def test_only_where_a_picture_should_follow_does_an_end_mean_words_alone(wegen, reader):
    end, begin = wegen.tokenizer.end_id, wegen.tokenizer.picture_begin_id
    free = replace(reader, config=replace(reader.config, world=""))
    assert rewriting.answers_in_words(free, [5, 6, end])
    assert not rewriting.answers_in_words(free, [5, 6, begin])
    assert not rewriting.answers_in_words(free, [end]) and not rewriting.answers_in_words(free, [])
    assert not rewriting.answers_in_words(wegen, [5, 6, end]) and not rewriting.answers_in_words(reader, [5, 6, end])
