"""What all test folders use."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]

# A skip reason that starts with this is repeated at the end of the run: something a full machine would have tested.
NOT_RUN = "NOT RUN: "

# Seconds after which something is taken to hang. Long, since machines that run tests may do other work beside it.
HANGS = 1200


def in_a_loop_of_its_own(story: Coroutine) -> Any:
    """What a coroutine gives. In a thread: a browser that tests drive may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, story).result()
