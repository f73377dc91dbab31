"""`wegen train`: one stage, all of a folder of recipes, or all of nano from nothing but the repository.

What training needs is imported when it begins, so that the command line's help answers at once, and without it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeGenError
from ..training.recipe import STAGES, TOKENIZER, VAE, read_recipe

if TYPE_CHECKING:
    from ..training.loop import Rhythm
    from ..training.training_run import TrainingRun

NANO = "nano"
NANO_RECIPES = Path(__file__).parents[1] / "training" / "nano"
PACK = "pack"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen train` understands."""
    parser.description = "Train one stage from its configuration file, or all of nano from nothing but the repository."
    parser.add_argument(
        "target", metavar="nano|FOLDER|CONFIG", help="'nano', a folder of recipes, or the JSON file of one stage"
    )
    parser.add_argument("--out", type=Path, default=Path("nano-run"), help="folder of the run (default: ./nano-run)")
    parser.add_argument("--stage", choices=[*STAGES, PACK], help="with 'nano' or a folder: only this stage")
    parser.add_argument(
        "--data", type=Path, help="shards of `wegen data` to train the agent with; default fresh samples"
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run in this folder stopped")
    parser.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--until", type=int, help="stop after this many steps of the stage, to go on another time")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train what was asked for; 0 when all went well.

    Raises:
        WeGenError: a wrong configuration file, or training's own packages are missing.
        KeyboardInterrupt: stopped by the user; all is saved, and `--resume` goes on.
    """
    try:
        import accelerate  # noqa: F401 - asked for here, where it can be said how to get it
        import torch

        from ..training.loop import Rhythm
        from ..training.training_run import TrainingRun
    except ImportError as error:
        raise WeGenError(f"Training needs the package {error.name}: pip install 'wegen[train]'.") from error
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    path = NANO_RECIPES if arguments.target == NANO else Path(arguments.target)
    if path.is_dir():
        training_run = TrainingRun(path, arguments.out, arguments.data)
        known = [stage for stage in STAGES if (path / f"{stage}.json").is_file()]
        stages = [arguments.stage] if arguments.stage else [*known, PACK]
    else:
        training_run = TrainingRun(path.parent, arguments.out, arguments.data)
        stages = [read_recipe(path).stage]
    for stage in stages:
        run_stage(training_run, stage, arguments.resume, Rhythm(), arguments.until)
    return 0


def run_stage(training_run: TrainingRun, stage: str, resume: bool, rhythm: Rhythm, until: int | None = None) -> None:
    """Train one stage, or write the packed folder."""
    from ..training.loop import CHECKPOINT, load_average, train

    if stage == PACK:
        print(f"packed: {training_run.pack()}")
        return
    if stage == TOKENIZER:
        print(f"tokenizer: {training_run.learn_words().vocab_size} tokens")
        return
    recipe, folder = training_run.recipe(stage), training_run.folder(stage)
    if resume and (folder / CHECKPOINT).is_file() and load_average(folder)[0] >= recipe.steps:
        print(f"{stage}: {recipe.steps} steps are done")
    else:
        train(training_run.stage(stage), recipe, folder, resume, rhythm, until)
    if stage == VAE:
        training_run.measure_vae()
