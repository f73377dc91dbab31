"""How people refer to a thing of a picture: by name, by what tells it from others, with a pronoun."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..captions import plural
from ..catalogue import PATTERNS, larger
from ..naming import Mention
from ..world import Scene, Thing
from .words import KIND_WORDS, bare_noun, usual

DETERMINERS = ("the", "the", "the", "the", "the", "the", "the", "the", "that", "this", "my", "our")
PRONOUNS = ("it", "it", "it", "that", "that one", "this one")
BARE = 0.06  # how often the article is left out


@dataclass(frozen=True)
class Reference:
    """A thing in words: `it` with an article or as a pronoun, `its` as an owner, `noun` without an article."""

    it: str
    its: str
    noun: str
    kind: str
    kinds: str

    @classmethod
    def to(cls, thing: Thing, scene: Scene, rng: Random, last: Thing | None = None, same: bool = False) -> Reference:
        """Words that only this thing of the scene fits.

        Args:
            thing: what is meant.
            scene: what there is to be seen.
            rng: chooses the words.
            last: the thing that was spoken of before.
            same: whether it was spoken of just now, in the same breath.
        """
        rivals = [other for other in scene.things if other.kind == thing.kind and other != thing]
        kind = usual(KIND_WORDS[thing.kind], rng)
        noun = _telling(thing, scene, rivals, kind, rng)
        it, its = _with_determiner(noun, rng), f"the {noun}'s"
        if same or _pronoun(thing, scene, last, rng):
            it, its = "it" if same else rng.choice(PRONOUNS), "its"
        elif len(rivals) == 1 and last == rivals[0] and rng.random() < 0.6:
            it = rng.choice(("the other one", f"the other {kind}", "the other"))
            its, noun = f"the other {kind}'s", f"other {kind}"
        return cls(it, its, noun, kind, plural(kind))


def _with_determiner(noun: str, rng: Random) -> str:
    return noun if rng.random() < BARE else f"{rng.choice(DETERMINERS)} {noun}"


def _pronoun(thing: Thing, scene: Scene, last: Thing | None, rng: Random) -> bool:
    if thing == last:
        return rng.random() < 0.5
    return len(scene.things) == 1 and last is None and rng.random() < 0.3


def _telling(thing: Thing, scene: Scene, rivals: list[Thing], kind: str, rng: Random) -> str:
    """A noun that tells the thing from those of its kind; now and then more than is needed."""
    ways = [("kind",)] if rng.random() < 0.8 else []
    if thing.pattern != PATTERNS[0] and rng.random() < 0.3:
        ways.insert(0, ("kind", "pattern"))
    ways += [("kind", "colour"), ("kind", "size"), ("kind", "colour", "size"), ("kind", "column", "row")]
    if len(rivals) == 1 and rng.random() < 0.4:
        beside = _beside(thing, rivals[0], kind, rng)
        if beside:
            return beside
    if rivals and rng.random() < 0.3:
        ways.insert(0, ("kind", "column", "row"))
    for names in ways:
        mention = Mention(**{name: getattr(thing, name) for name in names})
        if not any(mention.fits(Mention.of(other)) for other in scene.things if other != thing):
            return bare_noun(mention, rng)
    raise ValueError(f"No name tells {thing} from the others of {scene}.")  # impossible: places are unique


def _beside(thing: Thing, rival: Thing, kind: str, rng: Random) -> str:
    """Which of two of a kind: "left cat", "upper one"."""
    ways = []
    if thing.column != rival.column:
        way = "left" if thing.column < rival.column else "right"
        ways += [f"{way} {kind}", f"{kind} on the {way}", f"{kind} further {way}"]
    if thing.row != rival.row:
        way = "upper" if thing.row < rival.row else "lower"
        ways += [f"{way} {kind}", f"{'higher' if way == 'upper' else 'lower'} {kind}"]
    if thing.size != rival.size:
        ways.append(f"{'bigger' if larger(thing.size, rival.size) else 'smaller'} {kind}")
    return rng.choice(ways) if ways else ""
