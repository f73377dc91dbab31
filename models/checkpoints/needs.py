"""How much memory a model takes, part by part and precision by precision, computed from its shapes and layers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..network.configuration import WeGenConfig
from .activations import working_bytes
from .loading import empty_parts
from .quantise import QUANTISED, quantised_format, stored_bytes

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Of a number, where nothing is quantised."""
GIB = 2**30
COLUMNS = (*BYTES, *QUANTISED)
PRECISIONS = ("bf16", "int8", "w4a8")
"""Those that are advised, best first: fp8 takes as much memory as int8 and is further off."""
CARDS, MEMORIES = (6, 8, 12, 16, 24), (16, 32, 64)
"""Sizes in GiB of video memory and of memory that the table has."""
RESERVED = 1.0
"""GiB of a card that the system and the host keep."""
SYSTEM = 5.0
"""GiB of memory that the system, Python and ComfyUI take."""
CONTEXT = 1024
"""Positions of a chat of some turns with pictures."""


@dataclass(frozen=True)
class Needs:
    """Bytes of one part: `weights` by precision, `working` for activations and caches: 16 bits, the VAE's 32."""

    part: str
    weights: dict[str, int]
    working: int


def needs(config: WeGenConfig, batch: int = 1) -> list[Needs]:
    """What each part takes; working memory is that of `batch` pictures drawn at once, with guidance.

    It is counted on the real layers (see `activations`), with a chat of `CONTEXT` positions. Kernels that need room of
    their own are not in it: on a CPU, decoding took a tenth and 0.1 GB more.
    """
    working = working_bytes(config, CONTEXT, batch)
    found = []
    for name, module in empty_parts(config).items():
        shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        counts = {key: math.prod(shape) for key, shape in shapes.items()}
        weights = {}
        for precision in COLUMNS:
            width = 4 if name == "vae" else BYTES.get(precision, 2)
            layers = {
                key: quantised_format(key, shapes[key], precision) if precision in QUANTISED and name != "vae" else None
                for key in counts
            }
            weights[precision] = sum(
                counts[key] * width if layer is None else stored_bytes(layer, shapes[key])
                for key, layer in layers.items()
            )
        found.append(Needs(name, weights, working[name]))
    return found


def how_it_runs(parts: list[Needs], precision: str | Mapping[str, str], card: float, memory: float) -> str:
    """What a machine with a card of `card` GiB (0: none) and `memory` GiB does with the parts.

    Each part has the card for itself in turn. Parts that memory does not hold are read again with each use.

    Args:
        parts: what they take.
        precision: of all parts, or of each.
        card, memory: of the machine.

    Returns:
        "all loaded", "part by part", "partly streamed" (over the bus, at each use), with ", read again" where memory is
        too small for all parts; "too small" where the card does not hold what is computed, or memory not the largest
        part.
    """
    chosen = {part.part: precision if isinstance(precision, str) else precision[part.part] for part in parts}
    weights = {part.part: part.weights[chosen[part.part]] / GIB for part in parts}
    working = max(part.working for part in parts) / GIB
    room = card - RESERVED if card else memory - SYSTEM
    if working >= room or max(weights.values()) > memory - SYSTEM:
        return "too small"
    if sum(weights.values()) + working <= room:
        return "all loaded"
    again = "" if sum(weights.values()) <= memory - SYSTEM else ", read again"
    if all(weights[part.part] + part.working / GIB <= room for part in parts):
        return "part by part" + again
    return "partly streamed" + again if card else "too small"


def advice(parts: list[Needs], card: float, memory: float) -> dict[str, str]:
    """The precision to take for each part: the best with which it has room on the card and all have room in memory."""
    room = card - RESERVED if card else memory - SYSTEM
    chosen = {}
    for part in parts:
        fitting = (p for p in PRECISIONS if part.weights[p] + part.working <= room * GIB)
        chosen[part.part] = next(fitting, PRECISIONS[-1])
    while sum(part.weights[chosen[part.part]] for part in parts) > (memory - SYSTEM) * GIB:
        # The part that saves most by the next smaller precision gives way.
        saved = {
            part.part: part.weights[chosen[part.part]] - part.weights[smaller]
            for part in parts
            if (smaller := _smaller(chosen[part.part])) is not None
        }
        if not saved or max(saved.values()) <= 0:
            break
        part = max(saved, key=lambda name: saved[name])
        chosen[part] = _smaller(chosen[part]) or chosen[part]
    return chosen


def _smaller(precision: str) -> str | None:
    following = PRECISIONS[PRECISIONS.index(precision) + 1 :]
    return following[0] if following else None


def command(chosen: Mapping[str, str]) -> str:
    """The options of `wegen convert` that give these precisions."""
    counts = Counter(precision for part, precision in chosen.items() if part != "vae")
    common = counts.most_common(1)[0][0]
    others = [f"--part {part}={one}" for part, one in chosen.items() if part != "vae" and one != common]
    return " ".join([f"--dtype {common}", *others])


def table(parts: list[Needs]) -> str:
    """Markdown: bytes of the parts, then what runs how; all of it computed, not measured."""
    lines = [
        "| part | " + " | ".join(f"{p} GB" for p in COLUMNS) + " | working GB |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for part in parts:
        sizes = " | ".join(f"{part.weights[p] / 1e9:.2f}" for p in COLUMNS)
        lines.append(f"| {part.part.replace('_', ' ')} | {sizes} | {part.working / 1e9:.2f} |")
    totals = " | ".join(f"{sum(part.weights[p] for part in parts) / 1e9:.2f}" for p in COLUMNS)
    lines += [f"| all | {totals} | {max(part.working for part in parts) / 1e9:.2f} |", ""]
    lines += ["| card | " + " | ".join(f"{p}, {m} GB RAM" for p in PRECISIONS for m in MEMORIES) + " |"]
    lines += ["|---" * (1 + len(PRECISIONS) * len(MEMORIES)) + "|"]
    for card in CARDS:
        runs = (how_it_runs(parts, precision, card, memory) for precision in PRECISIONS for memory in MEMORIES)
        lines.append(f"| {card} GB | " + " | ".join(runs) + " |")
    return "\n".join(lines)
