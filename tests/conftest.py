"""What all tests share: the reference data, and a loud word about tests that did not run."""

import os
from collections import Counter
from pathlib import Path

import pytest
from support import NOT_RUN, REPOSITORY

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that tests start share the cores with those of the other worker; more threads would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


PANEL, HOST = "tests/host/panel/", "tests/host/"
LONG = (PANEL, HOST, "tests/training/", "tests/evaluation/", "tests/test_docs.py", "tests/media/", "tests/data/")
"""Where tests are that take long, the longest first."""


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder with the values that the published code computes; the test is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "reference"
    if not (folder / "expected.json").is_file():
        pytest.skip(f"{NOT_RUN}reference parity, there is no reference data at ../shared/reference")
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors here are so small that threads only wait for each other, for minutes on a machine with other work.

    And sums are only equal to the bit when they are taken in the same order.
    """
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_chance():
    """What a test finds does not hang on which tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all tests, whatever became of those before; each opens a context of its own in it."""
    from browser import find_browser, running

    executable = find_browser()
    if executable is None:
        pytest.skip(f"{NOT_RUN}tests in a browser, no Chromium (set CHROMIUM_PATH)")
    with running(executable) as browser:
        yield browser


@pytest.fixture(scope="session")
def packed_dir(tmp_path_factory) -> Path:
    """A tiny random checkpoint in the packed layout; read only."""
    from tiny import write_packed

    return write_packed(tmp_path_factory.mktemp("packed") / "tiny")


@pytest.fixture(scope="session")
def published_dir(tmp_path_factory) -> Path:
    """The same checkpoint in the published layout; read only."""
    from tiny import write_published

    return write_published(tmp_path_factory.mktemp("published") / "tiny")


@pytest.fixture(scope="session")
def tiny(packed_dir):
    """That checkpoint loaded: `WeGen` and `Decoder`."""
    from comfyui_wegen.models.painting.loading import load

    return load(packed_dir)


def pytest_collection_modifyitems(items):
    """With `-n 2`: what takes long comes first, so that both workers end at about the same time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: [not item.nodeid.startswith(begin) for begin in LONG])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n 2`: tests of a file stay together, and those of `tests/host`, which share one server and one browser.

    Those of the panel take as long as all others there: they have their own, so that both workers have host tests.
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False  # by how many tests there are in a file

    class TogetherByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return next((folder for folder in (PANEL, HOST) if file.startswith(folder)), file)

    return TogetherByFile(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say in red which tests did not run, and why."""
    # `longrepr` of a skipped test is (file, line, "Skipped: <reason>").
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    missing = Counter(reason.removeprefix("Skipped: ").removeprefix(NOT_RUN) for reason in reasons)
    if missing:
        terminalreporter.section("NOT RUN ON THIS MACHINE", sep="!", red=True, bold=True)
        for reason, count in missing.items():
            terminalreporter.line(f"{count} test{'s' if count > 1 else ''} NOT RUN: {reason}", red=True)
