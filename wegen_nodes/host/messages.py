"""How this pack's errors and answers reach the person at the graph."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ...models.errors import AnsweredInWords


def answered_in_words(answer: AnsweredInWords, *outputs: Any, **shown: Any) -> io.NodeOutput:
    """What a node gives whose model answered in words and drew nothing: the words, on the node too.

    That is no error: nodes behind `outputs` that are `NOTHING` do not run, all others do.

    Args:
        answer: the words.
        outputs: of the node.
        shown: what else the node shows in other runs, empty here: of lists, the host puts together what it finds in the
            first run, and fails where a later one lacks some of it.
    """
    return io.NodeOutput(*outputs, ui={**ui.PreviewText(str(answer)).as_dict(), **shown})


NO_PICTURES: Mapping[str, Any] = MappingProxyType({"images": (), "animated": (False,)})
"""What a node shows whose pictures were not drawn."""


NOTHING = ExecutionBlocker(None)


def name_plainly(error: type[Exception]) -> None:
    """Give an error and those derived from it the name WeGen.

    The host puts module and class before an error's message, and the module of a pack is the path of its folder.
    """
    error.__module__, error.__qualname__ = "builtins", "WeGen"
    for derived in error.__subclasses__():
        name_plainly(derived)
