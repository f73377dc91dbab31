"""The command line `wegen`. What a command needs is imported when it runs, so that `wegen --help` answers at once."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import WeGenError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from .chat import Chat, References
    from .pipeline import Pipeline

OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
PRECISIONS = ("fp32", "fp16", "bf16")
BUNDLED = Path(__file__).parent / "nano"
_FORMAT = argparse.RawDescriptionHelpFormatter


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code.

    0: done. 1: `verify` found a value out of tolerance. 2: something the user can mend, said in one line on stderr.
    130: interrupted. Anything else that goes wrong is a defect and shows its traceback.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except WeGenError as error:
        print(f"wegen: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("wegen: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wegen", description="WeGen, the design copilot, without ComfyUI.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands.add_parser("demo", help="the whole story on the bundled model", formatter_class=_FORMAT))
    _add_generate(commands.add_parser("generate", help="draw pictures, and refine them", formatter_class=_FORMAT))
    _add_ask(commands.add_parser("ask", help="ask about pictures", formatter_class=_FORMAT))
    _add_convert(commands.add_parser("convert", help="write the packed form of a checkpoint", formatter_class=_FORMAT))
    _add_verify(commands.add_parser("verify", help="recompute reference values", formatter_class=_FORMAT))
    _add_data(commands.add_parser("data", help="write training samples as shards", formatter_class=_FORMAT))
    _add_train(commands.add_parser("train", help="train a model of the storybook", formatter_class=_FORMAT))
    _add_eval(commands.add_parser("eval", help="measure a model", formatter_class=_FORMAT))
    return parser


class _Version(argparse.Action):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, nargs=0, default=argparse.SUPPRESS, help="print the version", **kwargs)

    def __call__(self, parser, namespace, values, option_string=None):
        print(f"wegen {_version()}")
        parser.exit()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wegen")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


# --- training and evaluation -----------------------------------------------------------------------------------------


def _add_data(parser: argparse.ArgumentParser) -> None:
    from .training.data_command import add_arguments, run

    add_arguments(parser)
    parser.set_defaults(run=run)


def _add_train(parser: argparse.ArgumentParser) -> None:
    from .training.command import add_arguments, run

    parser.description = "Train one stage from its configuration file, or all of nano from nothing but the repository."
    add_arguments(parser)
    parser.set_defaults(run=run)


def _add_eval(parser: argparse.ArgumentParser) -> None:
    from .evaluation import consistency_command, rewriting
    from .evaluation.command import add_arguments, run

    parser.description = "Measure a model of the storybook over held-out cases, judged by an independent recogniser."
    what = parser.add_subparsers(title="what to measure", metavar="WHAT", required=True)
    nano = what.add_parser("nano", help="every behaviour that the bundled model promises")
    add_arguments(nano)
    nano.set_defaults(run=run)
    words = what.add_parser("rewriting", help="how different the pictures of vague wishes are")
    rewriting.add_arguments(words)
    words.set_defaults(run=rewriting.run)
    consistency = what.add_parser("consistency", help="what stays of a picture over turns", formatter_class=_FORMAT)
    consistency_command.add_arguments(consistency)
    consistency.set_defaults(run=consistency_command.run)


# --- verify ----------------------------------------------------------------------------------------------------------


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Recompute every entry of a folder of reference values (expected.json, expected.safetensors, pictures and the\n"
        "checkpoint they came from) in float32 on the CPU. A stage is ok when its largest absolute error is at most\n"
        "tolerance * max(1, largest expected magnitude); losses are compared relatively, ids and texts must be equal."
    )
    parser.add_argument("folder", type=Path, help="the reference values")
    parser.add_argument("--model", type=Path, help="hold another checkpoint to these values; default the folder's own")
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from .verify import HEADER, verify

    print(HEADER)
    stages = verify(arguments.folder, arguments.model, on_stage=lambda stage: print(stage, flush=True))
    failed = [stage.name for stage in stages if not stage.passed]
    print(
        f"{len(stages) - len(failed)} of {len(stages)} stages ok" + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return FAILED if failed else OK


# --- convert ---------------------------------------------------------------------------------------------------------


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the packed form of a published (or packed) checkpoint: config.json, the tokenizer, and one safetensors\n"
        "file a part. The VAE is always stored in fp32. An interrupted conversion leaves nothing that loads."
    )
    parser.add_argument("source", type=Path, help="the checkpoint folder to read")
    parser.add_argument("destination", type=Path, help="the folder to write; must not exist yet")
    parser.add_argument("--dtype", choices=PRECISIONS, default="fp16", help="precision to store; default %(default)s")
    parser.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> int:
    from .convert import convert

    with _progress() as bars:
        show = bars("writing", "B")
        written = convert(arguments.source, arguments.destination, arguments.dtype, show)
    print(written)
    return OK


# --- demo, ask -------------------------------------------------------------------------------------------------------


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "One vague wish and six different pictures, two references in one scene, a chat of four refinements, and a\n"
        "question, all by the bundled model. Writes the pictures, a contact sheet and the timings."
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write; default %(default)s")
    _add_model(parser)
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import run_demo

    run_demo(_load_pipeline(arguments), _writable(arguments.out))
    return OK


def _add_ask(parser: argparse.ArgumentParser) -> None:
    parser.description = "Ask about pictures; the answer is printed."
    parser.add_argument("question", help="with @name for a picture, where there are several")
    parser.add_argument("--reference", action="append", default=[], type=_named_file, metavar="NAME=FILE",
        help="a picture that the question is about; may be repeated")  # fmt: skip
    _add_model(parser)
    parser.set_defaults(run=_ask)


def _ask(arguments: argparse.Namespace) -> int:
    from .asking import ask
    from .chat import References

    pictures = [(name, _read_picture(file)) for name, file in arguments.reference]
    pipeline = _load_pipeline(arguments)
    references = References()
    for name, picture in pictures:
        references = references.add(pipeline.encode_reference(name, picture))
    _remark(pipeline, arguments.question)
    print(ask(pipeline.wegen, arguments.question, references))
    return OK


def _remark(pipeline: Pipeline, text: str) -> None:
    """Say which words of the user's the model does not know."""
    from .worlds import understand

    for note in understand(pipeline.config, text).notes:
        print(note, file=sys.stderr)


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", type=Path, default=BUNDLED, help="checkpoint folder, packed or published; default the bundled nano")
    add("--device", help="such as cpu or cuda; default a GPU where there is one")
    add("--precision", choices=PRECISIONS, help="of the arithmetic; default fp32 on the CPU, else fp16")


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeGenError(f"Cannot write to {folder}: {error.strerror}.") from error
    return folder


# --- generate --------------------------------------------------------------------------------------------------------


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


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw pictures of an instruction, then change them turn by turn. Every picture is saved as a PNG that says in\n"
        "its text chunks what it was made from. Further turns go on with the first picture of the turn before."
    )
    add = parser.add_argument
    add("instruction", help="what to draw; @name stands for a reference")
    add("--out", type=Path, default=Path("."), help="folder for the pictures; default the current one")
    add("--reference", action="append", default=[], type=_named_file, metavar="NAME=FILE",
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
    add("--count", type=_count, default=1, help="pictures a turn; default %(default)s")
    add("--size", type=_size, metavar="N or WxH", help="pixels; default the checkpoint's own")
    add("--steps", type=_count, default=20, help="sampler steps; default %(default)s")
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
    _add_model(parser)
    parser.set_defaults(run=_generate)


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise argparse.ArgumentTypeError(f"write it as NAME=FILE, not {text!r}")
    return name.removeprefix("@"), Path(file)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)(?:x([0-9]+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pixels nor WIDTHxHEIGHT")
    width, height = match.group(1), match.group(2) or match.group(1)
    return int(width), int(height)


def _generate(arguments: argparse.Namespace) -> int:
    import dataclasses

    from .chat import AutoMask, References
    from .chat_file import load_chat, save_chat
    from .generation import Sampling
    from .schedule import published_timesteps

    # Whatever can be wrong with the command is found before the model is loaded.
    sampling = Sampling(arguments.temperature, arguments.top_p) if arguments.rewrite else None
    pictures = [(name, _read_picture(file)) for name, file in arguments.reference]
    turns = [
        {**turn, **{key: _read_mask(turn[key]) for key in ("keep_mask", "edit_mask")}} for turn in arguments.refine
    ]
    chat = None if arguments.chat is None else load_chat(arguments.chat)
    if chat is not None and arguments.size is not None:
        raise WeGenError("--size and --chat do not go together: a chat goes on in the size of its last picture.")
    _writable(arguments.out)
    pipeline = _load_pipeline(arguments)
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
    with _progress() as bars:
        common |= {"on_token": bars("words"), "on_feature": bars("features"), "on_step": bars("painting")}
        for text in (arguments.instruction, *(turn["instruction"] for turn in turns)):
            _remark(pipeline, text)
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


def _load_pipeline(arguments: argparse.Namespace) -> Pipeline:
    import torch

    from .pipeline import Pipeline

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    try:
        precision = arguments.precision or ("fp32" if torch.device(device).type == "cpu" else "fp16")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise WeGenError(f"The device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    return Pipeline.from_folder(arguments.model, device, types[precision])


def _mentioned(instruction: str, references: References) -> References:
    """The references that a further turn names; all of them where it names one that is not there, for it to refuse."""
    from .chat import References
    from .conversation import MENTION

    names = set(MENTION.findall(instruction))
    if names - {reference.name for reference in references}:
        return references
    return References(tuple(reference for reference in references if reference.name in names))


def _read_picture(file: Path) -> Image.Image:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as picture:
            # Cameras write which side is up instead of turning the pixels.
            return ImageOps.exif_transpose(picture)
    except (OSError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeGenError(f"Cannot read the picture {file}: {reason}.") from error


def _read_mask(file: Path | None) -> Tensor | None:
    """A mask file's grey values, `[H, W]` in 0..1; transparent parts count as white, as in ComfyUI."""
    from .images import from_pil

    return None if file is None else from_pil(_read_picture(file)).mean(dim=-1)


def _save(chat: Chat, pipeline: Pipeline, folder: Path) -> None:
    """Save the pictures of the last turn, each with what it was made from, and print their names."""
    import dataclasses

    from PIL.PngImagePlugin import PngInfo

    from .chat import Chat
    from .images import to_pil
    from .metadata import KEY, turns_of

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
            "software": f"wegen {_version()}",
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


@contextmanager
def _progress() -> Iterator[Callable[..., Callable[..., None]]]:
    """Gives a maker of `on_...` callbacks, each of which shows a bar on stderr from its first step on."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def close() -> None:
        nonlocal bar
        if bar is not None:
            bar.close()
            bar = None

    def callback(label: str, unit: str = "it") -> Callable[..., None]:
        def show(done: int, total: int, *_) -> None:
            nonlocal bar
            if bar is None or bar.desc != label or done <= bar.n:
                close()
                bar = tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", unit_divisor=1024)
            bar.update(done - bar.n)
            if done >= total:
                close()

        return show

    try:
        yield callback
    finally:
        close()
