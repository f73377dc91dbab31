"""Which ComfyUI this is, and whether it is new enough."""

import re

import comfyui_version

# The same number as `requires-comfyui` in pyproject.toml, which the host reads but does not enforce.
OLDEST_HOST = (0, 20, 0)


def require_host() -> None:
    """Raise when the running ComfyUI is older than `OLDEST_HOST`.

    Raises:
        RuntimeError: with both versions and what to do; the host prints it in its log.
    """
    # Only the leading number counts of each part: "0.33.0-rc1" and "0.33.0" offer the same API.
    found = tuple(int(number) for number in re.findall(r"\d+", comfyui_version.__version__)[:3])
    if found < OLDEST_HOST:
        oldest = ".".join(map(str, OLDEST_HOST))
        raise RuntimeError(
            f"WeGen needs ComfyUI {oldest} or newer, and this is {comfyui_version.__version__}. "
            "Update ComfyUI (git pull, or its update script), then start it again."
        )
