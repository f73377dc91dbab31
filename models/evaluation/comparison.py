"""Comparing what a picture shows with what it was to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..storybook import Mention, Named

PLACE = ("column", "row")
IDENTITY = ("kind", "colour", *PLACE)
"""What "the object is right" means for the thresholds."""
EVERYTHING = ("kind", "colour", "size", "pose", "pattern", *PLACE)
LOOKS = ("kind", "colour", "size")
ATTRIBUTES = (*LOOKS, "place")


def project(things: Iterable[Mention], names: Sequence[str]) -> Counter[tuple]:
    """Things as a multiset of the named properties alone."""
    return Counter(tuple(getattr(thing, name) for name in names) for thing in things)


def same_things(seen: Named, wanted: Named, names: Sequence[str] = IDENTITY) -> bool:
    """Whether both name the same things, none missing and none too many, as far as `names` go."""
    return project(seen.things, names) == project(wanted.things, names)


def holds(seen: Iterable[Mention], wanted: Iterable[Mention], names: Sequence[str]) -> bool:
    """Whether each wanted thing is there, as far as `names` go; others may be there too."""
    return project(wanted, names) <= project(seen, names)


def attribute_hits(seen: Named, wanted: Named) -> dict[str, list[bool]]:
    """For every wanted thing whether kind, colour, size and place are right, and whether the ground is.

    Things are paired so that as much as possible is right; of a thing without a partner, everything is wrong.

    Returns:
        One entry for each wanted thing under each of ATTRIBUTES, and one under "ground".
    """
    best = _paired(seen.things, wanted.things)
    hits = {name: [row[number] for row in best] for number, name in enumerate(ATTRIBUTES)}
    return {**hits, "ground": [seen.ground == wanted.ground]}


def _paired(seen: Sequence[Mention], wanted: Sequence[Mention]) -> list[tuple[bool, ...]]:
    """The hits of each wanted thing, in the pairing that has the most of them."""
    if not wanted:
        return []
    thing, *others = wanted
    pairings = [[_hits(None, thing), *_paired(seen, others)]]
    for number, partner in enumerate(seen):
        pairings.append([_hits(partner, thing), *_paired([*seen[:number], *seen[number + 1 :]], others)])
    return max(pairings, key=lambda rows: sum(map(sum, rows)))


def _hits(partner: Mention | None, thing: Mention) -> tuple[bool, ...]:
    if partner is None:
        return (False,) * len(ATTRIBUTES)
    looks = tuple(getattr(partner, name) == getattr(thing, name) for name in LOOKS)
    return (*looks, (partner.column, partner.row) == (thing.column, thing.row))
