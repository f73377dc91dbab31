"""The stages that ask models of transformers, on tiny random ones of the real classes, from folders, offline."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from comfyui_wegen.models.data.diic.clip import Clip, Detection, Pair, Track
from comfyui_wegen.models.data.diic.naming import NamesGiven
from comfyui_wegen.models.data.diic.reasons import REASONS
from comfyui_wegen.models.data.diic.stage import StageError, run_stage
from support import NOT_RUN

pytestmark = pytest.mark.slow

_WHY = f"{NOT_RUN}models that annotate videos, torchvision is not installed"
pytest.importorskip("torchvision", reason=_WHY, exc_type=(ImportError, RuntimeError))
pytest.importorskip("cv2", reason=f"{NOT_RUN}models that annotate videos, OpenCV is not installed")

from comfyui_wegen.models.data.diic.camera import camera_motion  # noqa: E402
from comfyui_wegen.models.data.diic.films import sample_film  # noqa: E402
from comfyui_wegen.models.data.diic.pairing import PairFrames  # noqa: E402
from comfyui_wegen.models.data.diic.pipeline import ORDER, model_pipeline  # noqa: E402
from comfyui_wegen.models.data.diic.transformers_stages import vision_language  # noqa: E402
from comfyui_wegen.models.data.diic.transformers_stages.grounding import GroundNames  # noqa: E402
from comfyui_wegen.models.data.diic.transformers_stages.segmentation import TrackInVideo  # noqa: E402
from comfyui_wegen.models.data.diic.transformers_stages.vision_language import (  # noqa: E402
    CaptionWithModel,
    DescribeWithModel,
    NameThings,
)
from tiny_annotators import write_detector, write_sam3_tracker, write_tracker, write_vision_language  # noqa: E402


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing may ask the network, whatever the folder says."""
    import socket

    def refuse(*_, **__):
        raise AssertionError("a model asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "vlm": str(write_vision_language(folder / "vlm")),
        "mm": str(write_detector(folder / "mm")),
        "grounding": str(write_detector(folder / "grounding", "GroundingDino")),
        "sam": str(write_tracker(folder / "sam")),
        "sam3": str(write_sam3_tracker(folder / "sam3")),
    }


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Six frames of a film, as if they were decoded and chosen."""
    film = sample_film(7, 1, 5, 2.0, size=(96, 64))
    frames = np.stack([film.render(number)[0] for number in range(0, 36, 6)])
    return Clip(
        "clip", "no.mp4", 0, times=np.arange(6) / 4, frames=frames, end=1.5, sharpness=np.ones(6, np.float32),
        motion=np.ones(6, np.float32), camera=camera_motion(frames), names=("red car", "cat"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tracked(clip) -> Clip:
    """With one thing in all frames and a pair."""
    box = (10, 10, 40, 30)
    labels = np.zeros(clip.frames.shape[:3], np.uint8)
    labels[:, 10:30, 10:40] = 1
    track = Track("red car", (box,) * 6, (0.9,) * 6)
    return replace(clip, tracks=(track,), instance_map=labels, pairs=(Pair(0, 2, 0.2), Pair(2, 5, 0.3)))


@pytest.mark.parametrize("detector", ["mm", "grounding"])
def test_a_detector_gives_boxes_with_names(models, clip, detector):
    stage = GroundNames(models[detector], threshold=1e-4, largest=1.1)
    [found] = run_stage(stage, [clip])
    assert found.rejection is None and len(found.detections) == 6 and all(found.detections)
    for one in (one for frame in found.detections for one in frame):
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 96 and 0 <= top < bottom <= 64
        assert one.name in clip.names and 1e-4 <= one.score <= 1
    [again] = run_stage(stage, [found])
    assert again.detections == found.detections
    [none] = run_stage(GroundNames(models[detector], threshold=1.1), [clip])
    assert none.rejection.reason == "nothing_detected"


def test_boxes_that_are_left_out_have_a_reason(models, clip, monkeypatch):
    stage = GroundNames(models["mm"], most=2)
    whole, wide = Detection("sky", (0.0, 0.0, 96.0, 63.0), 0.9), Detection("red car", (20.0, 20.0, 60.0, 50.0), 0.8)
    double = Detection("cat", (21.0, 20.0, 60.0, 50.0), 0.7)
    others = [Detection("red car", (left, 0.0, left + 9.0, 9.0), 0.5 - left / 1000) for left in (0.0, 30.0, 60.0)]
    monkeypatch.setattr(
        stage, "_boxes", lambda frames, names: [[whole, wide, double, *others], *([wide] for _ in frames[1:])]
    )
    [found] = run_stage(stage, [replace(clip, names=("red car", "cat", "sky", "snail"))])
    assert found.detections[0] == (wide, others[0]) and found.detections[1] == (wide,)
    # At two of the six frames the first of a group of four is looked at.
    assert [(one.reason, one.detail) for one in found.dropped] == [
        ("box_too_large", "sky: 2 boxes"),
        ("box_overlaps", "cat: 2 boxes"),
        ("too_many_boxes", "red car: 4 boxes"),
        ("name_not_found", "cat"),
        ("name_not_found", "sky"),
        ("name_not_found", "snail"),
    ]
    assert {one.stage for one in found.dropped} == {"ground"} and {one.reason for one in found.dropped} <= set(REASONS)


def test_scores_go_to_the_name_whose_words_they_stand_on(models):
    stage = GroundNames(models["mm"], threshold=0.3, largest=1.1)
    chances = np.zeros((3, 256), np.float32)
    chances[0, 2], chances[1, 4], chances[2, 1] = 0.9, 0.8, 0.2  # [CLS] red car . cat . [SEP]
    places = np.tile(np.float32([0.5, 0.5, 0.2, 0.4]), (3, 1))
    import transformers

    assert isinstance(stage._processor.tokenizer, transformers.BertTokenizer)
    found = stage._read(chances, places, [[1, 2], [4]], ["red car", "cat"], 100, 50)
    assert [one.name for one in found] == ["red car", "cat"]
    assert found[0].box == pytest.approx((40, 15, 60, 35)) and found[1].score == pytest.approx(0.8)


def test_many_names_are_asked_in_groups(models, clip):
    stage = GroundNames(models["mm"], threshold=1e-4, largest=1.1)
    names = [
        f"{colour} {kind}" for colour in ("red", "green", "blue") for kind in ("car", "cat", "snail") for _ in "123"
    ]
    groups = stage._groups(names * 6)
    assert len(groups) > 1 and list(chain(*groups)) == names * 6
    [found] = run_stage(stage, [replace(clip, names=tuple(names * 6))])
    assert found.rejection is None
    with pytest.raises(StageError, match="longer than"):
        stage._groups(["red car " * 200])


@pytest.mark.parametrize("tracker", ["sam", "sam3"])
def test_sam_follows_boxes_to_both_ends(models, clip, tracker):
    boxes = (Detection("red car", (20.0, 20.0, 60.0, 50.0), 0.9), Detection("cat", (60.0, 5.0, 90.0, 40.0), 0.5))
    detections = ((), (), boxes, (), (), ())
    stage = TrackInVideo(models[tracker], fewest_frames=1)
    assert type(stage._model).__name__ == {"sam": "Sam2VideoModel", "sam3": "Sam3TrackerVideoModel"}[tracker]
    [found] = run_stage(stage, [replace(clip, detections=detections)])
    assert found.rejection is None, found.rejection
    assert found.instance_map.shape == (6, 64, 96) and 1 <= len(found.tracks) <= 2
    assert max(sum(box is not None for box in track.boxes) for track in found.tracks) > 1
    for number, track in enumerate(found.tracks):
        for frame, box in enumerate(track.boxes):
            assert found.mask(number, frame).any() or box is None
            assert (track.scores[frame] > 0) == (box is not None)
    [again] = run_stage(stage, [replace(clip, detections=detections)])
    assert again.tracks == found.tracks and np.array_equal(again.instance_map, found.instance_map)


def test_what_no_track_covers_is_taken_up_later(models, clip, monkeypatch):
    stage = TrackInVideo(models["sam"], every=2, fewest_frames=1)
    followed = []

    def follow(clip, frame, new):
        followed.append((frame, [one.name for one in new]))
        mask = np.zeros((64, 96), bool)
        left, top, right, bottom = (int(edge) for edge in new[0].box)
        mask[top:bottom, left:right] = True
        return [[(mask, 1.0)] * 6 for _ in new]

    monkeypatch.setattr(stage, "_follow", follow)
    car, cat = Detection("red car", (0.0, 0.0, 30.0, 30.0), 0.9), Detection("cat", (50.0, 30.0, 90.0, 60.0), 0.5)
    [found] = stage([replace(clip, detections=((), (car,), (cat,), (car, cat), (), (car, cat)))])
    assert followed == [(1, ["red car"]), (3, ["cat"])]
    assert [track.name for track in found.tracks] == ["red car", "cat"]


def test_a_random_model_is_asked_and_its_noise_has_reasons(models, clip, tracked):
    [named] = run_stage(NameThings(models["vlm"], side=48), [clip])
    assert named.rejection.reason in ("no_json", "wrong_language", "no_answer", "too_long")
    for stage in (DescribeWithModel(models["vlm"], side=48), CaptionWithModel(models["vlm"], side=48)):
        [done] = run_stage(stage, [tracked])
        assert done.rejection.reason == "no_pairs" and done.rejection.stage == stage.name
        assert len(done.dropped) >= 2


def test_questions_of_several_pictures_are_answered_side_by_side(models, clip):
    model = vision_language.VisionLanguageModel(models["vlm"], longest=6, at_once=2, side=48)
    questions = [
        ((clip.frames[0],), "What?"),
        ((clip.frames[1], clip.frames[2]), "What is to be seen?"),
        ((clip.frames[3],), "Well?"),
    ]
    together = model.ask(questions)
    assert len(together) == 3
    assert together == [model.ask([question])[0] for question in questions]


GOOD = {
    "name": '{"things": ["red car", "the cat"]}',
    "describe": '{"instruction": "Move the red car to the left.", "things": ["red car"]}',
    "caption": '{"caption": "A red car on the road."}',
}


def test_good_answers_become_names_instructions_and_captions(models, clip, tracked, monkeypatch):
    asked = []

    def answer(self, questions):
        asked.extend(questions)
        return [GOOD[stage] for _ in questions]

    monkeypatch.setattr(vision_language.VisionLanguageModel, "ask", answer)
    stage = "name"
    assert run_stage(NameThings(models["vlm"]), [clip])[0].names == ("red car", "cat")
    stage = "describe"
    [described] = run_stage(DescribeWithModel(models["vlm"]), [tracked])
    assert [pair.text for pair in described.pairs] == ["Move the red car to the left."] * 2
    assert described.pairs[0].facts[-1] == {"change": "told", "things": ["red car"]}
    assert "- red car: [104, 156, 417, 469]" in asked[-1][1] and len(asked[-1][0]) == 2
    stage = "caption"
    [captioned] = run_stage(CaptionWithModel(models["vlm"]), [described])
    assert captioned.captions == dict.fromkeys((0, 2, 5), "A red car on the road.")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "no_answer"),
        ("The car moves.", "no_json"),
        ("{}", "wrong_form"),
        ('{"instruction": "汽车向左移动", "caption": "汽车"}', "wrong_language"),
        ("word " * 10_000, "too_long"),
    ],
)
def test_bad_answers_cost_what_they_are_about(models, tracked, monkeypatch, bad, reason):
    answers = iter([bad, GOOD["describe"]])
    monkeypatch.setattr(vision_language.VisionLanguageModel, "ask", lambda self, questions: [*answers])
    [described] = run_stage(DescribeWithModel(models["vlm"]), [tracked])
    assert [one.reason for one in described.dropped] == [reason] and len(described.pairs) == 1
    answers = iter([GOOD["caption"], bad, GOOD["caption"]])
    [captioned] = run_stage(CaptionWithModel(models["vlm"]), [tracked])
    assert captioned.rejection.reason == "no_pairs"  # both pairs need the middle frame
    assert [one.reason for one in captioned.dropped] == [reason, "no_caption", "no_caption"]


def test_all_stages_with_all_models_end_to_end(models, clip):
    """From given names to the random model's words, with no stage failing."""
    settings = {
        "ground": {"options": {"threshold": 1e-4, "largest": 1.1, "most": 4}},
        "track": {"options": {"fewest_frames": 1}},
        "describe": {"options": {"side": 48}},
    }
    pipeline = model_pipeline(models["mm"], models["sam"], models["vlm"], ("red car", "cat")).changed(settings)
    clips = [clip]
    for spec in pipeline.stages[ORDER.index("name") :]:
        stage = spec.build() if spec.name != "pair" else PairFrames((0.25, 0.5), least_shared=0, least_change=0)
        clips = run_stage(stage, clips)
    assert clips[0].rejection.stage == "describe" and clips[0].rejection.reason == "no_pairs"
    assert isinstance(pipeline.stages[2].build(), NamesGiven)


def test_all_models_are_seen_to_be_there(models):
    model_pipeline(models["mm"], models["sam3"], models["vlm"]).check()


def test_folders_without_their_model_are_told(models, tmp_path):
    with pytest.raises(StageError, match=r"no config\.json"):
        GroundNames(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StageError, match="no weights"):
        GroundNames(str(tmp_path))
    with pytest.raises(StageError, match=r"no device 'cuda:99'"):
        GroundNames(models["mm"], "cuda:99")
    with pytest.raises(StageError, match="cannot be loaded as AutoModelForZeroShotObjectDetection"):
        GroundNames(models["vlm"])
    with pytest.raises(StageError, match="precision"):
        GroundNames(models["mm"], precision="fp8")
    with pytest.raises(StageError, match="names"):
        model_pipeline(models["mm"])
