"""Scenes made from reference pictures: things, a style and a background of other scenes brought together."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from .catalogue import GROUNDS, SKIES, STYLES
from .drawing import cutout, render, render_with_masks
from .edits import Edit, add
from .sampling import sample_scene, sample_thing
from .values import Scene, Thing

ROLES = ("object", "style", "background")
MOST_REFERENCES = 3
CUT_OUT = 0.3  # how often an object comes alone, on grey
BORROWED = 0.25  # how often a reference gives the style, and how often one gives the background
_LOOK = ("kind", "colour", "size", "pose", "pattern")


@dataclass(frozen=True)
class Reference:
    """One reference picture. `role` says what is taken from it: the look of `thing`, the style, or ground and sky."""

    role: str
    scene: Scene
    thing: Thing | None = None
    cut_out: bool = False

    def __post_init__(self):
        if self.role not in ROLES:
            raise ValueError(f"Unknown role {self.role!r}. Expected one of: {', '.join(ROLES)}.")
        if (self.role == "object") != (self.thing is not None):
            raise ValueError("A reference to an object names a thing, others do not.")
        if self.thing is not None and self.thing not in self.scene.things:
            raise ValueError(f"The reference names {self.thing}, which is not in its scene.")

    def mask(self) -> np.ndarray:
        """bool [128, 128]: the visible part of the thing; all of the picture where it is none."""
        picture, masks = render_with_masks(self.scene)
        if self.thing is None:
            return np.ones(picture.shape[:2], bool)
        return masks[self.scene.things.index(self.thing)]

    def picture(self) -> np.ndarray:
        """uint8 [128, 128, 3]: the scene, or the thing alone on grey."""
        picture = render(self.scene)
        return cutout(picture, self.mask()) if self.cut_out else picture


@dataclass(frozen=True)
class Composition:
    """References and the scene made from them. `kept` are their objects as they are in `target`, in the same order."""

    references: tuple[Reference, ...]
    kept: tuple[Thing, ...]
    target: Scene


def _look(thing: Thing) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in _LOOK}


def sample_object(rng: Random, taken: frozenset[str] = frozenset()) -> Reference:
    """A reference to one thing of a scene of one to three; `taken` are kinds that it must not be."""
    while True:
        scene = sample_scene(rng, rng.choice((1, 1, 2, 3)))
        free = [thing for thing in scene.things if thing.kind not in taken]
        if free:
            return Reference("object", scene, rng.choice(free), rng.random() < CUT_OUT)


def sample_composition(rng: Random, n_references: int | None = None) -> Composition:
    """A composition of `n_references` (1..3, drawn by lot where None), with one object at least.

    Style, ground and sky that no reference gives are drawn by lot, and so are the places of things.
    """
    if n_references is not None and not 1 <= n_references <= MOST_REFERENCES:
        raise ValueError(f"A composition takes 1 to {MOST_REFERENCES} references, got {n_references}.")
    while True:
        count = rng.choice((1, 2, 2, 3)) if n_references is None else n_references
        roles = [role for role in ("style", "background") if rng.random() < BORROWED][: count - 1]
        roles += ["object"] * (count - len(roles))
        rng.shuffle(roles)
        references: list[Reference] = []
        for role in roles:
            taken = frozenset(reference.thing.kind for reference in references if reference.thing)
            if role == "object":
                references.append(sample_object(rng, taken))
            else:
                references.append(Reference(role, sample_scene(rng, rng.choice((0, 1, 2)))))
        target, kept = _brought_together(rng, references)
        if target is not None:
            return Composition(tuple(references), kept, target)


def _brought_together(rng: Random, references: list[Reference]) -> tuple[Scene | None, tuple[Thing, ...]]:
    given = {reference.role: reference.scene for reference in references}
    page, painted = given.get("background"), given.get("style")
    target = Scene(
        page.ground if page else rng.choice(GROUNDS),
        page.sky if page else rng.choice(SKIES),
        (),
        painted.style if painted else rng.choice(STYLES),
    )
    kept: list[Thing] = []
    for reference in references:
        if reference.thing is not None:
            thing = sample_thing(rng, target, **_look(reference.thing))
            if thing is None:
                return None, ()
            kept.append(thing)
            target = target.with_things(kept)
    return target, tuple(kept)


def sample_addition(rng: Random) -> tuple[Scene, Reference, Edit]:
    """A scene, a reference to a thing of another, and the edit that adds this thing to the scene."""
    while True:
        scene = sample_scene(rng, rng.choice((1, 2, 3)))
        reference = sample_object(rng, frozenset(thing.kind for thing in scene.things))
        thing = sample_thing(rng, scene, **_look(reference.thing))
        if thing is not None:
            return scene, reference, add(thing)
