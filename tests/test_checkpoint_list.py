"""Which folders the loader's list names, without the host."""

import sys
import types

import pytest
from comfyui_wegen.models.checkpoints.random_weights import make_random
from support import REPOSITORY


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """`wegen_nodes/host/folders.py`; its parent can only be imported inside the host."""
    host = types.ModuleType("folder_paths")
    host.get_folder_paths = lambda key: [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "folder_paths", host)
    before = {*sys.modules}
    for name in ("wegen_nodes", "wegen_nodes.host"):
        package = types.ModuleType(f"comfyui_wegen.{name}")
        package.__path__ = [str(REPOSITORY.joinpath(*name.split(".")))]
        monkeypatch.setitem(sys.modules, package.__name__, package)
    from comfyui_wegen.wegen_nodes.host import folders

    yield folders
    for name in {*sys.modules} - before:
        if name.startswith("comfyui_wegen.wegen_nodes"):
            del sys.modules[name]


def test_what_stopped_replacements_and_conversions_left_is_not_listed(folders, tmp_path):
    made = make_random(tmp_path / "packed", "tiny")
    for name in (".packed.0123abcd.old", ".packed.0123abcd.partial", "packed.partial", "packed.old"):
        (tmp_path / name).symlink_to(made, target_is_directory=True)
    [bundled, *own] = folders.list_checkpoints()
    assert "bundled" in bundled and own == ["packed", "packed.old"]
