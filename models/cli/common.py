"""What several commands share: options, pictures and masks from files, loading, and progress bars."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundled import BUNDLED
from ..errors import PACK, WeGenError, naming
from ..paths import LONGEST_FILE_NAME, expanded, write_whole

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..pipeline import Pipeline

OK, FAILED, USER_ERROR, ANSWERED, PIPE_CLOSED = 0, 1, 2, 3, 141
"""Exit codes, beside `errors.INTERRUPTED`."""
PRECISIONS = ("fp32", "fp16", "bf16")
_MOST_NUMBERS = 2**20  # bytes
_MOST_THREADS = 1024
_VERSION = re.compile(r'^version = "(.+)"$', re.MULTILINE)
_PNG = b"\x89PNG\r\n\x1a\n"
_DARKEST_MASK = 0.1
"""Masks that are nowhere brighter hold labels, of 0 and 1 out of 255 as a rule, and would mean nothing."""


def package_version() -> str:
    """The version of this package, or a word that says there is none."""
    from importlib.metadata import PackageNotFoundError, version

    # A checkout may not be installed at all, as in ComfyUI, and one that is knows the version of that day only.
    file = PACK / "pyproject.toml"
    written = _VERSION.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    if written:
        return written[1]
    try:
        return version("wegen")
    except PackageNotFoundError:
        return "(not installed)"


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which checkpoint, where, and how precise."""
    add = parser.add_argument
    add("--model", type=expanded, default=BUNDLED,
        help="checkpoint folder, packed or published; default the bundled nano")  # fmt: skip
    add("--device", help="such as cpu or cuda; default a GPU where there is one")
    add("--precision", choices=PRECISIONS, help="precision of the arithmetic; default fp32 on the CPU, else fp16")
    add_lora_option(parser)


def add_lora_option(parser: argparse.ArgumentParser) -> None:
    """LoRA files to add to the checkpoint."""
    parser.add_argument("--lora", action="append", default=[], type=_lora, metavar="FILE[=STRENGTH]",
        help="a LoRA of `wegen train lora`, of the UNet or the language model; may be repeated")  # fmt: skip


def _lora(text: str) -> tuple[Path, float]:
    file, equals, strength = text.rpartition("=")
    if not equals or os.path.isfile(expanded(text)):
        return expanded(text), 1.0
    try:
        return expanded(file), float(strength)
    except ValueError:
        raise argparse.ArgumentTypeError(f"write it as FILE or FILE=STRENGTH, not {text!r}") from None


def each_once(option: str, pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """What an option that may be repeated gives to each of several things.

    Raises:
        WeGenError: one of them stands there twice.
    """
    found: dict[Any, Any] = {}
    for thing, value in pairs:
        if thing in found:
            raise WeGenError(f"{option} names {thing} twice; leave out one of them.")
        found[thing] = value
    return found


def checked_loras(arguments: argparse.Namespace) -> dict[Path, float]:
    """The files of `--lora` with their strengths, which are read before the checkpoint: that may take minutes.

    Raises:
        WeGenError: one stands there twice or cannot be read, or its strength is out of range.
    """
    from ..checkpoints.lora import check_strength, read_lora

    loras = each_once("--lora", arguments.lora)
    for file, strength in loras.items():
        read_lora(file)
        check_strength(strength)
    return loras


def load_pipeline(arguments: argparse.Namespace) -> Pipeline:
    """The checkpoint that the options of `add_model_options` name."""
    import torch

    from ..pipeline import Pipeline

    loras = checked_loras(arguments)
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    precision = arguments.precision or ("fp32" if device.startswith("cpu") else "fp16")
    return Pipeline.from_folder(arguments.model, device, types[precision]).with_loras(loras)


def writable_folder(folder: Path) -> Path:
    """The folder, made where it is missing, after a try whether a file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WeGenError(f"Cannot write to {folder}: {error.strerror}.") from error
    return folder


def output_file(text: str) -> Path:
    """A file that an option says to write at the end, seen to be possible before the work begins."""
    path = expanded(text)
    # Those of `os.path` say no of names that are too long, and of places where one may not look.
    there = next(one for one in path.absolute().parents if os.path.exists(one))
    if os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is a folder; give a file")
    written = path if os.path.exists(path) else there
    if len(os.fsencode(path.name)) > LONGEST_FILE_NAME or not os.path.isdir(there) or not os.access(written, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written; choose another place")
    return path


def output_numbers(text: str) -> Path:
    """The same of a JSON file of numbers; any other file that is there stays."""
    path = output_file(text)
    if os.path.isfile(path) and os.path.getsize(path):
        try:
            told = json.loads(path.read_bytes()) if os.path.getsize(path) < _MOST_NUMBERS else None
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or not all(
            value is None or type(value) in (int, float) for value in told.values()
        ):
            raise argparse.ArgumentTypeError(f"{path} is there already and holds no numbers; choose another name")
    return path


def output_picture(text: str) -> Path:
    """The same of a PNG file."""
    if Path(text).suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    path = output_file(text)
    if os.path.isfile(path) and os.path.getsize(path):
        with path.open("rb") as file:
            if file.read(len(_PNG)) != _PNG:
                raise argparse.ArgumentTypeError(f"{path} is there already and is no PNG; choose another name")
    return path


def write_numbers(path: Path, numbers: Mapping[str, Any]) -> None:
    """Write numbers by name as JSON, as `write_whole` does.

    What is no number, or not finite, becomes null, as JSON has no word for it.
    """
    with naming(path):
        write_whole(path, json.dumps(_finite(numbers), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def named_file(text: str) -> tuple[str, Path]:
    """`NAME=FILE` of an option."""
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"write it as NAME=FILE, not {text!r}")
    return name.removeprefix("@"), expanded(file)


def count(text: str) -> int:
    """A whole number of 1 or more of an option."""
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def threads(text: str) -> int:
    """How many threads of the CPU an option asks for."""
    wanted = count(text)
    if wanted > _MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is too large; give at most {_MOST_THREADS}")
    return wanted


def positive(text: str) -> float:
    """A finite number above 0 of an option."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def read_picture(file: Path) -> Image.Image:
    """A picture file as RGB, the right side up."""
    from ..media.images import read_picture

    return read_picture(file)


def read_mask(file: Path | None) -> Tensor | None:
    """A mask file's grey values, `[H, W]` in 0..1; transparent parts count as white.

    Raises:
        WeGenError: the file cannot be read, is nearly black, or is white on transparency, where nothing of the mask
            would be left.
    """
    from PIL import Image

    from ..media.images import from_pil

    if file is None:
        return None
    mask = from_pil(read_picture(file)).mean(dim=-1)
    brightest, white = 255 * float(mask.max()), 255
    if brightest == 0:
        with Image.open(file) as opened:
            if opened.mode.startswith("I"):  # of 16 bits: the lowest of them are black in 8
                brightest, white = opened.getextrema()[1], 65535
    if 0 < brightest < _DARKEST_MASK * white:
        raise WeGenError(
            f"The mask {file} is nearly black: its brightest value is {brightest:.0f}, and white is {white}. Make "
            "one of labels black and white first."
        )
    if float(mask.min()) == 1:
        with Image.open(file) as opened:
            alpha = opened.convert("RGBA").getchannel("A").getextrema()
        if alpha[0] < 255:
            raise WeGenError(
                f"The mask {file} is white everywhere, as transparent parts count as white. Put it on black, and save "
                "it without transparency."
            )
    return mask


def is_terminal() -> bool:
    """Whether somebody is looking at stderr."""
    return sys.stderr.isatty()


@contextmanager
def progress_bars() -> Iterator[Callable[..., Callable[..., None]]]:
    """Gives a maker of `on_...` callbacks, each of which shows a bar on stderr from its first step on.

    Nothing is shown where stderr is no terminal: bars would fill a log.
    """
    from tqdm import tqdm

    bar: tqdm | None = None

    def close() -> None:
        nonlocal bar
        if bar is not None:
            bar.close()
            bar = None

    def callback(label: str, unit: str = "it") -> Callable[..., None]:
        def show(done: int, total: int, *_) -> None:
            nonlocal bar
            if not is_terminal():
                return
            if bar is None or bar.desc != label or done <= bar.n:
                close()
                bar = tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", unit_divisor=1024)
            bar.update(done - bar.n)
            if done >= total:
                close()

        return show

    try:
        yield callback
    finally:
        close()
