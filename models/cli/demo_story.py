"""The story of `wegen demo`: pictures, one contact sheet and timings of the bundled model."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import naming
from ..media.contact_sheet import Sheet
from ..media.images import to_pil
from ..paths import replace_file, write_whole
from ..pipeline import Pipeline
from ..prompting.asking import ask
from ..storybook import Scene, Thing, render
from ..values import References

WISH = "a quiet night"
WISH_SEEDS = range(1, 7)
HOUSE = Scene("meadow", "day", (Thing("house", "red", "big", 2, 2, "lit"),))
CAT = Scene("snow", "day", (Thing("cat", "orange", "big", 1, 3, "facing right"),))
COMBINATION = "the house of @house and the cat of @cat on a beach at sunset"
OPENING = "a big red house on the left and a little white cloud, on a meadow by day"
#: instruction, and the part of the picture that may change as fractions (left, top, right, bottom)
REFINEMENTS = (
    ("could you make it night?", (0.0, 0.0, 1.0, 1.0)),
    ("i'd like a big yellow moon at the top", (0.0, 0.0, 1.0, 0.35)),
    ("please paint the house blue", (0.0, 0.3, 0.5, 1.0)),
    ("could you take the cloud out?", (0.0, 0.0, 1.0, 1.0)),
)
QUESTION = "which colour does the house have?"
SHEET, TIMINGS = "contact_sheet.png", "timings.txt"
FILES = (
    *(f"wish_{seed}.png" for seed in WISH_SEEDS),
    "two_references.png",
    *(f"chat_{number}.png" for number in range(len(REFINEMENTS) + 1)),
    SHEET,
    TIMINGS,
)
"""What the story writes."""


def run_demo(pipeline: Pipeline, out: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Play the whole story, write its pictures, the contact sheet and the timings (`FILES`) into `out`.

    Args:
        pipeline: of the bundled model, or of another one that knows the storybook.
        out: a folder; made when it is not there.
        say: gets each line of the report.

    Returns:
        Seconds of each part.
    """
    out.mkdir(parents=True, exist_ok=True)
    sheet, seconds = Sheet(), {}

    def part(name: str, begun: float) -> None:
        seconds[name] = time.perf_counter() - begun
        say(f"{name}: {seconds[name]:.1f} s")

    def save(picture: Tensor, name: str) -> Image.Image:
        image = to_pil(picture)
        _write_png(out / f"{name}.png", image)
        return image

    begun = time.perf_counter()
    chat = pipeline.generate(WISH, list(WISH_SEEDS))
    answers = chat.last.answers
    drawn = [(save(answer.picture, f"wish_{answer.seed}"), answer.rewrite) for answer in answers]
    sheet.add(f"“{WISH}”: six rewrites, six pictures", drawn)
    for answer in answers:
        say(f"  {WISH!r} -> {answer.rewrite}")
    part("one wish, six pictures", begun)

    begun = time.perf_counter()
    references, shown = References(), []
    for name, scene in (("house", HOUSE), ("cat", CAT)):
        picture = Image.fromarray(render(scene))
        references = references.add(pipeline.encode_reference(name, picture))
        shown.append((picture, f"@{name}"))
    chat = pipeline.generate(COMBINATION, [1], references)
    shown.append((save(chat.last.answer.picture, "two_references"), COMBINATION))
    sheet.add("Two references in one scene", shown)
    part("two references", begun)

    begun = time.perf_counter()
    chat = pipeline.generate(OPENING, [1])
    pictures = [(save(chat.last.answer.picture, "chat_0"), OPENING)]
    for number, (instruction, area) in enumerate(REFINEMENTS, start=1):
        before = chat.last.answer.picture
        edit = _area(area, *before.shape[:2])
        whole = bool(edit.all())
        chat = pipeline.refine(chat, instruction, [number], edit_mask=None if whole else edit)
        after = chat.last.answer.picture
        words = instruction
        if not whole:
            kept = edit == 0
            difference = float((after - before)[kept].abs().max())
            words += f" ({float(kept.float().mean()):.0%} of the picture kept, largest difference there {difference:g})"
        pictures.append((save(after, f"chat_{number}"), words))
        say(f"  {words}")
    sheet.add("A chat: each turn changes what is said", pictures)
    part("a chat of four refinements", begun)

    begun = time.perf_counter()
    answer = ask(pipeline.wegen, QUESTION, chat=chat)
    say(f"  {QUESTION} {answer}")
    sheet.add("A question about the last picture", [(to_pil(chat.last.answer.picture), f"{QUESTION} {answer}")])
    part("a question", begun)

    _write_png(out / SHEET, sheet.draw())
    report = [f"{name}: {value:.1f} s" for name, value in seconds.items()]
    with naming(out / TIMINGS):
        write_whole(out / TIMINGS, "\n".join([*report, f"all: {sum(seconds.values()):.1f} s\n"]))
    say(f"all: {sum(seconds.values()):.1f} s; see {out / SHEET}")
    return seconds


def _write_png(path: Path, image: Image.Image) -> None:
    content = io.BytesIO()
    image.save(content, format="png")
    with naming(path):
        replace_file(path, content.getvalue())


def _area(area: tuple[float, float, float, float], height: int, width: int) -> Tensor:
    left, top, right, bottom = area
    mask = torch.zeros(height, width)
    mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    return mask
