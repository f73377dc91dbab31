"""All kinds of things of the drawn world, by name."""

from types import MappingProxyType

from . import buildings, food, nature, people, pets, things, vehicles, wild
from .kind import FACING, PATTERNS, PLAIN, Kind

THEMES = MappingProxyType(
    {
        "pets": pets.ALL,
        "wild animals": wild.ALL,
        "people": people.ALL,
        "vehicles": vehicles.ALL,
        "buildings": buildings.ALL,
        "nature": nature.ALL,
        "food": food.ALL,
        "things": things.ALL,
    }
)
KINDS = MappingProxyType({kind.name: kind for kinds in THEMES.values() for kind in kinds})

__all__ = ["FACING", "KINDS", "PATTERNS", "PLAIN", "THEMES", "Kind"]
