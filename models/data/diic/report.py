"""A page about a finished run: counts, reasons, times, and sheets of samples; one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import colorsys
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from ...errors import WeGenError, naming
from ...paths import write_whole
from ...values import whole_text
from ..samples import Picture, Sample, Text
from ..shards import INDEX, read_index, read_shard
from .linking import box_of
from .reasons import REASONS
from .store import read_records

_SIDE = 360  # pixels of the longer side of a picture on the page
_MOST_REJECTED = 300  # clips that are listed one by one
_STAGES = ("cut", "decode", "select", "name", "ground", "track", "pair", "describe", "caption")
_TASKS = {
    "refine": "a picture, and what was asked of it, turn by turn",
    "text_to_picture": "a picture from words",
    "compose": "a thing of one picture in another",
}


def write_report(folder: str | Path, path: str | Path | None = None, samples: int = 24, seed: int = 1) -> Path:
    """Write the page about a folder of `wegen data video`; returns its path, `report.html` in the folder if not given.

    `samples` are shown at most, chosen by `seed`.

    Raises:
        ShardError: the folder is not finished.
        WeGenError: the file is there and is no such page.
    """
    folder = Path(folder)
    path = Path(path) if path else folder / "report.html"
    _require_free(path)
    records = read_records(folder)
    shards = read_index(folder) if any(record["samples"] for record in records) else []
    about = json.loads((folder / INDEX).read_text(encoding="utf-8")).get("about", {})
    shown = list(_chosen(shards, samples, Random(seed)))
    page = _page(folder.name or "videos", records, about, shown)
    with naming(path):
        write_whole(path, whole_text(page))  # names of files may hold bytes that are no text
    return path


def _require_free(path: Path) -> None:
    """Raise where a file would be lost that is no page of an earlier report."""
    if not path.is_file():
        return
    with naming(path), path.open("rb") as file:
        begin = file.read(len(_BEGIN))
    if begin != _BEGIN.encode():
        raise WeGenError(f"{path} is there already and is no report; choose another name with --out.")


def _chosen(shards: Sequence[tuple[Path, int]], samples: int, rng: Random) -> Iterator[Sample]:
    total = sum(count for _, count in shards)
    wanted = sorted(rng.sample(range(total), min(samples, total)))
    first = 0
    for path, count in shards:
        inside = [number - first for number in wanted if first <= number < first + count]
        if inside:
            yield from read_shard(path, count, inside)
        first += count


def _page(title: str, records: Sequence[Mapping[str, Any]], about: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    used = [record for record in records if not record["rejection"]]
    rejected = [record for record in records if record["rejection"]]
    videos = {record["video"] for record in records}
    seconds = sum(record["end"] - record["start"] for record in used)
    tiles = (
        (len(videos), "video" if len(videos) == 1 else "videos"),
        (len(records), "clips"),
        (f"{len(used) / max(1, len(records)):.0%}", "of them used"),
        (
            f"{seconds / 60:.1f}" if seconds >= 60 else f"{seconds:.0f}",
            "minutes used" if seconds >= 60 else "seconds used",
        ),
        (len({track["name"] for record in used for track in record["tracks"]}), "different things"),
        (sum(record["pairs"] for record in used), "pairs of frames"),
        (sum(record["samples"] for record in used), "samples"),
    )
    body = [
        f"<header><h1>{escape(title)}</h1><p>What <code>wegen data video</code> found, what it made of it, and what it "
        "left out and why.</p>",
        '<div class="tiles">',
        *(f"<div><b>{escape(str(number))}</b>{escape(label)}</div>" for number, label in tiles),
        "</div></header>",
        _samples_section(samples),
        '<section class="facts">',
        _used_card(used, rejected),
        _bars(
            "Why clips were not used", Counter(one["rejection"]["reason"] for one in rejected), "clip", sentences=True
        ),
        _bars(
            "Why pairs, names, boxes and tracks were left out",
            Counter(entry["reason"] for record in records for entry in record["dropped"]),
            "time",
            sentences=True,
        ),
        _bars("What changes", Counter(change for record in used for change in record["changes"]), "change"),
        _bars("Seconds between the frames of a pair", _distances(used), "pair", ordered=True),
        _bars("Seconds that stages took", _times(records), "s", ordered=True),
        "</section>",
        _names_section(used),
        _rejected_section(rejected),
        "<details><summary>Settings of this run</summary>"
        f"<pre>{escape(json.dumps(dict(about), indent=1))}</pre></details>",
    ]
    return _SHELL.format(title=escape(title), style=_STYLE, body="\n".join(part for part in body if part))


def _used_card(used: Sequence[Any], rejected: Sequence[Any]) -> str:
    """One strip, green and grey: how much of what came in was of use."""
    share = 100 * len(used) / max(1, len(used) + len(rejected))
    notes = Counter(_note(note) for record in (*used, *rejected) for note in record["notes"])
    told = "".join(f"<li>{escape(note)}: {count} clips</li>" for note, count in notes.most_common())
    return (
        f'<div class="card"><h2>Clips</h2><div class="strip"><i style="width:{share:.1f}%"></i></div>'
        f"<p>{len(used)} used, {len(rejected)} not.</p><ul>{told}</ul></div>"
    )


def _note(text: str) -> str:
    return "turned upright" if text.startswith("turned") else text


def _distances(used: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    edges = (0.35, 0.75, 1.5, 3.0, 6.0)
    labels = ("under 0.35", "0.35 to 0.75", "0.75 to 1.5", "1.5 to 3", "3 to 6", "over 6")
    counts = Counter(int(np.searchsorted(edges, one)) for record in used for one in record["distances"])
    return {label: counts[number] for number, label in enumerate(labels) if counts[number]}


def _times(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(record["seconds"])
    return {name: round(total[name], 1) for name in _STAGES if total[name] >= 0.05}


def _bars(title: str, counts: Mapping[str, float], unit: str, sentences: bool = False, ordered: bool = False) -> str:
    """A card with a bar for each entry; empty where there is none."""
    if not counts:
        return ""
    entries = list(counts.items()) if ordered else sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    most = max(counts.values())
    rows = []
    for name, value in entries:
        words = REASONS.get(name, name) if sentences else name
        amount = f"{value:g} {unit}" if unit == "s" else f"{value:g}"
        rows.append(
            f'<tr title="{escape(name)}"><td>{escape(words)}</td>'
            f'<td class="bar"><i style="width:{100 * value / most:.1f}%"></i></td><td class=n>{amount}</td></tr>'
        )
    return f'<div class="card"><h2>{escape(title)}</h2><table>{"".join(rows)}</table></div>'


def _names_section(used: Sequence[Mapping[str, Any]]) -> str:
    names = Counter(track["name"] for record in used for track in record["tracks"])
    if not names:
        return ""
    most = max(names.values())
    sizes = {name: 0.8 + 1.1 * (count / most) ** 0.5 for name, count in names.items()}
    words = " ".join(
        f'<span style="font-size:{sizes[name]:.2f}em" title="{count} tracks">{escape(name)}</span>'
        for name, count in sorted(names.most_common(120))
    )
    return f'<section class="card names"><h2>Things that were followed</h2><p>{words}</p></section>'


def _rejected_section(rejected: Sequence[Mapping[str, Any]]) -> str:
    if not rejected:
        return ""
    rows = "".join(
        f"<tr><td>{escape(Path(one['video']).name)}</td><td class=n>{one['start']:.1f} to {one['end']:.1f} s</td>"
        f"<td>{escape(one['rejection']['stage'])}</td><td>{escape(REASONS[one['rejection']['reason']])}</td>"
        f"<td>{escape(one['rejection']['detail'])}</td></tr>"
        for one in rejected[:_MOST_REJECTED]
    )
    more = len(rejected) - _MOST_REJECTED
    rest = f"<p>And {more} more; all of them stand in <code>clips.jsonl</code>.</p>" if more > 0 else ""
    return (
        f"<details{' open' if len(rejected) <= 20 else ''}><summary>Clips that were not used, one by one</summary>"
        f'<table class="list"><tr><th>video<th>time<th>stage<th>reason<th>found</tr>{rows}</table>{rest}</details>'
    )


def _samples_section(samples: Iterable[Sample]) -> str:
    cards = "".join(map(_sample_card, samples))
    if not cards:
        return "<section><p>No sample came of these videos; the reasons stand below.</p></section>"
    return (
        '<input type="checkbox" id="things" checked><label for="things">Show the things that were found</label>'
        f'<section class="samples">{cards}</section>'
    )


def _sample_card(sample: Sample) -> str:
    record = sample.record
    turns, pictures = [], 0
    for role, parts in sample.turns():
        inside = []
        for part in parts:
            if isinstance(part, Text):
                inside.append(f"<p>{escape(part.text)}</p>")
            elif isinstance(part, Picture):
                inside.append(_figure(part, record["instances"][pictures], record["times"][pictures]))
                pictures += 1
        turns.append(f'<div class="{role}">{"".join(inside)}</div>')
    video = Path(record["source"]["video"]).name
    task, told = escape(sample.task.replace("_", " ")), escape(_TASKS.get(sample.task, ""))
    return (
        f"<article><h3>{task} <small>{told}</small></h3>"
        f"{''.join(turns)}<footer>{escape(video)}, scene {record['source']['scene'] + 1}</footer></article>"
    )


def _figure(picture: Picture, things: Sequence[Mapping[str, Any]], seconds: float) -> str:
    small = Image.fromarray(picture.pixels)
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    layers = [f'<img loading="lazy" alt="" src="{_data(small, "JPEG", quality=82)}">']
    labels = picture.instance_map
    if labels is not None and labels.any():
        outlines = _data(_outlines(labels, small.size), "PNG")
        layers.append(f'<img loading="lazy" alt="" class="o" src="{outlines}">')
        # A reference that was cut out has the outline alone: boxes are those of the frame that it comes from.
        boxed = [thing for thing in things if box_of(labels == thing["number"]) == tuple(thing["box"])]
        layers += [_box(thing, labels.shape) for thing in boxed]
    caption = f"<figcaption>{seconds:.2f} s</figcaption>"
    return f'<figure style="max-width:{small.width}px">{"".join(layers)}{caption}</figure>'


def _box(thing: Mapping[str, Any], size: tuple[int, int]) -> str:
    """A place of a picture of `size` (height, width) that tells its name when it is pointed at."""
    left, top, right, bottom = thing["box"]
    sides = {"left": left / size[1], "top": top / size[0]}
    sides |= {"width": (right - left) / size[1], "height": (bottom - top) / size[0]}
    place = ";".join(f"{side}:{100 * share:.1f}%" for side, share in sides.items())
    return f'<a class="o" style="{place}" title="{escape(thing["name"])} ({thing["score"]:.2f})"></a>'


def _outlines(labels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Lines around the things of an instance map, each in a colour of its own, on nothing."""
    small = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    edge = np.zeros(small.shape, bool)
    for axis in (0, 1):
        different = np.diff(small, axis=axis) != 0
        for side in (slice(None, -1), slice(1, None)):
            edge[(side, slice(None)) if axis == 0 else (slice(None), side)] |= different
    edge &= small > 0
    numbers = np.unique(small[edge])
    palette = np.zeros((256, 4), np.uint8)
    for number in numbers:
        palette[number] = (*_colour(int(number)), 255)
    return Image.fromarray(np.where(edge[..., None], palette[small], np.uint8(0)), "RGBA")


def _colour(number: int) -> tuple[int, int, int]:
    """Neighbouring numbers get colours far apart."""
    return tuple(round(255 * level) for level in colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.85, 1.0))


def _data(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


_STYLE = """
:root{--paper:#f6f4ef;--card:#fff;--ink:#23262e;--soft:#6b7080;--line:#e3dfd6;--good:#2f9e77;--you:#e7eefc;--model:#f3f1ea}
@media(prefers-color-scheme:dark){:root{--paper:#17181c;--card:#212329;--ink:#e9e7e1;--soft:#9aa0ae;--line:#33363f;
--good:#4cc38f;--you:#26334d;--model:#2a2c33}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:32px 20px 64px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:34px;margin:0;letter-spacing:-.02em}h2{font-size:15px;margin:0 0 10px}h3{font-size:14px;margin:0 0 10px}
header p{color:var(--soft);margin:4px 0 20px}small,footer,figcaption{color:var(--soft);font-weight:400;font-size:12px}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin-bottom:24px}
.tiles div{flex:1 1 130px;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 16px;
color:var(--soft);font-size:13px}
.tiles b{display:block;color:var(--ink);font-size:28px;line-height:1.2;letter-spacing:-.02em}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(360px,1fr));gap:14px;margin:24px 0 14px}
.card,article{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px}
.names p{margin:0;line-height:2.1}.names span{margin-right:.7em;white-space:nowrap}
.strip{height:14px;border-radius:7px;background:var(--line);overflow:hidden}
.strip i,.bar i{display:block;height:100%;background:var(--good);border-radius:7px}
table{border-collapse:collapse;width:100%;font-size:13px}
td,th{padding:4px 8px 4px 0;text-align:left;vertical-align:middle}
.bar{width:38%}.bar i{height:10px;min-width:3px}
.n{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}
.samples{columns:3 360px;column-gap:14px;margin-top:12px}
article{break-inside:avoid;margin:0 0 14px}
.user,.assistant{border-radius:12px;padding:8px 12px;margin:0 0 8px;font-size:13.5px}
.user{background:var(--you);margin-left:28px;border-bottom-right-radius:3px}
.assistant{background:var(--model);margin-right:28px;border-bottom-left-radius:3px}
.user p,.assistant p{margin:2px 0 6px}
figure{margin:0;position:relative}figure img{display:block;width:100%;border-radius:8px}
figure .o{position:absolute;left:0;top:0}figure img.o{image-rendering:pixelated}
figure a.o:hover{outline:2px solid #fff;outline-offset:1px;box-shadow:0 0 0 9999px #0006;clip-path:inset(-3px)}
figcaption{padding-top:2px}#things{accent-color:var(--good);margin:0 6px 0 2px}
#things:not(:checked)~.samples .o{display:none}
details{margin-top:14px;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
summary{cursor:pointer;font-weight:600}pre{overflow:auto;font-size:12px}
.list{margin-top:10px}.list td{border-top:1px solid var(--line)}
ul{margin:6px 0 0;padding-left:18px;color:var(--soft);font-size:13px}
"""

_SHELL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body>
{body}
</body>
</html>
"""
_BEGIN = _SHELL.partition("{")[0]
"""How pages of all versions begin."""
