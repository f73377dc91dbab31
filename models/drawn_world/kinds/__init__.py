"""All kinds of things that there are painters of, by name."""

from types import MappingProxyType

from . import buildings, food, nature, people, pets, things, vehicles, wild
from .kind import FACING, Kind

_PARTS = (pets, wild, people, vehicles, buildings, nature, food, things)
KINDS = MappingProxyType({kind.name: kind for part in _PARTS for kind in part.ALL})

__all__ = ["FACING", "KINDS", "Kind"]
