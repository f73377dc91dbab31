"""Vague wishes at several levels, each with the record of what it names, and scenes that fulfil them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from random import Random
from types import MappingProxyType

from .captions import choose, drawn, full_caption, noun_phrase, setting_phrase
from .catalogue import CATEGORIES, GROUNDS, KIN, KINDS, SHOWN_BY, SKIES, STYLES
from .naming import Mention, Named, matched, satisfies
from .world import HOW_MANY, MOST_THINGS, Scene, Thing, sample_scene, sample_thing

LEVELS = ("nothing", "mood", "kinds", "some", "most", "everything")

SURPRISES = (
    "surprise me", "draw something", "anything you like", "show me a picture", "draw what you want", "a nice picture",
    "make a picture for a story",
)  # fmt: skip
MOODS = {"quiet": ("quiet", "calm"), "busy": ("busy", "lively")}
NIGHTS = {
    "day": ("day",), "night": ("night",), "dusk": ("evening", "dusk"), "fog": ("foggy day",),
    "rain": ("rainy day",), "rainbow": ("rainbow day",),
}  # fmt: skip
MOOD_FORMS = ("a {mood} {time}", "a {mood} {time} {ground}", "a {mood} picture {ground}", "a {mood} scene")
SETTING_FORMS = ("something {setting}", "a picture {setting}", "a scene {setting}", "draw something {setting}")
THING_FORMS = (
    "{things}", "something with {things}", "a picture with {things}", "draw {things}", "i want {things}",
    "please draw {things}", "show me {things}",
)  # fmt: skip
PHRASES = (SURPRISES, MOODS, drawn(NIGHTS, SKIES), MOOD_FORMS, SETTING_FORMS, THING_FORMS)

_WATERS = ("sea", "lake")
_LAND = tuple(ground for ground in GROUNDS if ground not in _WATERS)
_GREEN = tuple(ground for ground in _LAND if ground in ("meadow", "forest", "mountains"))
_PAVED = tuple(ground for ground in _LAND if ground in ("road", "city"))
HOMES: Mapping[str, tuple[float, tuple[str, ...]]] = MappingProxyType({
    "boat": (0.9, _WATERS), "fish": (0.75, _WATERS), "lighthouse": (0.5, ("sea", "beach")),
    **{
        kind: (0.8, _LAND)
        for kind in (
            "house", "tree", "car", "cat", "flower", "mushroom", "umbrella", "dog", "rabbit", "horse", "person",
            "child", "train", "castle", "tower", "tent", "flag", "pumpkin", "apple", "cake",
        )
    },
    "duck": (0.6, (*_WATERS, *_GREEN)), "turtle": (0.6, (*_WATERS, "beach")), "snail": (0.7, _GREEN),
    "snowman": (0.8, ("snow",)), "bus": (0.7, _PAVED), "bicycle": (0.6, (*_PAVED, *_GREEN)), "lamp": (0.6, _PAVED),
    "cactus": (0.7, ("desert",)),
})  # fmt: skip
"""On which grounds one expects a thing, and how often it is there."""
TIMES: Mapping[str, tuple[float, tuple[str, ...]]] = MappingProxyType({
    "sun": (0.85, ("day", "dusk", "rainbow")), "moon": (0.85, ("night", "night", "dusk")),
    "star": (0.85, ("night", "dusk")),
})  # fmt: skip
"""Under which skies one expects a thing, and how often it is there."""
SUITED = 0.9
"""How often what is invented suits the ground and the sky."""

_TRIES = 200


@dataclass(frozen=True)
class Wish:
    """A wish in words and what it names; everything named must be kept in a rewrite and in a picture."""

    text: str
    named: Named


def partial_caption(scene: Scene, rng: Random, level: str) -> Wish:
    """A wish that the scene fulfils and that names as much of it as the level says (see LEVELS)."""
    if level == "nothing":
        return Wish(rng.choice(SURPRISES), Named())
    if level == "mood":
        return _mood(scene, rng)
    if level == "everything":
        return Wish(full_caption(scene, rng), Named.of(scene))
    if level not in LEVELS:
        raise ValueError(f"Unknown level {level!r} of a wish. Expected one of: {', '.join(LEVELS)}.")
    things = list(scene.things)
    rng.shuffle(things)
    if level != "most":
        things = things[: rng.randint(1, 2)]
    ground = scene.ground if rng.random() < (0.8 if level == "most" else 0.3) else None
    sky = scene.sky if rng.random() < (0.8 if level == "most" else 0.3) else None
    chance = {"kinds": 0.0, "some": 0.4, "most": 0.8}[level]
    mentions = [thinned(Mention.of(thing), chance, rng) for thing in things]
    colours = Counter(thing.colour for thing in scene.things)
    twice = [colour for colour, count in colours.items() if count > 1]
    if level == "some" and twice and rng.random() < 0.7:
        mentions = [Mention(colour=rng.choice(twice))] * 2  # "two red things"
    return wish_for(Named(tuple(mentions), ground, sky), rng)


def thinned(mention: Mention, chance: float, rng: Random) -> Mention:
    """The same mention with each of its properties kept by this chance, and its kind in any case."""
    dropped = {f.name: None for f in fields(mention) if f.name != "kind" and rng.random() >= chance}
    return replace(mention, **dropped)


def _mood(scene: Scene, rng: Random) -> Wish:
    if rng.random() < 0.4:
        ground, sky = (scene.ground, None) if rng.random() < 0.4 else (None, scene.sky)
        if rng.random() < 0.3:
            ground, sky = scene.ground, scene.sky
        return Wish(rng.choice(SETTING_FORMS).format(setting=setting_phrase(ground, sky, rng)), Named((), ground, sky))
    form = rng.choice(MOOD_FORMS)
    busy = len(scene.things) >= 3
    mood = rng.choice(MOODS["busy" if busy else "quiet"])
    text = form.format(mood=mood, time=rng.choice(NIGHTS[scene.sky]), ground=setting_phrase(scene.ground, None, rng))
    named = Named(
        (),
        ground=scene.ground if "{ground}" in form else None,
        sky=scene.sky if "{time}" in form else None,
        fewest=3 if busy else None,
        most=None if busy else 2,
    )
    return Wish(text, named)


def wish_for(named: Named, rng: Random) -> Wish:
    """Words for a record that names one thing at least; equal mentions become "two cats"."""
    counts = Counter(named.things)
    phrases = [noun_phrase(mention, rng, count=count) for mention, count in counts.items()]
    text = choose(THING_FORMS, rng).format(things=" and ".join(phrases))
    setting = setting_phrase(named.ground, named.sky, rng)
    return Wish(f"{text}, {setting}" if setting and "it is" in setting else f"{text} {setting}".strip(), named)


def sample_scene_for(named: Named, rng: Random, n_things: int | None = None) -> Scene:
    """A scene with taste that satisfies `named`; the named things come first and in order, the rest is invented.

    Raises ValueError where no such scene exists.
    """
    fewest = max(len(named.things), named.fewest or 0)
    most = MOST_THINGS if named.most is None else named.most
    if fewest > most:
        raise ValueError(f"The wish needs {fewest} things, but at most {most} are allowed.")
    for _ in range(_TRIES):
        wanted = rng.choice(HOW_MANY) if n_things is None else n_things
        wanted = min(max(wanted, fewest), most)
        things = _placed(named.things, wanted, rng)
        if things is not None:
            setting = named.ground or rng.choice(GROUNDS), named.sky or rng.choice(SKIES)
            scene = nothing_alike(Scene(*setting, things, named.style or STYLES[0]), named)
            if satisfies(scene, named):
                return scene
    raise ValueError(f"No scene found that satisfies {named}.")


def _placed(mentions: tuple[Mention, ...], wanted: int, rng: Random) -> tuple[Thing, ...] | None:
    things: tuple[Thing, ...] = ()
    for number in range(wanted):
        fixed = vars(_of_one_kind(mentions[number], rng)) if number < len(mentions) else {}
        thing = sample_thing(rng, things, **fixed)
        if thing is None:
            return None
        things += (thing,)
    return things


def _of_one_kind(mention: Mention, rng: Random) -> Mention:
    """The same mention with one of the kinds of its category. Raises ValueError where none has the colour."""
    if mention.kind not in CATEGORIES:
        return mention
    kinds = [kind for kind in CATEGORIES[mention.kind] if mention.colour in (None, *KINDS[kind].colours)]
    if not kinds:
        raise ValueError(f"No {mention.kind} can be {mention.colour}.")
    return replace(mention, kind=rng.choice(kinds))


def sample_wish(rng: Random, level: str | None = None) -> tuple[Wish, Scene]:
    """A wish and a scene that fulfils it, its named things first: a training pair for rewriting."""
    level = level or rng.choice(LEVELS)
    if level == "some" and rng.random() < 0.25:
        colour = rng.choice(sorted({colour for kind in KINDS.values() for colour in kind.colours}))
        group = Mention(colour=colour) if rng.random() < 0.5 else Mention(kind=rng.choice(tuple(KINDS)))
        ground = rng.choice(GROUNDS) if rng.random() < 0.4 else None
        sky = rng.choice(SKIES) if rng.random() < 0.4 else None
        wish = wish_for(Named((group, group), ground, sky), rng)
        return wish, sample_scene_for(wish.named, rng)
    scene = sample_scene(rng)
    wish = partial_caption(scene, rng, level)
    return wish, nothing_alike(named_first(scene, wish.named), wish.named)


def at_home(scene: Scene, named: Named, rng: Random, absent: Sequence[str] = ()) -> Scene:
    """The same scene, its named things first, where a wish leaves things open mostly as one expects it: a ground and a
    sky that suit the things that are named, and other things that suit ground and sky.

    Args:
        scene: what fulfils the wish.
        named: what the wish names.
        rng: chooses.
        absent: kinds that the wish rules out.
    """
    count = len(named.things)
    for thing in scene.things[:count]:
        share, grounds = HOMES.get(thing.kind, (0.0, GROUNDS))
        if named.ground is None and rng.random() < share:
            scene = replace(scene, ground=rng.choice(_without(absent, grounds)))
            break
    for thing in scene.things[:count]:
        share, skies = TIMES.get(thing.kind, (0.0, SKIES))
        if named.sky is None and rng.random() < share:
            scene = replace(scene, sky=rng.choice(_without(absent, skies)))
            break
    things = list(scene.things)
    ruled_out = {*absent, *(KIN[kind] for kind in absent if kind in KIN)}
    kinds = [kind for kind in KINDS if kind not in ruled_out and _suits(kind, scene)]
    for number in range(count, len(things)):
        if _suits(things[number].kind, scene) or rng.random() >= SUITED:
            continue
        others = things[:number] + things[number + 1 :]
        new = [kind for kind in kinds if kind not in {other.kind for other in others}]
        things[number] = sample_thing(rng, others, kind=rng.choice(new)) or things[number]
    return nothing_alike(replace(scene, things=tuple(things)), named)


def _without(absent: Sequence[str], places: Sequence[str]) -> Sequence[str]:
    """Those grounds or skies that show nothing of the absent kinds; all of them where each does."""
    return [place for place in places if not {*SHOWN_BY.get(place, ())} & {*absent}] or places


def _suits(kind: str, scene: Scene) -> bool:
    return scene.ground in HOMES.get(kind, (0, GROUNDS))[1] and scene.sky in TIMES.get(kind, (0, SKIES))[1]


def nothing_alike(scene: Scene, named: Named) -> Scene:
    """The same scene, its named things first, without others that fit a name too: "two boats" are not three."""
    count = len(named.things)
    others = (thing for thing in scene.things[count:] if not any(one.fits(Mention.of(thing)) for one in named.things))
    return replace(scene, things=(*scene.things[:count], *others))


def named_first(scene: Scene, named: Named) -> Scene:
    """The same scene with its things in the order in which they are named, the others after them."""
    found = matched(named.things, [Mention.of(thing) for thing in scene.things]) or []
    first = [scene.things[number] for number in found]
    return replace(scene, things=(*first, *(thing for thing in scene.things if thing not in first)))
