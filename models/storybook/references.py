"""Pages made from reference pictures: "put the cat of [picture] at the top left and the house of [picture] ..."."""

from dataclasses import dataclass, replace
from random import Random

from .captions import KIND_WORDS, choose, place_phrase, setting_phrase
from .catalogue import GROUNDS, SKIES
from .world import Scene, Thing, sample_scene, sample_thing

MOST_REFERENCES = 3

OPENINGS = ("put ", "draw ", "show ", "a picture with ")
OPENINGS_OF_MANY = (*OPENINGS, "combine ")
MENTIONS = ("the {kind} of ", "the {kind} from ", "the {kind} ")
BACKGROUNDS = (" with the background of ", " in the place of ")
JOINS = (" and ", ", ", " together with ")
ADDINGS = ("add ", "also draw ", "put in ", "now put ")
PHRASES = (ADDINGS, OPENINGS_OF_MANY, MENTIONS, BACKGROUNDS, JOINS)


@dataclass(frozen=True)
class Composition:
    """Things of reference pictures brought together.

    `instruction` holds text pieces and, as an int, the number of the reference picture that stands there. `chosen[i]`
    is the thing taken from `references[i]` as it is there; `cut_out[i]` tells that the picture shows only this thing,
    on grey. `kept` are the same things in the target, in the same order: equal but for place and jitter.
    """

    references: tuple[Scene, ...]
    chosen: tuple[Thing, ...]
    cut_out: tuple[bool, ...]
    instruction: tuple[str | int, ...]
    kept: tuple[Thing, ...]
    target: Scene


def sample_composition(rng: Random, n_references: int | None = None) -> Composition:
    """A composition of `n_references` (1..3; drawn when None, mostly two) reference pictures.

    Places, ground and sky that the instruction does not name are invented; the target may hold one more, unasked thing
    only where the instruction names none of the places.
    """
    count = rng.choice((1, 2, 2, 2, 3)) if n_references is None else n_references
    if not 1 <= count <= MOST_REFERENCES:
        raise ValueError(f"A composition takes 1 to {MOST_REFERENCES} reference pictures, got {count}.")
    while True:
        references = tuple(sample_scene(rng, rng.choice((1, 1, 2))) for _ in range(count))
        chosen = tuple(rng.choice(scene.things) for scene in references)
        kept: tuple[Thing, ...] = ()
        for thing in chosen:
            moved = sample_thing(
                rng, kept, kind=thing.kind, colour=thing.colour, size=thing.size, pose=thing.pose, pattern=thing.pattern
            )
            kept = kept if moved is None else (*kept, moved)
        if len(kept) == count:
            break
    cut_out = tuple(rng.random() < 0.3 for _ in range(count))
    placed = rng.random() < 0.7
    pieces: list[str | int] = [rng.choice(OPENINGS_OF_MANY if count > 1 else OPENINGS)]
    join = rng.choice(JOINS)
    for number, thing in enumerate(chosen):
        if number:
            pieces.append(join)
        alone = cut_out[number] or len(references[number].things) == 1
        twins = sum(other.kind == thing.kind for other in references[number].things) > 1
        if not alone or rng.random() < 0.7:
            word = choose(KIND_WORDS[thing.kind], rng)
            word = f"{thing.colour} {word}" if twins else word
            pieces.append(rng.choice(MENTIONS).format(kind=word))
        pieces.append(number)
        if placed:
            pieces.append(" " + place_phrase(*kept[number].place, rng))
    ground, sky = _add_setting(pieces, references, cut_out, rng)
    extra = None if placed or rng.random() < 0.7 else sample_thing(rng, kept)
    if extra is None or extra.kind in {
        thing.kind for thing in kept
    }:  # a second cat would leave open which is the reference's
        target = Scene(ground, sky, kept)
    else:
        target = Scene(ground, sky, (*kept, extra))
    return Composition(references, chosen, cut_out, _merged(pieces), kept, target)


@dataclass(frozen=True)
class Addition:
    """A thing of a reference picture that joins a page: "add the cat of [picture] at the bottom left".

    `instruction` holds text pieces, and 0 where the reference picture stands; the other fields are as in `Composition`.
    """

    before: Scene
    reference: Scene
    chosen: Thing
    cut_out: bool
    instruction: tuple[str | int, ...]
    added: Thing

    @property
    def target(self) -> Scene:
        return replace(self.before, things=(*self.before.things, self.added))


def sample_addition(rng: Random) -> Addition:
    """A page of one to three things, and one from another page that is added at a place which is mostly named."""
    while True:
        before, reference = sample_scene(rng, rng.choice((1, 2, 3))), sample_scene(rng, rng.choice((1, 1, 2)))
        chosen = rng.choice(reference.things)
        looks = {
            "kind": chosen.kind,
            "colour": chosen.colour,
            "size": chosen.size,
            "pose": chosen.pose,
            "pattern": chosen.pattern,
        }
        added = sample_thing(rng, before.things, **looks)
        if added is not None and all(thing.kind != chosen.kind for thing in before.things):
            break
    cut_out = rng.random() < 0.3
    pieces: list[str | int] = [rng.choice(ADDINGS)]
    if not (cut_out or len(reference.things) == 1) or rng.random() < 0.7:
        twins = sum(other.kind == chosen.kind for other in reference.things) > 1
        word = choose(KIND_WORDS[chosen.kind], rng)
        pieces.append(rng.choice(MENTIONS).format(kind=f"{chosen.colour} {word}" if twins else word))
    pieces.append(0)
    if rng.random() < 0.8:
        pieces.append(" " + place_phrase(*added.place, rng))
    return Addition(before, reference, chosen, cut_out, _merged(pieces), added)


def _add_setting(
    pieces: list[str | int], references: tuple[Scene, ...], cut_out: tuple[bool, ...], rng: Random
) -> tuple[str, str]:
    whole = [number for number, cut in enumerate(cut_out) if not cut]
    if whole and len(references) < MOST_REFERENCES and rng.random() < 0.25:  # three and one more is a long text to read
        number = rng.choice(whole)
        pieces += [rng.choice(BACKGROUNDS), number]
        return references[number].ground, references[number].sky
    ground, sky = rng.choice(GROUNDS), rng.choice(SKIES)
    words = setting_phrase(ground if rng.random() < 0.8 else None, sky if rng.random() < 0.8 else None, rng)
    if words:
        pieces.append(", " + words)
    return ground, sky


def _merged(pieces: list[str | int]) -> tuple[str | int, ...]:
    merged: list[str | int] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)
