"""Values of JSON files, checked by types."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from comfyui_wegen.models.json_values import converted, in_words, is_a, is_known

RIGHT = [
    (True, bool), (3, int), (3, float), (2.5, float), ("x", str), (None, int | None), (4, int | None),
    ("adamw", Literal["adamw", "muon"]), ({"a": 1}, Mapping[str, float]), ({}, Mapping[str, Any]),
    ([1, 2.5], Sequence[float]), ([], tuple[int, ...]), ([["a"], []], tuple[tuple[str, ...], ...]),
]  # fmt: skip
WRONG = [
    (1, bool), (True, int), (2.0, int), ("3", int), (True, float), (math.nan, float), (math.inf, float), (3, str),
    ("3", int | None), ("sgd", Literal["adamw", "muon"]), ([], Mapping[str, float]), ({"a": "b"}, Mapping[str, float]),
    ("ab", Sequence[str]), ([1, "2"], Sequence[float]), ([1.5], tuple[int, ...]), (["a"], tuple[tuple[str, ...], ...]),
    (10**400, float),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), RIGHT)
def test_right_ones_are_taken(value, kind):
    assert is_known(kind) and is_a(value, kind)


@pytest.mark.parametrize(("value", "kind"), WRONG)
def test_wrong_ones_are_not(value, kind):
    assert is_known(kind) and not is_a(value, kind) and in_words(kind)


def test_they_become_what_the_type_says():
    assert converted([[1], [2, 3]], tuple[tuple[int, ...], ...]) == ((1,), (2, 3))
    assert repr(converted(1, float)) == repr(converted(1, float | None)) == "1.0"
    assert converted(None, float | None) is None and converted([1], Sequence[int]) == [1]


def test_what_no_json_holds_is_known_as_such():
    assert not any(map(is_known, (object, tuple[object, ...], object | None, Mapping[str, object])))
    assert in_words(Sequence[Mapping[str, float]]) == "a list of objects, {...} with finite numbers in it"
