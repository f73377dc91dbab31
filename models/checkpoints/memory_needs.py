"""How much memory a model takes, part by part and precision by precision, computed from its shapes and layers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..network.configuration import WeGenConfig
from .activations import decoding_bytes, working_bytes
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
TILE = 64
"""Cells along a side of the tiles in which ComfyUI decodes what a card has no room for."""
IN_TILES = ", decoded in tiles"


@dataclass(frozen=True)
class Needs:
    """Bytes of one part: `weights` by precision, `working` for activations and caches: 16 bits, the VAE's 32.

    `in_tiles` is what is left of `working` where a part can do its work in tiles, as the VAE can on a card.
    """

    part: str
    weights: dict[str, int]
    working: int
    in_tiles: int


def needs(config: WeGenConfig, batch: int = 1) -> list[Needs]:
    """What each part takes; working memory is that of `batch` pictures drawn at once, with guidance, of which the VAE
    decodes one after another.

    It is counted on the real layers (see `activations`), with a chat of `CONTEXT` positions. Kernels that need room of
    their own are not in it: on a CPU, decoding took a tenth and 0.1 GB more.
    """
    working = working_bytes(config, CONTEXT, batch)
    tile = decoding_bytes(config.vae, min(TILE, config.size // config.vae.downscale))
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
        found.append(Needs(name, weights, working[name], tile if name == "vae" else working[name]))
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
        too small for all parts, and ", decoded in tiles" where the card is too small to decode a whole picture; "too
        small" where `what_is_missing` says why.
    """
    if what_is_missing(parts, precision, card, memory) is not None:
        return "too small"
    weights = _weights(parts, precision)
    room = _room(card, memory)
    working = {part.part: _working(part, card, room) / GIB for part in parts}
    tiles = IN_TILES if any(_working(part, card, room) < part.working for part in parts) else ""
    if sum(weights.values()) + max(working.values()) <= room:
        return "all loaded" + tiles
    again = "" if sum(weights.values()) <= memory - SYSTEM else ", read again"
    whole = all(weights[name] + working[name] <= room for name in weights)
    return ("part by part" if whole else "partly streamed") + again + tiles


def what_is_missing(parts: list[Needs], precision: str | Mapping[str, str], card: float, memory: float) -> str | None:
    """Why a machine cannot run the parts in any way: the rest of a sentence, with sizes in GB; None where it can.

    Args:
        parts, precision, card, memory: as of `how_it_runs`.
    """
    weights = _weights(parts, precision)
    room, held = _room(card, memory), max(0.0, memory - SYSTEM)
    for part in parts:
        name, own, working = _title(part), weights[part.part], _working(part, card, room) / GIB
        if own > held:
            return f"the {name} takes {_gb(own)} of memory, and there are {_gb(held)} for it"
        if card and working >= room:
            return f"the {name} computes in {_gb(working)} beside its weights, and the card has {_gb(max(0.0, room))}"
        if not card and own + working > room:
            return f"the {name} takes {_gb(own)} and computes in {_gb(working)}, and there are {_gb(held)} of memory"
    return None


def _weights(parts: list[Needs], precision: str | Mapping[str, str]) -> dict[str, float]:
    """GiB of each part."""
    return {
        part.part: part.weights[precision if isinstance(precision, str) else precision[part.part]] / GIB
        for part in parts
    }


def _room(card: float, memory: float) -> float:
    """GiB for weights and what is computed."""
    return card - RESERVED if card else memory - SYSTEM


def _working(part: Needs, card: float, room: float) -> int:
    """Bytes beside a part's weights. Tiles are for cards alone: ComfyUI falls back to them when one has no room."""
    return part.in_tiles if card and part.working >= room * GIB else part.working


def _title(part: Needs) -> str:
    return {"unet": "UNet", "vae": "VAE"}.get(part.part) or part.part.replace("_", " ")


def _gb(gib: float) -> str:
    return f"{gib * GIB / 1e9:.1f} GB"


def advice(parts: list[Needs], card: float, memory: float) -> dict[str, str]:
    """The precision to take for each part: the best with which it has room on the card and all have room in memory."""
    room = _room(card, memory)
    chosen = {}
    for part in parts:
        fitting = (p for p in PRECISIONS if part.weights[p] + _working(part, card, room) <= room * GIB)
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
        lines.append(f"| {_title(part)} | {sizes} | {part.working / 1e9:.2f} |")
    totals = " | ".join(f"{sum(part.weights[p] for part in parts) / 1e9:.2f}" for p in COLUMNS)
    lines += [f"| all | {totals} | {max(part.working for part in parts) / 1e9:.2f} |", ""]
    lines += ["| card | " + " | ".join(f"{p}, {m} GB RAM" for p in PRECISIONS for m in MEMORIES) + " |"]
    lines += ["|---" * (1 + len(PRECISIONS) * len(MEMORIES)) + "|"]
    for card in CARDS:
        runs = (how_it_runs(parts, precision, card, memory) for precision in PRECISIONS for memory in MEMORIES)
        lines.append(f"| {card} GB | " + " | ".join(runs) + " |")
    return "\n".join(lines)
