"""Scenes in words: one canonical description, paraphrases of it, and the reader of the canonical one.

The canonical description names everything that is visible at the resolution of places: style, ground, sky, and each
thing with size, pose, colour, pattern, kind and place, and what it stands on, is under, or is in front of. Things come
from the top row to the bottom and from left to right. `read_description` gets all of it back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from .catalogue import COLUMNS, GROUNDS, ROWS, SIZES, SKIES
from .kinds import KINDS
from .palette import COLOURS
from .spatial import contacts
from .values import Scene, Thing, placed
from .words import (
    COLUMN_PLACES,
    COLUMN_WORDS,
    GROUND_PLACES,
    JOINTS,
    KIND_WORDS,
    NUMBERS,
    OPENINGS,
    PATTERN_WORDS,
    PLACES,
    POSES_AFTER,
    POSES_BEFORE,
    ROW_PLACES,
    ROW_WORDS,
    SIZE_WORDS,
    SKY_TIMES,
    STYLE_WORDS,
    plural,
    with_article,
)

CONTACTS = ("in front of", "under", "on")  # what can be said of two things that touch


@dataclass(frozen=True, order=True)
class Mention:
    """One thing as far as words tell it. `contacts` holds pairs of a relation and the words for the other thing."""

    kind: str
    colour: str
    size: str
    pose: str
    pattern: str
    place: tuple[int, int]
    contacts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Description:
    """All that a canonical description says, things in its order."""

    ground: str
    sky: str
    style: str
    things: tuple[Mention, ...]

    def to_scene(self) -> Scene:
        """The scene with each thing in the middle of its place; contacts are not made."""
        things = (placed(t.kind, t.colour, t.size, t.place, pose=t.pose, pattern=t.pattern) for t in self.things)
        return Scene(self.ground, self.sky, tuple(things), self.style)


def _choose(wordings: tuple[str, ...], rng: Random | None) -> str:
    return wordings[0] if rng is None else rng.choice(wordings)


def place_phrase(place: tuple[int, int], rng: Random | None = None) -> str:
    """Such as "at the bottom far left"."""
    column, row = COLUMNS[place[0]], ROWS[place[1]]
    if rng is None or rng.random() < 0.6:
        row_word, column_word = _choose(ROW_WORDS[row], rng), _choose(COLUMN_WORDS[column], rng)
        return _choose(PLACES, rng).format(row=row_word, column=column_word)
    parts = [_choose(COLUMN_PLACES[column], rng), _choose(ROW_PLACES[row], rng)]
    rng.shuffle(parts)
    return " ".join(parts)


def look_phrase(thing: Thing | Mention, parts: frozenset[str], rng: Random | None = None, several: bool = False) -> str:
    """A thing without article and place; `parts` says which of size, pose, colour and pattern are told.

    The colour of clothes follows the noun: "small waving person in striped red".
    """
    pattern = _choose(PATTERN_WORDS[thing.pattern], rng) if "pattern" in parts and thing.pattern != "plain" else ""
    colour = thing.colour if "colour" in parts else ""
    after = ""
    words = [_choose(SIZE_WORDS[thing.size], rng)] if "size" in parts else []
    if "pose" in parts and thing.pose in POSES_BEFORE:
        words.append(_choose(POSES_BEFORE[thing.pose], rng))
    if "pose" in parts and thing.pose in POSES_AFTER:
        after = _choose(POSES_AFTER[thing.pose], rng)
    noun = _choose(KIND_WORDS[thing.kind], rng)
    noun = plural(noun) if several else noun
    if KINDS[thing.kind].clothes:
        clothes = " ".join(filter(None, (pattern, colour)))
        words += [noun, f"in {clothes}" if clothes else ""]
    else:
        words += [colour, pattern, noun]
    return " ".join(filter(None, (*words, after)))


ALL_PARTS = frozenset({"size", "pose", "colour", "pattern"})
# What of a thing is told besides its kind to mean it and no other: the first that is enough.
_NAMING = (
    (), ("colour",), ("size",), ("pattern",), ("pose",), ("place",), ("colour", "place"), ("size", "place"),
    ("pattern", "place"), ("pose", "place"), ("size", "pose", "colour", "pattern", "place"),
)  # fmt: skip


def reference_to(thing: Thing, scene: Scene, rng: Random | None = None) -> str:
    """The shortest words that mean this thing and no other of the scene: "the red cat"."""
    alike = [other for other in scene.things if other.kind == thing.kind and other != thing]
    for parts in _NAMING:
        told = frozenset(parts)
        if "pattern" in told and thing.pattern == "plain" and told < ALL_PARTS | {"place"}:
            continue
        if all(any(getattr(other, part) != getattr(thing, part) for part in told) for other in alike):
            break
    words = f"the {look_phrase(thing, told, rng)}"
    return f"{words} {place_phrase(thing.place, rng)}" if "place" in told else words


def _contact_words(scene: Scene, rng: Random | None) -> dict[Thing, list[tuple[str, str]]]:
    found: dict[Thing, list[tuple[str, str]]] = {}
    for relation in contacts(scene):
        other = reference_to(relation.objects[0], scene, rng)
        found.setdefault(relation.subject, []).append((relation.name, other))
    return {thing: sorted(pairs) for thing, pairs in found.items()}


def description_of(scene: Scene) -> Description:
    """What the canonical description says of a scene."""
    touching = _contact_words(scene, None)
    things = [Mention(*thing.look, thing.place, tuple(touching.get(thing, ()))) for thing in scene.things]
    things.sort(key=lambda mention: (mention.place[1], mention.place[0], mention))
    return Description(scene.ground, scene.sky, scene.style, tuple(things))


def describe(scene: Scene) -> str:
    """The canonical description: "as stickers, on a meadow by day, a big red cat facing left at the lower left."."""
    phrases = [STYLE_WORDS[scene.style][0], f"{GROUND_PLACES[scene.ground][0]} {SKY_TIMES[scene.sky][0]}"]
    phrases += [_thing_phrase(mention, mention.contacts, None) for mention in description_of(scene).things]
    return ", ".join(phrases) + "."


def _thing_phrase(thing: Thing | Mention, touching: Sequence[tuple[str, str]], rng: Random | None) -> str:
    words = [with_article(look_phrase(thing, ALL_PARTS, rng)), place_phrase(thing.place, rng)]
    return " ".join([*words, *(f"{name} {other}" for name, other in touching)])


def paraphrase(scene: Scene, rng: Random) -> str:
    """All that the canonical description says, in other words and another order."""
    touching = _contact_words(scene, rng)
    things = [_thing_phrase(thing, touching.get(thing, []), rng) for thing in scene.things]
    if rng.random() < 0.5:
        things = _counted(scene, touching, rng)
    rng.shuffle(things)
    setting = [_choose(GROUND_PLACES[scene.ground], rng), _choose(SKY_TIMES[scene.sky], rng)]
    rng.shuffle(setting)
    where, how = " ".join(setting), _choose(STYLE_WORDS[scene.style], rng)
    body = rng.choice(JOINTS).join(things)
    if not body:
        return f"{where}, {how}"
    frame = rng.choice(("{how}, {where}: {body}", "{open}{body}, {where}, {how}", "{where}: {body}, {how}",
                        "{open}{body}; {where}, {how}", "{where}, {how}: {body}"))  # fmt: skip
    return frame.format(how=how, where=where, body=body, open=rng.choice(OPENINGS))


def _counted(scene: Scene, touching: Mapping[Thing, Sequence[tuple[str, str]]], rng: Random) -> list[str]:
    """A phrase for each thing, one for all that look the same: "two small red cars, one at ... and one at ..."."""
    alike: dict[tuple[str, ...], list[Thing]] = {}
    for thing in scene.things:
        alike.setdefault(thing.look, []).append(thing)
    phrases = []
    for things in alike.values():
        rests = [
            " ".join([place_phrase(thing.place, rng), *map(" ".join, touching.get(thing, ()))]) for thing in things
        ]
        look = look_phrase(things[0], ALL_PARTS, rng, several=len(things) > 1)
        if len(things) == 1:
            phrases.append(f"{with_article(look)} {rests[0]}")
        else:
            phrases.append(f"{NUMBERS[len(things)]} {look}: {' and '.join(f'one {rest}' for rest in rests)}")
    return phrases


def _first_words(table) -> dict[str, str]:
    return {wordings[0]: value for value, wordings in table.items()}


def _any_of(words) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_BEFORE, _AFTER, _PATTERN = map(_first_words, (POSES_BEFORE, POSES_AFTER, PATTERN_WORDS))
_PLACE = f"at the (?P<row>{_any_of(ROWS)}) (?P<column>{_any_of(COLUMNS)})"
_THING = re.compile(
    rf"an? (?P<size>{_any_of(SIZES)}) (?:(?P<before>{_any_of(_BEFORE)}) )?"
    rf"(?:(?P<colour>{_any_of(COLOURS)}) )?(?:(?P<pattern>{_any_of(_PATTERN)}) )?(?P<kind>{_any_of(KINDS)})"
    rf"(?: in (?:(?P<worn_pattern>{_any_of(_PATTERN)}) )?(?P<worn>{_any_of(COLOURS)}))?"
    rf"(?: (?P<after>{_any_of(_AFTER)}))? {_PLACE}(?P<rest>.*)"
)
_CONTACT = re.compile(rf" ({_any_of(CONTACTS)}) (the .+?)(?= (?:{_any_of(CONTACTS)}) the (?!{_any_of(ROWS)})|$)")


def read_description(text: str) -> Description:
    """The exact inverse of `describe`. Raises ValueError for a text that is not canonical."""
    phrases = text.removesuffix(".").split(", ")
    if not text.endswith(".") or len(phrases) < 2:
        raise ValueError(f"Not a canonical description: {text!r}.")
    styles = _first_words(STYLE_WORDS)
    settings = {f"{GROUND_PLACES[g][0]} {SKY_TIMES[s][0]}": (g, s) for g in GROUNDS for s in SKIES}
    if phrases[0] not in styles or phrases[1] not in settings:
        raise ValueError(f"Not the beginning of a canonical description: {', '.join(phrases[:2])!r}.")
    ground, sky = settings[phrases[1]]
    return Description(ground, sky, styles[phrases[0]], tuple(_read_thing(phrase) for phrase in phrases[2:]))


def _read_thing(phrase: str) -> Mention:
    found = _THING.fullmatch(phrase)
    if not found:
        raise ValueError(f"Not a thing in canonical words: {phrase!r}.")
    said = found.groupdict()
    pose = _BEFORE.get(said["before"]) or _AFTER.get(said["after"]) or KINDS[said["kind"]].poses[0]
    pattern = _PATTERN.get(said["pattern"] or said["worn_pattern"], "plain")
    colour = said["colour"] or said["worn"]
    place = (COLUMNS.index(said["column"]), ROWS.index(said["row"]))
    touching = tuple(_CONTACT.findall(said["rest"]))
    if "".join(f" {name} {other}" for name, other in touching) != said["rest"]:
        raise ValueError(f"Not a relation in canonical words: {said['rest']!r}.")
    return Mention(said["kind"], colour, said["size"], pose, pattern, place, touching)
