"""Rewriting: seeds, attempts and checks on a scripted model, and cleaning."""

import argparse
import itertools
import json
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
import torch
from comfyui_wegen.models import storybook
from comfyui_wegen.models.cli import eval_rewriting
from comfyui_wegen.models.engine import TurnRequest, draft_pictures
from comfyui_wegen.models.errors import AnsweredInWords, WeGenError
from comfyui_wegen.models.evaluation import rewriting as measured
from comfyui_wegen.models.evaluation.rewriting import VAGUE, kept, vague_wishes
from comfyui_wegen.models.media.metadata import turns_of
from comfyui_wegen.models.network.configuration import Templates
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting import rewriting
from comfyui_wegen.models.prompting.checks import NamedInWish, content_words, stem
from comfyui_wegen.models.prompting.conversation import rewrite_prompt
from comfyui_wegen.models.prompting.rewriting import (
    ATTEMPTS,
    RewriteRequest,
    clean,
    descriptions,
    report,
    rewrite,
    rewrite_each,
    rows_held,
    with_mentions,
    without_preamble,
)
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from comfyui_wegen.models.storybook import Mention, Named
from comfyui_wegen.models.values import Answer, Chat, Reference, References, Turn

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
    """A model that puts rewrites into its answers, with few tokens and no references in its sentences."""
    templates = Templates(mention="{picture}", rewrite_place="answer", rewrite_limit=12)
    return replace(wegen, config=replace(wegen.config, templates=templates))


@pytest.fixture
def scripted(monkeypatch):
    """Call it with a function from seed and attempt to the words that are then written. Gives the list of calls."""

    def script(words):
        calls = []

        def write(author, wanted):
            calls.append([(slot.seed, number) for slot, number in wanted])
            texts = [words(slot.seed, number) for slot, number in wanted]
            found = zip(texts, wanted, strict=True)
            checks = author.checks
            return [
                rewriting._Attempt(text, checks[slot.request].missing(text) if checks[slot.request] else ())
                for text, (slot, _) in found
            ]

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
    each = rewrite_each(wegen, [RewriteRequest(wish) for wish in wishes], [[3, 4]] * 3, WARM, limit=8)
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


def test_the_first_rewrite_is_told_as_it_grows_and_put_together_no_more_often(wegen, monkeypatch):
    told, joined, ticks = [], [], itertools.count()

    def join(model, ids, *rest):
        joined.append(len(ids))
        return clean(model, ids, *rest)

    monkeypatch.setattr(rewriting, "clean", join)
    clock = SimpleNamespace(monotonic=lambda: next(ticks) * rewriting.TEXT_INTERVAL / 3.5)
    monkeypatch.setattr(rewriting, "time", clock)
    [one, _] = rewrite(wegen, "12", [5, 6], WARM, limit=12, on_text=told.append, attempts=1)
    assert joined == [1, 5, 9, 12, 12]  # the last two to know what was written
    assert told[0] and told[0] in told[1] and told[1] in told[2] and told[2] in one.text


def test_further_attempts_of_other_seeds_are_not_told_as_the_first_rewrite(wegen, monkeypatch):
    lacking = iter([(), ("cat",), ()])  # the second seed is drawn once more
    monkeypatch.setattr(NamedInWish, "missing", lambda *_: next(lacking))
    monkeypatch.setattr(rewriting, "TEXT_INTERVAL", 0)
    told, alone = [], []
    found = rewrite(wegen, "12", [5, 6], WARM, limit=12, on_text=told.append)
    lacking = iter([()])
    rewrite(wegen, "12", [5], WARM, limit=12, on_text=alone.append)
    assert [one.attempts for one in found] == [1, 2] and told == alone


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
    assert max(attempt for call in calls for _, attempt in call) == ATTEMPTS - 1
    assert "2 of 3 descriptions repeat" in report(found)
    assert report(found[:1]) == ""


def test_what_a_wish_names_is_preferred(wegen, scripted):
    words = ("a dog at sea", "a cat on land", "a dog at sea", "two cats at sea")
    calls = scripted(lambda seed, attempt: words[attempt])
    [found] = rewrite(wegen, "a cat at sea", [7], WARM)
    assert (found.text, found.attempts, found.missing) == ("two cats at sea", 4, ())
    assert [len(call) for call in calls] == [1, 1, 2]
    assert rows_held(1) == 1 + 2 + 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_no_more_is_written_at_once_than_memory_is_asked_for(wegen, scripted, count):
    calls = scripted(lambda seed, attempt: f"dog {attempt}")
    rewrite(wegen, "a cat at sea", range(count), WARM)
    most = max(map(len, calls))
    assert most + most // 2 + 1 <= rows_held(count)


def test_two_attempts_that_lack_the_same_words_end_it(wegen, scripted):
    calls = scripted(lambda seed, attempt: "a red dog")
    [found] = rewrite(wegen, "a red cat by night", [7], WARM)
    assert (found.text, found.missing, found.attempts) == ("a red dog", ("cat", "night"), 2)
    assert calls == [[(7, 0)], [(7, 1)]]
    assert report([found]) == "The description may leave out something that you named: cat, night."


def test_what_ends_it_is_the_same_in_any_batch(wegen, scripted):
    """Further attempts that were drawn together with those that ended it do not count."""
    lacking = ("a red dog", "a dog by night", "a dog by night", "a red cat by night")
    calls = scripted(lambda seed, attempt: lacking[attempt] if seed == 7 else "a red cat by night")
    [found] = rewrite(wegen, "a red cat by night", [7], WARM)
    assert found.attempts == 3 and max(attempt for call in calls for _, attempt in call) >= 2
    again = rewrite(wegen, "a red cat by night", [7, 8, 9], WARM)[0]
    assert (again.text, again.missing) == (found.text, found.missing) == ("a red dog", ("cat", "night"))


def test_the_attempt_that_lacks_least_is_taken(wegen, scripted):
    words = ("a red dog", "a red dog by night", "a red bird")
    scripted(lambda seed, attempt: words[min(attempt, 2)])
    [found] = rewrite(wegen, "a red cat by night", [7], WARM)
    assert (found.text, found.missing) == ("a red dog by night", ("cat",))


def test_all_attempts_are_made_at_the_creativity_that_was_asked_for(wegen, monkeypatch):
    samplings = []

    def write(self, limit, sampling, generators, **_):
        samplings.append(sampling)
        return [wegen.tokenizer.encode("a dog at sea", begin=False)] * self.batch

    monkeypatch.setattr(rewriting.Decoding, "write_text", write)
    sampling = TextSampling(0.6, 0.4)
    rewrite(wegen, "a cat at sea", [7], sampling)
    assert len(samplings) > 1 and set(samplings) == {sampling}
    samplings.clear()
    [found] = rewrite(wegen, "a cat at sea", [7], TextSampling())
    assert samplings == [TextSampling()] and found.text == "a dog at sea" and found.missing == ("cat",)


def test_orders_on_a_picture_are_not_checked(wegen, scripted):
    templates = replace(wegen.config.templates, edit_rewrite="[INST] {pictures}{text} [/INST]\n")
    wegen = replace(wegen, config=replace(wegen.config, templates=templates))
    calls = scripted(lambda seed, attempt: "a dog")
    chat = Chat().add(Turn("a cat", (Answer("a cat", torch.zeros(64, 32), torch.zeros(2, 2, 3), 0),)))
    [found] = rewrite(wegen, "replace the cat with a fox", [7], WARM, chat=chat)
    assert found == rewriting.Rewrite("a dog", 7) and calls == [[(7, 0)]] and report([found]) == ""


def test_attempts_of_neighbouring_seeds_differ():
    states = {rewriting._generator(seed, attempt).initial_seed() for seed in range(16) for attempt in range(ATTEMPTS)}
    assert len(states) == 16 * ATTEMPTS


def test_a_model_that_writes_nothing_gives_no_words(wegen, monkeypatch):
    begin = wegen.tokenizer.picture_begin_id
    monkeypatch.setattr(rewriting.Decoding, "write_text", lambda self, *a, **k: [[begin]] * self.batch)
    found = rewrite(wegen, " a cat ", [0, 1], WARM)
    assert [(one.text, one.repeated, one.attempts) for one in found] == [("", False, ATTEMPTS)] * 2
    assert report(found).startswith("2 of 2 descriptions could not be written")
    drafts = draft_pictures(TurnRequest(" a cat ", (0, 1)), Chat(), wegen)
    assert [draft.rewrite for draft in drafts] == ["a cat"] * 2
    assert all(draft.notes == (report(found),) for draft in drafts)


# --- constraints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "said", "missing"),
    [
        ("Please draw two Cats and a house", "Two fluffy cats beside houses.", ()),
        ("a café in the city", "Cities of light: a small CAFE", ()),
        ("a fox in boxes", "the fox sits in a box", ()),
        ("a red rose", "a rose", ("red",)),
        ("a red cat", "a red category of things", ("cat",)),
        ("夜の猫", "a cat at night", ()),
        ("two little boats at sunset", "on the sea at dusk, a small red boat, a small blue ship", ()),
        ("three huge kittens on a field", "in the grass, a big black cat, a big white cat, a big cat", ()),
        ("a little dog at midnight", "a small cat at night", ("dog",)),
        ("a ship at sunset", "a boat by day", ("sunset",)),
        ("an animal in the snow", "in the snow, a brown dog", ()),
        ("some animals and a plant", "two kittens beside a house", ("plant",)),
        ("vehicles on a road", "on a street, a red airplane", ()),
        ("a building by the sea", "by the sea, a big cake", ("building",)),
        ("my son would like a cat with a unicorn", "a brown cat", ("unicorn",)),
        ("two bright old dragons galloping over a house", "a house", ("dragons",)),
    ],
)
def test_content_words_stay(wish, said, missing):
    assert NamedInWish(wish).missing(said) == missing


@pytest.mark.parametrize(
    ("wish", "said", "missing"),
    [
        ("a house with two trees", "on a beach, a red house, a green tree", ("two trees",)),
        ("a house with two trees", "a red house, a green tree, a small tree", ()),
        ("2 mice and a cat", "a cat, a mouse", ("2 mice",)),
        ("three snowmen, please", "a big snowman, a small snowman", ("three snowmen",)),
        ("two fish and a boat", "a boat, a red fish", ("two fish",)),
        ("two animals and a boat", "a boat, a dog", ("two animals",)),
        ("two animals and a boat", "a boat, a dog, a horse", ()),
        ("two trees and a boat", "a boat by day", ("trees",)),
        # Descriptions that do not name things one by one.
        ("a house with two trees", "a house between tall trees", ()),
        ("two cars on a road", "on a road, a red car behind another", ()),
        ("four cats", "two cats on a wall and two below", ()),
        ("a couple of dogs", "a pair of puppies", ()),
        # Numbers that count nothing.
        ("a 2 year old child", "a child", ()),
        ("a house from 1900", "a house", ()),
        ("1" * 5000 + " houses", "a house", ()),
        ("one cat and a dog", "a cat, a dog", ()),
    ],
)
def test_things_are_counted_where_a_rewrite_names_them_one_by_one(wish, said, missing):
    assert NamedInWish(wish).missing(said) == missing


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("let's see something in a forest", "in a forest in fog, a small red tent"),
        ("i need a house", "a medium green house"),
        ("my son would like a cat on a beach", "on a beach, a brown cat"),
        ("a rainy day with a sturdy old house", "in the rain, a house"),
        ("a house in a town", "in a city, a house"),
        ("a cat looking left in the top corner", "a cat facing left at the top far left"),
        ("a hot air balloon", "a striped balloon"),
        ("draw a quiet place by the sea with a hosue", "on the sea, a house"),
        ("a story about a girl among trees", "in a forest, a child"),
        ("two snowmen and two airplanes", "a snowman, a snowman, an aeroplane, an aeroplane"),
        ("two cacti, two birdies and cookies", "a cactus, a cactus, a bird, a bird, a cookie"),
        ("two tomatoes and a pair of shoes in watercolors", "a tomato, a tomato, a shoe, watercolour"),
    ],
)
def test_what_is_told_in_other_words_is_not_missed(wish, said):
    assert NamedInWish(wish).missing(said) == ()


def test_words_without_content_may_go():
    assert content_words("please show me a picture of the red house with some trees") == ("red", "house", "trees")
    assert stem("houses") == stem("house") and stem("roses") == stem("rose") != stem("rosy") and stem("bus") == "bus"


def test_references_stay_where_words_alone_speak_of_them():
    asked = NamedInWish("the hat of @my-cat in snow", ("my-cat",))
    assert asked.missing("a hat in the snow") == ("@my-cat",)
    assert asked.missing("my cat with a hat in the snow") == ()
    assert NamedInWish("@kitten in snow", ("kitten",)).missing("a cat in the snow") == ("@kitten",)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("a house, but not red", "a blue house"),
        ("a street without cars", "a street"),
        ("no people, only a beach", "a beach"),
        ("black instead of white sheep", "black sheep"),
        ("grey mice", "a gray mouse"),
        ("ein rotes Haus am Meer", "a red house by the sea"),
        ("une maison rouge", "a red house"),
        ("Füchse im Schnee", "foxes in snow"),
    ],
)
def test_a_wish_that_words_alone_cannot_judge_is_not_judged(wish, said):
    assert NamedInWish(wish).missing(said) == ()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ('Sure! Here is a detailed description: "a red cat at sea"', "a red cat at sea"),
        ("Certainly, here's the rewritten prompt: a red cat", "a red cat"),
        ("Description: a red cat", "a red cat"),
        ("\u201ca red cat\u201d", "a red cat"),
        ("'a cat' and 'a dog'", "'a cat' and 'a dog'"),
        ("a cat: here is its hat", "a cat: here is its hat"),
        ("Great heights, a castle", "Great heights, a castle"),
        ("Painting of a cat", "Painting of a cat"),
    ],
)
def test_answers_lose_what_is_said_before_them(said, left):
    assert without_preamble(said) == left


def test_mentions_can_be_read_again(wegen):
    cat = Reference("cat", torch.zeros(64, 32), torch.zeros(2, 2, 3))
    assert with_mentions(wegen, "cat (picture 1) and @dog", References((cat,))) == "@cat and dog"
    assert with_mentions(wegen, "mail to a@dog or @dog", References()) == "mail to a@dog or dog"


def test_mentions_are_numbered_as_the_model_reads_them_behind_a_picture_of_the_users_own(wegen):
    asks = replace(wegen.config.templates, edit_rewrite="[INST] {pictures}{text} [/INST]\n")
    picture, features = torch.zeros(2, 2, 3), torch.zeros(64, 32)
    begun = Chat().add(Turn("", (Answer("", features, picture, 0),)))
    cat = References((Reference("cat", features, picture),))
    asked = rewrite_prompt(replace(wegen.config, templates=asks), wegen.tokenizer, begun, "add the @cat", cat)
    assert "add the cat (picture 2)" in asked.text
    assert with_mentions(wegen, "the cat (picture 2) on the roof", cat, begun) == "the @cat on the roof"


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


@pytest.mark.parametrize("place", ["instruction", "answer"])
def test_given_words_are_drawn_as_they_stand(wegen, place):
    wegen = replace(wegen, config=replace(wegen.config, templates=Templates(rewrite_place=place)))
    request = TurnRequest("a cat", (0, 1), sampling=WARM, prompt_override=" a red cat on the roof ")
    drafts = draft_pictures(request, Chat(), wegen)
    assert [draft.rewrite for draft in drafts] == ["a red cat on the roof"] * 2
    [plain] = draft_pictures(TurnRequest("a cat", rewrite=False), Chat(), wegen)
    assert torch.equal(drafts[0].features, drafts[1].features)
    assert not torch.equal(drafts[0].features, plain.features)
    with pytest.raises(WeGenError, match="empty"):
        TurnRequest(" ", prompt_override="a cat")
    with pytest.raises(WeGenError, match="3 descriptions for 2 seeds"):
        draft_pictures(TurnRequest("a cat", (0, 1), prompt_override=("a", "b", "c")), Chat(), wegen)


def test_nothing_is_said_of_a_rewrite_that_given_words_take_the_place_of(wegen, scripted):
    scripted(lambda seed, attempt: "a dog at sea")
    request = TurnRequest("a cat at sea", (0, 1), sampling=WARM, prompt_override=("", "a cat in a boat"))
    drafts = draft_pictures(request, Chat(), wegen)
    assert [draft.rewrite for draft in drafts] == ["a dog at sea", "a cat in a boat"]
    assert drafts[0].notes == ("The description may leave out something that you named: cat.",)


@pytest.mark.slow
def test_a_batch_of_drafts_carries_its_rewrites(wegen):
    drafts = draft_pictures(TurnRequest("12", (4, 5, 6), sampling=WARM), Chat(), wegen)
    assert [draft.rewrite for draft in drafts] == [one.text for one in rewrite(wegen, "12", [4, 5, 6], WARM)]
    assert len({draft.rewrite for draft in drafts}) == 3
    assert not torch.equal(drafts[0].features, drafts[1].features)


def test_saved_pictures_tell_their_turns():
    first = Turn("a cat", (Answer("a red cat", torch.zeros(1), torch.zeros(2, 2, 3), 3),))
    night = replace(first.answer, rewrite="a red cat at night", seed=4)
    told = [
        {"instruction": "a cat", "rewrite": "a red cat", "seed": 3},
        {"instruction": "make it night", "rewrite": "a red cat at night", "seed": 4},
    ]
    assert turns_of(Chat((first,)), "make it night", night) == told
    overruled = replace(night, shows="a red cat")
    assert turns_of(Chat((first,)), "make it night", overruled) == [told[0], {**told[1], "shows": "a red cat"}]


@pytest.mark.parametrize(
    ("order", "words", "more", "of_picture"),
    [
        ("sharpen it", "drawn anew, a red cat", {}, "a red cat"),
        ("make it night", "keeping the cat: a red cat at night", {}, "a red cat at night"),
        ("make it night", "a cat at night", {"shows": "drawn anew, a red cat"}, "a red cat"),
        ("make it night", "a red cat at night", {}, None),
        ("drawn anew, a red cat", "drawn anew, a red cat", {}, None),
    ],
)
def test_saved_pictures_tell_apart_what_their_words_say_of_the_change(order, words, more, of_picture):
    """Who wishes for more like such a picture wants the picture, not the change; words of the user's own stay."""
    templates = Templates(anew="drawn anew", kept="keeping {things}: ")
    answer = Answer(words, torch.zeros(1), torch.zeros(2, 2, 3), 3, **more)
    before = Chat((Turn("a cat", (answer,)),))
    assert turns_of(before, order, answer, templates)[-1].get("of_picture") == of_picture
    assert all("of_picture" not in turn for turn in turns_of(before, order, answer, templates)[:-1])
    assert "of_picture" not in turns_of(before, order, answer)[-1], "no model wrote the words"
    assert "of_picture" not in turns_of(Chat(), order, answer, templates)[-1], "a first picture changes nothing"


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
    monkeypatch.setattr(measured, "SEEDS", 3)
    pipeline = Pipeline(reader, replace(tiny[1], config=reader.config))
    monkeypatch.setattr(Pipeline, "from_folder", lambda folder: pipeline)
    parser = argparse.ArgumentParser()
    eval_rewriting.add_arguments(parser)
    file = tmp_path / "numbers.json"
    assert eval_rewriting.run(parser.parse_args(["--json", str(file), "--cases", "2"])) == 0
    numbers = json.loads(file.read_text())
    assert list(numbers) == [
        "distinct/with", "distinct/with_checks", "distinct/without",
        "vendi/with", "vendi/with_checks", "vendi/without",
        "named/rewrite", "named/rewrite_with_checks", "named/picture", "named/picture_with_checks",
        "entropy/ground", "entropy/sky", "boats/on water", "creativity/distinct", "batch/ratio_16",
    ]  # fmt: skip
    assert 0 <= numbers["entropy/ground"] <= 1 and 0 <= numbers["entropy/sky"] <= 1
    assert len(numbers["creativity/distinct"]) == 5
    assert all(1 <= numbers[name] <= 3 for name in ("distinct/with", "distinct/with_checks", "vendi/with"))
    assert numbers["batch/ratio_16"] > 0 and "rising" in capsys.readouterr().out
    with pytest.raises(WeGenError, match="0 wishes"):
        eval_rewriting.run(parser.parse_args(["--cases", "0"]))


def test_evenness_is_that_of_a_uniform_choice_at_most():
    names = ("sea", "snow", "road", "beach")
    assert measured.evenness(names * 3, names) == pytest.approx(1)
    assert measured.evenness(["sea", "snow", None, "moon"], names) == pytest.approx(0.5)
    assert measured.evenness(["sea"] * 5, names) == measured.evenness([], names) == 0


def test_an_answer_in_words_alone_is_told_and_nothing_is_drawn(wegen, monkeypatch):
    def write(author, wanted):
        said = {0: "i cannot draw that.", 1: "a red cat", 2: "i cannot draw that."}
        return [rewriting._Attempt(said[slot.seed], (), slot.seed != 1) for slot, _ in wanted]

    monkeypatch.setattr(rewriting._Author, "write", write)
    written = rewrite(wegen, "12", [0, 1, 2], WARM)
    assert [one.spoken for one in written] == [True, False, True] and not any(one.repeated for one in written)
    with pytest.raises(AnsweredInWords, match="cannot draw that"):
        draft_pictures(TurnRequest("12", (0, 1, 2), sampling=WARM), Chat(), wegen)
    with pytest.raises(AnsweredInWords, match="cannot draw that"):
        descriptions(written)
    kept = descriptions(rewrite(wegen, "12", [1, 0, 1], WARM))
    assert [(one.text, one.seed, one.spoken) for one in kept] == [("a red cat", seed, False) for seed in (1, 0, 1)]
    drafts = draft_pictures(TurnRequest("12", (1, 1, 0), sampling=WARM), Chat(), wegen)
    assert [draft.rewrite for draft in drafts] == ["a red cat"] * 3


def test_only_where_a_picture_should_follow_does_an_end_mean_words_alone(wegen, reader):
    end, begin = wegen.tokenizer.end_id, wegen.tokenizer.picture_begin_id
    closed = replace(reader, config=replace(reader.config, world="storybook"))
    assert rewriting.answers_in_words(reader, [5, 6, end])
    assert not rewriting.answers_in_words(reader, [5, 6, begin])
    assert not rewriting.answers_in_words(reader, [end]) and not rewriting.answers_in_words(reader, [])
    assert not rewriting.answers_in_words(wegen, [5, 6, end]) and not rewriting.answers_in_words(closed, [5, 6, end])
