"""Files that version 0.1.0 wrote open with today's code; see `files/v0.1/README.md`."""

import hashlib
import json

import pytest
from comfyui_wegen.models.media.chat_file import load_chat, save_chat
from comfyui_wegen.models.media.metadata import KEY, turns_of
from comfyui_wegen.models.network.configuration import WeGenConfig
from comfyui_wegen.models.values import Chat
from PIL import Image
from support import REPOSITORY

FILES = REPOSITORY / "tests" / "files" / "v0.1"

# `auto_mask` may be stored in other units today; the rest must come back as it was.
SETTINGS = (
    "steps",
    "guidance_scale",
    "feature_guidance",
    "collection",
    "sampler",
    "scheduler",
    "strength",
    "align",
)


@pytest.fixture(scope="module")
def chat() -> Chat:
    return load_chat(FILES / "chat.safetensors")


def summary(tensor) -> list | None:
    """The shape of a tensor and a hash of its bytes, as `chat.json` holds them."""
    if tensor is None:
        return None
    return [list(tensor.shape), hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]]


def test_a_chat_holds_what_was_saved(chat):
    turns = json.loads((FILES / "chat.json").read_text())["turns"]
    assert len(chat) == len(turns) == 3
    for turn, saved in zip(chat.turns, turns, strict=True):
        assert (turn.instruction, turn.picked, turn.released) == (
            saved["instruction"],
            saved["picked"],
            saved["released"],
        )
        assert summary(turn.edit_mask) == saved["edit_mask"]
        assert summary(turn.keep_mask) == saved["keep_mask"]
        for answer, was in zip(turn.answers, saved["answers"], strict=True):
            assert (answer.rewrite, answer.seed) == (was["rewrite"], was["seed"])
            for name in ("features", "picture", "change"):
                assert summary(getattr(answer, name)) == was[name]
        for reference, was in zip(turn.references, saved["references"], strict=True):
            assert (reference.name, reference.weight) == (was["name"], was["weight"])
            for name in ("features", "picture", "mask"):
                assert summary(getattr(reference, name)) == was[name]


def test_a_chat_keeps_its_settings(chat):
    turns = json.loads((FILES / "chat.json").read_text())["turns"]
    for turn, saved in zip(chat.turns, turns, strict=True):
        was = saved["settings"]
        assert {name: getattr(turn.settings, name) for name in SETTINGS} == {name: was[name] for name in SETTINGS}
        assert (turn.settings.auto_mask is None) == (was["auto_mask"] is None)
    assert chat.last.settings.auto_mask.threshold == 0.25


def test_a_chat_means_the_same(chat):
    assert [turn.is_upload for turn in chat.turns] == [True, False, False]
    kept = chat.kept()
    assert kept[:, :12].min() == 1 and kept[:, 12:].max() == 0
    # Kept pixels are those of the user's picture.
    assert chat.origins()[:, :12].max() == 0
    assert (chat.last.answer.picture[:, :12] == chat.turns[0].answer.picture[:, :12]).all()


def test_a_chat_can_be_saved_again(chat, tmp_path):
    assert load_chat(save_chat(chat, tmp_path / "again")) == chat


@pytest.mark.parametrize("path", sorted((FILES / "config").glob("*.json")), ids=lambda path: path.stem)
def test_a_configuration_is_read(path):
    saved = json.loads(path.read_text())
    config = WeGenConfig.from_json(path.read_text(), path.name)
    assert (config.name, config.size, config.guidance_scale) == (saved["name"], saved["size"], saved["guidance_scale"])
    written = json.loads(config.to_json())
    for part in ("vision", "language", "unet", "vae", "schedule"):
        assert saved[part].items() <= written[part].items()
    # `edit` was called `turn`.
    for name, was in (("text_to_picture",) * 2, ("edit", "turn"), ("rewrite",) * 2, ("ask",) * 2, ("joint",) * 2):
        assert getattr(config.templates, name) == saved["templates"][was]
    assert WeGenConfig.from_json(config.to_json()) == config


def test_a_picture_says_how_it_was_made(chat):
    with Image.open(FILES / "picture.png") as picture:
        turns = json.loads(picture.text[KEY])
    assert [(turn["instruction"], turn["seed"]) for turn in turns] == [
        ("on a meadow by day, a big red house at the lower left.", 5),
        ("make it night", 5),
    ]
    # What is written today is read by whatever read this.
    for turn in turns_of(Chat(), "a cat", chat.last.answer):
        assert set(turns[0]) <= set(turn)
