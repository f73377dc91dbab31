"""`wegen generate`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeGenError
from ..options import OPTIONS, Option
from .common import (
    OK,
    add_model_options,
    load_pipeline,
    named_file,
    package_version,
    progress_bars,
    read_mask,
    read_picture,
    writable_folder,
)

if TYPE_CHECKING:
    from ..engine import TurnRequest, TurnResult
    from ..pipeline import Pipeline
    from ..values import Chat, References

#: said in other ways here, or of ComfyUI only
_OTHERS = ("batch_size", "cfg", "width", "height", "sampler_name", "scheduler", "rewritten")
_OPTIONS = tuple(name for name in OPTIONS if name not in _OTHERS)


class _Refine(argparse.Action):
    """Starts a further turn; the mask options that follow belong to it."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.refine = [*namespace.refine, {"instruction": values, "keep_mask": None, "edit_mask": None}]


class _Mask(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        turns = namespace.refine
        # Before any --refine a mask belongs to the instruction itself.
        turn = turns[-1] if turns else dict(namespace.first)
        if turn[self.dest] is not None:
            named = turn.get("instruction", "of the instruction")
            parser.error(f"{option_string} stands twice in the turn {named!r}.")
        turn[self.dest] = values
        if not turns:
            namespace.first = turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `wegen generate`."""
    parser.description = (
        "Draw pictures of an instruction, then change them turn by turn. Every picture is saved as a PNG that says in\n"
        "its text chunks what it was made from. Further turns go on with the first picture of the turn before."
    )
    add = parser.add_argument
    add("instruction", help="what to draw, or to change in a picture of --begin-with; @name stands for a reference")
    add("--out", type=Path, default=Path("."), help="folder for the pictures; default the current one")
    add("--reference", action="append", default=[], type=named_file, metavar="NAME=FILE",
        help="a picture that instructions can mention as @NAME; may be repeated")  # fmt: skip
    add("--begin-with", type=Path, metavar="PICTURE", help="a picture of your own that the instruction changes")
    add("--refine", action=_Refine, default=[], metavar="INSTRUCTION",
        help="a further turn: change the picture; may be repeated")  # fmt: skip
    add("--keep-mask", action=_Mask, type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="for the --refine before it, or the instruction itself: white stays as it is to the bit")  # fmt: skip
    add("--edit-mask", action=_Mask, type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="for the --refine before it, or the instruction itself: white may change")  # fmt: skip
    add("--chat", type=Path, metavar="FILE", help="go on with a saved chat: the instruction changes its last picture")
    add("--save-chat", type=Path, metavar="FILE", help="save the chat with all its turns")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="write a JSON report: instruction, prompts, descriptions and seconds of each turn",
    )
    add("--count", type=_number(OPTIONS["batch_size"]), default=OPTIONS["batch_size"].default, dest="batch_size",
        metavar="N", help="pictures a turn; default %(default)s")  # fmt: skip
    add("--size", type=_size, metavar="N or WxH", help="pixels; default the checkpoint's own")
    add("--guidance-scale", type=float, metavar="SCALE", default=OPTIONS["cfg"].default, dest="cfg",
        help=OPTIONS["cfg"].help)  # fmt: skip
    add("--temperature", type=float, help="of the rewrite, in place of the creativity; 0 takes the likeliest words")
    add("--top-p", type=float, help="of the rewrite, in place of the creativity; below 1 cuts off unlikely words")
    for name in _OPTIONS:
        _add_option(parser, OPTIONS[name])
    add_model_options(parser)
    parser.set_defaults(run=run, first={"keep_mask": None, "edit_mask": None})


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    flag, text = f"--{option.name.replace('_', '-')}", option.help.replace("%", "%%")
    if option.kind == "switch":
        action = argparse.BooleanOptionalAction
        parser.add_argument(flag, action=action, default=option.default, help=text)
    elif option.kind == "choice":
        parser.add_argument(flag, choices=option.choices, default=option.default, help=text)
    else:
        default = None if option.refine_default is not None else option.default
        parser.add_argument(flag, type=_number(option), default=default, help=f"{text} Default {_default(option)}.")


def _default(option: Option) -> str:
    later = "" if option.refine_default is None else f", and {option.refine_default} for a change of a picture"
    return f"{option.default}{later}"


def _number(option: Option) -> Callable[[str], float]:
    """A number within an option's limits."""

    def read(text: str) -> float:
        try:
            value = int(text) if isinstance(option.default, int) else float(text)
        except ValueError:
            kind = "whole number" if isinstance(option.default, int) else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is no {kind}") from None
        if not (option.minimum or 0) <= value <= (option.maximum or float("inf")):
            raise argparse.ArgumentTypeError(f"{text} is not from {option.minimum} to {option.maximum}")
        return value

    return read


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)(?:x([0-9]+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor WIDTHxHEIGHT")
    width, height = match.group(1), match.group(2) or match.group(1)
    return int(width), int(height)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    from ..encoding import begin_with
    from ..engine import Progress
    from ..media.chat_file import load_chat, save_chat
    from ..media.images import from_pil
    from ..values import Chat, References

    # Whatever can be wrong with the command is found before the model is loaded.
    pictures = [(name, read_picture(file)) for name, file in arguments.reference]
    own = None if arguments.begin_with is None else read_picture(arguments.begin_with)
    turns = [{"instruction": arguments.instruction, **arguments.first}, *arguments.refine]
    turns = [{**turn, **{key: read_mask(turn[key]) for key in ("keep_mask", "edit_mask")}} for turn in turns]
    chat = Chat() if arguments.chat is None else load_chat(arguments.chat)
    if own is not None and chat.turns:
        raise WeGenError("--begin-with and --chat do not go together: a chat has pictures of its own.")
    if (own is not None or chat.turns) and arguments.size is not None:
        raise WeGenError("--size goes with new pictures only: others keep the size that they have.")
    if (
        own is None
        and not chat.turns
        and any(mask is not None for mask in (turns[0]["keep_mask"], turns[0]["edit_mask"]))
    ):
        raise WeGenError("A mask needs a picture that is changed: write it after a --refine, or give --begin-with.")
    requests = [_request(arguments, turn) for turn in turns]
    writable_folder(arguments.out)
    pipeline = load_pipeline(arguments)
    if own is not None:
        chat = begin_with(pipeline.wegen, [from_pil(own)])
    references = References()
    for name, picture in pictures:
        references = references.add(pipeline.encode_reference(name, picture))
    records: list[dict[str, Any]] = []
    with progress_bars() as bars:
        progress = Progress(bars("words"), bars("features"))
        for request in requests:
            request = _with_references(request, references)
            began, before = time.perf_counter(), chat
            result = pipeline.take_turn(request, chat, progress, bars("painting"))
            records.append(_record(request, before, result, pipeline, time.perf_counter() - began))
            for note in result.notes:
                print(note, file=sys.stderr)
            if result.spoken:
                print(result.spoken)
                continue
            chat = result.chat
            _save(chat, pipeline, arguments.out)
    if arguments.save_chat is not None:
        print(save_chat(chat, arguments.save_chat))
    if arguments.json is not None:
        _write_json(arguments.json, records)
    return OK


def _request(arguments: argparse.Namespace, turn: Mapping[str, Any]) -> TurnRequest:
    """What one turn asks for."""
    from dataclasses import replace

    from ..engine import TurnRequest
    from ..prompting.text_sampling import TextSampling

    options = {name: getattr(arguments, name) for name in (*_OPTIONS, "batch_size", "cfg")}
    request = TurnRequest.from_options(
        turn["instruction"], options, edit_mask=turn["edit_mask"], keep_mask=turn["keep_mask"]
    )
    request = replace(request, size=arguments.size)
    if arguments.temperature is None and arguments.top_p is None:
        return request
    creativity = OPTIONS["creativity"].default if arguments.creativity is None else arguments.creativity
    sampling = TextSampling.from_creativity(creativity, arguments.temperature, arguments.top_p)
    return replace(request, sampling=sampling)


def _with_references(request: TurnRequest, references: References) -> TurnRequest:
    """The request with those of the references that it mentions; all of them where it mentions one that is missing."""
    from dataclasses import replace

    from ..prompting.checks import MENTION
    from ..values import References

    names = set(MENTION.findall(request.instruction))
    if names - {reference.name for reference in references}:
        return replace(request, references=references)
    return replace(request, references=References(tuple(one for one in references if one.name in names)))


def _record(
    request: TurnRequest, before: Chat, result: TurnResult, pipeline: Pipeline, seconds: float
) -> dict[str, Any]:
    """What there is to say of one turn, for `--json`."""
    from ..prompting.conversation import picture_prompt, rewrite_prompt

    record: dict[str, Any] = {
        "instruction": request.instruction,
        "notes": list(result.notes),
        "seconds": round(seconds, 3),
        "answered_in_words": result.spoken,
        "pictures": [],
    }
    read = pipeline.config, pipeline.wegen.tokenizer, before, request.instruction, request.references
    if result.spoken or any(result.attempts):
        record["read_for_the_rewrite"] = _readable(rewrite_prompt(*read).text)
    for index, answer in enumerate(() if result.spoken else result.chat.last.answers):
        prompt = picture_prompt(*read, answer.rewrite)
        change = None if result.change is None else result.change[index]
        height, width = answer.picture.shape[:2]
        record["pictures"].append(
            {
                "seed": answer.seed,
                "rewrite": answer.rewrite,
                "attempts": result.attempts[index],
                "shows": answer.described,
                "read_by_the_language_model": _readable(prompt.text),
                "could_change": 1.0 if change is None else round(float((change > 0).float().mean()), 6),
                "width": width,
                "height": height,
            }
        )
    return record


def _readable(prompt: str) -> str:
    """A prompt with each picture in it in two words, not in its 64 tokens."""
    return re.sub(r"<img>(?:<img_\d+>)+</img>", "<img>...</img>", prompt)


def _write_json(file: Path, records: Sequence[dict[str, Any]]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"turns": list(records)}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise WeGenError(f"Cannot write {file}: {error.strerror}.") from error


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
            KEY: json.dumps(turns_of(before, turn.instruction, answer), ensure_ascii=False),
        }
        info = PngInfo()
        for key, text in texts.items():
            info.add_itxt(key, text)
        with _new_file(folder, f"turn{number}_seed{answer.seed}") as file:
            to_pil(answer.picture).save(file, format="png", pnginfo=info)
        print(f"{file.name}: {answer.described}", flush=True)


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
