"""What is asked with a picture that guides a new one, or that is to be repaired."""

from __future__ import annotations

from functools import cache
from random import Random

from ..catalogue import KINDS
from ..drawing import mask_of
from ..naming import Mention
from ..world import Scene, Thing
from .frames.guiding import CONDITIONED, RESTORED, RESTORED_FROM, SKETCHES
from .held_out import TRAINED, choose
from .typing import uttered
from .words import indefinite, setting


def sample_conditioned(scene: Scene, name: str, rng: Random, part: str = TRAINED) -> str:
    """What is asked with the picture that `condition(scene, name)` makes: it names all that the picture may not tell,
    and leaves out where things are."""
    told = name == "edges"  # which show what is inside of an outline too
    mentions = [
        Mention(
            thing.kind,
            thing.colour,
            pose=None if told or _shows_pose(thing.kind) else thing.pose,
            pattern=Mention.of(thing).pattern,
        )
        for thing in scene.things
    ]
    rng.shuffle(mentions)
    things = rng.choice((" and ", ", ", " with ")).join(indefinite(mention, rng) for mention in mentions)
    words = f"{things}{rng.choice((' ', ', '))}{setting(scene.ground, scene.sky, rng)}"
    frame = choose(CONDITIONED, part, rng)
    return uttered(frame.format(sketch=rng.choice(SKETCHES[name]), things=words), rng)


@cache
def _shows_pose(kind: str) -> bool:
    """Whether the outline of a thing tells its pose: that of a house with lights on is that of a dark one."""
    colours, poses = KINDS[kind].colours, KINDS[kind].poses
    first, *others = [mask_of(Thing(kind, colours[0], "big", column=2, row=2, pose=pose)) for pose in poses]
    return any((other != first).any() for other in others)


def sample_restored(name: str, rng: Random, part: str = TRAINED) -> str:
    """What is asked with a picture that has suffered in this way."""
    frames = RESTORED if rng.random() < 0.5 else RESTORED_FROM[name]
    return uttered(choose(frames, part, rng), rng)
