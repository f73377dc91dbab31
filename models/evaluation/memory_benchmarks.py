"""What loading, converting and ComfyUI's sampler take: each in a process of its own, whose memory is its alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..bundled import BUNDLED
from ..checkpoints.convert import CHOICES
from ..checkpoints.random_weights import make_random
from ..checkpoints.reader import open_checkpoint, part_file
from ..errors import WeGenError
from .host_install import HostInstall

SIZE = "1b-lm"
"""What is loaded and converted, of `random_weights.CONFIGS`."""
PART = "language_model"

_LOAD = """
def work(folder):
    import torch
    from {package}.checkpoints.loading import fill
    from {package}.checkpoints.reader import open_checkpoint
    from {package}.network.agent import Agent
    checkpoint = open_checkpoint(folder)
    with torch.device("meta"):
        agent = Agent(checkpoint.config)
    return lambda: fill(agent, checkpoint.language_model, torch.device("cpu"), torch.bfloat16)
"""
_READ = """
def work(folder):
    import os
    def read():
        with open(folder + "/language_model.safetensors", "rb", buffering=0) as file:
            # Fresh memory for all of it: whoever reads bytes into memory pays for that too.
            memory = bytearray(os.fstat(file.fileno()).st_size)
            left = memoryview(memory)
            while left:
                left = left[file.readinto(left[:2**24]):]
        return memory
    return read
"""
_CONVERT = """
def work(folder):
    from {package}.checkpoints.convert import convert
    return lambda: convert(folder, folder + "-{dtype}", "{dtype}")
"""
_MEASURE = """
import json, resource, sys, time
import torch
torch.set_num_threads({threads})
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # That number would begin with what the process held that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
run = work(sys.argv[1])
before, begin = peak(), time.perf_counter()
kept = run()
print(json.dumps([time.perf_counter() - begin, peak() - before]))
"""


def measure(folder: Path, code: str, **values: object) -> tuple[float, int]:
    """Seconds and additional bytes of memory at most of some work in a new process, with the files not cached."""
    if sys.platform == "win32":
        raise WeGenError("Memory is measured on Linux and macOS only; leave out 'load' and 'convert'.")
    _forget(folder)
    package = __name__.rsplit(".", 2)[0]
    source = (code + _MEASURE).format(package=package, threads=1, **values)
    seconds, memory = _last_line([sys.executable, "-c", source, str(folder)])
    return seconds, memory


def _last_line(command: list[str], folder: Path | None = None) -> Any:
    """What a process prints last, read as JSON.

    Args:
        command: of the process.
        folder: its working directory; None is this one's.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f"it ended with {done.returncode} and said nothing"
        raise WeGenError(f"The measuring process failed: {said.splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


_IN_HOST = Path(__file__).resolve().parents[2] / "wegen_nodes" / "host" / "start_decode_speed.py"


def decode(host: HostInstall, repeats: int, threads: int) -> dict[str, tuple[float, float, float] | None]:
    """Sampling of the bundled model inside ComfyUI against others of its size: the ratio, and both in seconds.

    None stands for what that ComfyUI's Python cannot run, as diffusers is no part of ComfyUI.

    Args:
        host: where it is measured; it has no `problem`.
        repeats: pairs behind each median.
        threads: of the CPU.
    """
    with tempfile.TemporaryDirectory() as base:
        values = [_IN_HOST, host.path, BUNDLED, repeats, threads, base]
        found = _last_line([str(host.python), *map(str, values)], host.path)
    return {name: one and tuple(one) for name, one in found.items()}


def _forget(folder: Path) -> None:
    """Ask the system to drop the files of a folder from its cache, so that they are really read."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in filter(Path.is_file, folder.rglob("*")):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def load(repeats: int, size: str = SIZE) -> dict[str, tuple[float, float, float]]:
    """How much memory and time a part takes to load: the ratio, and what both sides were.

    Loading it, reading the bytes of its file into memory, and loading it from the published layout run in turns.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = make_random(Path(place) / "model", size)
        part = (folder / part_file(PART)).stat().st_size
        published = make_random(Path(place) / "published", size, published=True)
        turns = [(measure(folder, _LOAD), measure(folder, _READ), measure(published, _LOAD)) for _ in range(repeats)]
    peak = statistics.median(memory for (_, memory), *_ in turns)
    loaded, read, others = (statistics.median(turn[side][0] for turn in turns) for side in range(3))
    return {
        "load/peak_vs_part": (peak / part, peak / 1e9, part / 1e9),
        "load/time_vs_read": (statistics.median(one / other for (one, _), (other, _), _ in turns), loaded, read),
        "load/packed_vs_published": (
            statistics.median(one / other for (one, _), _, (other, _) in turns),
            loaded,
            others,
        ),
    }


def convert(dtype: str = "int8", size: str = SIZE) -> tuple[float, float, float]:
    """What `convert_peak` gives for a published folder of a size."""
    with tempfile.TemporaryDirectory() as place:
        return convert_peak(make_random(Path(place) / "model", size, published=True), dtype)


def convert_peak(folder: Path, dtype: str) -> tuple[float, float, float]:
    """By how many GB converting takes more memory than the largest tensor; and both, in GB.

    Args:
        folder: is converted to `<folder>-<dtype>`, which stays.
        dtype: the precision.
    """
    if dtype not in CHOICES:
        raise WeGenError(f"There is no precision {dtype!r}; choose one of {', '.join(CHOICES)}.")
    parts = open_checkpoint(folder).parts.values()
    largest = max(entry.elements * entry.dtype.itemsize for part in parts for entry in part.stored.values())
    _, memory = measure(folder, _CONVERT, dtype=dtype)
    return (memory - largest) / 1e9, memory / 1e9, largest / 1e9
