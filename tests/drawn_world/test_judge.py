"""The judge of drawn pictures: what it is taught, how it decides, and, where it is trained, how well it reads."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models import drawn_world as world
from comfyui_wegen.models.drawn_world import judge as judging
from comfyui_wegen.models.drawn_world import judge_training as training
from comfyui_wegen.models.errors import CheckpointError


def perfect_logits(scenes: list[world.Scene]) -> dict[str, torch.Tensor]:
    """What a judge without fault would say."""
    wanted = training.targets(scenes)
    middles = wanted["there"] == 1
    logits = {"there": torch.where(middles, 9.0, -9.0)[:, None], "offset": wanted["offset"]}
    for name, values in judging.LOOKS.items():
        classes = wanted[name].clamp(min=0)
        logits[name] = 20.0 * torch.nn.functional.one_hot(classes, len(values)).permute(0, 3, 1, 2).float()
    for name, values in judging.SETTINGS.items():
        logits[name] = 20.0 * torch.nn.functional.one_hot(wanted[name], len(values)).float()
    return logits


def test_targets_say_everything():
    rng = Random(1)
    scenes = [world.sample_scene(rng) for _ in range(40)]
    readings = judging._readings(perfect_logits(scenes))
    for scene, reading in zip(scenes, readings, strict=True):
        verdict = judging.compare(reading, scene)
        assert verdict.all_right
        assert all(verdict.right(name) == [True] * len(scene.things) for name in (*judging.LOOKS, "place"))
        again = reading.to_scene()
        assert again is not None
        assert sorted(t.look for t in again.things) == sorted(t.look for t in scene.things)
        assert all(abs(sight.x - round(sight.x)) < 0.1 for sight in reading.things)


def test_a_reading_tells_what_stands_on_what():
    bench = world.Thing("bench", "brown", "big", 64, 100)
    cat = world.sample_thing(Random(1), world.Scene("meadow", "day", (bench,)), relation=("on", bench), kind="cat")
    scene = world.Scene("meadow", "day", (bench, cat))
    (reading,) = judging._readings(perfect_logits([scene]))
    assert world.describe(reading.to_scene()) == world.describe(scene)


def test_verdicts_see_what_is_wrong():
    cat = world.Thing("cat", "black", "small", 30, 100)
    dog = world.Thing("dog", "brown", "medium", 90, 100)
    scene = world.Scene("meadow", "day", (cat, dog))
    (reading,) = judging._readings(perfect_logits([scene]))
    white = world.Scene("meadow", "night", (replace(cat, colour="white"), dog))
    verdict = judging.compare(reading, white)
    colours = dict(zip((thing.kind for thing in white.things), verdict.right("colour"), strict=True))
    assert colours == {"cat": False, "dog": True}
    assert verdict.settings == {"ground": True, "sky": False, "style": True}
    assert not verdict.all_right
    assert judging.compare(reading, world.Scene("meadow", "day", (cat,))).extra == 1
    star = world.Thing("star", "yellow", "small", 64, 20)
    missing = judging.compare(reading, world.Scene("meadow", "day", (cat, dog, star)))
    assert missing.right("kind").count(False) == 1
    green = replace(reading, things=(replace(reading.things[0], colour="green"), *reading.things[1:]))
    assert green.to_scene() is None


def test_training_is_drawn_by_its_seed_and_has_hidden_things():
    assert training.scenes_at(0, 3, 4) == training.scenes_at(0, 3, 4)
    assert training.scenes_at(0, 3, 4) != training.scenes_at(1, 3, 4)
    crowd = [training.sample_crowd(Random(seed)) for seed in range(40)]
    assert (training.targets(crowd)["there"] == -1).any()
    pixels = judging.to_pixels([world.render(scene) for scene in crowd[:4]])
    worn = training.wear(pixels, torch.Generator().manual_seed(1))
    assert worn.shape == pixels.shape
    assert worn.abs().max() <= 1
    assert torch.equal(worn, training.wear(pixels, torch.Generator().manual_seed(1)))


def test_a_few_steps_of_training_help():
    torch.manual_seed(0)
    judge = judging.Judge().train()
    optimiser = torch.optim.AdamW(judge.parameters(), 2e-3)
    scenes = training.scenes_at(0, 0, 8)
    pixels, wanted = judging.to_pixels([world.render(scene) for scene in scenes]), training.targets(scenes)
    losses = []
    for _ in range(6):
        loss = training.loss_of(judge(pixels), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_pictures_that_are_none(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        judging.to_pixels([np.zeros((8, 8, 3), np.float32)])
    assert judging.to_pixels([np.zeros((64, 96, 3), np.uint8)]).shape == (1, 3, 128, 128)
    with pytest.raises(CheckpointError, match="no judge"):
        judging.load_judge(tmp_path / "none.safetensors")


@pytest.mark.skipif(not judging.WEIGHTS.is_file(), reason="The judge is not trained yet.")
def test_the_bundled_judge_reads_rendered_scenes():
    shares = training.accuracy(judging.bundled_judge(), training.held_out_scenes(120))
    assert shares["look"] >= 0.97
    assert shares["place"] >= 0.98
    assert min(shares[name] for name in judging.SETTINGS) >= 0.98
