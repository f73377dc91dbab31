"""The colours of the drawn world, by name, and how they are mixed."""

from types import MappingProxyType

Colour = tuple[int, int, int]

COLOURS = MappingProxyType(
    {
        "red": (222, 54, 52),
        "orange": (246, 142, 36),
        "yellow": (252, 214, 64),
        "green": (70, 162, 82),
        "blue": (52, 116, 216),
        "purple": (134, 76, 184),
        "pink": (247, 146, 192),
        "white": (248, 247, 243),
        "grey": (150, 154, 166),
        "brown": (142, 92, 56),
        "black": (60, 60, 72),
    }
)

# Details that no name speaks of. None of them equals a named colour: that is how the body of a thing is told from them.
INK = (44, 42, 58)
PAPER = (255, 251, 240)
CREAM = (252, 238, 208)
WOOD = (152, 106, 70)
GLASS = (206, 232, 246)
SLATE = (86, 80, 106)
LAMP = (255, 228, 92)
LEAF = (92, 156, 78)
BLUSH = (250, 150, 140)
SKIN = (247, 206, 172)
STEEL = (178, 186, 198)
WATER = (92, 170, 226)
FLAME = (255, 168, 60)


def mix(colour: Colour, other: Colour, amount: float) -> Colour:
    """`colour` moved towards `other`; amount 0 gives the first, 1 the second."""
    return tuple(round(a + (b - a) * amount) for a, b in zip(colour, other, strict=True))


def darker(colour: Colour, amount: float = 0.28) -> Colour:
    return mix(colour, INK, amount)


def lighter(colour: Colour, amount: float = 0.35) -> Colour:
    return mix(colour, (255, 255, 255), amount)


def shaded(colour: Colour, amount: float = 0.26) -> Colour:
    """A tone beside the colour that shows on it: darker, and lighter for black."""
    return lighter(colour, amount) if sum(colour) < 240 else darker(colour, amount)
