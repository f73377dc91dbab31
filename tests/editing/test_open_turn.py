"""Turns that other models paint: what they are told, what becomes of their pictures, and how WeGen reads them later."""

from dataclasses import replace

import pytest
import torch
from comfyui_wegen.models.editing.open_turn import BLANK, OpenTurn, answer, begin_unseen, cut_out, side_by_side
from comfyui_wegen.models.encoding import look_at
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.chat_file import load_chat, save_chat
from comfyui_wegen.models.options import LARGEST_SEED
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.prompting.conversation import picture_prompt
from comfyui_wegen.models.values import Chat, Reference, References, SamplerSettings

HEIGHT, WIDTH = 48, 64


def noise(seed: int, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return (torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed)) * 255).round() / 255


def left_half() -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[:, : WIDTH // 2] = 1
    return mask


@pytest.fixture
def chat() -> Chat:
    return begin_unseen(noise(1))


def test_a_first_picture_of_no_numbers_is_refused():
    with pytest.raises(WeGenError, match="no number"):
        answer(OpenTurn("a cat", width=WIDTH, height=HEIGHT), torch.full((1, HEIGHT, WIDTH, 3), torch.nan))


def test_a_picture_beyond_the_range_can_be_saved_with_its_chat(tmp_path):
    bright = noise(1)
    bright[0, 0], bright[0, 1] = torch.inf, -3
    for chat in (begin_unseen(bright), answer(OpenTurn("a cat", width=WIDTH, height=HEIGHT), bright[None]).chat):
        loaded = load_chat(save_chat(chat, tmp_path / "bright"))
        picture = loaded.last.answer.picture
        assert picture[0, 0].tolist() == [1, 1, 1] and picture[0, 1].tolist() == [0, 0, 0]
        assert torch.equal(picture[1:], bright[1:])


def test_a_turn_is_not_answered_by_nothing(chat):
    with pytest.raises(WeGenError, match="the batch is empty"):
        answer(OpenTurn("a cat", chat), torch.zeros(0, HEIGHT, WIDTH, 3))


def test_a_first_picture_is_taken_as_it_is():
    turn = OpenTurn("  a @cat ", seed=5, width=WIDTH, height=HEIGHT)
    assert (turn.instruction, turn.words, turn.before, turn.change) == ("a @cat", "a cat", None, None)
    assert turn.picture.shape == (HEIGHT, WIDTH, 3) and turn.picture.unique().tolist() == [BLANK]
    answered = answer(turn, torch.stack([noise(2), noise(3)]))
    (made,) = answered.chat.turns
    assert [one.seed for one in made.answers] == [5, 6] and made.is_foreign and not made.is_upload
    assert torch.equal(made.answers[1].picture, noise(3))
    assert answered.report.startswith("1. The first picture")
    last = answer(replace(turn, seed=LARGEST_SEED), torch.stack([noise(2), noise(3)])).chat.last
    assert [one.seed for one in last.answers] == [LARGEST_SEED, 0]


def test_kept_pixels_come_back_to_the_bit(chat):
    turn = OpenTurn("make it night", chat, keep_mask=left_half(), seed=3, width=9, height=9)
    assert (turn.width, turn.height) == (WIDTH, HEIGHT)
    assert torch.equal(turn.change, 1 - left_half()) and torch.equal(turn.picture, noise(1))
    answered = answer(turn, 1 - noise(1)[None], feather=4, match_tone=True)
    picture = answered.chat.last.answer.picture
    assert torch.equal(picture[:, : WIDTH // 2], noise(1)[:, : WIDTH // 2])
    assert not torch.equal(picture[:, WIDTH // 2 :], noise(1)[:, WIDTH // 2 :])
    assert "50.0% of the pixels are those from before" in answered.report
    assert torch.equal(answered.chat.kept(), left_half())
    # What was kept once stays kept, until a turn releases it.
    later = OpenTurn("make it red", answered.chat)
    picture = answer(later, noise(9)[None]).chat.last.answer.picture
    assert torch.equal(picture[:, : WIDTH // 2], noise(1)[:, : WIDTH // 2])
    free = answer(replace(later, release=True), noise(9)[None])
    assert torch.equal(free.chat.last.answer.picture, noise(9)) and free.chat.kept() is None


def test_sizes_and_channels(chat):
    turn = OpenTurn("x", chat, edit_mask=left_half())
    for height, width, channels in ((96, 128, 3), (50, 66, 4), (HEIGHT, WIDTH, 1)):
        picture = torch.rand(1, height, width, channels)
        made = answer(turn, picture).chat.last.answer
        assert made.picture.shape == (HEIGHT, WIDTH, 3) and made.change.shape == (HEIGHT, WIDTH)
        assert torch.equal(made.picture[:, WIDTH // 2 :], noise(1)[:, WIDTH // 2 :])
    with pytest.raises(WeGenError, match="proportions"):
        answer(turn, torch.rand(1, 64, 64, 3))
    whole = answer(OpenTurn("x", chat), torch.rand(1, 96, 128, 3)).chat.last.answer
    assert whole.picture.shape == (HEIGHT, WIDTH, 3) and whole.change is None


def test_what_is_wrong_is_said(chat):
    with pytest.raises(WeGenError, match="instruction is empty"):
        OpenTurn("  ", chat)
    everything = OpenTurn("x", chat, keep_mask=torch.ones(HEIGHT, WIDTH))
    with pytest.raises(WeGenError, match="no pixel that may change"):
        _ = everything.change


def test_references_by_number_and_by_name():
    references = References(tuple(Reference(name, None, noise(4)) for name in ("cat", "hat")))
    turn = OpenTurn("x", references=references)
    cat, hat = references
    assert [turn.reference(name, 0) for name in ("", "hat", " @hat", "dog")] == [cat, hat, hat, None]
    assert turn.reference("", 1) == hat and turn.reference("", 2) is None


def test_a_reference_is_grey_outside_its_area():
    mask = torch.zeros(32, 48)
    mask[:, :24] = 1
    picture = noise(1, 32, 48)
    shown = cut_out(Reference("cat", None, picture, mask))
    assert torch.equal(shown[:, :24], picture[:, :24]) and (shown[:, 24:] == BLANK).all()
    whole = cut_out(Reference("cat", None, picture))
    assert torch.equal(whole, picture) and whole.data_ptr() != picture.data_ptr()  # what is done to it changes no chat


def test_references_side_by_side():
    batch = side_by_side([noise(1), noise(2, 64, 16), noise(3, 10, 200)])
    assert batch.shape == (3, HEIGHT, WIDTH, 3)
    assert torch.equal(batch[0], noise(1))
    assert (batch[1, :, 0] == BLANK).all() and (batch[1, :, WIDTH // 2] != BLANK).any()
    assert (batch[2, 0] == BLANK).all() and (batch[2, HEIGHT // 2] != BLANK).any()


def test_foreign_turns_in_a_chat_file(chat, tmp_path):
    references = References((Reference("cat", None, noise(4), left_half(), 0.5),))
    turn = OpenTurn("put a @cat on it", chat, references, keep_mask=left_half())
    made = answer(turn, noise(2)[None]).chat
    again = load_chat(save_chat(made, tmp_path / "chat"))
    assert again == made and again.last.is_foreign and again.last.references == references


def test_wegen_goes_on_with_a_foreign_chat(tiny, chat):
    wegen, decoder = tiny
    pipeline = Pipeline(wegen, decoder)
    references = References((Reference("cat", None, noise(4)),))
    foreign = answer(OpenTurn("put a @cat on it", chat, references, keep_mask=left_half()), noise(2)[None]).chat
    seen = look_at(wegen, foreign)
    tokens = wegen.config.tokens_per_picture
    for turn in seen.turns:
        assert turn.answer.features.shape[0] == tokens
    assert all(reference.features.shape[0] == tokens for reference in seen.last.references)
    assert [turn.answer.picture is old.answer.picture for turn, old in zip(seen.turns, foreign.turns, strict=True)]
    prompt = picture_prompt(wegen.config, wegen.tokenizer, seen, "make it red", References())
    assert all(features is not None for features in prompt.features)
    assert look_at(wegen, seen) == seen
    long = Chat(foreign.turns * 200)
    old, *_, new = look_at(wegen, long).turns
    assert old.is_foreign and not new.is_foreign
    assert picture_prompt(wegen.config, wegen.tokenizer, look_at(wegen, long), "x", References()).features
    settings = SamplerSettings(steps=1)
    refined = pipeline.refine(foreign, "make it red", settings=settings)
    assert refined.rewind(2) == foreign, "The chat itself stays as other models left it."
    kept = refined.last.answer.picture[:, : WIDTH // 2]
    assert torch.equal(kept, noise(1)[:, : WIDTH // 2])
    replayed = pipeline.replay(refined)
    assert replayed.rewind(2) == foreign and torch.equal(replayed.last.answer.picture, refined.last.answer.picture)
