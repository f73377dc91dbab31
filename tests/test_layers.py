"""Imports go one way only: from what stands higher in the house to what stands lower."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import REPOSITORY

# From the lowest to the highest. A unit is a package or module of `models/`; a module that stands elsewhere than its
# package has a place of its own. A unit may import those of lower lines and, of its own line, only itself.
LAYERS = (
    ("errors", "bundled", "options", "json_values", "paths", "container_memory"),
    ("network", "media.images"),
    ("checkpoints", "values"),
    ("prompting", "media"),
    ("editing",),
    ("painting", "encoding"),
    ("metrics",),
    ("media.plots",),
    ("drawn_world",),
    ("storybook",),
    ("engine",),
    ("pipeline",),
    ("data",),
    ("training",),
    ("evaluation",),
    ("cli",),
    ("__main__",),
)
WORLDS = {"storybook", "drawn_world"}
# Only those that make, measure or show the drawn worlds import them.
MAY_IMPORT_WORLDS = {*WORLDS, "data", "training", "evaluation", "cli"}
# These stand above the engine, and nothing but the command line imports them.
ONLY_FOR_THE_COMMAND_LINE = {"data", "training", "evaluation", "cli"}
# The host's own modules. Its two public packages may be used by all nodes, the others by `wegen_nodes/host/` alone.
PUBLIC_HOST_MODULES = {"comfy_api", "comfy_execution"}
HOST_MODULES = PUBLIC_HOST_MODULES | {
    "comfy",
    "comfy_extras",
    "comfyui_version",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "nodes",
    "server",
}


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """What a file imports, wherever in it: dotted names in parts; those of this pack start with their folder."""
    package = path.relative_to(REPOSITORY).parent.parts
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (tuple(name.name.split(".")) for name in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            start = package[: len(package) - statement.level + 1] if statement.level else ()
            module = (*start, *(statement.module or "").split("."))
            yield from ((*filter(None, module), name.name) for name in statement.names)


def files(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def unit(parts: tuple[str, ...]) -> str:
    """The unit of `LAYERS` that a dotted name below `models` belongs to."""
    return next((name for name in (".".join(parts[:2]), parts[0]) if any(name in line for line in LAYERS)), parts[0])


def layer(name: str) -> int:
    return next(number for number, line in enumerate(LAYERS) if name in line)


def edges() -> Iterator[tuple[Path, str, str]]:
    """Each import between units of `models/`: the file, its unit and the imported one."""
    for path in files("models"):
        parts = path.relative_to(REPOSITORY / "models").with_suffix("").parts
        if parts == ("__init__",):
            continue
        for imported in imports(path):
            if imported[0] == "models" and len(imported) > 1:
                yield path, unit(parts), unit(imported[1:])


def names(found: list[tuple[Path, str]]) -> str:
    """A failure's text: one line for each file."""
    return "\n".join(sorted({f"{path.relative_to(REPOSITORY)} imports {what}" for path, what in found}))


def test_every_unit_has_a_layer():
    known = {name for line in LAYERS for name in line}
    parts = {path.relative_to(REPOSITORY / "models").with_suffix("").parts for path in files("models")}
    assert {unit(one) for one in parts} - known == {"__init__"}, "Give new packages a place in LAYERS."


def test_every_folder_is_a_package():
    """One that is not is left out of what is installed."""
    folders = {path.parent for root in ("models", "wegen_nodes") for path in files(root)}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def test_imports_go_down():
    wrong = [(path, other) for path, own, other in edges() if own != other and layer(other) >= layer(own)]
    assert not wrong, names(wrong)


def test_closed_worlds_are_imported_by_their_users_only():
    wrong = [(path, other) for path, own, other in edges() if other in WORLDS and own not in MAY_IMPORT_WORLDS]
    assert not wrong, names(wrong)


def test_nodes_import_nothing_that_is_for_the_command_line():
    barred = ONLY_FOR_THE_COMMAND_LINE | WORLDS
    wrong = [
        (path, imported[1])
        for path in files("wegen_nodes")
        for imported in imports(path)
        if imported[0] == "models" and imported[1] in barred
    ]
    assert not wrong, names(wrong)


def test_models_import_no_host_and_no_nodes():
    barred = HOST_MODULES | {"wegen_nodes"}
    wrong = [(path, one[0]) for path in files("models") for one in imports(path) if one[0] in barred]
    assert not wrong, names(wrong)


def test_only_the_host_folder_imports_the_host():
    barred = HOST_MODULES - PUBLIC_HOST_MODULES
    host = REPOSITORY / "wegen_nodes" / "host"
    wrong = [
        (path, ".".join(one))
        for path in files("wegen_nodes")
        for one in imports(path)
        if one[0] in barred and host not in path.parents
    ]
    assert not wrong, names(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("engine", ("diffusers", "transformers", "accelerate", "webdataset")),
        ("pipeline", ("accelerate", "webdataset")),
    ],
)
def test_what_comes_with_an_import(module, absent):
    """Importing it loads nothing that stands above the engine, and no package that ComfyUI does not bring."""
    code = f"import sys, comfyui_wegen.models.{module}; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    above = [f"comfyui_wegen.models.{name}" for name in (*ONLY_FOR_THE_COMMAND_LINE, *WORLDS)]
    assert [name for name in loaded if name in absent or name.startswith(tuple(above))] == []
