"""What the panel writes into a WeGen Turn: JSON that names pictures, masks and chats in the host's folders.

Workflows come from strangers, so nothing in it is trusted: names stay within the host's folders, and whatever is of
another form than expected is said in a sentence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...models.editing.masks import fit_mask
from ...models.editing.open_turn import begin_unseen
from ...models.errors import WeGenError
from ...models.json_values import is_a
from ...models.media import images
from ...models.media.chat_file import load_chat
from ...models.media.images import from_pil
from ...models.painting.painter import LARGEST_SIZE, SMALLEST_SIZE
from ...models.values import Reference, References, union
from .folders import file_within

FOLDERS = ("input", "output", "temp")


def parse(text: str) -> dict[str, Any]:
    """The JSON object of a panel; empty when nothing was written.

    Raises:
        WeGenError: it is anything else.
    """
    if not text.strip():
        return {}
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeGenError(f"The widget turn holds no JSON: {error}. Empty it, or let the panel fill it.") from None
    if not isinstance(record, dict):
        raise WeGenError("The widget turn must hold a JSON object. Empty it, or let the panel fill it.")
    return record


def files_of(text: str) -> list[tuple[str, int, int]]:
    """What changes when one of the files is another one than in the last run."""
    record = parse(text)
    files = [record.get("chat"), record.get("image"), record.get("change"), *_many(record.get("keep"))]
    for reference in _many(record.get("references")):
        if isinstance(reference, Mapping):
            files += [reference.get("file"), reference.get("area")]
    paths = [find_file(file, "file") for file in files if file]
    return [(str(path), status.st_mtime_ns, status.st_size) for path in paths for status in [path.stat()]]


def read(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `OpenTurn` that a record tells of.

    Its keys: `instruction`; `seed`, `width`, `height`; `chat`, a saved chat, of whose last turn `picture` picks one,
    counted from 1; or `image`, a picture to begin with; `change` and `keep`, masks that are white where the picture may
    change or must stay, `keep` also several; `release`; `references`, each with `name`, `file`, and perhaps `weight`
    and `area`, a mask. A file is `{filename, subfolder, type}` or a name as stock nodes write it: `a/b.png [output]`.

    Raises:
        WeGenError: something in it is not of the right form, or a file is not there.
    """
    told: dict[str, Any] = {}
    if "instruction" in record:
        if not isinstance(record["instruction"], str):
            raise WeGenError("The instruction in the widget turn must be a text.")
        told["instruction"] = record["instruction"]
    sizes = (SMALLEST_SIZE, LARGEST_SIZE)
    for name, least, most in (("seed", 0, 2**64 - 1), ("width", *sizes), ("height", *sizes)):
        if record.get(name) is not None:
            told[name] = _number(record, name, least, most)
    if record.get("chat"):
        chat = load_chat(find_file(record["chat"], "chat"))
        picture = _number(record, "picture", 0, len(chat.last.answers)) if "picture" in record else 0
        told["chat"] = chat.pick(picture - 1) if picture else chat
    elif record.get("image"):
        told["chat"] = begin_unseen(read_picture(record["image"], "image"))
    if record.get("change"):
        told["edit_mask"] = read_mask(record["change"], "change")
    for file in _many(record.get("keep")):
        mask, before = read_mask(file, "keep"), told.get("keep_mask")
        told["keep_mask"] = mask if before is None else union(before, fit_mask(mask, *before.shape, thin=True))
    if "release" in record:
        told["release"] = bool(record["release"])
    if record.get("references"):
        references = References()
        for reference in map(_reference, _many(record["references"])):
            references = references.add(reference)
        told["references"] = references
    return told


def find_file(file: object, what: str) -> Path:
    """The path of a file in one of the host's folders.

    Raises:
        WeGenError: it names none, or one outside of them.
    """
    if isinstance(file, str):
        name = file
    elif isinstance(file, Mapping):
        folder, name = file.get("type") or "output", file.get("filename")
        if folder not in FOLDERS or not isinstance(name, str) or not isinstance(file.get("subfolder") or "", str):
            raise WeGenError(f"The {what} in the widget turn must name a file of the input, output or temp folder.")
        name = f"{os.path.join(file.get('subfolder') or '', name)} [{folder}]"
    else:
        raise WeGenError(f"The {what} in the widget turn must name a file.")
    try:
        path = file_within(name)
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise WeGenError(f"The {what} in the widget turn cannot be opened: {error.strerror}.") from None
    except ValueError:
        raise WeGenError(f"The {what} {name!r} in the widget turn lies outside of ComfyUI's folders.") from None
    if not path.is_file():
        raise WeGenError(f"There is no file {name!r}, the {what} of this turn. It may have been moved or deleted.")
    return path


def read_picture(file: object, what: str) -> Tensor:
    """`[H, W, 3]` in 0..1."""
    return from_pil(images.read_picture(find_file(file, what)))


def read_mask(file: object, what: str) -> Tensor:
    """`[H, W]` in 0..1 of a grey picture, white where the mask is."""
    with _opened(file, what) as picture:
        return torch.from_numpy(images.grey_levels(picture)).float() / 255


def _opened(file: object, what: str) -> Image.Image:
    path = find_file(file, what)
    try:
        picture = Image.open(path)
        picture.load()
    except images.UNREADABLE as error:
        raise WeGenError(f"The {what} {path.name!r} is no picture that can be read: {error}.") from None
    return picture


def _reference(record: object) -> Reference:
    if not isinstance(record, Mapping) or not isinstance(record.get("name"), str):
        raise WeGenError("Each reference in the widget turn needs a name and a file.")
    name, weight = record["name"], record.get("weight")
    if weight is not None and not is_a(weight, float):
        raise WeGenError(f"The weight of reference {name!r} must be a number.")
    picture = read_picture(record.get("file"), f"picture of reference {name!r}")
    area = None
    if record.get("area"):
        area = fit_mask(read_mask(record["area"], f"area of reference {name!r}"), *picture.shape[:2], thin=True)
    return Reference(name, None, picture, area, 1.0 if weight is None else float(weight))


def _many(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _number(record: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = record[name]
    if type(value) is not int or not least <= value <= most:
        raise WeGenError(f"The {name} in the widget turn must be a whole number from {least} to {most}.")
    return value
