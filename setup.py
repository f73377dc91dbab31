"""Lists the packages; everything else about the project is in `pyproject.toml`."""

from setuptools import find_packages, setup

setup(
    # The root of the repo is the package, but this script is not one of its modules: under this name it is left out.
    script_name="setup.py",
    packages=[
        "comfyui_wegen",
        *(f"comfyui_wegen.{name}" for name in find_packages(include=["models*", "wegen_nodes*"])),
    ],
)
