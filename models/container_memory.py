"""How much memory the container allows that this runs in: the machine, which is all that psutil sees, may have more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class ContainerMemory:
    """What is allowed, in bytes.

    Attributes:
        total: what may be used at most.
        available: what is left of it. Files that are only cached count as left: they make room when it is wanted.
        swap: what is left of the swap space; None where it is not limited.
    """

    total: int
    available: int
    swap: int | None


@dataclass(frozen=True)
class _Names:
    """Files of a control group, and lines of its `memory.stat`."""

    limit: str
    used: str
    cached: str
    shared: str  # part of what is cached, but of no file that could be read again
    swap_limit: str = ""
    swap_used: str = ""


_FIRST = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem")
_SECOND = _Names("memory.max", "memory.current", "file", "shmem", "memory.swap.max", "memory.swap.current")
#: a group of the first version without a limit names one near to 2**63
_NO_LIMIT = 2**60


def container_memory(
    groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> ContainerMemory | None:
    """What the control groups (version 1 or 2) of this process allow, as containers and services have them.

    Args:
        groups: names the groups of this process.
        mounted: where groups are seen as folders.

    Returns:
        The least of all groups that it is in; None without a limit, and on systems other than Linux.
    """
    found = list(_limited(groups, mounted))
    if not found:
        return None
    swaps = [one.swap for one in found if one.swap is not None]
    return ContainerMemory(
        min(one.total for one in found), min(one.available for one in found), min(swaps) if swaps else None
    )


def _limited(groups: Path, mounted: Path) -> Iterator[ContainerMemory]:
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        names, top = (_FIRST, mounted / "memory") if controllers else (_SECOND, mounted)
        inside = PurePosixPath(path.lstrip("/"))
        # What limits a group limits those within it. A container sees its own group at the top, whatever it is called.
        for group in (inside, *inside.parents):
            if memory := _memory(top / group, names):
                yield memory


def _memory(group: Path, names: _Names) -> ContainerMemory | None:
    limit, used = _number(group / names.limit), _number(group / names.used)
    if limit is None or used is None or limit >= _NO_LIMIT:
        return None
    try:
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    values = {name: int(value) for name, value in (line.split() for line in lines)}
    cached = max(0, values.get(names.cached, 0) - values.get(names.shared, 0))
    swap, swapped = (_number(group / name) if name else None for name in (names.swap_limit, names.swap_used))
    left = None if swap is None or swapped is None else max(0, swap - swapped)
    return ContainerMemory(limit, max(0, limit - used + cached), left)


def _number(file: Path) -> int | None:
    """What a file says; None for "max", and where there is none."""
    try:
        said = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(said) if said.isdigit() else None
