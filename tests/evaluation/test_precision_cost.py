"""Two precisions side by side, and the benchmarks' bookkeeping."""

import math
import weakref

import pytest
from comfyui_wegen.models import cli
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints import loading
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.random_weights import make_random
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.evaluation import benchmarks
from comfyui_wegen.models.evaluation.host_install import HostInstall
from comfyui_wegen.models.evaluation.precision_cost import precision_cost
from comfyui_wegen.models.painting import loading as painting


@pytest.mark.slow
def test_int8_keeps_the_features_of_the_bundled_model(tmp_path, capsys):
    folder = convert(BUNDLED, tmp_path / "int8", "int8")
    seen, written, pictures = precision_cost(folder, BUNDLED)
    assert min(seen.cosine, written.cosine, pictures.cosine) > 0.995
    assert seen.error < 0.03 and pictures.error < 0.01 and "PSNR" in pictures.extra


@pytest.mark.slow
def test_nothing_is_lost_to_itself_and_sizes_must_agree(tmp_path, capsys):
    assert cli.main(["verify", str(BUNDLED), "--against", str(BUNDLED)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("1.00000   0.00000" in line for line in lines[1:])
    other = make_random(tmp_path / "tiny", "tiny")
    with pytest.raises(WeGenError, match="different sizes"):
        next(precision_cost(other, BUNDLED))


def test_one_part_of_one_model_is_in_memory_at_a_time(packed_dir, tmp_path, monkeypatch):
    fill, filled, alive, beside = loading.fill, [], weakref.WeakSet(), []

    def counted(module, part, *where):
        beside.append(list(alive))
        filled.append(part.name)
        alive.add(module)
        return fill(module, part, *where)

    monkeypatch.setattr(loading, "fill", counted)
    monkeypatch.setattr(painting, "fill", counted)
    lines = list(precision_cost(convert(packed_dir, tmp_path / "int8", "int8"), packed_dir))
    assert [line.name for line in lines] == ["vision_encoder/features", "language_model/features", "unet/pictures"]
    assert filled == ["vision_encoder"] * 2 + ["language_model"] * 2 + ["unet", "vae"] * 2
    assert beside == [[]] * len(filled) and not alive


def test_pairs_take_turns_and_give_medians(monkeypatch):
    clock = iter([0, 1, 0, 1, *[0, 2, 0, 4] * 5])
    monkeypatch.setattr(benchmarks.time, "thread_time", lambda: next(clock))
    monkeypatch.setattr(benchmarks.torch, "get_num_threads", lambda: 1)
    order = []
    found = benchmarks.paired(lambda: order.append("a"), lambda: order.append("b"), 5)
    assert found == (2, 4, 0.5)
    assert order == ["a", "b"] * 6


@pytest.mark.slow
def test_ours_and_transformers_compute_the_same(monkeypatch):
    monkeypatch.setitem(benchmarks.SIZES, "64x2", (64, 2, 4))
    wegen = benchmarks.random_wegen("64x2")
    model = benchmarks.transformers_model(wegen)
    ids = benchmarks.torch.tensor([[3, 5, 7, 11]])
    ours = wegen.agent.llm.logits(wegen.agent.llm(wegen.agent.llm.embed(ids)))
    benchmarks.torch.testing.assert_close(ours, model(ids).logits, rtol=1e-4, atol=1e-5)
    assert benchmarks.generate(model, 3).shape == (1, benchmarks.PROMPT + 3)
    assert benchmarks.write_picture(wegen, rows=2, guidance_scale=2.0).shape[:2] == (2, 64)
    found = {one.name: one.value for one in benchmarks.language_model("64x2", 1)}
    assert {"language_model/64x2_vs_generate", "language_model/64x2_guidance_cost"} <= set(found)
    assert all(math.isfinite(value) and value > 0 for value in found.values())


def test_an_unknown_benchmark_is_named():
    with pytest.raises(WeGenError, match=r"'speed'.*256x6"):
        list(benchmarks.run(["sampling", "speed"], 1, HostInstall.find()))
