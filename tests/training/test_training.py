"""Training: published losses, sequences equal to inference's, and runs that go on to the bit after a stop."""

import argparse
import dataclasses
import json
import math
import mmap
import os
import shutil
import signal
from itertools import islice
from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.cli import data as data_command
from comfyui_wegen.models.cli import main
from comfyui_wegen.models.cli.train import NANO_RECIPES, add_arguments, run, run_stage
from comfyui_wegen.models.data import TASKS, Forgotten, Picture, Sample, Text, stream, write_samples
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.network.agent import Agent
from comfyui_wegen.models.network.vision_encoder import VisionEncoder, pool_features
from comfyui_wegen.models.painting.loading import load
from comfyui_wegen.models.prompting import conversation as inference
from comfyui_wegen.models.storybook import KINDS, ROWS
from comfyui_wegen.models.storybook.world import MOST_THINGS
from comfyui_wegen.models.training import cpu
from comfyui_wegen.models.training.agent import AgentOptions
from comfyui_wegen.models.training.conversations import conversation
from comfyui_wegen.models.training.encoder import QUESTIONS, EncoderOptions, EncoderStage, cell_answers, known_cells
from comfyui_wegen.models.training.language_stage import LanguageOptions
from comfyui_wegen.models.training.loop import LOCK, Rhythm, draw_sheet, train
from comfyui_wegen.models.training.losses import IGNORED, agent_losses, agent_outputs
from comfyui_wegen.models.training.pagecache import PageCache
from comfyui_wegen.models.training.pages import ALIKE, Mixture, alike_page, page
from comfyui_wegen.models.training.painter import PainterOptions
from comfyui_wegen.models.training.recipe import Recipe, RecipeError, build, read_recipe
from comfyui_wegen.models.training.robust_encoder import WAYS, RobustEncoderOptions, RobustEncoderStage
from comfyui_wegen.models.training.run_state import CHECKPOINT, load_average
from comfyui_wegen.models.training.stage import Stage
from comfyui_wegen.models.training.start import PackedStart
from comfyui_wegen.models.training.tokenizer import TokenizerOptions
from comfyui_wegen.models.training.training_run import STAGES, TrainingRun
from comfyui_wegen.models.training.unet_stage import UNetOptions
from comfyui_wegen.models.training.vae import VAEOptions
from comfyui_wegen.models.training.vae_decoder import VAEDecoderOptions
from comfyui_wegen.models.values import Answer, Chat, Reference, References, Turn
from diffusers import UNet2DConditionModel
from filelock import FileLock
from PIL import Image
from safetensors.torch import load_file

TINY_MODEL = {
    "format_version": 1,
    "vision": {"image_size": 128, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16, "mlp_width": 32,
               "normalize_features": True},
    "language": {"vocab_size": 1, "width": 32, "mlp_width": 32, "layers": 1, "heads": 2, "kv_heads": 2,
                 "context_length": 1024},
    "unet": {"in_channels": 8, "out_channels": 8, "block_out_channels": [32, 32],
             "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
             "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "layers_per_block": 1,
             "transformer_layers_per_block": [1, 1], "attention_head_dim": [1, 1], "cross_attention_dim": 32,
             "projection_class_embeddings_input_dim": 1568, "sample_size": 16},
    "vae": {"patch": 4, "block_out_channels": [8, 8], "layers_per_block": 1, "latent_channels": 8,
            "scaling_factor": 1.0, "sample_size": 128},
    "templates": {"text_to_picture": "[INST] {pictures}{text} [/INST]\n",
                  "edit": "[INST] {pictures}{text} [/INST]\n",
                  "rewrite": "[INST] {pictures}{text} [/INST]\n",
                  "edit_rewrite": "[INST] {pictures}{text} [/INST]\n",
                  "mention": "{picture}", "rewrite_place": "answer", "rewrite_limit": 12},
    "size": 128,
    "name": "tiny",
}  # fmt: skip
QUIET = Rhythm(sheet_seconds=math.inf)
TASK_MIX = dict.fromkeys(TASKS, 1)
OPTIONS = {
    "tokenizer": {"samples": 300},
    "vae": {"crop": 32},
    "agent": {"tasks": TASK_MIX, "direct": {"text_to_picture": 0.5}},
    "painter": {"capacity": 6},
    "vae_decoder": {"capacity": 5, "sampler_steps": 2},
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "model.json").write_text(json.dumps(TINY_MODEL))
    for stage in STAGES:
        recipe = {"stage": stage, "steps": 3, "batch": 2, "learning_rate": 1e-3, "warmup": 2, "precision": "no"}
        recipe |= {"optimizer": "muon" if stage == "agent" else "adamw"}
        (folder / f"{stage}.json").write_text(json.dumps(recipe | {"options": OPTIONS.get(stage, {})}))
    return folder


@pytest.fixture(scope="module")
def trained(recipes, tmp_path_factory):
    """A whole tiny run."""
    training_run = TrainingRun(recipes, tmp_path_factory.mktemp("run"))
    training_run.learn_words()
    for stage in STAGES[1:]:
        train(
            training_run.stage(stage),
            training_run.recipe(stage),
            training_run.folder(stage),
            rhythm=QUIET,
            progress=False,
        )
        if stage == "vae":
            training_run.measure_vae()
    return training_run


def test_losses_are_the_published_ones(reference_dir):
    values = load_file(reference_dir / "expected.safetensors")
    expected = json.loads((reference_dir / "expected.json").read_text())["train"]
    wegen, _ = load(reference_dir)
    outputs = agent_outputs(
        wegen.agent,
        values["train.input_ids"],
        values["train.labels"],
        values["train.cmp_mask"],
        values["train.gen_mask"],
        pool_features(values["train.image_features"], 8),
    )
    losses = agent_losses(outputs)
    names = {"total": "total_loss", "text": "lm_loss", "mse": "mse_loss", "cosine": "cosine_loss"}
    for name, key in names.items():
        assert float(getattr(losses, name)) == pytest.approx(expected[key], rel=1e-4)


def test_losses_without_pictures_or_text_are_zero(trained):
    agent = trained.agent()
    ids = torch.tensor([[1, 5, 6]])
    none = torch.zeros_like(ids)
    outputs = agent_outputs(agent, ids, torch.full_like(ids, IGNORED), none, none, torch.zeros(0, 64, 32))
    losses = agent_losses(outputs)
    assert [float(loss) for loss in losses] == [0, 0, 0, 0]


def test_balanced_rows_weigh_the_same(trained):
    agent = trained.agent()
    ids = torch.tensor([[1, 5, 6, 7, 8, 9], [1, 7, 0, 0, 0, 0]])
    labels = torch.tensor([[IGNORED, 5, 6, 7, 8, 9], [IGNORED, 7, *[IGNORED] * 4]])
    none = torch.zeros_like(ids, dtype=torch.bool)

    def text(rows, balance=0.0):
        given = ids[rows], labels[rows], none[rows], none[rows], torch.zeros(0, 64, 32)
        return float(agent_outputs(agent, *given, balance=balance).text)

    long, short = text([0]), text([1])
    assert text([0, 1]) == pytest.approx((5 * long + short) / 6, rel=1e-5)
    assert text([0, 1], balance=1.0) == pytest.approx((long + short) / 2, rel=1e-5)


def test_muon_moves_the_hidden_matrices_alone(trained):
    hidden = trained.stage("agent").hidden_matrices()
    assert "agent.llm.model.layers.0.mlp.up_proj.weight" in hidden
    assert not [name for name in hidden if "embed_tokens" in name or "lm_head" in name or "norm" in name]


@pytest.mark.parametrize("slow", [True, False])
def test_a_cpu_that_is_slow_in_bfloat16_computes_in_float32(slow, monkeypatch):
    monkeypatch.setattr(cpu, "is_slow_in_bfloat16", lambda: slow)
    layer = torch.nn.Linear(4, 4)
    assert cpu.precision(layer, "bf16") == ("no" if slow else "bf16")
    assert cpu.precision(layer.bfloat16(), "bf16") == "bf16"
    assert cpu.precision(layer, "no") == "no"


def test_muon_steps_as_far_in_float32(monkeypatch):
    def stepped(slow):
        monkeypatch.setattr(cpu, "is_slow_in_bfloat16", lambda: slow)
        weight = torch.nn.Parameter(torch.randn(24, 40, generator=torch.Generator().manual_seed(1)))
        weight.grad = torch.randn(24, 40, generator=torch.Generator().manual_seed(2))
        gradient = weight.grad.clone()
        with cpu.optimizer_step(torch.device("cpu")):
            torch.optim.Muon([weight], 0.1, adjust_lr_fn="match_rms_adamw").step()
        assert torch.equal(weight.grad, gradient)
        return weight.detach()

    exact, rounded = stepped(True), stepped(False)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=2e-3, rtol=0)


def test_another_optimizer_cannot_go_on_with_a_run(trained):
    recipe = dataclasses.replace(trained.recipe("agent"), optimizer="adamw")
    with pytest.raises(WeGenError, match="another optimizer than 'adamw'"):
        train(trained.stage("agent"), recipe, trained.folder("agent"), rhythm=QUIET, progress=False)
    with pytest.raises(RecipeError, match="'sgd'"):
        dataclasses.replace(recipe, optimizer="sgd")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vae", "encoder", "robust_encoder", "painter", "vae_decoder", "agent"])
def test_a_resumed_run_equals_one_without_a_stop(trained, tmp_path, stage):
    recipe = trained.recipe(stage)
    straight = train(trained.stage(stage), recipe, tmp_path / "straight", rhythm=QUIET, progress=False)
    train(trained.stage(stage), recipe, tmp_path / "stopped", until=2, rhythm=QUIET, progress=False)
    assert load_average(tmp_path / "stopped")[0] == 2
    resumed = train(trained.stage(stage), recipe, tmp_path / "stopped", rhythm=QUIET, progress=False)
    states = [torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("straight", "stopped")]
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name
        assert torch.equal(states[0]["model"][name], states[1]["model"][name]), name


needs_hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows knows no SIGHUP")


class Toy(Stage):
    """Learns a line; asks to be stopped by signal `asked` when it sees batch `stop`."""

    def __init__(self, stop=None, asked=signal.SIGTERM):
        super().__init__()
        self.line, self.stop, self.asked = torch.nn.Linear(1, 1), stop, asked

    def batch(self, first, count):
        return torch.arange(first, first + count)[:, None].float()

    def forward(self, batch):
        if self.stop == int(batch[0]):
            signal.raise_signal(self.asked)
        return {"total": (self.line(batch / 100) - batch).square().mean()}

    def sheet(self):
        return Image.new("RGB", (2, 2))

    def measure(self):
        return {"weight": float(self.line.weight)}


@pytest.mark.parametrize("asked", ["SIGTERM", pytest.param("SIGHUP", marks=needs_hangup)])
def test_a_polite_stop_saves_the_step_it_came_in(asked, tmp_path):
    recipe = Recipe("toy", steps=50, batch=1, learning_rate=1e-3, precision="no")
    with pytest.raises(KeyboardInterrupt):
        train(Toy(stop=6, asked=getattr(signal, asked)), recipe, tmp_path, rhythm=QUIET, progress=False)
    assert load_average(tmp_path)[0] == 7


@needs_hangup
def test_a_training_under_nohup_goes_on_when_its_terminal_closes(tmp_path):
    recipe = Recipe("toy", steps=9, batch=1, learning_rate=1e-3, precision="no")
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(Toy(stop=6, asked=signal.SIGHUP), recipe, tmp_path, rhythm=QUIET, progress=False)
    finally:
        signal.signal(signal.SIGHUP, kept)
    assert load_average(tmp_path)[0] == 9


def test_a_stop_while_the_last_step_is_looked_at_is_not_lost(tmp_path, monkeypatch):
    """Else the next stage would begin."""
    recipe = Recipe("toy", steps=3, batch=1, learning_rate=1e-3, precision="no")
    monkeypatch.setattr(Toy, "sheet", lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(Toy(), recipe, tmp_path, rhythm=Rhythm(math.inf, 1e9), progress=False)
    assert load_average(tmp_path)[0] == 3


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    recipe = Recipe("toy", steps=3, batch=1, learning_rate=1e-3, precision="no")
    with FileLock(tmp_path / LOCK), pytest.raises(WeGenError, match="Another process trains in"):
        train(Toy(), recipe, tmp_path, rhythm=QUIET, progress=False)
    train(Toy(), recipe, tmp_path, rhythm=QUIET, progress=False)


class Diverging(Toy):
    """Has a loss that is no number from batch `stop` on."""

    def forward(self, batch):
        share = math.nan if int(batch[0]) >= self.stop else 1.0
        return {"total": (self.line(batch / 100) - batch).square().mean() * share}


@pytest.mark.parametrize("first", [0, 6])
def test_a_loss_that_is_no_number_ends_a_run_and_what_was_saved_stays(first, tmp_path):
    recipe = Recipe("toy", steps=9, batch=1, learning_rate=1e-3, precision="no")
    if first:
        train(Toy(), recipe, tmp_path, until=4, rhythm=QUIET, progress=False)
    with pytest.raises(WeGenError, match=rf"step {first + 1} .*0\.001 is too high.* from step {4 if first else 0},"):
        train(Diverging(first), recipe, tmp_path, rhythm=QUIET, progress=False)
    if first:
        step, average = load_average(tmp_path)
        assert step == 4 and all(value.isfinite().all() for value in average.values())


def test_a_full_disk_leaves_what_was_saved_before(tmp_path, monkeypatch):
    recipe = Recipe("toy", steps=9, batch=1, learning_rate=1e-3, precision="no")
    train(Toy(), recipe, tmp_path, until=4, rhythm=QUIET, progress=False)

    def full(state, path):
        path.write_bytes(b"some")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 832 vs 726")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WeGenError, match=r"Step 9 could not be saved to .*Make room there; --resume"):
        train(Toy(), recipe, tmp_path, rhythm=QUIET, progress=False)
    assert load_average(tmp_path)[0] == 4
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_damaged_checkpoint_is_told_by_name(left, tmp_path):
    recipe = Recipe("toy", steps=9, batch=1, learning_rate=1e-3, precision="no")
    train(Toy(), recipe, tmp_path, until=4, rhythm=QUIET, progress=False)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    for read in (
        lambda: load_average(tmp_path),
        lambda: train(Toy(), recipe, tmp_path, rhythm=QUIET, progress=False),
    ):
        with pytest.raises(WeGenError, match=r"checkpoint\.pt is damaged.*a copy of it"):
            read()


@pytest.mark.skipif(os.name != "posix", reason="only there files are mapped in two ways")
def test_a_checkpoint_larger_than_memory_is_mapped(tmp_path, monkeypatch):
    recipe = Recipe("toy", steps=4, batch=1, learning_rate=1e-3, precision="no")
    train(Toy(), recipe, tmp_path, until=2, rhythm=QUIET, progress=False)
    load = torch.load

    def as_of_a_large_file(*args, **named):
        if torch.serialization.get_default_mmap_options() != mmap.MAP_SHARED:
            raise RuntimeError("unable to mmap 64 bytes from file: Cannot allocate memory (12)")
        return load(*args, **named)

    monkeypatch.setattr(torch, "load", as_of_a_large_file)
    before = (tmp_path / CHECKPOINT).read_bytes()
    assert load_average(tmp_path)[0] == 2
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    train(Toy(), recipe, tmp_path, rhythm=QUIET, progress=False)
    assert load_average(tmp_path)[0] == 4


def test_a_stage_is_not_joined_with_parts_that_it_did_not_learn_with(trained, recipes, tmp_path):
    """As after more steps of the encoder, with the painter of the one before."""
    packed = trained.pack()
    made = {file.name: file.read_bytes() for file in packed.iterdir()}
    out = tmp_path / "run"
    shutil.copytree(trained.out, out)
    longer = tmp_path / "recipes"
    shutil.copytree(recipes, longer)
    recipe = json.loads((longer / "encoder.json").read_text())
    (longer / "encoder.json").write_text(json.dumps(recipe | {"steps": recipe["steps"] + 2}))
    run = TrainingRun(longer, out)
    run_stage(run, "encoder", resume=True)
    for stage in ("robust_encoder", "painter", "agent"):
        with pytest.raises(WeGenError, match=rf"{stage}.*the stage 'encoder' was .* fit together.*another --out"):
            run_stage(run, stage, resume=True)
        if stage == "robust_encoder":  # the others learn with what it makes of the encoder
            shutil.rmtree(run.folder(stage))
            run_stage(run, stage, resume=False)
    with pytest.raises(WeGenError, match="would not fit together"):
        run_stage(run, "pack", resume=True)
    assert {file.name: file.read_bytes() for file in (out / "packed").iterdir()} == made


def test_a_packed_folder_stays_until_the_next_one_is_whole(trained):
    packed = trained.pack()
    before = {file.name: file.read_bytes() for file in packed.iterdir()}
    with pytest.raises(ZeroDivisionError):
        trained.pack(lambda folder: 1 / 0)
    assert {file.name: file.read_bytes() for file in packed.iterdir()} == before
    config = packed / "config.json"
    assert trained.pack(lambda folder: (folder / config.name).write_text("{}")) == packed
    assert config.read_text() == "{}"
    trained.pack()
    assert {file.name: file.read_bytes() for file in packed.iterdir()} == before


def test_what_somebody_put_into_a_packed_folder_is_not_lost(trained, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained.out, out)
    packed = TrainingRun(trained.recipes, out).pack()
    (packed / "thesis.txt").write_text("important")
    before = {file.name: file.read_bytes() for file in packed.iterdir()}
    with pytest.raises(WeGenError, match=r"packed, which holds thesis\.txt.*Move it, or choose another --out"):
        TrainingRun(trained.recipes, out).pack()
    assert {file.name: file.read_bytes() for file in packed.iterdir()} == before


def test_a_packed_folder_of_somebody_else_is_told_before_training(recipes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("comfyui_wegen.models.cli.train.run_stage", lambda *_: pytest.fail("it began"))
    command = ["train", str(recipes), "--out", str(tmp_path)]
    packed = tmp_path / "packed"
    packed.write_text("a file")
    assert main(command) == 2 and f"{packed}, where something else is" in capsys.readouterr().err
    packed.unlink()
    packed.mkdir()
    run = TrainingRun(recipes, tmp_path)
    run.check_result()  # nothing is lost
    (packed / "config.json").touch()
    assert main(command) == 2 and f"no training was begun in {tmp_path}" in capsys.readouterr().err
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / CHECKPOINT).touch()
    (packed / ".DS_Store").touch()
    run.check_result()  # as of an earlier run
    (packed / "thesis.txt").touch()
    with pytest.raises(WeGenError, match=r"holds thesis\.txt"):
        run.check_result()


def test_muon_is_missed_in_words(trained, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(RecipeError, match=r"needs torch 2\.9 or newer"):
        train(trained.stage("agent"), trained.recipe("agent"), trained.out / "no", rhythm=QUIET, progress=False)


def test_a_run_goes_on_with_the_samples_that_it_was_begun_with(tmp_path):
    recipe = Recipe("toy", steps=4, batch=1, learning_rate=1e-3, precision="no")

    def go_on(stage=None, **changed):
        train(stage or Toy(), dataclasses.replace(recipe, **changed), tmp_path, rhythm=QUIET, progress=False, until=2)

    go_on()
    with pytest.raises(WeGenError, match=r"seed was 1 when it was written, and is now 2.*another --out"):
        go_on(seed=2)
    go_on(steps=9, decay=3, learning_rate=1e-2)
    path = tmp_path / CHECKPOINT
    state = torch.load(path, weights_only=True)
    del state["sources"]  # as earlier versions wrote it
    torch.save(state, path)
    go_on(seed=2)


def test_other_tasks_or_shards_do_not_go_on_with_a_run(trained, tmp_path):
    stage, recipe = trained.stage("agent"), trained.recipe("agent")
    train(stage, recipe, tmp_path, until=1, rhythm=QUIET, progress=False)
    stage.options = dataclasses.replace(stage.options, tasks=TASK_MIX | {"caption": 2})
    with pytest.raises(WeGenError, match=r'tasks was {.*"caption": 1.* and is now {.*"caption": 2'):
        train(stage, recipe, tmp_path, rhythm=QUIET, progress=False)


def test_the_log_of_a_run_that_was_killed_says_each_step_once(tmp_path):
    recipe = Recipe("toy", steps=50, batch=1, learning_rate=1e-3, precision="no")
    often = Rhythm(math.inf, math.inf, 10)
    train(Toy(), recipe, tmp_path, rhythm=often, progress=False, until=20)
    log = tmp_path / "log.jsonl"
    kept = log.read_text()
    # What was logged after it saved last, and half a line.
    log.write_text(kept + '{"step": 30, "total": 9}\n{"step": 40, "tot')
    train(Toy(), recipe, tmp_path, rhythm=often, progress=False)
    assert log.read_text().startswith(kept)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [10, 20, 30, 40, 50]


@pytest.mark.slow
def test_looking_changes_nothing_and_is_logged(tmp_path):
    recipe = Recipe("toy", steps=50, batch=1, learning_rate=1e-3, precision="no")
    torch.manual_seed(0)
    first, second = Toy(), Toy()
    second.load_state_dict(first.state_dict())
    quiet = train(first, recipe, tmp_path / "quiet", rhythm=QUIET, progress=False)
    watched = train(second, recipe, tmp_path / "watched", rhythm=Rhythm(0.0, 0.0, 10), progress=False)
    assert all(torch.equal(quiet[name], watched[name]) for name in quiet)
    entries = [json.loads(line) for line in (tmp_path / "watched" / "log.jsonl").read_text().splitlines()]
    assert "weight" in entries[0]["held_out"]
    assert [entry["step"] for entry in entries if "total" in entry] == [10, 20, 30, 40, 50]


def test_a_finished_run_is_not_overwritten(trained):
    stage, recipe = trained.stage("encoder"), trained.recipe("encoder")
    with pytest.raises(WeGenError, match="--resume"):
        train(stage, recipe, trained.folder("encoder"), resume=False, rhythm=QUIET, progress=False)


def test_a_checkpoint_of_other_sizes_is_refused(trained, tmp_path):
    train(trained.stage("encoder"), trained.recipe("encoder"), tmp_path, until=1, rhythm=QUIET, progress=False)
    config = trained.config()
    wider = dataclasses.replace(config, vision=dataclasses.replace(config.vision, mlp_width=48))
    other = EncoderStage(wider, trained.stage("encoder").options, 1)
    with pytest.raises(WeGenError, match="another encoder"):
        train(other, trained.recipe("encoder"), tmp_path, rhythm=QUIET, progress=False)


def test_the_packed_folder_loads(trained):
    folder = trained.pack()
    checkpoint = open_checkpoint(folder)
    assert checkpoint.config.vae.scaling_factor != 1.0
    assert len(checkpoint.config.vae.preview_factors) == 27
    wegen, decoder = load(checkpoint)
    features = wegen.encode_pixels(torch.zeros(1, 3, 128, 128))
    latent = decoder.paint(features, torch.zeros(1, 8, 16, 16), 1, 2.0)
    assert decoder.decode(latent).shape == (1, 128, 128, 3)


@pytest.mark.slow
def test_the_command_trains_stage_after_stage(recipes, tmp_path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = str(tmp_path / "run")
    assert run(parser.parse_args([str(recipes / "encoder.json"), "--out", out, "--until", "2"])) == 0
    assert load_average(tmp_path / "run" / "encoder")[0] == 2
    with pytest.raises(WeGenError, match="--resume"):
        run(parser.parse_args([str(recipes / "encoder.json"), "--out", out]))
    assert run(parser.parse_args([str(recipes / "encoder.json"), "--out", out, "--resume"])) == 0
    assert load_average(tmp_path / "run" / "encoder")[0] == 3
    with pytest.raises(WeGenError, match="has not been trained yet"):
        run(parser.parse_args([str(recipes / "painter.json"), "--out", out]))


def test_stages_wait_for_one_that_is_unfinished(tmp_path, monkeypatch, capsys):
    """What they learned with it as it is could not go on once it is finished."""
    parser, begun = argparse.ArgumentParser(), []
    add_arguments(parser)
    steps = {"vae": read_recipe(NANO_RECIPES / "vae.json").steps, "encoder": 5}
    monkeypatch.setattr("comfyui_wegen.models.cli.train.run_stage", lambda _, stage, *rest: begun.append(stage))
    monkeypatch.setattr(TrainingRun, "done", lambda _, stage: steps[stage])
    assert run(parser.parse_args(["nano", "--out", str(tmp_path), "--until", "5"])) == 0
    assert begun == ["tokenizer", "vae", "encoder"]
    assert capsys.readouterr().out.startswith("encoder: unfinished, 5 of ")


def test_the_agent_is_trained_with_written_samples(recipes, trained, tmp_path):
    """Shards of `wegen data` instead of fresh samples; a run that was stopped goes on in them as if it had not been."""
    parser = argparse.ArgumentParser()
    data_command.add_arguments(parser)
    written = ["--out", str(tmp_path / "data"), "--samples", "30", "--shard-size", "8"]
    assert data_command.run(parser.parse_args([*written, "--recipe", str(recipes / "agent.json")])) == 0
    with pytest.raises(WeGenError, match="no tasks"):
        data_command.run(parser.parse_args([*written, "--recipe", str(recipes / "encoder.json")]))
    training_run = dataclasses.replace(trained, data=tmp_path / "data")
    known = list(islice(stream(tmp_path / "data", None), 30))
    seen = {sample.parts for sample in training_run.stage("agent").samples(25, 40)}
    assert all(seen & {sample.parts, sample.without_rewrites().parts} for sample in known)
    recipe = training_run.recipe("agent")
    whole = train(training_run.stage("agent"), recipe, tmp_path / "whole", rhythm=QUIET, progress=False)
    train(training_run.stage("agent"), recipe, tmp_path / "halves", rhythm=QUIET, progress=False, until=1)
    halves = train(training_run.stage("agent"), recipe, tmp_path / "halves", rhythm=QUIET, progress=False)
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    with pytest.raises(WeGenError, match=r"No index\.json"):
        dataclasses.replace(trained, data=tmp_path).stage("agent")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["encoder", "agent"])
def test_sheets_are_drawn(trained, tmp_path, stage):
    path = draw_sheet(trained.stage(stage), tmp_path, 7)
    with Image.open(path) as picture:
        assert path.name == "sheet-0000007.png"
        assert picture.width >= 1280


def sample_of(task, seed=3):
    return TASKS[task](Random(seed))


@pytest.mark.parametrize("task", list(TASKS))
def test_only_answers_are_learned(trained, task):
    tokenizer = trained.tokenizer()
    for seed in range(5):
        sample = sample_of(task, seed)
        made = conversation(trained.config(), tokenizer, sample)
        assert len(made.ids) == len(made.labels) == len(made.inputs) == len(made.targets)
        assert len(made.pictures) == len(sample.pictures())
        assert sum(made.inputs) + sum(made.targets) == 64 * len(made.pictures)
        drawn = sum(part.target for part in sample.pictures())
        assert sum(made.targets) == 64 * drawn
        begun = drawn + sum(isinstance(part, Forgotten) for part in sample.parts)
        learned = [index for index in made.labels if index != IGNORED]
        said = " ".join(part.text for part in sample.parts if isinstance(part, Text) and part.target)
        assert tokenizer.decode(learned, skip_special=True).replace(" ", "") == said.replace(" ", "")
        assert learned.count(tokenizer.picture_begin_id) == begun


def references_of(parts):
    found, words = References(), []
    for part in parts:
        if isinstance(part, Picture):
            name = f"r{len(found)}"
            found = found.add(Reference(name, torch.zeros(64, 32), torch.zeros(2, 2, 3)))
            words += [f"@{name}"] if words else []
        else:
            words.append(part.text)
    return found, "".join(words)


@pytest.mark.parametrize("task", ["text_to_picture", "rewrite", "compose", "refine"])
@pytest.mark.parametrize("direct", [False, True])
def test_training_reads_what_inference_writes(trained, task, direct):
    """The prompt of the last picture, built turn by turn as the pipeline does, is how the training sequence begins."""
    config, tokenizer = trained.config(), trained.tokenizer()
    for seed in range(6):
        sample = sample_of(task, seed)
        sample = sample.without_rewrites() if direct else sample
        turns = sample.turns()
        chat = Chat()
        for (_, asked), (_, answered) in zip(turns[::2], turns[1::2], strict=True):
            references, instruction = references_of(asked)
            rewrite = next((part.text for part in answered if isinstance(part, Text)), instruction)
            prompt = inference.picture_prompt(config, tokenizer, chat, instruction, references, rewrite)
            answer = Answer(rewrite, torch.zeros(64, 32), torch.zeros(2, 2, 3), seed=0)
            chat = chat.add(Turn(instruction, (answer,), references))
        expected = tokenizer.encode(prompt.text)
        made = conversation(config, tokenizer, sample)
        assert made.ids[: len(expected)] == expected
        assert len(made.ids) == len(expected) + 65


def test_a_training_chat_forgets_as_inference_does(trained):
    """A chat that is too long loses its oldest pictures; what is left of it is how the training sequence begins."""
    config, tokenizer = trained.config(), trained.tokenizer()
    lengths = set()
    for seed in range(12):
        sample = sample_of("chat", seed)
        drawing = [turn for _, turn in sample.turns() if any(isinstance(part, Picture | Forgotten) for part in turn)]
        seen = sum(isinstance(part, Picture) for part in sample.parts)
        chat = Chat()
        asked = [turn[0].text for role, turn in sample.turns() if role == "user"]
        for instruction, answered in zip(asked, drawing, strict=False):
            answer = Answer(answered[0].text, torch.zeros(64, 32), torch.zeros(2, 2, 3), seed=0)
            chat = chat.add(Turn(instruction, (answer,)))
        kept = [inference._past(config, tokenizer, chat, n, len(chat) - n <= seen) for n in range(len(chat))]
        expected = tokenizer.encode("".join(prompt.text for prompt in kept).removesuffix(config.templates.joint))
        made = conversation(config, tokenizer, sample)
        assert made.ids[: len(expected)] == expected
        lengths.add((len(chat), seen))
    assert len(lengths) > 4


def test_cells_know_their_things():
    from comfyui_wegen.models.storybook import KINDS, Scene, Thing

    thing = Thing("cat", "black", "big", 2, 2, "facing left")
    answers = cell_answers(Scene("snow", "night", (thing,)), 8).reshape(8, 8, -1)
    assert answers[4, 3].tolist() == [list(KINDS).index("cat") + 1, 10, 3, 1, 1, 3, 3, 2, 1, 0]
    assert answers[0, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 1, 0]


def alike(scene) -> bool:
    kinds, colours = {thing.kind for thing in scene.things}, {thing.colour for thing in scene.things}
    return len(kinds) == 1 or (len(colours) == 1 and any(kinds <= set(group) for group in ALIKE))


def test_pages_of_things_that_look_alike():
    """Kinds of one group in one colour, or one kind in several; in any row."""
    scenes = [alike_page(Random(number), 4) for number in range(300)]
    assert all(scene.things and alike(scene) for scene in scenes)
    several = [scene for scene in scenes if len(scene.things) > 1]
    by_kind = sum(len({thing.kind for thing in scene.things}) == 1 for scene in several)
    assert 0.4 < by_kind / len(several) < 0.75
    assert {thing.row for scene in scenes for thing in scene.things if thing.kind == "moon"} == set(range(len(ROWS)))


def test_a_mixture_has_its_shares_of_hard_pages():
    def share(mixture, hard):
        scenes = [mixture.page(1, number) for number in range(400)]
        return sum(map(hard, scenes)) / len(scenes)

    plain, half = Mixture(), Mixture(crowded=0.5, alike=0.5, small=0.5)
    assert [plain.page(1, number) for number in range(20)] == [page(1, number) for number in range(20)]
    assert [half.page(1, number) for number in range(20)] == [half.page(1, number) for number in range(20)]
    for hard in (
        lambda scene: all(thing.size == "small" for thing in scene.things),
        lambda scene: alike(scene) and len(scene.things) > 1,
        lambda scene: len(scene.things) == MOST_THINGS,
    ):
        assert 0.25 < share(half, hard) - share(plain, hard) < 0.6
    assert {len(Mixture().page(1, number, 3).things) for number in range(20)} == {3}
    assert {Mixture(styled=1.0).page(1, number).style for number in range(30)} == {"outline", "wash", "mosaic"}
    things = [thing for number in range(30) for thing in Mixture(patterned=1.0).page(1, number).things]
    assert {thing.pattern for thing in things if len(KINDS[thing.kind].patterns) > 1} == {"striped", "dotted"}
    assert {thing.pattern for thing in things if len(KINDS[thing.kind].patterns) == 1} == {"plain"}


def test_stages_take_the_pages_that_their_recipe_asks_for(trained):
    """Each choice of pages has a cache of its own, which takes the place of others."""
    config = trained.config()
    encoder = EncoderStage(config, EncoderOptions(alike=1.0), 1)
    assert all(alike(encoder._page(number)) for number in range(20))
    painter = trained.stage("painter")
    painter.options = dataclasses.replace(painter.options, crowded=1.0, small=1.0)
    scenes = [painter._page(number) for number in range(20)]
    assert all(len(scene.things) == MOST_THINGS for scene in scenes)
    assert {thing.size for scene in scenes for thing in scene.things} == {"small"}
    vae = trained.stage("vae")
    vae.options = dataclasses.replace(vae.options, small=1.0)
    assert {thing.size for number in range(20) for thing in vae._page(number)[3].things} == {"small"}
    folders = [trained._page_cache("pages", ("encoder", "vae"), things) for things in (3.0, 6.0)]
    assert folders[0] != folders[1]


def test_the_vaes_decoder_learns_from_paintings_and_leaves_latents_alone(trained):
    before, after = trained.vae(), trained.finished_vae()
    pixels = torch.rand(2, 3, 128, 128) * 2 - 1
    latents = before.encode(pixels)
    assert torch.equal(after.encode(pixels), latents) and not torch.equal(after.decode(latents), before.decode(latents))
    stage = trained.stage("vae_decoder")
    assert all(name.startswith("vae.decoder.") for name in stage.trained())
    stage.options = dataclasses.replace(stage.options, own=0.5, own_noise=0.0)
    batch = stage.batch(0, 12)
    own = batch.own
    assert 0 < own.sum() < 12 and all(batch.numbers[~own] < 5) and len(set(batch.numbers[own].tolist())) == own.sum()
    # What is decoded: paintings, the same wherever they are painted, and pages.
    seen = []
    stage.vae.decode = lambda latents: seen.append(latents) or batch.pixels
    assert float(stage(batch)["total"]) == 0
    painted = [stage._paint([stage._page(number)], [number]) for number in batch.numbers[~own].tolist()]
    expected = torch.cat(painted) / trained.config().vae.scaling_factor
    assert torch.allclose(seen[0][~own], expected, atol=2e-2)  # kept in half precision
    assert torch.allclose(seen[0][own], stage.vae.encode(batch.pixels)[own], atol=1e-5)


def test_a_grey_error_has_no_colour(trained):
    vae = trained.stage("vae")
    batch = vae.batch(0, 4)
    grey = vae.vae.encode(batch.pixels)
    vae.vae.decode = lambda latents: batch.pixels + 0.25
    vae.vae.encode = lambda pixels: grey
    assert float(vae(batch)["colour"]) < 1e-6 and float(vae(batch)["l1"]) >= 0.25
    vae.vae.decode = lambda latents: batch.pixels + torch.tensor([0.3, 0.0, -0.3])[:, None, None]
    assert float(vae(batch)["colour"]) >= 0.19


def test_what_somebody_has_beside_painted_pages_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("comfyui_wegen.models.training.training_run.load_average", lambda _: (3, {}))
    mine, old = tmp_path / "paintings" / "mine", tmp_path / "paintings" / "encoder-2-1f-vae-2-1f-1"
    for folder in (mine, old, tmp_path / "encoder", tmp_path / "vae"):
        folder.mkdir(parents=True)
        (folder / CHECKPOINT).touch()
    made = TrainingRun(NANO_RECIPES, tmp_path)._page_cache("paintings", ("encoder", "vae"), 1)
    assert made.parent == mine.parent and made.name.startswith("encoder-3-")
    assert mine.is_dir() and not old.exists()


def test_the_page_cache_computes_each_page_once(tmp_path):
    calls = []

    def compute(pages):
        calls.append(list(pages))
        return (torch.tensor([[float(page)] * 2 for page in pages]),)

    first = PageCache(tmp_path, 10, {"x": (2,)}, compute)
    assert first.get([3, 1, 3])[0].tolist() == [[3, 3], [1, 1], [3, 3]]
    again = PageCache(tmp_path, 10, {"x": (2,)}, compute)
    assert again.get([1, 2])[0].tolist() == [[1, 1], [2, 2]]
    assert calls == [[3, 1], [2]]
    del first, again
    (tmp_path / "x.npy").unlink()
    assert PageCache(tmp_path, 10, {"x": (2,)}, compute).get([3])[0].tolist() == [[3, 3]]


def test_the_learning_rate_rises_stays_and_falls():
    recipe = Recipe("vae", steps=100, batch=1, learning_rate=2.0, warmup=10, decay=20)
    assert [recipe.rate(step) for step in (0, 9, 50, 79)] == [0.2, 2.0, 2.0, 2.0]
    assert recipe.rate(90) == pytest.approx(1.0)
    assert recipe.rate(99) < 0.02


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"stage": "vae"}', "lacks steps, batch, learning_rate"),
        ('{"stage": "vae", "steps": 1, "batch": 1, "learning_rate": 1, "speed": 3}', "unknown speed"),
    ],
)
def test_bad_recipes_are_explained(tmp_path, text, message):
    path = tmp_path / "vae.json"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


@pytest.mark.parametrize(
    ("stage", "entry", "value", "message"),
    [
        ("vae", "precision", "bf61", r"vae\.json: precision is 'bf61'; it must be one of 'bf16', 'no'"),
        ("vae", "precision", "fp8", "precision is 'fp8'"),
        ("vae", "learning_rate", "x", r"vae\.json: learning_rate is 'x'; it must be a finite number"),
        ("vae", "learning_rate", -1, "learning_rate is -1; it must be 0 or more"),
        ("vae", "learning_rate", float("nan"), "learning_rate is nan"),
        ("vae", "warmup", "a", "warmup is 'a'; it must be a whole number"),
        ("vae", "steps", 1.5, "steps is 1.5; it must be a whole number"),
        ("vae", "steps", True, "steps is True; it must be a whole number"),
        ("vae", "average", 1, "average is 1"),
        ("vae", "gradient_limit", 0, "gradient_limit is 0"),
        ("vae", "optimizer", "sgd", "optimizer is 'sgd'; it must be 'adamw' or 'muon'"),
        ("vae", "options", [1], "options is .*; it must be an object"),
        ("unet", "recompute", "yes", "recompute is 'yes'; it must be true or false"),
        ("unet", "data", {"shards": "x"}, "data is .*; it must be a list of objects"),
        ("unet", "data", ["x"], "data is .*; it must be a list of objects"),
        ("unet", "lora", 16, "lora is 16; it must be an object, {...} or null"),
        ("languagemodel", "data", [], "there is no stage 'languagemodel'; choose one of"),
    ],
)
def test_entries_of_the_wrong_type_or_value_are_explained(tmp_path, stage, entry, value, message):
    path = tmp_path / f"{stage}.json"
    path.write_text(json.dumps({"stage": stage, "steps": 1, "batch": 1, "learning_rate": 1, entry: value}))
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


@pytest.mark.parametrize("stage", [*STAGES, "unet", "language_model"])
def test_entries_that_a_stage_makes_no_use_of_are_refused(stage):
    given = {"checkpoint": "x", "data": [{"shards": "x"}], "held_out": [{"shards": "x"}], "lora": {}, "recompute": True}
    given |= {"model": "other.json", "start": "x"}
    used = {"checkpoint", "data", "held_out", "lora", "recompute"} if stage in ("unet", "language_model") else {"start"}
    used = used | {"model"} if stage == "agent" else used - {"start"} if stage == "vae_decoder" else used
    for name, value in given.items():
        entries = {"stage": stage, "steps": 1, "batch": 1, "learning_rate": 0.1, name: value}
        if name in used:
            assert getattr(build(Recipe, entries, "page"), name) == value
        else:
            with pytest.raises(RecipeError, match=f"page: The stage '{stage}' makes no use of '{name}'.*leave it out"):
                build(Recipe, entries, "page")


def test_all_recipes_are_looked_at_before_the_first_stage_is_trained(recipes, tmp_path, monkeypatch):
    def wegen_train(*more):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        run(parser.parse_args([str(tmp_path / "recipes"), "--out", str(tmp_path / "run"), *map(str, more)]))

    def change(stage, **entries):
        shutil.rmtree(tmp_path / "recipes", ignore_errors=True)
        shutil.copytree(recipes, tmp_path / "recipes")
        file = tmp_path / "recipes" / f"{stage}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | entries))

    monkeypatch.setattr(TrainingRun, "learn_words", lambda _: pytest.fail("the tokenizer is made"))
    change("agent", options={**OPTIONS["agent"], "noize": 1})
    with pytest.raises(RecipeError, match=r"agent\.json: options: unknown noize"):
        wegen_train()
    change("agent", options={**OPTIONS["agent"], "tasks": {"singing": 1}})
    with pytest.raises(RecipeError, match=r"agent\.json: tasks: Unknown task 'singing'"):
        wegen_train()
    change("vae", start="nowhere")
    with pytest.raises(WeGenError, match=r"nowhere.config\.json: the entry 'start'"):
        wegen_train()
    change("vae")
    with pytest.raises(WeGenError, match=r"No index\.json in .*typo"):
        wegen_train("--data", tmp_path / "typo")
    write_samples(tmp_path / "films", [Sample("picture", (Picture(np.zeros((36, 64, 3), np.uint8), "user"),))])
    with pytest.raises(RecipeError, match=r"pictures of 64 x 36 pixels, and this model takes 128 x 128"):
        wegen_train("--data", tmp_path / "films")
    with pytest.raises(pytest.fail.Exception, match="the tokenizer is made"):
        wegen_train()


OPTIONS_OF = {
    "tokenizer": TokenizerOptions, "vae": VAEOptions, "encoder": EncoderOptions, "painter": PainterOptions,
    "robust_encoder": RobustEncoderOptions, "vae_decoder": VAEDecoderOptions, "agent": AgentOptions,
    "unet": UNetOptions, "language_model": LanguageOptions,
}  # fmt: skip


def test_the_recipes_of_the_tree_are_right():
    files = [file for file in NANO_RECIPES.parent.glob("*/*.json") if file.name != "model.json"]
    assert len(files) > 20
    for file in files:
        recipe = read_recipe(file)
        build(OPTIONS_OF[recipe.stage], recipe.options, str(file))


def test_options_of_the_wrong_type_are_explained():
    with pytest.raises(RecipeError, match=r"page: tasks is .* it must be an object, {...} with finite numbers in it"):
        build(AgentOptions, {"tasks": {"caption": "x"}}, "page")
    with pytest.raises(RecipeError, match=r"known is .* it must be a list of whole numbers"):
        build(EncoderOptions, {"known": [1.5]}, "page")


def test_the_file_that_is_named_is_the_one_that_is_trained(recipes, tmp_path):
    """Also where another recipe of its stage stands beside it."""
    folder = tmp_path / "recipes"
    shutil.copytree(recipes, folder)
    named = json.loads((folder / "encoder.json").read_text()) | {"steps": 1, "options": {"noise": 0.25}}
    (folder / "my_encoder.json").write_text(json.dumps(named))
    training_run = TrainingRun(folder, tmp_path, files={"encoder": folder / "my_encoder.json"})
    assert training_run.stage("encoder").options.noise == 0.25 and training_run.recipe("vae").steps == 3
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["--config", str(folder / "my_encoder.json"), "--out", str(tmp_path / "run")])) == 0
    assert load_average(tmp_path / "run" / "encoder")[0] == 1


def test_a_packed_model_is_calibrated(trained):
    run_stage(trained, "pack", resume=False)
    features = open_checkpoint(trained.out / "packed").config.features
    assert features.spread > 0 and 0 < features.threshold < 10
    assert features != TrainingRun(trained.recipes, trained.out).config().features


def test_a_stage_that_starts_from_a_finished_model_has_its_weights(trained, tmp_path):
    packed = trained.pack()
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    templates = TINY_MODEL["templates"] | {"edit_rewrite": "[INST] so {pictures}{text} [/INST]\n"}
    model = TINY_MODEL | {"templates": templates}
    (recipes / "model.json").write_text(json.dumps(model))
    base = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "precision": "no", "start": str(packed)}
    own = {
        "tokenizer": {"samples": 200, "pieces": 700, "fold_case": True, "coverage": 0.999},
        "encoder": {"frozen": True},
        "agent": OPTIONS["agent"],
    }
    for stage, options in own.items():
        (recipes / f"{stage}.json").write_text(json.dumps({"stage": stage, "options": options, **base}))
    training_run = TrainingRun(recipes, tmp_path / "run")
    tokenizer, old = training_run.learn_words(), trained.tokenizer()
    assert tokenizer.vocab_size > old.vocab_size
    assert tokenizer.encode("Put a RED cat") == tokenizer.encode("put a red cat")
    train(
        training_run.stage("encoder"),
        training_run.recipe("encoder"),
        training_run.folder("encoder"),
        rhythm=QUIET,
        progress=False,
    )
    whole = trained.vision_encoder().state_dict()
    for name, value in training_run.vision_encoder().state_dict().items():
        torch.testing.assert_close(value, whole[name], atol=2e-3, rtol=2e-3)  # packed in fp16
    agent, before = training_run.stage("agent").agent, trained.agent()
    torch.testing.assert_close(
        agent.input_resampler.proj.weight, before.input_resampler.proj.weight, atol=2e-3, rtol=2e-3
    )
    rows, old_rows = agent.llm.model.embed_tokens.weight, before.llm.model.embed_tokens.weight
    for token in ("<img>", "<img_00007>"):
        torch.testing.assert_close(
            rows[tokenizer.added_tokens[token]], old_rows[old.added_tokens[token]], atol=2e-3, rtol=2e-3
        )
    ids = (tokenizer.pieces.piece_to_id("\u2581the"), old.pieces.piece_to_id("\u2581the"))
    torch.testing.assert_close(rows[ids[0]], old_rows[ids[1]], atol=2e-3, rtol=2e-3)
    train(
        training_run.stage("agent"),
        training_run.recipe("agent"),
        training_run.folder("agent"),
        rhythm=QUIET,
        progress=False,
    )
    # Blended, the weights lie between those before and after.
    after = training_run.agent().output_resampler.proj.weight.clone()
    written = json.loads((recipes / "agent.json").read_text())
    (recipes / "agent.json").write_text(json.dumps(written | {"blend": 0.25}))
    wanted = before.output_resampler.proj.weight.lerp(after, 0.25)
    torch.testing.assert_close(training_run.agent().output_resampler.proj.weight, wanted, atol=2e-3, rtol=2e-3)
    (recipes / "agent.json").write_text(json.dumps(written | {"blend": 0}))
    with pytest.raises(RecipeError, match="blend is 0"):
        training_run.agent()
    (recipes / "agent.json").write_text(json.dumps(written))
    wegen, _ = load(training_run.pack())
    assert wegen.config.vae.scaling_factor == trained.config().vae.scaling_factor
    assert wegen.config.language.vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize(("stage", "part"), [("painter", "unet"), ("robust_encoder", "vision_encoder")])
def test_one_part_alone_is_trained_for_a_finished_model_as_it_is(trained, tmp_path, stage, part):
    packed = trained.pack()
    recipe = {
        "stage": stage,
        "steps": 2,
        "batch": 2,
        "learning_rate": 1e-3,
        "precision": "no",
        "start": str(packed),
    }
    (tmp_path / f"{stage}.json").write_text(json.dumps(recipe))
    out = tmp_path / "run"
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([str(tmp_path), "--out", str(out)])) == 0
    assert load_average(out / stage)[0] == 2
    made = {path.name: path.read_bytes() for path in (out / "packed").iterdir()}
    before = {path.name: path.read_bytes() for path in packed.iterdir()}
    assert made.keys() == before.keys()
    assert {name for name in made if made[name] != before[name]} <= {f"{part}.safetensors", "config.json"}
    assert made[f"{part}.safetensors"] != before[f"{part}.safetensors"]
    config = open_checkpoint(out / "packed").config
    assert dataclasses.replace(config, features=None) == dataclasses.replace(
        open_checkpoint(packed).config, features=None
    )


def test_a_tokenizer_may_be_that_of_the_model_it_starts_from(trained, tmp_path):
    packed = trained.pack()
    recipe = {"stage": "tokenizer", "steps": 1, "batch": 1, "learning_rate": 0.0, "start": str(packed)}
    for name, content in {"model": TINY_MODEL, "tokenizer": recipe, "agent": {**recipe, "stage": "agent"}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    tokenizer = TrainingRun(tmp_path, tmp_path / "run").learn_words()
    assert tokenizer.encode("put a red cat") == trained.tokenizer().encode("put a red cat")
    assert tokenizer.added_tokens == trained.tokenizer().added_tokens


def test_a_robust_encoder_reads_damaged_pages_as_what_they_were_and_all_else_as_before():
    start = PackedStart(BUNDLED)
    encoder = VisionEncoder(start.config().vision)
    start.fill(encoder, "vision_encoder")
    stage = RobustEncoderStage(start.config(), RobustEncoderOptions(styled=0.5), 1, encoder)
    batch = stage.batch(0, 40)
    assert torch.equal(stage.batch(30, 10).seen, batch.seen[30:])  # the same at every call
    ways = [WAYS[number] for number in batch.ways]
    same = (batch.seen == batch.pages).flatten(1).all(dim=1).tolist()
    assert {way: ways.count(way) > 0 for way in WAYS} == dict.fromkeys(WAYS, True)
    assert all(alike for way, alike in zip(ways, same, strict=True) if way == "kept")
    assert not any(alike for way, alike in zip(ways, same, strict=True) if way in ("damaged", "told"))
    losses = stage(batch)
    assert float(losses["kept"]) == 0  # nothing is trained yet
    weighed = losses["damaged"] + 0.2 * losses["told"] + losses["worn"]
    assert float(losses["total"]) == pytest.approx(float(weighed)) and float(losses["told"]) > float(losses["worn"])
    # What is damaged comes nearer in a few steps, and what is not stays near.
    few = stage.batch(100, 12)
    before = {name: float(loss) for name, loss in stage(few).items()}
    optimizer = torch.optim.AdamW(stage.vision_encoder.parameters(), 2e-4)
    for _ in range(12):
        optimizer.zero_grad()
        stage(few)["total"].backward()
        optimizer.step()
    after = {name: float(loss) for name, loss in stage(few).items()}
    assert after["damaged"] < 0.9 * before["damaged"] and after["kept"] < 0.1 * before["damaged"]
    assert all(not value.requires_grad for value in stage.before.parameters())


def test_shares_of_a_robust_encoder_are_at_most_one_together():
    with pytest.raises(RecipeError, match="'damaged', 'told' and 'worn' are more than 1 together"):
        RobustEncoderOptions(damaged=0.8, told=0.3)


def test_where_new_things_lie_features_need_not_stay_as_they_were():
    from comfyui_wegen.models.storybook import GROUNDS, KINDS, SKIES, Scene, Thing

    scene = Scene("snow", "night", (Thing("cat", "black", "big", 2, 2, "facing left"),))
    cells = (cell_answers(scene, 8)[:, 0] > 0).tolist()
    everything = len(KINDS), len(GROUNDS), len(SKIES)
    assert known_cells(scene, 8, ()).all() and known_cells(scene, 8, everything).all()
    new = ~known_cells(scene, 8, (list(KINDS).index("cat"), *everything[1:]))
    assert all(new[number] for number, filled in enumerate(cells) if filled) and not new.all()
    assert not known_cells(scene, 8, (len(KINDS), GROUNDS.index("snow"), len(SKIES))).any()
    assert not known_cells(scene, 8, (len(KINDS), len(GROUNDS), SKIES.index("night"))).any()


def test_an_encoder_learns_to_read_what_tells_a_part_of_a_page(trained, tmp_path):
    """It may have more blocks than the one it starts from, and begins as that one."""
    model = json.loads(json.dumps(TINY_MODEL))
    model["vision"]["layers"] += 2
    (tmp_path / "model.json").write_text(json.dumps(model))
    options = {"kept": 1.0, "told": 1.0, "known": [8, 6, 4]}
    recipe = {"stage": "encoder", "steps": 3, "batch": 4, "learning_rate": 1e-3, "precision": "no", "options": options}
    for stage in ("encoder", "agent"):
        written = {
            **recipe,
            "stage": stage,
            "start": str(trained.pack()),
            "options": options if stage == "encoder" else {},
        }
        (tmp_path / f"{stage}.json").write_text(json.dumps(written))
    training_run = TrainingRun(tmp_path, tmp_path / "run")
    stage = training_run.stage("encoder")
    batch = stage.batch(0, 4)
    assert len(batch.told) == 4 and len(batch.strange) == 1
    first = stage(batch)
    assert first["kept"] < 1e-5  # packed in fp16
    assert first["told"] > 0.01
    assert {name.split(".")[0] for name in stage.trained()} == {"vision_encoder", "reader", "shifts"}
    train(stage, training_run.recipe("encoder"), training_run.folder("encoder"), rhythm=QUIET, progress=False)
    later = training_run.vision_encoder()
    assert later.config.layers == TINY_MODEL["vision"]["layers"] + 2
    assert not later.blocks[-1].norm1.weight.eq(0).all()
    assert "told_kind" in stage.measure()
    half = EncoderStage(training_run.config(), EncoderOptions(told=1.0, told_share=0.5), 1, PackedStart(trained.pack()))
    batch = half.batch(0, 4)
    assert len(batch.told) == 2 and len(batch.painted) == 4
    assert half(batch)["told_answers"] > 0 and "told_kind" in half.measure()
    for option in ("kept", "told"):
        with pytest.raises(WeGenError, match="'start'"):
            EncoderStage(trained.config(), EncoderOptions(**{option: 1.0}), 1)
    recipe["options"] = {"known": [40, 10, 6]}
    (tmp_path / "encoder.json").write_text(json.dumps(recipe))
    with pytest.raises(WeGenError, match=r"\[40, 10, 6\].*Leave"):
        TrainingRun(tmp_path, tmp_path / "run")
    (tmp_path / "config.json").write_text(training_run.config().to_json())
    with pytest.raises(WeGenError, match="give it 3 or more"):
        PackedStart(tmp_path).fill_encoder(trained.vision_encoder())


def test_an_encoder_may_have_smaller_patches_than_the_one_it_starts_from(trained):
    start = PackedStart(trained.pack())
    old = trained.vision_encoder()
    size = old.config.patch_size
    half = VisionEncoder(dataclasses.replace(old.config, patch_size=size // 2))
    other = VisionEncoder(dataclasses.replace(old.config, patch_size=size - 1, image_size=size - 1))
    start.fill_encoder(half)
    plain = torch.full((1, 3, old.config.image_size, old.config.image_size), 0.3)
    with torch.no_grad():
        seen, finer = old.patch_embed(plain), half.patch_embed(plain)
    torch.testing.assert_close(finer[:, :1].expand_as(seen), seen, rtol=1e-3, atol=1e-3)
    grid = old.config.grid
    positions = half.pos_embed[0, 1:].unflatten(0, (2 * grid, 2 * grid))
    assert positions[2 * grid - 1, 1].equal(positions[2 * grid - 2, 0])
    assert torch.allclose(positions[::2, ::2].flatten(0, 1), old.pos_embed[0, 1:], atol=1e-3)
    with pytest.raises(WeGenError, match="must divide"):
        start.fill_encoder(other)


def test_a_unet_may_have_more_layers_than_the_one_it_starts_from(trained, tmp_path):
    start = PackedStart(trained.pack())
    config = start.config().unet
    layers = config.layers_per_block
    old, deeper, deepest = (
        UNet2DConditionModel(**dataclasses.replace(config, layers_per_block=layers + more).to_diffusers())
        for more in (0, 1, 2)
    )
    shape = (2, config.in_channels, config.sample_size, config.sample_size)
    sample, features = torch.randn(shape), torch.randn(2, 4, config.cross_attention_dim)
    added = {"text_embeds": features.mean(dim=1), "time_ids": torch.ones(2, 6)}
    said = []
    for unet in (old, deeper, deepest):
        start.fill_unet(unet)
        with torch.no_grad():
            said.append(unet(sample, 30, encoder_hidden_states=features, added_cond_kwargs=added).sample)
    assert said[0].abs().max() > 0.01
    torch.testing.assert_close(said[1], said[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(said[2], said[0], rtol=1e-4, atol=1e-5)
    deeper(sample, 30, encoder_hidden_states=features, added_cond_kwargs=added).sample.square().mean().backward()
    for block in (deeper.down_blocks[0], deeper.up_blocks[1]):
        assert block.resnets[1].conv2.weight.grad.abs().max() > 0
    whole = dataclasses.replace(start.config(), unet=dataclasses.replace(config, layers_per_block=3))
    (tmp_path / "config.json").write_text(whole.to_json())
    with pytest.raises(WeGenError, match="give it 3 or more"):
        PackedStart(tmp_path).fill_unet(old)


def test_pages_are_read_as_a_decoder_would_have_made_them(trained):
    clean, worn = (EncoderStage(trained.config(), EncoderOptions(worn=share), 1).batch(0, 8) for share in (0.0, 1.0))
    changed = (clean.seen[:8] != worn.seen[:8]).flatten(1).any(dim=1)
    assert changed.sum() >= 4  # about one in six stays clean
    assert torch.equal(clean.seen[8:], worn.seen[8:]) and torch.equal(clean.painted, worn.painted)
    again = EncoderStage(trained.config(), EncoderOptions(worn=1.0), 1).batch(4, 4)
    assert torch.equal(again.seen[:4], worn.seen[4:8])  # a page is the same in whatever batch it comes


def test_pages_in_other_styles_have_the_features_of_the_first_one_but_for_a_shift(trained, tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(TINY_MODEL))
    base = {"steps": 2, "batch": 4, "learning_rate": 1e-3, "precision": "no", "start": str(trained.pack())}
    options = {"kept": 1.0, "told": 1.0, "styled": 1.0}
    for stage in ("encoder", "agent"):
        written = {"stage": stage, "options": options if stage == "encoder" else {}, **base}
        (tmp_path / f"{stage}.json").write_text(json.dumps(written))
    stage = TrainingRun(tmp_path, tmp_path / "run").stage("encoder")
    batch = stage.batch(0, 4)
    assert batch.styles.min() > 0 and not torch.equal(batch.plain, batch.seen[:4])
    number = list(QUESTIONS).index("style")
    assert torch.equal(batch.answers[:, 0, number], batch.styles)
    kept = stage(batch)["kept"]
    with torch.no_grad():
        difference = stage.encode(batch.seen[:4]) - stage.encode(batch.plain)
        for one in batch.styles.unique():
            stage.shifts.weight[one] = difference[batch.styles == one].mean(dim=(0, 1))
    assert stage(batch)["kept"] < kept
    stage(batch)["total"].backward()
    assert stage.shifts.weight.grad[0].eq(0).all() and stage.shifts.weight.grad[1:].ne(0).any()


def test_the_parts_that_paint_may_start_from_a_finished_model_too(trained, tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(TINY_MODEL))
    base = {"steps": 2, "batch": 2, "learning_rate": 1e-3, "precision": "no", "start": str(trained.pack())}
    own = {"tokenizer": OPTIONS["tokenizer"], "vae": OPTIONS["vae"] | {"styled": 0.5}, "encoder": {"frozen": True},
           "painter": OPTIONS["painter"] | {"styled": 0.5}, "agent": OPTIONS["agent"]}  # fmt: skip
    for stage, options in own.items():
        (tmp_path / f"{stage}.json").write_text(json.dumps({"stage": stage, "options": options, **base}))
    training_run = TrainingRun(tmp_path, tmp_path / "run")
    for stage in own:
        run_stage(training_run, stage, resume=False, until=None)
        if stage == "vae":
            before, after = trained.finished_vae().state_dict(), training_run.vae().state_dict()
            assert max((after[name] - before[name]).abs().max() for name in before) < 0.02
            assert training_run.config().vae.scaling_factor != trained.config().vae.scaling_factor
        if stage == "painter":
            before, after = trained.unet().state_dict(), training_run.unet().state_dict()
            assert 0 < max((after[name] - before[name]).abs().max() for name in before) < 0.02
    _, decoder = load(training_run.pack())
    assert decoder.config.vae.scaling_factor == training_run.config().vae.scaling_factor
    for name, value in training_run.unet().state_dict().items():
        torch.testing.assert_close(decoder.unet.state_dict()[name], value, atol=2e-3, rtol=2e-3)


def test_a_language_model_may_have_more_layers_than_the_one_it_starts_from_and_begins_as_that_one(trained, tmp_path):
    packed, tokenizer, before = trained.pack(), trained.tokenizer(), trained.agent()
    config = trained.config()
    deeper = Agent(dataclasses.replace(config, language=dataclasses.replace(config.language, layers=4)))
    PackedStart(packed).fill_agent(deeper, tokenizer)
    ids = torch.tensor([tokenizer.encode("put a red cat on the left")])
    states = [agent.llm(agent.llm.embed(ids)) for agent in (before, deeper)]
    torch.testing.assert_close(states[1], states[0], atol=5e-3, rtol=5e-3)  # packed in fp16
    silent = [layer.self_attn.o_proj.weight.eq(0).all().item() for layer in deeper.llm.model.layers]
    assert silent == [False, True, True, True]
    folder = tmp_path / "six-layers"
    shutil.copytree(packed, folder)
    written = json.loads((folder / "config.json").read_text())
    written["language"]["layers"] = 6
    (folder / "config.json").write_text(json.dumps(written))
    with pytest.raises(WeGenError, match="give it 6 or more"):
        PackedStart(folder).fill_agent(deeper, tokenizer)


def test_the_words_that_an_order_changes_are_told_from_those_that_are_copied(trained):
    tokenizer, config = trained.tokenizer(), trained.config()
    parts = (
        Text("x", "user"), Text("a red cat at the top, a blue car.", "assistant", True), Forgotten("assistant", True),
        Text("paint it black", "user"), Text("a black cat at the top, a blue car.", "assistant", True),
        Forgotten("assistant", True),
        Text("no cat", "user"), Text("a blue car.", "assistant", True), Forgotten("assistant", True),
    )  # fmt: skip
    made = conversation(config, tokenizer, Sample("chat", parts))
    assert len(made.changes) == len(made.ids)
    marked = [index for index, changed in zip(made.ids, made.changes, strict=True) if changed]
    # What a wish leads to begins with words that decide; then only those that an order changes.
    assert marked[:4] == tokenizer.encode("a red cat at the top, a blue car.", begin=False)[:4]
    assert tokenizer.decode(marked[4:]).split() == ["a", "black", "a", "blue"]
    assert all(label != IGNORED for label, changed in zip(made.labels, made.changes, strict=True) if changed)


def test_the_words_that_say_whether_something_is_drawn_are_told_from_the_rest(trained):
    tokenizer, config = trained.tokenizer(), trained.config()
    parts = (
        Text("fly to the moon", "user", task="edit_rewrite"), Text("i cannot do that. i can add.", "assistant", True),
        Text("who are you?", "user", task="ask"), Text("i am a model.", "assistant", True),
    )  # fmt: skip
    made = conversation(config, tokenizer, Sample("outside", parts))
    marked = [index for index, changed in zip(made.ids, made.changes, strict=True) if changed]
    assert len(marked) == 4
    assert "i cannot do that".startswith(tokenizer.decode(marked))


def test_words_weigh_what_they_are_told(trained):
    stage = trained.stage("agent")
    batch = stage.batch(0, 2)
    features = stage.encode(batch.pictures)
    given = (stage.agent, batch.ids, batch.labels, batch.inputs, batch.targets, features)
    plain, same = agent_outputs(*given), agent_outputs(*given, word_weights=torch.full(batch.ids.shape, 3.0))
    torch.testing.assert_close(plain.text, same.text)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("halved", [True, False])
def test_attention_in_training_is_that_of_pytorch(causal, halved):
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(2, 3, 450, 16, generator=generator, requires_grad=True) for _ in range(3)]
    kind = {"is_causal": True} if causal else {}
    wanted = F.scaled_dot_product_attention(*given, **kind)
    gradients = torch.autograd.grad(wanted.square().sum(), given)
    with cpu.attention(torch.device("cpu")), torch.autocast("cpu", torch.bfloat16, enabled=halved):
        got = F.scaled_dot_product_attention(*given, **kind)
    assert got.dtype == (torch.bfloat16 if halved else torch.float32)
    assert halved or torch.equal(got, wanted)  # its own kernel: plain products would be rounded in other places
    apart = 0.03 if halved else 1e-4
    for one, other in zip(
        (got, *torch.autograd.grad(got.float().square().sum(), given)), (wanted, *gradients), strict=True
    ):
        assert (one - other).norm() < apart * other.norm()
