"""Several sequences in one row: rows are filled evenly, so that no process waits for another and little is padding."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence


def pack(lengths: Sequence[int], most: int, multiple: int = 1) -> list[list[int]]:
    """Spread sequences over as few rows as hold them, about equally full.

    Args:
        lengths: of the sequences.
        most: tokens that a row should not exceed. One sequence that is longer gets a row of its own.
        multiple: the number of rows is a multiple of this where there are sequences enough.

    Returns:
        For each row the numbers of its sequences. No row is empty, unless there are fewer sequences than `multiple`.
    """
    if not lengths:
        return [[] for _ in range(multiple)]
    rows = max(1, math.ceil(sum(lengths) / max(most, 1)))
    while True:
        rows = math.ceil(rows / multiple) * multiple
        packed = _spread(lengths, rows)
        fullest = max(sum(lengths[i] for i in row) for row in packed)
        if fullest <= max(most, max(lengths)) or rows >= len(lengths):
            return packed
        rows += 1


def _spread(lengths: Sequence[int], rows: int) -> list[list[int]]:
    """The longest first, each into the emptiest row."""
    heap = [(0, row) for row in range(rows)]
    packed: list[list[int]] = [[] for _ in range(rows)]
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        full, row = heapq.heappop(heap)
        packed[row].append(index)
        heapq.heappush(heap, (full + lengths[index], row))
    return packed
