"""Small graphs in API form, as the front end would post them."""

from typing import Any

SAMPLER = {"steps": 4, "cfg": 0.0, "sampler_name": "euler", "scheduler": "published"}
LANGUAGE = {"seed": 1, "batch_size": 1, "rewrite": False, "creativity": 0.5}
MODEL_SOCKETS = {"wegen": ["load", 0], "model": ["load", 1], "vae": ["load", 2]}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def load(model: str = "reference") -> dict[str, dict]:
    return {"load": node("WeGenLoadModel", model=model)}


def generate(**inputs: Any) -> dict[str, dict]:
    """Load, generate, save."""
    values = {**MODEL_SOCKETS, **LANGUAGE, **SAMPLER, "instruction": "a red cat on the house", **inputs}
    return {
        **load(),
        "generate": node("WeGenGenerate", **values),
        "save": node("SaveImage", images=["generate", 0], filename_prefix="generated"),
    }


def refine(first: dict[str, Any] | None = None, **inputs: Any) -> dict[str, dict]:
    """Load, generate, refine, save both pictures."""
    values = {**MODEL_SOCKETS, **LANGUAGE, **SAMPLER, "chat": ["generate", 1], "instruction": "make it night", **inputs}
    return {
        **generate(**(first or {})),
        "refine": node("WeGenRefine", **values),
        "save refined": node("SaveImage", images=["refine", 0], filename_prefix="refined"),
    }


def mask(width: int, height: int, left: int) -> dict[str, dict]:
    """A mask `mask` that is black in its first `left` columns and white in the others."""
    return {
        "black": node("SolidMask", value=0.0, width=width, height=height),
        "white": node("SolidMask", value=1.0, width=width, height=height),
        "mask": node("MaskComposite", destination=["black", 0], source=["white", 0], x=left, y=0, operation="add"),
    }
