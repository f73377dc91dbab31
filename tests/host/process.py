"""Runs a Python script inside the host's environment, for what a graph cannot show: patchers, partial loading."""

import json
import subprocess
import tempfile
from pathlib import Path
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


class ScriptFailed(RuntimeError):
    """The script ended with an error; the message has its output."""


def run_in_host(install: HostInstall, base_directory: Path, script: str | Path, *arguments: Any, timeout: float) -> Any:
    """Run `script` in the host's Python and return what it prints last, read as JSON.

    Args:
        install: the ComfyUI whose modules and interpreter to use.
        base_directory: what the host takes for its base directory (models, user, temp).
        script: a file, or the source itself as a string.
        arguments: become `sys.argv[1:]` of the script.
        timeout: seconds.

    Returns:
        The last line of its standard output parsed as JSON; None when it prints nothing.

    Raises:
        ScriptFailed: its exit code is not 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(script, str):
            source, script = script, Path(folder) / "script.py"
            script.write_text(source)
        values = [install.path, REPOSITORY, base_directory, script, *arguments]
        done = subprocess.run(
            [str(install.python), "-c", BOOTSTRAP, *map(str, values)],
            cwd=install.path,
            env=offline_environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    if done.returncode:
        raise ScriptFailed(f"Exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else None
