"""`wegen eval consistency` on a tiny model: every group gives its numbers, and they mean what they say."""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models import cli, storybook
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.cli.eval_consistency import MEASURED, TARGETS
from comfyui_wegen.models.data import tasks
from comfyui_wegen.models.editing.registration import Motion
from comfyui_wegen.models.engine import NothingFound, Selection
from comfyui_wegen.models.errors import AnsweredInWords, WeGenError
from comfyui_wegen.models.evaluation import consistency, own_masks
from comfyui_wegen.models.evaluation.batch_evaluator import BatchEvaluator
from comfyui_wegen.models.evaluation.consistency import ConsistencyEvaluator
from comfyui_wegen.models.evaluation.own_masks import RECALL_AT, THRESHOLDS, overlap
from comfyui_wegen.models.evaluation.reference_effects import box_around
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.values import Turn
from PIL import Image


@pytest.fixture(scope="module")
def pipeline(packed_dir):
    return Pipeline.from_folder(packed_dir)


@pytest.mark.slow
def test_the_command_writes_the_numbers(packed_dir, tmp_path, capsys):
    arguments = ["--cases", "2", "--only", "seam", "registration", "--model", str(packed_dir)]
    assert cli.main(["eval", "consistency", "--json", str(tmp_path / "numbers.json"), *arguments]) == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert {name for name in TARGETS if name.startswith(("seam", "registration"))} <= set(numbers)
    assert 0 < numbers["registration/pixels"] < 0.25 and numbers["seam/ratio"] < 1
    assert "at most 0.25   ok" in capsys.readouterr().out


def test_every_group_can_be_asked_for():
    assert set(MEASURED) == set(consistency.GROUPS)


def test_registration_tells_a_wrong_estimate(pipeline, monkeypatch):
    monkeypatch.setattr(consistency, "estimate", lambda *_: Motion(50.0, 0.0, 1.0, 1.0, True, ""))
    numbers = consistency.registration(ConsistencyEvaluator(pipeline, 4))
    assert numbers["registration/pixels"] > 30 and numbers["registration/false_motions"] == 2
    monkeypatch.setattr(consistency, "estimate", lambda *_: Motion())
    numbers = consistency.registration(ConsistencyEvaluator(pipeline, 4))
    assert numbers["registration/found"] == 0 and numbers["registration/false_motions"] == 0


@pytest.mark.slow
def test_kept_pixels_over_turns_and_a_file(pipeline, monkeypatch):
    # A model of random numbers follows nothing; whatever it paints has to come through here.
    monkeypatch.setattr("comfyui_wegen.models.engine.planning.outcome", lambda *_: "followed")
    numbers = consistency.kept(ConsistencyEvaluator(pipeline, 3))
    assert numbers["kept/max_difference"] == 0 and numbers["kept/turns"] == numbers["kept/changed_turns"] == 3
    assert 0 < numbers["kept/untouched"] < 1
    monkeypatch.setattr("comfyui_wegen.models.engine.finishing.put_back", lambda before, *_: 1 - before)
    assert consistency.kept(ConsistencyEvaluator(pipeline, 1))["kept/max_difference"] > 0


def test_turns_in_words_are_no_turns_that_kept_pixels(pipeline, monkeypatch):
    def refused(*_, **__):
        raise AnsweredInWords("i cannot do that.")

    monkeypatch.setattr(Pipeline, "refine", refused)
    numbers = consistency.kept(ConsistencyEvaluator(pipeline, 2))
    met = {name: target.met_by(numbers[name]) for name, target in TARGETS.items() if name in numbers}
    assert met == {"kept/max_difference": False, "kept/turns": False}


def test_masks_are_counted_in_pixels():
    want, mask = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    want[:2], mask[1:] = True, True
    assert overlap([mask, want], [want, want]) == (12 / 16, 12 / 20)


@pytest.mark.slow
def test_the_own_mask_is_measured_and_plotted(packed_dir, tmp_path):
    arguments = ["--cases", "2", "--model", str(packed_dir), "--plot", str(tmp_path / "plot.png")]
    numbers = tmp_path / "numbers.json"
    assert cli.main(["eval", "consistency", "--only", "auto_mask", "--json", str(numbers), *arguments]) == 0
    found = json.loads(numbers.read_text())
    assert {name for name in TARGETS if name.startswith("auto_mask")} <= set(found)
    recalls = [value for name, value in found.items() if name.startswith(RECALL_AT)]
    # A higher threshold can only make a mask smaller.
    assert len(recalls) == len(THRESHOLDS) and recalls == sorted(recalls, reverse=True)
    assert Image.open(tmp_path / "plot.png").size[0] > 500
    assert cli.main(["eval", "consistency", "--only", "seam", *arguments]) == 2


def test_masks_of_what_is_named_are_held_against_those_of_the_things(monkeypatch, pipeline):
    asked = []

    def found(self, chat, things, seed):
        scene, thing = own_masks._with_one_of_a_kind(Random(f"evaluation/selection/0/{seed}"))
        assert things == f"the {thing.kind}" and sum(one.kind == thing.kind for one in scene.things) == 1
        asked.append(scene.style)
        if seed == 0:
            raise AnsweredInWords("that is not in the picture.")
        if seed == 1:
            raise NothingFound("'the house' was not found")
        mask = torch.from_numpy(storybook.render_with_masks(scene)[1][scene.things.index(thing)]).float()
        half = mask.clone()
        half[: int(mask.any(dim=1).nonzero().float().mean())] = 0
        return Selection(half if seed == 2 else mask, chat.last.answer.picture)

    monkeypatch.setattr(Pipeline, "select", found)
    numbers = consistency.select(ConsistencyEvaluator(pipeline, 12))
    assert len(set(asked)) > 2
    assert numbers["select/found"] in (9 / 12, 10 / 12)
    assert 9 / 12 < numbers["select/overlap"] < 10 / 12


def test_what_stays_because_an_order_names_it_is_held_against_the_predicted_mask_alone(monkeypatch):
    def turns(self, chats, texts, seeds, auto_mask, parts=None):
        """Every fourth order is named wrong; without the words half of each picture changes, with them nothing."""
        after = []
        for chat, text, seed in zip(chats, texts, seeds, strict=True):
            order = own_masks._with_something_kept(Random(f"evaluation/kept_by_words/0/{seed}"))
            assert order.text == text and order.before.things and auto_mask is not None
            told = " and ".join(tasks._told_apart(thing, order.before) for thing in order.left_alone)
            picture = chat.last.answer.picture.clone()
            if parts is not None:
                assert parts.config.templates.kept == ""
                picture[:, ::2] = 0.123
            words = "keeping the moon and the moon: x" if seed % 4 == 3 else f"keeping {told}: x"
            after.append(chat.add(Turn(text, (replace(chat.last.answer, rewrite=words, picture=picture),))))
        return after

    monkeypatch.setattr(BatchEvaluator, "take_turns", turns)
    numbers = consistency.by_words(ConsistencyEvaluator(Pipeline.from_folder(BUNDLED), 8))
    assert {name for name in TARGETS if name.startswith("kept_by_words")} <= set(numbers)
    assert numbers["kept_by_words/named"] == 0.75 and numbers["kept_by_words/changed"] == 0
    assert numbers["kept_by_words/pixels"] == 1 and 0.3 < numbers["kept_by_words/pixels_without"] < 0.7
    snail, house = (storybook.Thing(kind, "red", "small", 0, row, pose) for kind, row, pose in
                    (("snail", 0, "facing left"), ("house", 2, "lit")))  # fmt: skip
    told = storybook.parse_caption("the red house and the red snail").things
    assert own_masks._names(told, (snail, house)) and not own_masks._names(told, (snail,))
    assert not own_masks._names(told[:1], (snail, house)) and not own_masks._names(told[:1], (snail,))


def test_a_users_rectangle_reaches_beyond_the_thing():
    thing = np.zeros((20, 30))
    thing[3:6, 10:12] = thing[5, 14] = 1
    tight, wide = (box_around(thing, grown) for grown in (0, 5))
    assert tight.dtype == bool and tight.sum() == 3 * 5 and tight[3:6, 10:15].all()
    assert wide.sum() == 11 * 15 and wide[:11, 5:20].all()


@pytest.mark.slow
def test_masks_of_references_are_measured(pipeline):
    numbers = consistency.references(ConsistencyEvaluator(pipeline, 1))
    assert {name for name in TARGETS if name.startswith("references")} <= set(numbers)
    assert all(value == 0 for name, value in numbers.items() if "box" in name), "a random model draws nothing"


@pytest.mark.slow
def test_the_stock_way_loses_what_it_should_keep(pipeline, monkeypatch):
    monkeypatch.setattr(consistency, "STOCK_TURNS", 2)
    numbers = consistency.stock(ConsistencyEvaluator(pipeline, 1))
    assert set(numbers) == {"stock/psnr_turn_1", "stock/psnr_turn_2"}
    assert all(value < 40 for value in numbers.values())


def test_cases_depend_on_seed_and_number_alone(pipeline):
    one, other = ConsistencyEvaluator(pipeline, 2, seed=1), ConsistencyEvaluator(pipeline, 3, seed=1)
    assert [rng.random() for rng in one.rngs("a")] == [rng.random() for rng in other.rngs("a")][:2]
    assert one.rngs("a")[0].random() != ConsistencyEvaluator(pipeline, 2, seed=2).rngs("a")[0].random()
    assert one.rngs("a")[0].random() != one.rngs("b")[0].random()
    with pytest.raises(WeGenError, match="0 cases"):
        ConsistencyEvaluator(pipeline, 0)
