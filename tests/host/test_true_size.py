"""The published sizes, once: converting within its memory, each part computing in int8, and gone after "free".

Needs some 45 GB of disk below the folder that `WEGEN_TRUE_SIZE` names, 14 GB of memory, and half an hour of two cores.
"""

import os
import shutil
from pathlib import Path

import pytest
from comfyui_wegen.models.checkpoints.random_weights import make_random
from comfyui_wegen.models.evaluation import memory_benchmarks
from support import NOT_RUN

SCRIPTS = Path(__file__).parent / "scripts"
PLACE = os.environ.get("WEGEN_TRUE_SIZE")
pytestmark = pytest.mark.skipif(not PLACE, reason=f"{NOT_RUN}the published sizes, WEGEN_TRUE_SIZE names no folder")


def test_the_published_sizes_fit_this_machine(host_python):
    published, packed = Path(PLACE) / "published", Path(PLACE) / "published-int8"
    if not published.is_dir():
        make_random(published, "published", published=True)
    shutil.rmtree(packed, ignore_errors=True)
    over, peak, largest = memory_benchmarks.convert_peak(published, "int8")
    print(f"convert: peak {peak:.2f} GB, largest tensor {largest:.2f} GB")
    assert over <= 1
    moments = host_python(SCRIPTS / "true_size.py", packed, os.cpu_count(), 16, 64, timeout=6 * 3600)
    for moment in moments:
        print(moment)
        assert moment["peak_gb"] <= 20 and moment["swapped_gb"] < 0.1
        assert moment.get("finite", True) and not moment.get("present", False)
    held = {moment["what"]: moment for moment in moments}
    assert held["question answered"]["tokens"] == 16
    for part in ("language model", "unet", "vae", "vision encoder"):
        assert held[f"{part} freed"]["gb"] < held["opened"]["gb"] + 1.5
