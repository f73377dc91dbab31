"""Values of JSON files, by the types that stand in the annotations of what is made of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

_NAMES = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    str: ("a text in quotes", "texts in quotes"),
    NoneType: ("null", "null"),
}
"""What types of values are called, one of them and several."""
_LISTS = (Sequence, tuple)


def is_known(kind: Any) -> bool:
    """Whether values of a type can stand in JSON, as far as is known here."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return all(map(is_known, inside))
    if origin in _LISTS:
        return is_known(inside[0])
    if origin is Mapping:
        return is_known(inside[1])
    return origin is Literal or kind is Any or kind in _NAMES


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of a type. Numbers must be finite, and true and false are none."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(is_a(value, one) for one in inside)
    if origin is Literal:
        return value in inside
    if origin is Mapping:
        return isinstance(value, dict) and all(is_a(one, inside[1]) for one in value.values())
    if origin in _LISTS:
        return isinstance(value, (list, tuple)) and all(is_a(one, inside[0]) for one in value)
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def in_words(kind: Any, many: bool = False) -> str:
    """What a value of a type must be, as one says it: "a whole number"; with `many`, "whole numbers"."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return " or ".join(in_words(one) for one in inside)
    if origin is Literal:
        return " or ".join(map(repr, inside))
    if origin in _LISTS:
        return f"a list of {in_words(inside[0], many=True)}"
    if origin is Mapping:
        holds = "" if inside[1] is Any else f" with {in_words(inside[1], many=True)} in it"
        return f"objects, {{...}}{holds}" if many else f"an object, {{...}}{holds}"
    one, several = _NAMES[kind]
    return several if many else one


def converted(value: Any, kind: Any) -> Any:
    """A value that is of a type as the class has it: tuples for lists where they are asked for, 1.0 for 1."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return converted(value, next(one for one in inside if is_a(value, one)))
    if origin is tuple:
        return tuple(converted(one, inside[0]) for one in value)
    return float(value) if kind is float else value
