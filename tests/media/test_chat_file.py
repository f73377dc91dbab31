"""Chats as values, and as files that come back to the bit whatever happens while they are written."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from comfyui_wegen.models.errors import WeGenError
from comfyui_wegen.models.media.chat_file import VERSION, ChatFileError, compacted, load_chat, save_chat
from comfyui_wegen.models.media.images import to_pil
from comfyui_wegen.models.metrics.consistency import drift
from comfyui_wegen.models.values import Answer, AutoMask, Chat, Reference, References, SamplerSettings, Turn
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import HANGS, REPOSITORY


def answer(value, change=None, size=(6, 9)):
    generator = torch.Generator().manual_seed(value)
    picture = torch.rand(*size, 3, generator=generator)
    return Answer(f"words {value}", torch.randn(4, 8, generator=generator), picture, value, change)


def mask(top, bottom, size=(6, 9)):
    found = torch.zeros(size)
    found[top:bottom] = 1
    return found


def chat_of(turns):
    reference = Reference("cat", torch.randn(4, 8), torch.rand(3, 5, 3), mask(1, 2, (3, 5)), 0.5)
    chat = Chat().add(Turn("a wish, \u00e4 \N{CAT}", (answer(1), answer(2)), References((reference,)), picked=1))
    for number in range(1, turns):
        settings = SamplerSettings(steps=number, auto_mask=AutoMask(0.25) if number % 2 else None, strength=0.5)
        masks = {"edit_mask": mask(0, number), "keep_mask": mask(5, 6), "released": number == 3}
        given = answer(10 + number, mask(0, number) * 0.7)
        chat = chat.add(Turn(f"turn {number}", (given,), References((reference,)), settings=settings, **masks))
    return chat


def test_a_chat_is_a_value():
    chat = chat_of(3)
    fork = chat.rewind(1).add(chat.turns[2])
    assert len(chat) == 3 and len(fork) == 2 and fork.turns[0] is chat.turns[0]
    assert chat.rewind(1).pick(0).last.answer.seed == 1 and chat.turns[0].picked == 1
    assert chat == Chat(tuple(replace(turn) for turn in chat.turns))
    assert chat != chat.rewind(2)


def test_values_on_two_devices_are_not_the_same():
    """With ComfyUI's --gpu-only masks of some nodes are on the card and those of others are not."""
    one = Turn("x", (answer(1),), keep_mask=torch.ones(6, 9))
    assert one == replace(one, keep_mask=torch.ones(6, 9))
    assert one != replace(one, keep_mask=torch.ones(6, 9, device="meta"))


@pytest.mark.parametrize("turns", [0, -1, 4])
def test_a_chat_goes_back_to_turns_that_it_has(turns):
    with pytest.raises(WeGenError, match=f"turn {turns}; it has turns 1 to 3"):
        chat_of(3).rewind(turns)


def test_what_was_kept_stays_kept_until_it_is_released():
    def turn(keep=None, released=False):
        return Turn("x", (answer(1),), keep_mask=keep, released=released)

    chat = Chat().add(turn())
    assert chat.kept() is None
    chat = chat.add(turn(mask(0, 1))).add(turn()).add(turn(mask(4, 5) * 0.5))
    assert torch.equal(chat.kept(), mask(0, 1) + mask(4, 5) * 0.5)
    chat = chat.add(turn(mask(2, 3), released=True))
    assert torch.equal(chat.kept(), mask(2, 3))
    assert chat.add(turn(released=True)).kept() is None
    with pytest.raises(WeGenError, match=r"pictures of different sizes.*turn on release"):
        chat.add(turn(torch.zeros(3, 2))).kept()


def test_every_pixel_tells_which_turn_it_came_from():
    changes = (None, mask(0, 3), mask(2, 4) * 0.1, mask(9, 9))
    chat = Chat()
    for number, change in enumerate(changes):
        chat = chat.add(Turn("x", (answer(number, change),)))
    assert chat.origins()[:, 0].tolist() == [1, 1, 2, 2, 0, 0]
    assert set(chat.add(Turn("new", (answer(9),))).origins().flatten().tolist()) == {4}


def test_a_saved_chat_comes_back_to_the_bit(tmp_path):
    chat = chat_of(5)
    path = save_chat(chat, tmp_path / "deep" / "chat")
    assert path == tmp_path / "deep" / "chat.safetensors"
    loaded = load_chat(path)
    assert loaded == chat
    for before, after in zip(chat.turns, loaded.turns, strict=True):
        assert after.answer.picture.dtype == torch.float32
        assert torch.equal(before.answer.picture.view(torch.int32), after.answer.picture.view(torch.int32))
    assert not [name for name in os.listdir(tmp_path / "deep") if name != "chat.safetensors"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_a_chat_that_was_read_lets_go_of_its_file(tmp_path):
    """Else it could not be written again on Windows."""
    loaded = load_chat(save_chat(chat_of(5), tmp_path / "chat"))
    assert loaded.last and str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_pictures_of_8_bits_take_8_bits(tmp_path):
    picture = (torch.rand(50, 50, 3) * 255).round() / 255
    path = save_chat(Chat().add(Turn("x", (Answer("", torch.zeros(4, 8), picture, 0),))), tmp_path / "chat")
    assert path.stat().st_size < 50 * 50 * 3 + 4096
    assert torch.equal(load_chat(path).last.answer.picture, picture)


def test_equal_pictures_are_stored_once(tmp_path):
    path = save_chat(chat_of(6), tmp_path / "chat")
    assert sum(tensor.shape == (3, 5, 3) for tensor in load_file(path).values()) == 1


def _cut(path, content):
    path.write_bytes(content[: len(content) // 2])


def _noise(path, content):
    path.write_bytes(Random(1).randbytes(500))


def _newer(path, content):
    save_file(load_file(path), path, {"format": "wegen_chat", "version": str(VERSION + 1), "chat": "{}"})


def _other(path, content):
    save_file({"x": torch.zeros(1)}, path)


def _broken_json(path, content):
    save_file({"x": torch.zeros(1)}, path, {"format": "wegen_chat", "version": "1", "chat": '{"turns": [{}]}'})


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_cut, "damaged"), (_noise, "damaged"), (_newer, "Update"), (_other, "not a chat"), (_broken_json, "damaged")],
)
def test_a_file_that_is_no_chat_says_so(tmp_path, damage, words):
    path = save_chat(chat_of(2), tmp_path / "chat")
    damage(path, path.read_bytes())
    with pytest.raises(ChatFileError, match=words) as caught:
        load_chat(path)
    assert str(path) in str(caught.value)


def test_what_cannot_be_saved_or_found(tmp_path):
    with pytest.raises(ChatFileError, match="no turns"):
        save_chat(Chat(), tmp_path / "chat")
    with pytest.raises(ChatFileError, match="There is no chat"):
        load_chat(tmp_path / "missing.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(ChatFileError, match="could not be written"):
        save_chat(chat_of(1), tmp_path / "file" / "chat")


@pytest.mark.slow
def test_200_kills_while_saving_never_cost_the_chat_before(tmp_path):
    # In a process of its own: one that ran other tests is large, and to copy and to end it takes longer than to save.
    command = [sys.executable, str(REPOSITORY / "tests" / "killed_saves.py"), str(tmp_path / "chat.safetensors"), "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr


def test_a_chat_is_saved_through_a_link(tmp_path):
    real = save_chat(chat_of(1), tmp_path / "real")
    (tmp_path / "link.safetensors").symlink_to(real)
    save_chat(chat_of(2), tmp_path / "link")
    assert (tmp_path / "link.safetensors").is_symlink()
    assert len(load_chat(real)) == 2


def test_names_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = save_chat(chat_of(1), tmp_path / ("图" * 80))
    assert load_chat(path) and [one.name for one in tmp_path.iterdir()] == [path.name]


def test_the_words_can_be_read_without_us(tmp_path):
    from safetensors import safe_open

    with safe_open(save_chat(chat_of(2), tmp_path / "chat"), framework="pt") as file:
        record = json.loads(file.metadata()["chat"])
    assert [turn["instruction"] for turn in record["turns"]] == ["a wish, \u00e4 \N{CAT}", "turn 1"]


def test_a_compact_chat_goes_on_as_the_whole_one_and_is_smaller(tmp_path):
    chat = chat_of(5)
    small = compacted(chat)
    assert small.last == chat.last
    assert [len(turn.answers) for turn in small.turns] == [1] * 5
    for before, after in zip(chat.turns, small.turns, strict=True):
        assert (after.answer.rewrite, after.answer.seed) == (before.answer.rewrite, before.answer.seed)
        assert torch.equal(after.answer.features, before.answer.features)
        # As ComfyUI saves both.
        assert torch.equal((after.answer.picture * 255).byte(), (before.answer.picture * 255).byte())
        if before.answer.change is not None:
            assert torch.equal(after.answer.change > 0, before.answer.change > 0)
    assert torch.equal(small.kept(), chat.kept()) and torch.equal(small.origins(), chat.origins())
    sizes = [save_chat(one, tmp_path / name).stat().st_size for name, one in (("a", chat), ("b", small))]
    assert sizes[1] < 0.9 * sizes[0]
    assert load_chat(tmp_path / "b") == small


def test_pictures_that_a_model_has_yet_to_look_at_stay_the_same_to_it():
    picture = torch.full((8, 8, 3), 100.7 / 255)
    foreign = Answer("", None, picture, 0)
    chat = Chat().add(Turn("", (foreign,))).add(Turn("next", (foreign,)))
    small = compacted(chat).turns[0].answer.picture
    assert np.array_equal(np.asarray(to_pil(small)), np.asarray(to_pil(picture)))


def test_files_of_the_panel_grow_by_a_small_copy_a_turn(tmp_path):
    """What comes next hangs on the last picture, on words, features and what is kept; earlier pictures may be small."""
    size = (60, 90)
    chat = Chat()
    for number in range(10):
        keep = mask(number, number + 1, size) if number in (2, 5) else None
        chat = chat.add(Turn(f"turn {number}", (answer(number, mask(0, 9, size), size),), keep_mask=keep))
    # One that another model painted, and that the model has not looked at yet.
    foreign = replace(answer(3, size=size), features=None)
    chat = replace(chat, turns=(*chat.turns[:3], replace(chat.turns[3], answers=(foreign,)), *chat.turns[4:]))
    small = compacted(chat, side=12)
    assert small.last == chat.last and torch.equal(small.kept(), chat.kept())
    for number, (before, after) in enumerate(zip(chat.turns[:-1], small.turns[:-1], strict=True)):
        assert after.answer.size == before.answer.size == size
        assert after.answer.picture.shape == ((60, 90, 3) if number == 3 else (8, 12, 3))
        if number != 3:
            assert torch.equal(after.answer.features, before.answer.features)
            mean = before.answer.picture[:7, :7].mean() - after.answer.picture[0, 0].mean()
            assert mean.abs() < 0.05
    again = load_chat(save_chat(small, tmp_path / "small"))
    assert again == small and compacted(again, side=12) == small
    assert (tmp_path / "small.safetensors").stat().st_size < 0.3 * save_chat(chat, tmp_path / "whole").stat().st_size
    assert compacted(chat, side=90) == compacted(chat)
    with pytest.raises(WeGenError, match=r"cannot go back to turn 9: .* 12 x 8 pixels, not in 90 x 60"):
        again.rewind(9)
    assert again.rewind(10) == again and again.rewind(4).last.answer.picture.shape == (60, 90, 3)
    with pytest.raises(WeGenError, match="drift of this chat cannot be told"):
        drift(again)


def _with_first(chat, name, harmed):
    """The chat with some values of the first of a turn's answers, or references, exchanged."""
    [turn, *turns] = chat["turns"]
    [first, *others] = turn[name]
    return {**chat, "turns": [{**turn, name: [{**first, **harmed}, *others]}, *turns]}


def _with_twice(chat, name):
    [turn, *turns] = chat["turns"]
    return {**chat, "turns": [{**turn, name: [*turn[name], *turn[name]]}, *turns]}


def _with_settings(chat, harmed):
    [turn, *turns] = chat["turns"]
    return {**chat, "turns": [{**turn, "settings": {**turn["settings"], **harmed}}, *turns]}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda chat: {**chat, "turns": []}, "no turns"),
        (lambda chat: {**chat, "turns": {}}, "no turns"),
        *(
            (lambda chat, harmed=harmed: {**chat, "turns": [{**chat["turns"][0], **harmed}]}, f"damaged.*{said}")
            for harmed, said in (
                ({"instruction": None}, "instruction is None; it must be a text"),
                ({"released": "no"}, "released is 'no'; it must be true or false"),
                ({"picked": True}, "picked is True"),
                ({"keep_mask": "00001"}, r"of shape \[\d+, \d+, 3\], .* where \[height, width\]"),
            )
        ),
        *(
            (lambda chat, harmed=harmed: _with_first(chat, "answers", harmed), f"damaged.*{said}")
            for harmed, said in (
                ({"picture": None}, "None"),
                ({"picture": "00000"}, "where .* is expected"),
                ({"features": "00001"}, "where .* is expected"),
                ({"rewrite": 5}, "rewrite is 5"),
                ({"seed": "x"}, "seed is 'x'; it must be a whole number"),
                *(
                    ({"reduced_from": size}, "reduced_from is .*; it must be height and width")
                    for size in ([float("inf"), 3], "12", [-5, -3], [5, 0], [5.0, 3.0], [True, 3], [5], [5, 3, 1], [])
                ),
            )
        ),
        (lambda chat: _with_twice(chat, "references"), "damaged.*already is a reference called 'cat'"),
        (lambda chat: _with_settings(chat, {"steps": "x"}), "damaged.*steps is 'x'"),
        (lambda chat: _with_settings(chat, {"wonder": 1}), "saved by a newer WeGen: .*'?wonder.*Update the pack"),
    ],
)
def test_a_chat_with_a_damaged_record_says_so(tmp_path, harm, said):
    path = save_chat(chat_of(2), tmp_path / "chat")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["chat"] = json.dumps(harm(json.loads(metadata["chat"])))
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(ChatFileError, match=said):
        load_chat(path)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("picture", torch.zeros(6, 9, 3, dtype=torch.float8_e4m3fn), "float8_e4m3fn, where .* is expected"),
        ("picture", torch.zeros(6, 9, 3, dtype=torch.int32), "int32, where .* is expected"),
        ("picture", torch.zeros(0, 0, 3), "picture 9 of shape"),
        ("features", torch.zeros(4, 8, dtype=torch.float8_e5m2), "float8_e5m2, where .* is expected"),
        ("change", torch.zeros(7, 9), r"change of shape \[7, 9\] beside a picture of \[6, 9, 3\]"),
        ("change", torch.full((6, 9), torch.nan), "mask 9 of shape .* not of numbers"),
        ("edit_mask", torch.full((6, 9), torch.inf), "mask 9 of shape .* not of numbers"),
        ("keep_mask", torch.zeros(6, 0), "mask 9 of shape"),
    ],
)
def test_a_tensor_that_nothing_can_be_done_with_is_damage(tmp_path, name, tensor, said):
    path = save_chat(chat_of(1), tmp_path / "chat")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    record = json.loads(metadata["chat"])
    [turn] = record["turns"]
    (turn if name in turn else turn["answers"][0])[name] = "9"
    save_file({**load_file(path), "9": tensor}, path, metadata={**metadata, "chat": json.dumps(record)})
    with pytest.raises(ChatFileError, match=f"damaged.*{said}"):
        load_chat(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pictures_of_other_precisions_come_back(tmp_path, dtype):
    one = replace(answer(1, mask(0, 3)), picture=torch.rand(6, 9, 3).to(dtype))
    assert load_chat(save_chat(Chat().add(Turn("x", (one,))), tmp_path / "chat")).last.answer == one


def test_halves_of_signs_do_not_keep_a_chat_from_being_saved(tmp_path):
    half, whole = "a \ud800 house", "a \ufffd house"
    one = replace(answer(1), rewrite=half, shows=half)
    assert one.rewrite == one.shows == whole
    path = save_chat(Chat().add(Turn(half, (one,))), tmp_path / "chat")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    record = _with_settings(json.loads(metadata["chat"]), {"sampler": half})
    metadata["chat"] = json.dumps(_with_first(record, "answers", {"rewrite": half, "shows": half, "seen_by": half}))
    save_file(load_file(path), path, metadata=metadata)
    chat = load_chat(path)
    assert chat.last.answer == replace(one, seen_by=whole) and load_chat(save_chat(chat, path)) == chat


@pytest.mark.parametrize("version", ["\u00b2", "9" * 5000, "1" * 10])
def test_a_version_that_is_no_number_is_no_chat(tmp_path, version):
    path = save_chat(chat_of(1), tmp_path / "chat")
    save_file(load_file(path), path, metadata={"format": "wegen_chat", "version": version, "chat": "{}"})
    with pytest.raises(ChatFileError, match="not a chat"):
        load_chat(path)
