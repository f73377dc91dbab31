"""The benchmarks' bookkeeping, on sizes that take seconds; what they measure is for `wegen bench`."""

import json

import pytest
from comfyui_wegen.models import cli
from comfyui_wegen.models.evaluation import benchmarks, memory_benchmarks
from comfyui_wegen.models.evaluation.benchmarks import GATES, Measured


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(benchmarks.SIZES, "64x2", (64, 2, 4))
    monkeypatch.setattr(benchmarks, "REWRITTEN", 3)


def test_each_promise_is_measured_by_a_benchmark(small, monkeypatch):
    """Every name in the table comes out of `run`, whatever the sizes."""
    sizes = {"256x6": (64, 2, 4), "1024x8": (64, 2, 4), "2048x4": (64, 2, 4)}
    monkeypatch.setattr(benchmarks, "SIZES", sizes)
    monkeypatch.setattr(
        memory_benchmarks, "load", lambda repeats: dict.fromkeys(("load/peak_vs_part", "load/time_vs_read"), (1, 1, 1))
    )
    monkeypatch.setattr(memory_benchmarks, "convert", lambda: (0.5, 1, 0.5))
    monkeypatch.setattr(memory_benchmarks, "decode", lambda *given: (1, 1, 1))
    monkeypatch.setattr(benchmarks, "QUANTISED", ("int8",))
    found = {one.name: one for one in benchmarks.run(["256x6", "1024x8", "2048x4", *benchmarks.BENCHMARKS[3:]], 1)}
    assert set(GATES) <= set(found)
    assert found["int8/feature_cosine"].passed
    assert benchmarks.plot(list(found.values())).size == (960, 540)


def test_promises_are_judged_by_their_kind():
    assert Measured("load/peak_vs_part", 1.2, 1, 1).passed is False
    assert Measured("language_model/256x6_vs_generate", 1.7, 1, 1).passed is True
    assert Measured("language_model/256x6_batch8_cost", 9, 1, 1).passed is None
    assert "MISSED" in str(Measured("chat/turn10_vs_turn1", 1.31, 1, 1))


@pytest.mark.slow
def test_loading_and_converting_are_measured_in_processes_of_their_own(tmp_path, capsys):
    found = memory_benchmarks.load(1, "tiny")
    assert set(found) == {"load/peak_vs_part", "load/time_vs_read", "load/packed_vs_published"}
    # So small a part may fit into memory that the process has already.
    assert all(value > 0 for name, (value, _, _) in found.items() if name != "load/peak_vs_part")
    assert -0.5 < memory_benchmarks.convert("int8", "tiny")[0] < 1
    file = tmp_path / "bench.json"
    assert cli.main(["bench", "sampling", "--repeats", "1", "--json", str(file)]) == 0
    assert set(json.loads(file.read_text())) == {"sampling/64x32330_vs_sort"}
    assert "sampling/64x32330_vs_sort" in capsys.readouterr().out
    assert cli.main(["bench", "decode", "--comfyui", str(tmp_path)]) == cli.common.USER_ERROR
