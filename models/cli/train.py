"""`wegen train`: a LoRA from pictures, any checkpoint from a configuration, or all of nano from nothing.

What training needs is imported when it begins, so that the command line's help answers at once, and without it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeGenError, how_to_install, is_out_of_memory
from ..paths import expanded
from ..training.recipe import CHECKPOINT_STAGES, STAGES, TOKENIZER, UNET, VAE, read_recipe
from .common import INTERRUPTED, count

if TYPE_CHECKING:
    from ..network.configuration import WeGenConfig
    from ..training.checkpoint_run import CheckpointRun
    from ..training.own_pictures import OwnPicture
    from ..training.training_run import TrainingRun

NANO, LORA = "nano", "lora"
NANO_RECIPES = Path(__file__).parents[1] / "training" / "nano"
PACK = "pack"
CALIBRATED = 60
"""Pages on which the features of a finished model are measured."""
SAMPLES, SAID, EXCHANGED = "samples", "said", "exchanged"
COVERED = 1.5
"""Times the checkpoint's own size that pictures keep on their shorter side: enough for buckets of any proportions."""
OTHERS = 1000
"""Samples to keep into whose words a thing is put, at most."""
CHATS = 0.5
"""Weight of shards of videos, beside samples that are made of their pictures."""


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
    add("--threads", type=count, help="CPU threads (default: PyTorch's choice)")
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
    if (arguments.target is None) == (arguments.config is None):
        raise WeGenError("Say what to train: lora, nano, a folder of recipes, or --config FILE.")
    if arguments.target != LORA:
        _refuse(arguments, "pictures", "name", "model", "keep", why="is for `wegen train lora`")
    if _processes() > 1 and arguments.config is None:
        raise WeGenError(
            "Several processes train what --config names. Start `wegen train` for nano, a folder of recipes or a LoRA "
            "in one; for a LoRA it writes recipes that several can train: --config FILE."
        )
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.target == LORA:
        return _train_lora(arguments)
    out = arguments.out or Path("nano-run")
    path = NANO_RECIPES if arguments.target == NANO else Path(arguments.config or arguments.target)
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
            _train_checkpoint(path, out, arguments)
            return 0
    for stage in stages:
        run_stage(training_run, stage, arguments.resume, arguments.until)
    return 0


def _refuse(arguments: argparse.Namespace, *names: str, why: str) -> None:
    """Raise a WeGenError where one of these arguments is given, which would have no effect."""
    for name in names:
        if getattr(arguments, name):
            raise WeGenError(f"{'PICTURES' if name == 'pictures' else f'--{name}'} {why}; leave it out.")


def _train_lora(arguments: argparse.Namespace) -> int:
    """Samples from pictures, recipes for both parts, and the training of each."""
    from ..bundled import BUNDLED
    from ..checkpoints.reader import open_checkpoint
    from ..data.shards import INDEX
    from ..network.threads import threads
    from ..training.lora_recipes import is_small, lora_recipes, write_recipe

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
    keep = [folder.resolve() for folder in arguments.keep]
    given, name = arguments.pictures, " ".join((arguments.name or "").split())
    are_shards = (given / INDEX).is_file()
    if not (are_shards or name):
        raise WeGenError("Say what the thing in the pictures is called: --name NAME.")
    checkpoint = arguments.model or BUNDLED
    config = open_checkpoint(checkpoint).config
    learned = {given.resolve(): CHATS if name else 1.0} if are_shards else {}
    said, exchanged = out / SAID, out / EXCHANGED
    if name:
        samples, side = out / SAMPLES, round(COVERED * config.size)
        if (arguments.resume or arguments.stage) and (samples / INDEX).is_file():
            _refuse_others(samples, given, are_shards, name, side)
        elif (samples / INDEX).is_file():
            raise WeGenError(f"{out} holds a training already. Go on with it by --resume, or choose another --out.")
        else:
            pictures = _own_pictures(given, are_shards, name, side)
            if arguments.stage in (None, UNET):
                _refuse_small(pictures, config)
            if is_small(config) and keep:
                pictures = _with_masks(pictures, checkpoint)
            about = {"pictures": len(pictures), "of": str(given.resolve()), "thing": name}
            _write_lora_samples(pictures, about, keep, samples, said, exchanged)
        learned[samples.resolve()] = 1.0
    title = re.sub(r"[^\w.-]+", "_", name or given.resolve().name).strip("_") or "lora"
    more = [folder.resolve() if (folder / INDEX).is_file() else None for folder in (said, exchanged)]
    recipes = lora_recipes(config, title, arguments.model, learned, keep, *more, name)
    out.mkdir(parents=True, exist_ok=True)
    files = {stage: write_recipe(out / f"{stage}.json", recipe) for stage, recipe in recipes.items()}
    stages = list(files) if arguments.stage is None else [arguments.stage]
    shares_cores = is_small(config) and not arguments.threads
    at_once = shares_cores and len(stages) > 1 and _on_several_cores()
    with _beside(_training_command(files[UNET], out, arguments)) if at_once else nullcontext():
        for stage in stages:
            if at_once and stage == UNET:
                continue
            # Two threads paint a small model's pictures at 2.4 steps a second, where one alone does 3.9: they wait for
            # each other.
            with threads(1 if shares_cores and stage == UNET else None):
                _train_checkpoint(files[stage], out, arguments)
    return 0


def _refuse_small(pictures: Sequence[OwnPicture], config: WeGenConfig) -> None:
    """Raises WeGenError where all pictures are too small for the UNet, before the language model is trained."""
    from ..training.buckets import enlargement, nearest_bucket
    from ..training.unet_stage import UNetOptions, least_step

    needed, most = [], UNetOptions().enlarged
    for one in pictures:
        height, width = one.pixels.shape[:2]
        bucket = nearest_bucket(width, height, config.size, least_step(config))
        needed.append(enlargement(width, height, bucket))
    if min(needed) > most:
        raise WeGenError(
            f"All {len(pictures)} pictures are too small for a model of {config.size} pixels: the largest would be "
            f"enlarged {min(needed):.2g} times, and {most:g} times are allowed. Give larger ones, or train the "
            "language model alone: --stage language_model."
        )


def _on_several_cores() -> bool:
    """Whether training is one process on a CPU that has several cores."""
    import torch

    return _processes() == 1 and not torch.cuda.is_available() and torch.get_num_threads() > 1


def _processes() -> int:
    """How many processes train together, as `accelerate launch` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _training_command(file: Path, out: Path, arguments: argparse.Namespace) -> list[str]:
    """The command that trains one part on one core, as `arguments` say."""
    command = ["train", "--config", str(file), "--out", str(out), "--threads", "1"]
    command += ["--resume"] if arguments.resume else []
    return command + (["--until", str(arguments.until)] if arguments.until else [])


@contextmanager
def _beside(command: Sequence[str]) -> Iterator[None]:
    """Run another command of `wegen` meanwhile, on a core of its own. Small models gain little from a second core: two
    parts, each on one of them, are done in three quarters of the time that one after the other takes on both.

    Raises:
        WeGenError: the other command did not end well, and has said why.
        KeyboardInterrupt: it was interrupted.
    """
    import torch

    from ..network.threads import threads

    package = __name__.rpartition(".cli")[0]
    # The other one's progress bar stands on the line below.
    other = subprocess.Popen([sys.executable, "-m", package, *command], env={"TQDM_POSITION": "1", **os.environ})
    try:
        with threads(torch.get_num_threads() - 1):
            yield
        code = other.wait()
    except BaseException:
        other.terminate()  # it saves first; on Windows what it has saved before is left
        other.wait()
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise WeGenError(f"`wegen {' '.join(command)}` did not end well; see above. --resume goes on with it.")


def _own_pictures(given: Path, are_shards: bool, name: str, side: int) -> list[OwnPicture]:
    """The pictures of a folder, their shorter side at `side` pixels at most, or those of shards that are described by
    words with the name in them."""
    from itertools import islice

    from ..data import read_index, stream
    from ..training.own_pictures import described_pictures, read_pictures

    if not are_shards:
        return read_pictures(given, name, side)
    count = sum(count for _, count in read_index(given))
    pictures = described_pictures(lambda: islice(stream(given, None), count), name)
    if not pictures:
        raise WeGenError(
            f"No picture in {given} is described by words with {name!r} in them. Say what it is called there, or "
            "leave --name out to train with the shards as they are."
        )
    return pictures


def _with_masks(pictures: Sequence[OwnPicture], checkpoint: Path) -> list[OwnPicture]:
    """The pictures with masks of what the model cannot paint, where they have none and it can be told."""
    from ..pipeline import Pipeline
    from ..training.unknown_things import unknown_masks

    without = [number for number, one in enumerate(pictures) if one.mask is None]
    masked = list(pictures)
    if without:
        found = unknown_masks(Pipeline.from_folder(checkpoint), [pictures[number].pixels for number in without])
        for number, mask in zip(without, found, strict=True):
            masked[number] = pictures[number]._replace(mask=mask)
    return masked


def _refuse_others(samples: Path, given: Path, are_shards: bool, name: str, side: int) -> None:
    """Raises WeGenError where a run that is to go on was begun with another name or other pictures, which may have been
    moved since, or taken away."""
    from itertools import islice

    from ..data import read_index, stream
    from ..data.shards import read_about
    from ..training.own_pictures import same_pictures

    def refuse(word: str, before: str, now: str) -> None:
        raise WeGenError(
            f"{samples.parent} was begun with {word} {before!r}, not {now!r}. Choose another --out, or give what it "
            "was begun with."
        )

    about, now = read_about(samples), str(given.resolve())
    if (before := about.get("thing", name)) != name:
        refuse("the name", before, name)
    before = about.get("of", now)
    if before == now and (are_shards or not given.is_dir()):  # gone, or too much to go through again
        return
    made = islice(stream(samples, None), sum(count for _, count in read_index(samples)))
    if not same_pictures(made, _own_pictures(given, are_shards, name, side)):
        if before != now:
            refuse("the pictures in", before, now)
        raise WeGenError(
            f"The pictures or captions in {given} are not those that {samples.parent} was begun with. Choose another "
            "--out for the new ones, or put the old ones back."
        )


def _write_lora_samples(
    pictures: Sequence[OwnPicture],
    about: Mapping[str, Any],
    keep: Sequence[Path],
    samples: Path,
    said: Path,
    exchanged: Path,
) -> None:
    """Samples of the pictures, and of the thing beside what samples to keep show, where there are any."""
    from functools import partial
    from itertools import chain, islice

    from tqdm import tqdm

    from ..data import read_index, stream, write_samples
    from ..data.shards import INDEX
    from ..training.own_pictures import exchanged_samples, make_samples, mention_samples

    # Small pictures are done before anyone wonders; of a thousand large ones each takes a second.
    counted = partial(tqdm, desc="samples", unit="sample", leave=False, delay=2)
    some = [min(sum(count for _, count in read_index(one)), OTHERS // len(keep)) for one in keep]
    others = [sample for one, count in zip(keep, some, strict=True) for sample in islice(stream(one, None), count)]
    for folder, made in (
        (said, mention_samples(pictures, about["thing"], others)),
        (exchanged, exchanged_samples(pictures, others)),
    ):
        first = next(made, None)
        if not (samples / INDEX).exists():
            (folder / INDEX).unlink(missing_ok=True)  # of a run that got no further, perhaps with other pictures
        if first is not None:
            write_samples(folder, counted(chain([first], made)), about=about)
    write_samples(samples, counted(make_samples(pictures, about["thing"])), about=about)


def _train_checkpoint(file: Path, out: Path, arguments: argparse.Namespace) -> None:
    """Train one part of a finished checkpoint, and write what came of it."""
    from ..training.checkpoint_run import CheckpointRun
    from ..training.distributed import is_chief
    from ..training.loop import Rhythm, train
    from ..training.run_state import CHECKPOINT, load_average, require_built_on

    trained = CheckpointRun(file, out)
    recipe, folder = trained.recipe, trained.folder
    if is_chief() and (doubt := _memory_doubt(trained)):
        print(doubt, file=sys.stderr)
    stage = trained.stage()
    if arguments.resume and (folder / CHECKPOINT).is_file() and trained.done() >= recipe.steps:
        require_built_on(folder, stage.built_on)
        average = load_average(folder)[1]
        print(f"{recipe.stage}: {recipe.steps} steps are done")
    else:
        rhythm = Rhythm(recipe.save_seconds, recipe.sheet_seconds)
        try:
            average = train(stage, recipe, folder, arguments.resume, rhythm, arguments.until)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            option = "size" if recipe.stage == UNET else "tokens"
            raise WeGenError(
                f"Memory ran out in training the {recipe.stage}. Less is needed with a smaller 'batch', a smaller "
                f"{option!r} in 'options', or \"recompute\": true, all in {file}. --resume goes on; with `wegen train "
                f"lora` --stage trains one part alone. ({error})"
            ) from error
    if is_chief():
        result, done = trained.export(stage, average), trained.done()
        if done < recipe.steps:
            result = f"{result or 'no packed folder yet'}, unfinished: {done} of {recipe.steps} steps. --resume goes on"
        print(f"{recipe.stage}: {result}")


def _memory_doubt(trained: CheckpointRun) -> str:
    """What to say before weights are read where memory may not be enough; empty where it is."""
    from ..checkpoints.doctor import machine
    from ..checkpoints.needs import GIB

    counted, here = trained.memory(), machine()
    there = here.card or here.memory
    if counted is None or counted <= there * GIB:
        return ""
    option = "size" if trained.recipe.stage == UNET else "tokens"
    return (
        f"{trained.recipe.stage}: {counted / GIB:.1f} GB of memory are counted for this training, and "
        f"{'the card' if here.card else 'the machine'} has {there:.1f}. It is tried all the same; with a smaller "
        f"{option!r} in 'options' of {trained.file} it takes less."
    )


def calibrate_on_pages(folder: Path) -> None:
    """Measure a packed folder's features on pages of the storybook, for the mask that it predicts."""
    from PIL import Image

    from .. import storybook
    from ..evaluation.calibration import calibrate_folder
    from ..training.loop import HELD_OUT
    from ..training.pages import page

    numbers = range(HELD_OUT, HELD_OUT + CALIBRATED)
    calibrate_folder(folder, [Image.fromarray(storybook.render(page(1, number))) for number in numbers])


def run_stage(training_run: TrainingRun, stage: str, resume: bool, until: int | None = None) -> None:
    """Train one stage, or write the packed folder."""
    from ..training.loop import Rhythm, train
    from ..training.run_state import CHECKPOINT, load_average, require_built_on

    if stage in CHECKPOINT_STAGES:
        raise WeGenError(f"{stage!r} is a part of a finished checkpoint: train it with --config FILE.")
    if stage == PACK:
        folder = training_run.pack(calibrate_on_pages)
        print(f"packed: {folder}")
        return
    if stage == TOKENIZER:
        print(f"tokenizer: {training_run.learn_words().vocab_size} tokens")
        return
    recipe, folder = training_run.recipe(stage), training_run.folder(stage)
    if resume and (folder / CHECKPOINT).is_file() and load_average(folder)[0] >= recipe.steps:
        require_built_on(folder, training_run.built_on(stage))
        print(f"{stage}: {recipe.steps} steps are done")
    else:
        rhythm = Rhythm(recipe.save_seconds, recipe.sheet_seconds)
        train(training_run.stage(stage), recipe, folder, resume, rhythm, until)
    if stage == VAE:
        training_run.measure_vae()
