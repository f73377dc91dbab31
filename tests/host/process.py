"""Runs Python scripts inside the host's environment, for what a graph cannot show: patchers, partial loading."""

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from threading import Timer
from typing import Any

from comfyui_wegen.models.evaluation.host_install import HostInstall
from support import REPOSITORY

from .install import offline_environment

# Makes `comfy` importable as main.py would set it up for `--cpu`, and this repository as `comfyui_wegen`. The host
# parses sys.argv when it is imported, so its own arguments stand there first, and the script's afterwards.
BOOTSTRAP = """
import importlib.util, runpy, sys
host, repository, base_directory, script, *arguments = sys.argv[1:]
sys.path.insert(0, host)
sys.argv = ["main.py", "--cpu", "--base-directory", base_directory]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.cli_args
spec = importlib.util.spec_from_file_location(
    "comfyui_wegen", repository + "/__init__.py", submodule_search_locations=[repository]
)
sys.modules["comfyui_wegen"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["comfyui_wegen"])
sys.argv = [script, *arguments]
runpy.run_path(script, run_name="__main__")
"""

# Imports what takes the host longest, none of which is its own or ours, and becomes a copy of itself for each script:
# the copies share nothing else. Says with which code each ended.
PRELOAD = """
import gc, json, os, sys
bootstrap, answers = sys.argv[1], os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what is imported may print something
for work in (
    "import torch, torchvision, torchaudio, torchsde, comfy_kitchen",
    "from transformers import CLIPTokenizer",
    "import aiohttp.web, alembic, av, pydantic, scipy.integrate, scipy.stats, sqlalchemy.orm",
):
    try:
        exec(work)
    except ImportError:  # another version of the host has others
        pass
gc.freeze()  # what copies never collect they need not copy
for line in iter(sys.stdin.readline, ""):
    output, errors, *values = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, (name, how) in enumerate(
            ((os.devnull, os.O_RDONLY), (output, os.O_WRONLY | os.O_CREAT), (errors, os.O_WRONLY | os.O_CREAT))
        ):
            os.dup2(os.open(name, how), number)
        sys.argv = ["-c", *values]
        exec(bootstrap, {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
"""


class ScriptFailed(RuntimeError):
    """The script ended with an error; the message has its output."""


class HostPython:
    """Context manager that runs scripts, each in a process of its own, which need not import torch again.

    Args:
        install: the ComfyUI whose modules and interpreter to use.
    """

    def __init__(self, install: HostInstall):
        self.install = install
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "HostPython":
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def run(self, base_directory: Path, script: str | Path, *arguments: Any, timeout: float) -> Any:
        """Run `script` and return what it prints last, read as JSON.

        Args:
            base_directory: what the host takes for its base directory (models, user, temp).
            script: a file, or the source itself as a string.
            arguments: become `sys.argv[1:]` of the script.
            timeout: seconds.

        Returns:
            The last line of its standard output parsed as JSON; None when it prints nothing.

        Raises:
            ScriptFailed: its exit code is not 0, or the time was over.
        """
        with tempfile.TemporaryDirectory() as folder:
            output, errors = Path(folder) / "output", Path(folder) / "errors"
            if isinstance(script, str):
                source, script = script, Path(folder) / "script.py"
                script.write_text(source)
            values = [output, errors, self.install.path, REPOSITORY, base_directory, script, *arguments]
            code = self._ask(json.dumps([str(value) for value in values]), timeout)
            said, complaints = (file.read_text(errors="replace") if file.exists() else "" for file in (output, errors))
        if code != "0":
            raise ScriptFailed(f"Exit code {code or f'unknown; {timeout} s may be over'}\n{said}\n{complaints}")
        lines = said.splitlines()
        return json.loads(lines[-1]) if lines else None

    def _ask(self, line: str, timeout: float) -> str:
        """With which code a script ended; nothing where the process that starts them was lost."""
        process = self._running()
        timer = Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            code = process.stdout.readline().strip()
        except BaseException:  # what it says later would be taken for the answer to what is asked next
            self._stop()
            raise
        finally:
            timer.cancel()
        if not code:
            self._stop()
        return code

    def _running(self) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [str(self.install.python), "-c", PRELOAD, BOOTSTRAP],
                cwd=self.install.path,
                env=offline_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._process = None
