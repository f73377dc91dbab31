"""From videos to samples: rendered films whose truth is known, videos of all bad kinds, answers of all bad kinds."""

import json
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from comfyui_wegen.models.data import ShardError, read_index, read_shard
from comfyui_wegen.models.data.diic import answers
from comfyui_wegen.models.data.diic.clip import Clip
from comfyui_wegen.models.data.diic.pipeline import truth_pipeline
from comfyui_wegen.models.data.diic.reasons import REASONS
from comfyui_wegen.models.data.diic.stage import StageError, StageRunner, run_stage
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.storybook import parse_caption
from comfyui_wegen.models.storybook.catalogue import COLUMN_CENTRES, ROW_CENTRES
from PIL import Image
from support import NOT_RUN

av = pytest.importorskip("av", reason=f"{NOT_RUN}annotation of videos, the package av is not installed")
pytest.importorskip("scenedetect", reason=f"{NOT_RUN}annotation of videos, the package scenedetect is not installed")

from comfyui_wegen.models.data.diic.cutting import CutScenes, source_key  # noqa: E402
from comfyui_wegen.models.data.diic.decoding import DecodeFrames  # noqa: E402
from comfyui_wegen.models.data.diic.films import load_film, sample_film, write_film  # noqa: E402
from comfyui_wegen.models.data.diic.report import write_report  # noqa: E402
from comfyui_wegen.models.data.diic.rocket_films import SCALE, sample_rocket_film  # noqa: E402
from comfyui_wegen.models.data.diic.run import LocalEngine, annotate_videos  # noqa: E402
from comfyui_wegen.models.data.diic.selecting import SelectFrames  # noqa: E402
from comfyui_wegen.models.data.diic.store import read_records  # noqa: E402
from comfyui_wegen.models.data.diic.video import Video, find_videos  # noqa: E402
from film_truth import cut_f1, judge_changes, track_ious  # noqa: E402


class OwnStage:
    """As users bring them."""

    name = "name"

    def __init__(self, words=None, names=()):
        self.words, self.names = words, names


def cut(path: Path) -> list[Clip]:
    return CutScenes()(str(path), source_key(path))


def samples(folder: Path) -> list:
    return [sample for path, count in read_index(folder) for sample in read_shard(path, count)]


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    """Two films of two shots: one with twenty things in each, one with six."""
    folder = tmp_path_factory.mktemp("films")
    made = [sample_film(1001, 2, 20, 2.0), sample_film(1000, 2, 6, 2.0)]
    return [write_film(film, folder / f"film {number}.mp4") for number, film in enumerate(made)]


@pytest.fixture(scope="module")
def annotated(films) -> list[list[Clip]]:
    """The clips of each film after all stages."""
    stages = [spec.build() for spec in truth_pipeline().stages]
    found = []
    for path in films:
        clips = cut(path)
        for stage in stages:
            clips = run_stage(stage, clips)
        found.append(clips)
    return found


@pytest.fixture(scope="module")
def folder(films, tmp_path_factory) -> Path:
    """The shards of both films."""
    out = tmp_path_factory.mktemp("shards") / "out"
    annotate_videos(films, out, truth_pipeline())
    return out


def test_films_come_back_from_their_truth(films):
    film = load_film(films[0])
    picture, seen = film.render(7)
    assert picture.shape == (224, 320, 3) and len(np.unique(seen)) > 10
    assert film == sample_film(1001, 2, 20, 2.0) != sample_film(1002, 2, 20, 2.0)
    with pytest.raises(StageError, match="truth"):
        load_film("no film.mp4")


def test_cuts_tracks_and_changes_of_films_are_right(films, annotated):
    cuts, truth, ious, wrong, pairs = [], [], [], [], 0
    for path, clips in zip(films, annotated, strict=True):
        film = load_film(path)
        cuts.append([clip.first for clip in clips][1:])
        truth.append(film.cuts)
        for clip in clips:
            assert clip.rejection is None
            ious += track_ious(clip)
            for pair in clip.pairs:
                shots = {film.shot_at(film.frame_at(float(clip.times[f])))[0] for f in (pair.before, pair.after)}
                assert len(shots) == 1, "a pair across a cut"
                found = judge_changes(film, clip, pair.before, pair.after, pair.facts)
                wrong += [found] if found else []
                pairs += 1
    assert cut_f1(cuts, truth) >= 0.95
    assert len(ious) > 40 and np.mean(ious) >= 0.9
    assert pairs >= 12 and len(wrong) <= 0.05 * pairs, wrong


def test_a_film_that_was_interrupted_is_not_there(tmp_path):
    film = sample_rocket_film(7, 1)
    rendered = []

    def stop(number):
        rendered.append(number)
        if number == 3:
            raise KeyboardInterrupt
        return type(film).render(film, number)

    class Stopped:
        render = staticmethod(stop)

        def __getattr__(self, name):
            return getattr(film, name)

        def __len__(self):
            return len(film)

    with pytest.raises(KeyboardInterrupt):
        write_film(Stopped(), tmp_path / "rocket.mp4")
    assert rendered == [0, 1, 2, 3] and list(tmp_path.iterdir()) == []
    (tmp_path / "rocket.mp4").mkdir()  # so that the last step fails
    with pytest.raises(OSError):
        write_film(film, tmp_path / "rocket.mp4")
    assert [one.name for one in tmp_path.iterdir()] == ["rocket.mp4"]
    (tmp_path / "rocket.mp4").rmdir()
    write_film(film, tmp_path / "rocket.mp4")
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".half.mp4").touch()
    assert find_videos([tmp_path]) == [tmp_path / "rocket.mp4"]


def test_clips_of_the_rocket_are_annotated_in_the_storybooks_words(tmp_path):
    film = sample_rocket_film(7, 2)
    path = write_film(film, tmp_path / "rocket.mp4")
    assert load_film(path) == film != sample_rocket_film(8, 2)
    clips = cut(path)
    assert [clip.first for clip in clips][1:] == list(film.cuts)
    for stage in [spec.build() for spec in truth_pipeline().stages]:
        clips = run_stage(stage, clips)
    for clip, shot in zip(clips, film.shots, strict=True):
        assert clip.rejection is None and len(clip.pairs) >= 3
        assert {track.name for track in clip.tracks} == {actor.name for actor in shot.actors}
        assert min(track_ious(clip)) >= 0.9
        assert {fact["name"] for pair in clip.pairs for fact in pair.facts} == {"rocket"}  # nothing else moves
        for frame, text in clip.captions.items():
            said = parse_caption(text.replace("rocket", "red plain balloon"))
            assert (said.ground, said.sky) == (shot.scene.ground, shot.scene.sky)
            [rocket] = [thing for thing in said.things if thing.kind == "balloon" and thing.colour == "red"]
            [track] = [track for track in clip.tracks if track.name == "rocket"]
            left, top, right, bottom = (edge / SCALE for edge in track.boxes[frame])
            assert abs(COLUMN_CENTRES[rocket.column] - (left + right) / 2) < 14
            assert abs(ROW_CENTRES[rocket.row] - (top + bottom) / 2) < 18


def test_a_wrong_order_is_seen_by_the_judge(films, annotated):
    film, clips = load_film(films[0]), annotated[0]
    pairs = [(clip, pair) for clip in clips for pair in clip.pairs if any("direction" in fact for fact in pair.facts)]
    turned = {"left": "right", "right": "left", "up": "down", "down": "up"}
    for clip, pair in pairs:
        facts = [{**fact, "direction": " ".join(turned[w] for w in fact["direction"].split())}
                 for fact in pair.facts if "direction" in fact]  # fmt: skip
        assert judge_changes(film, clip, pair.before, pair.after, facts)
        assert judge_changes(film, clip, pair.before, pair.after, [*pair.facts, {"name": "no", "change": "moves"}])


def test_shards_hold_all_that_is_known(folder):
    found = samples(folder)
    assert {sample.task for sample in found} == {"refine", "text_to_picture", "compose"}
    for sample in found:
        record = sample.record
        assert len(record["times"]) == len(record["instances"]) == len(sample.pictures())
        assert record["source"]["end"] > record["times"][-1] > record["source"]["start"]
        for picture, things in zip(sample.pictures(), record["instances"], strict=True):
            if sample.task == "compose" and picture is sample.pictures()[0]:
                assert record["reference"] in picture.instance_map
                continue
            assert set(np.unique(picture.instance_map)) - {0} <= {thing["number"] for thing in things}
            for thing in things:
                rows, columns = np.nonzero(picture.instance_map == thing["number"])
                assert thing["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert 0 < thing["score"] <= 1 and thing["name"]
        if sample.task == "refine":
            assert len(record["changes"]) == len(sample.pictures()) - 1 and all(record["changes"])
        assert all(part.target == (part.role == "assistant") for part in sample.parts)


def test_a_finished_folder_is_not_written_again(films, folder):
    with pytest.raises(ShardError, match="already holds"):
        annotate_videos(films, folder, truth_pipeline())


def test_clips_on_which_a_stage_failed_are_told_and_tried_again(films, folder, tmp_path):
    (busy := tmp_path / "busy").touch()
    options = {"film": films[0].name, "while_there": str(busy)}
    unlucky = truth_pipeline().changed({"name": {"kind": "slow_stages:LacksMemory", "options": options}})
    out = tmp_path / "out"
    with pytest.raises(
        StageError, match=r"failed on 2 of 4 clips, such as .*MemoryError: too little.*the same command"
    ):
        annotate_videos(films, out, unlucky)
    assert not (out / "index.json").exists()
    counts = annotate_videos(films, tmp_path / "part", unlucky, leave_out_failed=True)
    assert (counts["clips"], counts["rejected"]) == (4, 2) and counts["samples"]
    busy.unlink()
    assert annotate_videos(films, out, unlucky)["rejected"] == 0


class _Stopped(LocalEngine):
    """Is stopped when a number of clips is done."""

    def __init__(self, after: int):
        self.after = after

    def annotate(self, pipeline, clips, store, progress):
        super().annotate(pipeline, clips[: self.after], store, progress)
        if len(clips) > self.after:
            raise KeyboardInterrupt


def test_a_stopped_run_goes_on_and_gives_the_same(films, folder, tmp_path):
    out = tmp_path / "out"
    done = []
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            annotate_videos(films, out, truth_pipeline(), _Stopped(1))
        done.append({path.name: path.stat().st_mtime_ns for path in (out / "work" / "clips").iterdir()})
    assert [len(one) for one in done] == [1, 2, 3]
    assert done[0].items() <= done[1].items() <= done[2].items()  # what was finished is not touched again
    with pytest.raises(ShardError, match="other settings"):
        annotate_videos(films, out, truth_pipeline(seed=5))
    annotate_videos(films, out, truth_pipeline())
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in folder.iterdir())
    for path, _ in read_index(folder):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert not (out / "work").exists()


def test_a_run_goes_on_where_its_videos_are_now(films, folder, tmp_path):
    """They may have moved since; while they are away nothing is rejected for it."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    for path in films:
        for beside in path.parent.glob(f"{path.stem}*"):
            shutil.copy(beside, before / beside.name)
    out, names = tmp_path / "out", [path.name for path in films]
    with pytest.raises(KeyboardInterrupt):
        annotate_videos([before / name for name in names], out, truth_pipeline(), _Stopped(1))
    before.rename(after)
    with pytest.raises(FileNotFoundError):
        annotate_videos([before / name for name in names], out, truth_pipeline())
    counts = annotate_videos([after / name for name in names], out, truth_pipeline())
    assert counts["rejected"] == 0 and counts["samples"] == sum(count for _, count in read_index(folder))
    with pytest.raises(StageError, match="no longer there"):
        Video(before / names[0])


def test_an_error_costs_one_clip(annotated):
    class Fails:
        name = "pair"

        def __call__(self, clips):
            for clip in clips:
                if clip.scene == 1:
                    raise IndexError("broken\nclip")
            return clips

    class OpenCVError(Exception):
        """As OpenCV's and PyAV's own, of no built-in kind."""

    class FailsInItsOwnWay(Fails):
        def __call__(self, clips):
            try:
                return super().__call__(clips)
            except IndexError:
                raise OpenCVError("bad") from None

    for stage in (Fails(), FailsInItsOwnWay()):
        clips = run_stage(stage, annotated[0])
        assert [clip.rejection and clip.rejection.reason for clip in clips] == [None, "stage_failed"]
    clips = run_stage(Fails(), annotated[0])
    assert "IndexError: broken clip (test_videos.py" in clips[1].rejection.detail
    assert run_stage(Fails(), clips)[1] is clips[1]


def test_doubles_and_names_without_a_box_are_recorded(films):
    clips = run_stage(DecodeFrames(), cut(films[1])[:1])
    [clip] = run_stage(SelectFrames(), clips)
    stages = {spec.name: spec.build() for spec in truth_pipeline().stages}
    [found] = run_stage(stages["ground"], run_stage(stages["name"], [clip]))
    [none] = run_stage(stages["ground"], [replace(found, names=(*found.names, "green snail"), dropped=())])
    assert [(one.stage, one.reason, one.detail) for one in none.dropped] == [
        ("ground", "name_not_found", "green snail")
    ]
    first = found.detections[0][0]
    doubled = ((*found.detections[0], replace(first, name="thing", score=0.1)), *found.detections[1:])
    [tracked] = run_stage(stages["track"], [replace(found, detections=doubled)])
    assert [(one.stage, one.reason, one.detail) for one in tracked.dropped if one.reason == "box_overlaps"] == [
        ("track", "box_overlaps", "thing: 1 box")
    ]


def test_a_stage_that_always_fails_stops_the_run(annotated):
    class Fails:
        name = "pair"

        def __call__(self, clips):
            raise OSError("no device")

    runner = StageRunner(Fails(), patience=3)
    clips = runner(annotated[0])
    assert [clip.rejection.reason for clip in clips] == ["stage_failed"] * 2
    runner(clips)  # they passed by
    with pytest.raises(StageError, match=r"failed on 3 clips .*no device"):
        runner(annotated[0])


def test_a_clip_goes_through_bytes(annotated):
    clip = annotated[0][0]
    back = Clip.from_bytes(clip.to_bytes())
    assert back.to_document() == clip.to_document() and back.tracks == clip.tracks and back.pairs == clip.pairs
    assert np.array_equal(back.frames, clip.frames) and np.array_equal(back.instance_map, clip.instance_map)
    rejected = clip.rejected("pair", "no_pairs", "x")
    assert Clip.from_bytes(rejected.to_bytes()).rejection == rejected.rejection and rejected.frames is None


# Videos of all kinds.


def write_video(
    path: Path,
    frames: np.ndarray,
    rate: int = 24,
    codec: str = "libx264",
    apart: int = 250,
    aspect: Fraction | int = 1,
    begin: int = 0,
) -> Path:
    """`apart`: frames from one that needs no other to the next; `aspect`: of a pixel; `begin`: frames before it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"crf": "20"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.gop_size = apart
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for number, picture in enumerate(frames, start=begin):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def film_frames(count: int, seed: int = 3) -> np.ndarray:
    film = sample_film(seed, 1, 5, 5.0)
    return np.stack([film.render(number)[0] for number in range(count)])


def test_every_bad_video_has_one_reason_and_none_stops_the_run(tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    frames = film_frames(60)
    good = write_film(sample_film(3, 1, 5, 3.0), bad / "good.mp4")
    (bad / "empty.mp4").write_bytes(b"")
    (bad / "text.mp4").write_text("This is no video.\n" * 100)
    (bad / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    write_sound(bad / "sound.mp4")
    write_video(bad / "one frame.mp4", frames[:1])
    write_video(bad / "short.mp4", frames[:6])
    write_video(bad / "still.mp4", np.repeat(frames[:1], 48, axis=0))
    write_video(
        bad / "blurred.mp4", np.full((48, 64, 64, 3), 90, np.uint8) + np.arange(48, dtype=np.uint8)[:, None, None, None]
    )
    whole = write_video(tmp_path / "whole.mkv", frames).read_bytes()
    (bad / "broken off.mkv").write_bytes(whole[: len(whole) // 2])
    (bad / "no end.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    damaged = bytearray(whole)
    damaged[len(damaged) // 3 : 2 * len(damaged) // 3] = bytes(len(damaged) // 3)
    (bad / "damaged.mkv").write_bytes(bytes(damaged))
    # None but the good one has its truth beside it: they are rejected before it is asked for.
    counts = annotate_videos(
        sorted(p for p in bad.iterdir() if p.suffix != ".json"), tmp_path / "out", truth_pipeline()
    )
    reasons = {
        Path(one["video"]).name: (one["rejection"] or {}).get("reason") for one in read_records(tmp_path / "out")
    }
    assert counts["used"] == 1 and len(reasons) == counts["clips"] == counts["videos"] == 12
    assert reasons == {
        "good.mp4": None,
        "empty.mp4": "unreadable",
        "text.mp4": "unreadable",
        "noise.mp4": "unreadable",
        "sound.mp4": "no_video",
        "one frame.mp4": "one_frame",
        "short.mp4": "too_short",
        "still.mp4": "nothing_moves",
        "blurred.mp4": "blurred",
        "broken off.mkv": "truncated",
        "no end.mp4": "unreadable",
        "damaged.mkv": "truncated",
    }
    assert set(filter(None, reasons.values())) <= set(REASONS)


def test_a_video_that_breaks_off_keeps_its_earlier_scenes(tmp_path):
    frames = np.concatenate([film_frames(40, 3), film_frames(40, 4)])
    whole = write_video(tmp_path / "whole.mkv", frames).read_bytes()
    path = tmp_path / "broken.mkv"
    path.write_bytes(whole[: int(len(whole) * 0.93)])
    clips = cut(path)
    assert [clip.rejection and clip.rejection.reason for clip in clips] == [None, "truncated"]
    assert clips[0].last == 40 and "can be decoded" in clips[1].rejection.detail


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_rotated_videos_are_turned_upright(tmp_path, turned):
    film = sample_film(3, 1, 5, 2.0)
    path = write_film(film, tmp_path / "turned.mp4", turned, frames=30)
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
        assert (stored.height, stored.width) == ((320, 224) if turned % 180 else (224, 320))
    [clip] = run_stage(DecodeFrames(), cut(path))
    assert clip.notes == (f"turned upright by {turned} degrees clockwise",)
    for frame, seconds in zip(clip.frames, clip.times, strict=True):
        assert np.abs(frame.astype(int) - film.render(film.frame_at(seconds))[0]).mean() < 6


def test_variable_rates_keep_their_times(tmp_path):
    film = sample_film(5, 1, 5, 2.0)
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.choice([0.02, 0.05, 0.13], len(film)))
    film = replace(film, times=tuple(float(one) for one in times - times[0]))
    path = write_film(film, tmp_path / "variable.mp4")
    [clip] = run_stage(DecodeFrames(), cut(path))
    assert clip.notes == ("variable frame rate",)
    assert clip.end == pytest.approx(film.times[-1], abs=0.2)
    for frame, seconds in zip(clip.frames, clip.times, strict=True):
        near = film.frame_at(seconds)
        assert film.times[near] == pytest.approx(seconds, abs=1e-3)
        assert np.abs(frame.astype(int) - film.render(near)[0]).mean() < 6


def test_a_clip_late_in_a_video_is_decoded_as_it_was_cut(films):
    film, clips = load_film(films[0]), cut(films[0])
    [late] = run_stage(DecodeFrames(), clips[1:])
    assert late.times[0] >= clips[1].start and late.times[-1] < clips[1].end
    for frame, seconds in zip(late.frames, late.times, strict=True):
        number = film.frame_at(seconds)
        errors = [np.abs(frame.astype(int) - film.render(number + off)[0]).mean() for off in (-1, 0, 1)]
        assert film.shot_at(number)[0] == 1 and min(errors) == pytest.approx(errors[1], abs=0.3)


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "libx264"), ("mpg", "mpeg2video"), ("mkv", "libx264")])
def test_no_frame_is_missed_where_a_file_is_searched_roughly(tmp_path, suffix, codec):
    """In some containers a place that is looked for is found too late, behind the frame that the next ones need."""
    digits = np.stack([np.arange(400) // 8**place % 8 for place in range(3)], axis=-1)
    pictures = np.repeat(np.repeat(digits * 30, 32, axis=1)[:, None], 96, axis=1)
    frames = np.repeat(pictures[..., None], 3, axis=-1).astype(np.uint8)
    path = write_video(tmp_path / f"long.{suffix}", frames, rate=25, codec=codec, apart=200)
    with Video(path) as video:
        assert sum(1 for _ in video.frames()) == 400
        offset = video.offset
    for seconds in (0.0, 7.0, 9.0, 15.0):
        with Video(path) as video:
            found = list(video.frames_from(seconds, offset))
        assert found[0].seconds <= seconds + 1e-3
        for frame in found[:: len(found) // 8]:
            shown = frame.pixels(96, 96)[48, 16::32, 0] / 30
            assert shown.round() @ (1, 8, 64) == round(frame.seconds * 25)


def test_pixels_that_are_not_square_are_shown_as_wide_as_they_are(tmp_path):
    path = write_video(tmp_path / "wide.mp4", film_frames(30)[:, :, :180], aspect=Fraction(64, 45))
    [clip] = run_stage(DecodeFrames(), cut(path))
    assert clip.frames.shape[1:3] == (224, 256)


def write_with_sound(path: Path, begin: int = 0) -> Path:
    """Two seconds of pictures at 24 a second, `begin` frames after the beginning of five seconds of sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        sound = container.add_stream("aac", rate=16000, layout="mono")
        stream.height, stream.width, stream.pix_fmt = 224, 320, "yuv420p"
        for number, picture in enumerate(film_frames(48), start=begin):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        for number in range(80):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, number * 1024
            container.mux(sound.encode(frame))
        container.mux([*stream.encode(None), *sound.encode(None)])
    return path


def test_a_video_is_not_shorter_for_its_longer_sound(tmp_path):
    [clip] = cut(write_with_sound(tmp_path / "sound.mkv"))
    assert clip.rejection is None and clip.end == pytest.approx(2.0, abs=0.1)


def test_a_video_is_not_shorter_for_its_earlier_sound(tmp_path):
    """Matroska tells when a stream ends, and not how long it is."""
    [clip] = cut(write_with_sound(tmp_path / "later.mkv", begin=72))
    assert clip.offset == pytest.approx(3.0, abs=0.1)
    assert clip.rejection is None and clip.end == pytest.approx(2.0, abs=0.1)


def test_a_last_frame_may_be_shown_for_longer(tmp_path):
    pictures = [Image.fromarray(frame) for frame in film_frames(40)[::2]]
    path = tmp_path / "pause.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100] * 19 + [2000])
    [clip] = cut(path)
    assert clip.rejection is None and clip.end == pytest.approx(3.9, abs=0.15)


def test_a_video_whose_size_changes_is_cut(tmp_path):
    frames = film_frames(48)
    parts = [write_video(tmp_path / "a.ts", frames), write_video(tmp_path / "b.ts", frames[:, :112, :160], begin=48)]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    clips = run_stage(DecodeFrames(), cut(path))
    assert clips and all(clip.rejection is None for clip in clips)


@pytest.mark.parametrize(("size", "space"), [((1280, 720), "ITU709"), ((320, 224), "ITU601")])
def test_colours_that_are_not_told_are_those_of_the_size(tmp_path, size, space):
    colour = np.array([200, 30, 30])
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "5"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        flat = np.broadcast_to(colour.astype(np.uint8), (size[1], size[0], 3))
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(flat), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=space)
            frame.colorspace, frame.pts = 2, number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with Video(path) as video:
        frame = next(iter(video.frames()))
        assert frame.raw.colorspace == 2
        assert np.abs(frame.pixels(64, 64)[32, 32].astype(int) - colour).max() <= 4


def test_long_scenes_are_divided_and_blurred_frames_left_out(tmp_path):
    frames = film_frames(72)
    path = write_video(tmp_path / "long.mp4", frames)
    clips = CutScenes(longest=1.1)(str(path), "key")
    assert [clip.key for clip in clips] == ["key-0000", "key-0001", "key-0002"]
    assert [(a.last, a.end) for a in clips[:-1]] == [(b.first, b.start) for b in clips[1:]]
    [clip] = run_stage(DecodeFrames(), CutScenes()(str(path), "key"))
    from PIL import Image, ImageFilter

    blurred = clip.frames.copy()
    blurred[4] = np.asarray(Image.fromarray(blurred[4]).filter(ImageFilter.GaussianBlur(6)))
    [chosen] = run_stage(SelectFrames(), [replace(clip, frames=blurred)])
    assert clip.times[4] not in chosen.times and len(chosen.times) >= len(clip.times) - 3


# Answers of a vision-language model.

WORDS = "a red car drives along the road and " * 1300


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no_answer"),
        ("   \n", "no_answer"),
        ("<think>well, well</think>", "no_answer"),
        ("I see a red car and a cat.", "no_json"),
        ('{"things": ["red car"', "no_json"),
        ("[" * 4000, "no_json"),
        (WORDS, "too_long"),
        ('{"things": ["' + "very " * 9 + 'red car"]}', "too_long"),
        ('{"things": [' + ", ".join(f'"thing {n}"' for n in range(30)) + "]}", "too_long"),
        ('{"objects": ["red car"]}', "wrong_form"),
        ('{"things": "red car"}', "wrong_form"),
        ('{"things": [1, 2]}', "wrong_form"),
        ("[]", "no_names"),
        ('{"things": ["", " "]}', "no_names"),
        ('{"things": ["红色汽车", "老人"]}', "wrong_language"),
    ],
)
def test_names_of_no_use_have_a_reason(answer, reason):
    with pytest.raises(answers.AnswerError) as error:
        answers.read_names(answer)
    assert error.value.reason == reason in REASONS and len(error.value.detail) <= 80


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no_answer"),
        ("Move it.", "no_json"),
        ('["Move the cat."]', "wrong_form"),
        ('{"instruction": 3}', "wrong_form"),
        ('{"instruction": "cat"}', "wrong_form"),
        ('{"instruction": "Move the cat.", "things": "cat"}', "wrong_form"),
        ('{"instruction": ""}', "no_change_told"),
        ('{"instruction": "' + "move the cat " * 30 + '"}', "too_long"),
        (json.dumps({"instruction": WORDS}), "too_long"),
        ('{"instruction": "Bewege die rote Katze nach links und mach das Auto kleiner."}', "wrong_language"),
        ('{"instruction": "Déplace le chat vers la gauche et retire une voiture."}', "wrong_language"),
        ('{"instruction": "把红色的汽车移到左边"}', "wrong_language"),
        ('{"instruction": "Move the dog to the left.", "things": ["dog"]}', "unknown_name"),
    ],
)
def test_instructions_of_no_use_have_a_reason(answer, reason):
    with pytest.raises(answers.AnswerError) as error:
        answers.read_instruction(answer, ["red cat", "car"])
    assert error.value.reason == reason in REASONS


def test_answers_are_read_whatever_stands_around_them():
    assert answers.read_names('Sure!\n```json\n{"things": ["The Red Car.", "a cat", "red car"]}\n```') == (
        "red car",
        "cat",
    )
    assert answers.read_names('<think>{"things": []}</think>["old man"]') == ("old man",)
    text = '{"instruction": "Move the red cat\\n to the left.", "things": ["Red Cat"]}'
    assert answers.read_instruction(text, ["red cat"]) == ("Move the red cat to the left.", ("red cat",))
    assert answers.read_caption('{"caption": "A red cat on a meadow."}') == "A red cat on a meadow."
    for wrong in ('{"caption": ""}', '{"caption": null}', "A red cat.", '{"caption": "Eine rote Katze auf der Wiese"}'):
        with pytest.raises(answers.AnswerError):
            answers.read_caption(wrong)


def test_settings_are_checked():
    pipeline = truth_pipeline()
    changed = pipeline.changed({"decode": {"options": {"rate": 2}, "batch": 3}, "cut": {"options": {"longest": 3}}})
    assert changed.stages[0].build().rate == 2 and changed.cutter().longest == 3
    for settings, message in (
        ({"paint": {}}, "no stage 'paint'"),
        ({"decode": {"speed": 2}}, "no setting 'speed'"),
        ({"decode": 3}, "an object"),
        ({"name": {"kind": "magic"}}, "no kind 'magic'"),
        ({"decode": {"batch": 0}}, "batch"),
    ):
        with pytest.raises(StageError, match=message):
            pipeline.changed(settings)
    settings = {"describe": {"options": {"thresholds": {"moved": 0.1}}}}
    assert pipeline.changed(settings).stages[6].build().thresholds.moved == 0.1
    for name, number, options, message in (
        ("describe", 6, {"thresholds": {"speed": 1}}, "has no 'speed'"),
        ("track", 4, {"segmenter": {"a": 1}}, "cannot be set"),
    ):
        with pytest.raises(StageError, match=message):
            pipeline.changed({name: {"options": options}}).stages[number].build()
    own = {"kind": f"{__name__}:OwnStage", "options": {"words": {"a": "b"}, "names": ["x"]}}
    made = pipeline.changed({"name": own}).stages[2].build()
    assert made.words == {"a": "b"} and made.names == ("x",)
    with pytest.raises(StageError, match="no option 'speed'"):
        pipeline.changed({"decode": {"options": {"speed": 2}}}).stages[0].build()
    with pytest.raises(StageError, match="words"):
        pipeline.changed({"name": {"kind": "given", "options": {"names": []}}}).stages[2].build()


def test_the_report_is_one_file_and_shows_what_there_is(folder, tmp_path):
    (tmp_path / "notes.html").write_text("<!doctype html> mine")
    for other in (folder / "index.json", tmp_path / "notes.html"):
        before = other.read_bytes()
        with pytest.raises(WeGenError, match="is no report"):
            write_report(folder, other)
        assert other.read_bytes() == before
    write_report(folder, tmp_path / "page.html", samples=1)
    page = write_report(folder, tmp_path / "page.html", samples=5).read_text()
    assert "http" not in page and "src=" in page
    assert set(re.findall(r'(?:src|href)="([^",]*)', page)) == {"data:image/jpeg;base64", "data:image/png;base64"}
    assert page.count("<article>") == 5 and page.count("<figure") >= 5
    things = {track["name"] for record in read_records(folder) for track in record["tracks"]}
    assert all(f">{name}</span>" in page for name in things)
    with pytest.raises(ShardError, match="no finished folder"):
        write_report(tmp_path)


def test_the_report_escapes_and_tells_of_rejected_clips(tmp_path):
    (tmp_path / "<b>no & video.mp4").write_text("x")
    annotate_videos([tmp_path / "<b>no & video.mp4"], tmp_path / "out", truth_pipeline())
    page = write_report(tmp_path / "out").read_text()
    assert "&lt;b&gt;no &amp; video.mp4" in page and "<b>no" not in page
    assert REASONS["unreadable"] in page and "No sample came of these videos" in page
