"""Refinement: the model's own mask, what it may change, and chats whose kept pixels never move."""

from dataclasses import replace
from random import Random

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.editing.predicted_mask import grow, heat_map, keep_features, predict_edit_mask, soften
from comfyui_wegen.models.editing.refinement import Masks, outcome, resolve_masks
from comfyui_wegen.models.encoding import begin_with
from comfyui_wegen.models.engine import PictureDraft, TurnRequest, finishing, planning, predict_masks, take_turn
from comfyui_wegen.models.engine.drafting import Written
from comfyui_wegen.models.engine.finishing import OVERRULED
from comfyui_wegen.models.errors import AnsweredInWords, WeGenError
from comfyui_wegen.models.media.chat_file import compacted
from comfyui_wegen.models.media.images import from_pil, to_pil
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.text_sampling import TextSampling
from comfyui_wegen.models.storybook import render, sample_scene
from comfyui_wegen.models.values import Answer, AutoMask, Chat, SamplerSettings, Turn
from PIL import Image

HARD = AutoMask(threshold=0.5, grow=0, soften=0)
AUTO = SamplerSettings(auto_mask=HARD)


def features(*changed):
    """Features of a 4x4 grid, those of some cells pointing elsewhere."""
    found = torch.ones(16, 8)
    for cell in changed:
        found[cell] = torch.tensor([1.0, -1.0] * 4)
    return found


def chat_with(picture, own=None, keep_mask=None):
    return Chat().add(Turn("x", (Answer("x", features() if own is None else own, picture, 0),), keep_mask=keep_mask))


PICTURE = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))


def test_the_own_mask_is_where_features_differ():
    found = predict_edit_mask(features(), features(5), 32, 32, HARD)
    expected = torch.zeros(32, 32)
    expected[8:16, 8:16] = 1
    assert torch.equal(found.mask, expected)
    assert found.heat[12, 12] > 0.85 and found.heat[28, 28] < 1e-6
    assert not found.empty and predict_edit_mask(features(), features(), 32, 32, HARD).empty


def test_the_own_mask_grows_and_softens():
    found = predict_edit_mask(features(), features(5), 32, 32, AutoMask(0.5, grow=6, soften=8)).mask
    row = found[12]
    assert row[5:19].eq(1).all()
    assert torch.allclose(row[1:5], torch.tensor([0.2, 0.4, 0.6, 0.8]))
    assert row[0] == 0 and row[19:23].flip(0).allclose(row[1:5]) and row[23:].eq(0).all()


def test_growing_and_softening_by_nothing_changes_nothing():
    mask = (PICTURE[..., 0] > 0.5).float()
    assert torch.equal(grow(mask, 0), mask) and torch.equal(soften(mask, 0), mask)


def test_masks_fit_any_picture_size():
    found = predict_edit_mask(features(), features(0, 15), 37, 21, AutoMask()).mask
    assert found.shape == (37, 21) and found[0, 0] == 1 and found[-1, -1] == 1 and found[0, -1] == 0


def test_where_most_changes_little_differences_count_too():
    """A cell that is only half different would show as a patch of the old picture."""
    near = torch.tensor([1.0, 1.0, 1.0, 0.1] * 2)  # a cosine distance of 0.1 from the features before

    def unchanged_cells(*changed):
        after = features(*changed)
        after[15] = near
        return int((predict_edit_mask(features(), after, 4, 4, AutoMask(0.15, 0, 0)).mask == 0).sum())

    assert unchanged_cells(*range(8)) == 8
    assert unchanged_cells(*range(9)) == 6


def test_features_of_other_shapes_are_refused():
    with pytest.raises(WeGenError, match="cannot be compared"):
        predict_edit_mask(torch.ones(16, 8), torch.ones(64, 8), 32, 32)


@pytest.mark.parametrize("values", [{"threshold": -0.1}, {"threshold": 2.1}, {"grow": -1}, {"soften": 513}])
def test_settings_of_the_own_mask_have_limits(values):
    with pytest.raises(WeGenError, match=r"must be from|give 0 to"):
        AutoMask(**values)


def test_kept_cells_keep_their_features():
    change = torch.zeros(30, 30)
    change[7, 7] = 0.1  # 30 pixels in 4 cells: this one lies on the border of four
    kept = keep_features(features(), features(*range(16)), change)
    changed = [cell for cell in range(16) if not torch.equal(kept[cell], features()[cell])]
    assert changed == [0, 1, 4, 5]


def test_where_a_picture_may_change_follows_the_masks():
    corner, white = torch.zeros(32, 32), torch.ones(32, 32)
    corner[8:12, 8:12] = 1
    chat = chat_with(PICTURE)
    assert resolve_masks(chat, Masks()) is None
    assert torch.equal(resolve_masks(chat, Masks(edit=corner)), corner)
    assert torch.equal(resolve_masks(chat, Masks(keep=corner)), 1 - corner)
    half = torch.zeros(32, 32)
    half[:, :10] = 1
    assert torch.equal(resolve_masks(chat, Masks(corner, half)), corner * (1 - half))
    with pytest.raises(WeGenError, match="no pixel that may change"):
        resolve_masks(chat, Masks(corner, white))


def test_an_area_once_kept_stays_kept_until_it_is_released():
    keep, more = torch.zeros(32, 32), torch.zeros(32, 32)
    keep[:, :16], more[:8] = 1, 1
    chat = chat_with(PICTURE, keep_mask=keep)
    assert torch.equal(resolve_masks(chat, Masks()), 1 - keep)
    assert torch.equal(resolve_masks(chat, Masks(keep=more)), (1 - keep) * (1 - more))
    assert resolve_masks(chat, Masks(release=True)) is None
    assert torch.equal(resolve_masks(chat, Masks(keep=more, release=True)), 1 - more)
    with pytest.raises(WeGenError, match="turn on release for this turn"):
        resolve_masks(chat.add(Turn("y", (Answer("y", features(), PICTURE[:16], 0),))), Masks())


CHANGED = torch.zeros(16, dtype=torch.bool).index_fill_(0, torch.tensor([3, 5, 6]), True)


def allowed_half() -> torch.Tensor:
    """Half of each cell of a picture of 32 x 32 pixels may change."""
    return (torch.arange(32) % 8 < 4).float().expand(32, 32)


@pytest.mark.parametrize(
    ("share", "found"), [(0.0, "overruled"), (0.25, "overruled"), (0.5, "partly"), (0.8, "followed"), (1.0, "followed")]
)
def test_how_far_a_change_came_through_is_what_counts(share, found):
    generator = torch.Generator().manual_seed(2)
    before, meant = features(), features(3, 5, 6)
    noise = 0.05 * torch.randn(16, 8, generator=generator)
    after = before + share * (meant - before)
    # Where the model meant to change nothing, noise says nothing.
    assert outcome(before, meant + noise, after, CHANGED, allowed_half(), measured=True) == found
    assert outcome(before, meant, after + noise, CHANGED, allowed_half(), measured=True) == found


def test_masks_that_hardly_touch_what_was_meant_overrule_nothing():
    before, meant = features(), features(3, 5, 6)
    assert outcome(before, meant, before, CHANGED, torch.ones(32, 32), measured=True) == "followed"
    nothing = torch.zeros(16, dtype=torch.bool)
    assert outcome(before, meant, before, nothing, torch.zeros(32, 32), measured=True) == "followed"


@pytest.mark.parametrize(("columns", "found"), [(0, "overruled"), (1, "followed"), (4, "followed")])
def test_without_statistics_only_the_masks_are_believed(columns, found):
    before, meant = features(), features(3, 5, 6)
    allowed = (torch.arange(32) % 8 < columns).float().expand(32, 32)
    for after in (before, meant):
        assert outcome(before, meant, after, CHANGED, allowed, measured=False) == found


def test_what_became_something_else_was_not_kept_back():
    before, meant, other = features(), features(3, 5, 6), features(3, 5, 6)
    other = before - (meant - before)
    assert outcome(before, meant, other, CHANGED, allowed_half(), measured=True) == "partly"


# --- whole turns with a painter that paints what it is given ----------------------------------------------------------


class Scripted:
    """Parts of a checkpoint whose language model means to draw what it is told."""

    def __init__(self, wegen, *meant, words="words"):
        self.wegen, self.config, self.tokenizer, self.vision_id = wegen, wegen.config, wegen.tokenizer, wegen.vision_id
        self.drafts = [PictureDraft(words, each, seed) for seed, each in enumerate(meant)]

    def load_vision(self, pictures):
        return self.wegen

    def load_language(self, rows, positions):
        return self.wegen

    def recall(self, question, answer):
        return Written(self.drafts)


class Painted:
    """A painter that gives the same picture for whatever it is told to paint, and remembers that."""

    def __init__(self, picture):
        self.picture, self.jobs = picture, []

    def paint(self, job):
        self.jobs.append(job)
        return self.picture.expand(len(job.seeds), job.height, job.width, 3)


@pytest.fixture
def wegen(tiny):
    return tiny[0]


def seen(wegen, picture):
    return wegen.encode_pictures([to_pil(picture)])[0]


def refined(wegen, chat, *meant, painted=None, words="words", **request):
    """The result of a turn, and what was painted."""
    painter = Painted(1 - PICTURE if painted is None else painted)
    asked = TurnRequest("make it so", tuple(range(len(meant))), **request)
    return take_turn(asked, chat, painter, Scripted(wegen, *meant, words=words)), painter.jobs


def pointing_elsewhere(own, *cells):
    """Features of which those of some cells point the other way."""
    other = own.clone()
    other[list(cells)] *= -1
    return other


def test_turns_change_what_masks_and_the_model_let_them(wegen):
    own = seen(wegen, PICTURE)
    chat, corner = chat_with(PICTURE, own), torch.zeros(32, 32)
    corner[8:12, 8:12] = 1
    meant = seen(wegen, 1 - PICTURE)
    free, [job] = refined(wegen, chat, meant, settings=SamplerSettings(auto_mask=None))
    assert free.change is None and job.change is None and torch.equal(job.features[0], meant)
    assert torch.equal(free.pictures[0], 1 - PICTURE)
    auto, [job] = refined(wegen, chat, pointing_elsewhere(own, 9), settings=AUTO)
    assert auto.change.sum() == 16 and torch.equal(job.change, auto.change)
    _, [job] = refined(wegen, chat, meant, settings=AUTO, masks=Masks(edit=corner))
    assert torch.equal(job.change[0], corner)
    _, [job] = refined(wegen, chat, pointing_elsewhere(own, 9, 18), settings=AUTO, masks=Masks(keep=corner))
    assert job.change.sum() == 16 and not (job.change[0] * corner).any()


def test_a_batch_has_a_mask_for_each_picture(wegen):
    own = seen(wegen, PICTURE)
    found, _ = refined(
        wegen, chat_with(PICTURE, own), pointing_elsewhere(own, 0), pointing_elsewhere(own, 63), settings=AUTO
    )
    assert [bool(change[0, 0]) for change in found.change] == [True, False]
    assert [bool(change[-1, -1]) for change in found.change] == [False, True]


def test_what_would_change_nothing_changes_nothing_and_is_said(wegen):
    own = seen(wegen, PICTURE)
    chat = chat_with(PICTURE, own)
    found, jobs = refined(wegen, chat, own, settings=AUTO)
    assert not jobs and torch.equal(found.pictures[0], PICTURE) and found.change.sum() == 0
    assert found.notes == (planning.NOT_UNDERSTOOD.format(order="make it so"),)
    assert found.chat.last.answer.described == "x" and found.chat.last.answer.rewrite == "words"
    found, _ = refined(wegen, chat, own, settings=AUTO, words="X")
    assert found.notes == (planning.AS_BEFORE.format(order="make it so"),) and found.change.sum() == 0
    found, _ = refined(wegen, chat, pointing_elsewhere(own, 0), settings=AUTO, words="X")
    assert found.notes == (planning.AS_BEFORE.format(order="make it so"),) and found.change.any()
    # An order that is drawn as it stands may be given twice.
    chat = Chat((*chat.turns[:-1], replace(chat.last, answers=(replace(chat.last.answer, shows="make it so"),))))
    found, _ = refined(wegen, chat, pointing_elsewhere(own, 0), settings=AUTO, words="make it so")
    assert not found.notes and found.change.any()


def test_a_turn_shares_no_memory_with_the_masks_that_it_got(wegen):
    own, mask = seen(wegen, PICTURE), torch.zeros(32, 32)
    mask[8:12, 8:12] = 1
    found, _ = refined(wegen, chat_with(PICTURE, own), seen(wegen, 1 - PICTURE), settings=AUTO, masks=Masks(edit=mask))
    turn = found.chat.last
    before = turn.edit_mask.clone(), turn.answer.change.clone()
    mask.zero_()
    assert torch.equal(turn.edit_mask, before[0]) and torch.equal(turn.answer.change, before[1])


def test_what_is_painted_over_in_part_is_looked_at_anew(wegen):
    own, meant = seen(wegen, PICTURE), seen(wegen, 1 - PICTURE)
    painted = SamplerSettings(auto_mask=None, strength=0.5)
    found, _ = refined(wegen, chat_with(PICTURE, own), meant, settings=painted)
    answer = found.chat.last.answer
    torch.testing.assert_close(answer.features, seen(wegen, answer.picture))


def test_what_masks_keep_back_is_said_and_not_remembered_as_done(wegen):
    """The one place that may change is not the one that was to change."""
    own = seen(wegen, PICTURE)
    chat, corner = chat_with(PICTURE, own), torch.zeros(32, 32)
    corner[:4, :4] = 1
    found, _ = refined(wegen, chat, pointing_elsewhere(own, 62, 63), masks=Masks(edit=corner), painted=PICTURE)
    assert torch.equal(found.pictures[0], PICTURE)
    assert found.notes == (OVERRULED.format(order="make it so"),)
    assert found.reply.endswith("\nx") and found.chat.last.answer.described == "x"


@pytest.mark.parametrize("kept", [False, True], ids=["nothing kept", "a half kept"])
@pytest.mark.parametrize("side", [32, 90])
def test_the_mask_that_is_shown_is_the_one_that_is_used(wegen, side, kept):
    """Of a picture larger than is painted, with and without an area that an earlier turn keeps."""
    picture = torch.rand(side, side, 3, generator=torch.Generator().manual_seed(4))
    keep = torch.zeros(side, side)
    keep[: side // 2] = kept
    own = seen(wegen, picture)
    chat, how = chat_with(picture, own, keep_mask=keep), AutoMask(0.5, 2, 2)
    parts = Scripted(wegen, pointing_elsewhere(own, 20, 44))
    request = TurnRequest("make it so", settings=SamplerSettings(auto_mask=how))
    used = take_turn(request, chat, Painted(torch.rand(1, 1, 3)), parts).change
    [shown] = predict_masks(request, chat, parts)
    assert shown.mask.shape == shown.heat.shape == (side, side) and shown.mask.any()
    assert torch.equal(shown.mask, used[0]) and not (shown.mask * keep).any()


def test_a_brought_picture_that_stays_as_it_is_is_described(wegen, monkeypatch):
    """Once, however many pictures of the turn stay like that."""
    own, described = seen(wegen, PICTURE), []
    describe = finishing._description
    monkeypatch.setattr(finishing, "_description", lambda *given: described.append(1) or describe(*given))
    chat = Chat().add(Turn("", (Answer("", own, PICTURE, 0),)))
    found, _ = refined(wegen, chat, own, own, own, settings=AUTO)
    assert len(found.chat.last.answers) == 3 and len(described) == 1
    assert found.chat.last.answer.described != "" and found.chat.last.answer.described != "words"
    again, _ = refined(wegen, found.chat, own, settings=AUTO)
    assert again.chat.last.answer.described == found.chat.last.answer.described


def test_a_large_picture_of_another_model_that_stays_as_it_is_is_read_whole(wegen, monkeypatch):
    """Only a part of it was looked at to draw; what is remembered belongs to all of it."""
    monkeypatch.setattr(planning, "outcome", lambda *_: "overruled")
    picture = torch.rand(90, 90, 3, generator=torch.Generator().manual_seed(4))
    corner = torch.zeros(90, 90)
    corner[:20, :20] = 1
    chat = Chat().add(Turn("a house", (Answer("a house", None, picture, 0),)))
    found, [job] = refined(wegen, chat, seen(wegen, PICTURE), masks=Masks(edit=corner))
    assert max(job.before[0].shape[:2]) < 90
    answer = found.chat.last.answer
    assert torch.equal(answer.picture, picture) and found.notes == (OVERRULED.format(order="make it so"),)
    assert torch.equal(answer.features, seen(wegen, picture))


def test_a_picture_that_slid_is_moved_back(wegen, monkeypatch):
    monkeypatch.setattr(planning, "outcome", lambda *_: "followed")  # features of random weights tell nothing here
    wegen = replace(wegen, config=replace(wegen.config, size=96))
    ramp = torch.linspace(0, 12, 96)
    waves = 0.5 + 0.25 * torch.sin(ramp)[:, None] * torch.cos(1.7 * ramp)[None] + 0.2 * torch.sin(ramp * ramp / 6)[None]
    before = waves[..., None].expand(-1, -1, 3).clamp(0, 1)
    slid = before.roll((3, 2), (0, 1))
    edit = torch.zeros(96, 96)
    edit[40:60, 40:60] = 1
    chat = chat_with(before, seen(wegen, before))
    meant = pointing_elsewhere(chat.last.answer.features, 27)

    def answer(**settings):
        asked = {"masks": Masks(edit=edit), "settings": SamplerSettings(**settings)}
        return refined(wegen, chat, meant, painted=slid, **asked)[0]

    inside = edit > 0
    aligned = answer(align=True)
    assert any("moved" in note.lower() for note in aligned.notes)
    assert (aligned.pictures[0][inside] - before[inside]).abs().max() < 0.05
    assert (answer().pictures[0][inside] - before[inside]).abs().max() > 0.1


def test_an_answer_keeps_its_change_mask(wegen):
    edit = torch.zeros(32, 32)
    edit[:10] = 1
    white = torch.ones(32, 32, 3)
    chat = chat_with(PICTURE, seen(wegen, PICTURE))
    found, _ = refined(wegen, chat, seen(wegen, white), painted=white, masks=Masks(edit=edit))
    answer = found.chat.last.answer
    assert torch.equal(answer.picture[10:], PICTURE[10:]) and answer.picture[:9].eq(1).all()
    assert torch.equal(answer.change, edit) and answer.seed == 0 and answer.rewrite == "words"
    torch.testing.assert_close(answer.features, seen(wegen, answer.picture))  # what the next turn sees


def test_what_a_caller_paints_later_is_in_no_turn(tiny):
    """Values stay as they are, though a mask that fits already is not copied on the way."""
    pipeline, settings = Pipeline(*tiny), SamplerSettings(steps=1)
    picture, mask = torch.full((32, 32, 3), 0.5), torch.zeros(32, 32)
    begun = begin_with(pipeline.wegen, [picture])
    mask[:10] = 1
    chat = pipeline.refine(begun, "a moon", [1], keep_mask=mask, settings=settings)
    before = chat.kept().clone()
    mask.zero_()
    picture.zero_()
    assert torch.equal(chat.kept(), before) and before.any()
    assert begun.last.answer.picture.eq(0.5).all()


def test_pictures_are_decoded_and_encoded_one_at_a_time(tiny, monkeypatch):
    pipeline, vae, counts = Pipeline(*tiny), tiny[1].vae, []
    for name in ("decode", "encode"):
        method = getattr(vae, name)
        monkeypatch.setattr(vae, name, lambda x, method=method: counts.append(len(x)) or method(x))
    settings, mask = SamplerSettings(steps=1), torch.zeros(32, 32)
    mask[:10] = 1
    chat = pipeline.generate("a cat", [1, 2, 3], settings=settings, size=(32, 32))
    assert counts == [1, 1, 1]
    pipeline.refine(chat, "a moon", [4, 5], edit_mask=mask, settings=settings)
    assert counts == [1] * 6


def test_kept_pixels_stay_over_many_turns(tiny, monkeypatch):
    # A model of random numbers follows no order; whatever it paints has to come through here.
    monkeypatch.setattr(planning, "outcome", lambda *_: "followed")
    pipeline = Pipeline(*tiny)
    settings = SamplerSettings(steps=2)
    chat = pipeline.generate("a cat", [1], settings=settings, size=(45, 29))
    generator = torch.Generator().manual_seed(3)
    ever = torch.zeros(29, 45)
    for number in range(6):
        edit = (torch.rand(29, 45, generator=generator) > 0.9).float() * torch.rand(29, 45, generator=generator)
        edit[edit < 0.01] = 0  # nearly black is black
        ever = torch.maximum(ever, edit)
        chat = pipeline.refine(chat, "a moon", [number], edit_mask=edit, settings=settings)
    first, last = chat.turns[0].answer.picture, chat.last.answer.picture
    assert torch.equal(first[ever == 0], last[ever == 0])
    assert not torch.equal(first, last)
    assert torch.equal(chat.origins() == 0, ever == 0)


@pytest.mark.slow
def test_a_replay_and_a_fork_give_the_same_pictures(tiny):
    pipeline = Pipeline(*tiny)
    settings = SamplerSettings(steps=2, auto_mask=AutoMask(0.02))
    sampling = TextSampling(temperature=1.0)
    chat = pipeline.generate("a cat", [1, 2], settings=settings, sampling=sampling, size=(45, 29)).pick(1)
    keep = torch.zeros(29, 45)
    keep[:9] = 1
    chat = pipeline.refine(chat, "a moon", [3], keep_mask=keep, settings=settings, sampling=sampling)
    chat = pipeline.refine(chat, "a boat", [4, 5], settings=replace(settings, strength=0.5), sampling=sampling)
    assert pipeline.replay(chat) == chat
    fork = pipeline.refine(chat.rewind(2), "a boat", [4, 5], settings=chat.last.settings, sampling=sampling)
    assert fork == chat
    brought = Chat().add(Turn("", (Answer("", chat.last.answer.features, PICTURE, 0),)))
    brought = pipeline.refine(brought, "a boat", [6], settings=settings)
    assert pipeline.replay(brought) == brought
    small = compacted(brought, side=8)
    for told in (lambda: pipeline.replay(small), small.origins):
        with pytest.raises(WeGenError, match=r"\d+ x \d+ pixels"):
            told()


def test_strength_keeps_more_of_what_was_there(tiny):
    _, decoder = tiny
    config = decoder.config
    latent = torch.full((1, 4, 4, 4), 5.0)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    meant = torch.randn(1, config.tokens_per_picture, config.vision.width)

    def distance(strength):
        painted = decoder.paint(meant, noise, 4, 1.0, (latent, torch.ones(1, 1, 4, 4)), strength)
        return float((painted - latent).abs().mean())

    assert distance(0.05) < 0.5 < distance(1.0)
    with pytest.raises(WeGenError, match="strength is 0"):
        SamplerSettings(strength=0)


def test_soft_masks_let_cells_go_later(tiny):
    _, decoder = tiny
    config = decoder.config
    mask = torch.tensor([0.0, 0.3, 0.6, 1.0]).expand(1, 1, 4, 4)
    latent = torch.full((1, 4, 4, 4), 5.0)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    meant = torch.randn(1, config.tokens_per_picture, config.vision.width)
    painted = decoder.paint(meant, noise, 10, 1.0, (latent, mask))
    moved = (painted - latent).abs().mean(dim=(0, 1, 2))
    assert moved[0] == 0 and moved[1] < moved[2] < moved[3]


def test_the_heat_map_shows_heat_and_edges():
    found = predict_edit_mask(features(), features(5), 32, 32, HARD)
    shown = heat_map(PICTURE, found.heat, found.mask)
    assert shown.shape == (32, 32, 3) and float(shown.min()) >= 0 and float(shown.max()) <= 1
    assert shown[7, 12].eq(1).all() and not shown[12, 12].eq(1).all()
    hot, cold = shown[12, 12], shown[28, 28]
    assert hot[0] - hot[2] > cold[0] - cold[2]


def test_a_refinement_that_gets_an_answer_in_words_says_so():
    """The bundled model knows no dragons; the chat stays as it is, and nothing is silently ignored."""
    pipeline = Pipeline.from_folder(BUNDLED)
    chat = begin_with(pipeline.wegen, [from_pil(Image.fromarray(render(sample_scene(Random(3), 2))))])
    with pytest.raises(AnsweredInWords, match="cannot draw that"):
        pipeline.refine(chat, "add a dragon", settings=SamplerSettings(steps=2))
