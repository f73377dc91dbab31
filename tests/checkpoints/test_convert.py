"""Packing checkpoints: exact, checked before it writes, and whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from comfyui_wegen.models import cli
from comfyui_wegen.models.checkpoints import writer
from comfyui_wegen.models.checkpoints.convert import PRECISIONS, convert
from comfyui_wegen.models.checkpoints.random_weights import make_random
from comfyui_wegen.models.checkpoints.reader import PARTS, open_checkpoint, part_file
from comfyui_wegen.models.errors import CheckpointError, WeGenError
from comfyui_wegen.models.painting.loading import load
from safetensors.torch import load_file
from tiny import tiny_config, weights, write_packed

PACKED_FILES = {"config.json", "tokenizer.model", "added_tokens.json", *map(part_file, PARTS)}


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_tensor_in_the_asked_precision(published_dir, tmp_path, dtype):
    assert convert(published_dir, tmp_path / "out", dtype) == tmp_path / "out"
    assert {path.name for path in (tmp_path / "out").iterdir()} == PACKED_FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.config == tiny_config()
    for name, state in weights().items():
        stored = load_file(tmp_path / "out" / part_file(name))
        expected = torch.float32 if name == "vae" else PRECISIONS[dtype]
        assert stored.keys() == state.keys()
        assert all(torch.equal(stored[key], value.to(expected)) for key, value in state.items())
        assert {value.dtype for value in stored.values()} == {expected}


def test_packed_fp32_loads_bit_equal_to_published(published_dir, tmp_path):
    models = [load(published_dir), load(convert(published_dir, tmp_path / "out", "fp32"))]
    for (name, a), (_, b) in zip(*(named_tensors(*model) for model in models), strict=True):
        assert torch.equal(a, b), name


def named_tensors(wegen, decoder):
    for part in (wegen.vision_encoder, wegen.agent, decoder.unet, decoder.vae):
        yield from part.state_dict().items()


def test_a_packed_folder_can_change_precision(published_dir, tmp_path):
    convert(published_dir, tmp_path / "direct", "bf16")
    convert(convert(published_dir, tmp_path / "fp32", "fp32"), tmp_path / "again", "bf16")
    for name in PACKED_FILES:
        assert (tmp_path / "direct" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_progress_counts_bytes(published_dir, tmp_path):
    steps = []
    convert(published_dir, tmp_path / "out", "fp16", lambda *step: steps.append(step))
    total = sum(sum(t.nbytes for t in load_file(tmp_path / "out" / part_file(name)).values()) for name in PARTS)
    assert steps[-1] == (total, total)
    assert all(a < b for (a, _), (b, _) in pairwise(steps))
    assert {t for _, t in steps} == {total}


def test_a_destination_that_exists_is_left_alone(published_dir, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(WeGenError, match="exists already"):
        convert(published_dir, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_precision_is_refused(published_dir, tmp_path):
    with pytest.raises(WeGenError, match=r"'int3'.*fp16, bf16, fp32"):
        convert(published_dir, tmp_path / "out", "int3")


def test_a_full_disk_is_noticed_before(published_dir, tmp_path, monkeypatch):
    usage = writer.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(WeGenError, match="GB left"):
        convert(published_dir, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing(published_dir, tmp_path, monkeypatch):
    synced = writer._synced

    @contextmanager
    def full(path):
        with synced(path) as file:
            yield file
        if path.name == part_file("unet"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_synced", full)
        with pytest.raises(WeGenError, match="is full; what had been written was removed"):
            convert(published_dir, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert convert(published_dir, tmp_path / "out").is_dir()


def test_a_disk_that_fails_is_said_with_the_file(published_dir, tmp_path, monkeypatch, capsys):
    def fails(handle):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fails)
    assert cli.main(["convert", str(published_dir), str(tmp_path / "out")]) == 2
    said = f"wegen: {tmp_path / 'out.partial' / part_file('vision_encoder')}: {os.strerror(errno.EIO)}.\n"
    assert capsys.readouterr().err == said
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_changes_on_the_way_is_named(tmp_path):
    source = write_packed(tmp_path / "source")
    file = source / part_file("unet")

    def cut(done, total):
        file.write_bytes(file.read_bytes()[:-4096])

    with pytest.raises(CheckpointError, match="unet"):
        convert(source, tmp_path / "out", on_progress=cut)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def changed_weights(tmp_path, part, key, change):
    state = {name: value.clone() for name, value in weights()[part].items()}
    change(state[key])
    return write_packed(tmp_path / "source", **{part: state})


@pytest.mark.parametrize(("part", "key"), [("unet", "conv_in.weight"), ("language_model", "llm.model.norm.weight")])
def test_values_beyond_fp16_are_named(tmp_path, part, key):
    source = changed_weights(tmp_path, part, key, lambda tensor: tensor.view(-1)[3:4].fill_(-7e4))
    with pytest.raises(CheckpointError) as error:
        convert(source, tmp_path / "out", "fp16")
    for word in (part_file(part), key, "7e+04", "6.55e+04", "--dtype bf16"):
        assert word in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    convert(source, tmp_path / "out", "bf16")
    assert float(open_checkpoint(tmp_path / "out").parts[part][key].view(-1)[3]) == pytest.approx(-7e4, rel=0.01)


def test_the_vae_may_be_beyond_fp16(tmp_path):
    source = changed_weights(tmp_path, "vae", "decoder.conv_in.weight", lambda tensor: tensor.fill_(1e5))
    convert(source, tmp_path / "out", "fp16")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_values_that_are_not_finite_are_named(tmp_path, value, dtype):
    source = changed_weights(tmp_path, "unet", "conv_out.bias", lambda tensor: tensor[1:2].fill_(value))
    with pytest.raises(CheckpointError, match=r"unet\.safetensors: 'conv_out\.bias' has values that are not finite"):
        convert(source, tmp_path / "out", dtype)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_whole_numbers_are_no_weights(tmp_path):
    state = {**weights()["unet"], "conv_out.bias": torch.zeros(4, dtype=torch.int64)}
    with pytest.raises(CheckpointError, match=r"'conv_out\.bias' holds torch.int64"):
        convert(write_packed(tmp_path / "source", unet=state), tmp_path / "out")


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_written_before_all_parts_fit(tmp_path, part):
    state = dict(weights()[part])
    key = next(reversed(state))
    state[key] = torch.zeros(3)
    source = write_packed(tmp_path / "source", **{part: state})
    with pytest.raises(CheckpointError, match=r"has the shape \[3\]"):
        convert(source, tmp_path / "out", on_progress=lambda *_: pytest.fail("something was written"))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_interrupt_leaves_nothing(published_dir, tmp_path):
    def interrupt(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(published_dir, tmp_path / "out", on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_left_over_of_something_else_is_not_removed(published_dir, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("important")
    with pytest.raises(WeGenError, match="in the way"):
        convert(published_dir, tmp_path / "out")
    assert (tmp_path / "out.partial" / "thesis.txt").read_text() == "important"


@pytest.fixture(params=["this system", "Windows"])
def system(request, monkeypatch):
    """Where there is no `fcntl`, and files can be opened so that they are gone with their handle."""
    if request.param == "this system" or writer.fcntl is None:
        return
    temporary, opened, close = 1 << 30, {}, os.close
    open_file = os.open

    def opening(path, flags, *rest):
        handle = open_file(path, flags & ~temporary, *rest)
        if flags & temporary:
            opened[handle] = path
        return handle

    def closing(handle):
        close(handle)
        if handle in opened:
            os.unlink(opened.pop(handle))

    for name, value in (("O_TEMPORARY", temporary), ("O_NOINHERIT", 0)):
        monkeypatch.setattr(os, name, value, raising=False)
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    monkeypatch.setattr(writer, "fcntl", None)


def test_a_folder_that_another_process_took_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    @contextmanager
    def taken(folder):
        raise WeGenError("taken")
        yield

    monkeypatch.setattr(writer, "held", taken)
    with pytest.raises(WeGenError, match="taken"), writer.writing_to(tmp_path / "out.partial"):
        pytest.fail("it was written to")
    assert (tmp_path / "out.partial").is_dir()


@pytest.mark.usefixtures("system")
def test_two_conversions_to_one_place_do_not_destroy_each_other(published_dir, tmp_path):
    refused = []

    def again(done, total):
        if not refused:
            with pytest.raises(WeGenError, match=r"Another process is writing to .*out\.partial") as error:
                convert(published_dir, tmp_path / "out")
            refused.append(error)

    convert(published_dir, tmp_path / "out", on_progress=again)
    assert refused and open_checkpoint(tmp_path / "out").config
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_left_over_is_not_read_and_removed_at_once(published_dir, tmp_path):
    convert(published_dir, tmp_path / "out.partial")
    with pytest.raises(WeGenError, match="rename it first"):
        convert(tmp_path / "out.partial", tmp_path / "out")
    open_checkpoint(tmp_path / "out.partial")


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from comfyui_wegen.models.checkpoints import convert as module
source, folder = sys.argv[1:]
module._check_parts = lambda checkpoint: None  # it writes nothing, and takes most of the time here
# One child for each moment: it dies as it asks for something to be put on the disk, or halfway through the tensors.
for moment in ["half", *range(20)]:
    child = os.fork()
    if child == 0:
        count, fsync = 0, os.fsync
        def dying(handle):
            global count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            fsync(handle)
        def show(done, total):
            if moment == "half" and done > total / 2:
                os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = dying
        module.convert(source, f"{folder}/{moment}", "fp32", show)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(moment, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "done", flush=True)
    if status == 0:
        break
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes the POSIX way")
def test_killed_at_any_moment_nothing_half_written_loads(published_dir, tmp_path):
    path = os.pathsep.join([str(Path(entry)) for entry in sys.path if entry])
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-c", KILLED, published_dir, tmp_path], env=environment, capture_output=True, text=True
    )
    outcomes = dict(line.split() for line in run.stdout.splitlines())
    moments = list(outcomes)
    # Seven files, their folder, and the folder that it is in.
    assert list(outcomes.values()) == [str(int(signal.SIGKILL))] * 10 + ["done"], run.stderr
    for moment in moments[:-2]:
        assert not (tmp_path / moment).exists()
        partial = tmp_path / f"{moment}.partial"
        # It holds a configuration only once all else is whole.
        if (partial / "config.json").exists():
            assert {entry.name for entry in partial.iterdir()} == PACKED_FILES
        else:
            with pytest.raises(CheckpointError):
                open_checkpoint(partial)
    # The last kill comes after the renaming.
    assert (tmp_path / moments[-2]).exists()
    for moment in (moments[0], moments[4]):
        load(convert(published_dir, tmp_path / moment, "fp32"))
        assert not (tmp_path / f"{moment}.partial").exists()


def test_safetensors_itself_agrees_with_the_layout(published_dir, tmp_path):
    convert(published_dir, tmp_path / "out", "fp16")
    data = (tmp_path / "out" / "unet.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header.pop("__metadata__") == {"format": "pt"}
    ends = [entry["data_offsets"][1] for entry in header.values()]
    assert [entry["data_offsets"][0] for entry in header.values()] == [0, *ends[:-1]]
    assert 8 + length + ends[-1] == len(data)


@pytest.mark.parametrize("published", [False, True])
def test_a_whole_checkpoint_of_such_a_name_is_no_left_over(tmp_path, published):
    made = make_random(tmp_path / "out.partial", "tiny", published=published)
    link = tmp_path / "linked.partial"
    link.symlink_to(tmp_path / "nowhere")
    for name in ("out", "linked"):
        with pytest.raises(WeGenError, match=rf"{name}\.partial is in the way.*Move it"):
            make_random(tmp_path / name, "tiny", published=published)
    assert open_checkpoint(made).config.name == "out.partial" and link.is_symlink()
