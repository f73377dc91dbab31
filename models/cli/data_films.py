"""`wegen data films`: short drawn films as video files with known truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeGenError
from ..paths import expanded
from .common import count, writable_folder

if TYPE_CHECKING:
    from ..data.diic.films import Film


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen data films` understands."""
    parser.description = (
        "Draw short films: things that stand and move before a camera that moves, in shots with cuts between them.\n"
        "What is in each frame is known exactly and stands beside each film, so `wegen data video --truth`\n"
        "needs no models. A run that was stopped goes on when it is started again with the same numbers."
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
        WeGenError: a folder that cannot be written or has other films of these names, or numbers out of their limits.
    """
    from tqdm import tqdm

    from ..data.diic.films import sample_film, write_film

    def film(number: int) -> Film:
        return sample_film(arguments.seed + number, arguments.shots, arguments.things, arguments.seconds)

    film(0)  # raises for numbers out of their limits, before a folder is made
    folder = writable_folder(arguments.out)
    paths = [folder / f"film-{number + 1}.mp4" for number in range(arguments.films)]
    missing = [number for number, path in enumerate(paths) if not _is_drawn(film(number), path)]
    drawn = len(paths) - len(missing)
    for number in tqdm(missing, unit="film", initial=drawn, total=len(paths), disable=None):
        write_film(film(number), paths[number])
    print(f"{arguments.films} films: {folder}")
    return 0


def _is_drawn(film: Film, path: Path) -> bool:
    """Whether an earlier run drew this film here: its truth is written before it, and it appears whole.

    Raises:
        WeGenError: something else is there.
    """
    from ..data.diic.films import truth_bytes, truth_file

    truth = truth_file(path)
    if truth.is_file() and truth.read_bytes() == truth_bytes(film) and (path.is_file() or not path.exists()):
        return path.exists()
    if other := next((one for one in (path, truth) if one.exists()), None):
        raise WeGenError(
            f"{other} is there already, and not of a film with these numbers. Give the ones that it was drawn with to "
            "go on, choose another folder with --out, or remove it first."
        )
    return False
