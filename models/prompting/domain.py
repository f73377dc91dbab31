"""The door for closed worlds: what a checkpoint's language knows beyond what holds for any language.

A model of open language takes any words. A checkpoint that was trained in a closed world names it
(`WeGenConfig.world`); the world's own package is imported only then, and brings the words that it knows and its own
check of rewrites.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

from ..network.configuration import WeGenConfig
from .checks import NamedInWish, RewriteCheck


@dataclass(frozen=True)
class NormalisedPrompt:
    """A user's text in words that the model knows, and a plain sentence about each word that it does not know."""

    text: str
    notes: tuple[str, ...] = ()


class Domain(Protocol):
    """What a model's language knows."""

    def normalise_prompt(self, text: str) -> NormalisedPrompt:
        """A user's text in words that the model knows.

        Raises:
            WeGenError: the model knows none of the words.
        """

    def wish_check(self, wish: str, names: tuple[str, ...]) -> RewriteCheck:
        """Prefers among descriptions of a new picture.

        Args:
            wish: what the user wrote.
            names: of references that a description has to mention, without the @.
        """


class OpenLanguage:
    """Any words in any language: nothing is replaced."""

    def normalise_prompt(self, text: str) -> NormalisedPrompt:
        return NormalisedPrompt(text)

    def wish_check(self, wish: str, names: tuple[str, ...]) -> RewriteCheck:
        return NamedInWish(wish, names)


def domain_of(config: WeGenConfig) -> Domain:
    """The language of a checkpoint; the package of a closed world is imported now."""
    return _closed_world(config.world) if config.world else _OPEN


def normalise_prompt(config: WeGenConfig, text: str) -> NormalisedPrompt:
    """A user's text in words that the checkpoint knows."""
    return domain_of(config).normalise_prompt(text)


_OPEN = OpenLanguage()


@cache
def _closed_world(name: str) -> Domain:
    # The configuration takes no other names than those of packages beside this one.
    return import_module(f"...{name}.domain", __name__).DOMAIN
