"""The stages on Ray: the same shards as on one machine, also where workers die, and faster with more of them."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from comfyui_wegen.models.data import read_index
from comfyui_wegen.models.data.diic.pipeline import Pipeline, truth_pipeline
from comfyui_wegen.models.data.diic.stage import StageError
from support import NOT_RUN, REPOSITORY

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason=f"{NOT_RUN}annotation on Ray, the package ray is not installed")
pytest.importorskip("ray.data", reason=f"{NOT_RUN}annotation on Ray, the package pyarrow is not installed")
pytest.importorskip("av", reason=f"{NOT_RUN}annotation of videos, the package av is not installed")
pytest.importorskip("scenedetect", reason=f"{NOT_RUN}annotation of videos, the package scenedetect is not installed")

from comfyui_wegen.models.data.diic.cluster import RayEngine  # noqa: E402
from comfyui_wegen.models.data.diic.films import sample_film, write_film  # noqa: E402
from comfyui_wegen.models.data.diic.run import annotate_videos  # noqa: E402
from comfyui_wegen.models.data.diic.store import read_records  # noqa: E402


def pipeline(actors: int = 1, wait: float = 0.0) -> Pipeline:
    """With truth, small shares of processors, and a stage that waits."""
    settings = {spec.name: {"cpus": 0.05, "actors": actors} for spec in truth_pipeline().stages}
    settings["name"] |= {"kind": "slow_stages:WaitAndName", "options": {"seconds": wait}}
    return truth_pipeline().changed(settings)


@pytest.fixture(scope="module")
def ray():
    """A Ray on this machine whose workers find this repository and the tests' own stages."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with RayEngine(cpus=2) as engine:
            yield engine


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    """Twelve tiny films of two shots, and one that is no film."""
    folder = tmp_path_factory.mktemp("films")
    made = [sample_film(seed, 2, 3, 1.2, size=(96, 64)) for seed in range(12)]
    paths = [write_film(film, folder / f"film-{number:02d}.mp4") for number, film in enumerate(made)]
    (folder / "broken.mp4").write_bytes(b"no film")
    return [*paths, folder / "broken.mp4"]


@pytest.fixture(scope="module")
def local(films, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("local") / "out"
    annotate_videos(films, out, pipeline())
    return out


def same(one: Path, other: Path) -> bool:
    pairs = [[path.name for path, _ in read_index(folder)] for folder in (one, other)]
    assert [record["key"] for record in read_records(one)] == [record["key"] for record in read_records(other)]
    return pairs[0] == pairs[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in pairs[0])


def workers() -> list[int]:
    """The actors of a Ray that this process has started."""
    parents, actors = {}, []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]  # behind the name, in brackets
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = int(parent)
        if command.startswith(b"ray::MapWorker"):
            actors.append(int(folder.name))

    def is_ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return [process for process in actors if is_ours(process)]


@contextmanager
def killing(times: int) -> Iterator[list[int]]:
    """Kills actors by lot, one after the other, while the body runs; gives the list of those killed."""
    killed: list[int] = []
    over = threading.Event()
    rng = random.Random(4)

    def kill() -> None:
        while len(killed) < times and not over.wait(rng.uniform(1, 3)):
            there = [process for process in workers() if process not in killed]
            if len(there) > 5:
                killed.append(rng.choice(there))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_ray_gives_the_same_shards(ray, films, local, tmp_path):
    told = []
    counts = annotate_videos(films, tmp_path / "out", pipeline(), ray, progress=lambda *one: told.append(one))
    clips = len(read_records(local))
    assert same(local, tmp_path / "out") and counts["clips"] == clips > 20 and counts["used"] >= 8
    assert ("cut", 13, 13) in told and ("annotate", clips - 1, clips - 1) in told


def test_nothing_is_lost_or_twice_where_workers_die(ray, films, local, tmp_path):
    with killing(5) as killed:
        annotate_videos(films, tmp_path / "out", pipeline(wait=0.4), ray)
    assert len(killed) == 5
    assert same(local, tmp_path / "out")


def test_a_run_goes_on_from_one_engine_to_the_other(ray, films, local, tmp_path):
    class Stops:
        """Ray, until eight clips are done."""

        check, cut = ray.check, ray.cut

        def annotate(self, pipeline, clips, store, progress):
            ray.annotate(pipeline, clips[:8], store, progress)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotate_videos(films, tmp_path / "out", pipeline(), Stops())
    assert len(list((tmp_path / "out" / "work" / "clips").glob("*.tar"))) == 8
    annotate_videos(films, tmp_path / "out", pipeline())
    assert same(local, tmp_path / "out")


def test_two_actors_are_faster_than_one(ray, films, tmp_path):
    seconds = []
    for actors in (1, 2):
        settings = pipeline(wait=4.0)
        stages = tuple(replace(one, actors=actors if one.name == "name" else 1) for one in settings.stages)
        times: list[float] = []
        out = tmp_path / str(actors)
        annotate_videos(
            films[:5], out, replace(settings, stages=stages), ray,
            progress=lambda what, done, total: times.append(time.monotonic()) if what == "annotate" else None,  # noqa: B023
        )  # fmt: skip
        seconds.append((times[-1] - times[0]) / (len(times) - 1))
    assert seconds[0] >= 1.5 * seconds[1], seconds


def test_a_cluster_that_is_too_small_is_told(ray, films, tmp_path):
    whole = truth_pipeline().changed({spec.name: {"cpus": 1} for spec in truth_pipeline().stages})
    with pytest.raises(StageError, match=r"need 8\.1 CPUs .* has 2"):
        annotate_videos(films, tmp_path / "out", whole, ray)
    on_gpu = truth_pipeline().changed({"name": {"kind": "slow_stages:Fails", "options": {"device": "cuda"}}})
    with pytest.raises(StageError, match="cluster has 0"):
        annotate_videos(films, tmp_path / "out", on_gpu, ray)
    assert not (tmp_path / "out").exists()


def test_defaults_fit_two_cores(ray, films, local, tmp_path):
    annotate_videos(films, tmp_path / "out", truth_pipeline().changed({"cut": {"actors": 3}}), ray)
    assert same(local, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cut": {"options": {"speed": 1}}}, "cutting has no option 'speed'"),
        ({"name": {"kind": "no_such_module:Stage"}}, "cannot be imported"),
        ({"name": {"kind": "slow_stages:Fails", "options": {"when": "checked"}}}, "fails when it is checked"),
    ],
)
def test_what_users_can_put_right_is_told_before_anything_is_done(ray, films, tmp_path, settings, message):
    with pytest.raises(StageError, match=f"^[^\n]*{message}[^\n]*$"):
        annotate_videos(films, tmp_path / "out", truth_pipeline().changed(settings), ray)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("when", ["made", "called"])
def test_what_goes_wrong_later_is_told_in_its_own_words(ray, films, local, tmp_path, when):
    """And the folder goes on with a stage that works."""
    settings = {"name": {"kind": "slow_stages:Fails", "options": {"when": when}}}
    with pytest.raises(StageError, match=f"^fails when it is {when}$"):
        annotate_videos(films, tmp_path / "out", pipeline().changed(settings), ray)
    annotate_videos(films, tmp_path / "out", pipeline(), ray)
    assert same(local, tmp_path / "out")
