"""How this pack's errors and answers reach the person at the graph."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ...models.errors import AnsweredInWords


def answered_in_words(answer: AnsweredInWords, *outputs: Any) -> io.NodeOutput:
    """What a node gives whose model answered in words and drew nothing: the words, on the node too.

    That is no error: nodes behind `outputs` that are `NOTHING` do not run, all others do.
    """
    return io.NodeOutput(*outputs, ui=ui.PreviewText(str(answer)))


NOTHING = ExecutionBlocker(None)


def name_plainly(error: type[Exception]) -> None:
    """Give an error and those derived from it the name WeGen.

    The host puts module and class before an error's message, and the module of a pack is the path of its folder.
    """
    error.__module__, error.__qualname__ = "builtins", "WeGen"
    for derived in error.__subclasses__():
        name_plainly(derived)
