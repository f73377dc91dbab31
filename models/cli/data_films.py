"""`wegen data films`: short drawn films as video files with known truth."""

from __future__ import annotations

import argparse

from ..errors import WeGenError
from ..paths import expanded
from .common import count, writable_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen data films` understands."""
    parser.description = (
        "Draw short films: things that stand and move before a camera that moves, in shots with cuts between them.\n"
        "What is in each frame is known exactly and stands beside each film, so `wegen data video --truth`\n"
        "needs no models."
    )
    parser.add_argument("--out", type=expanded, required=True, metavar="DIR",
        help="folder for film-1.mp4, film-2.mp4 ...")  # fmt: skip
    parser.add_argument("--films", type=count, default=3, metavar="N", help="how many films; default %(default)s")
    parser.add_argument("--shots", type=count, default=3, metavar="N", help="shots of each film; default %(default)s")
    parser.add_argument(
        "--things", type=count, default=6, metavar="N", help="things in each shot, 1 to 20; default %(default)s"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, metavar="S", help="seconds of each shot, about; default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the first film; default %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the films; 0 when all went well.

    Raises:
        WeGenError: a folder that cannot be written or has such films, or numbers out of their limits.
    """
    from tqdm import tqdm

    from ..data.diic.films import sample_film, truth_file, write_film

    folder = writable_folder(arguments.out)
    paths = [folder / f"film-{number + 1}.mp4" for number in range(arguments.films)]
    there = [one for path in paths for one in (path, truth_file(path)) if one.exists()]
    if there:
        raise WeGenError(f"{there[0]} is there already. Give another folder with --out, or remove it first.")
    for number, path in enumerate(tqdm(paths, unit="film")):
        write_film(sample_film(arguments.seed + number, arguments.shots, arguments.things, arguments.seconds), path)
    print(f"{arguments.films} films: {folder}")
    return 0
