"""The storybook as a closed world: loaded only for a checkpoint that names it."""

from __future__ import annotations

import re

from ..prompting.checks import MENTION, RewriteCheck
from ..prompting.domain import NormalisedPrompt
from . import vocabulary
from .checks import check_of_composition, check_of_wish
from .nearest import normalise_prompt

# All that a storybook's text is made of, beside words: what a mention needs, and marks between words.
_FOREIGN_MARKS = re.compile(r"[^\w\s@.,;:?!'\u2019-]")


class Storybook:
    """Words outside of the storybook are replaced by the nearest, and descriptions are read by its grammar."""

    def normalise_prompt(self, text: str) -> NormalisedPrompt:
        if not text.strip():
            return NormalisedPrompt(text)
        # Of nothing but marks nothing would be left to say that it is not known.
        words = _FOREIGN_MARKS.sub(" ", text) if re.search(r"\w", text) else text
        return normalise_prompt(words, vocabulary())

    def wish_check(self, wish: str, names: tuple[str, ...]) -> RewriteCheck:
        known = self.normalise_prompt(wish).text
        asked = MENTION.sub(" ", known)
        check = check_of_wish if asked == known else check_of_composition
        return check(asked, vocabulary())


DOMAIN = Storybook()
