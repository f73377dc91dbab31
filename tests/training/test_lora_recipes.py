"""The recipes that `wegen train lora` writes."""

import json

import pytest
from comfyui_wegen.models.training.lora_recipes import lora_recipes, write_recipe
from comfyui_wegen.models.training.recipe import RecipeError
from tiny import tiny_config


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
