"""Settings of the stages, what of them decides about the outcome, shares of a cluster, and stages that lack memory."""

import json
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from comfyui_wegen.models.data import ShardError
from comfyui_wegen.models.data.diic import cutting, run
from comfyui_wegen.models.data.diic.clip import Clip
from comfyui_wegen.models.data.diic.cluster import with_shares
from comfyui_wegen.models.data.diic.pipeline import Pipeline, StageSpec, model_pipeline, outcome_of, truth_pipeline
from comfyui_wegen.models.data.diic.reasons import REASONS
from comfyui_wegen.models.data.diic.stage import StageError, StageRunner, run_stage
from comfyui_wegen.models.data.diic.store import Store
from comfyui_wegen.models.data.diic.transformers_stages import loading
from support import NOT_RUN


def stage_of(pipeline: Pipeline, name: str) -> StageSpec:
    return next(spec for spec in pipeline.stages if spec.name == name)


def all_models(device: str = "cuda", folder: str = "models") -> Pipeline:
    return model_pipeline(f"{folder}/detector", f"{folder}/tracker", f"{folder}/vlm", (), device, "bf16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decode": {"batch": "3"}}, r"'batch' of the stage 'decode' is a whole number of 1 or more, got '3'"),
        ({"decode": {"batch": True}}, "'batch' .* got True"),
        ({"decode": {"actors": 1.5}}, "'actors' .* got 1.5"),
        ({"decode": {"options": 3}}, "\"options\" of the stage 'decode' must be an object, got 3"),
        ({"decode": {"cpus": "2"}}, "'cpus' of the stage 'decode' is a number of 0 or more, got '2'"),
        ({"decode": {"gpus": float("nan")}}, "'gpus' .* got nan"),
        ({"decode": {"cpus": -1}}, "'cpus' .* got -1"),
        ({"decode": {"kind": 3}}, "no kind 3"),
        ({"decode": {"kind": ["a"]}}, "no kind"),
        ({"cut": {"options": [1]}}, r"must be an object, got \[1\]"),
        ({"cut": {"actors": 0}}, "'actors' of the cutting is a whole number of 1 or more, got 0"),
        ({"cut": {"actors": None}}, "got None"),
    ],
)
def test_wrong_types_in_settings_are_told(settings, message):
    with pytest.raises(StageError, match=message):
        truth_pipeline().changed(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cut": {"options": {"speed": 1}}}, "cutting has no option 'speed'"),
        ({"cut": {"options": {"longest": "8"}}}, "option 'longest' of the cutting must be a finite number, got '8'"),
        ({"decode": {"options": {"most": 1.5}}}, "'most' .* must be a whole number, got 1.5"),
        ({"pair": {"options": {"distances": [1, "2"]}}}, "'distances' .* must be a list of finite numbers"),
        ({"name": {"kind": "given", "options": {"names": "cat"}}}, "'names' .* a list of texts in quotes, got 'cat'"),
        ({"name": {"kind": "given"}}, "cannot be made of"),
        ({"describe": {"options": {"thresholds": {"moved": "far"}}}}, "'moved' of the option .* must be a finite"),
        ({"describe": {"options": {"thresholds": 3}}}, "must be an object, got 3"),
        ({"ground": {"kind": "model", "options": {"folder": 3}}}, "'folder' .* must be a text in quotes, got 3"),
        ({"ground": {"kind": "no_such_module:Stage"}}, "cannot be imported"),
        ({"cut": {"options": {"longest": 0}}}, "'longest' of CutScenes is a number above 0, got 0"),
        ({"cut": {"options": {"side": 0}}}, "'side' of CutScenes is a number at least 2, got 0"),
        ({"decode": {"options": {"rate": -3}}}, "'rate' of DecodeFrames is a number above 0, got -3"),
        ({"decode": {"options": {"most": 0}}}, "'most' of DecodeFrames is a number at least 2, got 0"),
        ({"select": {"options": {"fewest": 0}}}, "'fewest' of SelectFrames is a number at least 1, got 0"),
        ({"pair": {"options": {"most": 0}}}, "'most' of PairFrames is a number at least 1, got 0"),
        ({"pair": {"options": {"distances": []}}}, r"'distances' of PairFrames is a list .* all above 0, got \(\)"),
        ({"pair": {"options": {"distances": [1, -1]}}}, r"'distances' .* all above 0, got \(1.*, -1"),
        ({"name": {"kind": f"{__name__}:Needs", "options": {"weights": "nowhere"}}}, "no weights at nowhere"),
        ({"name": {"kind": f"{__name__}:Needs", "options": {"speed": 3}}}, "no option 'speed'"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_done(settings, message, tmp_path):
    """And leaves no folder behind that would hold other settings off."""
    (tmp_path / "film.mp4").touch()
    with pytest.raises(StageError, match=message):
        run.annotate_videos([tmp_path / "film.mp4"], tmp_path / "out", truth_pipeline().changed(settings))
    assert not (tmp_path / "out").exists()


class Needs:
    """A stage of one's own, which says what it lacks before it is made."""

    name = "name"

    def __init__(self, weights=""):
        raise AssertionError("it is only looked at")

    @staticmethod
    def check(weights=""):
        raise StageError(f"There are no weights at {weights}.")


def test_packages_are_looked_for_first(monkeypatch):
    for module, package in (("av", "av"), ("scenedetect", "scenedetect"), ("cv2", "OpenCV")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(StageError, match=package):
                truth_pipeline().check()


def test_models_are_looked_for_without_being_loaded(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason=f"{NOT_RUN}models that annotate, transformers is not installed")
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setattr(cutting.CutScenes, "check", lambda self: None)
    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("a model was loaded"))
    pipeline = all_models("cpu", str(tmp_path))
    for name in ("vlm", "detector", "tracker"):  # in the order of the stages
        with pytest.raises(StageError, match=rf"{name}': no config\.json"):
            pipeline.check()
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        with pytest.raises(StageError, match=f"no weights in .*{name}"):
            pipeline.check()
        (tmp_path / name / "model.safetensors").touch()
    pipeline.check()
    for device, message in (("cuda:99", "PyTorch sees"), ("card", "no device 'card'")):
        with pytest.raises(StageError, match=message):
            all_models(device, str(tmp_path)).check()
    with pytest.raises(StageError, match="precision"):
        pipeline.changed({"ground": {"options": {"precision": "fp8"}}}).check()


def test_a_torchvision_of_another_pytorch_is_told(tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason=f"{NOT_RUN}models that annotate, transformers is not installed")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StageError, match=r"do not fit each other .*nms"):
        loading.check(str(tmp_path), "cpu", "fp32")


def test_where_and_how_many_at_once_is_no_part_of_the_outcome(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, there = all_models("cpu"), all_models("cuda:1", str(tmp_path / "models"))
    there = there.changed({"caption": {"options": {"at_once": 8}, "batch": 2}, "cut": {"actors": 3}})
    assert here.to_json() == there.to_json()
    ground = next(one for one in here.to_json()["stages"] if one["name"] == "ground")
    assert ground["options"] == {"folder": str(tmp_path / "models" / "detector"), "precision": "bf16"}
    own = {"name": {"kind": "a.b:C", "options": {"device": "x", "at_once": 1, "folder": "y"}}}
    assert truth_pipeline().changed(own).to_json()["stages"][2]["options"] == own["name"]["options"]
    assert outcome_of(here.to_json()) == here.to_json()


def begin(store: Store, pipeline: Pipeline) -> None:
    store.begin(pipeline.to_json())


def test_a_folder_of_the_version_before_goes_on(tmp_path, monkeypatch):
    """It kept folders as they were typed, and devices."""
    monkeypatch.chdir(tmp_path)
    pipeline = all_models("cpu")
    stages = [{"name": one.name, "kind": one.kind, "options": dict(one.options)} for one in pipeline.stages]
    store = Store(tmp_path / "out")
    begin(store, pipeline)
    store.add_clip(Clip("a", "a.mp4").rejected("select", "blurred"), 0)
    (tmp_path / "out" / "run.json").write_text(json.dumps({"cut": {}, "stages": stages, "seed": 0}))
    assert '"device"' in (tmp_path / "out" / "run.json").read_text()
    begin(store, all_models("cuda"))
    with pytest.raises(ShardError, match=r"ground 'threshold' was not given and is now 0\.5"):
        begin(store, pipeline.changed({"ground": {"options": {"threshold": 0.5}}}))
    with pytest.raises(ShardError, match="the seed was 0 and is now 3"):
        begin(store, replace(pipeline, seed=3))
    (tmp_path / "out" / "run.json").write_text("{}")
    with pytest.raises(ShardError, match="damaged"):
        begin(store, pipeline)


def test_settings_hold_from_when_something_was_done_with_them(tmp_path):
    store, plain = Store(tmp_path / "out"), truth_pipeline()
    cut, paired = plain.changed({"cut": {"options": {"longest": 3}}}), plain.changed({"pair": {"options": {"most": 1}}})
    for pipeline in (plain, cut, paired, plain):
        begin(store, pipeline)
    store.add_cuts("a", [Clip("a-0000", "a.mp4")])
    begin(store, paired)
    begin(store, plain)
    with pytest.raises(ShardError, match="cut 'longest' was not given and is now 3"):
        begin(store, cut)
    store.add_clip(Clip("a-0000", "a.mp4").rejected("select", "blurred"), 0)
    begin(store, plain)
    with pytest.raises(ShardError, match="pair 'most' was not given and is now 1"):
        begin(store, paired)


def test_only_folders_of_runs_are_written_to(tmp_path):
    """What it keeps in `work` is removed at the end: none of that may be somebody else's."""
    out = tmp_path / "mine"
    (out / "work").mkdir(parents=True)
    (out / "work" / "thesis.txt").write_text("mine")
    with pytest.raises(ShardError, match="is not empty: it holds work"):
        begin(Store(out), truth_pipeline())
    store = Store(tmp_path / "out")
    begin(store, truth_pipeline())
    (store.work / "notes.txt").write_text("mine")
    begin(store, truth_pipeline())
    store.add_clip(Clip("a-0000", "a.mp4").rejected("select", "blurred"), 0)
    assert store.finish(["a-0000"], 10, {})["rejected"] == 1
    assert [path.name for path in store.work.iterdir()] == ["notes.txt"]


def test_what_failed_or_is_damaged_is_done_again(tmp_path):
    store = Store(tmp_path / "out")
    begin(store, truth_pipeline())
    store.add_cuts("good", [Clip("good-0000", "a.mp4").rejected("cut", "too_short")])
    store.add_cuts("failed", [Clip("failed-0000", "a.mp4").rejected("cut", "out_of_memory")])
    for name, reason in (("good", "blurred"), ("failed", "stage_failed"), ("short", "out_of_memory")):
        store.add_clip(Clip(name, "a.mp4").rejected("select", reason), 0)
    (store.work / "cuts" / "damaged.json").write_bytes(b"")
    (store.work / "clips" / "damaged.tar").write_bytes(b"")
    (store.work / "clips" / "half.tar").write_bytes((store.work / "clips" / "good.tar").read_bytes()[:700])
    begin(store, truth_pipeline())
    assert store.cuts("good") and store.cuts("failed") is None and store.cuts("damaged") is None
    done = [store.is_done(name) for name in ("good", "failed", "short", "damaged", "half")]
    assert done == [True, False, False, False, False]


# Shares of a cluster.


def shares(pipeline: Pipeline, cpus: float, gpus: float) -> dict[str, tuple[float, float]]:
    return {spec.name: (spec.cpus, spec.gpus) for spec in with_shares(pipeline.stages, cpus, gpus)}


@pytest.mark.parametrize(
    ("cpus", "gpus", "part"), [(1, 1, 0.2), (2, 1, 0.2), (8, 2, 0.3333), (64, 5, 1.0), (64, 8, 1.0)]
)
def test_defaults_divide_what_is_there(cpus, gpus, part):
    found = shares(all_models(), cpus, gpus)
    learned = {"name", "ground", "track", "describe", "caption"}
    assert {name for name, (_, gpu) in found.items() if gpu == part} == learned
    assert all(gpu == 0 for name, (_, gpu) in found.items() if name not in learned)
    [core] = {cpu for cpu, _ in found.values()}
    assert 0.9 * min(1, (cpus - 0.1) / 8) <= core <= min(1, (cpus - 0.1) / 8)


def test_what_is_given_is_kept():
    pipeline = all_models().changed({"ground": {"gpus": 0.5, "actors": 2}, "decode": {"cpus": 0.3, "actors": 2}})
    found = shares(pipeline, 2, 2)
    assert found["ground"][1] == 0.5 and found["decode"][0] == 0.3
    assert found["name"][1] == 0.25  # two of each of the halves that are left would be one too few for four
    assert found["name"][0] == pytest.approx((2 - 0.1 - 0.6) / 8, abs=1e-4)
    with pytest.raises(StageError, match=r"need 8\.1 CPUs for actors .* has 8"):
        shares(truth_pipeline().changed({spec.name: {"cpus": 1} for spec in pipeline.stages}), 8, 0)
    with pytest.raises(StageError, match=r"0 GPUs .* a share of one for 5 others.* has 0.*--device cpu"):
        shares(all_models(), 8, 0)
    with pytest.raises(StageError, match=r"1\.5 GPUs"):
        shares(all_models("cpu").changed({"ground": {"gpus": 1.5}}), 8, 1)
    assert shares(all_models("cpu"), 8, 0)["name"][1] == 0


def test_another_kind_has_shares_of_its_own():
    given = all_models().changed({"describe": {"gpus": 0.7, "cpus": 2, "batch": 3}})
    measured = stage_of(given.changed({"describe": {"kind": "measured"}}), "describe")
    assert (measured.gpus, measured.cpus, measured.options, measured.batch) == (None, None, {}, 3)
    assert not measured.uses_gpu and stage_of(given, "describe").uses_gpu
    assert stage_of(given.changed({"describe": {"kind": "measured", "gpus": 0.1}}), "describe").gpus == 0.1
    assert stage_of(given.changed({"describe": {"kind": "model", "options": {"side": 9}}}), "describe").gpus == 0.7
    assert stage_of(given.changed({"describe": {"gpus": None}}), "describe").gpus is None


# Lack of memory.


class Hungry:
    """Lacks memory for clips by their key, as often as is said."""

    name = "pair"

    def __init__(self, times: dict[str, int], error: Exception):
        self.times, self.error, self.asked = dict(times), error, []

    def __call__(self, clips):
        self.asked.append([clip.key for clip in clips])
        for clip in clips:
            if self.times.get(clip.key, 0):
                self.times[clip.key] -= 1
                raise self.error
        return clips


CLIPS = [Clip(key, f"{key}.mp4") for key in "abc"]


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to"), MemoryError()])
def test_a_clip_that_lacks_memory_is_tried_again_and_then_rejected(error):
    stage = Hungry({"b": 3, "c": 1}, error)
    done = run_stage(stage, CLIPS)
    assert [clip.rejection and clip.rejection.reason for clip in done] == [None, "out_of_memory", None]
    assert stage.asked == [["a", "b", "c"], ["a"], ["b"], ["b"], ["c"], ["c"]]
    assert type(error).__name__ in done[1].rejection.detail and "out_of_memory" in REASONS
    again = Hungry({"a": 1}, error)
    assert run_stage(again, CLIPS[:1])[0].rejection is None and len(again.asked) == 2


def test_a_stage_that_always_lacks_memory_says_what_to_do():
    runner = StageRunner(Hungry({"a": 9, "b": 9, "c": 9}, MemoryError("no memory")), patience=3)
    with pytest.raises(StageError, match=r"failed on 3 clips .*MemoryError: no memory.*at_once.*--precision bf16"):
        runner(CLIPS)


def test_an_interrupt_is_no_lack_of_memory():
    with pytest.raises(KeyboardInterrupt):
        run_stage(Hungry({"a": 1}, KeyboardInterrupt("out of memory")), CLIPS)


def test_memory_is_given_back_before_the_second_try(monkeypatch):
    """Also what the error itself held: it is gone by then."""

    class Held:
        pass

    held, alive = [], []

    class Stage:
        name = "pair"

        def __call__(self, clips):
            alive.extend(one() is not None for one in held)
            mine = Held()
            held.append(weakref.ref(mine))
            raise MemoryError

    [clip] = run_stage(Stage(), CLIPS[:1])
    assert clip.rejection.reason == "out_of_memory" and alive == [False]


def test_a_video_that_lacks_memory_is_rejected(monkeypatch, tmp_path):
    class Large:
        def __init__(self, path):
            raise MemoryError("too large")

    monkeypatch.setattr(cutting, "Video", Large)
    [clip] = cutting.CutScenes()(str(Path(tmp_path / "a.mp4")), "a")
    assert clip.rejection.reason == "out_of_memory"
