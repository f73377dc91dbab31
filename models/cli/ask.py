"""`wegen ask`."""

from __future__ import annotations

import argparse

from .common import OK, add_model_options, load_pipeline, named_file, read_picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen ask`."""
    parser.description = "Ask about pictures; the answer is printed."
    parser.add_argument("question", help="your question; @NAME means a --reference")
    parser.add_argument("--reference", action="append", default=[], type=named_file, metavar="NAME=FILE",
        help="a picture that the question is about; may be repeated")  # fmt: skip
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..prompting.asking import ask
    from ..values import References

    pictures = [(name, read_picture(file)) for name, file in arguments.reference]
    pipeline = load_pipeline(arguments)
    references = References()
    for name, picture in pictures:
        references = references.add(pipeline.encode_reference(name, picture))
    print(ask(pipeline.wegen, arguments.question, references))
    return OK
