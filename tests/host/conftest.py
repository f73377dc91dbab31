"""Fixtures of the host tests, and the skip of all of them where there is no ComfyUI."""

from functools import partial

import pytest
from comfyui_wegen.models.evaluation.host_install import HostInstall
from support import HANGS, NOT_RUN

INSTALL = HostInstall.find()


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.host)
    item.add_marker(pytest.mark.slow)
    if INSTALL.problem:
        item.add_marker(pytest.mark.skip(reason=f"{NOT_RUN}host tests, {INSTALL.problem}"))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running ComfyUI with the pack in it; its base directory is empty but for what tests put there."""
    from .server import ComfyServer

    with ComfyServer(INSTALL, tmp_path_factory.mktemp("comfyui")) as server:
        yield server


@pytest.fixture(scope="session")
def client(server):
    """Posts graphs to the server."""
    from .client import ComfyClient

    return ComfyClient(server.url)


@pytest.fixture(scope="session")
def frontend(server, browser):
    """The server's front end in a headless browser."""
    from .frontend import FrontEnd

    with FrontEnd(server.url, browser) as frontend:
        yield frontend


@pytest.fixture(scope="session")
def host_processes():
    """Starts processes of the host's Python."""
    from .process import HostPython

    with HostPython(INSTALL) as processes:
        yield processes


@pytest.fixture
def host_python(host_processes, tmp_path):
    """Call it as `host_python(script, *arguments, timeout=HANGS)`; see `process.HostPython.run`."""
    return partial(host_processes.run, tmp_path, timeout=HANGS)
