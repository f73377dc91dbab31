"""From the storybook to training samples: one builder for each thing that the model must learn.

Sample number i of a seed depends on (seed, i) alone, so that training can resume anywhere and spread over processes.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType

import numpy as np

from .. import storybook
from ..json_values import is_a
from ..media.conditions import CONDITIONS, DEGRADATIONS, MISSING, degrade
from ..storybook import STYLES, Edit, Mention, Question, Scene, Thing, Video, language
from ..storybook.language import Order, Story
from ..storybook.world import MOST_THINGS
from . import annotator
from .samples import Forgotten, Part, Picture, Sample, Text
from .strange_pictures import strange_picture

MOST_TURNS = 3
MOST_CHANGES = 2  # in one turn
MOST_CHAT_TURNS = 8  # of a chat that has lost its pictures
QUESTIONS = (6, 14)  # fewest and most about one picture
TWINS = 0.5
"""Share of the pages asked about that must show two of a kind. Of all pages too few do to learn to count them."""
TOPIC_WEIGHTS = {"where": 3, "how_many": 3, "is_there": 3, "colour": 3, "relation": 5, "what": 2, "size": 2, "sky": 1.5}
"""Those that make a model look for one thing need more practice than those about the whole page; the rest weigh 1."""


MOST_DAMAGE = 0.7  # strength of what a picture that is to be restored has suffered
MOST_HIDDEN = 0.6  # share of a thing that a missing square hides
DAMAGE_WEIGHTS = {"grey": 3, "missing square": 2}
"""How often each damage is practised: what is gone, colours most, is harder to tell than all else. The rest weigh 1."""

OWN_WORDS = 0.75
"""Share of what people say that is in their own words; the rest is in those of the storybook's grammar."""
IN_EDIT_BOX = 0.3
"""Share of the pages whose questions are put where an order is expected."""
PRACTISED = (
    "several", "several", "several", "several", "several", "several", "several", "several", "several", "several",
    "replace", "replace", "replace", "replace", "replace", "pose", "pose", "pose", "pose", "swap", "swap", "swap",
    "bigger", "bigger", "bigger", "smaller", "colour", "colour", "colour", "other colour", "remove", "remove", "remove",
    "relative", "relative", "sideways", "sideways", "to place", "to place", "vertical", "bring back", "bring back",
    "undo", "undo", "pattern", "pattern", "pattern", "only", "only", "remove all",
    "remove all", "remove all", "remove all", "remove some", "remove some", "remove some", "resize some", "resize some",
    "colour some", "colour some", "another", "more", "other colour", "to place", "bigger",
)  # fmt: skip
"""Intents that are learned slowest."""
LAST_TAKEN = 0.5
"""Share of the orders on a picture with one thing that take it out: little else teaches that a picture may be empty."""
PRACTICE = 0.5
"""Share of the orders that have one of them, where the picture allows it."""
SAID_TO_STAY = (0.35, 0.25)
"""In place of `language.orders.SAID_TO_STAY`, which is how often people would say it: words that name what stays are
learned slowly."""
TWINS_CHANGED = 0.15
"""Share of the pictures to be changed that must show two of a kind: only there all of a kind can be spoken of."""
MANY, CROWDED = (3, 4, 4, 5), 0.4
"""Share of the pictures to be changed that hold many things, beside those that do so by chance."""
LEFT_IN_VIEW = (0, 0, 1, 2, 2, 2, 2)
"""How many pictures have not left a chat: with two, the last answer is given as in use, in view of the one before."""
WISHED_FIRST = 0.35
"""Share of the pictures to be changed that were asked for by a wish, which leaves much open."""
MISTAKEN = 0.12
"""Share of the turns of a chat that are answered wrong, which is not learned: the next order is about what is there."""
DECLINED_WEIGHTS = {
    "colour": 6, "replace": 3, "deed": 4, "absent": 5, "ground": 5, "full": 3, "add": 2, "place": 3, "can": 3,
    "wish": 3, "things": 2, "thing": 3, "talk": 4, "question": 1.5, "which": 0,
}  # fmt: skip
"""How often what is declined is practised: what is learned slowest more often. What is not named weighs 1. What nobody
can tell is said only as a first order: later ones may be about what was changed before."""
MOST_DECLINED = 4  # in one chat
FOLLOWED = 0.4
"""Share of the wishes and orders between those that are declined that can be followed."""
CONTENT = "content"  # the name of a picture that is to be drawn in the style of another
GIVEN, DRAWN, FORGOTTEN = "given", "drawn", "forgotten"
"""How a picture that is spoken of came into the chat: brought by the user, asked for, or asked for and out of sight."""

ANEW = "drawn anew"
"""What a description begins with where a picture is restored, or drawn after a sketch: all of it changes."""
KEEPING = "keeping {things}: "
"""What a description begins with where an order names things that are to stay as they are."""
CHANGED_LATER = 0.35
"""Share of the restored pictures, and of those drawn after a sketch, that are changed in the next turn."""

STYLED, STYLED_FROM_WORDS = 0.2, 0.5
"""Share of the pages that are drawn in any style, where a task is not about styles; and where nothing but words tells
it, which takes more practice."""


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
    scene = _styled(storybook.sample_scene(rng), rng)
    request = language.sample_describe(rng) if _in_own_words(rng) else rng.choice(storybook.DESCRIBE)
    parts = _user(scene, request) + _assistant(storybook.describe(scene))
    return Sample("caption", tuple(parts), {"scene": scene.to_json()})


def _styled(scene: Scene, rng: Random, share: float = STYLED) -> Scene:
    """The same scene, now and then in another style."""
    return replace(scene, style=rng.choice(STYLES)) if rng.random() < share else scene


def _words_for(said: Order) -> str:
    """The answer to an order in words: what it wants kept, and all of the new picture."""
    kept = " and ".join(_told_apart(thing, said.before) for thing in said.left_alone)
    return (KEEPING.format(things=kept) if kept else "") + storybook.full_caption(said.after)


def _told_apart(thing: Thing, scene: Scene) -> str:
    """A thing by kind and colour, and by its place where another has both."""
    looks = Mention(thing.kind, thing.colour)
    if sum(looks.fits(Mention.of(other)) for other in scene.things) > 1:
        looks = replace(looks, column=thing.column, row=thing.row)
    return storybook.noun_phrase(looks, article="the")


def _in_own_words(rng: Random) -> bool:
    return rng.random() < OWN_WORDS


def question(rng: Random) -> Sample:
    """A picture and many questions with short answers, no two of them alike."""
    scene = _styled(_scene_with_twins(rng) if rng.random() < TWINS else storybook.sample_scene(rng), rng)
    asked = _questions(scene, rng, rng.randint(*QUESTIONS))
    parts = _user(scene) + _asked(asked, "edit_rewrite" if rng.random() < IN_EDIT_BOX else "")
    return Sample("question", tuple(parts), {"scene": scene.to_json(), "questions": [vars(item) for item in asked]})


def _scene_with_twins(rng: Random) -> Scene:
    while True:
        scene = storybook.sample_scene(rng, rng.choice((2, 3, 3, 4)))
        if len({thing.kind for thing in scene.things}) < len(scene.things):
            return scene


def _questions(scene: Scene, rng: Random, count: int) -> list[Question]:
    """At most `count` questions, all different."""
    items = {}
    for _ in range(count):
        own = _in_own_words(rng)
        all_topics = language.TOPICS if own else storybook.TOPICS
        [topic] = rng.choices(all_topics, [TOPIC_WEIGHTS.get(topic, 1) for topic in all_topics])
        if not scene.things and topic not in storybook.WITHOUT_THINGS:
            continue
        item = (language if own else storybook).sample_question(scene, rng, topic)
        items[item.text] = item
    return list(items.values())


def _asked(items: Sequence[Question], task: str = "") -> list[Part]:
    return [part for item in items for part in (Text(item.text, "user", task=task), *_assistant(item.answer))]


def change_question(rng: Random) -> Sample:
    """A picture before and after, and what changed."""
    before = _styled(storybook.sample_scene(rng), rng)
    edits = storybook.sample_edits(before, rng, rng.choice((1, 1, 2)))
    after = storybook.apply(before, edits)
    item = storybook.change_question(before, edits, rng)
    if _in_own_words(rng):
        item = replace(item, text=language.sample_changed(rng))
    parts = _user(before, after, item.text) + _assistant(item.answer)
    record = {"scenes": [before.to_json(), after.to_json()], "questions": [vars(item)]}
    return Sample("change_question", tuple(parts), record)


def text_to_picture(rng: Random) -> Sample:
    """A full caption in any wording; the same in canonical words, things in the same order, and the picture."""
    scene = _styled(storybook.sample_scene(rng), rng, STYLED_FROM_WORDS)
    text = storybook.full_caption(scene, rng, shuffle=False)
    if rng.random() < 0.3:
        wish = language.sample_wish(rng, level="everything", styled=STYLED_FROM_WORDS)
        scene, text = wish.scene, wish.text
    parts = _user(text) + _assistant(storybook.full_caption(scene), scene)
    return Sample("text_to_picture", tuple(parts), {"scene": scene.to_json()})


def rewrite(rng: Random) -> Sample:
    """A vague wish; a full canonical description that keeps all it names, named things first; and the picture."""
    wish, scene = storybook.sample_wish(rng)
    absent: tuple[str, ...] = ()
    if _in_own_words(rng):
        wish = language.sample_wish(rng, styled=STYLED)
        scene, absent = wish.scene, wish.absent
    scene = storybook.at_home(scene, wish.named, rng, absent)
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
    plan, target = storybook.sample_addition(rng), None
    if rng.random() < 0.4:
        parts = _user(plan.before)
        seen = _as_seen(plan.before).things
        target = replace(plan.target, things=(*seen, *(thing for thing in plan.target.things if thing not in seen)))
    else:
        parts = _user(storybook.full_caption(plan.before, rng, shuffle=False))
        parts += _assistant(storybook.full_caption(plan.before), plan.before)
    parts += _mentioning(plan.instruction, (plan.reference,), (plan.chosen,), (plan.cut_out,))
    target = target or plan.target
    parts += _assistant(storybook.full_caption(target), target)
    record = {"scene": target.to_json(), "references": [plan.reference.to_json()]}
    return Sample("add_reference", tuple(parts), record)


def chat(rng: Random) -> Sample:
    """A chat of many changes whose older pictures have left it; then questions about what is there.

    Without pictures a change costs a model a third of the tokens, so this is where it practises what words ask for.
    """
    story, request = _asked_for(_styled(_to_be_changed(rng), rng), rng)
    scene = story.now
    turns = rng.randint(2, MOST_CHAT_TURNS)
    seen_from = turns - rng.choice(LEFT_IN_VIEW)
    parts, scenes, asked = [], [], []
    mistaken, words = False, storybook.full_caption(scene)
    for number in range(turns):
        shown = _assistant(scene) if number >= seen_from else [Forgotten("assistant", True)]
        answer = [*_assistant(words), *shown]
        parts += [*_user(request), *(replace(part, target=not mistaken) for part in answer)]
        scenes.append(scene.to_json())
        if number == turns - 1:
            break
        edits: tuple[Edit, ...] = ()
        if _in_own_words(rng):
            said = _practised_order(story, rng)
            request = said.text
            mistaken = rng.random() < MISTAKEN and number < turns - 2
            said = _misunderstood(said, story, rng) if mistaken else said
            story, words = story.then(said), _words_for(said)
        else:
            mistaken = False
            edits = storybook.sample_edits(scene, rng, rng.choice((1, 1, 1, MOST_CHANGES)))
            after = storybook.apply(scene, edits)
            request = annotator.order(scene, edits, rng)
            story, words = Story((*story.scenes, after), past=(*story.past, scene)), storybook.full_caption(after)
        before, scene = scene, story.now
    asked = _questions(scene, rng, rng.randint(0, 4))
    if edits and rng.random() < 0.4:
        asked.insert(0, storybook.change_question(before, edits, rng))
    record = {"scenes": scenes, "questions": [vars(item) for item in asked]}
    return Sample("chat", tuple(parts + _asked(asked)), record)


def _misunderstood(said: Order, story: Story, rng: Random) -> Order:
    """The same order, followed as another one, or not at all."""
    other = rng.random() < 0.6
    return replace(said, after=language.sample_order(story, rng).after if other else said.before, last=None)


def revise(rng: Random) -> Sample:
    """A picture, given or asked for, and one to three orders in people's own words, each with its new picture."""
    scene = _styled(_to_be_changed(rng), rng)
    form = rng.choice((GIVEN, DRAWN))
    if form == GIVEN:
        scene = _as_seen(scene)
        story, parts = Story((scene,)), _user(scene)
    else:
        story, request = _asked_for(scene, rng)
        parts = [*_user(request), *_assistant(storybook.full_caption(story.now), story.now)]
    orders = []
    for _ in range(rng.choice((1, 1, 2, MOST_TURNS))):
        said = _practised_order(story, rng)
        story = story.then(said)
        orders.append({"intent": said.intent, "text": said.text})
        parts += _user(said.text) + _assistant(_words_for(said), story.now)
    record = {"scenes": [scene.to_json() for scene in story.scenes], "orders": orders}
    return Sample("revise", tuple(parts), record)


def _as_seen(scene: Scene) -> Scene:
    """A picture that somebody brings: nobody has named its things in another order than that in which they lie."""
    return replace(scene, things=tuple(sorted(scene.things, key=lambda thing: (thing.row, thing.column))))


def _to_be_changed(rng: Random) -> Scene:
    if rng.random() < TWINS_CHANGED:
        return _scene_with_twins(rng)
    return storybook.sample_scene(rng, rng.choice(MANY) if rng.random() < CROWDED else None)


def _practised_order(story: Story, rng: Random) -> Order:
    """An order in people's own words; those that are learned slowest come more often than people say them."""
    if len(story.now.things) == 1 and rng.random() < LAST_TAKEN:
        return language.sample_order(story, rng, intent="remove", said_to_stay=SAID_TO_STAY)
    if rng.random() < PRACTICE:
        try:
            return language.sample_order(story, rng, intent=rng.choice(PRACTISED), said_to_stay=SAID_TO_STAY)
        except ValueError:
            pass  # not in this picture
    return language.sample_order(story, rng, said_to_stay=SAID_TO_STAY)


def _asked_for(scene: Scene, rng: Random) -> tuple[Story, str]:
    """How a picture that is changed later was asked for: this one in every detail, or another by a wish. What alone was
    wished for is "it" from then on."""
    if rng.random() < WISHED_FIRST:
        wish = language.sample_wish(rng)
        if wish.scene.things:
            scene = storybook.at_home(wish.scene, wish.named, rng, wish.absent)
            return Story((scene,), scene.things[0] if len(wish.named.things) == 1 else None), wish.text
    return Story((scene,)), storybook.full_caption(scene, rng, shuffle=False)


def _beginning(scene: Scene, rng: Random, form: str) -> list[Part]:
    """A picture that the user brings, or one that was asked for in words, whose picture may be forgotten since."""
    if form == GIVEN:
        return _user(scene)
    shown: list[Part] = [Forgotten("assistant", True)] if form == FORGOTTEN else _assistant(scene)
    request = storybook.full_caption(scene, rng, shuffle=False)
    return _user(request) + _assistant(storybook.full_caption(scene)) + shown


def outside(rng: Random) -> Sample:
    """Wishes, orders and questions from outside the storybook's world, between others; plain answers, no picture."""
    if rng.random() < 0.08:
        return _unknown_picture(rng)
    scene = _styled(storybook.sample_scene(rng), rng)
    first = _declined(scene, rng, {"which": 1.5})
    wished = first.where == language.WISHED
    form = rng.choice((GIVEN, DRAWN, FORGOTTEN))
    if form == GIVEN:
        scene = _as_seen(scene)
    parts = [] if wished else _beginning(scene, rng, form)
    parts += _refusal(first)
    kinds, now = [first.kind], scene
    for _ in range(rng.randrange(MOST_DECLINED)):
        between, then = _followed(now, wished, rng) if rng.random() < FOLLOWED else ([], now)
        said = _declined(then, rng)
        if (said.where == language.WISHED) == wished:
            parts += between + _refusal(said)
            kinds, now = [*kinds, said.kind], then
    return Sample("outside", tuple(parts), {"kinds": kinds, "scene": scene.to_json()})


def _refusal(said: language.Declined) -> list[Part]:
    return [Text(said.text, "user", task=language.TASK_OF[said.where]), *_assistant(said.answer)]


def _declined(scene: Scene, rng: Random, weights: Mapping[str, float] = MappingProxyType({})) -> language.Declined:
    return language.sample_declined(scene, rng, weights={**DECLINED_WEIGHTS, **weights})


def _followed(scene: Scene, wished: bool, rng: Random) -> tuple[list[Part], Scene]:
    """A wish or an order that is answered in words that a picture would follow, and the scene that they describe."""
    if wished:
        wish = language.sample_wish(rng)
        after = storybook.at_home(wish.scene, wish.named, rng, wish.absent)
    else:
        said = _practised_order(Story((scene,)), rng)
        return [*_user(said.text), *_assistant(_words_for(said)), Forgotten("assistant", True)], said.after
    return [*_user(wish.text), *_assistant(storybook.full_caption(after)), Forgotten("assistant", True)], after


def style(rng: Random) -> Sample:
    """A picture, things in words or the things of another picture, drawn in the style that a picture shows; then, now
    and then, a change of the new picture."""
    scene = _styled(storybook.sample_scene(rng, rng.choice((1, 2, 2, 3))), rng, 0.4)
    form = rng.choice((GIVEN, DRAWN, FORGOTTEN))
    if form == GIVEN:
        scene = _as_seen(scene)
    target = replace(scene, style=rng.choice([style for style in STYLES if style != scene.style]))
    like = replace(storybook.sample_scene(rng), style=target.style)
    way = rng.random()
    if way < 0.5:
        parts = _beginning(scene, rng, form)
        text, shown = language.in_style_of(language.ORDERS_LIKE, rng), {language.LIKE: like}
    elif way < 0.75:
        scene, target, parts = scene.canonical(), target.canonical(), []
        things = rng.choice(("", "this picture ", "the picture ", "the scene of ")) + f"@{CONTENT}"
        text = language.in_style_of(language.WISHES_LIKE, rng, things=things)
        shown = {language.LIKE: like, CONTENT: scene}
    else:
        wish = language.sample_things(rng)
        scene = storybook.at_home(wish.scene, wish.named, rng, wish.absent)
        target, parts = replace(scene, style=target.style), []
        text, shown = language.in_style_of(language.WISHES_LIKE, rng, things=wish.text), {language.LIKE: like}
    for number, piece in enumerate(re.split(r"@(\w+)", text)):
        if piece:
            parts.append(Picture(storybook.render(shown[piece]), "user") if number % 2 else Text(piece, "user"))
    parts += _assistant(storybook.full_caption(target), target)
    if way < 0.75 and rng.random() < 0.4:
        said = _practised_order(Story((scene, target)), rng)
        parts += [*_user(said.text), *_assistant(_words_for(said), said.after)]
    return Sample("style", tuple(parts), {"scene": target.to_json(), "like": like.to_json()})


def _unknown_picture(rng: Random) -> Sample:
    """A picture that is no drawing, and something that is said about it."""
    way = rng.random()
    if way < 0.4:
        text, task = language.sample_describe(rng), "ask"
    elif way < 0.7:
        text, task = language.sample_question(storybook.sample_scene(rng), rng).text, "ask"
    else:
        text, task = language.sample_order(Story((storybook.sample_scene(rng),)), rng).text, "edit_rewrite"
    parts = [Picture(strange_picture(rng), "user"), Text(text, "user", task=task)]
    return Sample("outside", (*parts, *_assistant(language.UNKNOWN_ANSWER)), {"kind": "picture"})


def condition(rng: Random) -> Sample:
    """A picture that tells a part of a page, words for the rest, and the whole page."""
    name = rng.choice(CONDITIONS)
    scene = sample_distinct_scene(rng)
    guide = Picture(storybook.condition(scene, name), "user")
    text = language.sample_conditioned(scene, name, rng)
    parts = [guide, *_user(text), *_drawn_anew(scene, rng)]
    return Sample("condition", tuple(parts), {"scene": scene.to_json(), "condition": name})


def restore(rng: Random) -> Sample:
    """A picture that has suffered, and the picture as it was."""
    [name] = rng.choices(DEGRADATIONS, [DAMAGE_WEIGHTS.get(name, 1) for name in DEGRADATIONS])
    scene = storybook.sample_scene(rng).canonical()
    worn = damaged(scene, name, rng)
    text = language.sample_restored(name, rng)
    parts = [Picture(worn, "user"), *_user(text), *_drawn_anew(scene, rng)]
    return Sample("restore", tuple(parts), {"scene": scene.to_json(), "degradation": name})


def _drawn_anew(scene: Scene, rng: Random) -> list[Part]:
    """The answer to an order that changes all of a picture; then, now and then, a change of the new picture."""
    parts = _assistant(f"{ANEW}, {storybook.full_caption(scene)}", scene)
    if rng.random() < CHANGED_LATER:
        said = _practised_order(Story((scene,)), rng)
        parts += [*_user(said.text), *_assistant(_words_for(said), said.after)]
    return parts


def sample_distinct_scene(rng: Random, most: int = MOST_THINGS) -> Scene:
    """A scene without two of a kind, which words could not tell apart, its things in canonical order."""
    while True:
        scene = storybook.sample_scene(rng)
        if len({thing.kind for thing in scene.things}) == len(scene.things) <= most:
            return scene.canonical()


def damaged(scene: Scene, name: str, rng: Random) -> np.ndarray:
    """The page of a scene that has suffered so that one can still tell what it showed, uint8 `[H, W, 3]`."""
    page, masks = storybook.render_with_masks(scene)
    while True:
        worn = degrade(page, name, rng.getrandbits(31), rng.uniform(0, MOST_DAMAGE))
        hidden = (worn == MISSING).all(axis=-1) if name == "missing square" else np.zeros(page.shape[:2], bool)
        if all((hidden & mask).sum() <= MOST_HIDDEN * mask.sum() for mask in masks):
            return worn


def refine(rng: Random) -> Sample:
    """A chat of one to three refinements, cut from a storybook video."""
    while True:
        video = storybook.sample_video(rng)
        sample = refine_video(video, rng)
        if sample is not None:
            return sample


def refine_video(video: Video, rng: Random) -> Sample | None:
    """The paper's pipeline: frames at a time distance and the dynamics between them as one interleaved chat.

    The first frame is either given by the user or asked for in words; each refinement is the dynamics in words,
    answered by the description of the next frame and by that frame. Descriptions keep the order in which things were
    first named. None where too little happens in the video, or too much at once.
    """
    turns = rng.choice((1, 1, 2, MOST_TURNS))
    frames = [rng.randrange(len(video) - 1)]
    dynamics = []
    for _ in range(turns):
        choices = list(range(frames[-1] + 1, len(video)))
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
    first = video.picture(frames[0])
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
        parts.append(Picture(video.picture(frame), "assistant", True))
    record = {
        "scenes": [video.scene(frame).to_json() for frame in frames],
        "edits": [list(change.record) for change in dynamics],
    }
    return Sample("refine", tuple(parts), record)


_BUILDERS = (
    caption,
    question,
    change_question,
    text_to_picture,
    rewrite,
    compose,
    add_reference,
    refine,
    revise,
    chat,
    outside,
    condition,
    restore,
    style,
)
TASKS: Mapping[str, Callable[[Random], Sample]] = MappingProxyType({build.__name__: build for build in _BUILDERS})


def check_mix(task_mix: Mapping[str, float]) -> None:
    """Raises ValueError for a task that does not exist or weights that cannot be drawn from."""
    if not isinstance(task_mix, Mapping) or not is_a(dict(task_mix), Mapping[str, float]):
        raise ValueError(f"A task mix is an object of finite numbers by the names of tasks, got {task_mix!r}.")
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
