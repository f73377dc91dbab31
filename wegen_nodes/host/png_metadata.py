"""What saved pictures say of how they came to be, whether or not the turn that drew them is run again.

Stock nodes write into a PNG what a prompt's `extra_pnginfo` holds. A turn puts its words there when it runs; when the
host has its result already, and only saves the picture anew, they are put there before the prompt is queued. That also
serves programs that send no `extra_pnginfo` at all. All pictures of a prompt share one `extra_pnginfo`; each is told of
the turns that lead to it only, in whatever order the host runs them.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import ItemsView, Mapping
from typing import Any

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ...models.media.metadata import KEY

TURNS = ("WeGenGenerate", "WeGenRefine", "WeGenResult")
REMEMBERED = 256
_records: OrderedDict[str, list[Any]] = OrderedDict()


class Told(dict[str, Any]):
    """What is told of turns, by their nodes. The node that is run just now sees those that lead to it; who asks outside
    a run, such as the host's history, sees all of them.

    Nodes that save pictures make JSON of it, and `json` asks a mapping for its `items`.
    """

    def __init__(self, turns: Mapping[str, Any], prompt: Mapping[str, Any]) -> None:
        super().__init__(turns)
        self.prompt = prompt

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # of a copy where some are left out
        context = get_executing_context()
        if context is None or context.node_id not in self.prompt:
            return super().items()
        led = _leading_to(self.prompt, context.node_id)
        return {node: record for node, record in super().items() if node in led}.items()


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
        known = _told(pnginfo, prompt or {})
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
            _told(pnginfo, prompt)[node] = record
    return request


def _told(pnginfo: dict[str, Any], prompt: Mapping[str, Any]) -> Told:
    """What is written of turns. Programs that hand on all texts of a picture have it as one text."""
    known = pnginfo.get(KEY)
    if not isinstance(known, Told):
        known = pnginfo[KEY] = Told(known if isinstance(known, dict) else {}, prompt)
    return known


def _entries(prompt: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The nodes of a prompt that nobody has checked yet."""
    if not isinstance(prompt, Mapping):
        return []
    return [(node, entry) for node, entry in prompt.items() if isinstance(entry, Mapping)]


def _inputs(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = entry.get("inputs")
    return inputs if isinstance(inputs, Mapping) else {}


def _leading_to(prompt: Mapping[str, Any], node: str) -> set[str]:
    """The node and all whose results it needs."""
    led, left = {node}, [node]
    while left:
        values = _inputs(prompt[left.pop()]).values()
        sources = {source for value in values if (source := _source(prompt, value)) is not None}
        left.extend(sources - led)
        led |= sources
    return led


def _source(prompt: Mapping[str, Any], value: Any) -> str | None:
    """The node that an input is linked to; None where it is a value, or a link that the host will not run."""
    node = value[0] if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) else None
    return node if node is not None and isinstance(prompt.get(node), Mapping) else None


def _signature(prompt: Mapping[str, Any], node: str, signed: dict[str, str]) -> str:
    """Equal for turns that were asked for in the same way, with all that leads to them; ids do not count."""
    return _digest(prompt, prompt[node], signed, (node,))


def _digest(
    prompt: Mapping[str, Any],
    entry: Mapping[str, Any],
    signed: dict[str, str],
    above: tuple[str, ...],
) -> str:
    values: dict[str, Any] = {}
    for name, value in _inputs(entry).items():
        source = _source(prompt, value)
        if source is None or source in above:
            values[name] = _as_queued(value)
            continue
        if source not in signed:
            signed[source] = _digest(prompt, prompt[source], signed, (*above, source))
        values[name] = [signed[source], value[1]]
    text = json.dumps([entry.get("class_type"), values], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_queued(value: Any) -> Any:
    """A value in one form for all that the host makes of it when it queues a prompt: 2 as a decimal number is 2.0, and
    text of numbers becomes numbers."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return str(value) if isinstance(value, int | float) else value
