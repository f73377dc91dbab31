"""`wegen train`: a LoRA from pictures, any checkpoint from a configuration, or all of nano from nothing.

What training needs is imported when it begins, so that the command line's help answers at once, and without it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeGenError, how_to_install
from ..paths import expanded
from ..training.recipe import CHECKPOINT_STAGES, STAGES, TOKENIZER, read_recipe
from .common import count, threads, writable_folder

if TYPE_CHECKING:
    from ..training.training_run import TrainingRun

NANO, LORA = "nano", "lora"
NANO_RECIPES = Path(__file__).parents[1] / "training" / "recipes" / "nano"
PACK = "pack"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen train` understands."""
    parser.description = (
        "Train a LoRA from pictures (`wegen train lora PICTURES --name rocket --out rocket-lora`), a checkpoint from\n"
        "a configuration file, one stage of a folder of recipes, or all parts of nano from scratch."
    )
    add = parser.add_argument
    add("target", nargs="?", metavar="lora|nano|FOLDER|CONFIG",
        help="'lora', 'nano', a folder of recipes, or the JSON file of one stage")  # fmt: skip
    add("pictures", nargs="?", type=expanded, metavar="PICTURES",
        help="with 'lora': a folder of pictures with captions in .txt files beside them, or of shards")  # fmt: skip
    add("--config", type=expanded, metavar="FILE", help="the JSON file of one stage; the same as CONFIG")
    add("--out", type=expanded, help="folder of the run; default ./lora-run with 'lora', else ./nano-run")
    add("--stage", choices=[*STAGES, *CHECKPOINT_STAGES, PACK], help="only this stage of several")
    add(
        "--data",
        type=expanded,
        help="shards of `wegen data` for the language model of nano (stage 'agent'); default: fresh samples",
    )
    add("--name", help="with 'lora': what the thing is called, in the words that prompts will use")
    add("--model", type=expanded, help="with 'lora': checkpoint folder, packed or published; default the bundled nano")
    add("--keep", type=expanded, action="append", default=[], metavar="SHARDS",
        help="with 'lora': samples on which the model must stay as it is; may be repeated")  # fmt: skip
    add("--resume", action="store_true", help="go on where an earlier run in this folder stopped")
    add("--threads", type=threads, help="CPU threads (default: PyTorch's choice)")
    add("--until", type=count, help="stop after this many steps of the stage, to go on another time")
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

        from ..training.training_run import TrainingRun
    except ImportError as error:
        raise WeGenError(f"Training needs the package {error.name}: {how_to_install('train')}.") from error
    from ..training.checkpoint_run import CheckpointRun
    from ..training.distributed import process_count

    if (arguments.target is None) == (arguments.config is None):
        raise WeGenError("Say what to train: lora, nano, a folder of recipes, or --config FILE.")
    if arguments.target != LORA:
        _refuse(arguments, "pictures", "name", "model", "keep", why="is for `wegen train lora`")
    if process_count() > 1 and arguments.config is None:
        raise WeGenError(
            "Several processes train what --config names. Start `wegen train` for nano, a folder of recipes or a LoRA "
            "in one; for a LoRA it writes recipes that several can train: --config FILE."
        )
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.target == LORA:
        _train_lora(arguments)
        return 0
    out = arguments.out or Path("nano-run")
    path = NANO_RECIPES if arguments.target == NANO else Path(arguments.config or arguments.target)
    if not path.exists():
        raise WeGenError(
            f"There is no recipe and no folder {path}. Say what to train: {LORA}, {NANO}, a folder of recipes, or the "
            "JSON file of one stage."
        )
    if path.is_dir():
        known = [stage for stage in STAGES if (path / f"{stage}.json").is_file()]
        if not known:
            raise WeGenError(
                f"{path} has no recipe of {', '.join(STAGES)} in it. Name the recipe itself: --config FILE."
            )
        training_run = TrainingRun(path, out, arguments.data)
        stages = [arguments.stage] if arguments.stage else [*known, PACK]
    else:
        stages = [read_recipe(path).stage]
        training_run = TrainingRun(path.parent, out, arguments.data, {stages[0]: path})
        _refuse(arguments, "stage", why="is only for nano and folders of recipes; here the recipe says it")
        if stages[0] in CHECKPOINT_STAGES:
            _refuse(arguments, "data", why="is only for nano and folders of recipes; here the recipe says it")
            checkpoint_run = CheckpointRun(path, out)
            checkpoint_run.check()
            writable_folder(out)  # before weights are read
            checkpoint_run.train(arguments.resume, arguments.until, say=print, warn=_warn)
            return 0
    training_run.check([stage for stage in stages if stage != PACK])
    if PACK in stages:
        training_run.check_result()
    writable_folder(out)
    for stage in stages:
        run_stage(training_run, stage, arguments.resume, arguments.until)
        if arguments.until and stage not in (TOKENIZER, PACK):
            done, steps = training_run.done(stage), training_run.recipe(stage).steps
            if done < steps:  # what learned with it now could not go on when it is finished
                print(f"{stage}: unfinished, {done} of {steps} steps. --resume goes on")
                break
    return 0


def _refuse(arguments: argparse.Namespace, *names: str, why: str) -> None:
    """Raise a WeGenError where one of these arguments is given, which would have no effect."""
    for name in names:
        if getattr(arguments, name):
            raise WeGenError(f"{'PICTURES' if name == 'pictures' else f'--{name}'} {why}; leave it out.")


def _train_lora(arguments: argparse.Namespace) -> None:
    """Train a LoRA as the arguments say."""
    from ..training.lora_run import LoraRun

    _refuse(
        arguments,
        "data",
        why="is only for nano and folders of recipes; name pictures or shards after 'lora', and others with --keep",
    )
    if arguments.stage not in (None, *CHECKPOINT_STAGES):
        raise WeGenError(f"A LoRA has the stages {' and '.join(CHECKPOINT_STAGES)}, not {arguments.stage!r}.")
    if arguments.pictures is None:
        raise WeGenError("Say where the pictures are: wegen train lora PICTURES --name NAME.")
    out = arguments.out or Path("lora-run")
    if out.exists():  # one that is still to be made is made when pictures were found
        writable_folder(out)
    lora = LoraRun(
        pictures=arguments.pictures,
        out=out,
        name=arguments.name or "",
        checkpoint=arguments.model,
        keep=arguments.keep,
        stages=[arguments.stage] if arguments.stage else CHECKPOINT_STAGES,
    )
    recipes = lora.prepare(arguments.resume, say=print)
    lora.train(recipes, arguments.resume, arguments.until, share_cores=not arguments.threads, say=print, warn=_warn)


def _warn(text: str) -> None:
    """Say on stderr what may go wrong."""
    print(text, file=sys.stderr)


def run_stage(training_run: TrainingRun, stage: str, resume: bool, until: int | None = None) -> None:
    """Train one stage, or write the packed folder."""
    if stage == PACK:
        from ..evaluation.calibration import calibrate_on_pages

        print(f"packed: {training_run.pack(calibrate_on_pages)}")
    elif stage == TOKENIZER:
        print(f"tokenizer: {training_run.learn_words().vocab_size} tokens")
    else:
        training_run.train(stage, resume, until, say=print)
