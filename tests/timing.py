"""Measured times that a busy machine does not spoil."""

from collections.abc import Callable

ROUNDS = 10


def measured(measure: Callable[[], float], limit: float) -> list[float]:
    """What `measure` gives until it is within `limit`, at most `ROUNDS` times; the last is the one that counts.

    What code computes it computes each time. What other work on the machine adds, it adds now and then.
    """
    times = [measure()]
    while times[-1] > limit and len(times) < ROUNDS:
        times.append(measure())
    return times
