"""Files and folders that take the place of others."""

from pathlib import Path

import pytest
from comfyui_wegen.models.paths import is_left_over, taking_place_of


def replace(folder, content="new"):
    with taking_place_of(folder) as fresh:
        fresh.mkdir()
        (fresh / "weights").write_text(content)


def test_a_folder_takes_the_place_of_another_and_of_no_third(tmp_path):
    folder, beside = tmp_path / "packed", tmp_path / "packed-new"
    for one in (folder, beside):
        one.mkdir()
        (one / "notes.txt").write_text("mine")
    replace(folder)
    assert [file.name for file in folder.iterdir()] == ["weights"]
    assert (beside / "notes.txt").read_text() == "mine" and {*tmp_path.iterdir()} == {folder, beside}


def test_what_a_link_leads_to_is_replaced(tmp_path):
    disk = tmp_path / "disk" / "weights"
    disk.mkdir(parents=True)
    link = tmp_path / "packed"
    link.symlink_to(disk)
    replace(link)
    assert link.is_symlink() and (disk / "weights").read_text() == "new"


def test_where_a_name_cannot_be_taken_both_folders_are_left(tmp_path, monkeypatch):
    folder = tmp_path / "packed"
    replace(folder, "old")
    rename = Path.rename

    def fails(self, target):
        if self.name.endswith(".partial"):
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PermissionError):
        replace(folder)
    [left] = {*tmp_path.iterdir()} - {folder}
    assert (folder / "weights").read_text() == "old" and (left / "weights").read_text() == "new"


def test_a_folder_that_was_not_finished_leaves_the_one_before(tmp_path):
    folder = tmp_path / "packed"
    replace(folder, "old")
    with pytest.raises(KeyboardInterrupt), taking_place_of(folder) as fresh:
        fresh.mkdir()
        raise KeyboardInterrupt
    assert (folder / "weights").read_text() == "old"
    replace(folder)
    assert [file.name for file in tmp_path.iterdir()] == ["packed"] and (folder / "weights").read_text() == "new"


@pytest.mark.parametrize("name", ["packed", "Pilze früher", ".hidden"])
def test_what_a_killed_replacement_leaves_is_told_by_its_name(tmp_path, monkeypatch, name):
    folder = tmp_path / name
    replace(folder, "old")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("comfyui_wegen.models.paths.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        replace(folder)
    [left] = {*tmp_path.iterdir()} - {folder}
    assert is_left_over(left.name) and (left / "weights").read_text() == "old"
    assert not any(is_left_over(one) for one in (name, f"{name}.old", f"{name}.partial", f".{name}.old"))
