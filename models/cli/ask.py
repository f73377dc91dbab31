"""`wegen ask`."""

from __future__ import annotations

import argparse

from ..errors import WeGenError
from ..paths import expanded
from .common import OK, add_model_options, load_pipeline, named_file, read_picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen ask`."""
    parser.description = "Ask about pictures, or about the last one of a chat; the answer is printed."
    parser.add_argument("question", help="your question; @NAME means a --reference")
    parser.add_argument("--reference", action="append", default=[], type=named_file, metavar="NAME=FILE",
        help="a picture that the question is about; may be repeated")  # fmt: skip
    parser.add_argument("--chat", type=expanded, metavar="FILE", help="a saved chat that the question is about")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code.

    Raises:
        WeGenError: before any weights are read, where the question or what it is about cannot be.
    """
    from ..encoding import look_at
    from ..media.chat_file import load_chat
    from ..media.images import from_pil
    from ..prompting.asking import ask
    from ..prompting.conversation import mentioned, references_at, require_question
    from ..values import Chat, Reference, References

    require_question(arguments.question)
    chat = Chat() if arguments.chat is None else load_chat(arguments.chat)
    pictures = [(name, read_picture(file)) for name, file in arguments.reference]
    named = References()
    for name, picture in pictures:  # raises for a name that cannot be one, or is given twice
        named = named.add(Reference(name, None, from_pil(picture)))
    mentioned(arguments.question, references_at(chat, len(chat), named))
    if not chat.turns and not pictures:
        raise WeGenError("There is nothing to ask about: give a picture as --reference NAME=FILE, or a --chat FILE.")
    pipeline = load_pipeline(arguments)
    chat = look_at(pipeline.wegen, chat)
    references = References()
    for name, picture in pictures:
        references = references.add(pipeline.encode_reference(name, picture))
    print(ask(pipeline.wegen, arguments.question, references, chat))
    return OK
