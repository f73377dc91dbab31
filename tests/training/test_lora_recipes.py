"""The recipes that `wegen train lora` writes."""

import errno
import json
import os

import pytest
from comfyui_wegen.models.network.configuration import WeGenConfig
from comfyui_wegen.models.training.language_stage import LanguageOptions
from comfyui_wegen.models.training.lora_recipes import lora_recipes, write_recipe
from comfyui_wegen.models.training.recipe import Recipe, RecipeError, build
from tiny import tiny_config


def test_a_step_on_published_weights_holds_eight_samples_packed_into_rows_one_at_a_time(tmp_path):
    recipes = lora_recipes(WeGenConfig(), "rocket", tmp_path, {tmp_path / "samples": 1.0}, [tmp_path / "kept"])
    for recipe in recipes.values():
        read = build(Recipe, recipe, "recipe")
        assert (read.batch, read.accumulate, read.recompute) == (1, 8, True)
    assert build(LanguageOptions, recipes["language_model"]["options"], "recipe").tokens == 2048


def test_a_recipe_that_is_there_must_be_of_the_same_checkpoint_and_data(tmp_path):
    kept, pictures = tmp_path / "kept", {tmp_path / "samples": 1.0}
    recipe = lora_recipes(tiny_config(), "rocket", None, pictures, [])["language_model"]
    file = write_recipe(tmp_path / "language_model.json", recipe)
    changed = json.loads(file.read_text()) | {"steps": 7}
    file.write_text(json.dumps(changed))
    assert write_recipe(file, recipe) == file and json.loads(file.read_text())["steps"] == 7  # as somebody wants it
    for other in (
        lora_recipes(tiny_config(), "rocket", None, pictures, [kept]),
        lora_recipes(tiny_config(), "rocket", tmp_path / "other", pictures, []),
    ):
        with pytest.raises(RecipeError, match=r"language_model\.json.*--out"):
            write_recipe(file, other["language_model"])


def test_a_recipe_that_could_not_be_written_is_written_anew(tmp_path, monkeypatch):
    recipe = lora_recipes(tiny_config(), "rocket", None, {tmp_path / "samples": 1.0}, [])["unet"]

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "fsync", full)
        write_recipe(tmp_path / "unet.json", recipe)
    assert json.loads(write_recipe(tmp_path / "unet.json", recipe).read_text())["stage"] == "unet"
    assert [file.name for file in tmp_path.iterdir()] == ["unet.json"]
