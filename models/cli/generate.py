"""`wegen generate`."""

from __future__ import annotations

import argparse
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeGenError
from .common import (
    OK,
    add_model_options,
    count,
    load_pipeline,
    named_file,
    package_version,
    print_notes,
    progress_bars,
    read_mask,
    read_picture,
    writable_folder,
)

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..values import Chat, References


class _Refine(argparse.Action):
    """Starts a further turn; the mask options that follow belong to it."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.refine = [*namespace.refine, {"instruction": values, "keep_mask": None, "edit_mask": None}]


class _Mask(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        if not namespace.refine:
            parser.error(f"{option_string} belongs to a turn: write it after its --refine.")
        turn = namespace.refine[-1]
        if turn[self.dest] is not None:
            parser.error(f"{option_string} stands twice in the turn {turn['instruction']!r}.")
        turn[self.dest] = values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen generate`."""
    parser.description = (
        "Draw pictures of an instruction, then change them turn by turn. Every picture is saved as a PNG that says in\n"
        "its text chunks what it was made from. Further turns go on with the first picture of the turn before."
    )
    add = parser.add_argument
    add("instruction", help="what to draw; @name stands for a reference")
    add("--out", type=Path, default=Path("."), help="folder for the pictures; default the current one")
    add("--reference", action="append", default=[], type=named_file, metavar="NAME=FILE",
        help="a picture that instructions can mention as @NAME; may be repeated")  # fmt: skip
    add("--refine", action=_Refine, default=[], metavar="INSTRUCTION",
        help="a further turn: change the picture; may be repeated")  # fmt: skip
    add("--keep-mask", action=_Mask, type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="for the --refine before it: white stays as it is to the bit")  # fmt: skip
    add("--edit-mask", action=_Mask, type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="for the --refine before it: white may change")  # fmt: skip
    add("--auto-mask", action=argparse.BooleanOptionalAction, default=True,
        help="without an edit mask only what the model itself means to change may change; default yes")  # fmt: skip
    add("--chat", type=Path, metavar="FILE", help="go on with a saved chat: the instruction changes its last picture")
    add("--save-chat", type=Path, metavar="FILE", help="save the chat with all its turns")
    add("--seed", type=int, default=0, help="seed of the first picture, the next ones count up; default %(default)s")
    add("--count", type=count, default=1, help="pictures a turn; default %(default)s")
    add("--size", type=_size, metavar="N or WxH", help="pixels; default the checkpoint's own")
    add("--steps", type=count, default=20, help="sampler steps; default %(default)s")
    add("--guidance-scale", type=float, metavar="SCALE", help="of the sampler; default the checkpoint's own")
    add("--feature-guidance", type=float, default=1.0, metavar="SCALE", help="of the language model; 1 is off")
    add("--collection", choices=("aligned", "released"), default="aligned",
        help="where features are read off; 'released' is the published off-by-one; default %(default)s")  # fmt: skip
    add("--rewrite", action=argparse.BooleanOptionalAction, default=False,
        help="let the model describe the wish in detail before it draws; default not")  # fmt: skip
    add(
        "--temperature",
        type=float,
        default=0.8,
        help="of the rewrite; 0 takes the likeliest words; default %(default)s",
    )
    add(
        "--top-p", type=float, default=0.95, help="of the rewrite; below 1 cuts off unlikely words; default %(default)s"
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)(?:x([0-9]+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor WIDTHxHEIGHT")
    width, height = match.group(1), match.group(2) or match.group(1)
    return int(width), int(height)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    import dataclasses

    from ..media.chat_file import load_chat, save_chat
    from ..painting.schedule import published_timesteps
    from ..prompting.text_sampling import TextSampling
    from ..values import AutoMask, References

    # Whatever can be wrong with the command is found before the model is loaded.
    sampling = TextSampling(arguments.temperature, arguments.top_p) if arguments.rewrite else None
    pictures = [(name, read_picture(file)) for name, file in arguments.reference]
    turns = [{**turn, **{key: read_mask(turn[key]) for key in ("keep_mask", "edit_mask")}} for turn in arguments.refine]
    chat = None if arguments.chat is None else load_chat(arguments.chat)
    if chat is not None and arguments.size is not None:
        raise WeGenError("--size and --chat do not go together: a chat goes on in the size of its last picture.")
    writable_folder(arguments.out)
    pipeline = load_pipeline(arguments)
    published_timesteps(pipeline.config.schedule, arguments.steps)  # says which numbers of steps there can be
    references = References()
    for name, picture in pictures:
        references = references.add(pipeline.encode_reference(name, picture))
    changes = {
        "steps": arguments.steps,
        "feature_guidance": arguments.feature_guidance,
        "collection": arguments.collection,
        "auto_mask": AutoMask() if arguments.auto_mask else None,
    }
    if arguments.guidance_scale is not None:
        changes["guidance_scale"] = arguments.guidance_scale
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    common = {"settings": dataclasses.replace(pipeline.default_settings, **changes), "sampling": sampling}
    with progress_bars() as bars:
        common |= {"on_token": bars("words"), "on_feature": bars("features"), "on_step": bars("painting")}
        for text in (arguments.instruction, *(turn["instruction"] for turn in turns)):
            print_notes(pipeline, text)
        if chat is None:
            chat = pipeline.generate(arguments.instruction, seeds, references=references, size=arguments.size, **common)
        else:
            chat = pipeline.refine(chat, arguments.instruction, seeds, references=references, **common)
        _save(chat, pipeline, arguments.out)
        for turn in turns:
            mentioned = _mentioned(turn["instruction"], references)
            chat = pipeline.refine(chat, seeds=seeds, references=mentioned, **turn, **common)
            _save(chat, pipeline, arguments.out)
    if arguments.save_chat is not None:
        print(save_chat(chat, arguments.save_chat))
    return OK


def _mentioned(instruction: str, references: References) -> References:
    """The references that a further turn names; all of them where it names one that is not there, for it to refuse."""
    from ..prompting.conversation import MENTION
    from ..values import References

    names = set(MENTION.findall(instruction))
    if names - {reference.name for reference in references}:
        return references
    return References(tuple(reference for reference in references if reference.name in names))


def _save(chat: Chat, pipeline: Pipeline, folder: Path) -> None:
    """Save the pictures of the last turn, each with what it was made from, and print their names."""
    import dataclasses

    from PIL.PngImagePlugin import PngInfo

    from ..media.images import to_pil
    from ..media.metadata import KEY, turns_of
    from ..values import Chat

    number, turn = len(chat), chat.last
    before = Chat(chat.turns[:-1])
    for answer in turn.answers:
        texts = {
            "instruction": turn.instruction,
            "rewrite": answer.rewrite,
            "seed": str(answer.seed),
            "turn": str(number),
            "references": ", ".join(reference.name for reference in turn.references),
            "settings": json.dumps(dataclasses.asdict(turn.settings)),
            "model": pipeline.config.name,
            "software": f"wegen {package_version()}",
            KEY: json.dumps(turns_of(before, turn.instruction, answer.rewrite, answer.seed), ensure_ascii=False),
        }
        info = PngInfo()
        for key, text in texts.items():
            info.add_itxt(key, text)
        with _new_file(folder, f"turn{number}_seed{answer.seed}") as file:
            to_pil(answer.picture).save(file, format="png", pnginfo=info)
        print(f"{file.name}: {answer.rewrite}", flush=True)


@contextmanager
def _new_file(folder: Path, stem: str):
    """A new PNG file called `stem`, or `stem` with a number where that is taken; nothing is ever overwritten."""
    copy = 1
    while True:
        path = folder / (f"{stem}.png" if copy == 1 else f"{stem}_{copy}.png")
        try:
            with path.open("xb") as file:
                yield file
            return
        except FileExistsError:
            copy += 1
