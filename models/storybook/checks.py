"""What of a wish must come up in the description that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from .captions import noun_phrase, parse_caption, setting_phrase, unknown_words
from .naming import Mention, Named, covers


@dataclass(frozen=True)
class SceneCheck:
    """Prefers descriptions that name what a wish names, and that describe one whole scene.

    Attributes:
        asked: what the user wrote, in words that the storybook knows.
        named: what a description must name.
        words: every word that the storybook knows.
    """

    asked: str
    named: Named
    words: frozenset[str]

    def missing(self, rewrite: str) -> tuple[str, ...]:
        """The things, ground and sky that are not named; else what keeps the text from describing one whole scene."""
        said = parse_caption(rewrite)
        if not covers(said, self.named):
            return self._not_named(said)
        if strange := unknown_words(rewrite, self.words):
            return (f"sense ({', '.join(strange)})",)
        try:
            said.to_scene()
        except ValueError:
            return ("one whole scene",)
        return ()

    def valid_prefix(self, rewrite: str) -> str:
        """The beginning in which no two things touch; empty where something that must be named is not."""
        phrases = rewrite.split(", ")
        if not covers(parse_caption(rewrite), self.named):
            return ""
        beginnings = (", ".join(phrases[:end]) for end in range(len(phrases), 0, -1))
        return next((text for text in beginnings if _complete(parse_caption(text))), "")

    def settled(self, rewrite: str) -> bool:
        return parse_caption(rewrite).same_as(parse_caption(self.asked))

    def _not_named(self, said: Named) -> tuple[str, ...]:
        alone = [Named((thing,)) for thing in dict.fromkeys(self.named.things)]
        lost = [noun_phrase(wanted.things[0]) for wanted in alone if not covers(said, wanted)]
        setting = Named((), self.named.ground, self.named.sky)
        if not covers(said, setting):
            lost.append(setting_phrase(setting.ground, setting.sky))
        return tuple(lost) or (f"the number of things ({len(said.things)} are named)",)


def check_of_wish(wish: str, words: frozenset[str]) -> SceneCheck:
    """Everything that a wish for a new picture names."""
    return SceneCheck(wish, parse_caption(wish), words)


def check_of_composition(wish: str, words: frozenset[str]) -> SceneCheck:
    """What a wish that speaks of pictures names by itself: kinds, ground and sky.

    Colours and places are left out: whose they are depends on pictures that stand between the words.
    """
    named = parse_caption(wish)
    kinds = tuple(Mention(thing.kind) for thing in named.things if thing.kind is not None)
    return SceneCheck(wish, Named(kinds, named.ground, named.sky), words)


def _complete(shown: Named) -> bool:
    try:
        shown.to_scene()
    except ValueError:
        return False
    return True
