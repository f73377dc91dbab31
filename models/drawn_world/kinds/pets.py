"""Animals of house and farm."""

from ..palette import BLUSH, CREAM, INK, PAPER, Colour, lighter, shaded
from ..pen import Pen
from .kind import FACING, Kind

# fmt: off
BEAK = (246, 150, 52)


def _ears(pen: Pen, ears, fill: Colour):
    for ear in ears:
        pen.polygon(ear, fill)


def _lid(colour: Colour) -> Colour:
    """The line of a shut eye that shows on a fur."""
    return PAPER if sum(colour) < 240 else INK


def _cat(pen: Pen, colour: Colour, pose: str):
    shade, belly = shaded(colour), lighter(colour, 0.55)
    if pose == "sleeping":
        base = pen.h
        pen.curve([(0.92, base - 0.30), (0.97, base - 0.12), (0.80, base - 0.05), (0.45, base - 0.05)], shade, 0.10)
        pen.oval(0.58, base - 0.30, 0.40, 0.28, colour)
        pen.curve([(0.95, base - 0.22), (0.86, base - 0.07), (0.62, base - 0.05)], shade, 0.10)
        _ears(
            pen,
            (
                ((0.02, base - 0.62), (0.03, base - 0.34), (0.24, base - 0.46)),
                ((0.47, base - 0.62), (0.46, base - 0.34), (0.26, base - 0.46)),
            ),
            colour,
        )
        pen.oval(0.25, base - 0.26, 0.25, 0.21, colour)
        pen.oval(0.23, base - 0.18, 0.11, 0.07, belly)
        for x in (0.14, 0.34):
            pen.shut_eye(x, base - 0.25, 0.06, _lid(colour))
        pen.oval(0.23, base - 0.21, 0.035, 0.025, BLUSH)
        return
    pen.curve([(0.74, 0.92), (0.88, 0.86), (0.90, 0.62), (0.80, 0.48)], colour, 0.10)
    pen.oval(0.54, 0.74, 0.26, 0.26, colour)
    pen.box(0.33, 0.62, 0.46, 1.0, colour, 0.05)
    pen.box(0.50, 0.86, 0.78, 1.0, shade, 0.06)
    pen.oval(0.40, 0.72, 0.07, 0.13, belly)
    _ears(pen, (((0.06, 0.0), (0.07, 0.3), (0.30, 0.18)), ((0.56, 0.0), (0.55, 0.3), (0.32, 0.18))), colour)
    _ears(pen, (((0.105, 0.09), (0.11, 0.24), (0.22, 0.17)), ((0.515, 0.09), (0.51, 0.24), (0.40, 0.17))), BLUSH)
    pen.oval(0.31, 0.35, 0.28, 0.23, colour)
    pen.oval(0.22, 0.44, 0.13, 0.09, belly)
    for x in (0.14, 0.36):
        pen.eye(x, 0.32, 0.07)
    pen.oval(0.19, 0.41, 0.04, 0.03, BLUSH)


def _dog(pen: Pen, colour: Colour, pose: str):
    shade, base = shaded(colour, 0.34), pen.h
    if pose == "sleeping":
        pen.curve([(0.88, base - 0.30), (0.99, base - 0.16), (0.90, base - 0.06), (0.76, base - 0.05)], shade, 0.10)
        pen.blob([(0.28, base), (0.34, base - 0.34), (0.62, base - 0.50), (0.90, base - 0.36), (0.94, base)], colour)
        pen.arc(0.72, base - 0.10, 0.20, 0.24, 190, 320, shade, 0.04)
        pen.box(0.52, base - 0.12, 0.84, base, lighter(colour, 0.25), 0.06)
        pen.box(0.16, base - 0.46, 0.50, base - 0.04, colour, 0.15)
        pen.box(0.0, base - 0.26, 0.32, base, lighter(colour, 0.5), 0.11)
        pen.oval(0.05, base - 0.21, 0.065, 0.05, INK)
        pen.blob([(0.36, base - 0.48), (0.50, base - 0.48), (0.56, base - 0.26), (0.46, base - 0.06),
                  (0.38, base - 0.18)], shade)
        pen.shut_eye(0.25, base - 0.30, 0.07, _lid(colour))
        return
    pen.curve([(0.82, 0.42), (0.94, 0.32), (0.96, 0.14)], colour, 0.10)
    for x, fill in ((0.36, shade), (0.72, shade), (0.28, colour), (0.80, colour)):
        pen.box(x, 0.60, x + 0.12, base, fill, 0.04)
    pen.blob([(0.26, 0.42), (0.50, 0.37), (0.84, 0.36), (0.94, 0.52), (0.90, 0.72), (0.50, 0.72), (0.26, 0.66)], colour)
    pen.box(0.18, 0.04, 0.52, 0.44, colour, 0.15)
    pen.box(0.0, 0.18, 0.36, 0.44, lighter(colour, 0.5), 0.12)
    pen.oval(0.05, 0.23, 0.07, 0.055, INK)
    pen.blob([(0.36, 0.04), (0.52, 0.02), (0.58, 0.24), (0.50, 0.44), (0.40, 0.34)], shade)
    pen.eye(0.25, 0.15, 0.065)
    pen.polygon([(0.26, 0.44), (0.54, 0.44), (0.52, 0.53), (0.27, 0.53)], (214, 70, 84))


def _rabbit(pen: Pen, colour: Colour, pose: str):
    shade, base = shaded(colour), pen.h
    pen.circle(pen.w - 0.10, base - 0.20, 0.10, PAPER)
    pen.oval(0.48, base - 0.25, 0.28, 0.25, colour)
    pen.oval(0.56, base - 0.17, 0.16, 0.16, shade)
    pen.oval(0.52, base - 0.05, 0.20, 0.05, shade)
    pen.oval(0.24, base - 0.06, 0.13, 0.06, colour)
    for x, lean in ((0.38, 0.10), (0.20, 0.0)):
        pen.blob([(x - 0.07, 0.36), (x - 0.08 + lean / 2, 0.14), (x + lean, 0.0), (x + 0.09 + lean, 0.14),
                  (x + 0.08, 0.38)],
                 colour)
        pen.blob([(x - 0.03, 0.34), (x - 0.02 + lean / 2, 0.15), (x + lean, 0.07), (x + 0.04 + lean, 0.16),
                  (x + 0.03, 0.34)],
                 BLUSH)
    pen.oval(0.25, 0.47, 0.24, 0.19, colour)
    pen.oval(0.12, 0.54, 0.10, 0.08, lighter(colour, 0.55))
    pen.oval(0.05, 0.50, 0.04, 0.03, BLUSH)
    pen.eye(0.21, 0.43, 0.07)


def _horse(pen: Pen, colour: Colour, pose: str):
    shade, base, mane = shaded(colour, 0.30), pen.h, shaded(colour, 0.6)
    pen.curve([(0.88, 0.46), (0.97, 0.56), (0.95, 0.82)], mane, 0.10)
    for x, fill in ((0.40, shade), (0.70, shade), (0.31, colour), (0.79, colour)):
        pen.box(x, 0.58, x + 0.10, base, fill, 0.03)
        pen.box(x, base - 0.07, x + 0.10, base, INK, 0.02)
    pen.blob([(0.28, 0.46), (0.50, 0.46), (0.84, 0.40), (0.92, 0.54), (0.86, 0.70), (0.50, 0.70), (0.29, 0.68)], colour)
    pen.polygon([(0.20, 0.12), (0.42, 0.14), (0.56, 0.50), (0.30, 0.62)], colour)
    pen.blob([(0.30, 0.0), (0.40, 0.06), (0.50, 0.20), (0.60, 0.46), (0.50, 0.46), (0.38, 0.22)], mane)
    pen.polygon([(0.26, 0.0), (0.36, 0.13), (0.22, 0.15)], colour)
    pen.blob([(0.20, 0.10), (0.36, 0.12), (0.34, 0.28), (0.14, 0.42), (0.01, 0.38), (0.02, 0.27)], colour)
    pen.blob([(0.02, 0.27), (0.12, 0.30), (0.12, 0.42), (0.01, 0.38)], lighter(colour, 0.45))
    pen.circle(0.06, 0.33, 0.022, INK)
    pen.circle(0.22, 0.19, 0.04, INK)


def _sheep(pen: Pen, colour: Colour, pose: str):
    base, shade, face = pen.h, shaded(colour, 0.12), (92, 82, 84) if sum(colour) > 300 else (226, 206, 186)
    for x in (0.34, 0.46, 0.70, 0.82):
        pen.box(x, base - 0.26, x + 0.08, base, face, 0.03)
    puffs = ((0.40, 0.28, 0.17), (0.60, 0.20, 0.18), (0.80, 0.28, 0.16), (0.86, 0.46, 0.14), (0.72, 0.56, 0.16),
             (0.50, 0.56, 0.17), (0.34, 0.46, 0.15))
    for x, y, r in puffs:
        pen.circle(x, y, r, colour)
    pen.oval(0.60, 0.40, 0.30, 0.22, colour)
    for x, y in ((0.52, 0.34), (0.72, 0.30), (0.64, 0.50), (0.82, 0.46)):
        pen.arc(x, y, 0.07, 0.07, 30, 190, shade, 0.03)
    pen.oval(0.38, 0.36, 0.09, 0.05, face)
    pen.blob([(0.12, 0.18), (0.32, 0.20), (0.34, 0.40), (0.20, 0.58), (0.08, 0.52), (0.06, 0.34)], face)
    pen.circle(0.24, 0.17, 0.11, colour)
    pen.eye(0.19, 0.34, 0.06)


def _cow(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.3)
    pen.curve([(0.92, 0.34), (0.98, 0.48), (0.96, 0.62)], shade, 0.05)
    pen.circle(0.96, 0.66, 0.05, INK)
    for x, fill in ((0.42, shade), (0.70, shade), (0.33, colour), (0.80, colour)):
        pen.box(x, base - 0.32, x + 0.11, base, fill, 0.02)
        pen.box(x, base - 0.06, x + 0.11, base, INK, 0.02)
    pen.oval(0.68, base - 0.26, 0.10, 0.08, (246, 168, 178))
    pen.box(0.28, 0.22, 0.94, base - 0.22, colour, 0.12)
    for x in (0.10, 0.36):
        pen.curve([(x, 0.12), (x - 0.03 if x < 0.2 else x + 0.03, 0.06), (x, 0.01)], CREAM, 0.06)
    pen.oval(0.02, 0.20, 0.07, 0.05, shade)
    pen.oval(0.44, 0.20, 0.07, 0.05, shade)
    pen.box(0.07, 0.09, 0.39, 0.50, colour, 0.12)
    pen.box(0.02, 0.36, 0.42, 0.58, (246, 190, 186), 0.10)
    for x in (0.13, 0.31):
        pen.oval(x, 0.46, 0.03, 0.04, (170, 96, 100))
        pen.eye(x + 0.01, 0.25, 0.06, 0.0)


def _pig(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.2)
    pen.arc(0.93, 0.28, 0.06, 0.08, 120, 420, shade, 0.04)
    for x, fill in ((0.38, shade), (0.68, shade), (0.28, colour), (0.78, colour)):
        pen.box(x, base - 0.22, x + 0.12, base, fill, 0.03)
    pen.oval(0.54, 0.40, 0.40, 0.30, colour)
    pen.circle(0.26, 0.36, 0.24, colour)
    for ear in (((0.10, 0.02), (0.24, 0.14), (0.08, 0.26)), ((0.44, 0.02), (0.42, 0.26), (0.28, 0.14))):
        pen.polygon(ear, shade)
    pen.box(0.0, 0.34, 0.24, 0.54, shade, 0.09)
    for x in (0.07, 0.16):
        pen.oval(x, 0.44, 0.025, 0.045, INK)
    pen.eye(0.16, 0.27, 0.055)
    pen.eye(0.34, 0.27, 0.055)


def _duck(pen: Pen, colour: Colour, pose: str):
    base, shade = pen.h, shaded(colour, 0.22)
    pen.blob([(0.14, 0.52), (0.34, 0.44), (0.62, 0.50), (0.86, 0.46), (1.0, 0.34), (0.98, 0.64), (0.80, base),
              (0.30, base),
              (0.13, base - 0.16)], colour)
    pen.circle(0.32, 0.24, 0.23, colour)
    pen.box(0.18, 0.24, 0.44, 0.56, colour, 0.10)
    pen.blob([(0.44, 0.62), (0.66, 0.58), (0.90, 0.60), (0.78, 0.80), (0.54, 0.82)], shade)
    pen.blob([(0.12, 0.20), (0.0, 0.27), (0.01, 0.36), (0.16, 0.36)], BEAK)
    pen.eye(0.27, 0.18, 0.065)


def _bird(pen: Pen, colour: Colour, pose: str):
    shade = shaded(colour, 0.28)
    if pose == "flying":
        pen.polygon([(0.74, 0.44), (1.0, 0.40), (0.95, 0.52), (1.0, 0.62), (0.74, 0.58)], shade)
        pen.blob([(0.10, 0.44), (0.30, 0.34), (0.60, 0.38), (0.84, 0.50), (0.56, 0.66), (0.24, 0.62)], colour)
        pen.oval(0.40, 0.59, 0.18, 0.06, lighter(colour, 0.5))
        pen.polygon([(0.0, 0.50), (0.14, 0.42), (0.14, 0.56)], BEAK)
        pen.circle(0.24, 0.44, 0.15, colour)
        pen.blob([(0.32, 0.46), (0.40, 0.20), (0.66, 0.0), (0.84, 0.02), (0.70, 0.22), (0.62, 0.50)], shade)
        pen.eye(0.20, 0.41, 0.06)
        return
    pen.polygon([(0.70, 0.40), (1.0, 0.28), (0.97, 0.46), (0.74, 0.60)], shade)
    pen.oval(0.52, 0.50, 0.32, 0.22, colour)
    pen.oval(0.44, 0.58, 0.20, 0.13, lighter(colour, 0.5))
    pen.circle(0.29, 0.30, 0.20, colour)
    pen.polygon([(0.0, 0.33), (0.14, 0.23), (0.14, 0.40)], BEAK)
    pen.blob([(0.44, 0.46), (0.60, 0.36), (0.84, 0.36), (0.74, 0.56), (0.58, 0.62)], shade)
    pen.eye(0.24, 0.26, 0.07)
    for x in (0.46, 0.60):
        pen.line([(x, 0.69), (x, pen.h - 0.03)], BEAK, 0.05)


def _mouse(pen: Pen, colour: Colour, pose: str):
    base = pen.h
    pen.curve([(0.74, base - 0.08), (0.92, base - 0.12), (0.90, base - 0.34), (0.99, base - 0.42)], BLUSH, 0.05)
    pen.blob([(0.04, base - 0.16), (0.24, base - 0.38), (0.52, base - 0.46), (0.78, base - 0.30), (0.82, base),
              (0.20, base)],
             colour)
    pen.circle(0.44, base - 0.46, 0.16, colour)
    pen.circle(0.44, base - 0.46, 0.09, BLUSH)
    pen.circle(0.22, base - 0.44, 0.15, shaded(colour, 0.18))
    pen.circle(0.22, base - 0.44, 0.085, BLUSH)
    pen.circle(0.20, base - 0.23, 0.045, INK)
    pen.circle(0.04, base - 0.14, 0.05, (214, 96, 120))


ALL = (
    Kind("cat", _cat, ("orange", "black", "white", "brown", "grey"), (*FACING, "sleeping")),
    Kind("dog", _dog, ("brown", "white", "black", "orange"), (*FACING, "sleeping"), height=0.92),
    Kind("rabbit", _rabbit, ("white", "brown", "grey", "pink"), FACING, width=0.86),
    Kind("horse", _horse, ("brown", "white", "black", "orange"), FACING),
    Kind("sheep", _sheep, ("white", "black", "pink", "blue"), FACING, height=0.86),
    Kind("cow", _cow, ("white", "brown", "black"), FACING, height=0.88),
    Kind("pig", _pig, ("pink", "white", "brown"), FACING, height=0.82),
    Kind("duck", _duck, ("yellow", "white", "brown", "green"), FACING, home="water"),
    Kind("bird", _bird, ("red", "blue", "yellow", "black"), (*FACING, "flying"), height=0.86, home="air"),
    Kind("mouse", _mouse, ("grey", "white", "brown"), FACING, height=0.66),
)
