"""`wegen demo`: the whole story on the bundled model in one run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

from ..bundled import BUNDLED
from ..errors import WeGenError, naming
from ..paths import expanded, replace_file
from .common import OK, add_model_options, load_pipeline, writable_folder

STORY, ROCKET, CLIPS = "story", "rocket", "clips"
ROCKETS = 10
FILMS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen demo`."""
    parser.description = (
        "One vague wish and six different pictures, two references in one scene, a chat of four refinements, and a\n"
        "question, all by the bundled model. Writes the pictures, a contact sheet and the timings.\n"
        "`wegen demo rocket` writes ten pictures of a rocket, a thing that the bundled model does not know, to train\n"
        "a LoRA with; `wegen demo clips` writes three short clips of it."
    )
    parser.add_argument(
        "what", nargs="?", choices=(STORY, ROCKET, CLIPS), default=STORY, help="what to make; default %(default)s"
    )
    parser.add_argument(
        "--out",
        type=expanded,
        help="output folder; default ./demo, or ./demo-2 and so on where that has pictures of a demo, ./rocket or "
        "./clips",
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    if arguments.what != STORY:
        options = {"model": BUNDLED, "device": None, "precision": None, "lora": []}
        given = [f"--{name}" for name, default in options.items() if getattr(arguments, name) != default]
        if given:
            raise WeGenError(f"`wegen demo {arguments.what}` uses no model; leave out {', '.join(given)}.")
    if arguments.what == ROCKET:
        folder = arguments.out or Path(ROCKET)
        print(f"{write_rockets(writable_folder(folder))} pictures with captions: {folder}")
        return OK
    if arguments.what == CLIPS:
        folder = arguments.out or Path(CLIPS)
        print(f"{write_clips(writable_folder(folder))} clips: {folder}")
        return OK
    from .demo_story import FILES, run_demo

    out = arguments.out or _free_folder(Path("demo"), FILES)
    writable_folder(out)
    if there := _first_there(out, FILES):
        raise WeGenError(f"{there} is there already. Choose another folder with --out, or move it.")
    run_demo(load_pipeline(arguments), out)
    return OK


def _first_there(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that is in a folder; None where there is none."""
    return next((folder / name for name in names if os.path.lexists(folder / name)), None)


def _free_folder(folder: Path, names: Sequence[str]) -> Path:
    """The folder, or one with a number behind its name, in which none of these files is: somebody may have changed
    those of an earlier run, or put others there."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(one for one in chain([folder], numbered) if _first_there(one, names) is None)


def write_rockets(folder: Path) -> int:
    """Write pictures of a rocket on storybook pages, each with its caption in a text file; gives how many.

    Raises:
        WeGenError: a file is there already that holds something else, as a caption that was edited does.
    """
    import io
    from random import Random

    from PIL import Image

    from ..storybook.rocket import page_with_rocket

    files: dict[str, bytes] = {}
    for number in range(ROCKETS):
        pixels, caption, _ = page_with_rocket(Random(f"rocket/{number}"))
        picture = io.BytesIO()
        Image.fromarray(pixels).save(picture, format="png")
        files[f"rocket_{number}.png"] = picture.getvalue()
        files[f"rocket_{number}.txt"] = f"{caption}\n".encode()
    _write_unless_changed(folder, files)
    return ROCKETS


def write_clips(folder: Path) -> int:
    """Write clips of the rocket as video files, each with its truth beside it; gives how many.

    Raises:
        WeGenError: a file is there already that holds something else.
    """
    from tempfile import TemporaryDirectory

    from ..data.diic.films import write_film
    from ..data.diic.rocket_films import sample_rocket_film

    with TemporaryDirectory() as made:
        for number in range(FILMS):
            write_film(sample_rocket_film(number), Path(made) / f"rocket_{number}.mp4")
        _write_unless_changed(folder, {file.name: file.read_bytes() for file in sorted(Path(made).iterdir())})
    return FILMS


def _write_unless_changed(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files by their names, all or none: what is there already and differs is somebody's own work."""
    for name, content in files.items():
        path = folder / name
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise WeGenError(f"{path} is there already and holds something else; choose another folder with --out.")
    for name, content in files.items():
        with naming(folder / name):
            replace_file(folder / name, content)
