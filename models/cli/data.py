"""`wegen data`: training samples as WebDataset shards, of the storybook and of videos, to look at and to train with.

What making samples needs is imported when it begins, so that the command line's help answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from ..errors import WeGenError
from ..paths import expanded
from . import data_films, data_report, data_video
from .common import count, writable_folder

SAMPLES, SEED, SHARD_SIZE = 10_000, 1, 1000
OWN = ("nano", "words", "styles", "practice", "kinds", "more_words", "deeper", "anew", "stays")
"""Recipes of the bundled model's runs, the newest last: its mix is the one that is taken unless another is named."""
KEEP = "keep"
"""The mix of `training.lora_recipes`."""
_OTHERS = {
    "video": (data_video, "from videos to samples: cuts, things, tracks, pairs of frames, changes in words"),
    "report": (data_report, "a page about what `wegen data video` made"),
    "films": (data_films, "draw short films with known truth, to try it on"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen data` understands."""
    parser.description = (
        "Write samples of the storybook as WebDataset shards: pictures as PNG, and JSON that says in which order a\n"
        "model reads and writes them. `wegen train ... --data DIR` trains with them in place of fresh ones."
    )
    add = parser.add_argument
    own = [
        add("--out", type=expanded, metavar="DIR", dest="storybook_out", help="a new folder"),
        add("--samples", type=count, metavar="N", dest="storybook_samples",
            help=f"how many samples; default {SAMPLES}"),
        add("--seed", type=int, metavar="S", dest="storybook_seed", help=f"seed of the samples; default {SEED}"),
        add("--recipe", type=expanded, metavar="NAME|FILE", dest="storybook_recipe",
            help=f"which mix of tasks: that of a run of the bundled model, from {OWN[0]!r} (version 0.1) to "
            f"{OWN[-1]!r} (the newest, the default): {', '.join(OWN)}; {KEEP!r}: what a LoRA must leave alone; or the "
            "recipe of a stage 'agent'"),
        add("--shard-size", type=count, metavar="N", dest="storybook_shard_size",
            help=f"samples a file; default {SHARD_SIZE}"),
    ]  # fmt: skip
    parser.set_defaults(run=run)
    others = parser.add_subparsers(title="other sources", metavar="COMMAND")
    for name, (command, help_text) in _OTHERS.items():
        sub = others.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.add_arguments(sub)
        sub.set_defaults(run=partial(_run_other, sub.get_default("run"), name, own))


def _run_other(
    run: Callable[[argparse.Namespace], int],
    name: str,
    own: Sequence[argparse.Action],
    arguments: argparse.Namespace,
) -> int:
    """Raises WeGenError for options before the command's name, which would go unheeded."""
    for option in own:
        if getattr(arguments, option.dest) is not None:
            written = option.option_strings[0]
            raise WeGenError(f"{written} before {name} is about samples of the storybook; write it behind {name}.")
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Write the shards; 0 when all went well.

    Raises:
        WeGenError: no folder, a recipe without tasks, or a folder with anything but the shards of an unfinished run.
    """
    out, seed = arguments.storybook_out, SEED if arguments.storybook_seed is None else arguments.storybook_seed
    number, shard_size = arguments.storybook_samples or SAMPLES, arguments.storybook_shard_size or SHARD_SIZE
    if out is None:
        raise WeGenError("Say where the samples go: --out DIR.")
    from tqdm import tqdm

    from ..data import generate_samples, write_samples
    from ..training.lora_recipes import KEPT_TASKS

    _refuse_other_files(out)
    path = arguments.storybook_recipe or Path(OWN[-1])
    tasks = KEPT_TASKS if str(path) == KEEP and not path.is_file() else _tasks(path)
    writable_folder(out)
    samples = islice(generate_samples(tasks, seed), number)
    about = {"task_mix": dict(tasks), "seed": seed, "count": number}
    bar = tqdm(samples, total=number, unit="sample", mininterval=1.0, disable=None)
    shards = write_samples(out, bar, shard_size, about)
    print(f"{number} samples in {len(shards)} shards: {out}")
    return 0


def _refuse_other_files(folder: Path) -> None:
    """Raises WeGenError for a folder that holds anything but shards."""
    from ..data.shards import INDEX, unfinished_shards

    there = sorted(folder.iterdir()) if folder.is_dir() else []
    if folder / INDEX in there:
        return  # finished ones, which the writer refuses
    other = next((path.name for path in there if path not in unfinished_shards(folder)), None)
    if other is not None:
        raise WeGenError(f"{folder} is not empty: it holds {other}. Give a new folder with --out.")


def _tasks(path: Path) -> Mapping[str, float]:
    """The mix of a recipe of this package, by its name, or of a file."""
    from ..data.tasks import check_mix
    from ..training.recipe import AGENT, read_recipe
    from .train import NANO_RECIPES

    if str(path) in OWN and not path.is_file():
        path = NANO_RECIPES.parent / path / f"{AGENT}.json"
    elif not path.is_file():
        inside = f"; name a file in it, such as {path / f'{AGENT}.json'}" if path.is_dir() else ""
        raise WeGenError(
            f"--recipe {path} is no file of a recipe{inside}. Names of recipes are {', '.join((*OWN, KEEP))}."
        )
    tasks = read_recipe(path).options.get("tasks")
    if not tasks:
        raise WeGenError(f"{path} has no tasks to mix; give the recipe of the stage {AGENT!r}.")
    try:
        check_mix(tasks)
    except ValueError as error:
        raise WeGenError(f"{path}: {error}") from error
    return tasks
