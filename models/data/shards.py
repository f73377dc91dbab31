"""Samples on disk: WebDataset tar shards with pictures as PNG and structure as JSON, and a stream that can resume.

Inside a shard, sample 12 is `000000012.json` with `000000012.0.png`, `000000012.1.png` ... beside it. `index.json` in
the folder lists the shards with their numbers of samples. Equal samples give equal bytes.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from ..errors import WeGenError
from .samples import Forgotten, Part, Picture, Sample, Text
from .tasks import generate_samples

INDEX = "index.json"
FORMAT = 1


class ShardError(WeGenError):
    """A shard folder or file that cannot be read; the message names the file and, where there is one, the key."""


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _members(key: str, sample: Sample) -> Iterator[tuple[str, bytes]]:
    parts: list[dict[str, Any]] = []
    pictures: list[tuple[str, bytes]] = []
    for part in sample.parts:
        entry: dict[str, Any] = {"role": part.role, "target": part.target}
        if isinstance(part, Text):
            entry["text"] = part.text
            entry |= {"task": part.task} if part.task else {}
        elif isinstance(part, Forgotten):
            entry["forgotten"] = True
        else:
            entry["picture"] = f"{len(pictures)}.png"
            pictures.append((f"{key}.{len(pictures)}.png", _png(part.pixels)))
        parts.append(entry)
    document = {"task": sample.task, "parts": parts, "record": dict(sample.record)}
    yield f"{key}.json", json.dumps(document, sort_keys=True).encode()
    yield from pictures


def write_samples(
    out_dir: str | Path, samples: Iterable[Sample], shard_size: int = 1000, about: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write all samples as shards of `shard_size` (the last may be smaller); returns the shards' paths.

    `about` is JSON that is kept in the index. The index is written last: a folder without one was not finished. Raises
    ShardError where the folder already holds an index.
    """
    folder = Path(out_dir)
    if shard_size < 1:
        raise ShardError(f"A shard holds 1 sample at least, got a shard size of {shard_size}.")
    if (folder / INDEX).exists():
        raise ShardError(f"{folder} already holds finished shards. Choose another folder or remove it first.")
    folder.mkdir(parents=True, exist_ok=True)
    source, shards, written = iter(samples), [], 0
    while batch := list(islice(source, shard_size)):
        path = folder / f"wegen-{len(shards):06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number, sample in enumerate(batch, start=written):
                for name, content in _members(f"{number:09d}", sample):
                    info = tarfile.TarInfo(name)  # no time, no owner: equal samples give equal bytes
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        shards.append({"name": path.name, "samples": len(batch)})
        written += len(batch)
    index = {"format": FORMAT, "shards": shards, "about": dict(about or {})}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return [folder / shard["name"] for shard in shards]


def write_shards(
    out_dir: str | Path, task_mix: Mapping[str, float], count: int, seed: int, shard_size: int = 1000
) -> list[Path]:
    """Write the first `count` samples of `generate_samples(task_mix, seed)`; returns the shards' paths."""
    about = {"task_mix": dict(task_mix), "seed": seed, "count": count}
    return write_samples(out_dir, islice(generate_samples(task_mix, seed), count), shard_size, about)


def read_index(shard_dir: str | Path) -> list[tuple[Path, int]]:
    """Path and number of samples of each shard. Raises ShardError for a folder that is not a finished shard folder."""
    path = Path(shard_dir) / INDEX
    try:
        document = json.loads(path.read_text())
        shards = [(path.parent / entry["name"], int(entry["samples"])) for entry in document["shards"]]
        version = document["format"]
    except FileNotFoundError:
        raise ShardError(f"No {INDEX} in {path.parent}: no folder of shards, or one not finished.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error!r}). Write the shards again.") from error
    if version != FORMAT:
        raise ShardError(f"{path} has format {version}, expected {FORMAT}. Write the shards again with this version.")
    if not sum(count for _, count in shards):
        raise ShardError(f"{path} lists no samples.")
    return shards


def read_shard(path: str | Path, expected: int | None = None, order: Iterable[int] | None = None) -> Iterator[Sample]:
    """The samples of one shard, in file order or in the given `order` of positions.

    Raises ShardError, naming file and key, for a damaged shard or one that does not hold `expected` samples.
    """
    path = Path(path)
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115 (closed by `with` below)
    except FileNotFoundError:
        raise ShardError(f"{path} is missing, but {INDEX} lists it.") from None
    except tarfile.TarError as error:
        raise ShardError(f"{path} is not a readable tar file ({error}). Write the shards again.") from error
    with archive:
        try:
            members = {member.name: member for member in archive.getmembers()}
        except tarfile.TarError as error:
            raise ShardError(f"{path} is cut off or damaged ({error}). Write the shards again.") from error
        keys = [name.removesuffix(".json") for name in members if name.endswith(".json")]
        if expected is not None and len(keys) != expected:
            raise ShardError(f"{path} holds {len(keys)} samples, but {INDEX} says {expected}. Write the shards again.")
        for position in range(len(keys)) if order is None else order:
            yield _read_sample(path, archive, members, keys[position])


def _read_sample(path: Path, archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], key: str) -> Sample:
    name = f"{key}.json"
    try:
        document = json.loads(archive.extractfile(members[name]).read())
        parts: list[Part] = []
        for entry in document["parts"]:
            if "text" in entry:
                parts.append(Text(entry["text"], entry["role"], entry["target"], entry.get("task", "")))
                continue
            if "forgotten" in entry:
                parts.append(Forgotten(entry["role"], entry["target"]))
                continue
            name = f"{key}.{entry['picture']}"
            with Image.open(io.BytesIO(archive.extractfile(members[name]).read())) as picture:
                parts.append(Picture(np.asarray(picture), entry["role"], entry["target"]))
        return Sample(document["task"], tuple(parts), document["record"])
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError, SyntaxError) as error:  # SyntaxError: a bad PNG
        raise ShardError(f"Cannot read {name} of {path} ({error!r}). Write the shards again.") from error


def stream(shard_dir: str | Path, seed: int | None, start: int = 0) -> Iterator[Sample]:
    """Endless samples, shuffled anew in each pass: shards among each other and samples within their shard.

    The order depends on the seed alone (None: as written), so `start=n` continues exactly where n samples had been
    read, and skips whole shards without opening them. Raises ShardError at once for a bad folder, and when a damaged
    shard is reached.
    """
    shards = read_index(shard_dir)
    total = sum(count for _, count in shards)

    def endless() -> Iterator[Sample]:
        epoch, skip = divmod(start, total)
        while True:
            rng = Random(f"{seed}/{epoch}")
            order = list(range(len(shards)))
            if seed is not None:
                rng.shuffle(order)
            for number in order:
                path, count = shards[number]
                positions = list(range(count))
                if seed is not None:
                    Random(f"{seed}/{epoch}/{number}").shuffle(positions)
                if skip < count:
                    yield from read_shard(path, count, positions[skip:])
                skip = max(0, skip - count)
            epoch += 1

    return endless()
