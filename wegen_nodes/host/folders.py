"""Where checkpoints are found: the host's folder key `wegen`, and the models that come with the pack."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...models.checkpoint import checkpoint_kind
from ...models.errors import WeGenError

KEY = "wegen"
BUNDLED = {"wegen-nano (bundled)": Path(__file__).resolve().parents[2] / "models" / "nano"}


def register() -> None:
    """Tell the host about `models/wegen`; folders that `extra_model_paths.yaml` already named stay and come first."""
    folder_paths.add_model_folder_path(KEY, str(Path(folder_paths.models_dir) / KEY))


def list_checkpoints() -> list[str]:
    """Names for the loader's list: bundled models, then each checkpoint folder below the folder key's paths."""
    names = [name for name, folder in BUNDLED.items() if checkpoint_kind(folder)]
    found = {
        entry.name
        for root in map(Path, folder_paths.get_folder_paths(KEY))
        if root.is_dir()
        for entry in root.iterdir()
        # A conversion that is still running, or was killed, stands beside its destination under such a name.
        if not entry.name.endswith(".partial") and checkpoint_kind(entry)
    }
    return names + sorted(found)


def checkpoint_folder(name: str) -> Path:
    """The folder behind a name of `list_checkpoints`.

    Raises:
        WeGenError: no such checkpoint, or a name that is not just a name (workflows come from strangers).
    """
    if name in BUNDLED:
        return BUNDLED[name]
    if name and Path(name).name == name and name not in (".", ".."):
        for root in map(Path, folder_paths.get_folder_paths(KEY)):
            if checkpoint_kind(root / name):
                return root / name
    places = ", ".join(folder_paths.get_folder_paths(KEY))
    raise WeGenError(
        f"There is no WeGen checkpoint {name!r}. Known are: {', '.join(list_checkpoints()) or 'none'}. "
        f"Checkpoint folders belong into {places}."
    )
