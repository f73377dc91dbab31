"""`wegen calibrate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

from ..errors import WeGenError
from ..paths import expanded
from .common import OK, count, progress_bars, read_picture, writable_folder

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen calibrate`."""
    parser.description = (
        "Measure how far apart a checkpoint's features are, and write that into its config.json: the threshold from\n"
        "which the predicted edit mask takes a cell for changed. Only the vision encoder and the VAE are loaded."
    )
    parser.add_argument("folder", type=expanded, help="a packed checkpoint folder")
    parser.add_argument("--pictures", type=expanded, required=True, metavar="DIR",
        help="pictures of the kind that the model is used for")  # fmt: skip
    parser.add_argument("--most", type=count, default=60, metavar="N", help="pictures looked at; default %(default)s")
    parser.add_argument("--device", default="cpu", help="such as cpu or cuda; default %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    import torch

    from ..evaluation.calibration import calibrate_folder

    try:
        torch.zeros(1, device=arguments.device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise WeGenError(f"The device {arguments.device!r} cannot be used: {reason}") from error
    files = _picture_files(arguments.pictures, arguments.most)
    if arguments.folder.is_dir():
        writable_folder(arguments.folder)  # what is measured for minutes goes there
    with progress_bars() as bars:
        pictures = map(read_picture, files)  # each is made small before the next one is read
        found = calibrate_folder(arguments.folder, pictures, arguments.device, on_progress=bars("calibrating"))
    statistics = found.statistics
    print(f"pictures     {found.pictures}")
    print(f"mean         {found.mean:.4g}  length of the feature that all cells have in common")
    print(f"spread       {statistics.spread:.4g}  of features around it")
    print(f"noise        {statistics.noise:.4g}  distance that 99 % of a picture's cells stay below after the VAE")
    print(f"threshold    {statistics.threshold:.4g}  distance from which on a cell counts as changed")
    print(f"found        {found.recall:.1%} of {found.changed} changed cells")
    print(f"false alarms {found.false_alarms:.1%} of {found.unchanged} unchanged cells")
    return OK


def _picture_files(folder: Path, most: int) -> list[Path]:
    """Picture files in `folder` but those that systems hide, at most so many: always the same ones, from all over
    it."""
    try:
        shown = (file for file in folder.iterdir() if not file.name.startswith("."))
        files = sorted(file for file in shown if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise WeGenError(f"Cannot read {folder}: {error.strerror}.") from error
    if not files:
        raise WeGenError(f"There are no pictures in {folder}; known are {', '.join(SUFFIXES)}.")
    return files if len(files) <= most else sorted(Random("calibrate").sample(files, most))
