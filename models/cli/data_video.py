"""`wegen data video`: from videos to training samples."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from ..errors import WeGenError
from ..paths import expanded
from .common import PRECISIONS, count, positive, progress_bars

if TYPE_CHECKING:
    from ..data.diic.pipeline import Pipeline

SHARD_SIZE = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `wegen data video` understands."""
    parser.description = (
        "From videos to samples for `wegen train lora DIR` and for 'data' in a recipe: cuts are found, things named\n"
        "and followed, frames paired some time apart, and what changes between them put into words. Every clip that\n"
        "is not used has a reason; `wegen data report DIR` shows it all. A run that was stopped goes on when it is\n"
        "started again.\n\n"
        "Models are folders on this machine; nothing is downloaded."
    )
    add = parser.add_argument
    add("videos", nargs="+", type=expanded, metavar="IN", help="video files, or folders of them")
    add("--out", type=expanded, required=True, metavar="DIR", help="a new folder, or that of a run to go on with")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--vlm", type=expanded, metavar="DIR", help="vision-language model that names and describes, such as Qwen3-VL"
    )
    models.add_argument("--detector", type=expanded, metavar="DIR", help="Grounding DINO or MM-Grounding-DINO")
    models.add_argument("--tracker", type=expanded, metavar="DIR",
        help="SAM 2 or 3 (video); without it boxes are linked")  # fmt: skip
    models.add_argument("--names", metavar="A,B", help="things to look for in all clips, in place of the VLM's names")
    models.add_argument(
        "--truth",
        action="store_true",
        help="no models: read the truth of films of `wegen data films` and clips of `wegen demo clips`",
    )
    models.add_argument("--device", default="cpu", help="device of the models, such as cuda; default %(default)s")
    models.add_argument(
        "--precision", choices=PRECISIONS, help="precision of the models; default fp32 on the CPU, else bf16"
    )
    what = parser.add_argument_group("what is taken")
    what.add_argument(
        "--rate",
        type=positive,
        metavar="N",
        help="frames a second that are looked at, fewer where a clip would have more than 32; default 4",
    )
    what.add_argument("--side", type=count, metavar="N", help="pixels of the longer side at most; default 768")
    what.add_argument("--distances", metavar="S,S", help="seconds between the frames of a pair; default 0.5,1,2,4")
    what.add_argument("--pairs", type=count, metavar="N", help="pairs of a clip at most; default 6")
    what.add_argument("--config", type=expanded, metavar="FILE", help="JSON with settings of each stage")
    what.add_argument("--seed", type=int, default=1, metavar="S", help="seed of the samples; default %(default)s")
    what.add_argument(
        "--leave-out-failed",
        action="store_true",
        help="make shards without the clips on which a stage fails with an error",
    )
    what.add_argument(
        "--shard-size", type=count, default=SHARD_SIZE, metavar="N", help="samples a file; default %(default)s"
    )
    where = parser.add_argument_group("where it runs")
    where.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="run here, or on Ray; default %(default)s"
    )
    where.add_argument("--address", help="address of a Ray cluster, such as auto; default one on this machine")
    where.add_argument("--cpus", type=count, metavar="N", help="cores of this machine for Ray; default all")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the samples; 0 when all went well, also where some or all clips were rejected.

    Raises:
        WeGenError: paths, models or settings that cannot be used, or clips on which a stage failed.
    """
    from ..data.diic.run import annotate_videos
    from ..data.diic.video import find_videos

    pipeline = pipeline_of(arguments)
    videos = [path.absolute() for path in find_videos(arguments.videos)]  # workers of a cluster are elsewhere
    if arguments.engine == "local" and (arguments.address or arguments.cpus):
        raise WeGenError("--address and --cpus are for --engine ray.")
    if arguments.address and arguments.cpus:
        raise WeGenError("--cpus is for a Ray that is started on this machine; one at --address has its own.")
    with _engine(arguments) as engine, progress_bars() as bar:
        bars = {"cut": bar("finding cuts", "video"), "annotate": bar("annotating", "clip")}
        counts = annotate_videos(
            videos,
            arguments.out.absolute(),
            pipeline,
            engine,
            arguments.shard_size,
            lambda what, done, total: bars[what](done, total),
            arguments.leave_out_failed,
        )
    print(
        f"{counts['samples']} samples of {counts['used']} clips, {counts['rejected']} clips rejected "
        f"({counts['videos']} videos): {arguments.out}"
    )
    print(f"Look at them: wegen data report {arguments.out}")
    return 0


def _engine(arguments: argparse.Namespace):
    from contextlib import nullcontext

    from ..data.diic.run import LocalEngine

    if arguments.engine == "local":
        return nullcontext(LocalEngine())
    from ..data.diic.cluster import RayEngine

    return RayEngine(arguments.address, arguments.cpus)


def pipeline_of(arguments: argparse.Namespace) -> Pipeline:
    """The stages that the options name. Raises WeGenError for options that do not go together."""
    from ..data.diic.pipeline import model_pipeline, read_settings, truth_pipeline

    folders = {name: getattr(arguments, name) for name in ("detector", "tracker", "vlm")}
    for name, folder in folders.items():
        if folder is not None and not (folder / "config.json").is_file():
            raise WeGenError(f"--{name} {folder} is no folder of a model: there is no config.json in it.")
    if arguments.truth:
        if any(folders.values()) or arguments.names:
            raise WeGenError("--truth takes the place of all models and names; leave out one or the other.")
        pipeline = truth_pipeline(arguments.seed)
    elif folders["detector"] is None:
        raise WeGenError(
            "Give a detector that finds things in pictures: --detector DIR, the folder of Grounding DINO or "
            "MM-Grounding-DINO. Or --truth for films of `wegen data films` and clips of `wegen demo clips`."
        )
    else:
        names = tuple(name.strip() for name in (arguments.names or "").split(",") if name.strip())
        precision = arguments.precision or ("fp32" if arguments.device == "cpu" else "bf16")
        paths = [str(folder.absolute()) if folder else "" for folder in folders.values()]
        pipeline = model_pipeline(*paths, names, arguments.device, precision, arguments.seed)
    decode = {"rate": arguments.rate, "side": arguments.side}
    pair = {"distances": _seconds(arguments.distances), "most": arguments.pairs}
    settings = {
        name: {"options": {key: value for key, value in options.items() if value is not None}}
        for name, options in (("decode", decode), ("pair", pair))
    }
    if arguments.config:
        pipeline = pipeline.changed(read_settings(arguments.config))
    return pipeline.changed(settings)  # what the command line says goes before a file


def _seconds(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        values = [float(one) for one in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(math.isfinite(one) and one > 0 for one in values):
        raise WeGenError(f"--distances are seconds above 0 with commas between them, such as 0.5,1,2; got {text!r}.")
    return values
