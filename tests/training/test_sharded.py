"""Two processes that share weights (FSDP2, gloo) compute what one does."""

import json
import math
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from comfyui_wegen.models.data import write_samples
from comfyui_wegen.models.training import loop
from comfyui_wegen.models.training.checkpoint_run import CheckpointRun
from comfyui_wegen.models.training.loop import Rhythm, train
from support import HANGS
from training_samples import recipe_file, samples

STEPS = 20
HALF, MORE = STEPS // 2, 2
"""After so many steps a run is gone on with by another number of processes, for so many more."""
EACH_STEP = Rhythm(math.inf, math.inf, 1)
SCRIPT = """
import json, math, shutil, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from comfyui_wegen.models.training import loop
from comfyui_wegen.models.training.checkpoint_run import CheckpointRun
from comfyui_wegen.models.training.distributed import is_chief
from comfyui_wegen.models.training.loop import Rhythm, train
from comfyui_wegen.models.training.run_state import RunState
# What is saved says whether weights were spread.
spread = set()
save = RunState.save
RunState.save = lambda state, step: (
    spread.update(hasattr(value, "full_tensor") for value in state.parameters.values()), save(state, step)
)
# Every step's own losses, not their running means.
loop._smooth = lambda recent, losses: recent.update({name: float(value) for name, value in losses.items()})
# The processes go on talking until the last run is over.
leave, runs = loop.leave, json.loads(sys.argv[2])
for out, until, copy in runs:
    loop.leave = leave if out == runs[-1][0] else lambda accelerator: accelerator.wait_for_everyone()
    run = CheckpointRun(Path(sys.argv[1]), Path(out))
    train(run.stage(), run.recipe, run.folder, rhythm=Rhythm(math.inf, math.inf, 1), until=until, progress=False)
    if copy and is_chief():
        shutil.copytree(out, copy)
assert spread == {True}, spread
"""

# What accelerate does on cards, which is not what it does on CPUs: one process suffices to see that numbers fit.
CARDS = """
import sys
from pathlib import Path
from types import SimpleNamespace
import torch
import torch.distributed as dist
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from comfyui_wegen.models.training.checkpoint_run import CheckpointRun
from comfyui_wegen.models.training.distributed import sharding
dist.init_process_group("gloo")
device = torch.device("cpu")
for file in map(Path, sys.argv[1:]):
    print(file.name, file=sys.stderr)
    stage = CheckpointRun(file, file.parent / "out" / file.stem).stage()
    batch = stage.batch(0, 2)
    plugin = sharding(stage)
    plugin.set_mixed_precision("bf16")
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision="bf16", is_main_process=True, device=device,
        torch_device_mesh=None,
    )
    model = fsdp2_prepare_model(accelerator, stage)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch, stage.counts(batch).float())
    losses["total"].backward()
    gradients = [value.grad for value in model.parameters() if value.requires_grad and value.grad is not None]
    assert gradients and all(one.dtype == torch.float32 for one in gradients)
    assert all(one.full_tensor().isfinite().all() for one in gradients)
    blocks = {type(module).__name__ for module in model.modules() if type(module).__name__.startswith("FSDP")}
    assert {f"FSDP{name}" for name in stage.blocks if name != "Block"} & blocks and "FSDPBlock" in blocks, blocks
"""


def free_port() -> str:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def train_in_two(file, *runs):
    """Train in two processes, one run after the other: its folder, until which step, and where it is copied to then."""
    command = [sys.executable, "-c", SCRIPT, str(file), json.dumps(runs, default=str)]
    common = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    problems = [one.communicate(timeout=HANGS)[1] for one in started]
    assert [one.returncode for one in started] == [0, 0], "\n".join(problems)


def train_here(file, out, until=None):
    run = CheckpointRun(file, out)
    train(run.stage(), run.recipe, run.folder, rhythm=EACH_STEP, until=until, progress=False)


def losses_of(out):
    """Of each step."""
    [log] = out.rglob("log.jsonl")
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    assert [step.pop("step") for step in steps] == [*range(1, len(steps) + 1)]
    return [{name: value for name, value in step.items() if name != "time"} for step in steps]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_two_processes_equal_one(packed_dir, tmp_path, stage, monkeypatch):
    """The same global batch, whole or spread: losses of 20 steps within 1e-5, also where the one goes on with what the
    other has saved."""
    monkeypatch.setattr(
        loop, "_smooth", lambda recent, losses: recent.update({name: float(value) for name, value in losses.items()})
    )
    write_samples(tmp_path / "learn", samples(24), 10)
    options = {"tokens": 300, "noise": 0.2} if stage == "language_model" else {"noise": 0.2}
    entries = {"steps": STEPS, "options": options, "learning_rate": 1e-3}
    one = recipe_file(tmp_path, tmp_path, packed_dir, stage, "one", batch=4, **entries)
    two = recipe_file(tmp_path, tmp_path, packed_dir, stage, "two", batch=2, shard=True, **entries)
    alone, from_one, from_two, shared = (tmp_path / name for name in ("alone", "from one", "from two", "shared"))
    train_here(one, alone, HALF)
    shutil.copytree(alone, from_one)
    train_here(one, alone)
    train_in_two(two, (shared, HALF, from_two), (shared, STEPS, None), (from_one, HALF + MORE, None))
    train_here(one, from_two, HALF + MORE)
    expected = losses_of(alone)
    for out, count in ((alone, STEPS), (shared, STEPS), (from_one, HALF + MORE), (from_two, HALF + MORE)):
        found = losses_of(out)
        assert len(found) == count, out.name
        for step, (losses, wanted) in enumerate(zip(found, expected, strict=False), start=1):
            assert losses == pytest.approx(wanted, rel=1e-5), (out.name, step)
    states = [torch.load(next(out.rglob("checkpoint.pt")), weights_only=True) for out in (alone, shared)]
    # All weights together: AdamW steps by the sign of gradients, also where those are nothing but rounding. The steps
    # themselves come to about a tenth of the weights.
    whole = [torch.cat([state["model"][name].flatten() for name in sorted(state["model"])]) for state in states]
    assert float((whole[0] - whole[1]).norm() / whole[0].norm()) < 2e-3


@pytest.mark.slow
def test_a_step_on_cards_computes_in_types_that_fit(packed_dir, tmp_path):
    """Of both parts, whole and as LoRA."""
    write_samples(tmp_path / "learn", samples(4), 10)
    entries = {"batch": 2, "shard": True, "steps": 1, "precision": "bf16"}
    files = [
        recipe_file(tmp_path, tmp_path, packed_dir, stage, f"{stage} {kind}", lora=lora, **entries)
        for stage in ("language_model", "unet")
        for kind, lora in (("whole", None), ("lora", {"rank": 2, "base": "bf16"}))
    ]
    places = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    places["MASTER_PORT"] = free_port()
    command = [sys.executable, "-c", CARDS, *map(str, files)]
    done = subprocess.run(command, env=os.environ | places, stderr=subprocess.PIPE, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
