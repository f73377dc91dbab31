"""Samples and recipes that the tests of training share."""

import json

import numpy as np
from comfyui_wegen.models.data import Picture, Sample, Text

SIZES = ((32, 32), (48, 24), (24, 48), (32, 32), (40, 30))
"""Heights and widths of the pictures in the shards."""


def samples(count, seed=0):
    """Chats with one or two pictures of several sizes, of very different lengths."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        height, width = SIZES[number % len(SIZES)]
        pixels = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2)]
        words = " ".join(["a red cat on the roof"] * (1 + number % 4))
        if number % 3 == 0:
            parts = (Picture(pixels[0], "user"), Text("what is there?", "user"), Text(words, "assistant", True))
            yield Sample("caption", parts)
            continue
        drawn = Picture(pixels[1], "assistant", True)
        yield Sample("rewrite", (Text("a cat", "user"), Text(words, "assistant", True), drawn))


def recipe_file(folder, shards, packed, stage, name="recipe", **entries):
    values = {
        "stage": stage,
        "steps": 4,
        "batch": 4,
        "learning_rate": 1e-2,
        "warmup": 1,
        "precision": "no",
        "checkpoint": str(packed),
        "data": [{"shards": str(shards / "learn")}],
    } | entries
    file = folder / f"{name}.json"
    file.write_text(json.dumps(values))
    return file
