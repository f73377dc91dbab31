"""Chats as files: one .safetensors with all pictures, masks and features to the bit, and the words as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import WeGenError
from ..json_values import in_words, is_a
from ..paths import replace_file
from ..values import Answer, AutoMask, Chat, Reference, References, SamplerSettings, Turn, whole_text

FORMAT, VERSION = "wegen_chat", 1
SUFFIX = ".safetensors"
_LEVELS = 255  # of the 8-bit form that pictures and masks take when nothing is lost by it
_LONGEST_VERSION = 9  # digits
_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Of the tensors of a chat; there are 8-bit floats too, which torch can hardly compute with."""


class ChatFileError(WeGenError):
    """A chat that cannot be read or written; the message names the file."""


def save_chat(chat: Chat, path: str | Path) -> Path:
    """Write a chat; one that was there before is replaced at once and in whole, or stays as it is.

    Raises:
        ChatFileError: the chat is empty, the folder cannot be written to, or a file of this name is no chat.
    """
    path = chat_file_path(path)
    if not chat.turns:
        raise ChatFileError(f"The chat has no turns yet, so {path} was not written.")
    tensors: dict[str, Tensor] = {}
    record = _Writer(tensors).chat(chat)
    metadata = {"format": FORMAT, "version": str(VERSION), "chat": json.dumps(record, ensure_ascii=False)}
    content = save(tensors, metadata=metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise ChatFileError(f"The chat could not be written to {path}: {error.strerror or error}.") from error
    return path


def compacted(chat: Chat, side: int | None = None) -> Chat:
    """The same chat for a smaller file: of the turns before the last one only the picked picture, in 8 bits a channel.

    What comes next is the same to the bit, as it is painted over the last picture alone.

    Args:
        chat: stays as it is.
        side: pixels. Of larger pictures before the last turn only a copy is kept whose longer side has so many, where
            the model has seen them: files of a chat that is saved after each turn take room for one more picture then,
            not for all of them. None keeps their sizes.
    """
    earlier = (
        dataclasses.replace(turn, answers=(_compacted(turn.answer, side),), picked=0) for turn in chat.turns[:-1]
    )
    return dataclasses.replace(chat, turns=(*earlier, *chat.turns[-1:]))


def _compacted(answer: Answer, side: int | None) -> Answer:
    height, width = answer.picture.shape[:2]
    if side is not None and max(height, width) > side and answer.features is not None:
        size = [max(1, round(length * side / max(height, width))) for length in (height, width)]
        small = F.interpolate(answer.picture.movedim(-1, 0)[None], size, mode="area")[0].movedim(0, -1).contiguous()
        answer = dataclasses.replace(answer, picture=small, change=None, reduced_from=answer.size)
    # Rounded up, so that 0 stands only where nothing was allowed to change.
    change = None if answer.change is None else (answer.change.clamp(0, 1) * _LEVELS).ceil() / _LEVELS
    levels = answer.picture.clamp(0, 1) * _LEVELS
    # Down, as ComfyUI's Save Image does; but what a model has yet to look at as it looks at pictures.
    picture = (levels.round() if answer.features is None else levels.floor()) / _LEVELS
    return dataclasses.replace(answer, picture=picture, change=change)


def chat_file_path(path: str | Path) -> Path:
    """Where a chat is written that is called so, with the ending of chats.

    Raises:
        ChatFileError: it names no file, or one that is there and is no chat.
    """
    path = Path(path)
    if not path.name:
        raise ChatFileError(f"{str(path)!r} names no file for the chat; give one such as 'chat{SUFFIX}'.")
    if path.suffix != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
    if path.exists() and not _is_chat(path):
        raise ChatFileError(f"{path} is there already and is no chat; choose another name.")
    return path


def _is_chat(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def load_chat(path: str | Path) -> Chat:
    """Read a chat back, equal to the one that was saved; its name may lack the ending.

    Raises:
        ChatFileError: there is no such file, it is damaged, it is no chat, or a newer version wrote it.
    """
    path = Path(path)
    with_ending = path.with_name(path.name + SUFFIX) if path.name else path
    if not path.exists() and with_ending.is_file():
        path = with_ending
    try:
        if not path.is_file():
            raise ChatFileError(f"{path} is a folder, not a chat." if path.is_dir() else f"There is no chat {path}.")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            version = _version(metadata, path)
            # Copied: a mapped file cannot be replaced on Windows, and one that is cut short ends the process.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ChatFileError(f"{path} is damaged or no chat: {error}. Choose another file.") from error
    if version > VERSION:
        raise ChatFileError(f"{path} is of version {version}; this WeGen reads up to {VERSION}. Update the pack.")
    try:
        chat = _Reader(tensors).chat(json.loads(metadata["chat"]))
        if not chat.turns:
            raise ValueError("it has no turns")
        return chat
    except _NewerError as error:
        raise ChatFileError(f"{path} was saved by a newer WeGen: {error}. Update the pack.") from error
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ChatFileError(f"{path} is damaged: what it holds of a chat is incomplete or wrong ({error}).") from error


def _version(metadata: Mapping[str, str], path: Path) -> int:
    version = metadata.get("version", "")
    if metadata.get("format") != FORMAT or not version.isdecimal() or len(version) > _LONGEST_VERSION:
        raise ChatFileError(f"{path} is not a chat that WeGen saved.")
    return int(version)


class _Writer:
    """Values to a JSON record; tensors go to `tensors` by number, equal ones only once."""

    def __init__(self, tensors: dict[str, Tensor]):
        self.tensors = tensors

    def chat(self, chat: Chat) -> dict[str, Any]:
        return {"turns": [self.turn(turn) for turn in chat.turns]}

    def turn(self, turn: Turn) -> dict[str, Any]:
        return {
            "instruction": turn.instruction,
            "answers": [self.answer(answer) for answer in turn.answers],
            "references": [self.reference(reference) for reference in turn.references],
            "edit_mask": self.tensor(turn.edit_mask),
            "keep_mask": self.tensor(turn.keep_mask),
            "released": turn.released,
            "settings": dataclasses.asdict(turn.settings),
            "picked": turn.picked,
        }

    def answer(self, answer: Answer) -> dict[str, Any]:
        names = ("features", "picture", "change")
        tensors = {name: self.tensor(getattr(answer, name)) for name in names}
        record = {"rewrite": answer.rewrite, "shows": answer.shows, "seed": answer.seed, **tensors}
        record |= {"seen_by": answer.seen_by} if answer.seen_by else {}
        return record if answer.reduced_from is None else {**record, "reduced_from": answer.reduced_from}

    def reference(self, reference: Reference) -> dict[str, Any]:
        tensors = {name: self.tensor(getattr(reference, name)) for name in ("features", "picture", "mask")}
        seen_by = {"seen_by": reference.seen_by} if reference.seen_by else {}
        return {"name": reference.name, "weight": reference.weight, **tensors, **seen_by}

    def tensor(self, tensor: Tensor | None) -> str | None:
        if tensor is None:
            return None
        stored = _compact(tensor.detach().cpu().contiguous())
        for name, other in self.tensors.items():
            if other.dtype == stored.dtype and torch.equal(other, stored):
                return name
        name = f"{len(self.tensors):05d}"
        self.tensors[name] = stored
        return name


def _compact(tensor: Tensor) -> Tensor:
    """8 bits where they hold the very same values, as they do for most masks and for pictures from files."""
    if tensor.dtype != torch.float32 or tensor.numel() == 0:
        return tensor
    rounded = (tensor.clamp(0, 1) * _LEVELS).round().to(torch.uint8)
    return rounded if torch.equal(_expanded(rounded), tensor) else tensor


def _expanded(tensor: Tensor) -> Tensor:
    return tensor.float() / _LEVELS if tensor.dtype == torch.uint8 else tensor


class _Reader:
    """The inverse of `_Writer`."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self.tensors = {name: _expanded(tensor) for name, tensor in tensors.items()}

    def chat(self, record: Mapping[str, Any]) -> Chat:
        chat = Chat(tuple(self.turn(turn) for turn in record["turns"]))
        kept = {tuple(turn.keep_mask.shape) for turn in chat.turns if turn.keep_mask is not None}
        if len(kept) > 1:
            raise ValueError(f"keep masks of the sizes {sorted(kept)}")
        return chat

    def turn(self, record: Mapping[str, Any]) -> Turn:
        settings = dict(record["settings"])
        if settings["auto_mask"] is not None:
            settings["auto_mask"] = _made(AutoMask, settings["auto_mask"])
        return Turn(
            instruction=_value(record, "instruction", str),
            answers=tuple(self.answer(answer) for answer in record["answers"]),
            references=self.references(record["references"]),
            edit_mask=self.mask(record["edit_mask"]),
            keep_mask=self.mask(record["keep_mask"]),
            released=_value(record, "released", bool),
            settings=_made(SamplerSettings, settings),
            picked=_value(record, "picked", int),
        )

    def answer(self, record: Mapping[str, Any]) -> Answer:
        features = record["features"]
        picture, change = self.picture(record["picture"]), self.mask(record["change"])
        if change is not None and change.shape != picture.shape[:2]:
            raise ValueError(f"change of shape {list(change.shape)} beside a picture of {list(picture.shape)}")
        size = record.get("reduced_from")
        if size is not None and not (is_a(size, tuple[int, ...]) and len(size) == 2 and min(size) >= 1):
            raise ValueError(f"reduced_from is {size!r}; it must be height and width, whole numbers from 1")
        return Answer(
            rewrite=_value(record, "rewrite", str),
            features=None if features is None else self.tensor(features, "[tokens, D]"),
            picture=picture,
            seed=_value(record, "seed", int),
            change=change,
            # Chats of version 0.1 say nothing about what masks kept back.
            shows=None if record.get("shows") is None else _value(record, "shows", str),
            reduced_from=None if size is None else tuple(size),
            seen_by=_value(record, "seen_by", str) if "seen_by" in record else "",
        )

    def references(self, records: Iterable[Mapping[str, Any]]) -> References:
        references = References()
        for record in records:
            references = references.add(self.reference(record))
        return references

    def reference(self, record: Mapping[str, Any]) -> Reference:
        features = record["features"]
        return Reference(
            name=_value(record, "name", str),
            features=None if features is None else self.tensor(features, "[tokens, D]"),
            picture=self.picture(record["picture"]),
            mask=self.mask(record["mask"]),
            weight=_value(record, "weight", float),
            seen_by=_value(record, "seen_by", str) if "seen_by" in record else "",
        )

    def picture(self, name: str) -> Tensor:
        picture = self.tensor(name, "[height, width, 3]")
        if picture.shape[-1] != 3 or 0 in picture.shape or not picture.isfinite().all():
            raise ValueError(f"picture {name} of shape {list(picture.shape)}, or not of numbers")
        return picture

    def mask(self, name: str | None) -> Tensor | None:
        if name is None:
            return None
        mask = self.tensor(name, "[height, width]")
        if 0 in mask.shape or not mask.isfinite().all():
            raise ValueError(f"mask {name} of shape {list(mask.shape)}, or not of numbers")
        return mask

    def tensor(self, name: str, shape: str) -> Tensor:
        """The tensor of that name, of as many axes as `shape` names."""
        tensor = self.tensors[name]
        if tensor.ndim != shape.count(",") + 1 or tensor.dtype not in _NUMBERS:
            raise ValueError(f"tensor {name} of shape {list(tensor.shape)}, {tensor.dtype}, where {shape} is expected")
        return tensor


class _NewerError(ValueError):
    """What a file holds is unknown here."""


def _value(record: Mapping[str, Any], name: str, kind: Any) -> Any:
    value = record[name]
    if not is_a(value, kind):
        raise ValueError(f"{name} is {value!r}; it must be {in_words(kind)}")
    return whole_text(value) if isinstance(value, str) else value  # as what was read is saved again


def _made(kind: Any, record: Mapping[str, Any]) -> Any:
    """An object of a class of settings, from the values of its fields."""
    kinds = get_type_hints(kind)
    if unknown := sorted(record.keys() - kinds.keys()):
        raise _NewerError(f"it has settings called {', '.join(unknown)}")
    return kind(**{
        name: value if dataclasses.is_dataclass(value) else _value(record, name, kinds[name])
        for name, value in record.items()
    })  # fmt: skip
