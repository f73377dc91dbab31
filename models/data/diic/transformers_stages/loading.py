"""Loading a model and its processor from a folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ....errors import how_to_install
from ..stage import StageError

PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
WEIGHTS = (".safetensors", ".bin")


def check(folder: str, device: str, precision: str) -> None:
    """Raise StageError where a model could not be loaded, as far as that is seen without loading it: for a package, a
    device or files that are not there."""
    try:
        import torch
        import torchvision  # noqa: F401 - the processors of these models need it, and say so less clearly
        import transformers  # noqa: F401
    except ImportError as error:
        raise StageError(f"The models need the package {error.name}: {how_to_install('video')}.") from None
    except RuntimeError as error:  # as torchvision's where it is of another PyTorch
        raise StageError(f"PyTorch and torchvision do not fit each other ({error}). Install both anew.") from error
    if precision not in PRECISIONS:
        raise StageError(f"The precision is one of {', '.join(PRECISIONS)}, got {precision!r}.")
    if not (Path(folder) / "config.json").is_file():
        raise StageError(f"There is no model in {folder!r}: no config.json.")
    if not any(path.suffix in WEIGHTS for path in Path(folder).iterdir()):
        raise StageError(f"There are no weights in {folder!r}: no file that ends in {' or '.join(WEIGHTS)}.")
    try:
        kind, number = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError as error:
        raise StageError(f"There is no device {device!r}: {str(error).splitlines()[0]}") from error
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise StageError(f"There is no device {device!r}: PyTorch sees {torch.cuda.device_count()} GPUs of this kind.")


class ModelStage:
    """A stage that asks a model of a folder."""

    @staticmethod
    def check(folder: str, device: str = "cpu", precision: str = "fp32", **options: Any) -> None:
        """As the function `check`; gets what the stage is made of."""
        check(folder, device, precision)


@lru_cache(maxsize=4)
def load(maker: str, folder: str, device: str, precision: str, processor: str = "AutoProcessor") -> tuple[Any, Any]:
    """A model in evaluation mode on its device, and its processor; both classes of transformers, by name.

    Stages of one process that name the same model share it: a vision-language model has three of them.

    Raises StageError where a package is missing, or where the folder holds no such model.
    """
    check(folder, device, precision)
    import torch
    import transformers

    try:
        dtype = getattr(torch, PRECISIONS[precision])
        model = getattr(transformers, maker).from_pretrained(folder, local_files_only=True, dtype=dtype)
        reader = getattr(transformers, processor).from_pretrained(folder, local_files_only=True)
        return model.to(device).eval(), reader
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        words = " ".join(str(error).split())[:300]
        raise StageError(f"The model in {folder} cannot be loaded as {maker} on {device!r}: {words}") from error
