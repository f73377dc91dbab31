"""How different the pictures of vague wishes are, and whether they show what was wished for.

What measuring needs is imported when it runs, so that the command line's help answers at once.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..pipeline import Pipeline
    from ..prompting.rewriting import Rewrite
    from ..prompting.text_sampling import TextSampling
    from ..storybook import Named, Wish

VAGUE = ("nothing", "mood", "kinds", "some")
"""Levels of wishes that leave enough open for many different pictures."""
SEEDS = 16
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
SCALE = "creativity/distinct"
"""Name of the numbers of distinct scenes along the creativity scale."""
#: targets: at least, or for the ratio at most
THRESHOLDS: Mapping[str, float] = MappingProxyType(
    {
        "distinct/with": 14.0, "named/rewrite": 0.97, "named/picture": 0.90, "entropy/ground": 0.8, "entropy/sky": 0.8,
        "boats/on water": 0.7, "batch/ratio_16": 3.0,
    }
)  # fmt: skip
BOATS = ("a boat", "draw me a boat", "a red boat", "a big boat by day")
"""Wishes whose pictures should show a boat, on water."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of one wish, drawn from words of one kind.

    Attributes:
        distinct: how many different scenes the judge sees in them, by objects and ground.
        vendi: the Vendi score of their vision features.
        in_words: of everything that the wish names, whether it is in each description.
        in_pictures: the same for each picture, as judged.
        grounds, skies: of each picture, as judged, where the wish leaves them open.
    """

    distinct: int
    vendi: float
    in_words: tuple[bool, ...]
    in_pictures: tuple[bool, ...]
    grounds: tuple[str | None, ...]
    skies: tuple[str | None, ...]


@dataclass(frozen=True)
class Batch:
    """What became of one wish.

    Attributes:
        alone: drawn from the first words of the model's, without any check.
        checked: drawn from those that checks prefer; the same where the wish was drawn as it stands.
        rewrites: how the preferred words came to be; empty where the wish was drawn as it stands.
    """

    alone: Pictures
    checked: Pictures
    rewrites: tuple[Rewrite, ...] = ()


def vague_wishes(count: int, seed: int) -> list[Wish]:
    """Wishes of the vague levels in turn; they depend on seed and number alone."""
    from .. import storybook

    return [
        storybook.sample_wish(Random(f"evaluation/vague/{seed}/{number}"), VAGUE[number % len(VAGUE)])[0]
        for number in range(count)
    ]


def measure(
    pipeline: Pipeline, wishes: Sequence[Wish], done: Callable[[], object] = lambda: None
) -> dict[str, float | list[float]]:
    """All numbers; `done` is called after each batch of pictures. Names that begin with "drawn/" have no targets."""
    from ..options import CREATIVITY
    from ..prompting.text_sampling import TextSampling
    from ..storybook.catalogue import GROUNDS, SKIES

    def batches(sampling: TextSampling | None, some: Sequence[Wish] = wishes) -> list[Batch]:
        found = []
        for wish in some:
            found.append(draw(pipeline, wish, sampling))
            done()
        return found

    default = TextSampling.from_creativity(CREATIVITY)
    with_words, without = batches(default), batches(None)
    few = wishes[: on_the_scale(len(wishes))]
    scale = [batches(TextSampling.from_creativity(step), few) for step in STEPS]
    many, one = seconds(pipeline, wishes, default)
    rewrites = [rewrite for batch in with_words for rewrite in batch.rewrites]
    return {
        "distinct/with": statistics.mean(batch.alone.distinct for batch in with_words),
        "distinct/with_checks": statistics.mean(batch.checked.distinct for batch in with_words),
        "distinct/without": statistics.mean(batch.alone.distinct for batch in without),
        "vendi/with": statistics.mean(batch.alone.vendi for batch in with_words),
        "vendi/with_checks": statistics.mean(batch.checked.vendi for batch in with_words),
        "vendi/without": statistics.mean(batch.alone.vendi for batch in without),
        "named/rewrite": _share(mark for batch in with_words for mark in batch.alone.in_words),
        "named/rewrite_with_checks": _share(mark for batch in with_words for mark in batch.checked.in_words),
        "named/picture": _share(mark for batch in with_words for mark in batch.alone.in_pictures),
        "named/picture_with_checks": _share(mark for batch in with_words for mark in batch.checked.in_pictures),
        "entropy/ground": evenness((one for batch in with_words for one in batch.alone.grounds), GROUNDS),
        "entropy/sky": evenness((one for batch in with_words for one in batch.alone.skies), SKIES),
        "boats/on water": boats_on_water(pipeline, default),
        SCALE: [statistics.mean(batch.alone.distinct for batch in found) for found in scale],
        "batch/ratio_16": many / one,
        "drawn/attempts": statistics.mean(rewrite.attempts for rewrite in rewrites),
        "drawn/at once": _share(rewrite.attempts == 1 for rewrite in rewrites),
        "drawn/incomplete": _share(bool(rewrite.missing) for rewrite in rewrites),
        "drawn/repeated": _share(rewrite.repeated for rewrite in rewrites),
    }


def on_the_scale(cases: int) -> int:
    """How many of the wishes are drawn at every step of the creativity scale too: five times the work."""
    return max(1, cases // 4)


def draw(pipeline: Pipeline, wish: Wish, sampling: TextSampling | None) -> Batch:
    """The pictures of one wish for all seeds; without sampling it is drawn as it stands."""
    from .. import storybook
    from ..metrics.diversity import compare_features
    from ..prompting.rewriting import ATTEMPTS, rewrite

    def written(attempts: int) -> list[Rewrite]:
        return [] if sampling is None else rewrite(pipeline.wegen, wish.text, range(SEEDS), sampling, attempts=attempts)

    def words_of(rewrites: Sequence[Rewrite]) -> list[str]:
        return [one.text or wish.text for one in rewrites] or [wish.text] * SEEDS

    first, preferred = written(1), written(ATTEMPTS)
    alone, checked = words_of(first), words_of(preferred)
    # Most words are the same in both: only the others are drawn once more.
    other = [number for number in range(SEEDS) if checked[number] != alone[number]]
    seeds, words = (*range(SEEDS), *other), (*alone, *(checked[number] for number in other))
    painted, seen = _painted(pipeline, wish.text, seeds, words)
    encoded = pipeline.wegen.encode_pictures(painted)

    def pictures(rewrites: Sequence[Rewrite], places: Sequence[int]) -> Pictures:
        named = [seen[place] for place in places]
        # Where nothing was written, the user's own words are drawn, but nothing has been named.
        said = (storybook.parse_caption(one.text) for one in rewrites)
        return Pictures(
            distinct=len({_objects_and_ground(one) for one in named}),
            vendi=compare_features(encoded[list(places)]).vendi,
            in_words=tuple(mark for one in said for mark in kept(wish.named, one)),
            in_pictures=tuple(mark for one in named for mark in kept(wish.named, one)),
            grounds=() if wish.named.ground else tuple(one.ground for one in named),
            skies=() if wish.named.sky else tuple(one.sky for one in named),
        )

    places = [SEEDS + other.index(number) if number in other else number for number in range(SEEDS)]
    return Batch(pictures(first, range(SEEDS)), pictures(preferred, places), tuple(preferred))


def boats_on_water(pipeline: Pipeline, sampling: TextSampling) -> float:
    """Of pictures of boats whose wishes leave the ground open, the share that shows one, on water."""
    from ..prompting.rewriting import rewrite
    from ..storybook.wishes import HOMES

    _, waters = HOMES["boat"]
    shown: list[Named] = []
    for wish in BOATS:
        words = [one.text or wish for one in rewrite(pipeline.wegen, wish, range(SEEDS), sampling, attempts=1)]
        shown += _painted(pipeline, wish, range(SEEDS), words)[1]
    return _share(one.ground in waters and any(thing.kind == "boat" for thing in one.things) for one in shown)


def _painted(
    pipeline: Pipeline, wish: str, seeds: Sequence[int], words: Sequence[str]
) -> tuple[list[Tensor], list[Named]]:
    """Pictures drawn from these words, and what the judge sees in them."""
    from ..engine import TurnRequest
    from .batch_evaluator import BatchEvaluator, to_bytes

    pictures = list(pipeline.take_turn(TurnRequest(wish, tuple(seeds), prompt_override=tuple(words))).pictures)
    return pictures, BatchEvaluator(pipeline).read([to_bytes(picture) for picture in pictures])


def evenness(found: Iterable[str | None], names: Sequence[str]) -> float:
    """The entropy of what was found as a share of the largest that so many names can have: 0 is always the same."""
    counts = Counter(one for one in found if one in names)
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values()) / math.log(len(names)) if total else 0.0


def seconds(pipeline: Pipeline, wishes: Sequence[Wish], sampling: TextSampling) -> tuple[float, float]:
    """What it takes in all to write `SEEDS` rewrites of each wish at once, and one of each.

    Both are timed right after each other, wish by wish, so that what else the machine does meets both alike.
    """
    from ..prompting.rewriting import rewrite

    totals: list[float] = []
    for number, wish in enumerate([wishes[0], *wishes]):  # the first wish comes twice, once to warm up
        for seeds in (range(SEEDS), [number % SEEDS]):
            began = time.perf_counter()
            rewrite(pipeline.wegen, wish.text, seeds, sampling)
            totals.append(time.perf_counter() - began)
    return sum(totals[2::2]), sum(totals[3::2])


def kept(wanted: Named, found: Named) -> Iterator[bool]:
    """For every object and attribute that `wanted` names, and its ground, sky and number, whether `found` has it."""
    from ..storybook import Mention

    for mention, count in Counter(wanted.things).items():
        properties = {f.name: getattr(mention, f.name) for f in fields(mention)}
        named = {name: value for name, value in properties.items() if value is not None}
        # The object as far as it is named, then each attribute on top of the kind: "a red cat" is a cat, and a red one.
        parts = [Mention(kind=mention.kind)] if mention.kind else []
        parts += [Mention(**{"kind": mention.kind, name: value}) for name, value in named.items() if name != "kind"]
        for part in parts or [mention]:
            there = sum(part.fits(thing) for thing in found.things)
            yield from (number < there for number in range(count))
    if wanted.ground is not None:
        yield found.ground == wanted.ground
    if wanted.sky is not None:
        yield found.sky == wanted.sky
    if wanted.fewest is not None or wanted.most is not None:
        most = len(found.things) if wanted.most is None else wanted.most
        yield (wanted.fewest or 0) <= len(found.things) <= most


def _objects_and_ground(named: Named) -> tuple:
    from .comparison import IDENTITY, project

    return frozenset(project(named.things, IDENTITY).items()), named.ground


def _share(marks) -> float:
    """NaN where nothing was measured."""
    marks = list(marks)
    return sum(marks) / len(marks) if marks else math.nan
