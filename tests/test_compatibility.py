"""Files that version 0.1.0 wrote open with today's code; see `files/v0.1/README.md`."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from comfyui_wegen.models.bundled import BUNDLED
from comfyui_wegen.models.checkpoints.convert import convert
from comfyui_wegen.models.checkpoints.reader import open_checkpoint
from comfyui_wegen.models.encoding import look_at
from comfyui_wegen.models.media.chat_file import load_chat, save_chat
from comfyui_wegen.models.media.metadata import KEY, turns_of
from comfyui_wegen.models.network.configuration import WeGenConfig
from comfyui_wegen.models.pipeline import Pipeline
from comfyui_wegen.models.values import Chat, SamplerSettings
from PIL import Image
from safetensors.torch import load_file, save_file
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


def test_a_chat_of_another_vision_encoder_is_looked_at_anew(chat, tmp_path):
    """The bundled encoder of version 0.1 had features of the same shape, and other ones."""
    pipeline = Pipeline.from_folder(BUNDLED)
    assert len(pipeline.wegen.vision_id) == 16
    seen = look_at(pipeline.wegen, chat)
    assert seen.last.answer.seen_by == pipeline.wegen.vision_id != chat.last.answer.seen_by == ""
    again = pipeline.wegen.encode_pictures([chat.last.answer.picture])[0]
    assert torch.equal(seen.last.answer.features, again) and not torch.equal(chat.last.answer.features, again)
    assert torch.equal(seen.last.answer.picture, chat.last.answer.picture)
    refined = pipeline.refine(chat, "make it night", settings=SamplerSettings(steps=1))
    stored = load_chat(save_chat(refined, tmp_path / "refined"))
    assert stored == refined and stored.last.answer.seen_by == pipeline.wegen.vision_id
    own = pipeline.begin_with(Image.open(FILES / "picture.png"))
    assert look_at(pipeline.wegen, own) is own, "its own features stay"
    assert look_at(replace(pipeline.wegen, vision_id="another"), own) is not own


def test_a_vision_encoder_is_known_in_every_precision_and_told_from_others(tmp_path):
    folders = {dtype: tmp_path / dtype for dtype in ("fp32", "fp16", "bf16", "int8")}
    for dtype, folder in folders.items():
        convert(BUNDLED, folder, dtype)
    ids = {open_checkpoint(folder).vision_id for folder in (BUNDLED, *folders.values())}
    assert len(ids) == 1
    file = folders["fp32"] / "vision_encoder.safetensors"
    weights = load_file(file)
    save_file({name: value * 1.02 for name, value in weights.items()}, file)
    assert open_checkpoint(folders["fp32"]).vision_id not in ids
