"""A LoRA of one thing: samples from pictures or shards of it, a recipe for each part, and the training of both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch
from tqdm import tqdm

from ..bundled import BUNDLED
from ..checkpoints.reader import open_checkpoint
from ..data import read_index, stream, write_samples
from ..data.shards import INDEX, count_samples, read_about
from ..errors import INTERRUPTED, WeGenError
from ..network.configuration import WeGenConfig
from ..network.threads import threads
from ..pipeline import Pipeline
from .buckets import enlargement, nearest_bucket
from .checkpoint_run import CheckpointRun
from .distributed import process_count
from .lora_recipes import is_small, lora_recipes, write_recipe
from .own_pictures import (
    OwnPicture,
    described_pictures,
    exchanged_samples,
    make_samples,
    mention_samples,
    name_alone,
    read_pictures,
    same_pictures,
)
from .recipe import CHECKPOINT_STAGES, UNET
from .unet_stage import UNetOptions, least_step
from .unknown_things import unknown_masks

SHORTER_SIDE = 1.5
"""Times the checkpoint's own size that pictures keep on their shorter side: enough for buckets of any proportions."""
MOST_KEPT_SAMPLES = 1000
"""Samples to keep into whose words a thing is put, at most."""
SHARDS_WEIGHT = 0.5
"""Weight of shards of videos, beside samples that are made of their pictures."""
LONGEST_TITLE = 200
"""Bytes of what a LoRA's files are called; their endings follow."""


@dataclass(frozen=True)
class LoraRun:
    """What a LoRA is trained with, and where.

    Attributes:
        pictures: folder of pictures with captions in .txt files beside them, or of shards.
        out: folder of the run; samples, recipes, checkpoints, logs and results are in it.
        name: what the thing is called, in the words that prompts will use; empty trains with shards as they are.
        checkpoint: folder, packed or published; None for the bundled one.
        keep: folders of samples on which the model must stay as it is.
        stages: the parts that are trained, of `CHECKPOINT_STAGES`.
    """

    pictures: Path
    out: Path
    name: str = ""
    checkpoint: Path | None = None
    keep: Sequence[Path] = ()
    stages: Sequence[str] = CHECKPOINT_STAGES

    def __post_init__(self):
        object.__setattr__(self, "name", " ".join(self.name.split()))

    @property
    def samples(self) -> Path:
        """Shards of the pictures."""
        return self.out / "samples"

    @property
    def mentions(self) -> Path:
        """Shards of the thing beside and on what samples to keep show; there may be none."""
        return self.out / "said"

    @property
    def exchanged(self) -> Path:
        """Shards of the thing as one picture has it where another has it; there may be none."""
        return self.out / "exchanged"

    @property
    def are_shards(self) -> bool:
        """Whether the pictures are in shards."""
        return (self.pictures / INDEX).is_file()

    def kept_shards(self) -> list[Path]:
        """`keep`, as recipes name them wherever they stand."""
        return [folder.resolve() for folder in self.keep]

    def config(self) -> WeGenConfig:
        """That of the checkpoint."""
        return open_checkpoint(self.checkpoint or BUNDLED).config

    def prepare(self, resume: bool, say: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
        """Write the samples and the recipes of both parts, or find those of a run that is to go on.

        Args:
            resume: go on with a run that was begun in this folder.
            say: is told how many pictures were found, and what with them.

        Returns:
            The recipe of each part, by its name, in the order in which they are trained.

        Raises:
            WeGenError: the thing has no name, the pictures are none or too small, the folder holds a run that is not
                to go on, or one that was begun with others, or a recipe or what it names cannot be used.
        """
        if not (self.are_shards or self.name):
            raise WeGenError("Say what the thing in the pictures is called: --name NAME.")
        config = self.config()
        for folder in self.keep:
            read_index(folder)  # raises for a bad one before pictures are looked at
        learned = {self.pictures.resolve(): SHARDS_WEIGHT if self.name else 1.0} if self.are_shards else {}
        if self.name:
            self._prepare_samples(config, resume, say)
            learned[self.samples.resolve()] = 1.0
        title = re.sub(r"[^\w.-]+", "_", self.name or self.pictures.resolve().name).strip("_") or "lora"
        more = [folder.resolve() if (folder / INDEX).is_file() else None for folder in (self.mentions, self.exchanged)]
        title = os.fsencode(title)[:LONGEST_TITLE].decode(errors="ignore")
        recipes = lora_recipes(config, title, self.checkpoint, learned, self.kept_shards(), *more, self.name)
        self.out.mkdir(parents=True, exist_ok=True)
        files = {stage: write_recipe(self.out / f"{stage}.json", recipe) for stage, recipe in recipes.items()}
        for stage in self.stages:
            CheckpointRun(files[stage], self.out).check()  # of all parts, before the first one is trained for hours
        return files

    def _prepare_samples(self, config: WeGenConfig, resume: bool, say: Callable[[str], None]) -> None:
        """Write the samples, unless those of an earlier run, or of another part, are there and may be used."""
        side = round(SHORTER_SIDE * config.size)
        if (self.samples / INDEX).is_file():
            if not resume and len(self.stages) == len(CHECKPOINT_STAGES):
                raise WeGenError(
                    f"{self.out} holds a training already. Go on with it by --resume, or choose another --out."
                )
            self.require_same_pictures(side)
            return
        pictures = self.read(side)
        captions = sum(one.caption != name_alone(self.name) for one in pictures)
        masks = sum(one.mask is not None for one in pictures)
        say(f"{len(pictures)} pictures, {captions} of them with captions, {masks} with masks")
        if UNET in self.stages:
            _refuse_small(pictures, config)
        if is_small(config) and self.keep and masks < len(pictures):
            pictures = _with_masks(pictures, self.checkpoint or BUNDLED)
            estimated = sum(one.mask is not None for one in pictures) - masks
            say(f"masks of {estimated} of the other {len(pictures) - masks} are estimated")
        self.write_samples(pictures)

    def read(self, side: int) -> list[OwnPicture]:
        """The pictures of the folder, their shorter side at `side` pixels at most, or those of shards that are
        described by words with the name in them.

        Raises:
            WeGenError: there are none, or one cannot be read.
        """
        if not self.are_shards:
            return read_pictures(self.pictures, self.name, side)
        count = count_samples(self.pictures)
        pictures = described_pictures(lambda: islice(stream(self.pictures, None), count), self.name)
        if not pictures:
            raise WeGenError(
                f"No picture in {self.pictures} is described by words with {self.name!r} in them. Say what it is "
                "called there, or leave --name out to train with the shards as they are."
            )
        return pictures

    def write_samples(self, pictures: Sequence[OwnPicture]) -> None:
        """Write samples of the pictures, and of the thing beside what samples to keep show, where there are any."""
        about = {"pictures": len(pictures), "of": str(self.pictures.resolve()), "thing": self.name}
        # Small pictures are done before anyone wonders; of a thousand large ones each takes a second.
        counted = partial(tqdm, desc="samples", unit="sample", leave=False, delay=2)
        keep = self.kept_shards()
        some = [min(count_samples(one), MOST_KEPT_SAMPLES // len(keep)) for one in keep]
        others = [sample for one, count in zip(keep, some, strict=True) for sample in islice(stream(one, None), count)]
        for folder, made in (
            (self.mentions, mention_samples(pictures, self.name, others)),
            (self.exchanged, exchanged_samples(pictures, others)),
        ):
            first = next(made, None)
            if not (self.samples / INDEX).exists():
                (folder / INDEX).unlink(missing_ok=True)  # of a run that got no further, perhaps with other pictures
            if first is not None:
                write_samples(folder, counted(chain([first], made)), about=about)
        write_samples(self.samples, counted(make_samples(pictures, self.name)), about=about)

    def require_same_pictures(self, side: int) -> None:
        """See that a run that is to go on was begun with this name and these pictures, which may have been moved since,
        or taken away.

        Args:
            side: as in `read`.

        Raises:
            WeGenError: it was begun with others.
        """

        def refuse(word: str, before: str, now: str) -> None:
            raise WeGenError(
                f"{self.out} was begun with {word} {before!r}, not {now!r}. Choose another --out, or give what it was "
                "begun with."
            )

        about, now = read_about(self.samples), str(self.pictures.resolve())
        if (before := about.get("thing", self.name)) != self.name:
            refuse("the name", before, self.name)
        before = about.get("of", now)
        if before == now and (self.are_shards or not self.pictures.is_dir()):  # gone, or too much to go through again
            return
        made = islice(stream(self.samples, None), count_samples(self.samples))
        if not same_pictures(made, self.read(side)):
            if before != now:
                refuse("the pictures in", before, now)
            raise WeGenError(
                f"The pictures, captions or masks in {self.pictures} are not those that {self.out} was begun with. "
                "Choose another --out for the new ones, or put the old ones back."
            )

    def train(
        self,
        recipes: Mapping[str, Path],
        resume: bool,
        until: int | None,
        share_cores: bool,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        """Train the parts, each as its recipe says.

        Args:
            recipes: as `prepare` gives them.
            resume, until, say, warn: as in `CheckpointRun.train`.
            share_cores: train parts of small models on one thread each, and both at once where there are several;
                otherwise each has PyTorch's threads.

        Raises:
            WeGenError: see `CheckpointRun.train`.
            KeyboardInterrupt: stopped by the user; all is saved.
        """
        stages = [stage for stage in recipes if stage in self.stages]
        shares = share_cores and is_small(self.config())
        at_once = shares and len(stages) > 1 and _on_several_cores()
        command = ["train", "--config", str(recipes[UNET]), "--out", str(self.out), "--threads", "1"]
        command += ["--resume"] if resume else []
        command += ["--until", str(until)] if until else []
        with _beside(command) if at_once else nullcontext():
            for stage in stages:
                if at_once and stage == UNET:
                    continue
                # Two threads paint a small model's pictures at 2.4 steps a second, where one alone does 3.9: they wait
                # for each other.
                with threads(1 if shares and stage == UNET else None):
                    CheckpointRun(recipes[stage], self.out).train(resume, until, say, warn)


def _refuse_small(pictures: Sequence[OwnPicture], config: WeGenConfig) -> None:
    """Raises WeGenError where all pictures are too small for the UNet, before the language model is trained."""
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


def _with_masks(pictures: Sequence[OwnPicture], checkpoint: Path) -> list[OwnPicture]:
    """The pictures with masks of what the model cannot paint, where they have none and it can be told."""
    without = [number for number, one in enumerate(pictures) if one.mask is None]
    masked = list(pictures)
    found = unknown_masks(Pipeline.from_folder(checkpoint), [pictures[number].pixels for number in without])
    for number, mask in zip(without, found, strict=True):
        masked[number] = pictures[number]._replace(mask=mask)
    return masked


def _on_several_cores() -> bool:
    """Whether training is one process on a CPU that has several cores."""
    return process_count() == 1 and not torch.cuda.is_available() and torch.get_num_threads() > 1


@contextmanager
def _beside(command: Sequence[str]) -> Iterator[None]:
    """Run a command of `wegen` meanwhile, on a core of its own. Small models gain little from a second core: two parts,
    each on one of them, are done in three quarters of the time that one after the other takes on both.

    Raises:
        WeGenError: the command did not end well, and has said why.
        KeyboardInterrupt: it was interrupted.
    """
    package = __name__.rpartition(".training")[0]
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
