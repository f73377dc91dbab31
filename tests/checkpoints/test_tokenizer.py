"""The tokenizer: added tokens, the white space around them, and the way back."""

import json

import pytest
from comfyui_wegen.models.checkpoints.tokenizer import Tokenizer, picture_token
from comfyui_wegen.models.errors import CheckpointError
from tiny import added_tokens, tiny_tokenizer, tokenizer_model

PICTURE = "<img>" + "".join(picture_token(i) for i in range(64)) + "</img>"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def test_a_picture_is_its_66_tokens(tokenizer):
    assert tokenizer.encode(PICTURE, begin=False) == list(tokenizer.picture_ids)
    assert len(tokenizer.picture_ids) == 66
    assert tokenizer.picture_ids[0] == tokenizer.picture_begin_id
    assert tokenizer.picture_ids[-1] == tokenizer.picture_end_id


def test_plain_text_is_sentencepiece_behind_the_begin_token(tokenizer):
    text = "a red cat, 12 trees — café 猫"
    assert tokenizer.encode(text) == [tokenizer.begin_id, *tokenizer.pieces.encode(text)]
    assert tokenizer.decode(tokenizer.encode(text, begin=False)) == text
    assert tokenizer.encode("") == [tokenizer.begin_id]


def test_white_space_around_added_tokens_is_dropped_and_only_there(tokenizer):
    tight, loose = tokenizer.encode("cat<loc-7>boat"), tokenizer.encode(" \n cat \n <loc-7>\t  boat  ")
    expected = [added_tokens()["<loc-7>"]]
    assert tight == [1, *tokenizer.pieces.encode("cat"), *expected, *tokenizer.pieces.encode("boat")]
    # The outer white space of the whole text stays.
    assert loose == [1, *tokenizer.pieces.encode(" \n cat"), *expected, *tokenizer.pieces.encode("boat  ")]


def test_white_space_between_added_tokens_vanishes(tokenizer):
    assert tokenizer.encode("<img> \n </img>", begin=False) == tokenizer.encode("<img></img>", begin=False)


def test_the_longest_added_token_is_taken(tokenizer):
    assert tokenizer.encode("<loc-12>", begin=False) == [added_tokens()["<loc-12>"]]


def test_sequence_tokens_in_text_are_recognised(tokenizer):
    assert tokenizer.encode("<s>a</s>", begin=False) == [1, *tokenizer.pieces.encode("a"), 2]


@pytest.mark.parametrize("text", [PICTURE, "<img>", "</s>", "a<s>b", "<unk>", "<<img>img>", "< img><img_00003>"])
def test_escaped_text_holds_no_picture_and_no_sequence_tokens(tokenizer, text):
    ids = tokenizer.encode(tokenizer.escape(text), begin=False)
    assert not {*tokenizer.picture_ids, tokenizer.begin_id, tokenizer.end_id} & set(ids)
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_escape_leaves_everything_else(tokenizer):
    text = "a <loc-3> in <box_start>, x < y > z, {text} 100% \\1"
    assert tokenizer.escape(text) == text


def test_decode_sets_added_tokens_apart(tokenizer):
    ids = tokenizer.encode("<s>cat <img></img><loc-3> boat</s>", begin=False)
    # The published tokenizer's own gap for `</s>` comes before the word, not after it.
    assert tokenizer.decode(ids) == "<s>cat <img> </img> <loc-3>  boat</s>"


def test_decode_can_skip_what_is_not_text(tokenizer):
    ids = tokenizer.encode(f"cat {PICTURE} boat <loc-3></s>")
    assert tokenizer.decode(ids, skip_special=True) == "cat boat <loc-3>"


def test_text_that_is_no_text_does_not_stop_it(tokenizer):
    assert tokenizer.encode("a\ud800b") == tokenizer.encode("a?b")
    assert tokenizer.decode(tokenizer.encode("a\0b", begin=False)) == "a\0b"


def test_vocab_size_counts_added_tokens(tokenizer):
    assert tokenizer.vocab_size == tokenizer.pieces.get_piece_size() + len(added_tokens())


@pytest.mark.parametrize(
    ("model", "added", "word"),
    [
        (b"no model", None, "not a SentencePiece model"),
        (b"", None, "not a SentencePiece model"),
        (None, {"<img>": 900, "</img>": 901}, "lacks 64 picture tokens, first of them '<img_00000>'"),
        (None, {**added_tokens(), "<patch>": 5}, "'<patch>' the id 5"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, model, added, word):
    (tmp_path / "tokenizer.model").write_bytes(tokenizer_model() if model is None else model)
    (tmp_path / "added_tokens.json").write_text(json.dumps(added or added_tokens()))
    with pytest.raises(CheckpointError) as error:
        Tokenizer.from_folder(tmp_path)
    assert word in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"<img>": "900"}', '{"<img>": true}', "[" * 100_000])
def test_added_tokens_that_are_no_mapping_are_refused(tmp_path, text):
    (tmp_path / "tokenizer.model").write_bytes(tokenizer_model())
    (tmp_path / "added_tokens.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"added_tokens\.json"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("missing", ["tokenizer.model", "added_tokens.json"])
def test_a_missing_file_is_named(tmp_path, missing):
    for name in {"tokenizer.model", "added_tokens.json"} - {missing}:
        (tmp_path / name).write_bytes(tokenizer_model())
    with pytest.raises(CheckpointError, match=missing):
        Tokenizer.from_folder(tmp_path)
