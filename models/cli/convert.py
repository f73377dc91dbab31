"""`wegen convert`."""

from __future__ import annotations

import argparse

from ..paths import expanded
from .common import OK, PRECISIONS, each_once, progress_bars

DTYPES = (*PRECISIONS, "int8", "fp8", "w4a8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen convert`."""
    parser.description = (
        "Write the packed form of a published (or packed) checkpoint: config.json, the tokenizer, and one safetensors\n"
        "file a part. The VAE is always stored in fp32. An interrupted conversion leaves nothing that loads.\n"
        "int8, fp8 and w4a8 quantise the layers of the transformers, in the layout that ComfyUI runs. int8 is best;\n"
        "w4a8 takes about 60 % of its memory and is less accurate: docs/full-size.md has numbers."
    )
    parser.add_argument("source", type=expanded, help="the checkpoint folder to read")
    parser.add_argument("destination", type=expanded, help="the folder to write; must not exist yet")
    parser.add_argument("--dtype", choices=DTYPES, default="fp16", help="precision to store; default %(default)s")
    parser.add_argument(
        "--part",
        type=part_and_dtype,
        action="append",
        default=[],
        metavar="PART=DTYPE",
        help="another precision for vision_encoder, language_model or unet (the VAE has fp32 only); repeatable",
    )
    parser.set_defaults(run=run)


def part_and_dtype(text: str) -> tuple[str, str]:
    """`PART=DTYPE` of an option."""
    part, _, dtype = text.partition("=")
    if dtype not in DTYPES:
        raise argparse.ArgumentTypeError(f"write it as PART=DTYPE with one of {', '.join(DTYPES)}, not {text!r}")
    return part, dtype


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..checkpoints.convert import convert

    parts = each_once("--part", arguments.part)
    with progress_bars() as bars:
        show = bars("writing", "B")
        written = convert(arguments.source, arguments.destination, arguments.dtype, show, parts)
    print(written)
    return OK
