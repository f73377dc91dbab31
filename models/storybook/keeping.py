"""What of a wish or an order must come up in the description that answers it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .captions import full_caption, noun_phrase, parse_caption, setting_phrase, unknown_words
from .catalogue import PICTURE_SIZE
from .naming import Mention, Named, covers
from .orders import outcome


@dataclass(frozen=True)
class Demand:
    """Holds descriptions to what must be named in them.

    Attributes:
        asked: what the user wrote, in words that the storybook knows.
        named: what a description must name.
        words: every word that the storybook knows.
        order: whether it is an order that changes or combines pictures, not a wish that can be drawn as it stands.
    """

    asked: str
    named: Named
    words: frozenset[str]
    order: bool = False

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

    def sound(self, rewrite: str) -> str:
        """The beginning in which no two things touch; empty where something that must be named is not."""
        phrases = rewrite.split(", ")
        if not covers(parse_caption(rewrite), self.named):
            return ""
        beginnings = (", ".join(phrases[:end]) for end in range(len(phrases), 0, -1))
        return next((text for text in beginnings if _complete(parse_caption(text))), "")

    def settled(self, rewrite: str) -> bool:
        return parse_caption(rewrite).same_as(parse_caption(self.asked))

    def mend(self, rewrite: str) -> str:
        """The description of what must be there, where an order leaves nothing of it open; else the rewrite with what
        must be there in place of what it says instead, if that is a whole scene.

        Else one that names everything, be it no whole scene, and any that an order has; a wish stands alone.
        """
        if self.named.most == len(self.named.things) and _complete(self.named):
            return full_caption(self.named.to_scene())
        said = parse_caption(rewrite)
        corrected = _corrected(said, self.named)
        if covers(corrected, self.named) and _complete(corrected):
            return full_caption(corrected.to_scene())
        return rewrite if self.order or covers(said, self.named) else ""

    def _not_named(self, said: Named) -> tuple[str, ...]:
        alone = [Named((thing,)) for thing in dict.fromkeys(self.named.things)]
        lost = [noun_phrase(wanted.things[0]) for wanted in alone if not covers(said, wanted)]
        setting = Named((), self.named.ground, self.named.sky)
        if not covers(said, setting):
            lost.append(setting_phrase(setting.ground, setting.sky))
        return tuple(lost) or (f"the number of things ({len(said.things)} are named)",)


def demand_of_wish(wish: str, words: frozenset[str]) -> Demand:
    """Everything that a wish for a new picture names."""
    return Demand(wish, parse_caption(wish), words)


def demand_of_composition(wish: str, words: frozenset[str]) -> Demand:
    """What a wish that speaks of pictures names by itself: kinds, ground and sky.

    Colours and places are left out: whose they are depends on pictures that stand between the words.
    """
    named = parse_caption(wish)
    kinds = tuple(Mention(thing.kind) for thing in named.things if thing.kind is not None)
    return Demand(wish, Named(kinds, named.ground, named.sky), words, order=True)


def demand_of_order(order: str, before: str, words: frozenset[str], kept: np.ndarray | None = None) -> Demand:
    """What an order that changes a picture says must be there, and what it leaves alone of the picture before.

    Args:
        order: such as "remove the house and keep the cat"; `@name` stands for a picture.
        before: the description of the picture that is changed.
        words: every word that the storybook knows.
        kept: `[H, W]` in 0..1, 1 where that picture stays as it is: things that are there stay whatever the order
            may mean.
    """
    shown = parse_caption(before)
    fixed = frozenset() if kept is None else _lying_in(kept, shown)
    named, certain = outcome(order, shown, fixed)
    if certain and _complete(shown):  # then nothing may come that was not asked for
        named = replace(named, fewest=len(named.things), most=len(named.things))
    return Demand(order, named, words, order=True)


def _lying_in(area: np.ndarray, shown: Named) -> frozenset[int]:
    """The numbers of those things of a whole description that lie in an area of the picture, for the most part."""
    if not _complete(shown):
        return frozenset()
    height, width = area.shape
    inside = set()
    for number, thing in enumerate(shown.to_scene().things):
        left, top, right, bottom = (max(edge, 0) / PICTURE_SIZE for edge in thing.box)
        box = area[int(top * height) : round(bottom * height), int(left * width) : round(right * width)]
        if box.size and box.mean() > 0.5:
            inside.add(number)
    return frozenset(inside)


def _corrected(said: Named, wanted: Named) -> Named:
    """A description in which things of the wanted kinds are as they are wanted; kinds that it lacks it still lacks."""
    free, things = list(said.things), []
    for mention in wanted.things:
        same_kind = [thing for thing in free if mention.kind in (None, thing.kind)]
        chosen = next((thing for thing in free if mention.fits(thing)), same_kind[0] if same_kind else None)
        if chosen is not None:
            free.remove(chosen)
            asked = {name: value for name, value in vars(mention).items() if value is not None}
            things.append(replace(chosen, **asked))
    return Named((*things, *free), wanted.ground or said.ground, wanted.sky or said.sky)


def _complete(shown: Named) -> bool:
    try:
        shown.to_scene()
    except ValueError:
        return False
    return True
