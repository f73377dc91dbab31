"""Changes between two frames, measured on small tracks that are made up, and the words for them."""

import dataclasses

import numpy as np
import pytest
from comfyui_wegen.models.data.diic.changes import DescribeChanges, Thresholds, changes_between, instruction_of
from comfyui_wegen.models.data.diic.clip import Clip, Pair, Track

WIDTH, HEIGHT = 200, 100
STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


def clip_of(*tracks: tuple[str, tuple, tuple], camera: np.ndarray = STILL) -> Clip:
    """Two frames with things that have a box in each."""
    labels = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    made = []
    for number, (name, *boxes) in enumerate(tracks, start=1):
        for frame, (left, top, right, bottom) in enumerate(boxes):
            labels[frame, top:bottom, left:right] = number
        made.append(Track(name, tuple(boxes), (1.0, 1.0)))
    motion = np.stack([np.full((2, 3), np.nan), camera])
    frames = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    return Clip("clip", "no.mp4", times=np.arange(2.0), frames=frames, camera=motion, tracks=tuple(made),
                instance_map=labels)  # fmt: skip


def zoomed(factor: float) -> np.ndarray:
    """About the middle of the picture."""
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    return np.column_stack([np.eye(2) * factor, middle * (1 - factor)])


def around(size: int, x: int = 100, y: int = 50) -> tuple[int, int, int, int]:
    return x - size, y - size, x + size, y + size


def test_a_name_that_several_things_have_tells_of_none_of_them():
    """ "let the cyclist disappear" would leave open which."""
    for second, left in (("cyclist", ()), ("car", (Pair(0, 1, 0.5),))):
        clip = clip_of(("cyclist", around(10, 30), around(10, 60)), (second, around(10, 150), around(10, 150)))
        [told] = DescribeChanges()([dataclasses.replace(clip, pairs=(Pair(0, 1, 0.5),))])
        assert [(pair.before, pair.after) for pair in told.pairs] == [(pair.before, pair.after) for pair in left]
        if left:
            assert told.pairs[0].text == "Move the cyclist to the right."
        else:
            assert "same_name" in repr(told)


@pytest.mark.parametrize(
    ("before", "after", "change", "factor"),
    [
        (10, 14, "grows", 1.4),
        (10, 13, "grows", 1.3),
        (14, 10, "shrinks", 0.714),
        (20, 15, "shrinks", 0.75),
        (10, 12, None, None),
        (12, 10, None, None),
    ],
)
def test_things_grow_and_shrink(before, after, change, factor):
    facts = changes_between(clip_of(("balloon", around(before), around(after))), 0, 1)
    assert facts == (({"instance": 0, "name": "balloon", "change": change, "factor": factor},) if change else ())
    words = {"grows": "Make the balloon bigger.", "shrinks": "Make the balloon smaller.", None: ""}
    assert instruction_of(facts) == words[change]


def test_both_sides_must_grow():
    assert changes_between(clip_of(("door", (90, 30, 110, 70), (80, 30, 120, 70))), 0, 1) == ()


def test_what_may_be_hidden_in_part_does_not_grow():
    """At the edge of the picture, or beside another thing."""
    edge = clip_of(("cat", (0, 40, 20, 60), (0, 36, 28, 64)))
    assert changes_between(edge, 0, 1) == ()
    beside = clip_of(("cat", around(10), around(14)), ("dog", (112, 40, 140, 60), (114, 40, 140, 60)))
    assert changes_between(beside, 0, 1) == ()
    apart = clip_of(("cat", around(10), around(14)), ("dog", (130, 40, 160, 60), (130, 40, 160, 60)))
    assert [fact["change"] for fact in changes_between(apart, 0, 1)] == ["grows"]


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1.25, "Go nearer."), (1.13, "Go nearer."), (0.8, "Go farther away."), (1.1, ""), (0.92, "")],
)
def test_the_view_zooms(factor, words):
    facts = changes_between(clip_of(camera=zoomed(factor)), 0, 1)
    assert facts == (({"change": "zoom", "factor": factor},) if words else ())
    assert instruction_of(facts) == words


def test_what_the_zoom_alone_makes_larger_does_not_grow():
    nearer = zoomed(1.4)
    alone, both, stays = (
        changes_between(clip_of(("cat", around(before), around(after)), camera=nearer), 0, 1)
        for before, after in ((10, 14), (10, 19), (14, 14))
    )
    assert [(fact["change"], fact["factor"]) for fact in alone] == [("zoom", 1.4)]
    assert [(fact["change"], fact["factor"]) for fact in both] == [("zoom", 1.4), ("grows", 1.357)]
    assert [(fact["change"], fact["factor"]) for fact in stays] == [("zoom", 1.4), ("shrinks", 0.714)]
    assert instruction_of(both) == "Go nearer. Make the cat bigger."
    assert instruction_of(stays) == "Go nearer. Make the cat smaller."


def test_what_was_twice_as_large_elsewhere_is_not_measured():
    """Most of it may be hidden there."""
    assert changes_between(clip_of(("cat", around(10), around(21))), 0, 1) == ()


def test_what_moves_and_grows_is_said_to_move():
    facts = changes_between(clip_of(("cat", around(10, 40), around(14, 100))), 0, 1)
    assert [(fact["change"], fact["direction"]) for fact in facts] == [("moves", "right")]


def test_thresholds_say_from_where_on():
    clip = clip_of(("cat", around(10), around(12)), camera=STILL)
    assert [fact["change"] for fact in changes_between(clip, 0, 1, Thresholds(grown=1.2))] == ["grows"]
    assert changes_between(clip_of(camera=zoomed(1.25)), 0, 1, Thresholds(zoomed=1.3)) == ()
    assert changes_between(clip_of(camera=np.full((2, 3), np.nan)), 0, 1) is None
