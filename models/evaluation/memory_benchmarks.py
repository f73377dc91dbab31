"""What loading, converting and ComfyUI's sampler take: each in a process of its own, whose memory is its alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ..bundled import BUNDLED
from ..checkpoints.convert import CHOICES
from ..checkpoints.random_weights import make_random
from ..checkpoints.reader import open_checkpoint, part_file
from ..errors import WeGenError

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
    def read():
        memory = bytearray(2**24)
        with open(folder + "/language_model.safetensors", "rb", buffering=0) as file:
            while file.readinto(memory):
                pass
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
    done = subprocess.run([sys.executable, "-c", source, str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise WeGenError(f"The measuring process failed: {done.stderr.strip().splitlines()[-1]}")
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


_IN_HOST = """
import importlib, importlib.util, sys
host, pack, folder, repeats, threads, base = sys.argv[1:]
sys.path.insert(0, host)
sys.argv = ["main.py", "--cpu", "--base-directory", base]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.cli_args
spec = importlib.util.spec_from_file_location("wegen_pack", pack + "/__init__.py", submodule_search_locations=[pack])
sys.modules["wegen_pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["wegen_pack"])
importlib.import_module("wegen_pack.wegen_nodes.host.decode_speed").main(folder, repeats, threads)
"""


def decode(comfyui: Path, python: Path, repeats: int, threads: int) -> tuple[float, float, float]:
    """Sampling of the bundled model inside ComfyUI against a stock model of its size: the ratio, and both in seconds.

    Args:
        comfyui: its folder.
        python: its interpreter.
        repeats: pairs behind each median.
        threads: of the CPU.
    """
    if not (comfyui / "main.py").is_file() or not python.is_file():
        raise WeGenError(f"There is no ComfyUI in {comfyui} with its interpreter {python}; say where with --comfyui.")
    pack = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as base:
        values = [comfyui.resolve(), pack, BUNDLED, repeats, threads, base]
        done = subprocess.run(
            [str(python), "-c", _IN_HOST, *map(str, values)], cwd=comfyui, capture_output=True, text=True
        )
    if done.returncode:
        raise WeGenError(f"The measuring process failed: {done.stderr.strip().splitlines()[-1]}")
    ours, stock, ratio = json.loads(done.stdout.splitlines()[-1])
    return ratio, ours, stock


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
    """How much memory and time a part takes to load: the ratio, and what both sides were."""
    with tempfile.TemporaryDirectory() as place:
        folder = make_random(Path(place) / "model", size)
        part = (folder / part_file(PART)).stat().st_size
        pairs = [(measure(folder, _LOAD), measure(folder, _READ)) for _ in range(repeats)]
        peak = statistics.median([memory for (_, memory), _ in pairs])
        loaded, read = (
            statistics.median([one for (one, _), _ in pairs]),
            statistics.median([one for _, (one, _) in pairs]),
        )
        ratio = statistics.median([one / other for (one, _), (other, _) in pairs])
        published = make_random(Path(place) / "published", size, published=True)
        others = statistics.median([measure(published, _LOAD)[0] for _ in range(repeats)])
    return {
        "load/peak_vs_part": (peak / part, peak / 1e9, part / 1e9),
        "load/time_vs_read": (ratio, loaded, read),
        "load/packed_vs_published": (loaded / others, loaded, others),
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
