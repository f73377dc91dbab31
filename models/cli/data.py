"""`wegen data`: training samples as WebDataset shards, of the storybook and of videos, to look at and to train with.

What making samples needs is imported when it begins, so that the command line's help answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from ..errors import WeGenError
from . import data_films, data_report, data_video
from .common import count

SHARD_SIZE = 1000
OWN = ("nano", "words", "styles", "practice", "kinds", "more_words", "deeper")
"""Recipes of this package."""
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
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--samples", type=count, default=10_000, metavar="N", help="how many; default %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the samples; default %(default)s")
    parser.add_argument("--recipe", type=Path, metavar="NAME|FILE",
        help="which mix of tasks: 'nano' (version 0.1, the default), 'words', 'styles', 'practice', 'kinds', "
        "'more_words', 'deeper' (last run of the bundled model), 'keep' (what a LoRA must leave alone), or the recipe "
        "of a stage 'agent'")  # fmt: skip
    parser.add_argument("--shard-size", type=count, default=SHARD_SIZE, metavar="N", help="samples a file; %(default)s")
    parser.set_defaults(run=run)
    others = parser.add_subparsers(title="other sources", metavar="COMMAND")
    for name, (command, help_text) in _OTHERS.items():
        sub = others.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.add_arguments(sub)


def run(arguments: argparse.Namespace) -> int:
    """Write the shards; 0 when all went well.

    Raises:
        WeGenError: no folder, a recipe without tasks, or a folder with anything but the shards of an unfinished run.
    """
    if arguments.out is None:
        raise WeGenError("Say where the samples go: --out DIR.")
    from tqdm import tqdm

    from ..data import generate_samples, write_samples
    from ..training.lora_recipes import KEPT_TASKS

    _refuse_other_files(arguments.out)
    path = arguments.recipe or Path(OWN[0])
    tasks = KEPT_TASKS if str(path) == KEEP and not path.is_file() else _tasks(path)
    samples = islice(generate_samples(tasks, arguments.seed), arguments.samples)
    about = {"task_mix": dict(tasks), "seed": arguments.seed, "count": arguments.samples}
    bar = tqdm(samples, total=arguments.samples, unit="sample", mininterval=1.0, disable=None)
    shards = write_samples(arguments.out, bar, arguments.shard_size, about)
    print(f"{arguments.samples} samples in {len(shards)} shards: {arguments.out}")
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
    from ..training.recipe import AGENT, read_recipe
    from .train import NANO_RECIPES

    if str(path) in OWN and not path.is_file():
        path = NANO_RECIPES.parent / path / f"{AGENT}.json"
    tasks = read_recipe(path).options.get("tasks")
    if not tasks:
        raise WeGenError(f"{path} has no tasks to mix; give the recipe of the stage {AGENT!r}.")
    return tasks
