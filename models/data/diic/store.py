"""What a run leaves on disk while it works, so that it can be stopped at any time, and the shards at its end.

`work/cuts/` has a file for each video with its clips, `work/clips/` one for each clip that is done: a tar file with
what became of it (`clip.json`) and its samples. A file appears whole or not at all, and its name is the clip's key, so
a clip that is done twice, by whichever machine, is there once.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import naming
from ...paths import replace_file
from ..shards import INDEX, ShardError, add_file, sample_files, write_sample_files
from .assemble import samples_of
from .clip import Clip
from .pipeline import outcome_of
from .reasons import FAILED

RECORDS = "clips.jsonl"
RUN = "run.json"
_RECORD = "clip.json"
_DONE = {"cuts": ".json", "clips": ".tar"}  # folders of `work`, and how the files in them end


class Store:
    """The folder of a run. All methods but `begin` and `finish` may be called by many processes at once."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.work = self.folder / "work"

    def begin(self, configuration: Mapping[str, Any]) -> None:
        """Make the folder, or go on in it; `configuration` is that of `Pipeline.to_json`.

        Clips that failed, and those whose files are damaged, are to be done again.

        Raises ShardError where it is finished, where what was done in it was done with another configuration, and where
        it holds anything though no run was begun there.
        """
        if (self.folder / INDEX).exists():
            raise ShardError(f"{self.folder} already holds finished shards. Choose another folder or remove it first.")
        path = self.folder / RUN
        there = [] if path.exists() or not self.folder.exists() else sorted(self.folder.iterdir())
        if other := next((one.name for one in there if not one.name.startswith(f".{RUN}.")), None):
            raise ShardError(f"{self.folder} is not empty: it holds {other}. Choose a new folder.")
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = json.dumps(configuration, indent=1, sort_keys=True) + "\n"
        if path.exists() and (other := self._difference(path, configuration)):
            raise ShardError(
                f"{self.folder} was begun with other settings: {other} (see {path.name} in it). Give the same ones to "
                "go on, or choose another folder."
            )
        replace_file(path, wanted.encode())
        for name in _DONE:
            (self.work / name).mkdir(parents=True, exist_ok=True)
        self._forget_failed()

    def _forget_failed(self) -> None:
        """Remove what became of videos and clips that failed, perhaps by the machine's fault, and what is damaged."""
        for path in (self.work / "cuts").glob("*.json"):
            clips = _read(path)
            if clips is None or any(_failed(clip.get("rejection")) for clip in clips):
                path.unlink()
        for path in (self.work / "clips").glob("*.tar"):
            try:
                with tarfile.open(path, "r:") as archive:
                    failed = _failed(_record_in(archive)["rejection"])
            except (tarfile.TarError, ValueError, KeyError):
                failed = True
            if failed:
                path.unlink()

    def _difference(self, path: Path, configuration: Mapping[str, Any]) -> str:
        """A setting that is not the one with which what is there was made, in words; empty where there is none.

        Cuts depend on their own settings alone: the others count from the first clip on that is done.
        """
        try:
            known = _settings(outcome_of(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ShardError(f"{path} is damaged ({error}). Choose another folder.") from error
        wanted = _settings(json.loads(json.dumps(configuration)))
        done = {name: any((self.work / name).glob(f"*{suffix}")) for name, suffix in _DONE.items()}
        for name in sorted({*known, *wanted}):
            counts = done["clips"] or (done["cuts"] and name.startswith("cut "))
            if counts and known.get(name) != wanted.get(name):
                said = [json.dumps(one[name]) if name in one else "not given" for one in (known, wanted)]
                return f"{name} was {said[0]} and is now {said[1]}"
        return ""

    def cuts(self, key: str) -> list[Clip] | None:
        """The clips of a video; None where it was not cut yet."""
        path = self.work / "cuts" / f"{key}.json"
        if not path.exists():
            return None
        return [Clip.from_document(document, {}) for document in json.loads(path.read_text(encoding="utf-8"))]

    def add_cuts(self, key: str, clips: Iterable[Clip]) -> None:
        content = json.dumps([clip.to_document() for clip in clips]).encode()
        replace_file(self.work / "cuts" / f"{key}.json", content)

    def is_done(self, key: str) -> bool:
        return self._clip_path(key).exists()

    def add_clip(self, clip: Clip, seed: int) -> None:
        """Keep what became of a clip, and its samples where it was not rejected."""
        samples = [] if clip.rejection else [list(sample_files(sample)) for sample in samples_of(clip, seed)]
        path = self._clip_path(clip.key)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            add_file(archive, _RECORD, json.dumps(record_of(clip, len(samples))).encode())
            for number, files in enumerate(samples):
                for name, one in files:
                    add_file(archive, f"{number:06d}.{name}", one)
        with naming(path):
            replace_file(path, content.getvalue())

    def _clip_path(self, key: str) -> Path:
        return self.work / "clips" / f"{key}.tar"

    def failed(self, keys: Iterable[str]) -> dict[str, str]:
        """Those clips on which a stage failed, and with what: another time they may be used."""
        found = {}
        for key in sorted(set(keys)):
            with tarfile.open(self._clip_path(key), "r:") as archive:
                rejection = _record_in(archive)["rejection"]
            if _failed(rejection):
                found[key] = rejection["detail"]
        return found

    def finish(self, keys: Iterable[str], shard_size: int, about: Mapping[str, Any]) -> dict[str, int]:
        """Write the shards of all clips, in the order of their keys, and what became of each; then remove the work.

        Returns counts: "clips", "used", "rejected" and "samples". Raises ShardError where a clip is not done.
        """
        keys = sorted(set(keys))
        missing = [key for key in keys if not self.is_done(key)]
        if missing:
            raise ShardError(f"{len(missing)} clips are not done, such as {missing[0]}. Run the same command again.")
        counts: Counter[str] = Counter(clips=len(keys), used=0, rejected=0, samples=0)
        lines = []
        for key in keys:
            with tarfile.open(self._clip_path(key), "r:") as archive:
                record = _record_in(archive)
            lines.append(json.dumps(record) + "\n")
            counts["rejected" if record["rejection"] else "used"] += 1
            counts["samples"] += record["samples"]
        replace_file(self.folder / RECORDS, "".join(lines).encode())
        write_sample_files(self.folder, self._samples(keys), shard_size, about)
        for name in _DONE:
            shutil.rmtree(self.work / name)
        with suppress(OSError):  # somebody keeps something there
            self.work.rmdir()
        return dict(counts)

    def _samples(self, keys: Iterable[str]) -> Iterator[list[tuple[str, bytes]]]:
        for key in keys:
            with tarfile.open(self._clip_path(key), "r:") as archive:
                yield from _samples_in(archive)


def _samples_in(archive: tarfile.TarFile) -> Iterator[list[tuple[str, bytes]]]:
    files: list[tuple[str, bytes]] = []
    current = ""
    for member in archive:
        if member.name == _RECORD:
            continue
        number, _, name = member.name.partition(".")
        if files and number != current:
            yield files
            files = []
        current = number
        files.append((name, archive.extractfile(member).read()))
    if files:
        yield files


def record_of(clip: Clip, samples: int) -> dict[str, Any]:
    """What became of a clip, as JSON."""
    pairs = () if clip.rejection else clip.pairs
    return {
        "key": clip.key,
        "video": clip.source,
        "scene": clip.scene,
        "start": round(clip.start, 4),
        "end": round(clip.end, 4),
        "notes": list(clip.notes),
        "size": None if clip.frames is None else [clip.frames.shape[2], clip.frames.shape[1]],
        "frames": 0 if clip.frames is None else len(clip.frames),
        "names": list(clip.names),
        "tracks": [{"name": track.name, "frames": sum(map(bool, track.scores))} for track in clip.tracks],
        "pairs": len(pairs),
        "distances": [round(float(clip.times[pair.after] - clip.times[pair.before]), 3) for pair in pairs],
        "changes": [fact["change"] for pair in pairs for fact in pair.facts],
        "samples": samples,
        "rejection": None if clip.rejection is None else vars(clip.rejection),
        "dropped": [vars(one) for one in clip.dropped],
        "seconds": {name: round(seconds, 4) for name, seconds in clip.seconds.items()},
    }


def read_records(folder: str | Path) -> list[dict[str, Any]]:
    """What became of each clip of a finished run. Raises ShardError for another folder."""
    path = Path(folder) / RECORDS
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        raise ShardError(f"There is no {RECORDS} in {folder}: no finished folder of `wegen data video`.") from None
    except ValueError as error:
        raise ShardError(f"{path} is damaged ({error}).") from error


def _settings(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Each setting of `Pipeline.to_json` under a name for people."""
    found = {f"cut {key!r}": value for key, value in configuration["cut"].items()}
    for stage in configuration["stages"]:
        found[f"{stage['name']} 'kind'"] = stage["kind"]
        found |= {f"{stage['name']} {key!r}": value for key, value in stage["options"].items()}
    return {**found, "the seed": configuration["seed"]}


def _record_in(archive: tarfile.TarFile) -> dict[str, Any]:
    """Raises KeyError where an archive has none, ValueError for a damaged one."""
    return json.loads(archive.extractfile(_RECORD).read())


def _read(path: Path) -> Any:
    """A JSON file, or None for a damaged one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _failed(rejection: Mapping[str, Any] | None) -> bool:
    return rejection is not None and rejection["reason"] in FAILED
