"""How this pack's errors reach the person at the graph."""

from __future__ import annotations


def name_plainly(error: type[Exception]) -> None:
    """Give an error and those derived from it the name WeGen.

    The host puts module and class before an error's message, and the module of a pack is the path of its folder.
    """
    error.__module__, error.__qualname__ = "builtins", "WeGen"
    for derived in error.__subclasses__():
        name_plainly(derived)
