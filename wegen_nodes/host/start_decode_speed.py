"""A script for ComfyUI's Python: loads ComfyUI without its server and this pack into it, and runs `decode_speed`.

Arguments: ComfyUI's folder, a checkpoint, repeats, threads of the CPU, and a base directory for ComfyUI to write to.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

PACK = Path(__file__).resolve().parents[2]


def main(host: str, folder: str, repeats: str, threads: str, base: str) -> None:
    sys.path[0] = host  # in place of this folder, whose modules are no packages of their own
    sys.argv = ["main.py", "--cpu", "--base-directory", base]
    options = importlib.import_module("comfy.options")
    options.enable_args_parsing()  # before anything reads ComfyUI's options
    importlib.import_module("comfy.cli_args")
    spec = importlib.util.spec_from_file_location(
        "wegen_pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None and spec.loader is not None
    sys.modules["wegen_pack"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["wegen_pack"])
    importlib.import_module("wegen_pack.wegen_nodes.host.decode_speed").main(folder, repeats, threads)


if __name__ == "__main__":
    main(*sys.argv[1:])
