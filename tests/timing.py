"""Measured times that a busy machine does not spoil."""

import time
from collections.abc import Callable

ROUNDS = 10
COMPUTED = 0.3
"""Seconds of computing that show whether a machine is busy."""


def measured(measure: Callable[[], float], limit: float) -> list[float]:
    """What `measure` gives until it is within `limit`, at most `ROUNDS` times; the last is the one that counts.

    What code computes it computes each time. What other work on the machine adds, it adds now and then.
    """
    times = [measure()]
    while times[-1] > limit and len(times) < ROUNDS:
        times.append(measure())
    return times


def starved() -> bool:
    """Whether other work takes the cores away: then computing for some time takes half as long again, or more.

    What is more important than this process need not make the load high that the system tells of.
    """
    begin, before = time.perf_counter(), time.process_time()
    while time.process_time() - before < COMPUTED:
        pass
    return time.perf_counter() - begin > 1.5 * COMPUTED
