"""WeGen Chat: begin, pick, go back, fork, save and load."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..models.encoding import begin_with
from ..models.errors import WeGenError
from ..models.media.chat_file import load_chat, save_chat
from ..models.media.contact_sheet import filmstrip
from ..models.values import Chat
from .host import folders
from .sockets import CATEGORY, ChatType, WeGenType

NO_FILE = "none"


class WeGenChat(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WeGenChat",
            display_name="WeGen Chat",
            category=CATEGORY,
            description="A chat at a glance: go back to a turn, pick one of its pictures, fork, save and load.",
            search_aliases=["wegen history", "fork", "rewind", "save chat", "load chat"],
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
                    max=64,
                    tooltip="Go on with this picture of the turn, counted from 1. 0 is the one picked before.",
                ),
                io.Combo.Input(
                    "file",
                    options=[NO_FILE, *folders.list_chats()],
                    default=NO_FILE,
                    tooltip="A saved chat. Chats that you got from others belong into ComfyUI's input folder.",
                ),
                io.String.Input(
                    "save_as",
                    default="",
                    tooltip="Save the chat as it comes out, under this name in the output folder, e.g. wegen/chat.",
                ),
                ChatType.Input("chat", optional=True, tooltip="From WeGen Generate or WeGen Refine."),
                io.Image.Input("image", optional=True, tooltip="Begin a chat with a picture of your own."),
                WeGenType.Input("wegen", optional=True, tooltip="Only needed with an image."),
            ],
            outputs=[
                ChatType.Output(display_name="chat"),
                io.Image.Output(display_name="image", tooltip="The picture that the chat goes on with."),
                io.String.Output(display_name="transcript", tooltip="Everything that was said, turn by turn."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file, **_) -> object:
        if file == NO_FILE:
            return None
        status = folders.chat_path(file).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, turn, picture, file, save_as, chat=None, image=None, wegen=None) -> io.NodeOutput:
        chat = _begin(file, chat, image, wegen)
        if turn:
            chat = chat.rewind(turn)
        if picture:
            count = len(chat.last.answers)
            if picture > count:
                raise WeGenError(f"Picture {picture} was picked, but turn {len(chat)} has pictures 1 to {count}.")
            chat = chat.pick(picture - 1)
        text = transcript(chat)
        if save_as.strip():
            path = save_chat(chat, folders.next_chat_path(save_as.strip()))
            text += f"\nSaved as {path.name}."
        strip = torch.from_numpy(np.asarray(filmstrip(chat))).float()[None] / 255
        shown = {**ui.PreviewImage(strip, cls=cls).as_dict(), **ui.PreviewText(text).as_dict()}
        return io.NodeOutput(chat, chat.last.answer.picture[None], text, ui=shown)


def _begin(file: str, chat: Chat | None, image: torch.Tensor | None, wegen) -> Chat:
    """The chat that one, and only one, of the inputs gives."""
    given = [file != NO_FILE, chat is not None, image is not None]
    if sum(given) != 1:
        raise WeGenError(
            f"WeGen Chat got {sum(given)} chats: connect a chat, or an image to begin one, or choose a file; only one."
        )
    if file != NO_FILE:
        return load_chat(folders.chat_path(file))
    if chat is not None:
        return chat
    if wegen is None:
        raise WeGenError("To begin a chat with an image, connect wegen too: the model has to look at it.")
    vision = wegen.load_vision(1)
    return begin_with(vision, [one[..., :3].float().cpu() for one in image])


def transcript(chat: Chat) -> str:
    """What was asked in each turn, and what its picture shows in words."""
    lines = []
    for number, turn in enumerate(chat.turns, start=1):
        shown = turn.answer.described
        lines.append(f"{number}. {turn.instruction or 'your picture'}")
        if shown and shown != turn.instruction:
            lines.append(f"   {shown}")
    return "\n".join(lines)
