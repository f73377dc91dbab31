"""The judge, the comparisons behind the thresholds, `wegen eval nano`, questions, and words that nobody knows."""

import argparse
import itertools
import json
from concurrent.futures import as_completed
from dataclasses import replace
from multiprocessing import active_children
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models import storybook
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.cli import eval_nano as command
from comfyui_wegen.models.cli import main
from comfyui_wegen.models.engine import TurnResult
from comfyui_wegen.models.errors import CheckpointError, WeGenError
from comfyui_wegen.models.evaluation import guided, judge_training, nano, own_words, styles
from comfyui_wegen.models.evaluation.batch_evaluator import BatchEvaluator, shown
from comfyui_wegen.models.evaluation.cases import Case, shares
from comfyui_wegen.models.evaluation.comparison import EVERYTHING, attribute_hits, same_things
from comfyui_wegen.models.evaluation.judge import WEIGHTS, bundled_judge, load_judge
from comfyui_wegen.models.evaluation.sheets import case_sheet
from comfyui_wegen.models.evaluation.thresholds import MEASURED, THRESHOLDS, TURN
from comfyui_wegen.models.media.conditions import grey
from comfyui_wegen.models.media.images import from_pil
from comfyui_wegen.models.metrics import recogniser
from comfyui_wegen.models.network.configuration import Templates
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.asking import ask
from comfyui_wegen.models.prompting.rewriting import Rewrite
from comfyui_wegen.models.storybook import Edit, Mention, Named, Scene, Thing, language
from comfyui_wegen.models.storybook.catalogue import COLOURS, STYLES
from comfyui_wegen.models.storybook.language import HELD_OUT, Story
from comfyui_wegen.models.values import Answer, Chat, References, SamplerSettings, Turn
from PIL import Image

CAT = Thing("cat", "black", "big", 0, 3, "facing left")
HOUSE = Thing("house", "red", "small", 3, 2, "lit")
PAGE = Scene("beach", "night", (HOUSE, CAT))


def scenes(count, seed="test"):
    rng = Random(f"evaluation/{seed}")
    return [storybook.sample_scene(rng) for _ in range(count)]


# --- the judge --------------------------------------------------------------------------------------------------------


def test_judge_reads_rendered_scenes():
    pages = scenes(150)
    readings = bundled_judge().read_pictures([storybook.render(page) for page in pages])
    right = [reading.named.same_as(Named.of(page)) for reading, page in zip(readings, pages, strict=True)]
    assert sum(right) >= 0.98 * len(right)
    assert all(0 <= chance <= 1 for r in readings for chance in (*r.confidences, r.setting_confidence))
    assert WEIGHTS.stat().st_size <= 2**20


def test_judge_reads_worn_pictures_and_other_sizes():
    pages = scenes(64, "worn")
    clean = judge_training.to_pixels([storybook.render(page) for page in pages])
    worn = judge_training.wear(clean, torch.Generator().manual_seed(3))
    assert (worn - clean).abs().mean() > 0.03
    pictures = [((p + 1) * 127.5).round().byte().permute(1, 2, 0).numpy() for p in worn]
    seen = bundled_judge().read_pictures(pictures)
    right = [same_things(s.named, Named.of(page)) for s, page in zip(seen, pages, strict=True)]
    assert sum(right) >= 0.9 * len(right)
    double = np.asarray(Image.fromarray(storybook.render(PAGE)).resize((256, 256)))
    assert bundled_judge().read_picture(double).named.same_as(Named.of(PAGE))
    with pytest.raises(ValueError, match="uint8"):
        bundled_judge().read_picture(double / 255)


def test_judge_tells_styles():
    rng = Random(4)
    pages = [replace(page, style=rng.choice(STYLES)) for page in scenes(64, "styled")]
    seen = [reading.named for reading in bundled_judge().read_pictures([storybook.render(page) for page in pages])]
    assert [one.style or STYLES[0] for one in seen] == [page.style for page in pages]
    assert sum(same_things(one, Named.of(page)) for one, page in zip(seen, pages, strict=True)) >= 62


def test_judge_is_not_deceived():
    """It sees what is there, not what is likely: nothing on an empty page, a colour that no storybook cat has."""
    empty = bundled_judge().read_picture(storybook.render(Scene("snow", "fog")))
    assert empty.named == Named((), "snow", "fog") and empty.confidences == ()
    picture = storybook.render(PAGE)
    mask = storybook.mask_of(HOUSE)
    picture[mask] = storybook.render(Scene("beach", "night"))[mask]
    assert bundled_judge().read_picture(picture).named.things == (Mention.of(CAT),)


def test_judge_training_resumes_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(judge_training, "BATCH", 2)
    monkeypatch.setattr(recogniser, "SAVE_EVERY", 2)
    whole = judge_training.train_judge(tmp_path / "whole.safetensors", steps=4, seed=5)
    batch_at = judge_training.batch_at

    def interrupted(seed, step):
        if step == 3:
            raise KeyboardInterrupt
        return batch_at(seed, step)

    monkeypatch.setattr(judge_training, "batch_at", interrupted)
    with pytest.raises(KeyboardInterrupt):
        judge_training.train_judge(tmp_path / "parts.safetensors", steps=4, seed=5)
    assert not (tmp_path / "parts.safetensors").exists()
    monkeypatch.setattr(judge_training, "batch_at", batch_at)
    resumed = judge_training.train_judge(tmp_path / "parts.safetensors", steps=4, seed=5)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.safetensors", "whole.safetensors"]
    load_judge(tmp_path / "parts.safetensors")
    with pytest.raises(CheckpointError, match="no judge at"):
        load_judge(tmp_path / "none.safetensors")


# --- what counts as right ---------------------------------------------------------------------------------------------


def test_things_are_compared_as_far_as_asked():
    wanted = Named.of(PAGE)
    turned = Named.of(Scene("beach", "night", (CAT, replace(HOUSE, pose="dark", size="big"))))
    assert same_things(turned, wanted) and not same_things(turned, wanted, EVERYTHING)
    assert not same_things(Named.of(Scene("beach", "night", (CAT,))), wanted)
    assert not same_things(wanted, Named.of(Scene("beach", "night", (CAT,))))


def test_attributes_are_counted_thing_by_thing():
    wanted = Named.of(PAGE)
    seen = Named((Mention("cat", "white", "big", "facing left", 0, 3),), "snow", "night")
    hits = attribute_hits(seen, wanted)
    assert {name: sum(values) for name, values in hits.items()} == {
        "kind": 1, "colour": 0, "size": 1, "place": 1, "ground": 0,
    }  # fmt: skip
    assert {len(values) for name, values in hits.items() if name != "ground"} == {2}
    assert all(all(values) for values in attribute_hits(wanted, wanted).values())


def test_every_change_is_seen_and_nothing_else_is():
    rng = Random("changes")
    actions = set()
    for page in scenes(400, "changes"):
        edit = storybook.sample_edit(page, rng)
        actions.add(edit.action)
        before, after = Named.of(page), Named.of(storybook.apply(page, (edit,)))
        assert nano.happened(edit, after) and all(nano.stayed(page, edit, after)), edit
        assert not nano.happened(edit, before), edit
        kept = [Mention.of(thing) for thing in storybook.untouched(page, (edit,))]
        for thing in kept:
            lost = replace(after, things=tuple(other for other in after.things if other != thing))
            assert nano.stayed(page, edit, lost).count(False) == 1
            faded = tuple(replace(other, colour=None) if other == thing else other for other in after.things)
            assert nano.stayed(page, edit, replace(after, things=faded)).count(False) == 1
        uninvited = Mention("car", "red", "small", "facing left", 2, 1)
        if "car" not in {thing.kind for thing in after.things} and getattr(edit.before, "kind", "") != "car":
            marks = nano.stayed(page, edit, replace(after, things=(*after.things, uninvited)))
            assert marks == [*[True] * len(kept), False]
        if edit.after is not None:
            strange = Mention("car", "red", "small", "facing left", *edit.after.place)
            drawn = tuple(strange if thing == Mention.of(edit.after) else thing for thing in after.things)
            misdrawn = replace(after, things=drawn)
            assert nano.stayed(page, edit, misdrawn) == [True] * len(kept)
            assert edit.after.kind == "car" or not nano.happened(edit, misdrawn)
    assert actions == set(storybook.ACTIONS)


def test_a_copy_is_not_a_move():
    moved = replace(CAT, column=2)
    edit = Edit("move", CAT, moved)
    both = Named((Mention.of(CAT), Mention.of(moved), Mention.of(HOUSE)), "beach", "night")
    assert not nano.happened(edit, both)


def test_shares_pool_all_marks():
    cases = [Case((), "", "", {"a": [True, False], "b": []}), Case((), "", "", {"a": [True, True], "c": [False]})]
    assert shares(cases) == {"a": 0.75, "c": 0.0}
    assert [case.wrong() for case in cases] == [["a"], ["c"]]
    assert [case.passed({"a"}) for case in cases] == [False, True]


def test_sheets_show_what_is_wrong_first():
    picture = storybook.render(PAGE)
    good, fair, bad = (
        Case((picture, picture), "asked", "read", {"refine/changed": [gate], "refine/sky": [other]})
        for gate, other in ((True, True), (True, False), (False, True))
    )
    sheet = case_sheet([good, fair, bad], columns=1)
    frames = [sheet.getpixel((1, y)) for y in (1, sheet.height // 2, sheet.height - 2)]
    assert frames == [(200, 50, 50), (214, 160, 40), (60, 150, 80)]
    assert case_sheet([good] * 9, columns=4, most=5).height == 2 * case_sheet([good]).height
    assert case_sheet([Case((), "words", "only", {})]).height < 100


# --- a whole evaluation -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(tiny):
    """A model that knows nothing and is soon done: tiny, with random weights and few words."""
    wegen, decoder = tiny
    config = replace(wegen.config, templates=Templates(mention="{picture}", rewrite_place="answer", rewrite_limit=8))
    return Pipeline(replace(wegen, config=config), replace(decoder, config=config))


def evaluate(pipeline, folder, monkeypatch, *arguments):
    monkeypatch.setattr(Pipeline, "from_folder", lambda model: pipeline)
    monkeypatch.setattr(nano, "TIMED_TURNS", 1)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    file = folder / "numbers.json"
    assert command.run(parser.parse_args(["--json", str(file), "--processes", "1", *arguments])) == 0
    return json.loads(file.read_text())


@pytest.mark.slow
def test_evaluation_writes_all_numbers(pipeline, tmp_path, monkeypatch, capsys):
    numbers = evaluate(pipeline, tmp_path, monkeypatch, "--cases", "3", "--sheets", str(tmp_path / "sheets"))
    assert list(numbers)[: len(THRESHOLDS)] == list(THRESHOLDS)
    assert {"own_questions/right", "own_words/answered by a picture", "judge/pose too"} <= {*numbers}  # without targets
    assert all(0 <= value <= 1 for name, value in numbers.items() if name != "turn/seconds")
    assert numbers["judge/scene"] == 1 and numbers["turn/seconds"] > 0
    assert numbers["text_to_picture/scene"] == numbers["two_references/both"] == 0  # a random model draws nothing
    behaviours = (*nano.BEHAVIOURS, *own_words.BEHAVIOURS, *guided.BEHAVIOURS, *styles.BEHAVIOURS)
    assert {path.stem for path in (tmp_path / "sheets").iterdir()} == set(behaviours)
    assert (*behaviours, TURN) == MEASURED
    table = capsys.readouterr().out
    assert "MISSED" in table and "judge/scene" in table and all(name in table for name in THRESHOLDS)


@pytest.mark.slow
def test_evaluation_is_the_same_for_a_seed(pipeline, tmp_path, monkeypatch):
    def tried(*arguments):
        evaluator = BatchEvaluator(pipeline, 2, *arguments)
        return [(case.asked, case.answered, case.marks) for case in nano.refine(evaluator)]

    assert tried(1) == tried(1) != tried(2)
    some = evaluate(pipeline, tmp_path, monkeypatch, "--cases", "2", "--only", "questions")
    assert list(some)[:2] == ["judge/scene", "questions/right"]
    with pytest.raises(WeGenError, match="0 cases"):
        BatchEvaluator(pipeline, 0)


@pytest.mark.slow
def test_processes_side_by_side_measure_the_same(tmp_path, capsys):
    found = []
    for processes in ("1", "2"):
        file = tmp_path / f"{processes}.json"
        options = ["--only", "describe", "outside", "--sheets", str(tmp_path / processes), "--processes", processes]
        assert main(["eval", "nano", "--cases", "4", "--json", str(file), *options]) == 0
        tables = capsys.readouterr().out
        assert all(f"\n{name}: 4 cases in" in tables for name in ("judge", "describe", "outside"))
        found.append((json.loads(file.read_text()), sorted(path.name for path in (tmp_path / processes).iterdir())))
    assert found[0] == found[1] and "describe/objects" in found[0][0] and len(found[0][1]) == 3
    assert not active_children()


def test_a_process_that_is_ended_from_outside_is_told(monkeypatch, tmp_path):
    """As systems do when memory runs out; the command waits for nothing."""
    names = ["describe", "questions"]
    arguments = argparse.Namespace(model=BUNDLED, lora=[], cases=4, seed=0, rewriting=True, sheets=None)
    coming = command._measure(arguments, None, names, 2)
    monkeypatch.setattr(command, "as_completed", lambda coming: (active_children()[0].kill(), as_completed(coming))[1])
    with pytest.raises(WeGenError, match=r"One of the 2 processes .* --processes 1"):
        list(coming)
    assert not active_children()


@pytest.mark.slow
@pytest.mark.parametrize("rewriting", [False, True])
def test_batches_draw_what_the_pipeline_draws(pipeline, rewriting):
    evaluator = BatchEvaluator(pipeline, 2, rewriting=rewriting)
    how = {"rewrite": rewriting, "creativity": 0.0, "settings": SamplerSettings(auto_mask=None)}
    first = evaluator.take_turns([Chat()] * 2, ["a red house by day", "a cat"], [3, 4])
    alone = pipeline.generate("a red house by day", [3], **how)
    assert first[0].last.answer.rewrite == alone.last.answer.rewrite
    assert torch.allclose(first[0].last.answer.picture, alone.last.answer.picture, atol=1e-4)
    assert not torch.allclose(first[1].last.answer.picture, alone.last.answer.picture, atol=1e-2)
    references = [References((evaluator.reference("page", storybook.render(PAGE)),))] * 2
    second = evaluator.take_turns(first, ["make it blue", "add @page"], [5, 6], references)
    refined = pipeline.refine(first[1], "add @page", [6], references=references[1], **how)
    assert torch.allclose(second[1].last.answer.picture, refined.last.answer.picture, atol=1e-4)
    assert second[1].last.settings == refined.last.settings and len(second[1]) == 2


class Oracle(BatchEvaluator):
    """Draws what the words say with the storybook's own brush; every fourth picture lacks its first thing."""

    def take_turns(self, chats, instructions, seeds, references=None):
        after = []
        for chat, instruction, seed in zip(chats, instructions, seeds, strict=True):
            named = storybook.parse_caption(instruction)
            things = named.things[1:] if seed % 4 == 3 else named.things
            picture = from_pil(Image.fromarray(storybook.render(replace(named, things=things).to_scene())))
            answer = Answer(instruction, torch.zeros(64, 32), picture, seed)
            after.append(chat.add(Turn(instruction, (answer,))))
        return after


def test_pictures_of_an_oracle_are_right(pipeline):
    found = shares(nano.text_to_picture(Oracle(pipeline, 40)))
    assert found["text_to_picture/scene"] == pytest.approx(0.75, abs=0.03)
    assert found["text_to_picture/ground"] == 1
    assert 0.75 < found["text_to_picture/attribute"] < 0.95
    right = [case.passed(THRESHOLDS) for case in nano.text_to_picture(Oracle(pipeline, 8))]
    assert right == [True, True, True, False] * 2


def test_compositions_mention_their_references():
    plan = storybook.sample_composition(Random("plan"), 2)
    text = nano.mentioning(plan)
    assert "@one" in text and "@two" in text
    assert shown(Chat().add(Turn("", (Answer("", torch.zeros(1), torch.ones(2, 2, 3), 0),)))).max() == 255
    assert shown(Chat()).max() == 0  # its first wish got words alone


# --- questions --------------------------------------------------------------------------------------------------------


def test_ask_answers_in_words(pipeline):
    picture = pipeline.encode_reference("page", Image.fromarray(storybook.render(PAGE)))
    answer = ask(pipeline.wegen, "what is there?", References((picture,)))
    assert answer == ask(pipeline.wegen, "what is there?", References((picture,)))
    assert "<img" not in answer and answer == answer.strip()
    steps = []
    ask(pipeline.wegen, "what is in @page?", References((picture,)), limit=3, on_token=lambda *s: steps.append(s))
    assert steps and len(steps) <= 3 and {most for _, most in steps} == {3}
    chat = pipeline.generate("a cat", [0])
    assert isinstance(ask(pipeline.wegen, "what is it?", chat=chat), str)


@pytest.mark.parametrize(
    "question, limit, message",
    [("  ", None, "question is empty"), ("what is in @other?", None, "@page"), ("what?", 0, "limit of 0")],
)
def test_ask_refuses_what_cannot_be_asked(pipeline, question, limit, message):
    picture = pipeline.encode_reference("page", Image.fromarray(storybook.render(PAGE)))
    with pytest.raises(WeGenError, match=message):
        ask(pipeline.wegen, question, References((picture,)), limit=limit)


def _story(seed):
    """A picture after a first order that has left something in it."""
    rng = Random(seed)
    while True:
        story = Story((storybook.sample_scene(rng, rng.choice((2, 3))),))
        story = story.then(language.sample_order(story, rng, HELD_OUT))
        if story.now.things:
            return story, rng


def test_an_order_that_was_followed_passes_and_one_that_was_not_fails():
    for seed in range(300):
        story, rng = _story(seed)
        if not story.now.things:
            continue
        order = language.sample_order(story, rng, HELD_OUT)
        assert own_words.happened(order, Named.of(order.after)), order
        assert own_words.stayed(order, Named.of(order.after)), order
        if order.after.canonical() != order.before.canonical():
            assert not own_words.happened(order, Named.of(order.before)), order
            assert own_words.stayed(order, Named.of(order.before)) or order.intent in ("undo", "several"), order


@pytest.mark.parametrize("intent", ["relative", "add", "several"])
def test_every_target_of_an_order_passes(intent):
    """What a model is trained to draw is right, whatever relation was asked for."""
    found = 0
    for seed in range(400):
        story, rng = _story(seed)
        try:
            order = language.sample_order(story, rng, HELD_OUT, intent)
        except ValueError:
            continue  # not in this picture
        found += bool(order.related)
        assert own_words.happened(order, Named.of(order.after)), order
    assert found > 10


def test_next_to_a_thing_is_on_either_side_of_it():
    """Where words leave open which of several places is meant, each of them is right; another thing's side is not."""
    house, cat = Thing("house", "red", "small", 2, 2, "lit"), Thing("cat", "black", "small", 0, 0, "facing left")
    page = Scene("snow", "night", (house, cat))
    places = {}
    for relation in ("left", "right", "above", "below", "near"):
        after = replace(cat, column=1, row=2)
        order = language.Order(
            "relative", "", page, replace(page, things=(house, after)), related={after: (relation, (house,))}
        )
        moved = [replace(cat, column=column, row=row) for column in range(5) for row in range(4)]
        seen = {one.place: Named.of(replace(page, things=(house, one))) for one in moved if one.place != house.place}
        places[relation] = {place for place, named in seen.items() if own_words.happened(order, named)}
    assert places == {
        "left": {(0, 2), (1, 2)},
        "right": {(3, 2), (4, 2)},
        "above": {(2, 0), (2, 1)},
        "below": {(2, 3)},
        "near": {(0, 2), (1, 2), (3, 2), (4, 2), (2, 1), (2, 3)},
    }


def test_what_a_style_is_asked_for_with_is_kept_or_not_whatever_the_style():
    wanted = Named((Mention("cat", "black", size="big"),), style="wash")
    assert styles._kept(Named((Mention("cat", "black", "small", None, 0, 1),), "sea", "day"), wanted)
    assert not styles._kept(Named((Mention("cat", "white", "big", None, 0, 1),), "sea", "day", style="wash"), wanted)


def test_a_whole_scene_in_a_style_keeps_uninvited_things_away():
    """Also where its things are plain, which goes without saying."""
    wanted = Named.of(Scene("sea", "day", (CAT,), style="wash"))
    assert styles._kept(Named.of(Scene("sea", "day", (CAT,))), wanted)
    assert not styles._kept(Named.of(Scene("sea", "day", (CAT, HOUSE))), wanted)


@pytest.mark.parametrize("text", ["", "i cannot draw that."])
def test_what_gets_words_alone_names_nothing_that_was_wished_for(pipeline, monkeypatch, text):
    refused = [Rewrite(text, 0, spoken=bool(text))]
    monkeypatch.setattr(nano, "rewrite", lambda *_, **__: refused)
    found = shares(nano.rewriting(BatchEvaluator(pipeline, 6)))
    assert found["rewriting/named_kept"] == found["rewriting/named_kept with checks"] == 0


def test_what_was_spoken_of_is_known_wherever_exactly_it_came_to_lie():
    order = language.Order("add", "", PAGE, PAGE, last=replace(HOUSE, jitter=(1, -1)))
    assert own_words._spoken_of(order, Scene("sea", "day", (CAT, HOUSE))) == HOUSE
    assert own_words._spoken_of(order, Scene("sea", "day", (CAT,))) is None
    assert own_words._spoken_of(replace(order, last=None), PAGE) is None


def test_an_undo_that_was_not_followed_goes_nowhere_back():
    first, second, third = (Scene(ground, "day", (CAT,)) for ground in ("sea", "snow", "beach"))
    story = Story((first, second), past=(first,))
    undone = language.Order("undo", "", second, first)
    assert story.then(undone).past == ()
    assert story.then(replace(undone, after=third)).past == (first, second)


def test_a_thing_with_a_relation_may_have_any_colour_where_none_was_asked_for():
    house, cat = Thing("house", "red", "small", 2, 2, "lit"), Thing("cat", "black", "small", 1, 2, "facing left")
    page = Scene("snow", "night", (house,))
    after = replace(page, things=(house, cat))
    seen = Named.of(replace(page, things=(house, replace(cat, colour="white"))))
    for colour, right in ((None, True), ("black", False)):
        mention = Mention("cat", colour, column=1, row=2)
        order = language.Order("add", "", page, after, {cat: mention}, related={cat: ("left", (house,))})
        assert own_words.happened(order, seen) is right


def test_one_of_a_category_may_be_any_of_its_kinds_and_no_other():
    page = Scene("snow", "night", (Thing("cat", "black", "small", 1, 2, "facing left"),))
    horse = Thing("horse", "brown", "small", 3, 2, "facing left")
    order = language.Order("add", "", page, replace(page, things=(*page.things, horse)), {horse: Mention("animal")})
    before = Named.of(page)
    for kind, right in (("duck", True), ("cat", True), ("tree", False)):
        came = replace(Mention.of(horse), kind=kind)
        assert own_words.happened(order, replace(before, things=(*before.things, came))) is right
    assert not own_words.happened(order, Named.of(page)), "the cat of before is not the animal that was asked for"


def test_a_thing_that_came_uninvited_or_got_lost_is_seen():
    for seed in range(100):
        story, rng = _story(seed)
        order = language.sample_order(story, rng, HELD_OUT, "sky")
        seen = Named.of(order.after)
        more = storybook.sample_thing(rng, story.now.things)
        assert not own_words.stayed(order, replace(seen, things=seen.things[1:]))
        if more is not None:
            assert not own_words.stayed(order, replace(seen, things=(*seen.things, Mention.of(more))))


def test_a_ground_a_sky_or_a_style_that_nobody_asked_for_is_a_change():
    for seed in range(100):
        story, rng = _story(seed)
        for intent, name in (("ground", "ground"), ("sky", "sky"), ("style", "style")):
            order = language.sample_order(story, rng, HELD_OUT, intent)
            for other, value in (("ground", "city"), ("sky", "fog"), ("style", "mosaic")):
                if other != name and getattr(order.after, other) != value:
                    uninvited = Named.of(replace(order.after, **{other: value}))
                    assert own_words.happened(order, uninvited) and not own_words.stayed(order, uninvited)
        edit = storybook.sample_edit(story.now, rng)
        after = storybook.apply(story.now, (edit,))
        assert nano.refine_marks(story.now, edit, Named.of(after))["refine/unchanged"] == [True]
        if after.style != "mosaic":
            repainted = Named.of(replace(after, style="mosaic"))
            assert nano.refine_marks(story.now, edit, repainted)["refine/unchanged"] == [False]


class Stubborn(BatchEvaluator):
    """Draws wishes, and to orders says no or shows the picture before once more."""

    says_no = True

    def results(self, chats, instructions, seeds, references=None, auto_mask=None, parts=None):
        found = []
        for chat, instruction in zip(chats, instructions, strict=True):
            if not chat.turns:
                page = storybook.render(storybook.parse_caption(instruction).to_scene())
                answer = Answer(instruction, torch.zeros(64, 32), from_pil(Image.fromarray(page)), 0)
                found.append(TurnResult(chat.add(Turn(instruction, (answer,))), ()))
            else:
                found.append(TurnResult(chat if self.says_no else chat.add(chat.last), (), "no" * self.says_no))
        return found


@pytest.mark.parametrize("says_no", [True, False])
def test_what_gets_words_alone_has_stayed_and_has_not_changed(pipeline, monkeypatch, says_no):
    monkeypatch.setattr(Stubborn, "says_no", says_no)
    found = shares(itertools.chain(own_words.own_words(Stubborn(pipeline, 8)), own_words.chat8(Stubborn(pipeline, 4))))
    assert found["own_words/answered by a picture"] == (not says_no)
    assert all(found[name] > 0.5 for name in ("own_words/unchanged", "own_words/unchanged masked", "chat8/unchanged"))
    changed = ("own_words/changed", "own_words/changed masked", "chat8/changed", "chat8/right")
    assert all(found[name] == 0 for name in changed)


def test_an_order_that_got_words_alone_is_not_followed_by_a_black_picture():
    page = Scene("beach", "night", (CAT,))
    order = language.Order("remove", "", page, replace(page, things=()))
    assert own_words.order_marks(order, Named(), True)["own_words/remove"] == [True]
    assert own_words.order_marks(order, Named(), False)["own_words/remove"] == [False]


def test_a_chat_without_a_picture_leaves_what_the_others_show(pipeline):
    wish = Scene("snow", "fog", (HOUSE,))
    drawn = Answer("", torch.zeros(64, 32), from_pil(Image.fromarray(storybook.render(PAGE))), 0)
    chats = [Chat(), Chat().add(Turn("a wish", (drawn,)))]
    first, second = own_words._seen(BatchEvaluator(pipeline, 2), chats, [wish, wish])
    assert first == wish and Named.of(second).same_as(Named.of(PAGE))


def test_colours_that_are_equally_bright_are_one_in_a_grey_picture():
    alike = {colour: guided._in_grey(Named((Mention("car", colour),))).things[0].colour for colour in COLOURS}
    assert len({alike[name] for name in ("red", "blue", "purple", "brown")}) == 1
    assert len(set(alike.values())) == len(COLOURS) - 3
    levels = {name: grey(np.array([[COLOURS[name]]], np.uint8)).item() for name in COLOURS}
    for one, other in itertools.combinations(COLOURS, 2):
        assert (alike[one] == alike[other]) == (abs(levels[one] - levels[other]) < guided.ALIKE)
