"""`wegen generate`."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import WeGenError, naming
from ..options import CREATIVITY, OPTIONS, REFINE_CREATIVITY, Option
from ..paths import expanded, is_stream, write_whole
from .common import (
    ANSWERED,
    OK,
    add_model_options,
    count,
    load_pipeline,
    named_file,
    package_version,
    progress_bars,
    read_mask,
    read_picture,
    writable_folder,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from ..engine import TurnRequest, TurnResult
    from ..pipeline import Pipeline
    from ..values import Chat, References

#: options without a flag of their own name: given in other ways here, or of ComfyUI only
_WITHOUT_FLAG = ("batch_size", "cfg", "width", "height", "sampler_name", "scheduler", "rewritten")
_OPTIONS = tuple(name for name in OPTIONS if name not in _WITHOUT_FLAG)
_SMALLEST_SIDE = 16
_MOST_STRETCHED = 1.03  # a mask against its picture: a pixel or two of small ones
#: options that belong to one turn, and what they are where they are left out
_TURN_OPTIONS = MappingProxyType({"keep_mask": None, "edit_mask": None, "pick": None})


class _Refine(argparse.Action):
    """Starts a further turn; the options of a turn that follow belong to it."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.refine = [*namespace.refine, {"instruction": values, **_TURN_OPTIONS}]


class _OfATurn(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        turns = namespace.refine
        # Before any --refine it belongs to the instruction itself.
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
        "its text chunks what it was made from. Further turns go on with the first picture of the turn before, unless\n"
        "--pick names another. Put the instruction in quotes. Where the model answers a turn in words and paints\n"
        "nothing, the exit code is 3."
    )
    add = parser.add_argument
    add("instruction", help="what to draw, or to change in a picture of --begin-with; @name stands for a reference")
    add("--out", type=expanded, default=Path("."), help="folder for the pictures; default the current one")
    add("--reference", action="append", default=[], type=named_file, metavar="NAME=FILE",
        help="a picture that instructions can mention as @NAME; may be repeated")  # fmt: skip
    add("--begin-with", type=expanded, metavar="PICTURE", help="a picture of your own that the instruction changes")
    add("--refine", action=_Refine, default=[], metavar="INSTRUCTION",
        help="a further turn: what to change in the picture; may be repeated")  # fmt: skip
    add("--keep-mask", action=_OfATurn, type=expanded, metavar="FILE", default=argparse.SUPPRESS,
        help="for the --refine before it, or the instruction itself: white stays as it is bit for bit")  # fmt: skip
    add("--edit-mask", action=_OfATurn, type=expanded, metavar="FILE", default=argparse.SUPPRESS,
        help="for the --refine before it, or the instruction itself: white may change")  # fmt: skip
    pictures = _number(OPTIONS["batch_size"])
    add("--pick", action=_OfATurn, type=pictures, metavar="N", default=argparse.SUPPRESS,
        help="for the --refine before it, or the instruction itself: go on with its picture N; default 1")  # fmt: skip
    add(
        "--chat",
        type=expanded,
        metavar="FILE",
        help="go on with a saved chat: the instruction changes its last picture",
    )
    add("--turn", type=count, metavar="N", help="go back to turn N of the --chat first; default the last")
    add(
        "--picture",
        type=pictures,
        metavar="N",
        help="picture of that turn to go on with; default the one picked when it was saved",
    )
    add("--save-chat", type=expanded, metavar="FILE", help="save the chat with all its turns")
    add(
        "--json",
        type=expanded,
        metavar="FILE",
        help="write a JSON report: instruction, prompts, descriptions, files and seconds of each turn; - for stdout",
    )
    add("--count", type=_number(OPTIONS["batch_size"]), default=OPTIONS["batch_size"].default, dest="batch_size",
        metavar="N", help="pictures a turn; default %(default)s")  # fmt: skip
    add("--size", type=_size, metavar="N or WxH", help="pixels; default the checkpoint's own")
    add("--guidance-scale", type=_number(OPTIONS["cfg"]), metavar="SCALE", default=OPTIONS["cfg"].default, dest="cfg",
        help=OPTIONS["cfg"].help)  # fmt: skip
    add(
        "--temperature",
        type=float,
        help="sampling temperature of the rewrite, in place of the creativity; 0 takes the likeliest words",
    )
    add(
        "--top-p",
        type=float,
        help="nucleus sampling of the rewrite, in place of the creativity; below 1 cuts off unlikely words",
    )
    for name in _OPTIONS:
        _add_option(parser, OPTIONS[name])
    add_model_options(parser)
    parser.set_defaults(run=run, first=dict(_TURN_OPTIONS))


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    flag, text = f"--{option.name.replace('_', '-')}", option.help.replace("%", "%%")
    if option.kind == "switch":
        action = argparse.BooleanOptionalAction
        default = "on" if option.default else "off"
        parser.add_argument(flag, action=action, default=option.default, help=f"{text} Default {default}.")
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
    most = int(OPTIONS["width"].maximum or 0)
    if not all(_SMALLEST_SIDE <= int(side) <= most for side in (width, height)):
        raise argparse.ArgumentTypeError(f"{text!r}: sides are {_SMALLEST_SIDE} to {most} pixels")
    return int(width), int(height)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; gives the exit code.

    Raises:
        WeGenError: before any weights are read, where something is wrong with the command.
    """
    plan = _checked_plan(arguments)
    return _take_turns(plan, load_pipeline(arguments))


@dataclass(frozen=True)
class _Plan:
    """What a command asks for, as far as that is known without a model.

    Attributes:
        chat: the one that is gone on with; without turns for a new one.
        own: a picture of the user's own that the first turn changes.
        pictures: of the references, by their names.
        requests: one for each turn, without references, which the model has to look at.
        picks: for each turn the number of the picture that is gone on with; None for the first.
        folder: for the pictures.
        outputs: the chat and the report.
    """

    chat: Chat
    own: Image | None
    pictures: Sequence[tuple[str, Image]]
    requests: Sequence[TurnRequest]
    picks: Sequence[int | None]
    folder: Path
    outputs: _Outputs


def _checked_plan(arguments: argparse.Namespace) -> _Plan:
    """Find whatever can be wrong with the command before the model is loaded; folders are made.

    Raises:
        WeGenError: a file cannot be read or written, or options do not go together.
    """
    pictures = [(name, read_picture(file)) for name, file in arguments.reference]
    own = None if arguments.begin_with is None else read_picture(arguments.begin_with)
    turns = [{"instruction": arguments.instruction, **arguments.first}, *arguments.refine]
    masks = [{key: read_mask(turn[key]) for key in ("keep_mask", "edit_mask")} for turn in turns]
    picks = [turn["pick"] for turn in turns]
    chat, goes_on = _begun_chat(arguments)
    _check_beginning(arguments, own, chat, masks[0])
    size = _size_of_pictures(own, chat, arguments)
    for turn, read in zip(turns, masks, strict=True):
        for key, mask in read.items():
            if mask is not None:
                _check_proportions(turn[key], mask, size)
    for pick in picks:
        if pick and pick > arguments.batch_size:
            raise WeGenError(f"--pick is {pick}, but --count gives pictures 1 to {arguments.batch_size}.")
    _check_references(pictures)
    turns = [{**turn, **read} for turn, read in zip(turns, masks, strict=True)]
    begun = own is not None or bool(chat.turns)
    requests = [_request(arguments, turn, first=number == 0 and not begun) for number, turn in enumerate(turns)]
    _check_mentions(requests, [name for name, _ in pictures])
    folder = writable_folder(arguments.out)
    outputs = _Outputs(arguments.save_chat, arguments.json, goes_on)
    return _Plan(chat, own, pictures, requests, picks, folder, outputs)


def _take_turns(plan: _Plan, pipeline: Pipeline) -> int:
    """Take all turns, and write and print what comes of each; gives the exit code."""
    from ..encoding import begin_with
    from ..engine import Progress
    from ..errors import AnsweredInWords
    from ..media.images import from_pil
    from ..values import References

    outputs = plan.outputs
    chat = plan.chat if plan.own is None else begin_with(pipeline.wegen, [from_pil(plan.own)])
    references = References()
    for name, picture in plan.pictures:
        references = references.add(pipeline.encode_reference(name, picture))
    outcome = OK
    with contextlib.ExitStack() as stack:
        bars = stack.enter_context(progress_bars())
        stack.callback(outputs.finish)  # whatever happens: turns that are done are reported
        progress = Progress(bars("words"), bars("features"))
        for request, pick in zip(plan.requests, plan.picks, strict=True):
            request = _with_references(request, references)
            began, before = time.perf_counter(), chat
            try:
                result = pipeline.take_turn(request, chat, progress, bars("painting"))
            except AnsweredInWords as answer:  # a first wish: there is no picture to go on with
                print(answer, file=sys.stderr)
                outputs.keep(chat, _refused(request, str(answer), time.perf_counter() - began))
                outcome = ANSWERED
                break
            record = _record(request, before, result, pipeline, time.perf_counter() - began)
            for note in result.notes:
                print(note, file=sys.stderr)
            if result.spoken:
                print(result.spoken, file=sys.stderr)
                outputs.keep(chat, record)
                outcome = ANSWERED
                continue
            chat = result.chat.pick(pick - 1) if pick else result.chat
            files = _save(chat, pipeline, plan.folder)
            for entry, file in zip(record["pictures"], files, strict=True):
                entry["file"] = str(file)
            outputs.keep(chat, record)
            for file, answer in zip(files, chat.last.answers, strict=True):
                outputs.say(f"{file}: {answer.described}")
    return outcome


def _begun_chat(arguments: argparse.Namespace) -> tuple[Chat, Path | None]:
    """The chat of --chat at the turn and the picture from which it goes on, or one without turns; and its file, where
    that may be replaced: later turns would be lost where they are gone back from."""
    from ..media.chat_file import load_chat
    from ..values import Chat

    if arguments.chat is None:
        if arguments.turn or arguments.picture:
            raise WeGenError("--turn and --picture say where to go on in a chat: give it with --chat.")
        return Chat(), None
    whole = load_chat(arguments.chat)
    chat = _entered(whole, arguments)
    return chat, arguments.chat if len(chat) == len(whole) else None


def _entered(chat: Chat, arguments: argparse.Namespace) -> Chat:
    """A saved chat at the turn and the picture from which it goes on."""
    if arguments.turn:
        chat = chat.rewind(arguments.turn)
    count = len(chat.last.answers)
    if arguments.picture and arguments.picture > count:
        raise WeGenError(f"--picture is {arguments.picture}, but turn {len(chat)} has pictures 1 to {count}.")
    return chat.pick(arguments.picture - 1) if arguments.picture else chat


def _check_beginning(
    arguments: argparse.Namespace, own: Image | None, chat: Chat, masks: Mapping[str, Tensor | None]
) -> None:
    """Raises WeGenError where options do not go with what the first turn, which has these masks, begins with."""
    if own is not None and chat.turns:
        raise WeGenError("--begin-with and --chat do not go together: a chat has pictures of its own.")
    if (own is not None or chat.turns) and arguments.size is not None:
        raise WeGenError("--size goes with new pictures only: others keep the size that they have.")
    if own is None and not chat.turns and any(mask is not None for mask in masks.values()):
        raise WeGenError("A mask needs a picture that is changed: write it after a --refine, or give --begin-with.")


def _check_references(pictures: Sequence[tuple[str, Image]]) -> None:
    """Raises WeGenError for a name that cannot be one, or is given twice."""
    from ..media.images import from_pil
    from ..values import Reference, References

    named = References()
    for name, picture in pictures:
        named = named.add(Reference(name, None, from_pil(picture)))


def _check_mentions(requests: Sequence[TurnRequest], names: Sequence[str]) -> None:
    """Raise for an @name that no --reference gives; say which references no turn mentions."""
    from ..prompting.checks import MENTION

    mentioned = {name for request in requests for name in MENTION.findall(request.instruction)}
    for name in sorted(mentioned - {*names}):
        known = ", ".join(f"@{name}" for name in names) or "none"
        raise WeGenError(f"There is no reference @{name}; give it with --reference {name}=FILE. Known are: {known}.")
    unused = [name for name in names if name not in mentioned]
    if unused:
        listed, first = ", ".join(f"@{name}" for name in unused), unused[0]
        print(f"Not mentioned in any turn, so not used: {listed}. Write @{first} in the instruction.", file=sys.stderr)


class _Outputs:
    """The chat and the report, which are written after each turn: what is finished is never lost.

    Args:
        chat_file: of `--save-chat`.
        report: of `--json`.
        goes_on: the chat that this one goes on with, all of which is kept in it; only that may be replaced.

    Raises:
        WeGenError: one of them cannot be written, or would replace a file that is something else.
    """

    def __init__(self, chat_file: Path | None, report: Path | None, goes_on: Path | None = None):
        from ..media.chat_file import chat_file_path

        self.chat_file = None if chat_file is None else chat_file_path(chat_file)
        self.report, self.to_stdout = report, str(report) == "-"
        # A pipe has a reader of its own, who takes one report.
        self.to_stream = report is not None and not self.to_stdout and is_stream(report)
        self.turns: list[dict[str, Any]] = []
        self.saved: Path | None = None
        if self.chat_file is not None:
            own = None if goes_on is None else chat_file_path(goes_on).resolve()
            if self.chat_file.exists() and self.chat_file.resolve() != own:
                raise WeGenError(
                    f"{self.chat_file} is a chat already, whose turns would be lost. Go on with its last turn by "
                    "--chat, or give --save-chat another name."
                )
            writable_folder(self.chat_file.parent)
        if report is not None and not self.to_stdout and not self.to_stream:
            if self.chat_file is not None and report.resolve() == self.chat_file.resolve():
                raise WeGenError(f"--json and --save-chat both name {report}; give one of them another name.")
            if not report.name or report.is_dir():
                raise WeGenError(f"--json {str(report)!r} names no file; give one, or - for stdout.")
            if report.exists() and not _is_report(report):
                raise WeGenError(f"{report} is there already and is no report of this command; choose another name.")
            writable_folder(report.resolve().parent)

    def keep(self, chat: Chat, record: dict[str, Any]) -> None:
        from ..media.chat_file import save_chat

        self.turns.append(record)
        if self.chat_file is not None and chat.turns:
            self.saved = save_chat(chat, self.chat_file)
        if self.report is not None and not self.to_stdout and not self.to_stream:
            with naming(self.report):
                write_whole(self.report, self._text())

    def say(self, line: str) -> None:
        """A line for people: on stdout, unless the report goes there."""
        print(line, file=sys.stderr if self.to_stdout else sys.stdout, flush=True)

    def finish(self) -> None:
        if self.saved is not None:
            self.say(str(self.saved))
        if self.to_stdout and self.turns:
            print(self._text(), end="")
        if self.report is not None and self.to_stream and self.turns:
            with naming(self.report):
                write_whole(self.report, self._text())

    def _text(self) -> str:
        from ..values import whole_text

        report = {"turns": self.turns, "chat": None if self.saved is None else str(self.saved)}
        # A terminal or pipe may take fewer characters than a file.
        return whole_text(json.dumps(report, indent=2, ensure_ascii=self.to_stdout) + "\n")


def _is_report(file: Path) -> bool:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(report, dict) and isinstance(report.get("turns"), list) and "chat" in report


def _size_of_pictures(own: Image | None, chat: Chat, arguments: argparse.Namespace) -> tuple[int, int] | None:
    """Width and height of the pictures that will be changed; None where the checkpoint decides: they are square."""
    if own is not None:
        return own.size
    if chat.turns:
        height, width = chat.last.answer.picture.shape[:2]
        return width, height
    return arguments.size


def _check_proportions(file: Path, mask: Tensor, size: tuple[int, int] | None) -> None:
    """Raises WeGenError where a mask would have to be stretched to fit pictures of this size."""
    from ..media.images import stretch

    height, width = mask.shape
    if stretch((width, height), size or (1, 1)) > _MOST_STRETCHED:
        picture = f"{size[0]} x {size[1]}" if size else "square"
        raise WeGenError(
            f"The mask {file} is {width} x {height} pixels, and the picture is {picture}: save the mask with the "
            "proportions of the picture, at any size."
        )


def _request(arguments: argparse.Namespace, turn: Mapping[str, Any], first: bool) -> TurnRequest:
    """What one turn asks for; `first`: it changes no picture."""
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
    default = CREATIVITY if first else REFINE_CREATIVITY
    creativity = default if arguments.creativity is None else arguments.creativity
    sampling = TextSampling.from_creativity(creativity, arguments.temperature, arguments.top_p)
    return replace(request, sampling=sampling)


def _with_references(request: TurnRequest, references: References) -> TurnRequest:
    """The request with those of the references that it mentions."""
    from dataclasses import replace

    from ..prompting.checks import MENTION
    from ..values import References

    names = set(MENTION.findall(request.instruction))
    return replace(request, references=References(tuple(one for one in references if one.name in names)))


def _refused(request: TurnRequest, answer: str, seconds: float) -> dict[str, Any]:
    """What there is to say of a first turn that was answered in words."""
    return {
        "instruction": request.instruction,
        "notes": [],
        "seconds": round(seconds, 3),
        "answered_in_words": answer,
        "pictures": [],
    }


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


def _save(chat: Chat, pipeline: Pipeline, folder: Path) -> list[Path]:
    """Save the pictures of the last turn, each with what it was made from; gives their files."""
    import dataclasses
    import io

    from PIL.PngImagePlugin import PngInfo

    from ..media.images import to_pil
    from ..media.metadata import KEY, turns_of
    from ..values import Chat

    number, turn = len(chat), chat.last
    before = Chat(chat.turns[:-1])
    files = []
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
            KEY: json.dumps(turns_of(before, turn.instruction, answer, pipeline.config.templates), ensure_ascii=False),
        }
        info = PngInfo()
        for key, text in texts.items():
            info.add_itxt(key, text)
        content = io.BytesIO()
        to_pil(answer.picture).save(content, format="png", pnginfo=info)
        files.append(_write_new(folder, f"turn{number}_seed{answer.seed}", content.getvalue()))
    return files


def _write_new(folder: Path, stem: str, content: bytes) -> Path:
    """A new PNG file called `stem`, or `stem` with a number where that is taken; nothing is ever overwritten."""
    copy = 1
    while True:
        path = folder / (f"{stem}.png" if copy == 1 else f"{stem}_{copy}.png")
        try:
            with naming(path), path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            copy += 1
        except BaseException:
            path.unlink(missing_ok=True)  # a part of a picture is of no use
            raise
