"""What the model's own words for an order name as what stays is kept to the pixel."""

from dataclasses import replace

import pytest
import torch
from comfyui_wegen.models import storybook
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.data.tasks import KEEPING
from comfyui_wegen.models.editing.refinement import Masks
from comfyui_wegen.models.engine import Selection, TurnRequest, keeping, take_turn
from comfyui_wegen.models.engine.keeping import NOT_KEPT
from comfyui_wegen.models.engine.planning import AS_BEFORE
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.images import to_pil
from comfyui_wegen.models.network.configuration import Templates
from comfyui_wegen.models.painting.loading import load
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.storybook import Scene, Thing
from comfyui_wegen.models.values import Answer, AutoMask, Chat, SamplerSettings, Turn
from PIL import Image

WORDS = "keeping the red car: a street at night"
CAR = torch.zeros(32, 32)
CAR[8:16, 4:20] = 1
ALL_MAY_CHANGE = AutoMask(threshold=1e-6, grow=64)


class Brush:
    """A painter whose pictures are all of one colour."""

    def paint(self, job):
        return torch.full((len(job.seeds), job.height, job.width, 3), 0.25)


@pytest.fixture(scope="module")
def wegen(published_dir):
    published = load(published_dir)[0]
    templates = replace(published.config.templates, kept=KEEPING)
    return replace(published, config=replace(published.config, templates=templates))


@pytest.fixture(scope="module")
def chat(wegen):
    picture = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))
    features = wegen.encode_pictures([to_pil(picture)])[0]
    return Chat().add(Turn("a street with a red car", (Answer("a street with a red car", features, picture, 0),)))


@pytest.fixture
def finds(monkeypatch):
    """Call it with what is to be found; gives what is looked for."""

    def finding(answer):
        asked = []

        def find(wanted, *_):
            asked.extend(wanted)
            return [answer] * len(wanted)

        monkeypatch.setattr(keeping, "find", find)
        return asked

    return finding


def turn(words=WORDS, seeds=(1,), auto_mask=ALL_MAY_CHANGE, **more):
    settings = SamplerSettings(auto_mask=auto_mask)
    return TurnRequest("keep my car, make it night", seeds, prompt_override=words, settings=settings, **more)


@pytest.mark.parametrize(
    ("words", "things", "rest"),
    [
        (WORDS, "the red car", "a street at night"),
        ("Keeping the house and the cat: on a meadow: by day", "the house and the cat", "on a meadow: by day"),
        ("a street at night, keeping the red car: so be it", "", "a street at night, keeping the red car: so be it"),
        ("keeping the red car", "", "keeping the red car"),
        ("keeping : a street", "", "keeping : a street"),
        ("Drawn anew, a street at night", "", "a street at night"),
        ("drawn anew", "", "drawn anew"),
        ("drawn anew, ", "", "drawn anew, "),
        ("a street that was drawn anew, at night", "", "a street that was drawn anew, at night"),
    ],
)
def test_a_description_says_what_stays(words, things, rest):
    templates = Templates(anew="drawn anew", kept=KEEPING)
    assert templates.things_kept(words) == things and templates.of_picture(words) == rest
    silent = Templates()
    assert silent.things_kept(words) == "" and silent.of_picture(words) == words


@pytest.mark.parametrize("kept", ["keeping: ", "keeping {things}", "{things} and {things}: "])
def test_a_template_that_cannot_tell_what_stays_is_refused(kept):
    with pytest.raises(WeGenError, match=r"'kept' must hold \{things\} exactly once, with something behind it"):
        Templates(kept=kept)


def test_what_is_named_stays_to_the_pixel(wegen, chat, finds):
    asked = finds(Selection(CAR, torch.zeros(32, 32, 3)))
    result = take_turn(turn(seeds=(1, 2)), chat, Brush(), wegen)
    before = chat.last.answer.picture
    for answer in result.answers:
        assert torch.equal(answer.picture[CAR == 1], before[CAR == 1])
        assert not torch.equal(answer.picture[20:], before[20:])
        assert not (answer.change * CAR).any() and answer.change.any()
    assert [(one.things, one.seed) for one in asked] == [("the red car", 1)], "looked for once for all pictures"
    assert asked[0].chat is chat and result.notes == ()


def test_pictures_whose_words_name_different_things_keep_different_things(wegen, chat, finds):
    asked = finds(Selection(CAR, torch.zeros(32, 32, 3)))
    take_turn(turn((WORDS, "a street at night", "keeping the tree: a street"), (1, 2, 3)), chat, Brush(), wegen)
    assert [(one.things, one.seed) for one in asked] == [("the red car", 1), ("the tree", 3)]


@pytest.mark.parametrize("answer", ["", "that is not in the picture."])
def test_what_is_not_found_is_said(answer, wegen, chat, finds):
    finds(answer)
    result = take_turn(turn(), chat, Brush(), wegen)
    assert result.notes == (NOT_KEPT.format(things="the red car"),)
    assert (result.answers[0].picture == 0.25).any() and not result.spoken


@pytest.mark.parametrize(("rows", "kept"), [(slice(0, 24), True), (slice(8, 18), False)])
def test_what_is_to_change_itself_is_not_kept(rows, kept, wegen, chat, finds):
    """ "remove the tower, keep the lighthouse", and the model's words name the tower: nothing would happen at all."""
    finds(Selection(CAR, torch.zeros(32, 32, 3)))
    edit = torch.zeros(32, 32)
    edit[rows, 4:20] = 1
    result = take_turn(turn(masks=Masks(edit=edit)), chat, Brush(), wegen)
    assert bool((result.answers[0].change * CAR).any()) != kept
    assert (NOT_KEPT.format(things="the red car") in result.notes) != kept


def test_nothing_is_looked_for_where_all_may_change_or_nothing_is_named(wegen, chat, finds):
    asked = finds(Selection(CAR, torch.zeros(32, 32, 3)))
    take_turn(turn(auto_mask=None), chat, Brush(), wegen)
    take_turn(turn("a street at night"), chat, Brush(), wegen)
    take_turn(turn(), Chat(), Brush(), wegen)
    assert asked == []


def test_words_that_only_say_what_stays_change_nothing(wegen, chat, finds):
    finds(Selection(CAR, torch.zeros(32, 32, 3)))
    result = take_turn(turn("keeping the red car: a street with a red car"), chat, Brush(), wegen)
    assert AS_BEFORE.format(order="keep my car, make it night") in result.notes


def test_keep_the_house_make_it_night():
    """The bundled model alone: its own words, its own mask."""
    pipeline = Pipeline.from_folder(BUNDLED)
    house, cat = Thing("house", "red", "medium", 1, 2, "lit"), Thing("cat", "black", "small", 3, 3, "facing left")
    page = Scene("meadow", "day", (house, cat))
    chat = pipeline.begin_with(Image.fromarray(storybook.render(page)))
    night = pipeline.refine(chat, "keep the house, but make it night").last.answer
    before, there = chat.last.answer.picture, torch.from_numpy(storybook.mask_of(house))
    assert night.rewrite.startswith("keeping the red house: ")
    assert (night.picture == before).all(dim=-1)[there].float().mean() > 0.9
    assert night.picture[:32].mean() < before[:32].mean() - 0.2


def test_the_bundled_model_says_what_stays_as_it_was_taught():
    templates = open_checkpoint(BUNDLED).config.templates
    assert templates.kept == KEEPING and templates.things_kept(KEEPING.format(things="the cat") + "x") == "the cat"
