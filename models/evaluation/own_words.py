"""The behaviours of a model that is spoken to in people's own words, in frames that it was never trained with.

Everything here is what the model does alone: its likeliest words are drawn as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

import torch
from torch import Tensor

from .. import storybook
from ..data.strange_pictures import strange_picture
from ..encoding import begin_with
from ..media.images import from_pil, to_pil
from ..prompting.asking import ask
from ..storybook import STYLES, Mention, Named, Scene, Thing, language
from ..storybook.catalogue import larger
from ..storybook.language import HELD_OUT, INTENTS, SEVERAL, Order, Story
from ..values import AutoMask, Chat, References
from .batch_evaluator import BatchEvaluator, shown
from .cases import Case
from .comparison import IDENTITY, project
from .nano import TOPICS, as_scene, in_words

_MEMORY = ("undo", "bring back")
"""Intents that need an earlier change."""
_ALL = (*INTENTS, SEVERAL)
TURNS = 8  # of a long chat
BEGUN = 0.4
"""Share of the other cases that begin with another order."""


@dataclass(frozen=True)
class Reply:
    """What a model says to a wish or an order.

    `picture` are the features `[tokens_per_picture, D]` of what it would draw, None where it answers in words alone.
    """

    text: str
    picture: Tensor | None


def take_turns(
    evaluator: BatchEvaluator, chats: Sequence[Chat], instructions: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Chat], list[Reply]]:
    """The chats with their next turns, and the replies. A chat whose turn got words alone stays as it was."""
    results = evaluator.results(chats, instructions, seeds)
    replies = []
    for result in results:
        answer = None if result.spoken else result.chat.last.answer
        replies.append(Reply(result.spoken if answer is None else answer.rewrite, answer and answer.features))
    return [result.chat for result in results], replies


def own_words(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Orders in people's own words on a picture that was drawn from words: what was asked happened, the rest stayed.

    Once where all of the picture may change, and once where the model's own mask says what may, as it is by default.
    """
    for batch in evaluator.batches("own_words"):
        seeds = [number for number, _ in batch]
        chats, stories = _drawn_from_words(evaluator, batch)
        intents = [_ALL[number % len(_ALL)] for number in seeds]
        chats, stories = _begun(evaluator, chats, stories, intents, batch)
        orders = [_order(story, intent, rng) for story, intent, (_, rng) in zip(stories, intents, batch, strict=True)]
        texts = [order.text for order in orders]
        befores = [shown(chat) for chat in chats]
        alone, replies = take_turns(evaluator, chats, texts, seeds)
        readings = evaluator.read([shown(chat) for chat in alone])
        masked = evaluator.take_turns(chats, texts, seeds, auto_mask=AutoMask())
        by_mask = evaluator.read([shown(chat) for chat in masked])
        for order, before, chat, reply, seen, within in zip(
            orders, befores, alone, replies, readings, by_mask, strict=True
        ):
            drawn = reply.picture is not None
            marks = {
                "own_words/answered by a picture": [drawn],
                "own_words/drawn anew": [drawn and evaluator.pipeline.config.templates.says_anew(reply.text)],
                **order_marks(order, seen, drawn),
                "own_words/changed masked": [drawn and happened(order, within)],
                "own_words/unchanged masked": [stayed(order, within)],
            }
            answered = f"{in_words(seen)} | {reply.text}"
            yield Case((before, shown(chat)), f"[{order.intent}] {order.text}", answered, marks)


def _drawn_from_words(evaluator: BatchEvaluator, batch: Sequence[tuple[int, Random]]) -> tuple[list[Chat], list[Story]]:
    """Chats with a first picture that was asked for in a full description, and what is to be seen in it."""
    starts = [storybook.sample_scene(rng, rng.choice((1, 2, 3))) for _, rng in batch]
    captions = [storybook.full_caption(scene, rng) for scene, (_, rng) in zip(starts, batch, strict=True)]
    chats, _ = take_turns(evaluator, [Chat()] * len(batch), captions, [number for number, _ in batch])
    return chats, [Story((scene,)) for scene in _seen(evaluator, chats, starts)]


def _seen(evaluator: BatchEvaluator, chats: Sequence[Chat], wanted: Sequence[Scene]) -> list[Scene]:
    """What the chats' pictures show: a user orders what is to be seen, be it what was asked or not.

    Of a chat that has no picture, what was wanted.
    """
    readings = evaluator.read([shown(chat) for chat in chats])
    return [
        (as_scene(seen) if chat.turns else None) or scene
        for chat, seen, scene in zip(chats, readings, wanted, strict=True)
    ]


def _begun(
    evaluator: BatchEvaluator,
    chats: list[Chat],
    stories: list[Story],
    intents: list[str],
    batch: Sequence[tuple[int, Random]],
) -> tuple[list[Chat], list[Story]]:
    """Chats in which a first order was followed already, where the next needs one, and now and then elsewhere."""
    chosen = {
        place: _first(stories[place], intents[place], rng)
        for place, (_, rng) in enumerate(batch)
        if intents[place] in _MEMORY or rng.random() < BEGUN
    }
    if not chosen:
        return chats, stories
    places = list(chosen)
    after, replies = take_turns(
        evaluator, [chats[p] for p in places], [chosen[p].text for p in places], [batch[p][0] for p in places]
    )
    seen = _seen(evaluator, after, [chosen[p].after for p in places])
    chats, stories = list(chats), list(stories)
    for place, chat, reply, scene in zip(places, after, replies, seen, strict=True):
        if reply.picture is None:
            continue
        order, story = chosen[place], stories[place]
        # An order that changed nothing is nothing to go back from.
        past = story.past if scene.canonical() == story.now.canonical() else (*story.past, story.now)
        chats[place] = chat
        stories[place] = Story((*story.scenes, scene), _spoken_of(order, scene), past)
    return chats, stories


def _spoken_of(order: Order, seen: Scene) -> Thing | None:
    """The thing that an order was about, as the picture that was drawn shows it; None where it shows no such thing."""
    if order.last is None:
        return None
    return next((thing for thing in seen.things if thing.still() == order.last.still()), None)


def _first(story: Story, following: str, rng: Random) -> Order:
    return _order(story, "remove" if following == "bring back" else None, rng)


def _order(story: Story, intent: str | None, rng: Random) -> Order:
    """An order of this intent, or of any where the picture does not allow it."""
    try:
        return language.sample_order(story, rng, HELD_OUT, intent)
    except ValueError:
        return language.sample_order(story, rng, HELD_OUT)


def order_marks(order: Order, seen: Named, drawn: bool) -> dict[str, list[bool]]:
    """The marks of one order, from what is seen after it. One that got words alone changed nothing, be it asked or not:
    what was to stay has stayed, and what was to change has not changed."""
    changed = [drawn and happened(order, seen)]
    return {
        "own_words/changed": changed,
        "own_words/unchanged": [stayed(order, seen)],
        "own_words/ground, sky and style": [setting_stayed(order, seen)],
        f"own_words/{order.intent}": changed,
    }


def _setting(seen: Named) -> dict[str, str | None]:
    return {"ground": seen.ground, "sky": seen.sky, "style": seen.style or STYLES[0]}


def setting_stayed(order: Order, seen: Named) -> bool:
    """Whether ground, sky and style, where the order leaves them alone, are those of before."""
    sides = ((now, getattr(order.before, name), getattr(order.after, name)) for name, now in _setting(seen).items())
    return all(now == before for now, before, after in sides if before == after)


def happened(order: Order, seen: Named) -> bool:
    """Whether all that was asked can be seen: what should be there is, and what should be gone is not."""
    for name, now in _setting(seen).items():
        wanted = getattr(order.after, name)
        if wanted != getattr(order.before, name) and now != wanted:
            return False
    gone = project(map(Mention.of, order.gone()), IDENTITY) - project(map(Mention.of, order.after.things), IDENTITY)
    stands = {(thing.kind, *thing.place) for thing in order.after.things}
    there = {(thing.kind, thing.column, thing.row) for thing in seen.things}
    if gone & project(seen.things, IDENTITY):
        return False
    if any((thing.kind, *thing.place) in there - stands for thing in order.gone()):
        return False
    for thing, (relation, others) in order.related.items():
        colour = order.open.get(thing, Mention.of(thing)).colour
        found = [one for one in seen.things if one.kind == thing.kind and colour in (None, one.colour)]
        places = [other.place for other in others]
        if not any(language.in_relation((one.column, one.row), relation, *places) for one in found):
            return False
    wanted = _wanted(order, seen)
    # What is asked for has to be there beside those of its kind that were there before.
    kinds = [Mention(mention.kind) for mention in wanted]
    before = (Mention(thing.kind) for thing in order.kept())
    rest = tuple(one for one in before if any(kind.fits(one) for kind in kinds))
    return storybook.covers(Named(seen.things), Named((*wanted, *rest)))


def _wanted(order: Order, seen: Named) -> tuple[Mention, ...]:
    """What must be seen of the things that changed or came: all that is asked, and kind, colour and place; but of a
    thing that should have a relation to another no place."""
    left = list(order.gone())
    wanted = []
    for thing in (one for one in order.after.things if one not in order.before.things):
        mention = order.open.get(thing, Mention.of(thing))
        same = [one for one in left if one.kind == thing.kind]
        if same:  # one that was changed: what was not asked of it is not judged, beyond what makes it the same
            was = min(same, key=lambda one: sum(a != b for a, b in zip(_looks(one), _looks(thing), strict=True)))
            left.remove(was)
            for name in ("size", "pose", "pattern"):
                if getattr(was, name) == getattr(thing, name):
                    mention = _without(mention, name)
            if mention.size is None and was.size != thing.size:
                mention = replace(mention, size=_nearest_size(was, thing, seen))
            if was.pattern != thing.pattern:
                mention = replace(mention, pattern=thing.pattern)  # "plain" too
        elif thing not in order.open:
            mention = _without(_without(mention, "pose"), "pattern")
        if thing in order.related:
            mention = _without(_without(mention, "column"), "row")
        wanted.append(mention)
    return tuple(wanted)


def _nearest_size(was: storybook.Thing, wanted: storybook.Thing, seen: Named) -> str:
    """The size that a thing has now that was to be bigger, or smaller, by as much as one likes; the wanted one where it
    has become neither."""
    grown = larger(wanted.size, was.size)
    there = (one.size for one in seen.things if (one.kind, one.column, one.row) == (wanted.kind, *wanted.place))
    right = (size for size in there if (larger(size, was.size) if grown else larger(was.size, size)))
    return next(right, wanted.size)


def _looks(thing: storybook.Thing) -> tuple:
    return thing.colour, thing.size, thing.pose, thing.pattern, thing.place


def _without(mention: Mention, name: str) -> Mention:
    return Mention(**{**vars(mention), name: None})


def stayed(order: Order, seen: Named) -> bool:
    """Whether all that was not spoken of is there in kind, colour and place, with ground, sky and style as they were,
    and nothing came uninvited."""
    if not setting_stayed(order, seen):
        return False
    kept = project(map(Mention.of, order.kept()), IDENTITY)
    there = project(seen.things, IDENTITY)
    invited = len(order.after.things) - len(order.kept())
    came = (there - kept).total()
    # What should have gone and did not is the change's fault, not an uninvited thing.
    left = project(map(Mention.of, order.gone()), IDENTITY) & (there - kept)
    return kept <= there and came - left.total() <= invited


def chat8(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Chats of eight turns in people's own words: the last order was followed, and all else stayed as it was."""
    for batch in evaluator.batches("chat8"):
        seeds = [number for number, _ in batch]
        chats, stories = _drawn_from_words(evaluator, batch)
        for _ in range(TURNS - 1):
            orders = [_order(story, None, rng) for story, (_, rng) in zip(stories, batch, strict=True)]
            befores = [shown(chat) for chat in chats]
            chats, replies = take_turns(evaluator, chats, [order.text for order in orders], seeds)
            readings = evaluator.read([shown(chat) for chat in chats])
            for place, (order, reply, seen) in enumerate(zip(orders, replies, readings, strict=True)):
                if reply.picture is not None:
                    after = as_scene(seen) or order.after
                    stories[place] = stories[place].then(replace(order, after=after, last=_spoken_of(order, after)))
        for order, before, chat, reply, seen in zip(orders, befores, chats, replies, readings, strict=True):
            drawn = reply.picture is not None
            changed, kept = drawn and happened(order, seen), stayed(order, seen)
            marks = {"chat8/right": [changed and kept], "chat8/changed": [changed], "chat8/unchanged": [kept]}
            yield Case(
                (before, shown(chat)), f"[{order.intent}] {order.text}", f"{in_words(seen)} | {reply.text}", marks
            )


def own_wishes(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Wishes in people's own words: all that they name is in the model's own words for the picture, and in it."""
    for batch in evaluator.batches("own_wishes"):
        seeds = [number for number, _ in batch]
        wishes = [
            language.sample_wish(rng, HELD_OUT, language.LEVELS[number % len(language.LEVELS)]) for number, rng in batch
        ]
        chats, replies = take_turns(evaluator, [Chat()] * len(batch), [wish.text for wish in wishes], seeds)
        drawn = [number for number, chat in enumerate(chats) if chat.turns]
        readings = dict(zip(drawn, evaluator.read([shown(chats[number]) for number in drawn]), strict=True))
        for number, (wish, reply) in enumerate(zip(wishes, replies, strict=True)):
            said, seen = storybook.parse_caption(reply.text), readings.get(number, Named())
            kept = [reply.picture is not None and _fulfils(said, wish)]
            marks = {
                "own_wishes/named": kept,
                "own_wishes/in the picture": [number in readings and _fulfils(seen, wish)],
                "own_wishes/answered by a picture": [reply.picture is not None],
                f"own_wishes/{wish.level}": kept,
            }
            pictures = (shown(chats[number]),) if number in readings else ()
            yield Case(pictures, wish.text, reply.text, marks)


def _fulfils(named: Named, wish: language.OwnWish) -> bool:
    if not storybook.covers(named, wish.named) or any(thing.kind in wish.absent for thing in named.things):
        return False
    return not wish.relation or _related(named.things, wish)


def _related(things: Sequence[Mention], wish: language.OwnWish) -> bool:
    """Whether a thing as the wish names it first stands as it should to others as the wish names them."""
    candidates = [[one for one in things if mention.fits(one)] for mention in wish.named.things]
    places = ([(one.column, one.row) for one in found] for found in itertools.product(*candidates))
    return any(language.in_relation(first, wish.relation, *others) for first, *others in places)


def own_questions(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Questions about rendered pictures in people's own words."""
    topics = (*TOPICS, *(topic for topic in language.TOPICS if topic not in TOPICS))
    for batch in evaluator.batches("own_questions"):
        for number, rng in batch:
            scene = storybook.sample_scene(rng, rng.choice((2, 3, 4)))
            item = language.sample_question(scene, rng, topics[number % len(topics)], HELD_OUT)
            picture = storybook.render(scene)
            answer = ask(evaluator.pipeline.wegen, item.text, References((evaluator.reference("one", picture),)))
            right = [item.is_right(answer)]
            marks = {"own_questions/right": right, f"own_questions/{item.topic}": right}
            yield Case((picture,), f"{item.text} ({item.answer})", answer, marks)


def outside(evaluator: BatchEvaluator) -> Iterator[Case]:
    """Wishes, orders, questions and pictures from outside the world: a plain answer says so, and nothing is drawn."""
    wegen = evaluator.pipeline.wegen
    for batch in evaluator.batches("outside"):
        for number, rng in batch:
            scene = storybook.sample_scene(rng)
            picture = storybook.render(scene)
            unknown = number % 10 == 9
            if unknown:
                picture = strange_picture(rng)
                order = language.sample_order(Story((scene,)), rng, HELD_OUT)
                kind, where, text = "picture", language.ORDERED, order.text
            else:
                said = language.sample_declined(scene, rng, HELD_OUT)
                kind, where, text = said.kind, said.where, said.text
            if where == language.ASKED:
                answer, silent = ask(wegen, text, References((evaluator.reference("one", picture),))), True
            else:
                begun = where == language.ORDERED
                chat = begin_with(wegen, [from_pil(to_pil(torch.from_numpy(picture) / 255))]) if begun else Chat()
                _, [reply] = take_turns(evaluator, [chat], [text], [number])
                answer, silent = reply.text, reply.picture is None
            right = [silent and language.is_plain(answer)]
            marks = {"outside/said_so": right, "outside/nothing drawn": [silent], f"outside/{kind}": right}
            yield Case((picture,) if where != language.WISHED else (), f"[{where}] {text}", answer, marks)


BEHAVIOURS: Mapping[str, Callable[[BatchEvaluator], Iterator[Case]]] = MappingProxyType(
    {build.__name__: build for build in (own_words, chat8, own_wishes, own_questions, outside)}
)
