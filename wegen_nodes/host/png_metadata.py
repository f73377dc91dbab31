"""What saved pictures say of how they came to be, whether or not the turn that drew them is run again.

Stock nodes write into a PNG what a prompt's `extra_pnginfo` holds. A turn puts its words there when it runs; when the
host has its result already, and only saves the picture anew, they are put there before the prompt is queued. That also
serves programs that send no `extra_pnginfo` at all.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...models.media.metadata import KEY

TURNS = ("WeGenGenerate", "WeGenRefine", "WeGenResult")
REMEMBERED = 256
_records: OrderedDict[str, list[Any]] = OrderedDict()


def register() -> None:
    """Have the host ask before it queues a prompt."""
    server = getattr(PromptServer, "instance", None)  # hosts that only list their nodes have none
    if server is not None:
        server.add_on_prompt_handler(supply)


def write_down(prompt: Mapping[str, Any] | None, node: str, pnginfo: dict[str, Any] | None, record: list[Any]) -> None:
    """Put the words of one turn into the pictures that are saved after it, now and when it is not run again.

    Args:
        prompt: as it was queued.
        node: id of the turn in it; inner nodes begin with that of the node that they stand in.
        pnginfo: what the host writes into PNGs; None where it writes nothing.
        record: for each picture of the turn what `metadata.turns_of` gives.
    """
    node = node.split(".")[0]
    # A node that is run once for each member of a list is one turn after the other: each goes behind those before.
    context = get_executing_context()
    further = context is not None and bool(context.list_index)
    if pnginfo is not None:
        known = _told(pnginfo)
        known[node] = [*known.get(node, ()), *record] if further else record
    if prompt is not None and node in prompt:
        signature = _signature(prompt, node, {})
        _records[signature] = [*_records.get(signature, ()), *record] if further else record
        while len(_records) > REMEMBERED:
            _records.popitem(last=False)


def supply(request: dict[str, Any]) -> dict[str, Any]:
    """Add what is known of a prompt's turns to a request of the host's `/prompt`."""
    prompt = request.get("prompt")
    turns = [node for node, entry in _entries(prompt) if entry.get("class_type") in TURNS]
    if not turns:
        return request
    extra = request.get("extra_data")
    extra = request["extra_data"] = extra if isinstance(extra, dict) else {}
    pnginfo = extra.get("extra_pnginfo")
    pnginfo = extra["extra_pnginfo"] = pnginfo if isinstance(pnginfo, dict) else {}
    signed: dict[str, str] = {}
    for node in turns:
        record = _records.get(_signature(prompt, node, signed))
        if record is not None:
            _told(pnginfo)[node] = record
    return request


def _told(pnginfo: dict[str, Any]) -> dict[str, Any]:
    """What is written of turns, by their nodes. Programs that hand on all texts of a picture have it as one text."""
    if not isinstance(pnginfo.get(KEY), dict):
        pnginfo[KEY] = {}
    return pnginfo[KEY]


def _entries(prompt: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The nodes of a prompt that nobody has checked yet."""
    if not isinstance(prompt, Mapping):
        return []
    return [(node, entry) for node, entry in prompt.items() if isinstance(entry, Mapping)]


def _signature(prompt: Mapping[str, Any], node: str, signed: dict[str, str]) -> str:
    """Equal for turns that were asked for in the same way, with all that leads to them; ids do not count."""
    return _digest(prompt, prompt[node], signed, (node,))


def _digest(
    prompt: Mapping[str, Any],
    entry: Mapping[str, Any],
    signed: dict[str, str],
    above: tuple[str, ...],
) -> str:
    inputs = entry.get("inputs")
    values: dict[str, Any] = {}
    for name, value in inputs.items() if isinstance(inputs, Mapping) else ():
        source = value[0] if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) else None
        if source is None or source in above or not isinstance(prompt.get(source), Mapping):
            values[name] = value  # a value, or a link that the host will not run
            continue
        if source not in signed:
            signed[source] = _digest(prompt, prompt[source], signed, (*above, source))
        values[name] = [signed[source], value[1]]
    text = json.dumps([entry.get("class_type"), values], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
