"""The one scene that stands for a description: everything as near to the middle of its place as its contacts allow.

Words tell places, not pixels. Where a picture has to be drawn from words alone, the settled scene is what it should
show: scenes with the same canonical description settle to the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from .catalogue import COLUMN_EDGES, PICTURE_SIZE, ROW_EDGES, box_of, clearance, place_centre
from .description import description_of
from .pen import MARGIN
from .sampling import EDGE, acceptable
from .spatial import SUNK, Relation, contacts, holds, overlap, shelter_of, surface_of
from .values import Scene, Thing, held

_STEP = 3  # pixels from one position that is tried to the next
_MOST_TRIALS = 1500
_ORDER = ("on", "under", "in front of")


@cache
def positions_in(place: tuple[int, int], kind: str, size: str) -> tuple[tuple[int, int], ...]:
    """Middles for a thing inside a place, clear of its borders, those near the middle of the place first."""
    column, row = place
    edges_x, edges_y = (0, *COLUMN_EDGES, PICTURE_SIZE), (0, *ROW_EDGES, PICTURE_SIZE)
    middle = held(kind, size, *place_centre(column, row))
    found = [
        (x, y)
        for x in range(edges_x[column] + EDGE, edges_x[column + 1] - EDGE + 1)
        for y in range(edges_y[row] + EDGE, edges_y[row + 1] - EDGE + 1)
        if (x - middle[0]) % _STEP == 0 and (y - middle[1]) % _STEP == 0 and held(kind, size, x, y) == (x, y)
    ]
    return tuple(sorted(found, key=lambda at: ((at[0] - middle[0]) ** 2 + (at[1] - middle[1]) ** 2, at)))


def nearest_free(scene: Scene, thing: Thing, place: tuple[int, int]) -> Thing | None:
    """The thing as near to the middle of a place as it can be told by words and touches nothing; None where it cannot.

    The scene is the one without the thing.
    """
    for x, y in positions_in(place, thing.kind, thing.size):
        moved = thing.at(x, y)
        if not any(overlap(moved, other, scene.style)[0] for other in scene.things) and moved not in scene.things:
            return moved
    return None


def settled(scene: Scene) -> Scene | None:
    """The scene that stands for all with the same description; None where none is found that is clear."""
    told = contacts(scene)
    for groups in (_groups(scene, told), [_hosts_first(set(scene.things), told)]):
        placed: dict[Thing, Thing] | None = {}
        for group in groups:
            placed = _placed(group, told, placed, scene, iter(range(_MOST_TRIALS)))
            if placed is None:
                break
        if placed is not None:
            result = scene.with_things(tuple(placed.values()))
            if acceptable(result) and description_of(result) == description_of(scene):
                return result
    return None


def _key(thing: Thing):
    return thing.place[1], thing.place[0], thing.look


def _groups(scene: Scene, told: tuple[Relation, ...]) -> list[list[Thing]]:
    """Things that touch, directly or through others, each after those that it stands on or hides; big groups first."""
    left = sorted(scene.things, key=_key)
    groups = []
    while left:
        group = {left[0]}
        while True:
            grown = {
                thing for r in told for thing in (r.subject, *r.objects) if group & {r.subject, *r.objects}
            } | group
            if grown == group:
                break
            group = grown
        left = [thing for thing in left if thing not in group]
        groups.append(_hosts_first(group, told))
    return sorted(groups, key=lambda group: (-len(group), min(map(_key, group))))


def _hosts_first(group: set[Thing], told: tuple[Relation, ...]) -> list[Thing]:
    ordered: list[Thing] = []
    while len(ordered) < len(group):
        ready = [
            thing
            for thing in group
            if thing not in ordered and all(r.objects[0] in ordered for r in told if r.subject == thing)
        ]
        ordered.append(min(ready, key=_key))
    return ordered


def _placed(
    group: list[Thing], told: tuple[Relation, ...], placed: dict[Thing, Thing], scene: Scene, trials: Iterator[int]
) -> dict[Thing, Thing] | None:
    """All things of a group placed beside those that are placed already: the first way that is found."""
    if not group:
        return placed
    thing, rest = group[0], group[1:]
    mine = sorted((r for r in told if r.subject == thing), key=lambda r: _ORDER.index(r.name))
    for candidate in _candidates(thing, [(r.name, placed[r.objects[0]]) for r in mine]):
        if next(trials, None) is None:
            return None
        if candidate.place != thing.place or clearance(candidate.x, candidate.y) < EDGE:
            continue
        if not _fits(candidate, {placed[r.objects[0]]: r.name for r in mine}, placed, scene):
            continue
        found = _placed(rest, told, {**placed, thing: candidate}, scene, trials)
        if found is not None:
            return found
    return None


def _candidates(thing: Thing, hosts: list[tuple[str, Thing]]) -> Iterator[Thing]:
    height = box_of(thing.kind, thing.size)[1]
    nearer = max((host.depth for _, host in hosts), default=-1) + 1
    relation, host = hosts[0] if hosts else ("", None)
    area = None
    if relation == "on":
        area = surface_of(host)
        middles = [round(area[0]) + SUNK + MARGIN - height // 2]
    elif relation == "under":
        area = shelter_of(host) or (host.box[3], host.x - 6, host.x + 6)
        middles = [round(area[0]) + down + height // 2 for down in (-1, -3, 2, 4, 8)]
    if area is not None:
        centre = round((area[1] + area[2]) / 2)
        for y in middles:
            for away in range(0, round((area[2] - area[1]) / 2) + 1, 2):
                for x in {centre - away, centre + away}:
                    if held(thing.kind, thing.size, x, y) == (x, y):
                        yield thing.at(x, y, max(nearer, y + height // 2 if relation == "under" else round(area[0])))
        return
    for x, y in positions_in(thing.place, thing.kind, thing.size):
        yield thing.at(x, y)
    if hosts:  # in front of something that stands lower
        for x, y in positions_in(thing.place, thing.kind, thing.size):
            moved = thing.at(x, y)
            if moved.depth < nearer:
                yield thing.at(x, y, nearer)


def _fits(thing: Thing, hosts: dict[Thing, str], placed: dict[Thing, Thing], scene: Scene) -> bool:
    """Whether a thing touches what it should touch, as it should, and nothing else; `hosts` gives the relations."""
    for other in placed.values():
        touching = overlap(thing, other, scene.style)[0]
        if touching != (other in hosts) or thing == other:
            return False
    if not hosts:
        return True
    together = scene.with_things((thing, *hosts))
    return all(holds(together, name, thing, host) for host, name in hosts.items())
