"""Turns on pictures larger than a checkpoint paints: full size comes back, and what is kept is kept to the bit."""

import time

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.editing.refinement import Masks
from comfyui_wegen.models.encoding import begin_with
from comfyui_wegen.models.engine import TurnRequest
from comfyui_wegen.models.media.images import from_pil, read_picture
from comfyui_wegen.models.metrics.consistency import compare
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.asking import ask
from comfyui_wegen.models.values import Chat, References, SamplerSettings
from photographs import photograph, photograph_pil, save_turned
from timing import measured

pytestmark = pytest.mark.slow
AREA = 1.3
"""What may be painted beyond the budget, by padding."""
TIMES = {"tiny": 2.5, "nano": 1.3}
"""How much longer a turn on 12 megapixels may take than on the same picture at the budget. That of the tiny checkpoint
takes a tenth of a second, and copying 12 megapixels half of that."""
QUICK = SamplerSettings(steps=4)
WORDS = "on a meadow at night, a small red house with the lights on at the bottom left."


@pytest.fixture(scope="module", params=list(TIMES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def pipeline(name, tiny):
    return Pipeline(*tiny) if name == "tiny" else Pipeline.from_folder(BUNDLED)


def square(height: int, width: int, share: float) -> torch.Tensor:
    """A mask whose white square covers a share of the picture."""
    side = round((share * height * width) ** 0.5)
    mask = torch.zeros(height, width)
    mask[height // 3 : height // 3 + side, width // 3 : width // 3 + side] = 1
    return mask


class Watched:
    """Remembers the largest picture that is painted."""

    def __init__(self, painter):
        self.painter, self.largest = painter, 0

    def paint(self, job):
        self.largest = max(self.largest, job.height * job.width)
        return self.painter.paint(job)


def test_twelve_megapixels_are_worked_on_at_the_budget(pipeline, name, monkeypatch):
    from comfyui_wegen.models import pipeline as pipelines
    from comfyui_wegen.models.engine import planning

    # That masks overrule an order is another test's business; here something must be painted.
    monkeypatch.setattr(planning, "outcome", lambda *_: "followed")
    watched = []
    painters = pipelines.DiffusersPainter
    monkeypatch.setattr(
        pipelines, "DiffusersPainter", lambda *given: watched.append(Watched(painters(*given))) or watched[-1]
    )
    side = pipeline.config.size

    def turn(picture):
        mask = square(*picture.shape[:2], 0.05)
        chat = begin_with(pipeline.wegen, [picture])
        began = time.process_time()
        # Given words: the bundled model would say that it does not know photographs.
        settings = SamplerSettings(steps=20)
        request = TurnRequest("make it night", settings=settings, prompt_override=WORDS, masks=Masks(mask))
        result = pipeline.take_turn(request, chat)
        return time.process_time() - began, result, mask

    large = photograph("china", 12)
    # The same view, so that the model has as much to say of it.
    small = photograph("china", side**2 / 1e6)
    turn(small)
    ratios = measured(lambda: turn(large)[0] / turn(small)[0], TIMES[name])
    _, result, mask = turn(large)
    difference = (result.pictures[0] - large).abs().amax(-1)
    assert result.pictures[0].shape == large.shape
    assert difference[mask == 0].max() == 0 and difference[mask > 0].max() > 0
    assert max(one.largest for one in watched) <= AREA * side**2
    print(f"12 megapixels took {ratios} times as long as the same at {side**2} pixels")
    assert ratios[-1] <= TIMES[name]


def test_pictures_wider_than_any_that_is_painted_are_changed(pipeline):
    picture = torch.rand(48, 9000, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(48, 9000)
    mask[10:40, 4000:4040] = 1
    for masks in (Masks(mask), Masks()):
        request = TurnRequest("make it night", settings=QUICK, prompt_override=WORDS, masks=masks)
        after = pipeline.take_turn(request, begin_with(pipeline.wegen, [picture])).pictures[0]
        assert after.shape == picture.shape
        if masks.edit is not None:
            assert torch.equal(after[mask == 0], picture[mask == 0])


@pytest.mark.parametrize("shown", ["china", "flower"])
def test_photographs_go_all_the_way(pipeline, shown, tmp_path):
    file = save_turned(photograph_pil(shown), tmp_path / "photo.jpg")
    picture = from_pil(read_picture(file))
    assert picture.shape == (427, 640, 3)  # the right side up
    reference = pipeline.encode_reference("photo", read_picture(file), square(427, 640, 0.1))
    assert isinstance(ask(pipeline.wegen, "what is there?", References((reference,)), limit=8), str)
    mask = square(427, 640, 0.2)
    request = TurnRequest("make it night", (1,), masks=Masks(keep=1 - mask), settings=QUICK, rewrite=False)
    result = pipeline.take_turn(request, begin_with(pipeline.wegen, [picture]))
    after = result.pictures[0]
    assert after.shape == picture.shape and torch.equal(after[mask == 0], picture[mask == 0])
    assert compare(picture, after, mask).outside.largest == 0
    again = pipeline.take_turn(TurnRequest("make it day", (2,), settings=QUICK, rewrite=False), result.chat)
    assert torch.equal(again.pictures[0][mask == 0], picture[mask == 0])  # what was kept once stays kept
    assert isinstance(again.chat, Chat) and len(again.chat) == 3
