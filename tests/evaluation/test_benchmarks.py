"""The benchmarks' bookkeeping, on sizes that take seconds; what they measure is for `wegen bench`."""

import json
import sys
from pathlib import Path

import pytest
from comfyui_wegen.models import cli
from comfyui_wegen.models.cli import bench
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation import benchmarks, memory_benchmarks
from comfyui_wegen.models.evaluation.benchmarks import TARGETS, Measured, NotMeasured
from comfyui_wegen.models.evaluation.host_install import HostInstall


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(benchmarks.SIZES, "64x2", (64, 2, 4))
    monkeypatch.setattr(benchmarks, "REWRITTEN", 3)


def test_each_target_is_measured_by_a_benchmark(small, monkeypatch):
    """Every name in the table comes out of `run`, whatever the sizes."""
    sizes = {"256x6": (64, 2, 4), "1024x8": (64, 2, 4), "2048x4": (64, 2, 4)}
    monkeypatch.setattr(benchmarks, "SIZES", sizes)
    monkeypatch.setattr(
        memory_benchmarks, "load", lambda repeats: dict.fromkeys(("load/peak_vs_part", "load/time_vs_read"), (1, 1, 1))
    )
    monkeypatch.setattr(memory_benchmarks, "convert", lambda: (0.5, 1, 0.5))
    monkeypatch.setattr(memory_benchmarks, "decode", lambda *given: {"decode/vs_stock": (1, 1, 1)})
    monkeypatch.setattr(benchmarks, "QUANTISED", ("int8",))
    monkeypatch.setattr(HostInstall, "problem", None)
    monkeypatch.setattr(benchmarks, "fast_on_cpu", lambda: True)  # else one of them is not measured here
    assert set(bench.NAMES) | {bench.IN_HOST} == set(benchmarks.BENCHMARKS)
    found = {one.name: one for one in benchmarks.run([*bench.NAMES, bench.IN_HOST], 1, HostInstall.find())}
    assert set(TARGETS) <= set(found)
    assert found["int8/feature_cosine"].passed
    assert benchmarks.plot(list(found.values())).size == (960, 540)


def test_targets_are_judged_by_their_kind():
    assert Measured("load/peak_vs_part", 1.2, 1, 1).passed is False
    assert Measured("language_model/256x6_vs_generate", 1.7, 1, 1).passed is True
    assert Measured("language_model/256x6_batch8_cost", 9, 1, 1).passed is None
    assert "MISSED" in str(Measured("chat/turn10_vs_turn1", 1.31, 1, 1))


def test_int8_is_not_compared_with_itself(small, monkeypatch):
    monkeypatch.setattr(benchmarks, "fast_on_cpu", lambda: False)
    said = benchmarks.int8_speed(1, "64x2")
    assert isinstance(said, NotMeasured) and "VNNI" in str(said) and "not measured" in str(said)


def fails_after(*numbers):
    """A `run` that gives some numbers and then has something to put right."""

    def run(names, repeats, host):
        yield from numbers
        raise WeGenError("The disk is full.")

    return run


def test_what_was_measured_before_a_failure_is_kept(monkeypatch, tmp_path, capsys):
    numbers = Measured("load/peak_vs_part", 1.1, 1, 1), NotMeasured("decode", "no time"), Measured("other", 2.0, 2, 1)
    monkeypatch.setattr(benchmarks, "run", fails_after(*numbers))
    json_file, plot = tmp_path / "bench.json", tmp_path / "bench.png"
    assert cli.main(["bench", "load", "--json", str(json_file), "--plot", str(plot)]) == cli.common.USER_ERROR
    assert json.loads(json_file.read_text()) == {"load/peak_vs_part": 1.1, "other": 2.0}
    assert plot.is_file()
    assert "not measured: no time" in capsys.readouterr().out


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The names that `wegen bench` measures, on a machine whose home has no ComfyUI."""
    found = []
    monkeypatch.setattr(benchmarks, "run", lambda names, repeats, host: found.append((tuple(names), host)) or iter(()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    return found


def test_decoding_is_left_out_aloud_where_no_comfyui_is_found(asked, tmp_path, capsys):
    assert cli.main(["bench"]) == 0
    assert asked[0][0] == bench.NAMES
    assert f"not measured: no ComfyUI at {tmp_path / 'ComfyUI'}" in capsys.readouterr().out


def test_a_comfyui_is_found_or_given(asked, tmp_path, monkeypatch, capsys):
    python = tmp_path / "ComfyUI" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / "ComfyUI" / "main.py").touch()
    everything = (*bench.NAMES, "decode")
    assert cli.main(["bench"]) == 0
    assert asked.pop() == (everything, HostInstall(tmp_path / "ComfyUI", python))
    # What is given counts, even where it is wrong: `run` says so before it measures.
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "there"))
    monkeypatch.setenv("COMFYUI_PYTHON", "/bin/python3.99")
    assert cli.main(["bench"]) == 0
    assert asked.pop() == (everything, HostInstall(tmp_path / "there", Path("/bin/python3.99")))
    assert cli.main(["bench", "decode", "--comfyui", "~/own", "--python", str(python)]) == 0
    assert asked.pop() == (("decode",), HostInstall(tmp_path / "own", python))
    assert "not measured" not in capsys.readouterr().out


def test_a_missing_comfyui_is_said_before_anything_is_measured(tmp_path, capsys):
    assert cli.main(["bench", "sampling", "decode", "--comfyui", str(tmp_path)]) == cli.common.USER_ERROR
    said = capsys.readouterr()
    assert said.out == "" and f"no ComfyUI at {tmp_path}" in said.err and "--comfyui" in said.err
    (tmp_path / "main.py").touch()
    assert "no Python for ComfyUI" in HostInstall.find(tmp_path).problem


def test_loads_take_turns(monkeypatch):
    order = []

    def measure(folder, code):
        kind = "read" if code is memory_benchmarks._READ else folder.name
        order.append(kind)
        # The machine is twice as slow in the second turn.
        return {"model": 1.0, "read": 0.5, "published": 4.0}[kind] * (1 if len(order) <= 3 else 2), 10**6

    monkeypatch.setattr(memory_benchmarks, "measure", measure)
    found = memory_benchmarks.load(2, "tiny")
    assert order == ["model", "read", "published"] * 2
    assert found["load/time_vs_read"] == (2.0, 1.5, 0.75)
    assert found["load/packed_vs_published"] == (0.25, 1.5, 6.0)


def test_what_is_read_for_comparison_stays_in_fresh_memory(tmp_path):
    content = bytes(range(256)) * (2**17) + b"end"  # more than is read at once
    (tmp_path / "language_model.safetensors").write_bytes(content)
    space = {}
    exec(memory_benchmarks._READ, space)
    read = space["work"](str(tmp_path))
    one, other = read(), read()
    assert one == other == content and one is not other


def test_a_process_that_dies_in_silence_is_told_of():
    with pytest.raises(WeGenError, match="it ended with 3 and said nothing"):
        memory_benchmarks._last_line([sys.executable, "-c", "raise SystemExit(3)"])


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
