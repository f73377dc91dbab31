"""How things lie to each other, exactly: every relation is true, false or unclear."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .drawing import SOLID, laid, visible_shares
from .kinds import KINDS
from .pen import MARGIN
from .values import Scene, Thing

RELATIONS = ("on", "under", "above", "beside", "left of", "right of", "in front of", "behind", "between")
OPPOSITES = {
    "under": "above", "above": "under", "left of": "right of", "right of": "left of", "in front of": "behind",
    "behind": "in front of", "beside": "beside",
}  # fmt: skip
SUNK = 1  # pixels by which what stands on a thing sinks into its surface
FARTHEST_UNDER = 40  # pixels between two things of which one is still called under the other
CLEAR_OVERLAP = 0.06  # of the smaller thing's pixels: from here on one is in front of the other

Area = tuple[float, float, float]  # y, left, right, in pixels


@dataclass(frozen=True)
class Relation:
    """`subject` is in a relation to one thing, to two for "between"."""

    name: str
    subject: Thing
    objects: tuple[Thing, ...]


def _area(thing: Thing, area: Area) -> Area:
    left, top, right, bottom = thing.box
    unit = max(right - left, bottom - top) - 2 * MARGIN
    y, start, end = (MARGIN + value * unit for value in area)
    if thing.pose == "facing right":
        start, end = right - left - end, right - left - start
    return top + y, left + start, left + end


def surface_of(thing: Thing) -> Area | None:
    """The height and the ends, in pixels, of what can be stood on; None where there is nothing."""
    top = KINDS[thing.kind].top
    return None if top is None else _area(thing, top)


def shelter_of(thing: Thing) -> Area | None:
    """The height and the ends, in pixels, of the lower edge of a roof; None where there is none."""
    kind = KINDS[thing.kind]
    sheltering = kind.shelter is not None and (not kind.shelter_poses or thing.pose in kind.shelter_poses)
    return _area(thing, kind.shelter) if sheltering else None


def feet_of(thing: Thing) -> int:
    """The pixel row on which a thing stands."""
    return thing.box[3] - MARGIN


def overlap(one: Thing, other: Thing, style: str) -> tuple[bool, float]:
    """Whether two things touch at all, soft edges included, and the solid overlap as a share of the smaller thing."""
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = one.box, other.box
    apart = 1  # pixel by which a thing may be moved on the grid of a mosaic
    if min(right, other_right) + apart <= max(left, other_left) or min(bottom, other_bottom) + apart <= max(
        top, other_top
    ):
        return False, 0.0
    pixels, shape = [], []
    for thing in (one, other):
        _, opacity, rows, columns = laid(thing, style)
        pixels.append(opacity)
        shape.append((rows.start, columns.start, rows.stop, columns.stop))
    top, left = max(shape[0][0], shape[1][0]), max(shape[0][1], shape[1][1])
    bottom, right = min(shape[0][2], shape[1][2]), min(shape[0][3], shape[1][3])
    if top >= bottom or left >= right:
        return False, 0.0
    first, second = (
        opacity[top - y : bottom - y, left - x : right - x] for opacity, (y, x, _, _) in zip(pixels, shape, strict=True)
    )
    both = np.count_nonzero((first >= SOLID) & (second >= SOLID))
    smaller = min(np.count_nonzero(opacity >= SOLID) for opacity in pixels)
    return bool(((first > 0) & (second > 0)).any()), both / smaller


def _nearer(scene: Scene, one: Thing, other: Thing) -> bool:
    return scene.things.index(one) > scene.things.index(other)


def _graded(value: float, good: float, bad: float) -> bool | None:
    """True up to `good`, False from `bad` on, None between."""
    return True if value <= good else False if value >= bad else None


def _all(*answers: bool | None) -> bool | None:
    return False if False in answers else None if None in answers else True


def _on(scene: Scene, thing: Thing, base: Thing) -> bool | None:
    surface = surface_of(base)
    if surface is None or not _nearer(scene, thing, base):
        return False
    y, left, right = surface
    return _all(_graded(abs(feet_of(thing) - y), 3, 7), _graded(max(left - thing.x, thing.x - right), 0, 4))


def _under(scene: Scene, thing: Thing, roof: Thing) -> bool | None:
    shelter = shelter_of(roof)
    width = max(thing.box[2] - thing.box[0], roof.box[2] - roof.box[0])
    edge = roof.box[3] if shelter is None else shelter[0]
    if shelter is not None and not _nearer(scene, thing, roof) and thing.box[1] < roof.box[3]:
        return False
    return _all(
        _graded(abs(thing.x - roof.x), 0.35 * width, 0.6 * width),
        _graded(edge - thing.box[1], 4, 10),
        _graded(thing.box[1] - roof.box[3], FARTHEST_UNDER, FARTHEST_UNDER + 30),
    )


def _beside(thing: Thing, other: Thing) -> bool | None:
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = thing.box, other.box
    gap = max(other_left - right, left - other_right)
    shared = min(bottom, other_bottom) - max(top, other_top)
    needed = min(bottom - top, other_bottom - other_top)
    return _all(_graded(gap, 14, 26), _graded(-gap, 3, 6), _graded(-shared, -0.6 * needed, -0.35 * needed))


def _left_of(thing: Thing, other: Thing) -> bool | None:
    across = other.x - thing.x
    answer = _graded(-across, -10, -4)
    return None if answer and abs(thing.y - other.y) > 2.5 * across else answer


def _in_front_of(scene: Scene, thing: Thing, other: Thing) -> bool | None:
    if not _nearer(scene, thing, other):
        return False
    touching, share = overlap(thing, other, scene.style)
    if not touching or _on(scene, thing, other) or _under(scene, thing, other):
        return False
    return True if share >= CLEAR_OVERLAP else None


def _between(thing: Thing, one: Thing, other: Thing) -> bool | None:
    first, last = sorted((one, other), key=lambda end: end.x)
    room = min(thing.x - first.x, last.x - thing.x)
    if room < 5 or last.x == first.x:
        return False
    line = first.y + (last.y - first.y) * (thing.x - first.x) / (last.x - first.x)
    return _all(_graded(-room, -10, -5), _graded(abs(thing.y - line), 14, 24))


def holds(scene: Scene, name: str, subject: Thing, *objects: Thing) -> bool | None:
    """Whether a relation is true of things of the scene; None where one may see it so or so.

    Raises ValueError for an unknown relation, and where a thing is not in the scene.
    """
    if any(thing not in scene.things for thing in (subject, *objects)):
        raise ValueError("A relation is asked of things that are not in the scene.")
    if name == "between":
        return _between(subject, *objects)
    (other,) = objects
    if name == "on":
        return _on(scene, subject, other)
    if name in ("under", "above"):
        return _under(scene, subject, other) if name == "under" else _under(scene, other, subject)
    if name == "beside":
        return _beside(subject, other)
    if name in ("left of", "right of"):
        return _left_of(subject, other) if name == "left of" else _left_of(other, subject)
    if name in ("in front of", "behind"):
        return _in_front_of(scene, subject, other) if name == "in front of" else _in_front_of(scene, other, subject)
    raise ValueError(f"Unknown relation {name!r}. Expected one of: {', '.join(RELATIONS)}.")


def relations(scene: Scene) -> tuple[Relation, ...]:
    """Everything that is clearly true, in a fixed order."""
    return tuple(_relations(scene))


def _relations(scene: Scene) -> Iterator[Relation]:
    for subject, other in permutations(scene.things, 2):
        for name in RELATIONS[:-1]:
            if holds(scene, name, subject, other):
                yield Relation(name, subject, (other,))
    for subject, one, other in permutations(scene.things, 3):
        if one.x <= other.x and holds(scene, "between", subject, one, other):
            yield Relation("between", subject, (one, other))


def contacts(scene: Scene) -> tuple[Relation, ...]:
    """What places alone cannot tell: which things stand on others, under a roof, or hide a part of others."""
    found = []
    for number, other in enumerate(scene.things):
        for subject in scene.things[number + 1 :]:
            touching = overlap(subject, other, scene.style)[0]
            for name in ("on", "under", "in front of"):
                if touching and holds(scene, name, subject, other):
                    found.append(Relation(name, subject, (other,)))
                    break
    return tuple(found)


def is_clear(scene: Scene, most_hidden: float = 0.5) -> bool:
    """Whether all that touches does so clearly, and nothing is hidden by more than `most_hidden` of it."""
    touched = False
    for number, other in enumerate(scene.things):
        for subject in scene.things[number + 1 :]:
            touching, _ = overlap(subject, other, scene.style)
            touched |= touching
            answers = [holds(scene, name, subject, other) for name in ("on", "under", "in front of")]
            if touching and True not in answers:
                return False
    return not touched or min(visible_shares(scene)) >= 1 - most_hidden
