"""What is said where a package is missing: a command that works in a clone of the pack."""

import re
import sys
from pathlib import Path

import pytest
from comfyui_wegen.models import cli, errors
from comfyui_wegen.models.errors import PACK, how_to_install

SAID = re.compile(r"how_to_install\([\"'](\w+)[\"']\)")


def test_every_group_that_a_message_names_exists():
    known = re.findall(r"^(\w+) = \[", (PACK / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in (PACK / "models").rglob("*.py")]
    named = {group for text in sources for group in SAID.findall(text)}
    assert named == {"standalone", "train", "video", "cluster"} and named <= set(known)
    assert not any("pip install 'wegen" in text for text in sources)  # it is in no registry


def test_the_command_says_where_it_works(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert cli.main(["train", "lora", str(tmp_path), "--name", "rocket"]) == 2
    assert f'Training needs the package accelerate: pip install -e ".[train]" (in {PACK}).' in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    def run(arguments):
        raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")

    monkeypatch.setattr(cli.doctor, "run", run)
    assert cli.main(["doctor"]) == 2
    assert 'The package diffusers is missing: pip install -e ".[standalone]"' in capsys.readouterr().err
    defect = ModuleNotFoundError("no", name="comfyui_wegen.nothing")
    monkeypatch.setattr(cli.doctor, "run", lambda arguments: (_ for _ in ()).throw(defect))
    with pytest.raises(ModuleNotFoundError):  # a defect of the pack
        cli.main(["doctor"])


def test_an_installed_pack_names_a_clone(monkeypatch):
    monkeypatch.setattr(errors, "PACK", Path("nowhere"))
    assert how_to_install("video") == 'pip install -e ".[video]" (in a clone of the pack)'
