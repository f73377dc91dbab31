"""Kills a process that saves chats without a pause, as often as the second argument says; see `media/test_chat_file`.

The first argument is the file that is saved to. It prints how many kills the file outlived.
"""

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import torch
from comfyui_wegen.models.media.chat_file import load_chat, save_chat
from comfyui_wegen.models.values import Answer, Chat, Turn


def save_forever(path, confirmed):
    """Save ever longer chats to one file, and say the number of each when it is saved."""
    chat = Chat()
    for number in range(10**9):
        picture = torch.rand(200, 200, 3)
        chat = Chat(chat.turns[-3:]).add(Turn(str(number), (Answer("", torch.zeros(4, 8), picture, number),)))
        save_chat(chat, path)
        os.write(confirmed, b"%d\n" % number)


def kill_while_saving(path, kills, seed=0):
    """SIGKILL a process that saves without a pause, at random moments; the file must hold what was saved last.

    Gives how many times it did.
    """
    rng = Random(seed)
    outlived = 0
    for _ in range(kills):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                save_forever(path, write)
            finally:
                os._exit(1)
        os.close(write)
        said = os.read(read, 16)
        time.sleep(rng.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(read, "rb") as rest:
            said += rest.read()
        assert int(load_chat(path).last.instruction) >= int(said.split()[-1])
        outlived += 1
    return outlived


if __name__ == "__main__":
    torch.set_num_threads(1)  # a forked process has no other threads
    print(kill_while_saving(Path(sys.argv[1]), int(sys.argv[2])))
