"""Orders that cannot be followed, put together from known and unknown words: no list holds all that people may say."""

from __future__ import annotations

from random import Random

from ..catalogue import COLOURS
from .adjectives import FOR_ALL, described
from .held_out import TRAINED, part_of
from .words import with_article

PARTS = (
    "tail", "ears", "roof", "wheels", "legs", "wings", "eyes", "nose", "handle", "leaves", "chimney", "feet",
    "whiskers", "beak", "fins", "head", "hair", "trunk", "branches", "hat", "shoes", "back", "bottom half", "front",
    "shadow", "edges", "tip", "belly", "mouth", "arms", "hands", "neck", "seat",
)  # fmt: skip
"""Parts of things: they are not drawn by themselves, so nothing can be done to them alone."""
_VERBS = (
    "run", "sing", "dance", "jump", "talk", "laugh", "cry", "sit down", "lie down", "eat", "drink", "blink", "explode",
    "disguise itself", "drive away", "fly off", "swim", "bark", "roll over", "melt", "break", "burn", "shake", "bounce",
    "whistle", "wink", "think", "read", "fall over", "crash", "smoke", "wobble", "hop", "snore", "look up",
    "look at me", "bow",
)  # fmt: skip
_PICTURE = tuple(word for word in part_of(FOR_ALL, TRAINED) if word not in ("normal", "ordinary", "typical"))
_STYLES = ("in the style of {noun}", "in {noun} style", "as {a_noun} drawing", "like {a_noun} painting")
_FRAMES = (
    "put {a_noun} on {it}", "put {a_noun} in {its} hand", "give {it} {a_noun}", "let {it} hold {a_noun}",
    "let {it} wear {a_noun}", "dress {it} up as {a_noun}", "make {it} look like {a_noun}", "make {it} carry {a_noun}",
    "{it} should wear {a_noun}", "{it} needs {a_noun} on its head", "tie {a_noun} to {it}", "wrap {it} in {a_noun}",
    "write {noun} on {it}", "write {noun} above {it}", "put the word {noun} on {it}", "paint {a_noun} onto {it}",
    "let {it} {verb}", "make {it} {verb}", "can you make {it} {verb}?", "i want {it} to {verb}", "{it} should {verb}",
    "could {it} {verb}?", "have {it} {verb}", "let {it} {verb} and {verb}", "teach {it} to {verb}",
    "make {its} {part} bigger", "make {its} {part} smaller", "make {its} {part} {colour}",
    "paint {its} {part} {colour}", "remove {its} {part}", "take {its} {part} off", "give {it} a {colour} {part}",
    "give {it} other {part}", "make the {part} of {it} longer", "turn {its} {part} {colour}", "change {its} {part}",
    "move {its} {part} a bit", "i don't like {its} {part}", "could {its} {part} be {colour}?", "no {part} for {it}",
    "add {part} to {it}", "what about {colour} {part} for {it}?", "cut off {its} {part}", "fix {its} {part}",
    "make {it} {adjective}", "make {it} more {adjective}", "make {it} look {adjective}", "make {it} less {adjective}",
    "{it} should be more {adjective}", "{it} should look {adjective}", "could {it} look more {adjective}?",
    "i want {it} to be {adjective}", "can you make {it} a bit more {adjective}?", "give {it} a more {adjective} look",
    "make the picture more {adjective}", "make everything look {adjective}", "make it all a bit more {adjective}",
    "the picture should look {adjective}", "could the picture be more {adjective}?",
    "a more {adjective} picture please", "draw it {style}", "make it {style}", "redo it {style}",
    "paint the whole picture {style}", "{style} please", "the same {style}", "can you do this {style}?",
    "turn the picture into {a_noun}", "put the picture on {a_noun}", "print the picture on {a_noun}",
    "add {a_noun} effect", "apply {a_noun} filter", "show {it} from behind", "show {it} through {a_noun}",
    "look at {it} through {a_noun}", "fill {it} with {noun}", "cover {it} with {noun}", "put {it} inside {a_noun}",
    "hit {it} with {a_noun}", "use {a_noun} for this", "rotate {it} by 30 degrees", "tilt {it} a bit",
    "flip {it} upside down", "blur {it}", "sharpen {it}", "make {it} transparent", "zoom in on {it}",
    "crop everything but {it}", "put a shadow under {it}", "bend {it}", "stretch {it}", "make {it} square",
    "cut {it} in half",
)  # fmt: skip


def sample_deed(it: str, its: str, noun: str, rng: Random) -> str:
    """An order to train with.

    Args:
        it: what names a thing of the picture: "the cat".
        its: the same as an owner: "the cat's".
        noun: an unknown thing, without an article.
        rng: chooses.
    """
    words = {
        "it": it, "its": its, "noun": noun, "a_noun": with_article(noun),
        "part": rng.choice(PARTS), "verb": rng.choice(_VERBS), "colour": rng.choice(tuple(COLOURS)),
        "adjective": described("building", rng) if rng.random() < 0.4 else rng.choice(_PICTURE),
    }  # fmt: skip
    words["style"] = rng.choice(_STYLES).format(**words)
    return rng.choice(_FRAMES).format(**words)
