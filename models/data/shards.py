"""Samples on disk: WebDataset tar shards with pictures as PNG and structure as JSON, and a stream that can resume.

Inside a shard, sample 12 is `000000012.json` with `000000012.0.png`, `000000012.1.png` ... beside it, and with
`000000012.0.instances.png` where it is known which instance is seen where (8 bits a pixel, 0 where there is none; what
the numbers mean stands in the sample's record). `index.json` in the folder lists the shards with their numbers of
samples. Equal samples give equal bytes.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from ..errors import WeGenError, naming
from ..paths import put_in_place
from .samples import Forgotten, Part, Picture, Sample, Text

INDEX = "index.json"
PARTIAL = f"{INDEX}.partial"
FORMAT = 1


class ShardError(WeGenError):
    """A shard folder or file that cannot be read; the message names the file and, where there is one, the key."""


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def sample_files(sample: Sample) -> Iterator[tuple[str, bytes]]:
    """The files of a sample in a shard, its JSON first: what follows its number in their names, and their content."""
    parts: list[dict[str, Any]] = []
    files: list[tuple[str, bytes]] = []
    pictures = 0
    for part in sample.parts:
        entry: dict[str, Any] = {"role": part.role, "target": part.target}
        if isinstance(part, Text):
            entry["text"] = part.text
            entry |= {"task": part.task} if part.task else {}
        elif isinstance(part, Forgotten):
            entry["forgotten"] = True
        else:
            entry["picture"] = f"{pictures}.png"
            files.append((entry["picture"], _png(part.pixels)))
            if part.instance_map is not None:
                entry["instances"] = f"{pictures}.instances.png"
                files.append((entry["instances"], _png(part.instance_map)))
            pictures += 1
        parts.append(entry)
    document = {"task": sample.task, "parts": parts, "record": dict(sample.record)}
    yield "json", json.dumps(document, sort_keys=True).encode()
    yield from files


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without time and owner: equal samples give equal bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def write_samples(
    out_dir: str | Path, samples: Iterable[Sample], shard_size: int = 1000, about: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write all samples as shards of `shard_size` (the last may be smaller); returns the shards' paths.

    `about` is JSON that is kept in the index. The index is written last: a folder without one was not finished. Raises
    ShardError where the folder already holds an index.
    """
    return write_sample_files(out_dir, map(sample_files, samples), shard_size, about)


def write_sample_files(
    out_dir: str | Path,
    samples: Iterable[Iterable[tuple[str, bytes]]],
    shard_size: int = 1000,
    about: Mapping[str, Any] | None = None,
) -> list[Path]:
    """The same for samples that are files already, as `sample_files` gives them."""
    folder = Path(out_dir)
    if shard_size < 1:
        raise ShardError(f"A shard holds 1 sample at least, got a shard size of {shard_size}.")
    if (folder / INDEX).exists():
        raise ShardError(f"{folder} already holds finished shards. Choose another folder or remove it first.")
    folder.mkdir(parents=True, exist_ok=True)
    for left in unfinished_shards(folder):
        left.unlink()
    source, shards, written = iter(samples), [], 0
    while (first := next(source, None)) is not None:
        path, number = folder / f"wegen-{len(shards):06d}.tar", written
        with naming(path), tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number, files in enumerate(chain([first], islice(source, shard_size - 1)), start=written):
                for name, content in files:
                    add_file(archive, f"{number:09d}.{name}", content)
        shards.append({"name": path.name, "samples": number + 1 - written})
        written = number + 1
    index = {"format": FORMAT, "shards": shards, "about": dict(about or {})}
    partial = folder / PARTIAL
    partial.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    put_in_place(partial, folder / INDEX)
    return [folder / shard["name"] for shard in shards]


def unfinished_shards(folder: Path) -> list[Path]:
    """What a writer that was stopped left behind in a folder without an index."""
    return sorted(path for path in folder.iterdir() if re.fullmatch(rf"wegen-\d{{6}}\.tar|{PARTIAL}", path.name))


def read_about(shard_dir: str | Path) -> dict[str, Any]:
    """What the writer of a finished shard folder wrote about it."""
    read_index(shard_dir)
    return json.loads((Path(shard_dir) / INDEX).read_text(encoding="utf-8-sig")).get("about", {})


def read_index(shard_dir: str | Path) -> list[tuple[Path, int]]:
    """Path and number of samples of each shard. Raises ShardError for a folder that is not a finished shard folder."""
    path = Path(shard_dir) / INDEX
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        shards = [(path.parent / entry["name"], int(entry["samples"])) for entry in document["shards"]]
        version = document["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise ShardError(f"No {INDEX} in {path.parent}: no folder of shards, or one not finished.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ShardError(f"{path} is damaged ({error!r}). Write the shards again.") from error
    if version != FORMAT:
        raise ShardError(f"{path} has format {version}, expected {FORMAT}. Write the shards again with this version.")
    if not sum(count for _, count in shards):
        raise ShardError(f"{path} lists no samples. Write the shards again with 1 or more.")
    return shards


def count_samples(shard_dir: str | Path) -> int:
    """How many samples a finished folder of shards has. Raises ShardError as `read_index`."""
    return sum(count for _, count in read_index(shard_dir))


def read_shard(path: str | Path, expected: int | None = None, order: Iterable[int] | None = None) -> Iterator[Sample]:
    """The samples of one shard, in file order or in the given `order` of positions.

    Raises ShardError, naming file and key, for a damaged shard or one that does not hold `expected` samples.
    """
    path = Path(path)
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115 (closed by `with` below)
    except FileNotFoundError:
        raise ShardError(f"{path} is missing, but {INDEX} lists it. Put it back, or write the shards again.") from None
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
                if not isinstance(entry["text"], str) or not isinstance(entry["target"], bool):
                    raise ValueError(f"text {entry['text']!r} with target {entry['target']!r}")
                parts.append(Text(entry["text"], entry["role"], entry["target"], entry.get("task", "")))
                continue
            if "forgotten" in entry:
                parts.append(Forgotten(entry["role"], entry["target"]))
                continue
            name = f"{key}.{entry['picture']}"
            pixels, instances = _pixels(archive, members[name]), None
            if "instances" in entry:
                name = f"{key}.{entry['instances']}"
                instances = _pixels(archive, members[name])
            parts.append(Picture(pixels, entry["role"], entry["target"], instances))
        return Sample(document["task"], tuple(parts), document["record"])
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError, SyntaxError) as error:  # SyntaxError: a bad PNG
        raise ShardError(f"Cannot read {name} of {path} ({error!r}). Write the shards again.") from error


def _pixels(archive: tarfile.TarFile, member: tarfile.TarInfo) -> np.ndarray:
    with Image.open(io.BytesIO(archive.extractfile(member).read())) as picture:
        return np.asarray(picture)


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
