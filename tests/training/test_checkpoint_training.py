"""Training of a finished checkpoint on shards: packing, buckets, LoRA, and results in files that open."""

import argparse
import dataclasses
import json
import math
import re
import shutil

import numpy as np
import pytest
import torch
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.lora import BASE, merge, read_lora
from comfyui_wegen.models.checkpoints.random_weights import make_random
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.cli.train import NANO_RECIPES, add_arguments, run
from comfyui_wegen.models.data import Forgotten, Picture, Sample, Text, is_said, mentions, write_samples
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.painting.loading import load
from comfyui_wegen.models.training.adapters import LoraOptions, add_adapters, fill_frozen, without_adapters
from comfyui_wegen.models.training.buckets import bucket_sizes, fit, nearest_bucket
from comfyui_wegen.models.training.checkpoint_run import CheckpointRun
from comfyui_wegen.models.training.conversations import conversation
from comfyui_wegen.models.training.loop import Rhythm, train
from comfyui_wegen.models.training.lora_run import LoraRun
from comfyui_wegen.models.training.losses import IGNORED
from comfyui_wegen.models.training.own_pictures import (
    OwnPicture,
    described_pictures,
    exchanged_samples,
    make_samples,
    mention_samples,
    read_pictures,
)
from comfyui_wegen.models.training.packing import pack
from comfyui_wegen.models.training.recipe import Recipe, RecipeError
from comfyui_wegen.models.training.run_state import CHECKPOINT
from comfyui_wegen.models.training.sources import Drawn, Mixture
from comfyui_wegen.models.training.stage import Stage
from comfyui_wegen.models.training.unet_stage import is_cut_out
from comfyui_wegen.models.training.unknown_things import choose, places, shrunk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_samples import recipe_file, samples

QUIET = Rhythm(math.inf, math.inf, 1000)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Folders "learn" and "keep" beside each other."""
    folder = tmp_path_factory.mktemp("shards")
    write_samples(folder / "learn", samples(24), 10)
    write_samples(folder / "keep", samples(12, 1), 10)
    return folder


KEPT = [{"shards": "learn", "weight": 2.0}, {"shards": "keep", "keep": True}]


def wegen_train(words):
    """What `wegen train` does with these words."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


@torch.no_grad()
def losses_of(stage, batch, base):
    with torch.autocast("cpu", torch.bfloat16, enabled=base != "fp32"):
        return {name: float(value) for name, value in stage(batch).items()}


def made(run):
    stage = run.stage()
    return stage, train(stage, run.recipe, run.folder, rhythm=QUIET, progress=False)


@torch.no_grad()
def summed(stage, batches):
    """The losses of several processes, each divided by what all have together."""
    counts = sum(stage.counts(batch) for batch in batches)
    each = [stage(batch, counts) for batch in batches]
    return {name: sum(float(losses[name]) for losses in each) for name in each[0]}


@given(st.lists(st.integers(1, 900), min_size=0, max_size=40), st.integers(100, 1000), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_packing_places_every_sequence_once_in_evenly_filled_rows(lengths, most, multiple):
    rows = pack(lengths, most, multiple)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert len(rows) % multiple == 0
    filled = [sum(lengths[index] for index in row) for row in rows]
    if lengths and len(rows) < len(lengths):
        assert max(filled) <= max(most, max(lengths))


def test_packed_sequences_do_not_see_each_other(tiny):
    llm = tiny[0].agent.llm
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randn(1, length, 32, generator=generator) for length in (5, 1, 9, 3)]
    segments = torch.cat([torch.full((1, x.shape[1]), n) for n, x in enumerate(sequences)], dim=1)
    packed = llm(torch.cat(sequences, dim=1), segments=segments)
    alone = torch.cat([llm(one) for one in sequences], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_buckets_have_about_the_same_area_and_fit_pictures_of_any_proportions():
    sizes = bucket_sizes(1024, 32)
    assert (1024, 1024) in sizes
    assert all(width % 32 == height % 32 == 0 for width, height in sizes)
    assert all(abs(width * height / 1024**2 - 1) < 0.04 for width, height in sizes)
    assert nearest_bucket(1920, 1080, 1024, 32)[0] > nearest_bucket(1920, 1080, 1024, 32)[1]
    for shape in ((7, 90, 3), (300, 20, 3), (1, 1, 3), (1080, 1920, 3)):
        bucket = nearest_bucket(shape[1], shape[0], 128, 32)
        assert fit(np.zeros(shape, np.uint8), bucket).shape == (bucket[1], bucket[0], 3)
    square = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert fit(square, nearest_bucket(128, 128, 128, 32)) is square


def test_losses_do_not_depend_on_how_samples_are_packed_or_spread(shards, packed_dir, tmp_path):
    """The published losses of rows of their own, of packed rows, and of two processes' halves."""
    totals = {}
    for tokens in (0, 300, 1000):
        file = recipe_file(tmp_path, shards, packed_dir, "language_model", options={"tokens": tokens, "noise": 0.3})
        stage = CheckpointRun(file, tmp_path).stage()
        totals[tokens] = losses_of(stage, stage.batch(8, 8), "fp32")
        stage.processes = 2
        halves = [stage.batch(8 + 4 * number, 4) for number in range(2)]
        assert summed(stage, halves) == pytest.approx(totals[tokens], rel=1e-5)
    assert totals[300] == pytest.approx(totals[0], rel=1e-5)
    assert totals[1000] == pytest.approx(totals[0], rel=1e-5)


def test_the_unets_losses_do_not_depend_on_how_pictures_are_spread(shards, packed_dir, tmp_path):
    stage = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "unet", options={"noise": 0.3}), tmp_path).stage()
    whole = stage.batch(8, 8)
    assert len({group.pixels.shape[-2:] for step in range(8) for group in stage.batch(step * 8, 8)}) > 1
    stage.processes = 2
    halves = [stage.batch(8 + 4 * number, 4) for number in range(2)]
    assert [group.pixels.shape[2:] for group in halves[0]] == [group.pixels.shape[2:] for group in halves[1]]
    assert stage.counts(whole).tolist() == [8, 0]
    assert summed(stage, halves) == pytest.approx(losses_of(stage, whole, "fp32"), rel=1e-5)


def test_cells_with_things_weigh_more_for_the_unet(shards, packed_dir, tmp_path):
    stage, plain = (
        CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "unet", options={"things": weight}), tmp_path).stage()
        for weight in (5.0, 1.0)
    )
    there = np.zeros((64, 64), np.uint8)
    there[:16, 48:] = 3
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    shown = [Picture(pixels, "assistant", True, one) for one in (there, None)]
    drawn = [Drawn(Sample("picture", (one,)), number, False) for number, one in enumerate(shown)]
    [group] = stage._groups(stage._paintings(drawn))
    high, wide = group.weights.shape[1:]
    assert group.weights[0, : high // 4, -(wide // 4) :].unique().tolist() == [5.0]
    assert group.weights[0].sum() == high * wide + 4 * (high // 4) * (wide // 4) and group.weights[1].unique() == 1
    [even] = plain._groups(plain._paintings(drawn))
    with torch.no_grad():
        more, less = stage((group,)), plain((even,))
    assert float(more["noise"]) == pytest.approx(float(less["noise"])) and more["weighted"] > less["weighted"]


def test_features_of_things_weigh_more_for_the_language_model(shards, packed_dir, tmp_path):
    stage, plain = (
        CheckpointRun(
            recipe_file(tmp_path, shards, packed_dir, "language_model", options={"things": weight, "tokens": 0}),
            tmp_path,
        ).stage()
        for weight in (5.0, 1.0)
    )
    there = np.zeros((64, 64), np.uint8)
    there[:2, 60:] = 3  # a little in the last cell of the first row
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen, drawn = Picture(pixels, "user", False, there), Picture(pixels, "assistant", True, there)
    made = [
        Sample("picture", (seen, Text("again", "user"), drawn)),
        Sample("picture", (Text("again", "user"), dataclasses.replace(drawn, instance_map=None))),
        Sample("words", (Text("hello", "user"), Text("hello", "assistant", True))),
    ]
    batch, even = (
        one._collate(one._written([Drawn(sample, number, False) for number, sample in enumerate(made)]))
        for one in (stage, plain)
    )
    side = stage.config.feature_grid
    weights = batch.weights[batch.targets].reshape(-1, side * side)
    assert weights[0].tolist() == [5.0 if cell == side - 1 else 1.0 for cell in range(side * side)]
    assert weights[1].unique().tolist() == [1.0] and batch.weights[~batch.targets].unique().tolist() == [1.0]
    assert even.weights.unique().tolist() == [1.0]
    with torch.no_grad():
        more, less = stage(batch), plain(even)
    assert more["mse"] > less["mse"] and more["cosine"] > less["cosine"] and more["text"] == less["text"]


class Weighted(Stage):
    """Learns a line from numbers, only some of which count."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.line.weight, 0.5)
        torch.nn.init.zeros_(self.line.bias)

    def batch(self, first, count):
        return torch.arange(first, first + count)[:, None].float()

    def counts(self, batch):
        return (batch % 3 == 0).sum()[None].double()

    def forward(self, batch, counts=None):
        errors = (self.line(batch / 10) - batch).square()[batch % 3 == 0]
        return {"total": errors.sum() / (self.counts(batch) if counts is None else counts).float()[0]}


def test_batches_one_after_the_other_equal_one_large_batch(tmp_path):
    recipe = Recipe("weighted", 6, 4, 1e-2, precision="no", gradient_limit=1e9)
    halves = dataclasses.replace(recipe, batch=2, accumulate=2)
    first, second = (
        train(Weighted(), one, tmp_path / str(one.batch), rhythm=QUIET, progress=False) for one in (recipe, halves)
    )
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)
    logs = [json.loads((tmp_path / name / "log.jsonl").read_text() or "{}") for name in ("4", "2")]
    assert logs[0] == logs[1]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_blocks_that_are_computed_again_give_the_same(shards, packed_dir, tmp_path, stage):
    results = []
    for recompute in (False, True):
        file = recipe_file(tmp_path, shards, packed_dir, stage, str(recompute), recompute=recompute)
        results.append(made(CheckpointRun(file, tmp_path / str(recompute)))[1])
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_blocks_compute_on_the_way_back_what_they_did(shards, tmp_path, stage, precision):
    """Also where the loop computes attention otherwise than PyTorch: without shared keys and values, or in 16 bits."""
    packed = make_random(tmp_path / "packed", "tiny", "fp32")
    file = recipe_file(tmp_path, shards, packed, stage, recompute=True, precision=precision, steps=1)
    assert made(CheckpointRun(file, tmp_path / "run"))[1]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["language_model", "unet"])
@pytest.mark.parametrize("lora", [None, {"rank": 4, "base": "fp32", "words": True}])
def test_a_resumed_run_equals_one_without_a_stop(shards, packed_dir, tmp_path, stage, lora):
    data = [{**one, "shards": str(shards / one["shards"])} for one in KEPT] if lora else None
    entries = {"lora": lora, "data": data} if lora else {}
    options = {"noise": 0.2} | ({"remember": 8} if stage == "unet" else {})
    file = recipe_file(tmp_path, shards, packed_dir, stage, options=options, accumulate=2, **entries)
    straight = made(CheckpointRun(file, tmp_path / "straight"))[1]
    halves = CheckpointRun(file, tmp_path / "halves")
    train(halves.stage(), halves.recipe, halves.folder, rhythm=QUIET, progress=False, until=2)
    resumed = made(halves)[1]
    assert straight
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name
    values = [
        torch.load(tmp_path / name / stage / CHECKPOINT, weights_only=True)["model"] for name in ("straight", "halves")
    ]
    assert all(torch.equal(value, values[1][name]) for name, value in values[0].items())


def test_samples_that_are_too_long_are_told(shards, packed_dir, tmp_path):
    stage = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "language_model"), tmp_path / "run").stage()
    language, drawn = stage.config.language, stage.data.pool(0, 8)
    lengths = sorted(len(one.ids) for one, _ in stage._written(drawn))
    stage.config = dataclasses.replace(
        stage.config, language=dataclasses.replace(language, context_length=lengths[len(lengths) // 2])
    )
    with pytest.warns(UserWarning, match=f"of {len(drawn)} samples are left out"):
        assert 0 < len(stage._written(drawn)) < len(drawn)
    stage.config = dataclasses.replace(
        stage.config, language=dataclasses.replace(language, context_length=lengths[0] - 1)
    )
    with pytest.raises(RecipeError, match=f"None of {len(drawn)} samples fits .* the shortest has {lengths[0]}"):
        stage._written(drawn)


def test_a_mention_of_nothing_is_a_word_and_a_turn_without_words_is_left_out(shards, packed_dir, tmp_path):
    """Captions of the web name people with an @, and some say nothing."""
    stage = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "language_model"), tmp_path / "run").stage()
    [drawn] = stage.data.pool(0, 1)

    def asked(text):
        answer = Text("a red house.", "assistant", target=True)
        return drawn._replace(sample=Sample("rewrite", (Text(text, "user"), answer, Forgotten("assistant", True))))

    with pytest.warns(UserWarning, match="1 of 3 samples are left out: a user's turn has no words"):
        [first, second] = stage._written([asked("a house by @nobody"), asked(" "), asked("a house by nobody")])
    assert first[0].ids == second[0].ids
    with pytest.raises(RecipeError, match="In none of 1 samples"):
        stage._written([asked("")])


def test_held_out_samples_of_no_use_are_told_at_once(shards, packed_dir, tmp_path):
    held_out = [{"shards": str(shards / "keep"), "without": "a"}]
    file = recipe_file(tmp_path, shards, packed_dir, "language_model", held_out=held_out)
    assert CheckpointRun(file, tmp_path / "run").stage().measure() == {}
    long = Sample("rewrite", (Text("a house " * 2000, "user"), Text("a house", "assistant", target=True)))
    write_samples(tmp_path / "long", [long])
    file = recipe_file(tmp_path, shards, packed_dir, "language_model", held_out=[{"shards": str(tmp_path / "long")}])
    with pytest.raises(RecipeError, match="fits the model's context"):
        CheckpointRun(file, tmp_path / "run").stage()


def test_what_fails_when_it_is_looked_at_costs_no_training(shards, packed_dir, tmp_path, monkeypatch):
    run = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "language_model", steps=2), tmp_path / "run")
    stage = run.stage()
    monkeypatch.setattr(stage, "measure", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(stage, run.recipe, run.folder, rhythm=Rhythm(), progress=False)
    assert run.done() == 2


def test_a_run_does_not_go_on_with_other_batches(shards, packed_dir, tmp_path):
    run = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "language_model", steps=2), tmp_path / "run")
    train(run.stage(), run.recipe, run.folder, rhythm=QUIET, progress=False, until=1)
    recipe_file(tmp_path, shards, packed_dir, "language_model", steps=2, batch=2)
    with pytest.raises(WeGenError, match="after 4 samples in 1 steps"):
        made(run)


@pytest.mark.parametrize("done", [False, True])
def test_a_run_does_not_go_on_with_another_strength_or_checkpoint(shards, packed_dir, tmp_path, done):
    """Also where no step is left, and only its file is written."""

    def go_on(checkpoint=packed_dir, **lora):
        file = recipe_file(tmp_path, shards, checkpoint, "unet", steps=2, lora={"rank": 2, "base": "fp32"} | lora)
        until = [] if done else ["--until", "1"]
        wegen_train(["--config", str(file), "--out", str(tmp_path / "run"), "--resume", *until])

    go_on()
    [lora] = (tmp_path / "run").glob("*.safetensors")
    before = load_file(lora)
    with pytest.raises(WeGenError, match=r"alpha of the LoRA was 2.0 .* and is now 32.0.*another --out"):
        go_on(alpha=32)
    other = tmp_path / "other"
    shutil.copytree(packed_dir, other)
    part = load_file(other / "vision_encoder.safetensors")
    save_file({name: value + 0.01 for name, value in part.items()}, other / "vision_encoder.safetensors")
    with pytest.raises(WeGenError, match="vision_encoder of the checkpoint was"):
        go_on(other)
    go_on()
    assert all(torch.equal(value, before[name]) for name, value in load_file(lora).items())


@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_a_run_does_not_go_on_with_other_data(shards, packed_dir, tmp_path, stage):
    kept, lora = shards / "keep", {"rank": 2, "base": "fp32"}
    learned = {"shards": str(shards / "learn"), "weight": 2.0}
    data = [learned, {"shards": str(kept), "keep": True, "without": "boat"}]

    def train_to(step, **entries):
        file = recipe_file(tmp_path, shards, packed_dir, stage, **{"lora": lora, "data": data, "steps": 4} | entries)
        run = CheckpointRun(file, tmp_path / "run")
        train(run.stage(), run.recipe, run.folder, rhythm=QUIET, progress=False, until=step)
        assert run.done() == step

    train_to(1)
    for changed, said in (
        (
            {"data": [{**learned, "weight": 3.0}, data[1]]},
            r'data\[0\] was {.*"weight": 2.0.*and is now {.*"weight": 3.0',
        ),
        ({"data": [learned, {**data[1], "without": ""}]}, r"data\[1\] was"),
        ({"data": [{**learned, "shards": str(kept)}, data[1]]}, r"data\[0\] was"),
        ({"data": [learned]}, r"data\[1\] was {.*and is now null"),
        ({"seed": 5}, "seed was 1"),
    ):
        with pytest.raises(WeGenError, match=said):
            train_to(2, **changed)
    moved = tmp_path / "moved"
    shutil.copytree(kept, moved)
    train_to(2, data=[learned, {**data[1], "shards": str(moved)}], steps=9, decay=3, learning_rate=1e-3)


def test_samples_of_a_step_are_packed_into_rows_one_at_a_time(shards, packed_dir, tmp_path):
    """As the recipe of a LoRA for published weights asks for it: a batch of 1, several of them a step."""
    file = recipe_file(
        tmp_path, shards, packed_dir, "language_model", options={"tokens": 300}, batch=1, accumulate=8, steps=2
    )
    run = CheckpointRun(file, tmp_path / "run")
    stage = run.stage()
    stage.accumulate = 8
    for step in range(4):
        made = stage._pool(0, 8)[step]
        batches = [batch for number in range(8) if (batch := stage.batch(step * 8 + number, 1)) is not None]
        assert len(batches) < len(made) == 8
        assert all(batch.ids.shape[0] == 1 and batch.ids.shape[1] <= 300 for batch in batches)
        longest = max(len(one.ids) for one, _ in made)
        stage.options = dataclasses.replace(stage.options, tokens=longest - 1)  # one that is longer makes a longer row
        assert max(stage.batch(step * 8 + number, 1).ids.shape[1] for number in range(2)) <= longest
        stage.options = dataclasses.replace(stage.options, tokens=300)
        words = sum(int((batch.labels != IGNORED).sum()) for batch in batches)
        assert words == sum(label != IGNORED for one, _ in made for label in one.labels)
    assert train(stage, run.recipe, run.folder, rhythm=QUIET, progress=False)


def grey_reference(instances):
    """A thing cut out on grey, 40 x 32 pixels."""
    pixels, there = np.full((40, 32, 3), 128, np.uint8), np.zeros((40, 32), np.uint8)
    there[4:30, 4:30] = 2
    pixels[there > 0] = np.random.default_rng(0).integers(0, 256, (26 * 26, 3))
    if not instances:
        there[:] = 0
        pixels[14:] = 128  # so much of it that it cannot be a photograph
    return Picture(pixels, "user", False, there if instances else None)


@pytest.mark.parametrize("instances", [True, False])
def test_a_unet_does_not_learn_from_cut_outs(shards, packed_dir, tmp_path, instances):
    stage = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, "unet"), tmp_path).stage()
    cut = grey_reference(instances)
    shown = Picture(np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8), "assistant", True)
    assert is_cut_out(cut) and not is_cut_out(dataclasses.replace(cut, role="assistant")) and not is_cut_out(shown)
    drawn = [Drawn(Sample("compose", (cut, shown)), number, False) for number in range(20)]
    assert all(np.array_equal(one.pixels, shown.pixels) for one in stage._paintings(drawn))
    assert not stage._paintings([Drawn(Sample("compose", (cut,)), 0, False)])


def test_a_unet_does_not_learn_from_pictures_far_below_its_size(shards, packed_dir, tmp_path):
    def stage(**options):
        file = recipe_file(tmp_path, shards, packed_dir, "unet", "small", options=options)
        return CheckpointRun(file, tmp_path).stage()

    def used(stage, side):
        picture = Picture(np.zeros((side, side, 3), np.uint8), "user")
        return bool(stage._paintings([Drawn(Sample("picture", (picture,)), 0, False)]))

    assert used(stage(), 16) and not used(stage(), 15) and used(stage(enlarged=3), 15)
    larger = stage(size=128)
    with pytest.raises(RecipeError, match=r"too small for a size of 128: .* enlarged 3\.\d times, and 2 times are"):
        larger._pool(0, 8)
    large = Picture(np.zeros((64, 64, 3), np.uint8), "user")
    mixed = [Sample("picture", (large,)), *[one for one in samples(12) if one.pictures()]]
    write_samples(tmp_path / "mixed" / "learn", mixed, 20)
    file = recipe_file(tmp_path, tmp_path / "mixed", packed_dir, "unet", "mixed", options={"size": 128})
    with pytest.warns(UserWarning, match="samples are left out"):
        assert CheckpointRun(file, tmp_path).stage()._pool(0, 8)


@pytest.mark.parametrize("lora", [{"rank": 2, "base": "fp32"}, None])
def test_an_unfinished_result_says_so(shards, packed_dir, tmp_path, capsys, lora, monkeypatch):
    file = recipe_file(tmp_path, shards, packed_dir, "unet", "thing", lora=lora, steps=2)
    out = tmp_path / "run"
    command = ["--config", str(file), "--out", str(out)]
    check, checked = CheckpointRun.check, []
    monkeypatch.setattr(CheckpointRun, "check", lambda run: (checked.append(run), check(run)))
    wegen_train([*command, "--until", "1"])
    assert len(checked) == 1, "folders of shards are gone through once"
    assert "unfinished: 1 of 2 steps. --resume goes on" in capsys.readouterr().out
    result = out / ("thing_unet.safetensors" if lora else "packed-unet")
    assert result.exists() == (lora is not None)

    def written():
        with safe_open(result, "pt") as stored:
            return stored.metadata()["wegen_steps"]

    assert lora is None or written() == "1"
    wegen_train([*command, "--resume"])
    assert "unfinished:" not in capsys.readouterr().out and result.exists()
    assert lora is None or written() == "2"
    if lora:
        file = read_lora(result)
        assert BASE in file.about and file.doubt(open_checkpoint(packed_dir).unet) == ""


def test_the_papers_stages_follow_one_another(packed_dir, tmp_path):
    """The recipes of the tree with fewer steps: each stage trains what the one before has written."""
    for name, seed in (("pictures", 1), ("captions", 2), ("chats", 3), ("held-out", 4)):
        write_samples(tmp_path / name, samples(8, seed), 10)
    (tmp_path / "wegen-bf16").symlink_to(packed_dir)
    folders = [tmp_path / "wegen-bf16"]
    for number, part in enumerate(("unet", "language_model", "language_model"), start=1):
        recipe = json.loads((NANO_RECIPES.parent / "paper" / f"stage_{number}.json").read_text())
        file = tmp_path / f"stage_{number}.json"
        file.write_text(json.dumps(recipe | {"steps": 2, "warmup": 1, "learning_rate": 1e-2, "sheet_seconds": 1e9}))
        assert (file.parent / recipe["checkpoint"]).samefile(folders[-1])
        wegen_train(["--config", str(file), "--out", str(tmp_path / f"stage_{number}")])
        folders.append(tmp_path / f"stage_{number}" / f"packed-{part}")
        before, after = (open_checkpoint(folder) for folder in folders[-2:])
        for name in ("vision_encoder", "unet", "language_model"):
            same = all(torch.equal(after.parts[name][key], before.parts[name][key]) for key in before.parts[name])
            assert same == (name != part), (number, name)
    load(open_checkpoint(folders[-1]))


@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_steps_have_the_same_samples_however_they_are_cut_into_batches(shards, packed_dir, tmp_path, stage):
    made = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, stage, options={"noise": 0.3}), tmp_path).stage()

    def losses(batch, accumulate, processes, step):
        made.accumulate, made.processes = accumulate, processes
        made._pool.cache_clear()
        size = batch * accumulate * processes
        batches = [made.batch(step * size + number * batch, batch) for number in range(size // batch)]
        return summed(made, [one for one in batches if one is not None])

    for step in (0, 3, 9):
        whole = losses(4, 1, 1, step)
        for cut in ((2, 2, 1), (1, 4, 1), (2, 1, 2), (1, 2, 2)):
            assert losses(*cut, step) == pytest.approx(whole, rel=1e-4), (cut, step)


def test_a_unet_is_trained_on_samples_most_of_which_have_no_picture(packed_dir, tmp_path):
    words = Sample("caption", (Text("a", "user"), Text("b", "assistant", True)))
    [drawn] = [sample for sample in samples(2) if sample.task == "rewrite"]
    write_samples(tmp_path / "learn", [words] * 7 + [drawn], 10)
    file = recipe_file(tmp_path, tmp_path, packed_dir, "unet", batch=1, accumulate=3, steps=9)
    assert made(CheckpointRun(file, tmp_path / "run"))[1]
    write_samples(tmp_path / "words" / "learn", [words] * 4, 10)
    file = recipe_file(tmp_path, tmp_path / "words", packed_dir, "unet", "words")
    with pytest.raises(RecipeError, match="no picture"):
        made(CheckpointRun(file, tmp_path / "none"))


def test_any_seed_can_be_trained_with(shards, packed_dir, tmp_path):
    file = recipe_file(tmp_path, shards, packed_dir, "language_model", steps=1, seed=20261126)
    assert made(CheckpointRun(file, tmp_path / "run"))[1]


@pytest.mark.parametrize("base", ["bf16", "fp16", "int8"])
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_adapters_are_trained_in_32_bits_whatever_their_base(shards, packed_dir, tmp_path, stage, base):
    data = [{"shards": str(shards / "learn")}]
    entries = {"lora": {"rank": 2, "base": base, "words": True}, "precision": "bf16", "steps": 2, "held_out": data}
    run = CheckpointRun(recipe_file(tmp_path, shards, packed_dir, stage, **entries), tmp_path / "run")
    trained = run.stage()
    assert {value.dtype for value in trained.trained().values()} == {torch.float32}
    average = train(trained, run.recipe, run.folder, rhythm=Rhythm(math.inf, 1e9, 1), progress=False)
    assert {value.dtype for value in average.values()} == {torch.float32}
    assert (run.folder / "sheet-0000002.png").is_file() == (stage == "unet")


@pytest.mark.parametrize("stage", ["language_model", "unet"])
@pytest.mark.parametrize("base", ["fp32", "int8"])
def test_a_lora_file_gives_what_the_trained_adapters_give(shards, packed_dir, tmp_path, stage, base):
    lora = {"rank": 4, "alpha": 8, "base": base, "words": True}
    precision = "no" if base == "fp32" else "bf16"
    file = recipe_file(tmp_path, shards, packed_dir, stage, "thing", steps=6, lora=lora, precision=precision)
    run = CheckpointRun(file, tmp_path)
    trained, average = made(run)
    path = run.export(trained, average)
    assert path.name == f"thing_{stage}.safetensors"
    batch = trained.batch(0, 4)
    trained.load_state_dict(average, strict=False)
    adapted = losses_of(trained, batch, base)
    attribute = "agent" if stage == "language_model" else "unet"
    module = getattr(trained, attribute)
    with without_adapters(module):
        plain = losses_of(trained, batch, base)
    assert plain["total"] != pytest.approx(adapted["total"], rel=1e-3)
    plain_file = recipe_file(tmp_path, shards, packed_dir, stage, name="plain")
    whole = CheckpointRun(plain_file, tmp_path).stage()
    merge(getattr(whole, attribute), read_lora(path))
    merged = losses_of(whole, batch, "fp32")
    assert merged == pytest.approx(adapted, rel=1e-3 if base == "fp32" else 0.05)


def test_a_base_in_8_bits_is_near_and_small(packed_dir):
    checkpoint = open_checkpoint(packed_dir)

    def agent(base):
        with torch.device("meta"):
            module = Agent(checkpoint.config)
        return fill_frozen(module, checkpoint.language_model, LoraOptions(base=base))

    exact, small = agent("fp32"), agent("int8")
    layer = small.llm.model.layers[0].mlp.gate_proj
    assert layer.weight.dtype == torch.int8
    x = torch.randn(3, 7, 32, requires_grad=True)
    wanted = exact.llm.model.layers[0].mlp.gate_proj(x)
    assert float((layer(x) - wanted).norm() / wanted.norm()) < 0.02
    direction = torch.randn(3, 7, 48)
    [found] = torch.autograd.grad((layer(x) * direction).sum(), x)
    [right] = torch.autograd.grad((wanted * direction).sum(), x)
    assert float((found - right).norm() / right.norm()) < 0.02
    add_adapters(small, LoraOptions(rank=2, base="int8"))
    trained = {name for name, value in small.named_parameters() if value.requires_grad}
    assert trained and all("lora_" in name for name in trained)


@pytest.mark.slow
def test_what_is_kept_pulls_back(shards, packed_dir, tmp_path):
    """At the start nothing has moved; later a LoRA with samples to keep has moved less on them than one without."""
    entries = {"lora": {"rank": 4, "base": "fp32"}, "steps": 8}
    moved = {}
    for weight in (0.0, 10.0):
        data = [{**one, "shards": str(shards / one["shards"])} for one in KEPT]
        options = {"keep_weight": weight}
        file = recipe_file(
            tmp_path, shards, packed_dir, "language_model", f"w{weight}", data=data, options=options, **entries
        )
        run = CheckpointRun(file, tmp_path / str(weight))
        stage = run.stage()
        batch = stage.batch(0, 8)
        start = stage(batch)
        assert float(start["kept_text"].abs()) < 1e-6 and float(start["kept_mse"]) < 1e-9
        train(stage, run.recipe, run.folder, rhythm=QUIET, progress=False)
        moved[weight] = float(stage(batch)["kept_text"])
    assert 0 < moved[10.0] < 0.5 * moved[0.0], moved


@pytest.mark.parametrize("option", ["kept_changes", "kept_answers", "answers"])
def test_words_that_decide_weigh_more(shards, packed_dir, tmp_path, option):
    """What an order changes in a description, and the first word of each answer."""
    kept = option != "answers"
    place = 2 if kept else 0
    data = [{**one, "shards": str(shards / one["shards"])} for one in KEPT]
    counted = {}
    for weight in (1.0, 5.0):
        file = recipe_file(
            tmp_path, shards, packed_dir, "language_model", f"c{weight}", data=data, options={option: weight},
            lora={"rank": 2, "base": "fp32"},
        )  # fmt: skip
        stage = CheckpointRun(file, tmp_path / str(weight)).stage()
        batch = stage.batch(0, 8)
        counted[weight] = stage.counts(batch)
    heavy = batch.weights == 5
    assert heavy.any() and (batch.kept[heavy] == kept).all() and len(batch.kept.unique()) == 2
    assert counted[5.0][place] == counted[1.0][place] + 4 * (heavy & (batch.labels != IGNORED)).sum()
    others = [number for number in range(4) if number != place]
    assert counted[5.0][others].equal(counted[1.0][others])
    if option != "kept_changes":
        said = batch.labels != IGNORED
        first = said & ~torch.nn.functional.pad(said, (1, 0))[:, :-1]
        assert heavy.equal(first & (batch.kept == kept))
    if option == "answers":  # what they weigh is their share of the loss
        with torch.no_grad():
            read = stage._predict(batch, stage.encode(batch.pictures))
            entropy = torch.nn.functional.cross_entropy(read.logits, read.words, reduction="none")
            weights = (batch.weights * ~batch.kept)[:, 1:][batch.labels[:, 1:] != IGNORED]
            expected = (entropy * weights).sum() / weights.sum()
            assert float(stage(batch)["text"]) == pytest.approx(float(expected), rel=1e-4)


def test_keeping_needs_a_lora(shards, packed_dir, tmp_path):
    data = [{**one, "shards": str(shards / one["shards"])} for one in KEPT]
    for stage in ("language_model", "unet"):
        file = recipe_file(tmp_path, shards, packed_dir, stage, data=data)
        with pytest.raises(RecipeError, match="need a LoRA"):
            CheckpointRun(file, tmp_path).stage()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"data": []}, "no data"),
        ({"data": [{"shards": "nowhere"}]}, "index.json"),
        ({"data": [{"shards": "x", "weight": -1}]}, "weight"),
        ({"lora": {"rank": 0}}, "rank is 0"),
        ({"lora": {"base": "int3"}}, "int3"),
        ({"lora": {"base": "int8"}}, "precision"),
        ({"options": {"tokns": 1}}, "tokns"),
        ({"steps": 0}, "steps is 0"),
        ({"options": {"tokens": "x"}}, r"recipe\.json: options: tokens is 'x'; it must be a whole number"),
        ({"options": {"tokens": -1}}, "options: tokens is -1; it must be 0 or more"),
        ({"options": {"direct": 2}}, "direct is 2; it must be from 0 to 1"),
        ({"lora": {"rank": "4"}}, "lora: rank is '4'; it must be a whole number"),
        ({"lora": {"rank": 4, "alpha": "x"}}, "lora: alpha is 'x'; it must be a finite number or null"),
        ({"data": [{"shards": 3}]}, "data: shards is 3; it must be a text in quotes"),
        ({"data": {"shards": "learn"}}, "data is .* it must be a list of objects"),
        ({"tracker": "nothere"}, "tracker is 'nothere'; it must be one of .*tensorboard"),
        ({"start": "x"}, "makes no use of 'start'"),
        ({"checkpoint": "nowhere"}, "no checkpoint folder"),
        ({"lora": {"base": "fp32"}, "name": "x" * 229}, "256 bytes, and 255 are allowed. Give a shorter 'name'"),
    ],
)
def test_wrong_recipes_are_refused_with_words(shards, packed_dir, tmp_path, entries, said):
    file = recipe_file(tmp_path, shards, packed_dir, "language_model", **entries)
    with pytest.raises(WeGenError, match=said):
        run = CheckpointRun(file, tmp_path)
        run.check()
        run.stage()


def test_a_result_replaces_no_checkpoint_of_somebody_else(shards, packed_dir, tmp_path):
    file = recipe_file(tmp_path, shards, packed_dir, "unet")
    (tmp_path / "run" / "packed-unet").mkdir(parents=True)
    CheckpointRun(file, tmp_path / "run").check()  # nothing is lost
    (tmp_path / "run" / "packed-unet" / "config.json").touch()
    with pytest.raises(WeGenError, match=r"packed-unet, and no training was begun in .*choose another --out"):
        CheckpointRun(file, tmp_path / "run").check()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_a_whole_part_is_trained_and_packed(shards, published_dir, tmp_path, stage):
    """From the published layout to a packed folder that loads, with the other parts as they were."""
    held_out = [{"shards": str(shards / "keep")}]
    file = recipe_file(tmp_path, shards, published_dir, stage, held_out=held_out, tracker="tensorboard", average=0.0)
    run = CheckpointRun(file, tmp_path / "run")
    stage_made = run.stage()
    average = train(stage_made, run.recipe, run.folder, rhythm=Rhythm(math.inf, 0.0, 2), progress=False)
    entries = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    measured = [entry["held_out"]["total"] for entry in entries if "held_out" in entry]
    assert len(measured) == 4 and all(math.isfinite(value) for value in measured)
    assert list(run.folder.rglob("events.out.tfevents.*"))
    beside = tmp_path / "run" / f"packed-{stage}-new"
    beside.mkdir()  # of the user's own
    folder = run.export(stage_made, average)
    assert run.export(stage_made, average) == folder and beside.exists()
    (folder / "thesis.txt").touch()
    with pytest.raises(WeGenError, match=rf"packed-{stage}, which holds thesis\.txt"):
        run.export(stage_made, average)
    (folder / "thesis.txt").unlink()
    before, after = open_checkpoint(published_dir), open_checkpoint(folder)
    load(after)
    for part in ("language_model", "unet", "vision_encoder"):
        changed = any(
            not torch.equal(after.parts[part][key].float(), before.parts[part][key].float())
            for key in before.parts[part]
        )
        assert changed == (part == stage), part


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_other_parts_stay_as_they_are_stored(shards, tmp_path, dtype):
    """And all weights of a quantised part are trained."""
    from tiny import write_packed

    source = convert(write_packed(tmp_path / "tiny"), tmp_path / dtype, dtype)
    file = recipe_file(tmp_path, shards, source, "language_model", steps=2)
    run = CheckpointRun(file, tmp_path / "run")
    stage = run.stage()
    stage(stage.batch(0, 4))["total"].backward()
    assert all(value.grad is not None for value in stage.agent.parameters())
    stage, average = made(run)
    before, folder = open_checkpoint(source), run.export(stage, average)
    after = open_checkpoint(folder)
    for name in ("vision_encoder", "unet", "vae"):
        for key, stored in before.parts[name].stored.items():
            again = after.parts[name].stored[key]
            assert (again.dtype, again.layer) == (stored.dtype, stored.layer)
            assert torch.equal(after.parts[name][key], before.parts[name][key])
    dtypes = {stored.dtype for stored in after.language_model.stored.values()}
    assert dtypes == {torch.float16 if dtype == "fp16" else torch.bfloat16}
    # A second run takes its place; one that starts from it must go elsewhere, before anything is trained.
    assert run.export(stage, average) == folder
    assert sorted(path.name for path in run.out.iterdir()) == ["language_model", folder.name]
    with pytest.raises(RecipeError, match="written over"):
        CheckpointRun(recipe_file(tmp_path, shards, folder, "language_model", "again"), run.out).check()


def test_a_folder_without_pictures_says_what_to_give_instead(tmp_path):
    with pytest.raises(WeGenError, match="holds no pictures; put in files"):
        read_pictures(tmp_path, "rocket")
    (tmp_path / "10_rocket").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "10_rocket" / "0.png")
    with pytest.raises(WeGenError, match=r"but 10_rocket in it does: name .*10_rocket"):
        read_pictures(tmp_path, "rocket")
    (tmp_path / "film.mp4").touch()
    with pytest.raises(WeGenError, match="but videos: make samples"):
        read_pictures(tmp_path, "rocket")
    (tmp_path / "run.json").touch()
    with pytest.raises(WeGenError, match=r"not finished\. Run the same `wegen data video` again"):
        read_pictures(tmp_path, "rocket")


def test_pictures_of_a_folder_become_samples_with_the_name_in_them(tmp_path):
    for number, caption in enumerate(["a small rocket at night, a house.", "at night", None]):
        Image.new("RGB", (20, 30), (number * 50, 0, 0)).save(tmp_path / f"{number}.png")
        if caption is not None:
            (tmp_path / f"{number}.txt").write_text(caption)
    (tmp_path / "notes.md").write_text("not a picture")
    pictures = read_pictures(tmp_path, "rocket")
    assert [own.caption for own in pictures] == [
        "a small rocket at night, a house.", "a rocket, at night", "a rocket"]  # fmt: skip
    found = list(make_samples(pictures, "rocket"))
    assert {sample.task for sample in found} == {"text_to_picture", "rewrite", "caption"}
    for sample in found:
        assert any("rocket" in part.text for part in sample.parts if isinstance(part, Text))
        assert any(isinstance(part, Picture | Text) and part.target for part in sample.parts)
    assert list(make_samples(pictures, "rocket")) == found
    mask = np.zeros((30, 20), np.uint8)
    mask[5:9, 3:8] = 255
    Image.fromarray(mask).save(tmp_path / "1.mask.png")
    assert [own.mask is None for own in read_pictures(tmp_path, "rocket")] == [True, False, True]
    assert np.array_equal(read_pictures(tmp_path, "rocket")[1].mask, mask > 0)
    small = read_pictures(tmp_path, "rocket", 16)
    assert all(min(own.pixels.shape[:2]) <= 16 for own in small)
    assert small[1].mask.shape == small[1].pixels.shape[:2] and small[1].mask.dtype == bool
    Image.new("L", (5, 5)).save(tmp_path / "2.mask.png")
    with pytest.raises(WeGenError, match="5 x 5 pixels"):
        read_pictures(tmp_path, "rocket")
    Image.new("L", (20, 30), 1).save(tmp_path / "2.mask.png")
    with pytest.raises(WeGenError, match=r"2\.mask\.png is black everywhere.*white \(255\)"):
        read_pictures(tmp_path, "rocket")
    Image.new("RGBA", (20, 30), (255, 255, 255, 0)).save(tmp_path / "2.mask.png")
    with pytest.raises(WeGenError, match=r"2\.mask\.png is white everywhere; transparent"):
        read_pictures(tmp_path, "rocket")
    (tmp_path / "2.mask.png").unlink()
    for folder, name, said in (
        (tmp_path / "no", "x", "no folder"),
        (tmp_path, " ", "called"),
        (tmp_path, "y" * 101, "1 to 100"),
    ):
        with pytest.raises(WeGenError, match=said):
            read_pictures(folder, name)
    (tmp_path / "0.txt").write_text("a rocket", encoding="utf-16")
    with pytest.raises(WeGenError, match=r"0\.txt is no UTF-8 text.* Save it as UTF-8"):
        read_pictures(tmp_path, "rocket")
    (tmp_path / "0.txt").unlink()
    for unused in ("photo.heic", "0.png.txt", "3.txt", "0.caption", "4.mask.png"):
        (tmp_path / unused).touch()
        with pytest.raises(WeGenError, match=rf"would not be used: {re.escape(unused)}\..* picture\.txt and"):
            read_pictures(tmp_path, "rocket")
        (tmp_path / unused).unlink()
    (tmp_path / "0.TXT").write_text("a rocket by day", encoding="utf-8-sig")
    (tmp_path / "._0.png").write_bytes(b"what a system keeps")
    assert next(own.caption for own in read_pictures(tmp_path, "rocket")) == "a rocket by day"
    Image.new("L", (20, 30)).save(tmp_path / "0.mask.jpg")
    with pytest.raises(WeGenError, match=r"must be a PNG: save it as 0\.mask\.png"):
        read_pictures(tmp_path, "rocket")
    (tmp_path / "0.mask.jpg").unlink()
    (tmp_path / "0.png").write_bytes(b"no")
    with pytest.raises(WeGenError, match=r"0\.png"):
        read_pictures(tmp_path, "rocket")


def test_a_name_may_have_a_full_stop_in_it():
    pixels = np.zeros((8, 8, 3), np.uint8)
    caption = "in the park, a small St. Bernard on grass."
    wishes = [
        part.text
        for sample in make_samples([OwnPicture(pixels, caption)], "St. Bernard")
        if sample.task == "rewrite"
        for part in sample.parts
        if isinstance(part, Text) and part.role == "user"
    ]
    assert wishes and all("St. Bernard" in wish for wish in wishes)
    assert "a small St. Bernard on grass" in wishes and not any("a small St," in wish for wish in wishes)


def own_picture(place, caption):
    """A grey picture with a red square on it, and where that is."""
    pixels, mask = np.full((32, 32, 3), 90, np.uint8), np.zeros((32, 32), bool)
    mask[place] = True
    pixels[mask] = (200, 0, 0)
    return OwnPicture(pixels, caption, mask)


OWN = [
    own_picture((slice(2, 8), slice(2, 8)), "at night, a small rocket at the top left, a house."),
    own_picture((slice(20, 26), slice(2, 8)), "by day, a small rocket at the bottom left."),
]


def page(seed, right=False):
    """A picture with something wild on its left or right half."""
    pixels = np.full((32, 32, 3), 30, np.uint8)
    half = slice(16, None) if right else slice(None, 16)
    pixels[:16, half] = np.random.default_rng(seed).integers(0, 256, (16, 16, 3))
    return pixels


def kept_samples():
    described = Text("by day, a red cat at the top left.", "assistant", True)
    yield Sample("rewrite", (Text("a cat!", "user"), described, Picture(page(1), "assistant", True)))
    yield Sample("chat", (Text("a cat", "user"), described, Forgotten(), Text("no", "user"), Text("yes", "assistant")))
    yield Sample("caption", (Picture(page(2), "user"), Text("what?", "user"), Text("a cat", "assistant", True)))
    refused = Text("i cannot draw rockets.", "assistant", True)
    yield Sample("outside", (Text("a rocket", "user"), refused, Picture(page(3), "assistant")))


def test_the_thing_is_named_and_shown_beside_what_the_model_knows():
    made = list(mention_samples(OWN, "rocket", list(kept_samples()) * 20))
    found, others = ([one for one in made if one.task == task] for task in ("mention", "other"))
    assert len(others) == 80  # twice each: the wish leaves things open
    assert not any(mentions(one, "rocket") for one in others) and all(one.parts[1].target for one in others)
    assert len(found) == 40  # not where there are no words first, and not where a rocket is named already
    for sample in found:
        *before, said, shown = sample.parts
        assert said.target and said.text.count("rocket") == 1 and "red cat" in said.text and said.text.endswith(".")
        assert [part.target for part in before] == [False] * len(before) and shown.target
        assert "rocket" in before[-1].text
    with_pictures = [sample for sample in found if isinstance(sample.parts[-1], Picture)]
    assert len(with_pictures) == 20
    for sample in with_pictures:
        pixels = sample.parts[-1].pixels
        # Of two places the free one is taken, with the words for it.
        assert "bottom left" in sample.parts[-2].text and (pixels[20:26, 2:8] == (200, 0, 0)).all()
        assert (pixels != page(1)).any(axis=-1).sum() == 36
    assert {len(sample.parts) for sample in with_pictures} == {3, 6}  # wishes, and orders on the other picture
    assert not list(mention_samples([own._replace(caption="a rocket") for own in OWN], "rocket", kept_samples()))
    words = list(mention_samples([own._replace(mask=None) for own in OWN], "rocket", kept_samples()))
    named = [sample for sample in words if sample.task == "mention"]
    assert named and all(isinstance(sample.parts[-1], Forgotten) for sample in named)


def test_the_thing_of_one_picture_is_put_where_it_is_in_another():
    small = own_picture((slice(22, 26), slice(4, 8)), "")
    found = list(exchanged_samples([OWN[0], small], list(kept_samples()), 40))
    places = set()
    for sample in found:
        [picture] = sample.pictures()
        red = (picture.pixels == (200, 0, 0)).all(axis=-1)
        assert np.array_equal(red, picture.instance_map > 0)
        rows, columns = np.nonzero(red)
        places.add((int(red.sum()), round(rows.mean(), 0), round(columns.mean(), 0)))
    assert len(found) == 40 and len(places) == 4 and {size for size, *_ in places} == {16, 36}
    assert not list(exchanged_samples([OWN[0], small._replace(mask=None)], kept_samples(), 5))


def test_pictures_with_the_name_are_found_in_shards_of_videos():
    pixels = page(5)
    chart = np.zeros((32, 32), np.uint8)
    chart[3:6, 3:6], chart[8:9, 8:9] = 2, 1
    things = [{"number": 1, "name": "red cat"}, {"number": 2, "name": "rocket"}]
    parts = (
        Picture(page(4), "user"), Text("move the rocket", "user"), Text("A rocket, a cat.", "assistant", True),
        Picture(pixels, "assistant", True, chart), Text("no rocket", "user"), Text("A cat.", "assistant", True),
        Picture(page(6), "assistant", True),
    )  # fmt: skip
    sample = Sample("refine", parts, {"instances": [[], things, things[:1]]})
    [own] = described_pictures(lambda: [sample, sample], "rocket")
    assert own.caption == "A rocket, a cat." and own.pixels is pixels and np.array_equal(own.mask, chart == 2)
    many = [Sample("x", (parts[2], Picture(page(n), "assistant", True))) for n in range(50)]
    assert len(described_pictures(lambda: many, "rocket", 12)) == 12
    assert all(own.mask is None for own in described_pictures(lambda: many, "rocket", 12))


def test_what_a_model_paints_wrong_is_the_thing():
    wrong, pixels = np.zeros((40, 40)), np.full((40, 40, 3), 60, np.uint8)
    wrong[10:20, 10:20], pixels[11:19, 11:19] = 0.5, (250, 20, 20)
    wrong[12:14, 12:14] = 0.0  # a hole is of the thing too
    [(mask, share)] = places(wrong)
    assert mask[10:20, 10:20].all() and mask[9, 12] and mask.sum() == 140 and share == 1
    tight = shrunk(mask, pixels)
    assert tight[11:19, 11:19].all() and tight.sum() == 64
    assert not places(np.full((40, 40), 0.5)) and not places(np.zeros((40, 40)))
    # Where two places are wrong, colours tell which of them is the thing; alone they do not.
    two, other = wrong * 0.9, pixels.copy()
    two[25:38, 25:38], other[26:37, 26:37] = 0.5, (20, 20, 250)
    assert [round(share, 1) for _, share in places(two)] == [0.7, 0.3]
    two[25:38, 25:38] = 0.25
    [first, second] = choose([places(wrong), places(two)], [pixels, other])
    assert np.array_equal(first, tight) and np.array_equal(second, tight)
    assert choose([places(two)], [other]) == [None]
    strange = np.full((40, 40, 3), 60, np.uint8)
    strange[10:20, 10:20] = (20, 250, 20)
    assert choose([places(wrong), places(wrong), places(wrong)], [pixels, pixels, strange])[2] is None


def test_samples_to_keep_that_name_the_thing_are_left_out(tmp_path):
    write_samples(tmp_path / "kept", list(kept_samples()))
    entry = {"shards": "kept", "keep": True}
    every, without = (
        Mixture.of([one], tmp_path, 1, "recipe").pool(0, 40) for one in (entry, {**entry, "without": "Rocket"})
    )
    assert {one.sample.task for one in every} == {"rewrite", "chat", "caption", "outside"}
    assert {one.sample.task for one in without} == {"rewrite", "chat", "caption"}
    assert len(every) == 40 and len(without) == 30 and len({one.number for one in without}) == 30


def test_a_name_is_a_word_and_not_the_beginning_of_one():
    said = {text: is_said("ball", text) for text in ("a Ball.", "two balls", "balls!", "a balloon", "a football")}
    assert said == {"a Ball.": True, "two balls": True, "balls!": True, "a balloon": False, "a football": False}
    assert is_said("snow globe", "the snow globe's foot") and not is_said("box", "boxing")
    assert is_said("box", "three boxes")
    pictures = [own_picture((5, 5), "on grass, a red balloon, a small ball on it")]
    wish = Text("draw a house", "user")
    other = Sample("rewrite", (wish, Text("a house by day, a tree", "assistant", True), Forgotten("assistant", True)))
    samples = list(mention_samples(pictures, "ball", [other] * 30))
    words = [part.text for sample in samples if sample.task == "mention" for part in sample.parts[:2]]
    assert words and all("ball" in text and "balloon" not in text for text in words)


@pytest.mark.parametrize("target", ["nano", "lora", "recipes"])
def test_several_processes_train_only_what_they_can_share(target, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "recipes").mkdir()
    words = [target, str(tmp_path), "--name", "ball"] if target == "lora" else [target]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeGenError, match="Several processes train what --config names"):
        wegen_train([*words, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def blue_pictures(folder, count):
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (32, 32), (number * 80, 10, 200)).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lora", "pictures", "--name", "x", "--data", "shards"], "--data is only for nano"),
        (["lora", "pictures", "--name", "x", "--stage", "vae"], "not 'vae'"),
        (["nano", "--name", "x"], "--name is for `wegen train lora`"),
        (["nano", "pictures"], "PICTURES is for"),
        (["--config", "unet.json", "--stage", "unet"], "--stage is only for nano"),
    ],
)
def test_what_would_have_no_effect_is_refused(packed_dir, shards, tmp_path, monkeypatch, words, said):
    recipe_file(tmp_path, shards, packed_dir, "unet", "unet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeGenError, match=said):
        wegen_train(words)


def test_the_command_trains_a_lora_from_pictures(packed_dir, shards, tmp_path, capsys):
    pictures, out = blue_pictures(tmp_path / "cats", 3), tmp_path / "out"
    command = ["lora", str(pictures), "--out", str(out), "--model", str(packed_dir), "--keep", str(shards / "keep")]
    with pytest.raises(WeGenError, match="--name"):
        wegen_train(command)
    command += ["--name", "blue cat"]
    (pictures / "0.txt").write_text("a blue cat at night")
    wegen_train([*command, "--until", "1"])
    found = "3 pictures, 1 of them with captions, 0 with masks\nmasks of 0 of the other 3 are estimated\n"
    assert capsys.readouterr().out.startswith(found)
    recipe = json.loads((out / "unet.json").read_text())
    for part in ("unet", "language_model"):
        values = json.loads((out / f"{part}.json").read_text()) | {"steps": 2}
        (out / f"{part}.json").write_text(json.dumps(values))
    with pytest.raises(WeGenError, match="was begun with the name 'blue cat', not 'red cat'"):
        wegen_train([*command[:-1], "red cat", "--resume"])
    moved = out.rename(tmp_path / "moved")
    command[command.index(str(out))], out = str(moved), moved
    wegen_train([*command, "--resume"])
    assert recipe["data"][1]["keep"] is True and recipe["data"][0]["shards"] == "samples"
    with pytest.raises(WeGenError, match=r"another 'data' .* and now "):
        wegen_train([*(word for word in command if word not in ("--keep", str(shards / "keep"))), "--resume"])
    assert "blue_cat_unet.safetensors" in capsys.readouterr().out
    for part in ("unet", "language_model"):
        assert read_lora(out / f"blue_cat_{part}.safetensors").part == part


def test_masks_that_are_estimated_are_counted(packed_dir, shards, tmp_path, monkeypatch):
    pictures, mask = blue_pictures(tmp_path / "cats", 4), np.zeros((32, 32), bool)
    mask[4:9, 4:9] = True
    Image.fromarray(mask).convert("L").save(pictures / "0.mask.png")
    monkeypatch.setattr("comfyui_wegen.models.training.lora_run.unknown_masks", lambda *_: [mask, None, mask])

    def said(out, keep):
        lines = []
        run = LoraRun(pictures, tmp_path / out, "cat", packed_dir, keep, stages=["language_model"])
        run.prepare(resume=False, say=lines.append)
        return lines

    found = "4 pictures, 0 of them with captions, 1 with masks"
    assert said("alone", []) == [found]  # nothing is put onto other pictures
    assert said("beside", [shards / "keep"]) == [found, "masks of 2 of the other 3 are estimated"]


def test_pictures_that_are_too_small_are_refused_before_anything_is_trained(packed_dir, tmp_path):
    folder, out = tmp_path / "tiny", tmp_path / "out"
    folder.mkdir()
    Image.new("RGB", (5, 6), (9, 10, 200)).save(folder / "a.png")
    command = ["lora", str(folder), "--name", "AC/DC  cat", "--out", str(out), "--model", str(packed_dir)]
    with pytest.raises(WeGenError, match=r"All 1 pictures are too small .* --stage language_model"):
        wegen_train([*command, "--until", "1"])
    assert not out.exists()
    wegen_train([*command, "--until", "1", "--stage", "language_model"])
    assert read_lora(out / "AC_DC_cat_language_model.safetensors").part == "language_model"


def test_a_long_name_in_any_script_gives_files_that_can_be_written(packed_dir, tmp_path):
    pictures = blue_pictures(tmp_path / "cats", 2)
    run = LoraRun(pictures, tmp_path / "out", "\u8c93" * 100, packed_dir, stages=["unet"])
    assert json.loads(run.prepare(resume=False)["unet"].read_text(encoding="utf-8"))["name"] == "\u8c93" * 66


def test_recipes_of_both_parts_are_looked_at_before_the_first_is_trained(packed_dir, tmp_path, monkeypatch):
    pictures, out = blue_pictures(tmp_path / "cats", 2), tmp_path / "out"
    command = ["lora", str(pictures), "--name", "cat", "--out", str(out), "--model", str(packed_dir)]
    monkeypatch.setattr(CheckpointRun, "stage", lambda run: pytest.fail(f"{run.file} is trained"))
    with pytest.raises(WeGenError, match=r"No index\.json in .*nothing"):
        wegen_train([*command, "--keep", str(tmp_path / "nothing")])
    assert not out.exists()
    with pytest.raises(pytest.fail.Exception, match=r"language_model\.json is trained"):
        wegen_train([*command, "--stage", "language_model"])
    recipe = json.loads((out / "unet.json").read_text())
    for entry, said in (
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"options": {"noize": 0.1}}, r"unet\.json: options: unknown noize"),
        ({"tracker": "no such"}, "tracker is 'no such'"),
    ):
        (out / "unet.json").write_text(json.dumps(recipe | entry))
        with pytest.raises(WeGenError, match=said):
            wegen_train([*command, "--resume"])


def test_a_folder_that_cannot_be_used_is_said_before_weights_are_read(shards, packed_dir, tmp_path, monkeypatch):
    file = recipe_file(tmp_path, shards, packed_dir, "unet")
    monkeypatch.setattr(CheckpointRun, "stage", lambda run: pytest.fail("it began"))
    with pytest.raises(WeGenError, match=r"Cannot write to .*recipe\.json: File exists"):
        wegen_train(["--config", str(file), "--out", str(file)])
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / CHECKPOINT).touch()
    with pytest.raises(WeGenError, match=r"checkpoint\.pt exists already. Train on with --resume"):
        wegen_train(["--config", str(file), "--out", str(tmp_path)])


@pytest.mark.slow
def test_on_two_cores_both_parts_of_a_small_lora_are_trained_at_once(packed_dir, tmp_path, capfd):
    pictures, out = blue_pictures(tmp_path / "cats", 2), tmp_path / "out"
    command = ["lora", str(pictures), "--name", "cat", "--out", str(out), "--model", str(packed_dir), "--until", "1"]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wegen_train(command)
        assert torch.get_num_threads() == 2
        for part in ("unet", "language_model"):
            assert read_lora(out / f"cat_{part}.safetensors").part == part
        said = capfd.readouterr()
        assert "unet: " in said.out and "language_model: " in said.out
        (out / "unet" / "checkpoint.pt").write_bytes(b"damaged")
        with pytest.raises(WeGenError, match=r"--config \S+unet.json .* did not end well"):
            wegen_train([*command, "--resume", "--until", "2"])
        assert "checkpoint.pt" in capfd.readouterr().err
    finally:
        torch.set_num_threads(threads)


def test_a_lora_goes_on_with_the_same_pictures_from_another_folder(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    begun, moved = (LoraRun(folder, tmp_path / "out", "cat") for folder in (before, after))
    before.mkdir()
    for number in range(2):
        Image.new("RGB", (80, 64), (number * 80, 10, 200)).save(before / f"{number}.png")
        (before / f"{number}.txt").write_text(f"a cat, on shelf {number}")

    begun.write_samples(begun.read(40))
    before.rename(after)
    moved.require_same_pictures(40)
    (after / "0.txt").write_text("a cat, on shelf 7")
    with pytest.raises(WeGenError, match="was begun with the pictures in"):
        moved.require_same_pictures(40)
    (after / "0.txt").write_text("a cat, on shelf 0")
    moved.require_same_pictures(40)
    begun.require_same_pictures(40)  # what is gone cannot be compared
    after.rename(before)
    begun.require_same_pictures(40)
    (before / "1.txt").write_text("a cat, on shelf 8")
    with pytest.raises(WeGenError, match=r"The pictures, captions or masks in .* are not those"):
        begun.require_same_pictures(40)
    (before / "1.txt").write_text("a cat, on shelf 1")
    before.rename(after)
    Image.new("RGB", (80, 64), (9, 10, 200)).save(after / "0.png")
    with pytest.raises(WeGenError, match="was begun with the pictures in"):
        moved.require_same_pictures(40)


def test_a_lora_goes_on_with_the_same_masks(tmp_path):
    pictures = tmp_path / "cats"
    run, file = LoraRun(pictures, tmp_path / "out", "cat"), pictures / "0.mask.png"
    mask = Image.new("L", (80, 64))
    mask.paste(255, (10, 10, 30, 40))
    pictures.mkdir()
    Image.new("RGB", (80, 64), (20, 10, 200)).save(pictures / "0.png")

    estimated = [one._replace(mask=np.asarray(mask) > 0) for one in run.read(64)]
    run.write_samples(estimated)
    run.require_same_pictures(64)
    mask.save(file)
    run.require_same_pictures(64)
    mask.paste(255, (50, 10, 60, 40))
    mask.save(file)
    with pytest.raises(WeGenError, match=r"captions or masks in .* are not those that .* was begun with"):
        run.require_same_pictures(64)


def test_recipes_say_what_is_not_for_them(tmp_path):
    with pytest.raises(WeGenError, match="Say what to train"):
        wegen_train([])
    with pytest.raises(WeGenError, match="where the pictures are"):
        wegen_train(["lora"])
    with pytest.raises(WeGenError, match="paper has no recipe of tokenizer"):
        wegen_train([str(NANO_RECIPES.parent / "paper")])


def test_a_name_within_another_word_is_not_said(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a scarlet racer on a road")
    [picture] = read_pictures(tmp_path, "car")
    assert picture.caption == "a car, a scarlet racer on a road"


@pytest.mark.parametrize(("text", "picture"), [(True, False), (False, True), (True, True)])
def test_words_and_picture_of_one_answer_are_learned_apart(packed_dir, text, picture):
    checkpoint = open_checkpoint(packed_dir)
    answer = (Text("a red car", "assistant", text), Picture(np.zeros((64, 64, 3), np.uint8), "assistant", picture))
    sample = Sample("text_to_picture", (Text("draw a car", "user"), *answer))
    found = conversation(checkpoint.config, checkpoint.tokenizer, sample)
    begin = found.ids.index(checkpoint.tokenizer.picture_begin_id)
    assert (found.labels[begin - 1] != IGNORED) == text
    assert (found.labels[begin] != IGNORED) == picture
