"""Two processes that share weights (FSDP2, gloo) compute what one does."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from comfyui_wegen.models.data import write_samples
from training_samples import recipe_file, samples

STEPS = 20
SCRIPT = """
import json, math, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from comfyui_wegen.models.training import loop
from comfyui_wegen.models.training.checkpoint_run import CheckpointRun
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
run = CheckpointRun(Path(sys.argv[1]), Path(sys.argv[2]))
until = int(sys.argv[3]) or None
train(run.stage(), run.recipe, run.folder, rhythm=Rhythm(math.inf, math.inf, 1), until=until, progress=False)
assert spread == {run.recipe.shard and int(sys.argv[4]) > 1}, spread
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
stage = CheckpointRun(Path(sys.argv[1]), Path(sys.argv[2])).stage()
batch = stage.batch(0, 2)
plugin = sharding(stage)
plugin.set_mixed_precision("bf16")
device = torch.device("cpu")
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


def run(file, out, processes, until=0):
    """Train in processes of their own; gives the logged losses of each step."""
    base = {**os.environ, "OMP_NUM_THREADS": "1"}
    with socket.socket() as probe:  # a port that nothing listens on
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SCRIPT, str(file), str(out), str(until), str(processes)]
    started = []
    for rank in range(processes):
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
        places["MASTER_PORT"] = port
        environment = base | ({key: str(value) for key, value in places.items()} if processes > 1 else {})
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    problems = [one.communicate(timeout=1500)[1] for one in started]
    assert [one.returncode for one in started] == [0] * processes, "\n".join(problems)
    [log] = out.rglob("log.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_two_processes_equal_one(packed_dir, tmp_path, stage):
    """The same global batch, whole or spread: losses of 20 steps within 1e-5; the run goes on in one process."""
    write_samples(tmp_path / "learn", samples(24), 10)
    options = {"tokens": 300, "noise": 0.2} if stage == "language_model" else {"noise": 0.2}
    entries = {"steps": STEPS, "options": options, "learning_rate": 1e-3}
    one = recipe_file(tmp_path, tmp_path, packed_dir, stage, "one", batch=4, **entries)
    two = recipe_file(tmp_path, tmp_path, packed_dir, stage, "two", batch=2, shard=True, **entries)
    alone = run(one, tmp_path / "alone", 1)
    shared = run(two, tmp_path / "shared", 2)
    assert len(alone) == len(shared) == STEPS
    for left, right in zip(alone, shared, strict=True):
        for name in left.keys() - {"time", "step"}:
            assert right[name] == pytest.approx(left[name], rel=1e-5), (left["step"], name)
    states = [
        torch.load(next((tmp_path / name).rglob("checkpoint.pt")), weights_only=True) for name in ("alone", "shared")
    ]
    # All weights together: AdamW steps by the sign of gradients, also where those are nothing but rounding. The steps
    # themselves come to about a tenth of the weights.
    whole = [torch.cat([state["model"][name].flatten() for name in sorted(state["model"])]) for state in states]
    assert float((whole[0] - whole[1]).norm() / whole[0].norm()) < 2e-3
    # What two processes have saved, one goes on with, and the other way round.
    begun = run(two, tmp_path / "begun", 2, until=STEPS // 2)
    rest = run(one, tmp_path / "begun", 1)[len(begun) :]
    assert len(rest) == STEPS - STEPS // 2


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"rank": 2, "base": "bf16"}])
@pytest.mark.parametrize("stage", ["language_model", "unet"])
def test_a_step_on_cards_computes_in_types_that_fit(packed_dir, tmp_path, stage, lora):
    write_samples(tmp_path / "learn", samples(4), 10)
    file = recipe_file(
        tmp_path, tmp_path, packed_dir, stage, "cards", batch=2, shard=True, steps=1, lora=lora, precision="bf16"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", CARDS, str(file), str(tmp_path / "out")]
    done = subprocess.run(command, env=os.environ | places, stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
