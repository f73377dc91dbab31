"""The behaviours of a model that knows the storybook, each measured on held-out cases as its user would meet them.

A behaviour is a function from a `BatchEvaluator` to cases. Marks that bear the name of a target add up to its share;
marks with other names (a pose that was right, a ground that stayed) only tell more.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from random import Random
from types import MappingProxyType

from .. import storybook
from ..errors import AnsweredInWords
from ..options import CREATIVITY
from ..pipeline import Pipeline
from ..prompting.asking import ask
from ..prompting.rewriting import ATTEMPTS, rewrite
from ..prompting.text_sampling import TextSampling
from ..storybook import STYLES, Composition, Edit, Mention, Named, Scene
from ..values import Chat, References
from .batch_evaluator import BatchEvaluator, shown, to_bytes
from .cases import Case
from .comparison import EVERYTHING, IDENTITY, LOOKS, attribute_hits, holds, project, same_things

TOPICS = ("what", "where", "colour", "how_many", "count")
TIMED_TURNS = 5
NAMES = ("one", "two", "three")  # of the references that are combined


def judge_scene(evaluator: BatchEvaluator) -> Iterator[Case]:
    """The judge on rendered pictures: all objects in kind, colour, size and place, and ground and sky."""
    for batch in evaluator.batches("judge"):
        scenes = [storybook.sample_scene(rng) for _, rng in batch]
        pictures = [storybook.render(scene) for scene in scenes]
        for scene, picture, seen in zip(scenes, pictures, evaluator.read(pictures), strict=True):
            wanted = Named.of(scene)
            setting = (seen.ground, seen.sky) == (wanted.ground, wanted.sky)
            marks = {
                "judge/scene": [setting and same_things(seen, wanted, (*IDENTITY, "size"))],
                "judge/pose too": [setting and same_things(seen, wanted, EVERYTHING)],
            }
            yield Case((picture,), in_words(wanted), in_words(seen), marks)


def reconstruction(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Rendered pictures through the vision encoder's features and back: all objects in kind, colour and place."""
    for batch in evaluator.batches("reconstruction"):
        scenes = [storybook.sample_scene(rng) for _, rng in batch]
        given = [storybook.render(scene) for scene in scenes]
        features = [evaluator.reference(NAMES[0], picture).features for picture in given]
        painted = [to_bytes(picture) for picture in evaluator.paint(features, [number for number, _ in batch])]
        for scene, before, after, seen in zip(scenes, given, painted, evaluator.read(painted), strict=True):
            wanted = Named.of(scene)
            marks = {
                "reconstruction/scene": [same_things(seen, wanted)],
                "reconstruction/size and pose too": [same_things(seen, wanted, EVERYTHING)],
                "reconstruction/ground and sky": [(seen.ground, seen.sky) == (wanted.ground, wanted.sky)],
            }
            yield Case((before, after), in_words(wanted), in_words(seen), marks)


def text_to_picture(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Full captions in any wording, of one to three objects: kind, colour, size and place of all, and the ground."""
    for batch in evaluator.batches("text_to_picture"):
        scenes = [storybook.sample_scene(rng, rng.choice((1, 2, 3))) for _, rng in batch]
        captions = [storybook.full_caption(scene, rng) for scene, (_, rng) in zip(scenes, batch, strict=True)]
        chats = evaluator.take_turns([Chat()] * len(batch), captions, [number for number, _ in batch])
        pictures = [shown(chat) for chat in chats]
        for scene, caption, picture, seen in zip(scenes, captions, pictures, evaluator.read(pictures), strict=True):
            wanted = Named.of(scene)
            right = same_things(seen, wanted, (*IDENTITY, "size")) and seen.ground == wanted.ground
            hits = attribute_hits(seen, wanted)
            marks = {
                "text_to_picture/scene": [right],
                "text_to_picture/attribute": [hit for attribute in hits.values() for hit in attribute],
                **{f"text_to_picture/{name}": attribute for name, attribute in hits.items()},
                "text_to_picture/sky": [seen.sky == wanted.sky],
                "text_to_picture/pose too": [same_things(seen, wanted, EVERYTHING)],
            }
            yield Case((picture,), caption, in_words(seen), marks)


def describe(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Rendered pictures in words: every object named with its kind, colour and place, and none that is not there."""
    for batch in evaluator.batches("describe"):
        for _, rng in batch:
            scene = storybook.sample_scene(rng)
            picture = storybook.render(scene)
            question = rng.choice(storybook.DESCRIBE)
            answer = ask(evaluator.pipeline.wegen, question, References((evaluator.reference(NAMES[0], picture),)))
            said, wanted = storybook.parse_caption(answer), Named.of(scene)
            marks = {
                "describe/objects": [same_things(said, wanted)],
                "describe/everything": [said.same_as(wanted)],
            }
            yield Case((picture,), question, answer, marks)


def questions(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Questions about rendered pictures: what, where, which colour, how many."""
    for batch in evaluator.batches("questions"):
        for number, rng in batch:
            scene = storybook.sample_scene(rng)
            item = storybook.sample_question(scene, rng, TOPICS[number % len(TOPICS)])
            picture = storybook.render(scene)
            answer = ask(evaluator.pipeline.wegen, item.text, References((evaluator.reference(NAMES[0], picture),)))
            right = [item.is_right(answer)]
            marks = {"questions/right": right, f"questions/{item.topic}": right}
            yield Case((picture,), f"{item.text} ({item.answer})", answer, marks)


def refine(evaluator: BatchEvaluator) -> Iterator[Case]:
    """A picture drawn from words, then one change of what it shows: the change happened, all else stayed."""
    for batch in evaluator.batches("refine"):
        generators = [rng for _, rng in batch]
        asked = [storybook.sample_scene(rng, rng.choice((1, 2, 3))) for rng in generators]
        captions = [storybook.full_caption(scene, rng) for scene, rng in zip(asked, generators, strict=True)]
        chats = evaluator.take_turns([Chat()] * len(batch), captions, [number for number, _ in batch])
        befores = [shown(chat) for chat in chats]
        # A user changes what the picture shows, be it what was asked or not.
        starts = [as_scene(seen) or scene for seen, scene in zip(evaluator.read(befores), asked, strict=True)]
        changes = [_change(start, rng) for start, rng in zip(starts, generators, strict=True)]
        chats = evaluator.take_turns(chats, [order for _, order in changes], [number for number, _ in batch])
        afters = [shown(chat) for chat in chats]
        for start, (edit, order), before, after, seen in zip(
            starts, changes, befores, afters, evaluator.read(afters), strict=True
        ):
            yield Case((before, after), order, in_words(seen), refine_marks(start, edit, seen))


def _change(scene: Scene, rng: Random) -> tuple[Edit, str]:
    edit = storybook.sample_edit(scene, rng)
    return edit, storybook.instruction(scene, (edit,), rng)


def refine_marks(before: Scene, edit: Edit, seen: Named) -> dict[str, list[bool]]:
    """The marks of one change of a scene, from what is seen after it."""
    changed = [happened(edit, seen)]
    setting = {"ground": seen.ground, "sky": seen.sky, "style": seen.style or STYLES[0]}
    setting_stayed = all(now == getattr(before, name) for name, now in setting.items() if name != edit.action)
    return {
        "refine/changed": changed,
        "refine/unchanged": [setting_stayed and all(stayed(before, edit, seen))],
        "refine/ground, sky and style": [setting_stayed],
        f"refine/{edit.action}": changed,
    }


def as_scene(named: Named) -> Scene | None:
    """What was seen or said as a scene; None where it is none (a green cat, things that overlap) or holds no thing."""
    try:
        scene = named.to_scene()
    except ValueError:
        return None
    return scene if scene.things else None


def happened(edit: Edit, seen: Named) -> bool:
    """Whether a change can be seen: the thing is as it should be, where it should be, and no longer where it was."""
    if edit.action == "ground":
        return seen.ground == edit.value
    if edit.action == "sky":
        return seen.sky == edit.value
    gone = edit.before is not None and (edit.after is None or edit.after.place != edit.before.place)
    if gone and any(
        (thing.kind, thing.column, thing.row) == (edit.before.kind, *edit.before.place) for thing in seen.things
    ):
        return False
    asked = {
        "grow": ("size",),
        "shrink": ("size",),
        "turn": ("pose",),
        "pattern": ("pattern",),
        "appear": ("size",),
    }.get(edit.action, ())
    return edit.after is None or holds(seen.things, [Mention.of(edit.after)], (*IDENTITY, *asked))


def stayed(before: Scene, edit: Edit, seen: Named) -> list[bool]:
    """For each thing that was not to change whether it is there in kind, colour and place, and a False for each more
    that came uninvited. Empty where there was nothing but what was to change, and nothing came.

    What stands where the changed thing should be counts there, for or against the change, whatever it looks like.
    """
    kept = project(map(Mention.of, storybook.untouched(before, (edit,))), IDENTITY)
    there = project(seen.things, IDENTITY)
    invited = {thing.kind for thing in (edit.before, edit.after) if thing is not None}
    came = list((there - kept).elements())
    goal = [] if edit.after is None else list(edit.after.place)
    strange = sum(kind not in invited and place != goal for kind, _, *place in came)
    uninvited = max(strange, len(came) - len(invited))
    # What has another look now is both lost and uninvited, and counts once.
    return [True] * (kept & there).total() + [False] * max((kept - there).total(), uninvited)


def two_references(evaluator: BatchEvaluator) -> Iterator[Case]:
    """One object from each of two pictures brought together: both there with their kind, colour and size."""
    return _brought_together(evaluator, "two_references", 2, "both")


def three_references(evaluator: BatchEvaluator) -> Iterator[Case]:
    """One object from each of three pictures brought together: all there with their kind, colour and size."""
    return _brought_together(evaluator, "three_references", 3, "all")


def _brought_together(evaluator: BatchEvaluator, name: str, count: int, mark: str) -> Iterator[Case]:
    for batch in evaluator.batches(name):
        plans = [storybook.sample_composition(rng, count) for _, rng in batch]
        instructions = [mentioning(plan) for plan in plans]
        given = [_references(evaluator, plan) for plan in plans]
        chats = evaluator.take_turns([Chat()] * len(batch), instructions, [number for number, _ in batch], given)
        pictures = [shown(chat) for chat in chats]
        readings = evaluator.read(pictures)
        for plan, text, references, picture, seen in zip(plans, instructions, given, pictures, readings, strict=True):
            kept = [Mention.of(thing) for thing in plan.kept]
            there = [holds(seen.things, kept, LOOKS)]
            masked = "masks" if any(plan.cut_out) else "no mask"
            marks = {
                f"{name}/{mark}": there,
                f"{name}/{masked}": there,
                f"{name}/pose too": [holds(seen.things, kept, (*LOOKS, "pose"))],
            }
            sources = [to_bytes(reference.picture) for reference in references]
            yield Case((*sources, picture), text, in_words(seen), marks)


def mentioning(plan: Composition) -> str:
    """The instruction of a composition with `@name` where a picture stands."""
    return "".join(piece if isinstance(piece, str) else f"@{NAMES[piece]}" for piece in plan.instruction)


def _references(evaluator: BatchEvaluator, plan: Composition) -> References:
    references = References()
    for name, scene, thing, cut in zip(NAMES, plan.references, plan.chosen, plan.cut_out, strict=False):
        mask = storybook.mask_of(thing) if cut else None
        references = references.add(evaluator.reference(name, storybook.render(scene), mask))
    return references


def rewriting(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Wishes of every level in detailed words, sampled: all that a wish names is in the first rewrite of the model's,
    and beside that in the one that checks prefer among several."""
    sampling = TextSampling.from_creativity(CREATIVITY)
    for batch in evaluator.batches("rewriting"):
        for number, rng in batch:
            level = storybook.LEVELS[number % len(storybook.LEVELS)]
            wish, _ = storybook.sample_wish(rng, level)
            first, preferred = (
                rewrite(evaluator.pipeline.wegen, wish.text, [number], sampling, attempts=attempts)[0]
                for attempts in (1, ATTEMPTS)
            )
            # What it says that it cannot draw names nothing, and yet all that a wish names that names nothing.
            kept, checked = (
                [bool(one.text) and not one.spoken and storybook.covers(storybook.parse_caption(one.text), wish.named)]
                for one in (first, preferred)
            )
            marks = {
                "rewriting/named_kept": kept,
                "rewriting/named_kept with checks": checked,
                f"rewriting/{level}": kept,
                "rewriting/a whole scene": [as_scene(storybook.parse_caption(first.text)) is not None],
            }
            yield Case((), wish.text, first.text, marks)


def turn_seconds(pipeline: Pipeline) -> float:
    """The median time of whole turns at default settings: a vague wish rewritten, thought out, painted and decoded.

    One picture at a time, on all the cores that PyTorch was given; neither a first turn to warm up nor one that is
    answered in words is counted. NaN where all are answered so.
    """
    times = []
    for number in range(TIMED_TURNS + 1):
        wish, _ = storybook.sample_wish(Random(f"evaluation/turn/{number}"), "kinds")
        began = time.perf_counter()
        with suppress(AnsweredInWords):
            pipeline.generate(wish.text, [number], sampling=TextSampling.from_creativity(CREATIVITY))
            times.append(time.perf_counter() - began)
    return statistics.median(times[1:]) if len(times) > 1 else math.nan


def in_words(named: Named) -> str:
    """What a judge saw, briefly."""
    things = []
    for thing in named.things:
        look = " ".join(filter(None, (thing.size, thing.colour, thing.pattern, thing.kind)))
        things.append(f"{look} ({thing.pose}), {storybook.place_name(thing.column, thing.row)}")
    setting = filter(None, (named.style, named.ground, named.sky))
    return "; ".join([", ".join(setting), *things])


BEHAVIOURS: Mapping[str, Callable[[BatchEvaluator], Iterator[Case]]] = MappingProxyType(
    {
        "judge": judge_scene,
        "reconstruction": reconstruction,
        "text_to_picture": text_to_picture,
        "describe": describe,
        "questions": questions,
        "refine": refine,
        "two_references": two_references,
        "three_references": three_references,
        "rewriting": rewriting,
    }
)
