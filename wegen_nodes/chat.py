"""WeGen Chat: begin, pick, go back, fork, save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..models.editing.composite import with_channels
from ..models.encoding import begin_with
from ..models.errors import WeGenError
from ..models.media.chat_file import compacted, load_chat, save_chat
from ..models.media.contact_sheet import filmstrip
from ..models.values import Chat
from .host import folders
from .host.parts import LOOKING, memory_errors
from .inputs import require_whole_numbers, text
from .sockets import CATEGORY, ChatType, WeGenType

NO_FILE = "none"
SOCKETS = ("chat", "image", "wegen")
SMALL_COPY = 256
"""Pixels of the longer side of earlier pictures in the panel's files: more than the filmstrip shows."""


class WeGenChat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenChat",
            display_name="WeGen Chat",
            category=CATEGORY,
            description="A chat at a glance: go back to a turn, pick one of its pictures, fork, save and load, or keep "
            "it under a name to go on with it in the next run.",
            search_aliases=["wegen history", "fork", "rewind", "save chat", "load chat", "chat", "copilot"],
            is_output_node=True,
            inputs=[
                io.Int.Input(
                    "turn",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Go back to this turn, and fork there by refining again. 0 is the last one.",
                ),
                io.Int.Input(
                    "picture",
                    default=0,
                    min=0,
                    max=100_000,
                    tooltip="Go on with this picture of the turn, counted from 1. 0 is the one picked before.",
                ),
                io.Combo.Input(
                    "file",
                    options=[NO_FILE, *folders.list_chats()],
                    default=NO_FILE,
                    tooltip="A saved chat; it is used instead of what is connected. Chats that you got from others "
                    "belong in ComfyUI's input folder.",
                ),
                io.String.Input(
                    "save_as",
                    default="",
                    tooltip="Save the chat as it comes out, under this name in wegen/ of the output folder.",
                ),
                ChatType.Input("chat", optional=True, lazy=True, tooltip="From WeGen Generate or WeGen Refine."),
                io.Image.Input(
                    "image",
                    optional=True,
                    lazy=True,
                    tooltip="Begin a chat with a picture of your own, where none is kept under name yet.",
                ),
                WeGenType.Input("wegen", optional=True, lazy=True, tooltip="Only needed with an image."),
                io.String.Input(
                    "name",
                    default="",
                    optional=True,
                    tooltip="Keep the chat that comes in under this name, e.g. story. With no chat wired in, go "
                    "on with the one that was kept under it last.",
                ),
                io.Boolean.Input(
                    "compact",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Save a smaller file: of the turns before the last one only the picked picture, in 8 bits "
                    "a channel. What comes next is the same.",
                ),
            ],
            outputs=[
                ChatType.Output(display_name="chat"),
                io.Image.Output(display_name="image", tooltip="The picture that the chat goes on with."),
                io.String.Output(
                    display_name="transcript", tooltip="What was asked in each turn, and what its picture shows."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file, name="", save_as="", **wired) -> object:
        """The file that is read; what is kept under a name may be another one in each run."""
        if file is None or (file == NO_FILE and name is None and "chat" not in wired):
            # It comes from another node and is not known yet: any of the chats may be meant. A node that saves one
            # would run each time, as each time there is another one.
            saves = save_as is None or save_as.strip() or (file is None and (name is None or name.strip()))
            return None if saves else folders.chats_stamp()
        if file == NO_FILE and ("chat" in wired or not name.strip()):
            return None
        path = folders.kept_chat_path(name.strip()) if file == NO_FILE else folders.chat_path(file)
        if not path.is_file():
            return None
        status = path.stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def validate_inputs(cls, file=NO_FILE) -> bool | str:
        """Says what to do about a chat that is not there, before anything runs."""
        if file in (NO_FILE, None):
            return True
        try:
            folders.require_chat(file)
        except WeGenError as error:
            return str(error)
        return True

    @classmethod
    def check_lazy_status(cls, file=NO_FILE, **inputs) -> list[str]:
        """With a file, or one that is kept under the name already, what is wired in is not even computed."""
        if file != NO_FILE:
            return []
        name = (inputs.get("name") or "").strip()
        kept = bool(name) and "chat" not in inputs and folders.kept_chat_path(name).is_file()
        return [] if kept else [name for name in SOCKETS if name in inputs and inputs[name] is None]

    @classmethod
    def execute(
        cls, turn, picture, file, save_as, chat=None, image=None, wegen=None, name="", compact=False
    ) -> io.NodeOutput:
        name, save_as = text("name", name), text("save_as", save_as)
        text("file", file)
        require_whole_numbers(turn=turn, picture=picture)
        kept = folders.kept_chat_path(name) if name else None
        chat, is_new = _begin(file, chat, image, wegen, kept)
        saved = []
        if kept is not None and is_new:
            saved.append(save_chat(compacted(chat) if compact else chat, kept))
        if turn:
            chat = chat.rewind(turn)
        if picture:
            count = len(chat.last.answers)
            if picture > count:
                raise WeGenError(f"Picture {picture} was picked, but turn {len(chat)} has pictures 1 to {count}.")
            chat = chat.pick(picture - 1)
        said = transcript(chat)
        if save_as:
            # The panel saves a chat after each of its turns.
            side = SMALL_COPY if save_as.startswith(f"{folders.PANEL}/") else None
            saved.append(save_chat(compacted(chat, side) if compact else chat, folders.next_chat_path(save_as)))
            said += f"\nSaved as {saved[-1].name}."
        strip = torch.from_numpy(np.array(filmstrip(chat))).float()[None] / 255
        shown = {**ui.PreviewImage(strip, cls=cls).as_dict(), **ui.PreviewText(said).as_dict()}
        if saved:
            folders.forget_listed()
        # For the lists of files in front ends that were loaded before.
        names = filter(None, map(folders.chat_name, saved))
        shown["chats"] = tuple(name for name in names if not name.startswith(f"{folders.PANEL}/"))
        # A copy: nodes that work in place would change what the chat keeps.
        return io.NodeOutput(chat, chat.last.answer.picture[None].clone(), said, ui=shown)


def _begin(file: str, chat: Chat | None, image: torch.Tensor | None, wegen, kept: Path | None) -> tuple[Chat, bool]:
    """The chat that the inputs give, and whether it came from elsewhere than what is kept under the node's name."""
    if file != NO_FILE:
        return load_chat(folders.chat_path(file)), True
    if chat is not None and image is not None:
        raise WeGenError("WeGen Chat got a chat and an image to begin one; connect only one of them.")
    if chat is not None:
        return chat, True
    if kept is not None and kept.is_file():
        return load_chat(kept), False
    if image is None:
        nothing = "WeGen Chat got no chat: connect one, or an image to begin one, or choose a file."
        if kept is not None:
            nothing = f"No chat is kept under the name {kept.stem!r} yet: connect one, or an image to begin one, first."
        raise WeGenError(nothing)
    if wegen is None:
        raise WeGenError("To begin a chat with an image, connect wegen too: the model has to look at it.")
    with memory_errors(LOOKING, wegen.formats):
        return begin_with(wegen.load_vision(1), [with_channels(one[..., :3], 3).cpu() for one in image]), True


def transcript(chat: Chat) -> str:
    """What was asked in each turn, and what its picture shows in words."""
    lines = []
    for number, turn in enumerate(chat.turns, start=1):
        shown = turn.answer.described
        lines.append(f"{number}. {turn.instruction or 'your picture'}")
        if shown and shown != turn.instruction:
            lines.append(f"   {shown}")
    return "\n".join(lines)
