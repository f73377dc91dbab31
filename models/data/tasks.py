"""From the storybook to training samples: one builder for each thing that the model must learn.

Sample number i of a seed depends on (seed, i) alone, so that training can resume anywhere and spread over processes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any

from .. import storybook
from ..storybook import Scene, Thing
from .annotator import Annotator, StorybookAnnotator
from .samples import Part, Picture, Sample, Text

MOST_TURNS = 3
MOST_CHANGES = 2  # in one turn
_TRIES = 30


def _user(*contents: str | Scene) -> list[Part]:
    return [_part(content, "user", False) for content in contents]


def _assistant(*contents: str | Scene) -> list[Part]:
    return [_part(content, "assistant", True) for content in contents]


def _part(content: str | Scene, role: str, target: bool) -> Part:
    if isinstance(content, str):
        return Text(content, role, target)
    return Picture(storybook.render(content), role, target)


def caption(rng: Random) -> Sample:
    """A picture, and its canonical description."""
    scene = storybook.sample_scene(rng)
    parts = _user(scene, rng.choice(storybook.DESCRIBE)) + _assistant(storybook.describe(scene))
    return Sample("caption", tuple(parts), {"scene": scene.to_json()})


def question(rng: Random) -> Sample:
    """A picture and questions with short answers, at most one of each topic."""
    scene = storybook.sample_scene(rng)
    parts: list[Part] = _user(scene)
    asked = []
    for topic in rng.sample(storybook.TOPICS, rng.randint(1, len(storybook.TOPICS))):
        item = storybook.sample_question(scene, rng, topic)
        parts += _user(item.text) + _assistant(item.answer)
        asked.append({"topic": item.topic, "text": item.text, "answer": item.answer})
    return Sample("question", tuple(parts), {"scene": scene.to_json(), "questions": asked})


def change_question(rng: Random) -> Sample:
    """A picture before and after, and what changed."""
    before = storybook.sample_scene(rng)
    edits = storybook.sample_edits(before, rng, rng.choice((1, 1, 2)))
    after = storybook.apply(before, edits)
    item = storybook.change_question(before, edits, rng)
    parts = _user(before, after, item.text) + _assistant(item.answer)
    asked = [{"topic": item.topic, "text": item.text, "answer": item.answer}]
    return Sample("change_question", tuple(parts), {"scenes": [before.to_json(), after.to_json()], "questions": asked})


def text_to_picture(rng: Random) -> Sample:
    """A full caption in any wording; the same in canonical words, things in the same order, and the picture."""
    scene = storybook.sample_scene(rng)
    text = storybook.full_caption(scene, rng, shuffle=False)
    parts = _user(text) + _assistant(storybook.full_caption(scene), scene)
    return Sample("text_to_picture", tuple(parts), {"scene": scene.to_json()})


def rewrite(rng: Random) -> Sample:
    """A vague wish; a full canonical description that keeps all it names, named things first; and the picture."""
    wish, scene = storybook.sample_wish(rng)
    parts = _user(wish.text) + _assistant(storybook.full_caption(scene), scene)
    return Sample("rewrite", tuple(parts), {"scene": scene.to_json(), "named": wish.named.to_json()})


def compose(rng: Random) -> Sample:
    """Things of one to three reference pictures in one new picture; the rewrite names them first."""
    plan = storybook.sample_composition(rng)
    parts = _mentioning(plan.instruction, plan.references, plan.chosen, plan.cut_out)
    parts += _assistant(storybook.full_caption(plan.target), plan.target)
    record = {
        "scene": plan.target.to_json(),
        "references": [scene.to_json() for scene in plan.references],
        "kept": list(range(len(plan.kept))),  # the first things of the scene are those of the references, in order
    }
    return Sample("compose", tuple(parts), record)


def _mentioning(
    instruction: Sequence[str | int], references: Sequence[Scene], chosen: Sequence[Thing], cut_out: Sequence[bool]
) -> list[Part]:
    """An instruction with pictures of the references where their numbers stand."""
    parts: list[Part] = []
    for piece in instruction:
        if isinstance(piece, str):
            parts.append(Text(piece, "user"))
            continue
        pixels = storybook.render(references[piece])
        if cut_out[piece]:
            pixels = storybook.cutout(pixels, storybook.mask_of(chosen[piece]))
        parts.append(Picture(pixels, "user"))
    return parts


def add_reference(rng: Random) -> Sample:
    """A picture, given or asked for, to which a thing of a reference picture is added."""
    plan = storybook.sample_addition(rng)
    if rng.random() < 0.4:
        parts = _user(plan.before)
    else:
        parts = _user(storybook.full_caption(plan.before, rng, shuffle=False))
        parts += _assistant(storybook.full_caption(plan.before), plan.before)
    parts += _mentioning(plan.instruction, (plan.reference,), (plan.chosen,), (plan.cut_out,))
    parts += _assistant(storybook.full_caption(plan.target), plan.target)
    record = {"scene": plan.target.to_json(), "references": [plan.reference.to_json()]}
    return Sample("add_reference", tuple(parts), record)


def refine(rng: Random) -> Sample:
    """A chat of one to three refinements, cut from a storybook video."""
    while True:
        video = storybook.sample_video(rng)
        sample = refine_video(video, StorybookAnnotator(), rng)
        if sample is not None:
            return sample


def refine_video(video: Any, annotator: Annotator, rng: Random) -> Sample | None:
    """The paper's pipeline: frames at a time distance and the dynamics between them as one interleaved chat.

    The first frame is either given by the user or asked for in words; each refinement is the dynamics in words,
    answered by the description of the next frame and by that frame. Descriptions keep the order in which things were
    first named. None where too little happens in the video, or too much at once.
    """
    turns = rng.choice((1, 1, 2, MOST_TURNS))
    frames = [rng.randrange(annotator.length(video) - 1)]
    dynamics = []
    for _ in range(turns):
        choices = list(range(frames[-1] + 1, annotator.length(video)))
        rng.shuffle(choices)
        for frame in choices:
            change = annotator.dynamics(video, frames[-1], frame, rng)
            if 1 <= change.count <= MOST_CHANGES:
                frames.append(frame)
                dynamics.append(change)
                break
    if not dynamics:
        return None
    order = annotator.reading_order(video, frames[0])
    first = annotator.picture(video, frames[0])
    parts: list[Part] = []
    if rng.random() < 0.5:
        parts.append(Picture(first, "user"))
    else:
        parts.append(Text(annotator.request(video, frames[0], order, rng), "user"))
        parts.append(Text(annotator.caption(video, frames[0], order), "assistant", True))
        parts.append(Picture(first, "assistant", True))
    for frame, change in zip(frames[1:], dynamics, strict=True):
        parts.append(Text(change.text, "user"))
        parts.append(Text(annotator.caption(video, frame, order), "assistant", True))
        parts.append(Picture(annotator.picture(video, frame), "assistant", True))
    record = {
        "scenes": [annotator.record(video, frame) for frame in frames],
        "edits": [list(change.record) for change in dynamics],
    }
    return Sample("refine", tuple(parts), record)


_BUILDERS = (caption, question, change_question, text_to_picture, rewrite, compose, add_reference, refine)
TASKS: Mapping[str, Callable[[Random], Sample]] = MappingProxyType({build.__name__: build for build in _BUILDERS})


def check_mix(task_mix: Mapping[str, float]) -> None:
    """Raises ValueError for a task that does not exist or weights that cannot be drawn from."""
    unknown = [task for task in task_mix if task not in TASKS]
    if unknown:
        raise ValueError(f"Unknown task {unknown[0]!r} in the task mix. Expected some of: {', '.join(TASKS)}.")
    if not task_mix or min(task_mix.values()) < 0 or sum(task_mix.values()) <= 0:
        raise ValueError(f"A task mix needs weights of 0 or more, one of them above 0, got {dict(task_mix)}.")


def sample_at(task_mix: Mapping[str, float], seed: int, index: int) -> Sample:
    """Sample `index` of the endless sequence of `seed`; weights need not add up to 1."""
    rng = Random(f"{seed}/{index}")
    task = rng.choices(list(task_mix), list(task_mix.values()))[0]
    return TASKS[task](rng)


def generate_samples(task_mix: Mapping[str, float], seed: int, start: int = 0) -> Iterator[Sample]:
    """Endless samples from `start` on. Raises ValueError at once for a bad mix."""
    check_mix(task_mix)

    def endless() -> Iterator[Sample]:
        index = start
        while True:
            yield sample_at(task_mix, seed, index)
            index += 1

    return endless()
