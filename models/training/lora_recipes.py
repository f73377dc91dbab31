"""The recipes of a LoRA that `wegen train lora` writes down: they can be changed and run again like any others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..network.configuration import WeGenConfig
from ..paths import write_whole
from .recipe import LANGUAGE_MODEL, UNET, RecipeError, read_json

SMALL = 512
"""Width of a language model up to which a LoRA learns fast, and the machine is taken to be a small one."""
KEPT = {LANGUAGE_MODEL: 0.8, UNET: 0.5}
"""Share of the samples that are only kept, where there are any."""
KEPT_TASKS: Mapping[str, float] = MappingProxyType({
    "text_to_picture": 3, "rewrite": 3, "caption": 1, "question": 17, "change_question": 0.5, "outside": 10,
    "refine": 1, "revise": 8, "chat": 2.5, "compose": 6, "add_reference": 2, "condition": 1, "restore": 1, "style": 1,
})  # fmt: skip
"""What the bundled model is held to. Of all that it was trained with, long chats say so much that little is left for
the short answers to questions, which a LoRA spoils first."""
MENTIONS_WEIGHT = 1.0
"""Weight of the thing beside and on what the model knows, to that of its pictures."""


def is_small(config: WeGenConfig) -> bool:
    return config.language.width <= SMALL


def lora_recipes(
    config: WeGenConfig,
    name: str,
    checkpoint: Path | None,
    samples: Mapping[Path, float],
    keep: Sequence[Path],
    mentions: Path | None = None,
    exchanged: Path | None = None,
    thing: str = "",
) -> dict[str, dict[str, Any]]:
    """A recipe for each part that a LoRA changes, by the part's name.

    Args:
        config: of the checkpoint.
        name: of the LoRA.
        checkpoint: its folder; None for the bundled one.
        samples: shards that are learned, and their weights.
        keep: shards on which the model is held to what it does already.
        mentions: shards with the thing beside what the model knows; None for none.
        exchanged: shards of pictures alone, of which only the UNet learns; None for none.
        thing: what it is called. Samples to keep that name it are left out.
    """
    small = is_small(config)
    learned: list[dict[str, Any]] = [{"shards": str(one), "weight": weight} for one, weight in samples.items()]
    if mentions:
        learned.append({"shards": str(mentions), "weight": MENTIONS_WEIGHT})
    painted = [*learned, {"shards": str(exchanged), "weight": 1.0}] if exchanged else learned

    def with_kept(entries: list[dict[str, Any]], part: str) -> list[dict[str, Any]]:
        weight = sum(entry["weight"] for entry in entries) * KEPT[part] / (1 - KEPT[part]) / max(1, len(keep))
        return entries + [{"shards": str(one), "weight": weight, "keep": True, "without": thing} for one in keep]

    common: dict[str, Any] = {
        "name": name,
        "data": with_kept(learned, LANGUAGE_MODEL),
        "checkpoint": "" if checkpoint is None else str(checkpoint.resolve()),
        "weight_decay": 0.0,
        "lora": {"rank": 16, "base": "fp32" if small else "int8", "words": small},
        "recompute": not small,
    }
    if small:
        common |= {"warmup": 20, "average": 0.98, "batch": 8, "learning_rate": 3e-3, "sheet_seconds": 1e9}
        language: dict[str, Any] = {"steps": 360, "decay": 260, "batch": 12}
        language["options"] = {
            "tokens": 0, "noise": 0.3, "feature_weight": 3.0, "direct": 0.25, "things": 4.0, "keep_weight": 12.0,
            "kept_changes": 10.0, "answers": 10.0, "kept_answers": 40.0,
        }  # fmt: skip
        unet = {"steps": 1600, "decay": 450}
        unet["options"] = {
            "noise": 0.12, "haze": 1.0, "offset": 0.2, "remember": 4096, "things": 4.0, "keep_weight": 2.0,
        }  # fmt: skip
    else:
        common |= {"warmup": 50, "average": 0.0, "learning_rate": 1e-4, "batch": 1, "accumulate": 8}
        language = {"steps": 1000, "decay": 500, "options": {"tokens": 2048, "noise": 0.05}}
        unet = {"steps": 1000, "decay": 500, "options": {"noise": 0.05}}
    return {
        LANGUAGE_MODEL: {"stage": LANGUAGE_MODEL, **common, **language},
        UNET: {"stage": UNET, **common, **unet, "data": with_kept(painted, UNET)},
    }


def write_recipe(file: Path, recipe: Mapping[str, Any]) -> Path:
    """Write a recipe, unless it is there already: then other entries may have been changed by hand.

    Shards in the recipe's own folder are named from there, so that the folder can be moved.

    Raises:
        RecipeError: the one that is there is of another checkpoint, or of other data.
    """
    here = file.parent.resolve()
    if not file.exists():
        data = [{**entry, "shards": _from(here, entry["shards"])} for entry in recipe["data"]]
        write_whole(file, json.dumps({**recipe, "data": data}, indent=2) + "\n")
        return file
    found = read_json(file)
    for name in ("checkpoint", "data"):
        was, now = (_resolved(here, one.get(name)) for one in (found, recipe))
        if was != now:
            raise RecipeError(
                f"{file} was written for another {name!r} than these options ask for: {was!r}, and now {now!r}. Choose "
                "another --out, or give the options that it was written with; one that was changed by hand runs with "
                "`wegen train --config`."
            )
    return file


def _from(here: Path, path: str) -> str:
    """The path of a folder as a recipe in `here` names it."""
    return Path(path).relative_to(here).as_posix() if Path(path).is_relative_to(here) else path


def _resolved(here: Path, value: Any) -> Any:
    """An entry with whole paths of shards; others are as they are."""
    if not isinstance(value, list) or not all(isinstance(one, dict) and "shards" in one for one in value):
        return value
    return [{**one, "shards": str(here / str(one["shards"]))} for one in value]
