"""What all test folders use."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
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


@contextmanager
def nodes_without_host(**stand_ins: ModuleType) -> Iterator[None]:
    """Meanwhile modules of `wegen_nodes` can be imported one by one; the package as a whole needs the host.

    Args:
        stand_ins: for modules of the host that they import, by name.
    """
    package = "comfyui_wegen.wegen_nodes"
    there = sys.modules.copy()
    module = ModuleType(package)
    module.__path__ = [str(REPOSITORY / "wegen_nodes")]
    sys.modules.update({package: module, **stand_ins})
    try:
        yield
    finally:
        for name in [
            name for name in sys.modules if name in stand_ins or name == package or name.startswith(f"{package}.")
        ]:
            del sys.modules[name]
            if name in there:
                sys.modules[name] = there[name]
