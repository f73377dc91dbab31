"""Opening checkpoints: both layouts give the same model, and every broken one gets one clear error."""

import errno
import functools
import io
import json
import os
import re
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from comfyui_wegen.models.checkpoints import reader, torch_file
from comfyui_wegen.models.checkpoints.reader import (
    AGENT_FILE,
    LLAMA_CONFIG_FILE,
    PARTS,
    SCHEDULER_FILE,
    TOKENIZER_FOLDER,
    UNET_FOLDER,
    VAE_FOLDER,
    VISION_CONFIG_FILE,
    VISION_FILE,
    checkpoint_kind,
    checkpoint_stamp,
    open_checkpoint,
    part_file,
)
from comfyui_wegen.models.checkpoints.writer import Entry
from comfyui_wegen.models.errors import CheckpointError
from comfyui_wegen.models.painting.loading import load
from safetensors.torch import load_file, save_file
from tiny import tiny_config, weights, write_packed

try:
    import resource
except ImportError:  # Windows
    resource = None


def test_both_layouts_give_the_same_model(packed_dir, published_dir):
    packed, published = open_checkpoint(packed_dir), open_checkpoint(published_dir)
    assert packed.config == published.config == tiny_config()
    assert packed.tokenizer.added_tokens == published.tokenizer.added_tokens
    for name, state in weights().items():
        for checkpoint in (packed, published):
            part = checkpoint.parts[name]
            assert set(part) == set(state)
            assert all(torch.equal(part[key], value) for key, value in state.items())


def test_the_published_folder_may_stand_inside_another_one(published_dir, tmp_path):
    (tmp_path / "wegen_mllm_ckpt").symlink_to(published_dir)
    assert open_checkpoint(tmp_path).config.vision == tiny_config().vision
    assert open_checkpoint(tmp_path).config.name == tmp_path.name


def test_a_change_behind_a_link_is_seen(published, tmp_path):
    """Else a node that loaded it would not load it anew, and say each time that it was changed since."""
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "wegen_mllm_ckpt").symlink_to(published)
    (published / "around").symlink_to(tmp_path / "outer")
    before = checkpoint_stamp(tmp_path / "outer")
    assert before == checkpoint_stamp(tmp_path / "outer")
    os.utime(published / AGENT_FILE, (0, 0))
    assert checkpoint_stamp(tmp_path / "outer") != before


def test_a_loaded_model_does_not_hang_on_the_files(packed_dir, tmp_path):
    folder = shutil.copytree(packed_dir, tmp_path / "copy")
    wegen, _ = load(folder)
    before = wegen.agent.llm.lm_head.weight.clone()
    for name in PARTS:
        with (folder / part_file(name)).open("r+b") as file:
            file.seek(-4096, os.SEEK_END)
            file.write(bytes(4096))
    assert torch.equal(wegen.agent.llm.lm_head.weight, before)


def test_precision_is_that_asked_for_and_the_vae_stays_exact(packed_dir):
    wegen, decoder = load(packed_dir, dtype=torch.bfloat16)
    assert {p.dtype for p in (*wegen.agent.parameters(), *decoder.unet.parameters())} == {torch.bfloat16}
    assert {p.dtype for p in decoder.vae.parameters()} == {torch.float32}


@pytest.fixture
def packed(packed_dir, tmp_path):
    return shutil.copytree(packed_dir, tmp_path / "packed")


@pytest.fixture
def published(published_dir, tmp_path):
    return shutil.copytree(published_dir, tmp_path / "published")


def fails(folder, *words):
    """Loading ends in a CheckpointError that holds all words."""
    with pytest.raises(CheckpointError) as error:
        load(folder)
    for word in words:
        assert str(word) in str(error.value)


def test_no_folder(tmp_path):
    fails(tmp_path / "nothing", "no checkpoint folder", "nothing")
    (tmp_path / "file").write_text("x")
    fails(tmp_path / "file", "no checkpoint folder", "that is a file. Give the folder")
    fails(tmp_path, "no WeGen checkpoint", "config.json", "pytorch_model.bin")
    assert checkpoint_kind(tmp_path) is None


def test_a_folder_that_may_not_be_read_is_no_checkpoint(tmp_path, monkeypatch):
    """Such as `lost+found`, beside others: they are still listed."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    assert checkpoint_kind(tmp_path) is None


PUBLISHED_FILES = [
    VISION_FILE,
    TOKENIZER_FOLDER / "tokenizer.model",
    TOKENIZER_FOLDER / "added_tokens.json",
    LLAMA_CONFIG_FILE,
    UNET_FOLDER / "config.json",
    VAE_FOLDER / "config.json",
    SCHEDULER_FILE,
]


@pytest.mark.parametrize("file", PUBLISHED_FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_missing_published_file_is_named(published, file):
    (published / file).unlink()
    fails(published, published / file, "does not exist")


def test_a_missing_vae_is_named(published):
    (published / VAE_FOLDER / "diffusion_pytorch_model.safetensors").unlink()
    fails(published, "diffusion_pytorch_model.safetensors", published / VAE_FOLDER)


@pytest.mark.parametrize("file", [*map(part_file, PARTS), "tokenizer.model", "added_tokens.json"])
def test_a_missing_packed_file_is_named(packed, file):
    (packed / file).unlink()
    fails(packed, packed / file, "does not exist")


@pytest.mark.parametrize("kept", [0, 3, 100, 5000, -100])
@pytest.mark.parametrize("file", [AGENT_FILE, VISION_FILE, VAE_FOLDER / "diffusion_pytorch_model.safetensors"])
def test_a_truncated_published_file_is_named(published, file, kept):
    path = published / file
    path.write_bytes(path.read_bytes()[:kept])
    fails(published, path, "damaged")


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
@pytest.mark.parametrize("part", PARTS)
def test_a_truncated_packed_file_is_named(packed, part, kept):
    path = packed / part_file(part)
    path.write_bytes(path.read_bytes()[:kept])
    fails(packed, path, "damaged")


@pytest.mark.parametrize("content", [b"GIF89a not a model at all", b"\x80\x04N.", b"[]" * 1000])
def test_a_foreign_file_in_place_of_a_pickle(published, content):
    (published / AGENT_FILE).write_bytes(content)
    fails(published, published / AGENT_FILE)


@pytest.mark.parametrize("file", [LLAMA_CONFIG_FILE, UNET_FOLDER / "config.json", SCHEDULER_FILE, VISION_CONFIG_FILE])
@pytest.mark.parametrize("text", ["{", "[]", "", "[" * 100_000, "1" * 5000], ids=range(5))
def test_json_files_that_hold_no_object(published, file, text):
    (published / file).write_text(text)
    fails(published, published / file)


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        (LLAMA_CONFIG_FILE, {"num_attention_heads": "four"}, ["num_attention_heads", "'four'"]),
        (LLAMA_CONFIG_FILE, {"num_attention_heads": 5}, ["5 heads do not divide the width 32"]),
        (LLAMA_CONFIG_FILE, {"num_attention_heads": 0}, ["0 heads"]),
        (LLAMA_CONFIG_FILE, {"rope_theta": [1]}, ["rope_theta"]),
        (LLAMA_CONFIG_FILE, {"rope_theta": 10**400}, ["rope_theta must be a finite number"]),
        (LLAMA_CONFIG_FILE, {"max_position_embeddings": 2**70}, ["language.context_length", "from 1 to 1048576"]),
        (SCHEDULER_FILE, {"prediction_type": "v_prediction"}, ["prediction_type", "'v_prediction'", "'epsilon'"]),
        (SCHEDULER_FILE, {"beta_end": None, "beta_start": 0.5}, ["Betas must rise"]),
        (UNET_FOLDER / "config.json", {"block_out_channels": [32]}, ["down_block_types has 2 entries for 1 levels"]),
        (UNET_FOLDER / "config.json", {"use_linear_projection": False}, ["use_linear_projection"]),
        (UNET_FOLDER / "config.json", {"layers_per_block": "1"}, ["unet.layers_per_block must be a whole number"]),
        (VAE_FOLDER / "config.json", {"latent_channels": 16}, ["4 latent channels", "16"]),
        (VISION_CONFIG_FILE, {"head_width": 7}, ["multiple of head_width 7", "vision_config.json"]),
        (VISION_CONFIG_FILE, {"layer_norm_eps": "small"}, ["layer_norm_eps"]),
    ],
)
def test_sizes_that_cannot_be(published, file, changes, words):
    path = published / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    fails(published, *words)


def change_agent(folder, change):
    state = torch.load(folder / AGENT_FILE, weights_only=True)
    change(state)
    torch.save(state, folder / AGENT_FILE)


def test_a_mis_shaped_tensor_is_named(published):
    key = "llm.model.layers.1.mlp.down_proj.weight"
    change_agent(published, lambda state: state.update({key: torch.zeros(32, 47)}))
    fails(published, published / AGENT_FILE, key, "[32, 47]", "[32, 48]")


def test_a_missing_tensor_is_named(published):
    key = "llm.model.layers.1.mlp.down_proj.weight"
    change_agent(published, lambda state: state.pop(key))
    fails(published, published / AGENT_FILE, f"lacks 1 of {len(weights()['language_model'])}", key)


def test_a_missing_tensor_that_sizes_are_read_from_is_named(published):
    change_agent(published, lambda state: state.pop("llm.model.embed_tokens.weight"))
    fails(published, published / AGENT_FILE, "llm.model.embed_tokens.weight")


def test_a_tensor_too_many_is_named(published):
    change_agent(published, lambda state: state.update({"llm.score.weight": torch.zeros(1)}))
    fails(published, published / AGENT_FILE, "llm.score.weight", "does not belong")


def test_an_agent_of_another_model_is_refused(published):
    torch.save({"model.embed_tokens.weight": torch.zeros(4, 4)}, published / AGENT_FILE)
    fails(published, published / AGENT_FILE, "model.embed_tokens.weight", "does not belong")


def test_a_state_dict_in_a_wrapper_is_refused(published):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, published / AGENT_FILE)
    fails(published, published / AGENT_FILE, "state dict")


@pytest.mark.parametrize("part", PARTS)
def test_packed_parts_are_checked_against_the_configuration(packed, part):
    path = packed / part_file(part)
    state = load_file(path)
    key = max(state, key=lambda k: state[k].numel())
    save_file({**state, key: torch.zeros(3)}, path)
    fails(packed, path, key, "[3]")
    save_file({**state, "extra": torch.zeros(3)}, path)
    fails(packed, path, "extra")
    del state[key]
    save_file(state, path)
    fails(packed, path, key, "lacks 1")


def test_a_vocabulary_of_another_model_is_refused(published):
    path = published / TOKENIZER_FOLDER / "added_tokens.json"
    added = json.loads(path.read_text())
    path.write_text(json.dumps({**added, "<more>": max(added.values()) + 1}))
    rows = tiny_config().language.vocab_size
    fails(published, f"{rows + 1} tokens", f"{rows} rows")


def test_a_packed_vocabulary_of_another_model_is_refused(packed):
    path = packed / "added_tokens.json"
    added = json.loads(path.read_text())
    added.pop("<box_start>")
    path.write_text(json.dumps(added))
    fails(packed, "added_tokens.json")


class Evil:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("file", [AGENT_FILE, VISION_FILE])
def test_a_pickle_that_wants_to_run_code_does_not(published, tmp_path, file, zipped):
    path, trace = published / file, tmp_path / "it_ran"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "surprise": Evil(trace)}, path, _use_new_zipfile_serialization=zipped)
    fails(published, path, "could run code")
    assert not trace.exists()
    # Loaded carelessly it does run: the test can fail.
    torch.load(path, weights_only=False)
    assert trace.exists()


def test_a_pickle_from_before_zip_files_is_read(published):
    state = torch.load(published / AGENT_FILE, weights_only=True)
    torch.save(state, published / AGENT_FILE, _use_new_zipfile_serialization=False)
    key = "llm.lm_head.weight"
    assert torch.equal(open_checkpoint(published).language_model[key], state[key])


@pytest.mark.parametrize("cut", [1, 0.5, 0.01])
def test_a_pickle_that_is_cut_short_in_use_is_named(published, cut):
    """Were it mapped, reading behind its end would end the process."""
    checkpoint, file = open_checkpoint(published), published / AGENT_FILE
    key = next(reversed(list(checkpoint.language_model)))
    os.truncate(file, int(cut * file.stat().st_size) - 1)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(file))} was changed while it was in use"):
        checkpoint.language_model[key]


def test_a_pickle_that_is_cut_short_while_a_tensor_is_read_is_named(published, monkeypatch):
    checkpoint, file = open_checkpoint(published), published / AGENT_FILE
    whole = reader.file_stamp(file)
    monkeypatch.setattr(reader, "file_stamp", lambda path: whole)
    os.truncate(file, 100)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(file))} was cut short"):
        checkpoint.language_model["llm.lm_head.weight"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_a_pickle_is_not_mapped_and_its_tensors_are_read_one_by_one(published, monkeypatch):
    read, counts = reader._File.read, []
    monkeypatch.setattr(
        reader._File, "read", lambda self, begin, count: counts.append(count) or read(self, begin, count)
    )
    checkpoint = open_checkpoint(published)
    assert str(published) not in Path("/proc/self/maps").read_text() and counts == []
    value = checkpoint.language_model["llm.lm_head.weight"]
    assert counts == [value.nbytes]
    assert torch.equal(value, weights()["language_model"]["llm.lm_head.weight"])


def test_views_and_types_of_a_pickle_are_kept(tmp_path):
    wide = torch.arange(60, dtype=torch.bfloat16).view(6, 10)
    state = {
        "empty": torch.empty(0, 3),
        "turned": wide[2:4, 3:].t(),
        "shared": wide,
        "one": torch.tensor(7, dtype=torch.int64),
        "yes": torch.tensor([True, False]),
        "tuned": torch.nn.Parameter(torch.ones(3)),
        "repeated": torch.tensor([1.5]).expand(4),
    }
    torch.save(state, tmp_path / "state.pt")
    found = {key: entry.read() for key, entry in reader.read_pickle(tmp_path / "state.pt").items()}
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key


def test_tensors_that_are_no_plain_arrays_are_refused(tmp_path):
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="state dict"):
        reader.read_pickle(tmp_path / "state.pt")


def test_a_pickle_whose_contents_were_moved_is_damaged(published):
    """Its archive lists a tensor's numbers with another size than its pickle."""
    file = published / AGENT_FILE
    with zipfile.ZipFile(file) as archive:
        records = {record.filename: archive.read(record) for record in archive.infolist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    fails(published, file, "damaged")


def test_which_file_of_a_diffusers_folder_is_read(published):
    folder = published / VAE_FOLDER
    plain = load_file(folder / "diffusion_pytorch_model.safetensors")
    half = {key: torch.zeros_like(value) for key, value in plain.items()}
    save_file(half, folder / "diffusion_pytorch_model.fp16.safetensors")
    assert open_checkpoint(published).vae.stored["decoder.conv_in.weight"].file.name == (
        "diffusion_pytorch_model.safetensors"
    )
    # The published code asks for the UNet's bf16 file.
    change_agent(published, lambda state: [state.pop(key) for key in list(state) if key.startswith("adapter.unet.")])
    save_file(weights()["unet"], published / UNET_FOLDER / "diffusion_pytorch_model.safetensors")
    assert open_checkpoint(published).unet.stored["conv_in.weight"].file.name.endswith(".bf16.safetensors")


def test_a_folder_with_parts_and_a_foreign_configuration(packed):
    (packed / "config.json").write_text('{"model_type": "llama"}')
    fails(packed, packed / "config.json", "format_version")


def test_configuration_and_weights_of_different_sizes(tmp_path):
    folder = write_packed(tmp_path / "packed")
    values = json.loads((folder / "config.json").read_text())
    values["language"]["layers"] = 3
    (folder / "config.json").write_text(json.dumps(values))
    fails(folder, folder / "language_model.safetensors", "lacks 9", "llm.model.layers.2.")


def _larger_than_memory():
    swap = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("SwapTotal")]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") + int(swap[0].split()[1]) * 1024 + 2**33


@contextmanager
def _no_room_to_map():
    """On Windows all that is mapped copy on write must have room in memory and paging file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**30, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="how much memory there is is read as Linux tells it")
@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_a_file_larger_than_memory_is_opened(tmp_path, kind):
    """As the published one is on many machines. Its large tensor is a hole in the file."""
    rows = _larger_than_memory() // 2**20
    hole, file = rows * 2**20, tmp_path / kind
    if kind == "safetensors":
        end = {"dtype": "F32", "shape": [2], "data_offsets": [hole, hole + 8]}
        header = {"large": {"dtype": "F16", "shape": [rows, 2**19], "data_offsets": [0, hole]}, "small": end}
        text = json.dumps(header).encode()
        with file.open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.seek(hole, os.SEEK_CUR)
            out.write(np.array([1.5, 2.5], np.float32).tobytes())
    else:
        entries = [Entry("large", torch.float16, (rows, 2**19)), Entry("small", torch.float32, (2,))]
        pickled = io.BytesIO()
        torch_file._Pickler(pickled, protocol=2).dump({e.key: torch_file._Tensor(n, e) for n, e in enumerate(entries)})
        with file.open("wb") as out, zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a/data.pkl", pickled.getvalue())
            with archive.open("a/data/0", "w", force_zip64=True) as record:
                out.seek(hole, os.SEEK_CUR)
                record._file_size += hole
            archive.writestr("a/data/1", np.array([1.5, 2.5], np.float32).tobytes())
    with _no_room_to_map():
        found = (reader.read_safetensors if kind == "safetensors" else reader.read_pickle)(file)
        assert file.stat().st_size > hole and found["large"].shape == (rows, 2**19)
        assert found["small"].read().tolist() == [1.5, 2.5]


@pytest.mark.parametrize("file", [AGENT_FILE, VAE_FOLDER / "diffusion_pytorch_model.safetensors"])
@pytest.mark.parametrize(
    ("content", "what"),
    [(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"), (b"\n<!DOCTYPE html>", "web")],
)
def test_what_a_broken_download_leaves_is_named(published, file, content, what):
    (published / file).write_bytes(content)
    fails(published, published / file, what, "download the file itself")


@pytest.mark.parametrize("file", [AGENT_FILE, VAE_FOLDER / "diffusion_pytorch_model.safetensors"])
def test_lack_of_memory_and_of_rights_are_no_damage(published, file, monkeypatch):
    whole = Path.open

    def opened(path, *arguments, error=errno.EACCES, **others):
        if path == published / file:
            raise OSError(error, os.strerror(error), str(path))
        return whole(path, *arguments, **others)

    monkeypatch.setattr(Path, "open", opened)
    fails(published, published / file, "cannot be read", os.strerror(errno.EACCES))
    monkeypatch.setattr(Path, "open", functools.partialmethod(opened, error=errno.ENOMEM))
    with pytest.raises(OSError, match="allocate memory"):
        open_checkpoint(published)


def test_a_mark_before_the_text_of_a_file_is_skipped(packed):
    for name in ("config.json", "added_tokens.json"):
        (packed / name).write_text((packed / name).read_text("utf-8"), "utf-8-sig")
    assert open_checkpoint(packed).config == tiny_config()


def test_weights_of_whole_numbers_are_refused(packed):
    file = packed / part_file("vae")
    state = load_file(file)
    key = next(iter(state))
    save_file({**state, key: state[key].to(torch.int32)}, file)
    fails(packed, file, key, "torch.int32", "floating point")


def _cut_number():
    return b"\x80\x02J\0"


def _other_storage():
    state = io.BytesIO()
    torch.save({"a": torch.ones(3)}, state, _use_new_zipfile_serialization=False)
    before, key, after = state.getvalue().rpartition(re.findall(rb"[0-9]{9,}", state.getvalue())[-1])
    return before + b"0" * len(key) + after


def _packed_contents():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(range(256)))
    content = bytearray(packed.getvalue())
    content[40:60] = b"\xff" * 20  # behind the name
    return content


@pytest.mark.parametrize("damaged", [_cut_number, _other_storage, _packed_contents])
def test_damaged_contents_of_a_pickle_are_named(tmp_path, damaged):
    file = tmp_path / "state.bin"
    file.write_bytes(damaged())
    with pytest.raises(CheckpointError, match=r"state\.bin is damaged or no PyTorch file"):
        reader.read_pickle(file)


def test_what_a_download_has_not_finished_is_no_weights(published):
    """Here the agent brings its own decoder, so that none is needed in a folder of its own."""
    for file in (published / UNET_FOLDER).glob("diffusion_pytorch_model*"):
        file.unlink()
    (published / UNET_FOLDER / "diffusion_pytorch_model.safetensors.incomplete").write_bytes(b"half")
    open_checkpoint(published).unet.check_shapes({key: tuple(value.shape) for key, value in weights()["unet"].items()})
