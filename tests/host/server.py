"""A ComfyUI server for tests: started in an empty base directory with this pack and a node that waits, stopped at the
end."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests
from comfyui_wegen.models.evaluation.host_install import HostInstall
from support import HANGS, REPOSITORY

from .install import offline_environment

PACK_NAME = "ComfyUI-WeGen"
WAIT_NODE = Path(__file__).parent / "scripts" / "wait_node.py"
LOG_TAIL_LINES = 60


class ServerFailed(RuntimeError):
    """The host did not start, or it started without the pack; the message ends with the tail of its log."""


class ComfyServer:
    """Context manager around one server process.

    Args:
        install: the ComfyUI to run.
        base_directory: becomes the base directory of the host; the pack is linked into it.
        extra_arguments: more command line arguments of the host.
        start_timeout: seconds until it must answer.
    """

    def __init__(
        self,
        install: HostInstall,
        base_directory: Path,
        extra_arguments: tuple[str, ...] = (),
        start_timeout: float = HANGS,
    ):
        self.install = install
        self.base_directory = base_directory
        self.log_file = base_directory / "server.log"
        self.extra_arguments = extra_arguments
        self.start_timeout = start_timeout
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    @property
    def log(self) -> str:
        """Everything the server has printed so far."""
        return self.log_file.read_text(errors="replace")

    @property
    def import_failed(self) -> bool:
        """Whether the host could not import the pack; some of its own optional nodes may fail, which is not meant."""
        return bool(re.search(rf"\(IMPORT FAILED\): .*{PACK_NAME}", self.log))

    def link_model(self, folder: Path, name: str | None = None) -> str:
        """Link `folder` into `models/wegen` and return the name under which the host lists it."""
        name = name or folder.name
        link = self.base_directory / "models" / "wegen" / name
        # Several test modules may want the same one.
        if not (link.is_symlink() and link.resolve() == folder.resolve()):
            link.symlink_to(folder.resolve(), target_is_directory=True)
        return name

    def __enter__(self) -> "ComfyServer":
        for folder in ("custom_nodes", "input", "output", "models/wegen", "temp", "user"):
            (self.base_directory / folder).mkdir(parents=True, exist_ok=True)
        packs = self.base_directory / "custom_nodes"
        (packs / PACK_NAME).symlink_to(REPOSITORY, target_is_directory=True)
        (packs / WAIT_NODE.name).symlink_to(WAIT_NODE)
        # A test that fails while starting must not leave a server behind: `__exit__` only runs after `__enter__`.
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and what it started: politely first, then for good."""
        if self._process is None:
            return
        for signal_number in (signal.SIGINT, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            os.killpg(self._process.pid, signal_number)
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                continue
        self._process = None

    def _start(self) -> None:
        command = [
            str(self.install.python),
            "main.py",
            "--cpu",
            *("--listen", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--base-directory", str(self.base_directory)),
            # Its default is a file in the host's own folder, shared by every server that runs from there.
            *("--database-url", "sqlite:///:memory:"),
            *("--preview-method", "auto"),
            # Its default drops results when less than a tenth of memory is free, and graphs then read models again.
            *("--cache-ram", "0"),
            "--disable-auto-launch",
            "--disable-api-nodes",
            *self.extra_arguments,
        ]
        with self.log_file.open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.install.path,
                env=offline_environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not self._answers():
            if self._process.poll() is not None:
                raise self._failed(f"ComfyUI ended with exit code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(f"ComfyUI did not answer within {self.start_timeout} s")
            time.sleep(0.25)
        # The host goes on without a pack that it could not import.
        if self.import_failed:
            raise self._failed("ComfyUI could not import the pack")

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/system_stats", timeout=5).ok
        except requests.RequestException:
            return False

    def _failed(self, reason: str) -> ServerFailed:
        tail = "\n".join(self.log.splitlines()[-LOG_TAIL_LINES:])
        return ServerFailed(f"{reason}. The end of its log:\n{tail}")


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
